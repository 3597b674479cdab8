//! A look at a large cluster costs in proportion: whatever is asked for each path is found by its key. Looked for through
//! all others, two thousand peers would take this test minutes instead of a second.

use std::net::IpAddr;

use super::ground::Ground;
use super::targets;
use crate::checks;
use crate::config::Work;
use crate::fact::Fact;
use crate::kernel::{FdbEntry, Mac, Neighbour, NeighbourState, Route};
use crate::peers::{Behind, Peer};
use crate::snapshot::Snapshot;
use crate::snapshot::example::Example;

const TUNNEL: &str = "flannel.1";

fn at(base: [u8; 2], number: usize) -> IpAddr {
    let [.., high, low] = u32::try_from(number).unwrap().to_be_bytes();
    IpAddr::from([base[0], base[1], high, low])
}

/// Flannel's node among so many others.
fn crowd(count: usize) -> Snapshot {
    let mut node = Example::flannel();
    let tunnel = node.tables.link_named(TUNNEL).unwrap().index;
    let known = node.peers[0].clone();
    let to_node = node.lookups[&known.underlay.first().unwrap()].known().unwrap().clone();
    let to_tunnel = node.lookups[&known.overlay.first().unwrap()].known().unwrap().clone();
    let (mut neighbours, mut forwarding) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let [.., high, low] = u32::try_from(number).unwrap().to_be_bytes();
        let (underlay, overlay) = (at([10, 1], number), at([10, 244], number));
        let mac = Mac([0x66, 1, 0, 0, high, low]);
        let behind = Behind { tunnel: TUNNEL.into(), underlay: Some(underlay), overlay: overlay.into() };
        node.peers.push(Peer {
            name: format!("node-{number:05}"),
            underlay: underlay.into(),
            overlay: overlay.into(),
            tunnels: vec![behind],
            ..Peer::default()
        });
        let mut led: Route = to_tunnel.clone();
        led.destination = overlay;
        led.hops[0].gateway = Some(overlay);
        node.lookups.insert(underlay, Fact::Known(to_node.clone()));
        node.lookups.insert(overlay, Fact::Known(led));
        let state = NeighbourState::Permanent;
        neighbours.push(Neighbour { link: tunnel, address: overlay, mac: Some(mac), state, external: false });
        forwarding.push(FdbEntry { link: tunnel, mac, destination: Some(underlay), permanent: true });
    }
    let Fact::Known(known) = &mut node.tables.neighbours else { unreachable!() };
    known.extend(neighbours);
    let Fact::Known(known) = &mut node.tables.forwarding else { unreachable!() };
    known.extend(forwarding);
    node.snapshot()
}

#[test]
fn two_thousand_peers_are_looked_at_in_proportion() {
    let mut node = crowd(2_000);
    node.paths = targets::paths(&node, &Ok(()), 4);
    assert!(targets::queries(&node).len() >= 4_000);
    let tunnelled = targets::of(&node, |_| true).into_iter().filter(|target| target.tunnel.is_some()).count();
    assert!(tunnelled >= 2_000, "each is found behind the tunnel");
    let ground = Ground::under(&node);
    assert!(ground.moved(&Ground::under(&node), &node.paths).is_empty());
    let outcomes = checks::judge_all(&node, Work::Agent);
    let raised = |code| {
        outcomes
            .iter()
            .filter(|outcome| outcome.entry.code == code)
            .any(|outcome| outcome.result.as_ref().is_ok_and(|looked| !looked.raised.is_empty()))
    };
    for code in ["vtep-incomplete", "vtep-mac-differs", "tunnel-wrong-underlay"] {
        assert!(!raised(code), "{code}: the tables are whole");
    }
}
