//! What a node has so that its packets get to the pods of other nodes, in the form that each CNI leaves behind.

use super::Cluster;
use crate::Result;
use crate::family::Family;
use crate::recipe::{Cni, Delivery, Overlay, Vxlan};

/// The table of the routes that stand for Cilium's program.
const PROGRAM: u32 = 2004;

impl Cluster {
    pub(super) fn deliver(&self, node: usize, overlay: Overlay) -> Result<()> {
        match overlay.delivery {
            Delivery::Tunnel(_) | Delivery::Beside(_) => {
                overlay.tunnels().iter().try_for_each(|tunnel| self.add_tunnel(node, tunnel, &self.base(node, tunnel)))
            }
            Delivery::Direct => self.host(node).feed("ip", &["-batch", "-"], &self.direct_lines(node, overlay)),
            Delivery::Metadata { tunnel, .. } => self.add_metadata_tunnel(node, overlay, tunnel),
            Delivery::Network => self.host(node).feed("ip", &["-batch", "-"], &self.second_interface(node)),
        }
    }

    fn direct_lines(&self, node: usize, overlay: Overlay) -> String {
        let families = overlay.families.all().iter();
        families.flat_map(|&family| self.peers(node).map(move |peer| self.direct_line(overlay, family, peer))).collect()
    }

    /// The route to a peer's pods by its node address: BIRD's, Felix's, or flanneld's, which names no protocol.
    pub(super) fn direct_line(&self, overlay: Overlay, family: Family, peer: usize) -> String {
        let lower = self.recipe.bridge.unwrap_or(self.recipe.nic);
        let made_by = match (overlay.by, overlay.delivery) {
            (Cni::Calico, Delivery::Direct) => " proto bird",
            (Cni::Calico, _) => " onlink proto 80",
            _ => "",
        };
        let (subnet, gateway) = (overlay.subnet(family, peer), self.recipe.underlay_of(family, peer));
        format!("route add {subnet} via {gateway} dev {lower}{made_by}\n")
    }

    /// Cilium's devices and routes. Whatever a route sends out of `cilium_host` comes in at the other end of that wire,
    /// where Cilium's program would meet it; here a rule takes it into the tunnel, with the peer's address attached.
    fn add_metadata_tunnel(&self, node: usize, overlay: Overlay, tunnel: Vxlan) -> Result<()> {
        let (host, mtu) = (self.host(node), overlay.mtu);
        let (mac, own) = (overlay.tunnel_mac(node), overlay.tunnel_address(node));
        // Neither end asks for hardware addresses, so both have the same.
        let wire = format!("4e:00:00:00:00:{:02x}", node + 1);
        let mut lines = format!(
            "link add cilium_net address {wire} mtu {mtu} type veth peer name cilium_host address {wire} mtu {mtu}\n\
             link set cilium_net arp off up\nlink set cilium_host arp off up\naddress add {own}/32 dev cilium_host\n\
             link add {link} address {mac} mtu {mtu} type vxlan external dstport {port}\nlink set {link} up\n\
             route add {own} dev cilium_host scope link\nrule add iif cilium_net lookup {PROGRAM} priority 9\n",
            link = tunnel.link,
            port = tunnel.port,
        );
        for peer in self.peers(node) {
            lines += &self.metadata_lines(overlay, tunnel, (node, peer));
        }
        host.feed("ip", &["-batch", "-"], &lines)?;
        // What the node itself sends comes in with the node's own address.
        host.set("net/ipv4/conf/cilium_net/accept_local", "1")
    }

    fn metadata_lines(&self, overlay: Overlay, tunnel: Vxlan, (node, peer): (usize, usize)) -> String {
        let Vxlan { link, vni, .. } = tunnel;
        let (own, next) = (overlay.tunnel_address(node), overlay.tunnel_address(peer));
        let (subnet, mac) = (overlay.subnet(overlay.families.first(), peer), overlay.tunnel_mac(peer));
        let (end, carries) = (self.recipe.underlay_of(overlay.over, peer), overlay.carries());
        format!(
            "route add {subnet} via {own} dev cilium_host src {own} mtu {carries}\n\
             neighbour replace {next} lladdr {mac} dev {link} nud permanent\n\
             route add {subnet} encap ip id {vni} dst {end} via {next} dev {link} onlink table {PROGRAM}\n"
        )
    }

    /// A second interface of the cloud's: its own table, for the pods whose addresses belong to it.
    fn second_interface(&self, node: usize) -> String {
        let recipe = &self.recipe;
        let (gateway, pod) = (recipe.management_gateway(Family::V4), recipe.management_of(Family::V4, 100 + node));
        format!(
            "route add default via {gateway} dev {} table 2\nrule add from {pod} lookup 2 priority 1536\n",
            recipe.management
        )
    }

    /// The table that the cluster's network has to itself, and the rules that lead there.
    pub(super) fn table_lines(&self, family: Family, node: usize) -> String {
        let recipe = &self.recipe;
        let (Some(table), Some(router)) = (recipe.table, recipe.router_in(family, node)) else { return String::new() };
        let own = recipe.underlay_of(family, node);
        let (subnet, network, lower) =
            (recipe.subnet_of(family, node), recipe.whole_network(family), recipe.bridge.unwrap_or(recipe.nic));
        format!(
            "route add {subnet} dev {lower} src {own} table {table}\n\
             route add {} via {router} dev {lower} table {table}\n\
             rule add from {own} lookup {table} priority 1000\n\
             rule add to {network} lookup {table} priority 1001\n",
            family.everything()
        )
    }
}
