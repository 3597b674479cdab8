//! Faults that spare echo or one direction: what breaks is told by other witnesses.

use std::net::IpAddr;

use lab::cluster::Cluster;
use lab::echo::{Ask, Heard, ping};
use lab::family::Family;
use lab::fault::{Fault, Manner, Traffic, Way};
use lab::harness::test;
use lab::namespace::Namespace;
use lab::recipe::{CHAIN, DUAL, REFERENCE, ROUTED, Recipe, SIX};
use lab::traffic::{datagrams, transfer};
use lab::vxlan::Packed;
use lab::wait::{self, Look};
use lab::{Error, Result};
use libtest_mimic::Trial;

/// Larger than what TCP may have under way before it hears of the first segment.
const TRANSFER: usize = 256 << 10;
/// A transfer of one small segment.
const SMALL: usize = 400;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("timestamps are filtered and echo is not", timestamps),
        test("an answer that nobody asked for is dropped as invalid", invalid),
    ];
    for (recipe, family) in [(CHAIN, Family::V4), (CHAIN, Family::V6), (ROUTED, Family::V4), (SIX, Family::V6)] {
        let name = format!("a way back that is narrow on {} {family:?}", recipe.name);
        tests.push(test(name, move || narrow_back(recipe, family)));
    }
    let faults: [(Recipe, Family); 3] = [(REFERENCE, Family::V4), (ROUTED, Family::V4), (DUAL, Family::V6)];
    for (recipe, family) in faults {
        let name = |what| format!("{what} on {} {family:?}", recipe.name);
        tests.push(test(name("large packets are lost in one direction"), move || one_way(recipe, family)));
        tests.push(test(name("packets are lost at random"), move || loss(recipe, family)));
        tests.push(test(name("large segments stall in the tunnel"), move || stall(recipe, family)));
        tests.push(test(name("segments leave the tunnel with a wrong checksum"), move || corrupt(recipe, family)));
    }
    tests
}

const WHOLE: Heard = Heard::Answer { fragment: None };

fn ask(cluster: &Cluster, family: Family, size: u32) -> Result<Heard> {
    Ask::echo(peer(cluster, family)?, size).from(cluster.host(0))
}

fn peer(cluster: &Cluster, family: Family) -> Result<IpAddr> {
    cluster.recipe.underlay_in(family, 1).ok_or_else(no_address)
}

/// Kernel facts: an answer of IPv4 is cut on a narrow way back, and comes in pieces; the sender of one of IPv6 is told,
/// and cuts the next.
fn narrow_back(recipe: Recipe, family: Family) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let back = |manner| Fault::NarrowHop { after: 1, bytes: 1400.into(), way: Way::Back, manner }.make(&cluster);
    let cut = |heard| matches!(heard, Heard::Answer { fragment: Some(1393..=1400) });
    let muted = back(Manner::Muted)?;
    assert_eq!(ask(&cluster, family, 1400)?, WHOLE);
    let heard = ask(&cluster, family, 1500)?;
    assert!(if family == Family::V4 { cut(heard) } else { heard == Heard::Silence }, "{heard:?}");
    muted.heal()?;
    let told = back(Manner::Told)?;
    wait::until("an answer in pieces", || {
        let heard = ask(&cluster, family, 1500)?;
        Ok(if cut(heard) { Look::There(()) } else { Look::NotYet(format!("{heard:?}")) })
    })?;
    assert_eq!(ask(&cluster, family, 1400)?, WHOLE);
    told.heal()?;
    assert_eq!(ask(&cluster, family, 1500)?, WHOLE);
    let lost = back(Manner::Lost)?;
    assert_eq!((ask(&cluster, family, 1401)?, ask(&cluster, family, 1400)?), (Heard::Silence, WHOLE));
    if family == Family::V4 {
        let to = recipe.underlay_address(1);
        assert_eq!(Ask::timestamp(to, 1500).from(cluster.host(0))?, WHOLE, "its answer is small");
    }
    lost.heal()
}

