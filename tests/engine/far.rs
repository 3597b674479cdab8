//! Both families, both ways, and every hop: what lies between two nodes is measured and named.

use std::net::IpAddr;

use lab::cluster::Cluster;
use lab::family::Family;
use lab::fault::{Fault, Manner, Way};
use lab::harness::test;
use lab::recipe::{CHAIN, DUAL, MIXED, Recipe, SIX, SIX_ALONE, SIX_PODS};
use lab::report::{HopAt, Path};
use lab::{Error, Result};
use libtest_mimic::Trial;

use super::probe;

const BOTH: [Family; 2] = [Family::V4, Family::V6];

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("IPv6 takes two packets where the path is clear", clear),
        test("IPv6 inside a tunnel, and outside one for IPv4, are measured", tunnels),
        test("Packet Too Big takes three packets and names the hop", too_big),
        test("a narrow way back that fragments does not narrow the way there", fragments),
        test("the way on which packets vanish is told from the other", ways),
        test("without timestamps the way is told by what a closed port answers", without_timestamps),
        test("a hop that says nothing is passed over", silent_routers),
        test("the hops of a clear path all carry the full size", hop_view),
    ];
    for family in BOTH {
        for after in 1..=3 {
            tests.push(test(
                format!("packets that vanish behind router {after} are traced there over {family:?}"),
                move || hole(family, after),
            ));
        }
    }
    tests
}

fn target(recipe: &Recipe, family: Family) -> Result<IpAddr> {
    recipe.underlay_in(family, 1).ok_or_else(|| Error::new("asking for the peer's address", "not in this family"))
}

fn is_clear(path: &Path, code: i32, mtu: u32) {
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("clear", Some(mtu), 0), "{path:?}");
    assert_eq!((path.packets_sent, path.forward_mtu, path.reverse_mtu), (2, Some(mtu), Some(mtu)), "{path:?}");
}

fn clear() -> Result<()> {
    for recipe in [DUAL, SIX, SIX_ALONE, CHAIN] {
        let cluster = Cluster::build(recipe)?;
        let (path, code) = probe(&cluster, target(&recipe, Family::V6)?)?;
        is_clear(&path, code, recipe.underlay_mtu);
    }
    Ok(())
}

fn tunnels() -> Result<()> {
    for recipe in [DUAL, MIXED, SIX, SIX_PODS] {
        let cluster = Cluster::build(recipe)?;
        let overlay = cluster.overlay()?;
        for family in BOTH {
            let Some(address) = overlay.tunnel_in(family, 1) else { continue };
            let (path, code) = probe(&cluster, address)?;
            let mtu = overlay.tunnel_of(family).map(|tunnel| tunnel.mtu);
            assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("clear", mtu, 0), "{}: {path:?}", recipe.name);
        }
    }
    Ok(())
}

fn narrow(after: usize, bytes: u32, way: Way, manner: Manner) -> Fault {
    Fault::NarrowHop { after, bytes: bytes.into(), way, manner }
}

fn too_big() -> Result<()> {
    for mtu in [1499, 1400, 1280] {
        let cluster = Cluster::build(CHAIN)?;
        let fault = narrow(2, mtu, Way::There, Manner::Told).make(&cluster)?;
        let (path, code) = probe(&cluster, target(&CHAIN, Family::V6)?)?;
        assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("limited", Some(mtu), 0), "{path:?}");
        assert_eq!(path.packets_sent, 3, "{path:?}");
        let by = path.limited_by.clone().map(|by| (by.address, by.reported_mtu));
        let hop = CHAIN.hop_address(Family::V6, 2, 0).map(|address| address.to_string());
        assert_eq!(by, Some((hop, Some(mtu))), "{path:?}");
        fault.heal()?;
    }
    Ok(())
}

/// A router on the way back cuts IPv4 replies into pieces; over IPv6 the peer does so itself, once it was told.
fn fragments() -> Result<()> {
    for family in BOTH {
        let cluster = Cluster::build(CHAIN)?;
        let fault = narrow(2, 1400, Way::Back, Manner::Told).make(&cluster)?;
        let (path, code) = probe(&cluster, target(&CHAIN, family)?)?;
        assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("clear", Some(1500), 0), "{family:?} {path:?}");
        assert_eq!((path.forward_mtu, path.reverse_mtu), (Some(1500), Some(1400)), "{family:?} {path:?}");
        fault.heal()?;
    }
    Ok(())
}

