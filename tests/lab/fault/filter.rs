//! Filters: `nft` tables of their own, so that healing is the removal of one table.

use std::sync::atomic::{AtomicU32, Ordering};

use super::Broken;
use crate::Result;
use crate::cluster::{Cluster, TO_NODE};
use crate::namespace::Namespace;

/// Larger packets vanish at the port that leads to a node, both ways.
pub(super) fn larger(cluster: &Cluster, node: usize, than: u32) -> Result<Broken<'_>> {
    let (namespace, port) = cluster.port(node);
    let family = if port == TO_NODE { "inet" } else { "bridge" };
    let rules = ["iifname", "oifname"].map(|side| format!("{side} \"{port}\" ip length > {than} drop"));
    filter(namespace, family, "forward", &rules)
}

/// Routers keep their Frag Needed to themselves.
pub(super) fn frag_needed(cluster: &Cluster) -> Result<Broken<'_>> {
    let rule = "icmp type destination-unreachable icmp code 4 drop".to_owned();
    cluster.routers.iter().try_fold(Broken::default(), |broken, router| {
        Ok(broken.and(filter(router, "inet", "output", std::slice::from_ref(&rule))?))
    })
}

/// A node drops what comes in for a UDP port.
pub(super) fn udp(cluster: &Cluster, node: usize, port: u32) -> Result<Broken<'_>> {
    filter(cluster.host(node), "inet", "input", &[format!("udp dport {port} drop")])
}

/// A node drops requests of ICMP.
pub(super) fn echo(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    let rule = "icmp type { echo-request, timestamp-request } drop";
    filter(cluster.host(node), "inet", "input", &[rule.to_owned()])
}

/// A node drops whatever comes in, ARP excepted.
pub(super) fn everything(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    filter(cluster.host(node), "inet", "input", &["drop".to_owned()])
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
