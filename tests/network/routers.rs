//! Rows of routers and ways of equal cost: who speaks, who keeps quiet, where large packets end, and in which direction.

use std::net::IpAddr;

use lab::Result;
use lab::cluster::Cluster;
use lab::echo::{Ask, Heard};
use lab::family::Family;
use lab::fault::{Fault, Manner, Way};
use lab::harness::test;
use lab::recipe::{CHAIN, FOUR_WAYS, Recipe, TWO_WAYS, Underlay};
use lab::traffic::datagrams;
use lab::vxlan::Packed;
use lab::wait::{self, Look};
use libtest_mimic::Trial;

/// Enough source ports that one of four ways is missed once in a hundred million runs.
const PORTS: std::ops::Range<u16> = 40_000..40_064;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("hops end one after the other in a row of three", || hops(3)),
        test("hops end one after the other in a row of five", || hops(5)),
        test("a narrow wire is told by the router before it", told),
        test("a narrow wire of which nobody tells ends large packets after its router", || silent(Manner::Muted)),
        test("a wire that loses large packets ends them after its router", || silent(Manner::Lost)),
        test("two ends of a wire that disagree lose large packets without a word", mismatch),
        test("routers that do not say where hops end carry everything all the same", quiet),
        test("a wire that is black in one direction lets nothing be answered", black),
    ];
    for (recipe, family) in [TWO_WAYS, FOUR_WAYS].into_iter().flat_map(|recipe| BOTH.map(|family| (recipe, family))) {
        let name = |what| format!("{what} on {} {family:?}", recipe.name);
        tests.push(test(name("one way that is small is met from some ports"), move || small_way(recipe, family)));
        tests.push(test(name("one way that is small on its way back"), move || small_way_back(recipe, family)));
        tests.push(test(name("one way that is black is met from some ports"), move || black_way(recipe, family)));
        tests.push(test(name("the tunnel's packets take every way"), move || tunnel_spreads(recipe, family)));
    }
    tests
}

const BOTH: [Family; 2] = [Family::V4, Family::V6];

fn address(recipe: &Recipe, family: Family, node: usize) -> IpAddr {
    recipe.underlay_in(family, node).expect("these recipes speak both families")
}

fn hop(recipe: &Recipe, family: Family, router: usize) -> IpAddr {
    recipe.hop_address(family, router, 0).expect("one wire leads to it")
}

/// Node 0 asks node 1.
fn echo(cluster: &Cluster, family: Family, size: u32) -> Ask {
    Ask::echo(address(&cluster.recipe, family, 1), size)
}

fn hops(routers: u8) -> Result<()> {
    let recipe = Recipe { underlay: Underlay::Chain { network: [172, 19], routers }, ..CHAIN };
    let cluster = Cluster::build(recipe)?;
    for family in BOTH {
        for ttl in 1..=routers {
            for size in [84, 1500] {
                let heard = echo(&cluster, family, size).within(ttl).from(cluster.host(0))?;
                assert_eq!(heard, Heard::Expired { by: hop(&recipe, family, ttl.into()) }, "{family:?} {ttl} {size}");
            }
        }
        let arrives = echo(&cluster, family, 1500).within(routers + 1).from(cluster.host(0))?;
        assert_eq!(arrives, Heard::Answer { fragment: None });
        for router in 1..=recipe.routers() {
            let heard = Ask::echo(hop(&recipe, family, router), 1500).from(cluster.host(0))?;
            assert_eq!(heard, Heard::Answer { fragment: None }, "router {router} answers by itself");
        }
    }
    Ok(())
}

fn told() -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    for after in 1..CHAIN.routers() {
        for way in [Way::Both, Way::There] {
            let fault = Fault::NarrowHop { after, bytes: 1400.into(), way, manner: Manner::Told };
            let narrow = fault.make(&cluster)?;
            for family in BOTH {
                let by = hop(&CHAIN, family, after);
                let ask = |size| echo(&cluster, family, size).from(cluster.host(0));
                assert_eq!(ask(1401)?, Heard::TooBig { by, mtu: 1400 }, "{fault:?}");
                assert_eq!(ask(1400)?, Heard::Answer { fragment: None }, "{fault:?}");
            }
            narrow.heal()?;
            for family in BOTH {
                let heard = echo(&cluster, family, 1500).from(cluster.host(0))?;
                assert_eq!(heard, Heard::Answer { fragment: None }, "{fault:?} has healed");
            }
        }
    }
    Ok(())
}