fn ways() -> Result<()> {
    for family in BOTH {
        for (way, name, forward) in [(Way::There, "forward", 1400), (Way::Back, "reverse", 1500)] {
            let cluster = Cluster::build(CHAIN)?;
            let fault = narrow(2, 1400, way, Manner::Lost).make(&cluster)?;
            let (path, code) = probe(&cluster, target(&CHAIN, family)?)?;
            assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("black_hole", Some(1400), 1), "{path:?}");
            assert_eq!(path.way.as_deref(), Some(name), "{family:?} {path:?}");
            assert_eq!((path.forward_mtu, path.reverse_mtu), (Some(forward), Some(1400)), "{family:?} {path:?}");
            assert_eq!(path.hole.is_some(), way == Way::There, "the hops are on the way there: {path:?}");
            fault.heal()?;
        }
    }
    Ok(())
}

fn without_timestamps() -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    let filter = Fault::DropTimestamp { node: 1 }.make(&cluster)?;
    let fault = narrow(2, 1400, Way::Back, Manner::Lost).make(&cluster)?;
    let (path, _) = probe(&cluster, target(&CHAIN, Family::V4)?)?;
    assert_eq!((path.verdict.as_str(), path.way.as_deref()), ("black_hole", Some("reverse")), "{path:?}");
    fault.heal()?;
    filter.heal()
}

fn at(family: Family, router: usize) -> HopAt {
    let address = CHAIN.hop_address(family, router, 0).map(|address| address.to_string());
    HopAt { ttl: u8::try_from(router).expect("a lab has a handful of routers"), address }
}

fn hole(family: Family, after: usize) -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    let fault = narrow(after, 1400, Way::There, Manner::Lost).make(&cluster)?;
    let (path, code) = probe(&cluster, target(&CHAIN, family)?)?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("black_hole", Some(1400), 1), "{path:?}");
    let hole = path.hole.clone().ok_or_else(|| Error::new("looking for the hole", format!("{path:?}")))?;
    assert_eq!((hole.after.as_ref(), &hole.before), (Some(&at(family, after)), &at(family, after + 1)), "{path:?}");
    let by = path.limited_by.clone().and_then(|by| by.address);
    assert_eq!(by, at(family, after).address, "{path:?}");
    assert!(path.packets_sent <= 60 + 4 * 6, "{path:?}");
    fault.heal()
}

/// A router that does not say that a packet ended there hides where packets vanish, and nothing is made up.
fn silent_routers() -> Result<()> {
    for family in BOTH {
        let cluster = Cluster::build(CHAIN)?;
        let mute = Fault::DropTimeExceeded { router: Some(2) }.make(&cluster)?;
        let fault = narrow(2, 1400, Way::There, Manner::Lost).make(&cluster)?;
        let (path, _) = probe(&cluster, target(&CHAIN, family)?)?;
        let hole = path.hole.clone().ok_or_else(|| Error::new("looking for the hole", format!("{path:?}")))?;
        assert_eq!((hole.after.as_ref(), &hole.before), (Some(&at(family, 1)), &at(family, 3)), "{path:?}");
        fault.heal()?;
        mute.heal()?;
    }
    Ok(())
}

fn hop_view() -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    for family in BOTH {
        let address = target(&CHAIN, family)?;
        let (path, _) = super::probe_with(&cluster, &[&address.to_string(), "--hops"])?;
        let seen: Vec<_> =
            path.hops.iter().map(|hop| (hop.ttl, hop.address.clone(), hop.carried, hop.target)).collect();
        let mut wanted: Vec<_> =
            (1..=4).map(|router| (router, at(family, usize::from(router)).address, Some(1500), false)).collect();
        wanted.push((5, Some(address.to_string()), Some(1500), true));
        assert_eq!(seen, wanted, "{path:?}");
        assert!(path.hops.iter().all(|hop| hop.round_trip_seconds.is_some_and(|time| time > 0.0)), "{path:?}");
    }
    Ok(())
}
