//! What a cluster looked like, put back whatever has happened since.
//!
//! One fault heals what it broke. Several at once may not: a route cannot return through a link that another fault still
//! holds down. Felix and flanneld go over their routes and entries again and again for that reason, and so does this.

use std::fmt::Write as _;

use super::{Cluster, programmed};
use crate::Result;
use crate::family::Families;
use crate::namespace::Namespace;
use crate::recipe::Role;

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
        let families = self.recipe.spoken().with(Families::V4);
        let places =
            self.namespaces().map(|namespace| Ok((namespace, lines(namespace, families)?))).collect::<Result<_>>()?;
        Ok(Memory { cluster: self, places })
    }
}

impl<'c> Memory<'c> {
    /// The cluster that is remembered.
    pub const fn cluster(&self) -> &'c Cluster {
        self.cluster
    }

    /// Puts everything back, forwarding entries included; filters and remembered path MTUs go.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn restore(&self) -> Result<()> {
        self.places.iter().try_for_each(|(namespace, _)| namespace.run("nft", ["flush", "ruleset"]).map(drop))?;
        self.put_back()
    }

    /// The same, with filters left as they are.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn put_back(&self) -> Result<()> {
        for (namespace, lines) in &self.places {
            namespace.feed("ip", &["-batch", "-"], lines)?;
            programmed::forget_exceptions(namespace)?;
        }
        (0..self.cluster.nodes.len()).try_for_each(|node| self.forwarding_again(node))
    }

    /// Puts back a node's routes and neighbours on its tunnels, and their forwarding entries: what its CNI does when it
    /// starts.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn tunnels_again(&self, node: usize) -> Result<()> {
        self.again(node, true)?;
        self.forwarding_again(node)
    }

    /// Puts back a node's other routes: what the manager of its network does when it is told to.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn underlay_again(&self, node: usize) -> Result<()> {
        self.again(node, false)
    }

    fn again(&self, node: usize, on_tunnels: bool) -> Result<()> {
        let (host, recipe) = (self.cluster.host(node), &self.cluster.recipe);
        let tunnels: Vec<_> =
            recipe.tunnels().iter().map(|tunnel| tunnel.link).chain(recipe.link(Role::Tunnel)).collect();
        let on_one = |line: &str| line.split(' ').any(|word| tunnels.contains(&word));
        let lines = self.places.iter().filter(|(namespace, _)| std::ptr::eq(*namespace, host));
        let lines = lines.flat_map(|(_, lines)| lines.lines());
        let lines: String = lines
            .filter(|line| !line.starts_with("link ") && on_one(line) == on_tunnels)
            .map(|line| format!("{line}\n"))
            .collect();
        host.feed("ip", &["-batch", "-"], &lines)
    }

    fn forwarding_again(&self, node: usize) -> Result<()> {
        for tunnel in self.cluster.recipe.tunnels() {
            let entries = self.cluster.forwarding_lines(node, &tunnel)?;
            self.cluster.host(node).feed("bridge", &["-batch", "-"], &entries)?;
        }
        Ok(())
    }
}

/// In the kernel's order of links, which is the order of their making: a tunnel comes after what it sits on.
fn lines(namespace: &Namespace, families: Families) -> Result<String> {
    let mut lines = String::new();
    for link in namespace.sh("ip -o link show")?.lines() {
        let mut words = link.split_whitespace().skip(1);
        let name = words.next().unwrap_or_default().trim_end_matches(':');
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        let up = words.next().is_some_and(|flags| flags.split(['<', ',', '>']).any(|flag| flag == "UP"));
        let mtu = words.skip_while(|word| *word != "mtu").nth(1).unwrap_or_default();
        let _ = writeln!(lines, "link set {name} mtu {mtu} {}", if up { "up" } else { "down" });
    }
    for &family in families.all() {
        lines += &programmed::lines(namespace, family, None)?;
    }
    Ok(lines)
}
