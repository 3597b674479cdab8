//! The lab proves itself: clusters connect, each fault breaks what it says and nothing else, and healing restores it.
//!
//! Echo is the witness here, so that a fault is known to be real before the agent is asked about it.

mod effect;
mod families;
mod faults;
mod files;
mod routers;

use std::net::Ipv4Addr;
use std::process::ExitCode;

use lab::cluster::Cluster;
use lab::echo::{ping, ping_by_memory};
use lab::fault::{Fault, Instead, make_all};
use lab::harness::{self, test};
use lab::namespace::Namespace;
use lab::recipe::{self, JUMBO, PLAIN, REFERENCE, ROUTED, Role};
use lab::size::Size;
use lab::wait::{self, Look};
use lab::{Error, Result};

use effect::{Effect, Trip, send};

fn main() -> ExitCode {
    harness::main(|| {
        let mut tests: Vec<_> = recipe::ALL
            .map(|recipe| test(format!("{} connects", recipe.name), move || Cluster::build(recipe).map(drop)))
            .into();
        tests.extend(
            recipe::SPEAKING_SIX
                .into_iter()
                .chain(recipe::FAR)
                .chain(recipe::SETUPS)
                .map(|recipe| test(format!("{} connects", recipe.name), move || Cluster::build(recipe).map(drop))),
        );
        tests.extend(effects().into_iter().map(Effect::into_test));
        tests.extend(families::tests());
        tests.extend(routers::tests());
        tests.extend(faults::tests());
        tests.extend(files::tests());
        tests.push(test("a namespace goes with its value", namespaces_vanish));
        tests.push(test("strict filtering refuses the peer's ARP and counts nothing", strict_refuses_arp));
        tests.push(test("the pods' gateway answers while a route covers it", proxy_needs_a_route));
        tests.push(test("bridged answers of a Service need the bridge's filters", services_need_filters));
        tests.push(test("without discovery a path MTU is pinned or never learned", undiscovered));
        tests.push(test("a command that fails says which and why", commands_explain));
        tests
    })
}