/// What locates a silent hole: the router before it is the last where a large packet's hops end.
fn silent(manner: Manner) -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    for after in 1..CHAIN.routers() {
        let hole = Fault::NarrowHop { after, bytes: 1400.into(), way: Way::There, manner }.make(&cluster)?;
        BOTH.into_iter().try_for_each(|family| ends_after(&cluster, family, after))?;
        hole.heal()?;
        for family in BOTH {
            assert_eq!(echo(&cluster, family, 1500).from(cluster.host(0))?, Heard::Answer { fragment: None });
        }
    }
    Ok(())
}

fn ends_after(cluster: &Cluster, family: Family, after: usize) -> Result<()> {
    let host = cluster.host(0);
    assert_eq!(echo(cluster, family, 1401).from(host)?, Heard::Silence, "{family:?} {after}");
    assert_eq!(echo(cluster, family, 1400).from(host)?, Heard::Answer { fragment: None }, "{family:?} {after}");
    for (router, size, carried) in [(after, 1401, true), (after + 1, 1401, false), (after + 1, 1400, true)] {
        let ttl = u8::try_from(router).expect("a row is short");
        let heard = echo(cluster, family, size).within(ttl).from(host)?;
        let ended = Heard::Expired { by: hop(&cluster.recipe, family, router) };
        assert_eq!(heard, if carried { ended } else { Heard::Silence }, "{family:?} {size} B to router {router}");
    }
    Ok(())
}

/// A kernel fact: a veth takes four bytes more than its MTU, room for a VLAN tag.
fn mismatch() -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    let fault = Fault::FarEndMtu { after: 2, bytes: 1396.into() }.make(&cluster)?;
    for family in BOTH {
        // The far end tells the answer's sender of IPv6 that it must cut, and loses the answer that was too large.
        wait::until("an answer of 1400 B", || {
            let heard = echo(&cluster, family, 1400).from(cluster.host(0))?;
            let answered = matches!(heard, Heard::Answer { fragment: Some(_) });
            Ok(if answered { Look::There(()) } else { Look::NotYet(format!("{heard:?}")) })
        })?;
        assert_eq!(echo(&cluster, family, 1401).from(cluster.host(0))?, Heard::Silence);
        assert_eq!(echo(&cluster, family, 1401).within(3).from(cluster.host(0))?, Heard::Silence);
        let by = hop(&CHAIN, family, 2);
        assert_eq!(echo(&cluster, family, 1401).within(2).from(cluster.host(0))?, Heard::Expired { by });
    }
    fault.heal()?;
    for family in BOTH {
        assert_eq!(echo(&cluster, family, 1500).from(cluster.host(0))?, Heard::Answer { fragment: None });
    }
    Ok(())
}

fn quiet() -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    for (router, heard_of) in [(Some(2), [true, false, true]), (None, [false; 3])] {
        let fault = Fault::DropTimeExceeded { router }.make(&cluster)?;
        for family in BOTH {
            for (ttl, is_heard) in (1..).zip(heard_of) {
                let heard = echo(&cluster, family, 84).within(ttl).from(cluster.host(0))?;
                assert_eq!(matches!(heard, Heard::Expired { .. }), is_heard, "{family:?} {router:?} {ttl}: {heard:?}");
            }
            assert_eq!(echo(&cluster, family, 1500).from(cluster.host(0))?, Heard::Answer { fragment: None });
        }
        fault.heal()?;
        let by = hop(&CHAIN, Family::V4, 2);
        assert_eq!(echo(&cluster, Family::V4, 84).within(2).from(cluster.host(0))?, Heard::Expired { by });
    }
    Ok(())
}

fn black() -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    for way in [Way::There, Way::Back, Way::Both] {
        let fault = Fault::DropHop { after: 2, way }.make(&cluster)?;
        for family in BOTH {
            let ask = |hops| echo(&cluster, family, 84).within(hops).from(cluster.host(0));
            assert_eq!(ask(64)?, Heard::Silence, "{way:?}");
            assert!(matches!(ask(2)?, Heard::Expired { .. }), "{way:?}");
            // What a router says about a packet is its own, and no filter on forwarding keeps it back.
            let heard = matches!(ask(3)?, Heard::Expired { .. });
            assert_eq!(heard, way == Way::Back, "{way:?}");
        }
        fault.heal()?;
        for family in BOTH {
            assert_eq!(echo(&cluster, family, 1500).from(cluster.host(0))?, Heard::Answer { fragment: None });
        }
    }
    Ok(())
}

