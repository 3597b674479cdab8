//! Which address everything has, in both families.
//!
//! An IPv6 address is told from the IPv4 one beside it at a glance: `10.66.0.11` is `fd00:10:66:0::11`. Its groups show
//! the decimal digits of the bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Cni, Overlay, Recipe, Tunnel, Underlay};
use crate::family::Family;

impl Recipe {
    /// The node's address on the cluster's network, of the first family spoken there.
    pub fn underlay_address(&self, node: usize) -> IpAddr {
        self.underlay_of(self.families.first(), node)
    }

    /// The node's addresses on the cluster's network.
    pub fn underlay_addresses(&self, node: usize) -> Vec<IpAddr> {
        self.families.all().iter().map(|&family| self.underlay_of(family, node)).collect()
    }

    /// The node's address on the cluster's network, `None` if that family is not spoken there.
    pub fn underlay_in(&self, family: Family, node: usize) -> Option<IpAddr> {
        self.families.has(family).then(|| self.underlay_of(family, node))
    }

    /// The node's address on the management network, of the family that stands for the cluster's.
    pub fn management_address(&self, node: usize) -> IpAddr {
        self.management_of(self.families.first(), node)
    }

    /// The address of the router's side that a node sees, where there is a router.
    pub fn router_address(&self, node: usize) -> Option<IpAddr> {
        self.router_in(self.families.first(), node)
    }

    /// The address of the router's side that a node sees, `None` if that family is not spoken there or there is no router.
    pub fn router_in(&self, family: Family, node: usize) -> Option<IpAddr> {
        let spoken = self.families.has(family) && self.is_routed();
        spoken.then(|| self.behind_router(family, node, 1))
    }

    pub(crate) fn management_of(&self, family: Family, node: usize) -> IpAddr {
        address(family, [192, 168, 0], 11 + byte(node))
    }

    /// Where the management network leads on.
    pub(crate) fn management_gateway(&self, family: Family) -> IpAddr {
        address(family, [192, 168, 0], 1)
    }

    pub(crate) fn underlay_of(&self, family: Family, node: usize) -> IpAddr {
        match self.underlay {
            Underlay::Switched(network) => address(family, network, 11 + byte(node)),
            _ => self.behind_router(family, node, 10),
        }
    }

    /// Another host of the cluster's network, in node 0's subnet.
    pub(crate) fn underlay_host(&self, family: Family, host: u8) -> IpAddr {
        match self.underlay {
            Underlay::Switched(network) => address(family, network, host),
            _ => self.behind_router(family, 0, host),
        }
    }

    /// The node's own subnet of the cluster's network, as a prefix.
    pub(crate) fn subnet_of(&self, family: Family, node: usize) -> String {
        match self.underlay {
            Underlay::Switched(network) => prefix(address(family, network, 0), 24),
            _ => prefix(self.behind_router(family, node, 0), 24),
        }
    }

    /// All subnets of the cluster's network, as a prefix.
    pub(crate) fn whole_network(&self, family: Family) -> String {
        let [a, b] = self.networks();
        format!("{}/{}", address(family, [a, b, 0], 0), if family == Family::V4 { 16 } else { 48 })
    }

    fn behind_router(&self, family: Family, node: usize, host: u8) -> IpAddr {
        let [a, b] = self.networks();
        address(family, [a, b, 1 + byte(node)], host)
    }

    /// The address of one end (0 or 1) of the nth wire between routers.
    pub(crate) fn span_address(&self, family: Family, span: usize, end: usize) -> IpAddr {
        let [a, b] = self.networks();
        match (self.underlay, family) {
            (Underlay::Routed(_), Family::V4) => address(family, [a, b, 10 + byte(end)], 1),
            (Underlay::Routed(_), Family::V6) => address(family, [a, b, 10], 1 + byte(end)),
            _ => address(family, [a, b, 100 + byte(span)], 1 + byte(end)),
        }
    }

    /// The first two bytes of all subnets.
    fn networks(&self) -> [u8; 2] {
        match self.underlay {
            Underlay::Switched([a, b, _])
            | Underlay::Routed([a, b])
            | Underlay::Chain { network: [a, b], .. }
            | Underlay::Parallel { network: [a, b], .. } => [a, b],
        }
    }
}

impl Overlay {
    /// The node's address on the tunnel device, of the first family that pods speak.
    pub fn tunnel_address(&self, node: usize) -> IpAddr {
        self.address(node, 0)
    }

    /// The node's address on the tunnel device that carries a family, `None` if pods do not speak it.
    pub fn tunnel_in(&self, family: Family, node: usize) -> Option<IpAddr> {
        let carried = self.families.has(family) && self.delivery.vxlan().is_some();
        carried.then(|| self.address_of(family, node, 0))
    }

