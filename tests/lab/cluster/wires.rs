//! Switches, routers and the wires to the nodes.

use std::fmt::Write as _;

use super::{Cluster, Node, TO_NODE};
use crate::Result;
use crate::family::Family;
use crate::namespace::Namespace;
use crate::recipe::{Delivery, End, Recipe, Span};

/// What chooses among ways of equal cost, besides what a packet looks like.
const SEED: &str = "net/ipv4/fib_multipath_hash_seed";

/// One by which ICMP takes another than the first way between the nodes of every recipe with several: what faults break is
/// the first.
const WAYS_SEED: u32 = 8;

/// One wire: a veth whose near end stays with the switch or router.
struct Wire<'c> {
    near: String,
    far: &'c str,
    into: &'c Namespace,
    mtu: u32,
}

impl Wire<'_> {
    fn lines(&self, master: Option<&str>) -> String {
        let Self { near, far, into, mtu } = self;
        let path = into.path();
        let master = master.map(|bridge| format!(" master {bridge}")).unwrap_or_default();
        format!(
            "link add {near} mtu {mtu} type veth peer name {far} mtu {mtu} netns {path}\n\
             link set {near}{master} up\n"
        )
    }
}

impl Cluster {
    /// The near end of the wire to a node on the cluster's network, and the namespace that it is in.
    pub fn port(&self, node: usize) -> (&Namespace, String) {
        let front = if node == 0 { self.routers.first() } else { self.routers.last() };
        match front {
            Some(router) => (router, TO_NODE.to_owned()),
            None => (&self.switch, format!("cluster{node}")),
        }
    }

    pub(super) fn connect(&self) -> Result<()> {
        let mut lines = String::from(
            "link add manage type bridge\nlink set manage up\naddress add 192.168.0.1/24 dev manage\n\
             link add cluster type bridge\nlink set cluster up\n",
        );
        for node in 0..self.nodes.len() {
            lines += &self.management_wires(node);
            if !self.recipe.is_routed() {
                lines += &self.wire(node).lines(Some("cluster"));
            }
        }
        self.switch.feed("ip", &["-batch", "-"], &lines)?;
        self.join_routers()?;
        (0..self.routers.len()).try_for_each(|router| self.start_router(router))?;
        self.choose_ways()
    }

    /// A node that labels its flows of IPv6 hashes them by what is drawn when the machine starts, and a veth takes the hash
    /// along: routers would choose by it.
    fn choose_ways(&self) -> Result<()> {
        let several = self.recipe.ways() > 1;
        let unlabelled = |node: &Node| node.host.set("net/ipv6/auto_flowlabels", "0");
        self.nodes.iter().filter(|_| several).try_for_each(unlabelled)
    }

    fn management_wires(&self, node: usize) -> String {
        let Recipe { management, spare, .. } = self.recipe;
        let wire = |near: &str, far| Wire { near: format!("{near}{node}"), far, into: self.host(node), mtu: 1500 };
        wire("manage", management).lines(Some("manage")) + &wire("spare", spare).lines(None)
    }