/// From how many ports datagrams from node 0 arrive at node 1.
fn arrive(cluster: &Cluster, address: IpAddr, size: u32) -> Result<usize> {
    Ok(datagrams(cluster.host(0), cluster.host(1), address, size, PORTS)?.len())
}

/// The other direction is as small, and the first is whole.
fn small_way_back(recipe: Recipe, family: Family) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let [near, far] = [0, 1].map(|node| address(&recipe, family, node));
    let after = recipe.router_on(1);
    let back = || Ok(datagrams(cluster.host(1), cluster.host(0), near, 1401, PORTS)?.len());
    for manner in [Manner::Told, Manner::Muted, Manner::Lost] {
        let small = Fault::NarrowHop { after, bytes: 1400.into(), way: Way::Back, manner }.make(&cluster)?;
        let large: usize = back()?;
        assert!((1..PORTS.len()).contains(&large), "{manner:?}: {large} of {}", PORTS.len());
        assert_eq!(arrive(&cluster, far, 1500)?, PORTS.len(), "{manner:?}");
        small.heal()?;
        assert_eq!(back()?, PORTS.len(), "{manner:?} has healed");
    }
    Ok(())
}

fn small_way(recipe: Recipe, family: Family) -> Result<()> {
    let (cluster, address) = (Cluster::build(recipe)?, address(&recipe, family, 1));
    let after = recipe.router_on(recipe.ways());
    assert_eq!(arrive(&cluster, address, 1500)?, PORTS.len(), "every way is whole");
    for manner in [Manner::Told, Manner::Muted, Manner::Lost] {
        let small = Fault::NarrowHop { after, bytes: 1400.into(), way: Way::There, manner }.make(&cluster)?;
        let large = arrive(&cluster, address, 1401)?;
        assert!((1..PORTS.len()).contains(&large), "{manner:?}: {large} of {}", PORTS.len());
        assert_eq!(arrive(&cluster, address, 1400)?, PORTS.len(), "{manner:?}");
        let answers =
            (0..8).map(|_| Ok(Ask::echo(address, 1401).from(cluster.host(0))? == Heard::Answer { fragment: None }));
        let answers = answers.collect::<Result<Vec<_>>>()?;
        assert!(answers.windows(2).all(|two| two[0] == two[1]), "ICMP has no ports and takes one way: {answers:?}");
        if manner == Manner::Told {
            packed(&cluster, family, after)?;
        }
        small.heal()?;
        assert_eq!(arrive(&cluster, address, 1500)?, PORTS.len(), "{manner:?} has healed");
    }
    Ok(())
}

/// Packets of the tunnel's own form, from ports of our choice, meet the small way as other datagrams do.
fn packed(cluster: &Cluster, family: Family, after: usize) -> Result<()> {
    let by = hop(&cluster.recipe, family, after);
    let mut seen = [0; 2];
    for port in PORTS {
        let heard = Packed { peer: 1, family, port, size: 1401 }.send(cluster)?;
        match heard {
            Heard::Answer { .. } => seen[0] += 1,
            heard => {
                assert_eq!(heard, Heard::TooBig { by, mtu: 1400 });
                seen[1] += 1;
            }
        }
    }
    assert!(seen.iter().all(|&times| times > 0), "answered and refused: {seen:?}");
    Ok(())
}

fn black_way(recipe: Recipe, family: Family) -> Result<()> {
    let (cluster, address) = (Cluster::build(recipe)?, address(&recipe, family, 1));
    let black = Fault::DropHop { after: recipe.router_on(1), way: Way::Both }.make(&cluster)?;
    let arrived = arrive(&cluster, address, 84)?;
    assert!((1..PORTS.len()).contains(&arrived), "{arrived} of {}", PORTS.len());
    black.heal()?;
    assert_eq!(arrive(&cluster, address, 84)?, PORTS.len());
    Ok(())
}

/// The kernel takes a tunnel's source port from what is inside, so flows through it spread as well.
fn tunnel_spreads(recipe: Recipe, family: Family) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let address = cluster.overlay()?.tunnel_in(family, 1).expect("pods speak both families");
    let black = Fault::DropHop { after: recipe.router_on(1), way: Way::There }.make(&cluster)?;
    let arrived = arrive(&cluster, address, 1430)?;
    assert!((1..PORTS.len()).contains(&arrived), "{arrived} of {}", PORTS.len());
    black.heal()?;
    assert_eq!(arrive(&cluster, address, 1430)?, PORTS.len());
    Ok(())
}
