//! What a cluster looked like, put back whatever has happened since.
//!
//! One fault heals what it broke. Several at once may not: a route cannot return through a link that another fault still
//! holds down. Felix and flanneld go over their routes and entries again and again for that reason, and so does this.

use std::fmt::Write as _;

use super::Cluster;
use crate::Result;
use crate::namespace::Namespace;

/// Links, routes and neighbours of every namespace, at one time.
#[derive(Debug)]
pub struct Memory<'c> {
    cluster: &'c Cluster,
    places: Vec<(&'c Namespace, String)>,
}

impl Cluster {
    /// Remembers links, routes and neighbours as they are.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn memorise(&self) -> Result<Memory<'_>> {
        let hosts = self.nodes.iter().map(|node| &node.host);
        let pods = self.nodes.iter().filter_map(|node| node.pod.as_ref());
        let all = hosts.chain(pods).chain([&self.switch]).chain(&self.routers);
        let places = all.map(|namespace| Ok((namespace, lines(namespace)?))).collect::<Result<_>>()?;
        Ok(Memory { cluster: self, places })
    }
}

impl Memory<'_> {
    /// Puts everything back, forwarding entries included; filters and remembered path MTUs go.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn restore(&self) -> Result<()> {
        for (namespace, lines) in &self.places {
            namespace.run("nft", ["flush", "ruleset"])?;
            namespace.feed("ip", &["-batch", "-"], lines)?;
            namespace.sh("ip route flush cache")?;
        }
        let Some(overlay) = self.cluster.recipe.overlay else { return Ok(()) };
        (0..self.cluster.nodes.len()).try_for_each(|node| {
            let entries = self.cluster.forwarding_lines(node, overlay);
            self.cluster.host(node).feed("bridge", &["-batch", "-"], &entries)
        })
    }
}

/// In the kernel's order of links, which is the order of their making: a tunnel comes after what it sits on.
fn lines(namespace: &Namespace) -> Result<String> {
    let mut lines = String::new();
    for link in namespace.sh("ip -o link show")?.lines() {
        let mut words = link.split_whitespace().skip(1);
        let name = words.next().unwrap_or_default().trim_end_matches(':');
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        let up = words.next().is_some_and(|flags| flags.split(['<', ',', '>']).any(|flag| flag == "UP"));
        let mtu = words.skip_while(|word| *word != "mtu").nth(1).unwrap_or_default();
        let _ = writeln!(lines, "link set {name} mtu {mtu} {}", if up { "up" } else { "down" });
    }
    let routes = namespace.sh("ip -4 route show table main")?;
    // Connected routes first: the others need them to resolve their gateways.
    let (connected, others): (Vec<_>, Vec<_>) = routes.lines().partition(|route| route.contains("scope link"));
    connected.into_iter().chain(others).for_each(|route| {
        let _ = writeln!(lines, "route replace {}", without(route, &["linkdown", "dead"]));
    });
    namespace.sh("ip -4 neighbour show nud permanent")?.lines().for_each(|entry| {
        let _ = writeln!(lines, "neighbour replace {} nud permanent", without(entry, &["PERMANENT"]));
    });
    Ok(lines)
}

fn without(line: &str, words: &[&str]) -> String {
    line.split_whitespace().filter(|word| !words.contains(word)).collect::<Vec<_>>().join(" ")
}
