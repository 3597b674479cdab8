//! IPv6 in nodes, in pods and in both: the same faults break it, and what the kernel forgets of it comes back.

use lab::Result;
use lab::cluster::Cluster;
use lab::echo::{Ask, Heard, ping};
use lab::family::Family;
use lab::fault::{Fault, Plane};
use lab::harness::test;
use lab::intruder::{Forgery, Intruder};
use lab::recipe::{DUAL, MIXED, ROUTED, Recipe, Role, SIX, SIX_ALONE, SIX_PODS, TWO_WAYS};
use lab::size::Size;
use lab::wait::{self, Look};
use libtest_mimic::Trial;

use crate::effect::{Effect, Trip, send};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests: Vec<_> = effects().into_iter().map(Effect::into_test).collect();
    tests.push(test("a tunnel over IPv6 adds 70 bytes, and the kernel caps it", overhead_of_six));
    tests.push(test("packets of IPv6 that are too big are refused with Packet Too Big", packet_too_big));
    tests.push(test("what is remembered of a cluster is put back in both families", memory));
    tests.push(test("an intruder's Packet Too Big is believed", forged));
    tests
}

fn effects() -> Vec<Effect> {
    use Trip::{Full, Other, Pod, Remembered, Sized, Small, Tunnel};
    let effect = |recipe, fault, breaks, spares| Effect { recipe, family: None, fault, breaks, spares };
    let in_six =
        |recipe, fault, breaks, spares| Effect { family: Some(Family::V6), ..effect(recipe, fault, breaks, spares) };
    let size = |text: &str| Size::try_from(text.to_owned()).expect("it is written below");
    let lower = |bytes| Fault::Mtu { node: 0, link: Role::Lower, bytes: size(bytes) };
    let sysctl = |key: &str, value: &str| Fault::Sysctl { node: 0, key: key.into(), value: value.into() };
    vec![
        // IPv4 asks the link that a packet comes in by, and IPv6 the setting for all of them.
        effect(DUAL, sysctl("net/ipv4/conf/{tunnel}/forwarding", "0"), &[Pod], &[Tunnel, Full]),
        effect(DUAL, sysctl("net/ipv4/conf/{pod}/forwarding", "0"), &[Pod], &[Tunnel, Full]),
        effect(DUAL, sysctl("net/ipv4/conf/{lower}/forwarding", "0"), &[], &[Tunnel, Pod]),
        in_six(DUAL, sysctl("net/ipv6/conf/{pod}/forwarding", "0"), &[], &[Tunnel, Pod]),
        in_six(DUAL, Fault::LinkDown { node: 0, link: Role::Nic }, &[Small, Tunnel, Pod], &[]),
        in_six(DUAL, Fault::LinkDown { node: 0, link: Role::TunnelSix }, &[Tunnel, Pod], &[Full]),
        effect(DUAL, Fault::LinkDown { node: 0, link: Role::TunnelSix }, &[], &[Full, Tunnel, Pod]),
        in_six(DUAL, Fault::LinkDown { node: 0, link: Role::Tunnel }, &[], &[Full, Tunnel, Pod]),
        in_six(DUAL, Fault::LinkDown { node: 1, link: Role::Pod }, &[Pod], &[Full, Tunnel]),
        in_six(DUAL, Fault::PortDown { node: 1 }, &[Small, Tunnel, Pod], &[Other]),
        // A packet of IPv6 is never cut on its way, so the tunnel's own are lost as well.
        in_six(DUAL, lower("1499"), &[Full, Pod], &[Sized(1499), Tunnel]),
        effect(DUAL, lower("1499"), &[Full], &[Sized(1499), Tunnel, Pod]),
        in_six(DUAL, lower("1279"), &[Small, Tunnel, Pod], &[]),
        in_six(
            DUAL,
            Fault::DropLarger { node: 1, than: size("1400") },
            &[Full, Sized(1401), Pod],
            &[Sized(1400), Other],
        ),
        in_six(DUAL, Fault::DropUdp { node: 1, port: size("port") }, &[Tunnel, Pod], &[Full]),
        in_six(DUAL, Fault::DropEcho { node: 1 }, &[Small, Tunnel], &[Pod, Other]),
        in_six(DUAL, Fault::DropAll { node: 1 }, &[Small, Tunnel, Pod], &[Other]),
        in_six(DUAL, Fault::MissingFdb { node: 0, of: 1 }, &[Tunnel, Pod], &[Full, Other]),
        in_six(DUAL, Fault::MissingNeighbour { node: 0, of: 1 }, &[Tunnel, Pod], &[Full, Other]),
        in_six(DUAL, sysctl("net/ipv6/conf/all/forwarding", "0"), &[Pod], &[Full, Tunnel]),
        in_six(MIXED, Fault::Unplug { node: 0, link: Role::Nic }, &[Small, Tunnel, Pod], &[]),
        in_six(MIXED, Fault::MissingFdb { node: 0, of: 1 }, &[Tunnel, Pod], &[Full]),
        effect(MIXED, Fault::MissingFdb { node: 0, of: 1 }, &[Tunnel, Pod], &[Full]),
        effect(SIX, Fault::LinkDown { node: 0, link: Role::Nic }, &[Small, Tunnel, Pod], &[]),
        effect(SIX, Fault::PortDown { node: 1 }, &[Small, Tunnel, Pod], &[]),
        effect(SIX, Fault::HopMtu { bytes: size("1400") }, &[Full, Sized(1401), Pod], &[Sized(1400), Tunnel]),
        effect(SIX, Fault::DropLarger { node: 1, than: size("1400") }, &[Sized(1401), Pod], &[Sized(1400), Tunnel]),
        // The lower link does not bind the way of outer packets over IPv6: the other network takes them there.
        effect(SIX, Fault::FdbElsewhere { node: 0, of: 1 }, &[], &[Full, Tunnel, Pod]),
        effect(SIX, Fault::DynamicFdb { node: 0, of: 1 }, &[], &[Full, Tunnel, Pod]),
        effect(SIX, Fault::ReachableNeighbour { node: 0, of: 1 }, &[], &[Full, Tunnel, Pod]),
        effect(SIX, Fault::TunnelOn { node: 0, over: None, from: Some(Role::Lower) }, &[], &[Full, Tunnel, Pod]),
        effect(SIX, Fault::AsymmetricRoute { node: 0, to: 1 }, &[], &[Full, Tunnel, Pod]),
        effect(SIX, Fault::RouteMtu { node: 0, to: 1, bytes: size("1400") }, &[Remembered], &[Full, Tunnel]),
        effect(SIX, Fault::StaleException { node: 0, of: 1, bytes: size("1400") }, &[Remembered], &[Full]),
        effect(SIX_PODS, Fault::HopMtu { bytes: size("1400") }, &[Full], &[Sized(1400), Tunnel, Pod]),
        effect(SIX_PODS, Fault::DropLarger { node: 1, than: size("1400") }, &[Full, Pod], &[Tunnel]),
        effect(SIX_PODS, Fault::AnotherPod { node: 0, bytes: size("tunnel") }, &[], &[Full, Tunnel, Pod]),
        effect(SIX_ALONE, Fault::HopMtu { bytes: size("1400") }, &[Full, Pod], &[Sized(1400), Tunnel]),
        effect(SIX_ALONE, Fault::DropFragNeeded {}, &[], &[Full, Tunnel, Pod]),
        effect(
            SIX_ALONE,
            Fault::ForgedFragNeeded { node: 0, of: 1, plane: Plane::Underlay, bytes: size("1300") },
            &[Remembered],
            &[Full],
        ),
    ]
}