    /// The address of the node's pod, of the first family that pods speak.
    pub fn pod_address(&self, node: usize) -> IpAddr {
        self.address(node, 2)
    }

    /// The address of the node's pod, `None` if pods do not speak that family.
    pub fn pod_in(&self, family: Family, node: usize) -> Option<IpAddr> {
        self.families.has(family).then(|| self.address_of(family, node, 2))
    }

    /// The node's addresses on its tunnel devices; none where there is no tunnel.
    pub fn tunnel_addresses(&self, node: usize) -> Vec<IpAddr> {
        let families = if self.delivery.vxlan().is_some() { self.families.all() } else { &[] };
        families.iter().map(|&family| self.address_of(family, node, 0)).collect()
    }

    /// The addresses of the node's pod.
    pub fn pod_addresses(&self, node: usize) -> Vec<IpAddr> {
        self.families.all().iter().map(|&family| self.address_of(family, node, 2)).collect()
    }

    /// Address `host` of the node's block, of the first family that pods speak.
    pub fn address(&self, node: usize, host: u8) -> IpAddr {
        self.address_of(self.families.first(), node, host)
    }

    /// The node's pod addresses of a family, as a prefix.
    pub fn subnet(&self, family: Family, node: usize) -> String {
        let length = match (self.by, family) {
            (Cni::Calico, Family::V4) => 26,
            (Cni::Calico, Family::V6) => 122,
            (Cni::Flannel | Cni::Cilium | Cni::Aws, Family::V4) => 24,
            (Cni::Flannel | Cni::Cilium | Cni::Aws, Family::V6) => 64,
        };
        format!("{}/{length}", self.address_of(family, node, 0))
    }

    /// All pod addresses of a family, as a prefix.
    pub fn whole_network(&self, family: Family) -> String {
        let [a, b] = self.network;
        format!("{}/{}", address(family, [a, b, 0], 0), if family == Family::V4 { 16 } else { 48 })
    }

    /// The hardware address of the node's tunnel device.
    pub fn tunnel_mac(&self, node: usize) -> String {
        format!("66:0c:a1:1c:00:{:02x}", node + 1)
    }

    /// The hardware address of one of the node's tunnel devices.
    pub fn mac_of(&self, tunnel: &Tunnel, node: usize) -> String {
        let of_six = self.six.is_some_and(|six| six.tunnel == tunnel.link);
        if of_six { format!("66:0c:a1:1c:06:{:02x}", node + 1) } else { self.tunnel_mac(node) }
    }

    pub(crate) fn address_of(&self, family: Family, node: usize, host: u8) -> IpAddr {
        let [a, b] = self.network;
        address(family, [a, b, 1 + byte(node)], host)
    }
}

/// Host `host` of a network of 256: a /24, or a /64 that shows the same digits.
fn address(family: Family, [a, b, c]: [u8; 3], host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(a, b, c, host).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, digits(a), digits(b), digits(c), 0, 0, 0, digits(host)).into(),
    }
}

fn prefix(address: IpAddr, of_four: u8) -> String {
    let length = if address.is_ipv4() { of_four } else { 64 };
    format!("{address}/{length}")
}

/// The number whose hexadecimal digits are the decimal ones of `byte`.
fn digits(byte: u8) -> u16 {
    let byte = u16::from(byte);
    ((byte / 100) << 8) | ((byte / 10 % 10) << 4) | (byte % 10)
}

fn byte(index: usize) -> u8 {
    u8::try_from(index).expect("a lab has a handful of nodes and wires")
}

#[cfg(test)]
mod tests {
    use crate::family::Family;
    use crate::recipe::{DUAL, REFERENCE, ROUTED, SIX};

    #[test]
    fn an_address_shows_its_digits_in_both_families() {
        assert_eq!(DUAL.underlay_addresses(0).map_to_text(), ["10.66.0.11", "fd00:10:66::11"]);
        assert_eq!(SIX.underlay_address(1).to_string(), "fd00:172:26:2::10");
        assert_eq!(SIX.router_address(1).unwrap().to_string(), "fd00:172:26:2::1");
    }

    #[test]
    fn the_first_clusters_keep_their_addresses() {
        assert_eq!(REFERENCE.underlay_address(2).to_string(), "10.0.0.13");
        assert_eq!(ROUTED.router_address(1).unwrap().to_string(), "172.16.2.1");
        assert_eq!(ROUTED.span_address(Family::V4, 0, 1).to_string(), "172.16.11.1");
        assert_eq!(REFERENCE.underlay_in(Family::V6, 0), None);
    }

    trait MapToText {
        fn map_to_text(self) -> Vec<String>;
    }

    impl MapToText for Vec<std::net::IpAddr> {
        fn map_to_text(self) -> Vec<String> {
            self.iter().map(ToString::to_string).collect()
        }
    }
}