fn one_way(recipe: Recipe, family: Family) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let (host, peer) = (cluster.host(0), peer(&cluster, family)?);
    for way in [Way::There, Way::Back] {
        let hole = Fault::DropLargerOneWay { node: 1, than: 1400.into(), way }.make(&cluster)?;
        assert_eq!((ask(&cluster, family, 1401)?, ask(&cluster, family, 1400)?), (Heard::Silence, WHOLE), "{way:?}");
        let arrived = datagrams(host, cluster.host(1), peer, 1401, 40_000..40_004)?.len();
        assert_eq!(arrived, if way == Way::Back { 4 } else { 0 }, "{way:?}");
        if family == Family::V4 {
            let heard = Ask::timestamp(peer, 1500).from(host)?;
            assert_eq!(heard, if way == Way::Back { WHOLE } else { Heard::Silence }, "{way:?}");
        }
        hole.heal()?;
        assert_eq!(ask(&cluster, family, recipe.underlay_mtu)?, WHOLE, "{way:?} has healed");
    }
    Ok(())
}

fn loss(recipe: Recipe, family: Family) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let peer = peer(&cluster, family)?;
    let arrived = || Ok(datagrams(cluster.host(0), cluster.host(1), peer, 84, 40_000..40_400)?.len());
    // Of 400 datagrams 320 are expected; the bounds are seven standard deviations away.
    for (way, of, arrive) in [
        (Way::Both, Traffic::All, 264..=376),
        (Way::There, Traffic::Udp, 264..=376),
        (Way::Back, Traffic::All, 400..=400),
        (Way::Both, Traffic::Icmp, 400..=400),
        (Way::Both, Traffic::Tcp, 400..=400),
    ] {
        let fault = Fault::Loss { node: 1, percent: 20, way, of };
        let broken = fault.make(&cluster)?;
        let arrived = arrived()?;
        assert!(arrive.contains(&arrived), "{fault:?}: {arrived} arrived");
        broken.heal()?;
    }
    assert_eq!(arrived()?, 400, "all have healed");
    let echo = Fault::Loss { node: 1, percent: 100, way: Way::Back, of: Traffic::Icmp }.make(&cluster)?;
    assert_eq!(ask(&cluster, family, 84)?, Heard::Silence);
    echo.heal()?;
    assert_eq!(ask(&cluster, family, 84)?, WHOLE);
    Ok(())
}

/// Transfers that stall and others that do not.
struct Transfers<'c> {
    cluster: &'c Cluster,
    family: Family,
}

impl Transfers<'_> {
    /// Through the tunnel, from a node to the other one.
    fn overlay(&self, from: usize, bytes: usize) -> Result<()> {
        let to = 1 - from;
        let address = self.cluster.overlay()?.tunnel_in(self.family, to).ok_or_else(no_address)?;
        transfer(self.cluster.host(from), self.cluster.host(to), address, bytes)
    }

    fn pods(&self, from: usize) -> Result<()> {
        let to = 1 - from;
        let address = self.cluster.overlay()?.pod_in(self.family, to).ok_or_else(no_address)?;
        transfer(self.pod(from), self.pod(to), address, TRANSFER)
    }

    fn underlay(&self) -> Result<()> {
        let address = self.cluster.recipe.underlay_in(self.family, 1).ok_or_else(no_address)?;
        transfer(self.cluster.host(0), self.cluster.host(1), address, TRANSFER)
    }

    /// Echo of full size, between pods.
    fn echo(&self) -> Result<()> {
        let overlay = self.cluster.overlay()?;
        ping(self.pod(0), overlay.pod_in(self.family, 1).ok_or_else(no_address)?, overlay.pod_mtu())
    }

    fn pod(&self, node: usize) -> &Namespace {
        self.cluster.nodes[node].pod.as_ref().expect("these recipes have pods")
    }

    fn all(&self) -> Result<()> {
        self.overlay(0, TRANSFER)?;
        self.overlay(1, TRANSFER)?;
        self.pods(0)?;
        self.underlay()
    }
}

