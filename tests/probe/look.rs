//! Where and which way a size is lost: hops, direction, equal-cost paths, on both families.

use lab::Result;
use lab::cluster::Cluster;
use lab::family::Family;
use lab::fault::{Fault, Manner, Way};
use lab::recipe::{CHAIN, FOUR_WAYS, Recipe, TWO_WAYS};
use lab::report::{Path, Spread};
use libtest_mimic::Trial;

use super::{address, each, lost_behind, only, probe};

pub(crate) fn tests() -> Vec<Trial> {
    let over = |what: &str| [Family::V4, Family::V6].map(|family| (format!("{what} over {family:?}"), family));
    let on = |what: &str, recipes: &[Recipe]| -> Vec<(String, Recipe)> {
        recipes.iter().map(|recipe| (format!("{what} on {}", recipe.name), *recipe)).collect()
    };
    [
        each(&over("every hop is shown with what it sees"), every_hop),
        each(&over("a silent hole is between two hops"), hole),
        each(&over("the way on which a size is lost is named"), ways),
        each(&on("ways that are even are found even", &[TWO_WAYS, FOUR_WAYS]), even),
        each(&on("one narrow way is found", &[TWO_WAYS, FOUR_WAYS]), uneven),
        each(&on("one way that swallows is found", &[TWO_WAYS]), swallowing),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn measure(cluster: &Cluster, family: Family, more: &[&str]) -> Result<(Path, i32)> {
    let peer = address(cluster.recipe.underlay_in(family, 1));
    let (report, code) = probe(cluster.host(0), &[more, &[&peer]].concat())?;
    Ok((only(report), code))
}

fn every_hop(family: Family) -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    let (path, code) = measure(&cluster, family, &["--hops"])?;
    let hops: Vec<_> = path.hops.iter().map(|hop| (hop.ttl, hop.address.clone(), hop.carried, hop.target)).collect();
    let router = |number: u8| {
        let hop = CHAIN.hop_address(family, usize::from(number), 0);
        (number, hop.map(|hop| hop.to_string()), Some(1500), false)
    };
    let mut wanted: Vec<_> = (1..=4).map(router).collect();
    wanted.push((5, CHAIN.underlay_in(family, 1).map(|peer| peer.to_string()), Some(1500), true));
    assert_eq!((path.verdict.as_str(), hops, code), ("clear", wanted, 0), "{path:?}");
    let (path, _) = measure(&cluster, family, &[])?;
    assert!(path.hops.is_empty() && path.packets_sent == 2, "nobody asked: {path:?}");
    Ok(())
}

fn hole(family: Family) -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    let lost = lost_behind(2, 1400, Way::There).make(&cluster)?;
    let (path, code) = measure(&cluster, family, &[])?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("black_hole", Some(1400), 1), "{path:?}");
    let hole = path.hole.clone().map(|hole| (hole.after.map(|after| after.ttl), hole.before.ttl));
    assert_eq!(hole, Some((Some(2), 3)), "{path:?}");
    lost.heal()
}

fn ways(family: Family) -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    for (way, told) in [(Way::There, "forward"), (Way::Back, "reverse")] {
        let lost = lost_behind(2, 1400, way).make(&cluster)?;
        let (path, _) = measure(&cluster, family, &[])?;
        assert_eq!((path.verdict.as_str(), path.path_mtu), ("black_hole", Some(1400)), "{path:?}");
        // IPv6 has no timestamp to tell the ways apart by; then nothing is claimed.
        let known = if family == Family::V4 { Some(told) } else { path.way.as_deref() };
        assert_eq!(path.way.as_deref(), known, "{path:?}");
        assert!(path.way.as_deref().is_none_or(|way| way == told), "{path:?}");
        lost.heal()?;
    }
    Ok(())
}

fn spread(cluster: &Cluster, ports: u16) -> Result<(Path, Spread, i32)> {
    let (path, code) = measure(cluster, Family::V4, &[&format!("--ecmp={ports}"), "--fail-on", "warning"])?;
    let spread = path.spread.clone().expect("a sweep was asked for");
    assert_eq!(spread.ports, usize::from(ports), "{path:?}");
    Ok((path, spread, code))
}

fn ports(spread: &Spread, fate: &str) -> usize {
    spread.kinds.iter().filter(|kind| kind.fate == fate).map(|kind| kind.ports).sum()
}

fn even(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let (path, spread, code) = spread(&cluster, 8)?;
    assert_eq!((path.verdict.as_str(), spread.share_bad, code), ("clear", Some(0.0), 0), "{path:?}");
    Ok(())
}

fn uneven(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let fault =
        Fault::NarrowHop { after: recipe.router_on(1), bytes: 1400.into(), way: Way::There, manner: Manner::Told };
    let narrow = fault.make(&cluster)?;
    let (path, found, code) = spread(&cluster, recipe.ports_to_tell())?;
    let limited = found.kinds.iter().find(|kind| kind.fate == "limited");
    assert!(limited.is_some_and(|kind| kind.carries == Some(1400) && !kind.sample.is_empty()), "{path:?}");
    assert!(found.share_bad.is_some_and(|share| share > 0.0), "{path:?}");
    assert_eq!((ports(&found, "swallowed"), ports(&found, "dead"), code), (0, 0, 1), "{path:?}");
    narrow.heal()
}

fn swallowing(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let lost = lost_behind(recipe.router_on(1), 1400, Way::There).make(&cluster)?;
    let (path, found, code) = spread(&cluster, recipe.ports_to_tell())?;
    assert!(ports(&found, "swallowed") > 0 && ports(&found, "limited") == 0, "{path:?}");
    assert_eq!(code, 1, "{path:?}");
    lost.heal()
}
