//! What the codes about path sizes share: the tunnel to shrink instead of mending the path, and their names.
//!
//! They silence each other and themselves, on planes further in. An entry cannot name itself, so they are constants here.
//!
//! A tunnel is not shrunk below what IPv6 needs of a link (RFC 8200 §5) where pods speak it: the kernel would take IPv6
//! off the device.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Case, tunnel_of, tunnel_over};
use crate::path::{PathKey, Plane};
use crate::remedy::Fix;
use crate::snapshot::Snapshot;
use crate::units::{Family, IpSize, LinkMtu};

/// The code of a path on which larger sizes vanish.
pub(in crate::checks) const BLACK_HOLE: &str = "path-black-hole";

/// The code of a path on which larger sizes are refused.
pub(in crate::checks) const LIMITED: &str = "path-limited";

/// The code of a path whose two ways carry different sizes.
pub(in crate::checks) const ASYMMETRIC: &str = "path-mtu-asymmetric";

/// A tunnel, and what would fit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Fit {
    /// The tunnel device.
    pub link: String,
    /// Bytes that it adds.
    pub overhead: u32,
    /// The tunnel MTU that would fit the path.
    pub mtu: LinkMtu,
}

impl Fit {
    /// The tunnel by which pods reach the peer, cut to a path that carries `carries`.
    pub(super) fn new(node: &Snapshot, case: &Case<'_>, carries: IpSize) -> Option<Self> {
        let (link, overhead, inner) = match case.key.plane {
            Plane::Underlay => {
                let (link, overhead) = tunnel_over(node, case.key)?;
                (link, overhead, carries.less(overhead))
            }
            Plane::Overlay | Plane::Pod => {
                let (link, overhead) = tunnel_of(node, case.path)?;
                (link, overhead, carries)
            }
        };
        let inside = |key: &PathKey| key.peer == case.key.peer && key.plane != Plane::Underlay;
        let goes_by = |path| tunnel_of(node, path).is_some_and(|(other, _)| other == link);
        let mut six = node.paths.iter().filter(|(key, _)| inside(key) && key.family() == Family::Ipv6);
        let six = six.any(|(_, path)| goes_by(path));
        let fits = !six || inner >= Family::Ipv6.floor();
        fits.then(|| Self { link, overhead, mtu: LinkMtu::new(inner.bytes()) })
    }

    fn fix(&self) -> Fix {
        Fix::OverlayMtu { tunnel: self.link.clone(), mtu: self.mtu, overhead: self.overhead }
    }
}

/// What the path's packets grow by on the wire.
pub(super) fn outer(plane: Plane, tunnel: Option<&Fit>) -> u32 {
    tunnel.filter(|_| plane != Plane::Underlay).map_or(0, |tunnel| tunnel.overhead)
}

/// The path is mended, or else the tunnel over it is made to fit.
pub(super) fn or_shrink(carry: Fix, tunnel: Option<&Fit>) -> Vec<Fix> {
    let shrink = tunnel.map(|tunnel| Fix::Instead(vec![tunnel.fix()]));
    std::iter::once(carry).chain(shrink).collect()
}
