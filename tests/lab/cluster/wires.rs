//! Switches, routers and the wires to the nodes.

use super::{BACKBONE, Cluster, TO_NODE};
use crate::Result;
use crate::namespace::Namespace;
use crate::recipe::{Recipe, Underlay};

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
        match self.routers.get(node) {
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
        self.routers.iter().enumerate().try_for_each(|(node, router)| self.start_router(node, router))
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

    /// Router 0 and router 1 are joined by the backbone; each has one node behind it.
    fn start_router(&self, node: usize, router: &Namespace) -> Result<()> {
        let Underlay::Routed([a, b]) = self.recipe.underlay else { return Ok(()) };
        router.set("net/ipv4/ip_forward", "1")?;
        let mut lines = self.wire(node).lines(None);
        if node == 0 {
            let (near, far, mtu) = (BACKBONE.to_owned(), BACKBONE, self.recipe.underlay_mtu);
            lines += &Wire { near, far, into: &self.routers[1], mtu }.lines(None);
        }
        let other = 1 - node;
        lines += &format!(
            "link set {BACKBONE} up\naddress add {a}.{b}.1{node}.1/32 peer {a}.{b}.1{other}.1/32 dev {BACKBONE}\n\
             address add {a}.{b}.{}.1/24 dev {TO_NODE}\nroute add {a}.{b}.{}.0/24 via {a}.{b}.1{other}.1 dev {BACKBONE}\n",
            1 + node,
            1 + other
        );
        router.feed("ip", &["-batch", "-"], &lines)
    }
}
