//! What is declared, put beside the rungs that it is about.
//!
//! A link, a tunnel, routes and pods are those that the row of `declared` names. Paths are measured by what they stand
//! on: between nodes by the link right below them, inside the overlay by the tunnel, the routes or the pods of this very
//! ladder, so that the size of one network never stands beside another's.

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::{DeclaredPlace, DeclaredRow, PlaceKind};
use crate::units::IpSize;

use super::{Ladder, Layer, Rung};

/// One declared MTU beside a rung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Beside {
    /// Who declares it.
    pub source: String,
    /// Where it is written: the file and the key in it.
    pub written: String,
    /// What it says.
    pub mtu: IpSize,
    /// Whether the rung is not as it is declared to be.
    pub differs: bool,
    /// Codes of the findings about it, where it differs.
    pub findings: Vec<&'static str>,
}

/// Puts every row that counts beside its rungs.
pub(super) fn put(rows: &[DeclaredRow], ladder: &mut Ladder) {
    for row in rows {
        let Some(declared) = row.counts() else { continue };
        let configured: Vec<Option<bool>> = ladder.rungs.iter().map(|rung| configured(row, rung, declared)).collect();
        let mut inside = false;
        for (at, rung) in ladder.rungs.iter_mut().enumerate() {
            let below = at.checked_sub(1).and_then(|below| configured[below]).is_some();
            let smaller = rung.mtu.map(|mtu| mtu < declared);
            let differs = match rung.layer {
                Layer::Path => smaller.filter(|_| below),
                Layer::InnerPath => smaller.filter(|_| inside || pods(&configured, at)),
                _ => configured[at],
            };
            inside |= configured[at].is_some() && is_inner(rung, &ladder.link);
            rung.declared.extend(differs.map(|differs| beside(row, declared, differs)));
        }
    }
}

/// Whether paths inside the overlay stand on this rung.
fn is_inner(rung: &Rung, top: &str) -> bool {
    rung.layer == Layer::Route || (rung.layer == Layer::Tunnel && rung.name == top)
}

/// Whether the row is about the pods above the rung.
fn pods(configured: &[Option<bool>], at: usize) -> bool {
    configured[at + 1..].iter().any(Option::is_some)
}

/// Whether a rung of what is configured differs; `None` if the row is not about it, or the rung has no size.
fn configured(row: &DeclaredRow, rung: &Rung, declared: IpSize) -> Option<bool> {
    let mtu = rung.mtu?;
    let of = |kind: PlaceKind, named: bool| {
        let about = |place: &&DeclaredPlace| place.kind == kind && (!named || place.name == rung.name);
        let mut places = row.kernel.iter().filter(about).peekable();
        places.peek()?;
        Some(places.any(|place| place.differs))
    };
    match rung.layer {
        Layer::Path | Layer::InnerPath => None,
        Layer::Pods => of(PlaceKind::Pods, false),
        Layer::Route if row.subject != "overlay" => None,
        Layer::Route => of(PlaceKind::Route, false).map(|_| mtu != declared),
        Layer::Tunnel => of(PlaceKind::Tunnel, true),
        Layer::Nic | Layer::Bond | Layer::Vlan | Layer::Bridge | Layer::Link => of(PlaceKind::Device, true),
    }
}

