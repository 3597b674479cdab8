//! What the kernel remembers of a path, beside what the wire was measured to carry.
//!
//! A packet through a tunnel is as large as the path between the nodes takes it, whatever arrives: with `df unset` the
//! outer packet is fragmented and the inner one gets through, while the kernel has rightly learned the smaller size for
//! the inner address too. So the wire of an inner path is no larger than the underlay's less the tunnel's headers.

use std::net::IpAddr;
use std::time::Duration;

use crate::fact::{Reason, Source, Unread};
use crate::kernel::Exception;
use crate::path::{PathKey, Verdict};
use crate::units::IpSize;

use super::topology::TunnelView;
use super::{Path, Snapshot};

/// A path MTU that the kernel has cached for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The size.
    pub mtu: IpSize,
    /// Whether it stands for less than the least that the kernel takes.
    pub locked: bool,
    /// How long the kernel keeps it.
    pub expires: Option<Duration>,
    /// How often it was learned again while this process watched.
    pub renewed: u32,
    /// Whether the wire carried no more when it was learned, as far as this process measured.
    pub explained: bool,
}

impl From<&Exception> for Cached {
    fn from(exception: &Exception) -> Self {
        let Exception { mtu, locked, expires, .. } = *exception;
        Self { mtu, locked, expires, renewed: 0, explained: false }
    }
}

impl Snapshot {
    /// What the wire carries of a path's packets; `None` where it carries nothing.
    ///
    /// # Errors
    /// If it was not measured, or not the part of it between the nodes.
    pub fn on_the_wire(&self, key: &PathKey, path: &Path) -> Result<Option<IpSize>, Unread> {
        let Some(mtu) = path.verdict()?.path_mtu() else { return Ok(None) };
        let Some(tunnel) = self.tunnel_of(path) else { return Ok(Some(mtu)) };
        let unsupported = |why| Unread::new(Source::Probes, Reason::Unsupported { why });
        let overhead = tunnel.overhead.ok_or_else(|| unsupported(tunnel.unknown_overhead()))?;
        let (measured, below) = self.below(key).ok_or_else(|| {
            unsupported(format!("no node address of {} is known, so its underlay path is not measured", key.peer))
        })?;
        if let Some(end) = self.far_end(key, tunnel).filter(|end| *end != measured.address) {
            let why = format!("{} leads to {end}, and what was measured is {}", tunnel.name, measured.address);
            return Err(unsupported(why));
        }
        Ok(below.verdict()?.path_mtu().map(|below| mtu.min(below.less(overhead))))
    }

    /// Every size that the kernel may have learned for a path from the wire as it is now.
    pub fn learnable(&self, key: &PathKey, path: &Path) -> Vec<IpSize> {
        let mut sizes = signalled(path);
        let Some((tunnel, overhead)) = self.tunnel_of(path).and_then(|tunnel| Some((tunnel, tunnel.overhead?))) else {
            return sizes;
        };
        let below = self.below(key).map(|(_, below)| below);
        let outer = below.map(signalled).into_iter().flatten();
        let outer = outer.chain(below.and_then(|below| below.cached).map(|cached| cached.mtu));
        let device = tunnel.lower_link.as_ref().map(|(_, mtu)| mtu.carries());
        sizes.extend(outer.chain(device).map(|size| size.less(overhead)));
        sizes
    }

    /// The address that the tunnel's outer packets to this one go to.
    fn far_end(&self, key: &PathKey, tunnel: &TunnelView) -> Option<IpAddr> {
        let hop = self.lookups.get(&key.address)?.known()?.hops.first()?;
        self.tables.far_end(tunnel.link, hop.gateway.unwrap_or(key.address))
    }

    fn tunnel_of(&self, path: &Path) -> Option<&TunnelView> {
        path.via.iter().find_map(|&link| self.topology.tunnel(link))
    }
}

/// What was measured, and what a hop named.
fn signalled(path: &Path) -> Vec<IpSize> {
    let Ok(verdict) = path.verdict() else { return Vec::new() };
    let named = match verdict {
        Verdict::Limited { by, .. } | Verdict::BlackHole { by: Some(by), .. } => by.reported_mtu,
        _ => None,
    };
    verdict.path_mtu().into_iter().chain(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Limit, Plane};
    use crate::snapshot::example::{Example, black_hole, ip, limited, no_right, silent};
    use crate::units::Dual;

    fn wire(node: &Example, plane: Plane, address: &str) -> Result<Option<u32>, Unread> {
        let node = node.snapshot();
        let key = PathKey { peer: "master-2".into(), plane, address: ip(address) };
        Ok(node.on_the_wire(&key, &node.paths[&key])?.map(IpSize::bytes))
    }

    fn below(verdict: Verdict) -> Example {
        Example::reference().verdict("master-2", Plane::Underlay, verdict)
    }

    #[test]
    fn the_path_between_the_nodes_bounds_what_is_inside_the_tunnel() {
        let node = below(limited(1400, Some("10.0.0.1")));
        assert_eq!(wire(&node, Plane::Underlay, "10.0.0.12"), Ok(Some(1400)));
        assert_eq!(wire(&node, Plane::Overlay, "10.244.2.0"), Ok(Some(1350)));
        assert_eq!(wire(&node, Plane::Pod, "10.244.2.2"), Ok(Some(1350)));
        assert_eq!(wire(&Example::reference(), Plane::Overlay, "10.244.2.0"), Ok(Some(1450)), "the tunnel's own MTU");
    }

    #[test]
    fn a_wire_that_was_not_measured_is_not_guessed() {
        assert!(wire(&below(silent()), Plane::Underlay, "10.0.0.12").unwrap().is_none());
        assert!(wire(&below(silent()), Plane::Overlay, "10.244.2.0").unwrap().is_none());
        let unmeasured = Example::reference().unmeasured("master-2", Plane::Underlay, no_right());
        assert_eq!(wire(&unmeasured, Plane::Overlay, "10.244.2.0"), Err(no_right()));
        let mut unknown = Example::reference();
        unknown.peers[0].underlay = Dual::NONE;
        assert!(wire(&unknown, Plane::Pod, "10.244.2.2").unwrap_err().to_string().contains("no node address"));
    }

    #[test]
    fn a_tunnel_that_leads_to_another_address_than_was_measured_is_not_guessed_at() {
        let mut node = Example::reference();
        let crate::fact::Fact::Known(forwarding) = &mut node.tables.forwarding else { unreachable!() };
        forwarding[0].destination = Some(ip("192.168.0.12"));
        let why = wire(&node, Plane::Overlay, "10.244.2.0").unwrap_err().to_string();
        assert!(why.contains("leads to 192.168.0.12"), "{why}");
    }

    #[test]
    fn what_a_hop_names_may_be_learned_although_less_passes() {
        let by = Some(Limit { address: None, reported_mtu: Some(IpSize::new(1400)), ttl: None });
        let Verdict::BlackHole { carries, drops, .. } = black_hole(1300) else { unreachable!() };
        let node = below(Verdict::BlackHole { carries, drops, by }).remembers("10.0.0.12", 1200).snapshot();
        let learnable = |plane, address| {
            let key = PathKey { peer: "master-2".into(), plane, address: ip(address) };
            node.learnable(&key, &node.paths[&key]).into_iter().map(IpSize::bytes).collect::<Vec<_>>()
        };
        assert_eq!(learnable(Plane::Underlay, "10.0.0.12"), [1300, 1400]);
        assert_eq!(learnable(Plane::Overlay, "10.244.2.0"), [1450, 1250, 1350, 1150, 1450]);
    }
}
