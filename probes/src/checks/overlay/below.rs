//! What packets that are encapsulated here say of the network below a tunnel.
//!
//! They meet the same network and the same far end as the tunnel's own, with DF on the outside, and their answers come
//! back through the far end's own tunnel. So their sizes are exact where the tunnel itself would hide them by fragmenting.
//! Their silence is another matter: nothing here asked for those answers as far as connection tracking knows, and a rule
//! of this node that drops what is invalid takes them. Where the tunnel itself delivers, silence is no more than that.

use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::{Tunnel, TunnelKind};
use crate::path::{Measured, NotSent, Plane, Unreachable, Verdict};
use crate::snapshot::topology::TunnelView;
use crate::snapshot::{Path, Snapshot};
use crate::units::IpSize;

/// The tunnel of a path that has an MTU of its own.
pub(super) fn tunnel<'a>(node: &'a Snapshot, path: &Path) -> Option<&'a TunnelView> {
    let mut tunnels = path.via.iter().filter_map(|&link| node.topology.tunnel(link));
    tunnels.next().filter(|tunnel| !tunnel.external)
}

/// The device of a tunnel.
pub(super) fn device<'a>(node: &'a Snapshot, tunnel: &TunnelView) -> Option<&'a Tunnel> {
    node.tables.link(tunnel.link)?.tunnel.as_ref()
}

/// Whether a packet can be encapsulated here as this device would.
pub(super) fn is_programmed(device: &Tunnel) -> bool {
    device.kind == TunnelKind::Vxlan && !device.external
}

/// The largest outer packet that the network below carries.
///
/// # Errors
/// If that is not known, with the reason.
pub(super) fn carries(path: &Path) -> Result<(IpSize, &Measured), Unread> {
    let measured = path.outer.read()?.ok_or_else(|| {
        unsupported("the peer's tunnel end is not known well enough to encapsulate a packet for it".into())
    })?;
    match &measured.verdict {
        Verdict::Unknown { why } => Err(unsupported(why.clone())),
        Verdict::Unreachable { why } => Err(unsupported(hidden(*why))),
        Verdict::Clear { mtu } | Verdict::Limited { mtu, .. } | Verdict::BlackHole { carries: mtu, .. } => {
            Ok((*mtu, measured))
        }
    }
}

/// Whether this node is seen to take the answers: packets through a tunnel are answered, those encapsulated here not.
pub(super) fn answers_are_hidden(node: &Snapshot) -> bool {
    let silent = |path: &Path| {
        let verdict = path.outer.known().map(|measured| &measured.verdict);
        matches!(verdict, Some(Verdict::Unreachable { why: Unreachable::Silent }))
    };
    let delivers = |path: &Path| path.verdict().is_ok_and(|verdict| verdict.path_mtu().is_some());
    let mut overlay = node.paths.iter().filter(|(key, _)| key.plane == Plane::Overlay).map(|(_, path)| path);
    let answered = |path: &Path| matches!(&path.outer, Fact::Known(measured) if measured.verdict.path_mtu().is_some());
    let any_answered = node.paths.values().any(answered);
    !any_answered && overlay.any(|path| silent(path) && delivers(path))
}

fn hidden(why: Unreachable) -> String {
    match why {
        Unreachable::Silent => "the answers to encapsulated probes are filtered here".into(),
        Unreachable::Refused { by, why } => format!("{by} refuses encapsulated probes: {}", why.words()),
        Unreachable::NotSent { why } => not_sent(why),
    }
}

fn not_sent(why: NotSent) -> String {
    format!("this machine cannot send encapsulated probes: {}", why.words())
}

const fn unsupported(why: String) -> Unread {
    Unread::new(Source::Probes, Reason::Unsupported { why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, black_hole, limited, no_right, silent};

    fn carried(node: Example) -> Result<u32, String> {
        let node = node.snapshot();
        let mut overlay = node.paths.iter().filter(|(key, _)| key.plane == Plane::Overlay && key.peer == "master-2");
        let (_, path) = overlay.next().unwrap();
        carries(path).map(|(size, _)| size.bytes()).map_err(|why| why.to_string())
    }

    #[test]
    fn every_size_that_was_answered_counts() {
        let outer = |verdict| carried(Example::reference().outer_verdict("master-2", verdict));
        assert_eq!(outer(Verdict::Clear { mtu: IpSize::new(1500) }), Ok(1500));
        assert_eq!(outer(limited(1400, Some("10.0.0.1"))), Ok(1400));
        assert_eq!(outer(black_hole(1399)), Ok(1399));
    }

    #[test]
    fn what_is_not_known_has_a_reason() {
        let outer = |fact| carried(Example::reference().outer_fact("master-2", fact)).unwrap_err();
        assert!(outer(Fact::Unread(no_right())).contains("CAP_NET_RAW"));
        assert!(outer(Fact::Absent).contains("tunnel end is not known"));
        let verdict = |verdict| carried(Example::reference().outer_verdict("master-2", verdict)).unwrap_err();
        assert!(verdict(silent()).contains("filtered here"));
        assert!(verdict(Verdict::Unknown { why: "it was a while ago".into() }).contains("a while ago"));
        let why = Unreachable::NotSent { why: NotSent::Filtered };
        assert!(verdict(Verdict::Unreachable { why }).contains("local filter"));
    }

    #[test]
    fn answers_are_hidden_only_if_nobodys_come_back() {
        let node = Example::reference().outer_verdict("master-2", silent());
        assert!(!answers_are_hidden(&node.snapshot()), "master-3's come back");
        assert!(answers_are_hidden(&node.outer_verdict("master-3", silent()).snapshot()));
        let lost = ["master-2", "master-3"].into_iter().fold(Example::reference(), |node, peer| {
            node.outer_verdict(peer, silent()).verdict(peer, Plane::Overlay, silent())
        });
        assert!(!answers_are_hidden(&lost.snapshot()), "nothing shows that they should come back");
    }
}