    fn wire(&self, node: usize) -> Wire<'_> {
        let (_, near) = self.port(node);
        Wire { near, far: self.recipe.nic, into: self.host(node), mtu: self.recipe.underlay_mtu }
    }

    /// Wires between routers are made from the end towards node 0, both of their ends up.
    fn join_routers(&self) -> Result<()> {
        let spans = self.recipe.spans();
        self.routers.iter().enumerate().try_for_each(|(number, router)| {
            let mut lines = String::new();
            for Span { ends: [near, far], .. } in spans.iter().filter(|span| span.ends[0].router == number) {
                let mtu = self.recipe.underlay_mtu;
                lines +=
                    &Wire { near: near.link.clone(), far: &far.link, into: &self.routers[far.router], mtu }.lines(None);
            }
            router.feed("ip", &["-batch", "-"], &lines)
        })
    }

    fn start_router(&self, number: usize) -> Result<()> {
        let router = &self.routers[number];
        let mut lines = String::new();
        for node in [0, 1].into_iter().filter(|&node| self.is_front(number, node)) {
            lines += &self.wire(node).lines(None);
        }
        for &family in self.recipe.families.all() {
            Self::forward(router, family)?;
            lines += &self.router_addresses(number, family);
            lines += &self.router_routes(number, family);
        }
        router.feed("ip", &["-batch", "-"], &lines)
    }

    /// A router forwards, and spreads over ways of equal cost by ports as well: what operators of such networks want.
    fn forward(router: &Namespace, family: Family) -> Result<()> {
        let (forward, spread) = match family {
            Family::V4 => ("net/ipv4/ip_forward", "net/ipv4/fib_multipath_hash_policy"),
            Family::V6 => ("net/ipv6/conf/all/forwarding", "net/ipv6/fib_multipath_hash_policy"),
        };
        router.set(forward, "1")?;
        router.set(spread, "1")?;
        // Both families choose by it. Before Linux 6.11 the seed is drawn when the machine starts, and no play can know it.
        if router.setting(SEED).is_ok() { router.set(SEED, &WAYS_SEED.to_string()) } else { Ok(()) }
    }

    fn is_front(&self, router: usize, node: usize) -> bool {
        router == if node == 0 { 0 } else { self.routers.len() - 1 }
    }

    fn router_addresses(&self, number: usize, family: Family) -> String {
        let mut lines = String::new();
        for (span, end, End { link, .. }) in self.ends_of(number) {
            let [own, other] = [end, 1 - end].map(|end| self.recipe.span_address(family, span, end));
            // The kernel makes the route to a peer of IPv6 in its own time, and that of a subnet at once.
            let address = match family {
                Family::V4 => format!("{own}/32 peer {other}"),
                Family::V6 => format!("{own}/64"),
            };
            let _ = writeln!(lines, "link set {link} up\naddress add {address} dev {link}{}", family.at_once());
        }
        for node in [0, 1].into_iter().filter(|&node| self.is_front(number, node)) {
            let address = self.recipe.router_in(family, node).expect("it has routers, and speaks this family");
            let subnet = if family == Family::V4 { 24 } else { 64 };
            let _ = writeln!(lines, "address add {address}/{subnet} dev {TO_NODE}{}", family.at_once());
        }
        lines
    }

    /// The ends of wires to other routers that a router has.
    fn ends_of(&self, number: usize) -> Vec<(usize, usize, End)> {
        let both = |span: Span| span.ends.into_iter().enumerate().map(move |(end, at)| (span.number, end, at));
        self.recipe.spans().into_iter().flat_map(both).filter(|(_, _, at)| at.router == number).collect()
    }

    /// Routes to both nodes, and to every wire that is not the router's own.
    fn router_routes(&self, number: usize, family: Family) -> String {
        let ends = self.ends_of(number);
        let route = |to: String, node: usize| {
            // Towards node 1, a router is at the near end of the wire (0), and the next hop at the other.
            let hops = ends.iter().filter(|(_, end, _)| *end == 1 - node);
            let hop = |(span, _, at): &(usize, usize, End)| {
                format!(" via {} dev {}", self.recipe.span_address(family, *span, node), at.link)
            };
            let hops: Vec<_> = hops.map(hop).collect();
            match hops.as_slice() {
                [] => String::new(),
                [hop] => format!("route add {to}{hop}\n"),
                several => format!(
                    "route add {to}{}\n",
                    several.iter().map(|hop| format!(" nexthop{hop}")).collect::<String>()
                ),
            }
        };
        let mut lines: String = [0, 1].map(|node| route(self.recipe.subnet_of(family, node), node)).concat();
        let routed_by_us = self.recipe.overlay.filter(|overlay| overlay.delivery == Delivery::Network);
        for (overlay, node) in routed_by_us.into_iter().flat_map(|overlay| [0, 1].map(|node| (overlay, node))) {
            let pods = overlay.subnet(family, node);
            lines += &if self.is_front(number, node) {
                format!("route add {pods} via {} dev {TO_NODE}\n", self.recipe.underlay_of(family, node))
            } else {
                route(pods, node)
            };
        }
        for span in self.recipe.spans().iter().filter(|span| span.ends.iter().all(|end| end.router != number)) {
            let node = usize::from(span.ends[0].router > number);
            for end in [0, 1] {
                let address = self.recipe.span_address(family, span.number, end);
                lines += &route(format!("{address}/{}", family.host_prefix()), node);
            }
        }
        lines
    }
}