/// Whatever has happened since: what was remembered of a cluster is put back, in both families and over all ways.
fn memory() -> Result<()> {
    for recipe in [DUAL, MIXED, SIX_ALONE, TWO_WAYS] {
        let cluster = Cluster::build(recipe)?;
        let before = cluster.memorise()?;
        let nic = recipe.link(Role::Lower).expect("every recipe has one");
        cluster.host(0).feed("ip", &["-batch", "-"], &format!("link set {nic} down\nlink set {nic} mtu 1279\n"))?;
        cluster.host(1).sh("ip -6 route flush proto 80")?;
        for router in &cluster.routers {
            router.sh("ip -6 route flush proto boot")?;
            router.sh("ip route flush proto boot")?;
        }
        assert!(send(&cluster, None, Trip::Small).is_err(), "{}", recipe.name);
        before.restore()?;
        cluster.reaches_itself().map_err(|error| error.while_doing(recipe.name))?;
    }
    Ok(())
}

/// A kernel fact: over IPv6, VXLAN takes 70 bytes, and a larger MTU is silently made to fit.
fn overhead_of_six() -> Result<()> {
    let cluster = Cluster::build(SIX)?;
    let overlay = cluster.overlay()?;
    assert_eq!(Size::try_from("tunnel + overhead".to_owned()).expect("a sum").on(&SIX.sizes())?, SIX.underlay_mtu);
    let (port, local, lower) = (overlay.tunnels()[0].port, SIX.underlay_address(0), SIX.nic);
    let add = format!("ip link add capped mtu 1450 type vxlan id 9 dstport {port} local {local} dev {lower}");
    cluster.host(0).sh(&add)?;
    let shown = cluster.host(0).sh("ip -o link show dev capped")?;
    assert!(shown.contains("mtu 1430"), "{shown}");
    Ok(())
}

/// From the hop that knows, in both families, and with the right size.
fn packet_too_big() -> Result<()> {
    for recipe in [SIX, SIX_ALONE, SIX_PODS] {
        let cluster = Cluster::build(recipe)?;
        let narrow = Fault::HopMtu { bytes: 1400.into() }.make(&cluster)?;
        let by = recipe.router_address(0).expect("it has routers");
        let heard = Ask::echo(recipe.underlay_address(1), 1500).from(cluster.host(0))?;
        assert_eq!(heard, Heard::TooBig { by, mtu: 1400 }, "{}", recipe.name);
        narrow.heal()?;
    }
    Ok(())
}

/// What an intruder forges about IPv6 is well made: the kernel learns from it.
fn forged() -> Result<()> {
    let learns = |recipe: Recipe| -> Result<()> {
        let cluster = Cluster::build(recipe)?;
        let (from, peer) = (recipe.router_address(0).expect("it has routers"), recipe.underlay_address(1));
        let intruder = Intruder::start(&cluster.routers[0], Forgery::FragNeeded { from, mtu: 1300 })?;
        let heard = Ask::echo(peer, 1500).from(cluster.host(0))?;
        assert!(matches!(heard, Heard::TooBig { mtu: 1300, .. } | Heard::Answer { .. }), "{heard:?}");
        wait::until("the kernel to believe it", || {
            ping(cluster.host(0), peer, 1500)?;
            let route = cluster.host(0).sh(&format!("ip route get {peer}"))?;
            Ok(if route.contains("mtu 1300") { Look::There(()) } else { Look::NotYet(route) })
        })?;
        intruder.end().map(drop)
    };
    learns(SIX)?;
    learns(ROUTED)
}