fn no_address() -> Error {
    Error::new("choosing an address", "this recipe does not speak that family there")
}

fn stall(recipe: Recipe, family: Family) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let transfers = Transfers { cluster: &cluster, family };
    transfers.all()?;
    for (way, there, back) in [(Way::There, false, true), (Way::Back, true, false)] {
        let fault = Fault::StallTransfers { node: 1, than: 1000.into(), way }.make(&cluster)?;
        assert_eq!(transfers.overlay(0, TRANSFER).is_ok(), there, "{way:?}");
        assert_eq!(transfers.overlay(1, TRANSFER).is_ok(), back, "{way:?}");
        assert_eq!(transfers.pods(0).is_ok(), there, "{way:?}");
        transfers.overlay(0, SMALL)?;
        transfers.overlay(1, SMALL)?;
        transfers.underlay()?;
        transfers.echo()?;
        fault.heal()?;
    }
    transfers.all()
}

fn corrupt(recipe: Recipe, family: Family) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let transfers = Transfers { cluster: &cluster, family };
    let before = wrong_checksums(cluster.host(1))?;
    transfers.all()?;
    assert_eq!(wrong_checksums(cluster.host(1))?, before);
    let fault = Fault::CorruptTcp { node: 0 }.make(&cluster)?;
    assert!(transfers.overlay(0, SMALL).is_err());
    assert!(wrong_checksums(cluster.host(1))? > before, "the peer has looked, and found it wrong");
    assert!(transfers.pods(0).is_err());
    transfers.underlay()?;
    transfers.echo()?;
    fault.heal()?;
    transfers.all()
}

/// Segments that a namespace dropped for their checksum.
fn wrong_checksums(namespace: &Namespace) -> Result<u64> {
    let text = namespace.sh("cat /proc/net/snmp")?;
    let mut rows = text.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let (names, values) = (rows.next().into_iter().flatten(), rows.next().into_iter().flatten());
    let value = names.zip(values).find(|(name, _)| *name == "InCsumErrors").and_then(|(_, value)| value.parse().ok());
    value.ok_or_else(|| Error::new("reading InCsumErrors", text))
}

fn timestamps() -> Result<()> {
    for recipe in [REFERENCE, ROUTED] {
        let cluster = Cluster::build(recipe)?;
        let timestamp = || Ask::timestamp(recipe.underlay_address(1), 84).from(cluster.host(0));
        assert_eq!(timestamp()?, WHOLE);
        let fault = Fault::DropTimestamp { node: 1 }.make(&cluster)?;
        assert_eq!((timestamp()?, ask(&cluster, Family::V4, 1500)?), (Heard::Silence, WHOLE));
        fault.heal()?;
        assert_eq!(timestamp()?, WHOLE);
    }
    Ok(())
}

/// A kernel fact: connection tracking has never seen the request inside a datagram of our own making.
fn invalid() -> Result<()> {
    for (recipe, family) in [(REFERENCE, Family::V4), (ROUTED, Family::V4), (SIX, Family::V4), (DUAL, Family::V6)] {
        let cluster = Cluster::build(recipe)?;
        let packed = || Packed { peer: 1, family, port: 50_000, size: 1500 }.send(&cluster);
        assert_eq!(packed()?, WHOLE, "{}", recipe.name);
        let fault = Fault::DropInvalid { node: 0 }.make(&cluster)?;
        assert_eq!(packed()?, Heard::Silence, "{}", recipe.name);
        let tunnel = cluster.overlay()?.tunnel_in(family, 1).ok_or_else(no_address)?;
        ping(cluster.host(0), tunnel, 84)?;
        fault.heal()?;
        assert_eq!(packed()?, WHOLE, "{}", recipe.name);
    }
    Ok(())
}