fn effects() -> Vec<Effect> {
    use Trip::{Full, Other, Pod, Remembered, Sized, Small, Tunnel};
    let effect = |recipe, fault, breaks, spares| Effect { recipe, family: None, fault, breaks, spares };
    let size = |text: &str| Size::try_from(text.to_owned()).expect("it is written below");
    let port_mtu = |bytes| Fault::PortMtu { node: 0, link: Role::Nic, bytes: size(bytes) };
    let sysctl = |key: &str, value: &str| Fault::Sysctl { node: 0, key: key.into(), value: value.into() };
    vec![
        effect(REFERENCE, Fault::LinkDown { node: 0, link: Role::Nic }, &[Small, Tunnel, Pod], &[]),
        effect(REFERENCE, Fault::LinkDown { node: 0, link: Role::Bridge }, &[Small, Tunnel, Pod], &[]),
        effect(ROUTED, Fault::LinkDown { node: 0, link: Role::Nic }, &[Small, Tunnel, Pod], &[]),
        effect(ROUTED, Fault::LinkDown { node: 0, link: Role::Tunnel }, &[Tunnel, Pod], &[Full]),
        effect(JUMBO, Fault::LinkDown { node: 1, link: Role::Tunnel }, &[Tunnel, Pod], &[Full]),
        effect(REFERENCE, Fault::LinkDown { node: 0, link: Role::Spare }, &[], &[Full, Tunnel, Pod, Other]),
        effect(REFERENCE, Fault::PortDown { node: 1 }, &[Small, Tunnel, Pod], &[Other]),
        effect(ROUTED, Fault::PortDown { node: 1 }, &[Small, Tunnel, Pod], &[]),
        effect(REFERENCE, Fault::Mtu { node: 0, link: Role::Lower, bytes: size("1499") }, &[Full], &[Sized(1499), Pod]),
        effect(REFERENCE, Fault::Unplug { node: 0, link: Role::Nic }, &[Small, Tunnel, Pod], &[]),
        effect(REFERENCE, port_mtu("1495"), &[Full, Pod], &[Sized(1499), Tunnel]),
        effect(REFERENCE, port_mtu("1496"), &[], &[Full, Tunnel, Pod]),
        effect(REFERENCE, port_mtu("9000"), &[], &[Full, Tunnel, Pod]),
        effect(ROUTED, Fault::HopMtu { bytes: size("1400") }, &[Full, Sized(1401)], &[Sized(1400), Tunnel, Pod]),
        effect(JUMBO, Fault::DropLarger { node: 1, than: size("4000") }, &[Full, Sized(4001), Pod], &[Sized(4000)]),
        effect(ROUTED, Fault::DropLarger { node: 1, than: size("1400") }, &[Sized(1401), Pod], &[Sized(1400), Tunnel]),
        effect(REFERENCE, Fault::DropLarger { node: 1, than: size("1400") }, &[Full], &[Sized(1400), Other]),
        effect(ROUTED, Fault::DropUdp { node: 1, port: size("port") }, &[Tunnel, Pod], &[Full]),
        effect(ROUTED, Fault::DropUdp { node: 1, port: size("port + 1") }, &[], &[Full, Tunnel, Pod]),
        effect(REFERENCE, Fault::DropEcho { node: 1 }, &[Small, Tunnel], &[Pod, Other]),
        effect(REFERENCE, Fault::DropAll { node: 1 }, &[Small, Tunnel, Pod], &[Other]),
        effect(REFERENCE, Fault::MissingFdb { node: 0, of: 1 }, &[Tunnel, Pod], &[Full, Other]),
        effect(REFERENCE, Fault::DynamicFdb { node: 0, of: 1 }, &[], &[Full, Tunnel, Pod]),
        effect(ROUTED, Fault::MissingNeighbour { node: 0, of: 1 }, &[Tunnel, Pod], &[Full]),
        effect(ROUTED, Fault::ReachableNeighbour { node: 0, of: 1 }, &[], &[Full, Tunnel, Pod]),
        effect(JUMBO, sysctl("net/ipv4/ip_forward", "0"), &[Pod], &[Full, Tunnel]),
        effect(ROUTED, sysctl("net/ipv4/conf/{lower}/rp_filter", "1"), &[], &[Full, Tunnel, Pod]),
        effect(REFERENCE, Fault::AsymmetricRoute { node: 0, to: 1 }, &[], &[Full, Tunnel, Pod]),
        effect(ROUTED, Fault::AsymmetricRoute { node: 0, to: 1 }, &[], &[Full, Tunnel, Pod]),
        effect(ROUTED, Fault::StaleException { node: 0, of: 1, bytes: size("1400") }, &[Remembered], &[Full, Pod]),
    ]
}

fn namespaces_vanish() -> Result<()> {
    let namespace = Namespace::new("short-lived")?;
    namespace.sh("ip link add wire type veth peer name far")?;
    let other = Namespace::new("longer-lived")?;
    namespace.run("ip", ["link", "set", "far", "netns", &other.path()])?;
    drop(namespace);
    wait::until("the far end to go with the near one", || {
        let links = other.sh("ip -o link show")?;
        Ok(if links.contains("far") { Look::NotYet(links) } else { Look::There(()) })
    })
}

/// A kernel fact: where peers share a subnet, strict rp_filter drops the peer's ARP requests as well. Once the peer has
/// forgotten our hardware address it sends nothing more, and the drop counter stands still while the path stays dead.
fn strict_refuses_arp() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let (host, peer) = (cluster.host(0), cluster.host(1));
    let strict = Fault::Sysctl { node: 0, key: "net/ipv4/conf/{lower}/rp_filter".into(), value: "1".into() };
    let broken = make_all(&[Fault::AsymmetricRoute { node: 0, to: 1 }, strict], &cluster)?;
    let before = filtered(host)?;
    assert!(send(&cluster, None, Trip::Small).is_err());
    let counted = filtered(host)?;
    assert!(counted > before, "the peer still knows our hardware address: its answer comes, and is counted");
    peer.run("ip", ["neighbour", "flush", "to", &REFERENCE.underlay_address(0).to_string()])?;
    assert!(send(&cluster, None, Trip::Small).is_err());
    assert_eq!(filtered(host)?, counted, "the peer cannot resolve us, so nothing comes that could be counted");
    broken.heal()
}

