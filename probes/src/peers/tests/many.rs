//! A large cluster costs in proportion: peers are found by address, never by looking through all others.

use super::merge::{agent, hear, twin};
use super::*;
use crate::peers::announced::Endpoint;

fn at(base: [u8; 2], number: usize) -> IpAddr {
    IpAddr::from([base[0], base[1], u8::try_from(number >> 8).unwrap(), u8::try_from(number & 255).unwrap()])
}

fn hardware(number: usize) -> Mac {
    let [.., high, low] = u32::try_from(number).unwrap().to_be_bytes();
    Mac([0x66, 1, 0, 0, high, low])
}

/// Tables of a node that has so many others behind its tunnel.
fn crowd(count: usize) -> Tables {
    let numbers = || 1..=count;
    let route =
        |number| route(&at([100, 64], number).to_string(), 32, Some(&at([10, 244], number).to_string()), TUNNEL);
    let neighbour = |number| Neighbour {
        address: at([10, 244], number),
        mac: Some(hardware(number)),
        ..neighbour("10.244.2.0", 2)
    };
    let entry = |number| FdbEntry { mac: hardware(number), ..entry(2, &at([10, 1], number).to_string()) };
    Tables {
        routes: Fact::Known(numbers().map(route).collect()),
        neighbours: Fact::Known(numbers().map(neighbour).collect()),
        forwarding: Fact::Known(numbers().map(entry).collect()),
        ..tables()
    }
}

/// Half of them by the address of their tunnel's end, half on another network, by their pod.
fn announced(count: usize) -> Vec<Endpoint> {
    let of = |number: usize| {
        let network = if number.is_multiple_of(2) { [10, 1] } else { [172, 20] };
        let name = format!("node-{number:05}");
        [agent(&name, &[&at(network, number).to_string()]), twin(&name, &[&at([100, 64], number).to_string()])]
    };
    (1..=count).flat_map(of).collect()
}

#[test]
fn ten_thousand_nodes_are_ten_thousand_peers() {
    let (tables, list) = (crowd(10_000), announced(10_000));
    let mut directory = Directory::default();
    for _ in 0..2 {
        let peers = hear(&mut directory, list.clone(), &tables);
        assert_eq!(peers.len(), 10_000);
        for peer in &peers {
            assert!(peer.name.starts_with("node-") && peer.pods.len() == 1, "{peer:?}");
            assert!(!peer.underlay.is_empty() && !peer.overlay.is_empty(), "{peer:?}");
        }
        assert_eq!(peers.iter().filter(|peer| !peer.beside().is_empty()).count(), 5_000);
    }
}