fn beside(row: &DeclaredRow, mtu: IpSize, differs: bool) -> Beside {
    let findings = if differs { row.findings.clone() } else { Vec::new() };
    Beside { source: row.source.clone(), written: row.written(), mtu, differs, findings }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::lines::example::host;
    use crate::node::rows;
    use crate::path::Plane;
    use crate::report::ladder::{Fit, of};
    use crate::snapshot::example::{Example, black_hole};
    use crate::units::LinkMtu;

    /// Calico's file with a size, what the operator means, and the ladder's rungs: layer, size, what stands beside it.
    fn beside(node: &Example, file: Option<u32>, expect: [Option<u32>; 2], link: &str) -> Vec<String> {
        let mut node = node.clone();
        if let Some(mtu) = file {
            let text = format!(r#"{{"name": "k", "plugins": [{{"type": "calico", "mtu": {mtu}}}]}}"#);
            node.tables.declared = host(&[("10-calico.conflist", Ok(&text))], &[]);
        }
        let mut node = node.snapshot();
        let [underlay, overlay] = expect.map(|mtu| mtu.map(IpSize::new));
        (node.expect.underlay_mtu, node.expect.overlay_mtu) = (underlay, overlay);
        let ladder = of(&rows::unjudged(&node)).into_iter().find(|ladder| ladder.link == link).unwrap();
        let line = |rung: &Rung| {
            let sign = |one: &Beside| format!(" {} {}", if one.differs { "≠" } else { "~" }, one.mtu);
            let signs: String = rung.declared.iter().map(sign).collect();
            format!("{} {}{signs}", rung.layer.name(), rung.mtu.map_or(0, IpSize::bytes))
        };
        ladder.rungs.iter().map(line).collect()
    }

    const NOTHING: [Option<u32>; 2] = [None, None];

    #[test]
    fn without_anything_declared_nothing_stands_beside() {
        let lines = beside(&Example::reference(), None, NOTHING, "vxlan.calico");
        assert!(lines.iter().all(|line| !line.contains(['~', '≠'])), "{lines:?}");
    }

    #[test]
    fn each_size_stands_beside_what_it_is_about() {
        assert_eq!(
            beside(&Example::reference(), Some(1400), [Some(1500), Some(1450)], "vxlan.calico"),
            [
                "NIC 1500 ~ 1500",
                "bridge 1500 ~ 1500",
                "path 1500 ~ 1500",
                "tunnel 1450 ~ 1450 ~ 1400",
                "route 1450",
                "overlay 1450 ~ 1450 ~ 1400",
                "pods 1450 ≠ 1400",
            ]
        );
    }

    #[test]
    fn what_was_measured_to_be_less_differs() {
        let node = Example::reference().verdict("master-2", Plane::Underlay, black_hole(1400)).verdict(
            "master-2",
            Plane::Overlay,
            black_hole(1350),
        );
        let lines = beside(&node, Some(1450), [Some(1500), None], "vxlan.calico");
        assert_eq!((lines[2].as_str(), lines[5].as_str()), ("path 1400 ≠ 1500", "overlay 1350 ≠ 1450"));
        assert_eq!((lines[1].as_str(), lines[6].as_str()), ("bridge 1500 ~ 1500", "pods 1450 ~ 1450"));
    }

    #[test]
    fn a_size_that_differs_breaks_nothing_by_itself() {
        let mut node = Example::reference().snapshot();
        (node.expect.underlay_mtu, node.expect.overlay_mtu) = (Some(IpSize::new(9000)), Some(IpSize::new(8950)));
        let ladder = of(&rows::unjudged(&node)).swap_remove(0);
        assert_eq!(ladder.verdict, Fit::Ok);
        let differ: Vec<_> = ladder.rungs.iter().map(|rung| rung.declared.iter().any(|one| one.differs)).collect();
        assert_eq!(differ, [true, true, true, true, false, true, false]);
    }

    #[test]
    fn another_networks_size_never_stands_beside() {
        let node = Example::reference()
            .vxlan("vxlan-b", 1400, Some("vmbr0"), "192.168.0.11")
            .peer("other", "vmbr0", "192.168.0.77")
            .behind_tunnel("other", "vxlan-b", "10.99.2.0", &[]);
        let lines = beside(&node, None, [None, Some(1450)], "vxlan-b");
        assert!(lines.iter().all(|line| !line.contains(['~', '≠'])), "it carries no pods: {lines:?}");
    }

    #[test]
    fn without_a_tunnel_the_pods_size_stands_beside_their_paths() {
        let mut node = Example::empty()
            .device("eth0", "device", 1500)
            .address("eth0", "172.20.0.2", 16)
            .pod("cali1a2b3c4d5e6", 1450, "10.42.0.7")
            .peer("worker", "eth0", "172.20.0.3");
        let pod = crate::snapshot::example::ip("10.42.1.4");
        node.peers[0].pods = vec![pod];
        let route = node.lookups[&crate::snapshot::example::ip("172.20.0.3")].clone();
        node.lookups.insert(pod, route);
        let lines = beside(&node, Some(1450), [Some(1500), None], "eth0");
        assert_eq!(
            lines,
            ["NIC 1500 ~ 1500", "path 1500 ~ 1500", "route 1500", "overlay 1500 ~ 1450", "pods 1450 ~ 1450"]
        );
        let fits = beside(
            &node.with("cali1a2b3c4d5e6", |link| link.mtu = LinkMtu::new(1500)),
            None,
            [None, Some(1450)],
            "eth0",
        );
        assert_eq!(fits.last().unwrap(), "pods 1500 ≠ 1450");
    }
}