/// A kernel fact: proxy ARP answers for an address that a route covers, wherever it leads, and for no other.
fn proxy_needs_a_route() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let pod = cluster.nodes[0].pod.as_ref().expect("it has pods");
    let reaches = |becomes| -> Result<bool> {
        let broken = Fault::DefaultRoute { node: 0, becomes }.make(&cluster)?;
        pod.sh("ip neighbour flush dev eth0")?;
        let pings = ping(pod, cluster.overlay()?.pod_address(1), 84).is_ok();
        let answers = send(&cluster, None, Trip::Tunnel).is_ok();
        assert!(answers, "the node itself is reached as ever");
        broken.heal()?;
        Ok(pings)
    };
    for (becomes, reached) in [
        (Instead::Nothing, false),
        (Instead::Blackhole, false),
        (Instead::Prohibit, false),
        (Instead::LinkLocal, true),
        (Instead::Table, true),
    ] {
        assert_eq!(reaches(becomes)?, reached, "{becomes:?}");
    }
    Ok(())
}

/// A kernel fact: the answer of a Service's pod to a pod on the same bridge is translated back only if filters see it.
fn services_need_filters() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let (host, overlay) = (cluster.host(0), cluster.overlay()?);
    let another = Fault::AnotherPod { node: 0, bytes: overlay.mtu.into() }.make(&cluster)?;
    let (service, server) = (Ipv4Addr::new(10, 96, 0, 1), overlay.address(0, 3));
    let rule = format!("type nat hook prerouting priority -100; ip daddr {service} dnat to {server}");
    host.feed("nft", &["-f", "-"], &format!("table ip services {{ chain to {{ {rule}\n}}\n}}\n"))?;
    let pod = cluster.nodes[0].pod.as_ref().expect("it has pods");
    ping(pod, service, 84)?;
    let off = Fault::Sysctl { node: 0, key: "net/bridge/bridge-nf-call-iptables".into(), value: "0".into() };
    let off = off.make(&cluster)?;
    assert!(ping(pod, service, 84).is_err(), "the server answers with its own address");
    ping(pod, server, 84)?;
    let by_itself = Fault::BridgeFilters { node: 0, link: Role::PodBridge }.make(&cluster)?;
    ping(pod, service, 84)?;
    by_itself.heal()?;
    off.heal()?;
    ping(pod, service, 84)?;
    another.heal()
}

/// A kernel fact: what `ip_no_pmtu_disc` makes of "fragmentation needed".
fn undiscovered() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let (host, peer) = (cluster.host(0), PLAIN.underlay_address(1));
    let narrow = Fault::HopMtu { bytes: 1400.into() }.make(&cluster)?;
    for (value, learned) in [("0", Some("mtu 1400")), ("1", Some("mtu lock 552")), ("2", None), ("3", None)] {
        let set = Fault::Sysctl { node: 0, key: "net/ipv4/ip_no_pmtu_disc".into(), value: value.into() };
        let set = set.make(&cluster)?;
        assert!(ping_by_memory(host, peer, PLAIN.underlay_mtu).is_err());
        let route = host.sh(&format!("ip route get {peer}"))?;
        let told = learned.map_or(!route.contains("mtu"), |learned| route.contains(learned));
        assert!(told, "{value}: {route}");
        host.sh("ip route flush cache")?;
        set.heal()?;
    }
    narrow.heal()
}

/// `IPReversePathFilter` of a namespace.
fn filtered(namespace: &Namespace) -> Result<u64> {
    let text = namespace.sh("cat /proc/net/netstat")?;
    let mut rows = text.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, values) = (rows.next().into_iter().flatten(), rows.next().into_iter().flatten());
    let value =
        names.zip(values).find(|(name, _)| *name == "IPReversePathFilter").and_then(|(_, value)| value.parse().ok());
    value.ok_or_else(|| Error::new("reading IPReversePathFilter", text))
}

fn commands_explain() -> Result<()> {
    let namespace = Namespace::new("bare")?;
    let error = namespace.sh("ip link set nosuch up").err().map(|error| error.to_string()).unwrap_or_default();
    let missing = namespace.sh("no-such-program").err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("ip link set nosuch up") && error.contains("nosuch\""), "{error}");
    assert!(missing.contains("packages"), "{missing}");
    Ok(())
}
