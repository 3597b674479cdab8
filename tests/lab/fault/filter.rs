//! Filters: `nft` tables of their own, so that healing is the removal of one table.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Broken, Traffic, Way};
use crate::Result;
use crate::cluster::{Cluster, TO_NODE};
use crate::namespace::Namespace;

/// What makes neighbours of IPv6, as ARP does of IPv4.
const NEIGHBOURS: &str = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";

/// Larger packets vanish at the port that leads to a node.
pub(super) fn larger(cluster: &Cluster, node: usize, than: u32, way: Way) -> Result<Broken<'_>> {
    let (namespace, port) = cluster.port(node);
    let rules: Vec<_> = sides(way).map(|side| drop_larger(&format!("{side} \"{port}\""), than)).collect();
    filter(namespace, family_at(&port), "forward", &rules)
}

/// Packets vanish at random at the port that leads to a node. What makes neighbours is spared in both families.
pub(super) fn loss(cluster: &Cluster, node: usize, percent: u8, way: Way, of: Traffic) -> Result<Broken<'_>> {
    let (namespace, port) = cluster.port(node);
    let kind = of.matching();
    // All of a hundred is no chance, and `nft` refuses to call it one.
    let chance = if percent < 100 { format!("numgen random mod 100 < {percent} ") } else { String::new() };
    let lose = |side| format!("{side} \"{port}\" {kind} {chance}drop");
    let rules: Vec<_> = [NEIGHBOURS.to_owned()].into_iter().chain(sides(way).map(lose)).collect();
    filter(namespace, family_at(&port), "forward", &rules)
}

/// How a port is matched: what leaves by it goes to the node, what comes in by it is from there.
fn sides(way: Way) -> impl Iterator<Item = &'static str> {
    [("oifname", true), ("iifname", false)].into_iter().filter(move |(_, there)| way.is(*there)).map(|(side, _)| side)
}

/// A router's port is one of IP, a switch's one of a bridge.
fn family_at(port: &str) -> &'static str {
    if port == TO_NODE { "inet" } else { "bridge" }
}

/// Rules for both families that drop what matches and is larger. The length field of IPv6 leaves its own header out.
pub(super) fn drop_larger(matching: &str, than: u32) -> String {
    format!("{matching} ip length > {than} drop\n{matching} ip6 length > {} drop", than.saturating_sub(40))
}

/// Routers keep their Frag Needed and Packet Too Big to themselves.
pub(super) fn frag_needed(cluster: &Cluster) -> Result<Broken<'_>> {
    cluster.routers.iter().try_fold(Broken::default(), |broken, router| Ok(broken.and(too_big(router)?)))
}

pub(super) fn too_big(router: &Namespace) -> Result<Broken<'_>> {
    let rules = ["icmp type destination-unreachable icmp code 4 drop", "icmpv6 type packet-too-big drop"];
    filter(router, "inet", "output", &rules.map(str::to_owned))
}

/// A node drops what comes in for a UDP port.
pub(super) fn udp(cluster: &Cluster, node: usize, port: u32) -> Result<Broken<'_>> {
    filter(cluster.host(node), "inet", "input", &[format!("udp dport {port} drop")])
}

/// A node rejects what comes in for a UDP port.
pub(super) fn reject_udp(cluster: &Cluster, node: usize, port: u32) -> Result<Broken<'_>> {
    let rule = format!("udp dport {port} reject with icmpx port-unreachable");
    filter(cluster.host(node), "inet", "input", &[rule])
}

/// A node drops requests of ICMP.
pub(super) fn echo(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    let rules = ["icmp type { echo-request, timestamp-request } drop", "icmpv6 type echo-request drop"];
    filter(cluster.host(node), "inet", "input", &rules.map(str::to_owned))
}

/// A node drops timestamps, requests and replies.
pub(super) fn timestamp(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    let rule = "icmp type { timestamp-request, timestamp-reply } drop";
    filter(cluster.host(node), "inet", "input", &[rule.to_owned()])
}

/// A node drops what its connection tracking finds invalid. Asking for the state is what makes the kernel track.
pub(super) fn invalid(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    filter(cluster.host(node), "inet", "input", &["ct state invalid drop".to_owned()])
}

/// A node drops whatever comes in, except what makes it a neighbour: ARP, which is no IP, and its like of IPv6.
pub(super) fn everything(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    filter(cluster.host(node), "inet", "input", &[NEIGHBOURS, "drop"].map(str::to_owned))
}

pub(super) fn filter<'c>(
    namespace: &'c Namespace,
    family: &'static str,
    hook: &str,
    rules: &[String],
) -> Result<Broken<'c>> {
    static TABLES: AtomicU32 = AtomicU32::new(0);
    let table = format!("lab{}", TABLES.fetch_add(1, Ordering::Relaxed));
    let rules = rules.join("\n");
    let text = format!(
        "table {family} {table} {{ chain faults {{ type filter hook {hook} priority 0; policy accept;\n{rules}\n}}\n}}\n"
    );
    namespace.feed("nft", &["-f", "-"], &text)?;
    Ok(Broken::until(move || namespace.run("nft", ["delete", "table", family, &table]).map(drop)))
}
