//! Pods as each CNI hangs them on a node.

use std::sync::PoisonError;

use super::{Cluster, Node, POD};
use crate::family::Family;
use crate::namespace::Namespace;
use crate::recipe::{Cni, Delivery, Overlay};
use crate::{Error, Result};

const BRIDGE: &str = "a recipe with Flannel names its bridge";

/// The hardware address that Calico gives to the host end of every pod's link, and the link-local address that comes of it:
/// the gateway of pods that speak IPv6.
const CALICO_MAC: &str = "ee:ee:ee:ee:ee:ee";
const CALICO_GATEWAY: &str = "fe80::ecee:eeff:feee:eeee";

/// A pod to be hung on a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewPod {
    /// The host end of its link.
    pub(crate) link: &'static str,
    /// Its number in the node's block, which is the last byte of its addresses.
    pub(crate) number: u8,
    /// The MTU that both ends are born with.
    pub(crate) mtu: u32,
}

impl NewPod {
    /// Adds it to a node.
    pub(crate) fn add(&self, host: &Namespace, pod: &Namespace, overlay: Overlay, node: usize) -> Result<()> {
        let Self { link, mtu, .. } = self;
        let of_calico = overlay.by == Cni::Calico;
        let mac = if overlay.by == Cni::Aws || (of_calico && overlay.families.has(Family::V6)) {
            format!("address {CALICO_MAC} ")
        } else {
            String::new()
        };
        let (mut on_host, mut in_pod) = if overlay.by == Cni::Flannel {
            Self::port(link, overlay)
        } else {
            (format!("link set {link} up\n"), "link set eth0 up\n".to_owned())
        };
        for &family in overlay.families.all() {
            let (more_on_host, more_in_pod) = match overlay.by {
                Cni::Calico => self.calico(family, overlay, node),
                Cni::Flannel => self.flannel(family, overlay, node),
                Cni::Cilium => self.cilium(family, overlay, node),
                Cni::Aws => self.aws(family, overlay, node),
            };
            on_host += &more_on_host;
            in_pod += &more_in_pod;
        }
        let wire = format!("link add {link} {mac}mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}\n", pod.path());
        host.feed("ip", &["-batch", "-"], &(wire + &on_host))?;
        if of_calico {
            host.set(&format!("net/ipv4/conf/{link}/proxy_arp"), "1")?;
            host.set(&format!("net/ipv4/neigh/{link}/proxy_delay"), "0")?;
        }
        pod.feed("ip", &["-batch", "-"], &in_pod)
    }

    /// A route for each pod, and a gateway that only exists as a proxy ARP answer or a link-local address.
    fn calico(&self, family: Family, overlay: Overlay, node: usize) -> (String, String) {
        let (address, link, at_once) = (overlay.address_of(family, node, self.number), self.link, family.at_once());
        let host = match family {
            Family::V4 => format!("route add {address} dev {link} scope link\n"),
            Family::V6 => format!("route add {address} dev {link}\n"),
        };
        let (gateway, to_gateway) = match family {
            Family::V4 => ("169.254.1.1", "route add 169.254.1.1 dev eth0 scope link\n"),
            Family::V6 => (CALICO_GATEWAY, ""),
        };
        let (length, everything) = (family.host_prefix(), family.everything());
        let pod = format!(
            "address add {address}/{length} dev eth0{at_once}\n{to_gateway}route add {everything} via {gateway} dev eth0\n"
        );
        (host, pod)
    }

    /// A route for each pod, and the node's own address as their gateway. What fits, the route says.
    fn cilium(&self, family: Family, overlay: Overlay, node: usize) -> (String, String) {
        let [gateway, address] = [0, self.number].map(|host| overlay.address_of(family, node, host));
        let (length, everything, at_once) = (family.host_prefix(), family.everything(), family.at_once());
        let pod = format!(
            "address add {address}/{length} dev eth0{at_once}\nroute add {gateway} dev eth0 scope link\n\
             route add {everything} via {gateway} dev eth0 mtu {}\n",
            overlay.carries()
        );
        (format!("route add {address} dev {} scope link\n", self.link), pod)
    }

    /// A route and a rule for each pod, and a gateway whose hardware address the pod is told.
    fn aws(&self, family: Family, overlay: Overlay, node: usize) -> (String, String) {
        let (address, length) = (overlay.address_of(family, node, self.number), family.host_prefix());
        let (everything, at_once) = (family.everything(), family.at_once());
        let pod = format!(
            "address add {address}/{length} dev eth0{at_once}\nroute add 169.254.1.1 dev eth0 scope link\n\
             neighbour replace 169.254.1.1 lladdr {CALICO_MAC} dev eth0 nud permanent\n\
             route add {everything} via 169.254.1.1 dev eth0\n"
        );
        let host = format!(
            "route add {address} dev {} scope link\nrule add to {address} lookup main priority 512\n",
            self.link
        );
        (host, pod)
    }

    fn port(link: &str, overlay: Overlay) -> (String, String) {
        let bridge = overlay.pod_bridge.expect(BRIDGE);
        (format!("link set {link} master {bridge} up\n"), "link set eth0 up\n".to_owned())
    }

    /// A port of the bridge that is the pods' gateway.
    fn flannel(&self, family: Family, overlay: Overlay, node: usize) -> (String, String) {
        let [address, gateway] = [self.number, 1].map(|host| overlay.address_of(family, node, host));
        let (length, everything) = (on_bridge(family), family.everything());
        let at_once = family.at_once();
        let pod = format!(
            "address add {address}/{length} dev eth0{at_once}\nroute add {everything} via {gateway} dev eth0\n"
        );
        (String::new(), pod)
    }
}

/// The pod that every node has.
pub(super) fn first(overlay: Overlay) -> NewPod {
    NewPod { link: overlay.by.pod_link(), number: 2, mtu: overlay.pod_mtu() }
}

impl Cluster {
    /// Recreates a node's pods. Their CNI gives them the MTU that it was `told`, or else that of its tunnels: that is what
    /// it read, or what it keeps both at.
    pub(crate) fn recreate_pods(&self, node: usize, told: Option<u32>) -> Result<()> {
        let Some(overlay) = self.recipe.overlay else { return Ok(()) };
        let Node { host, pod, later, .. } = &self.nodes[node];
        let of_tunnels =
            self.recipe.tunnels().iter().map(|tunnel| mtu_of(host, tunnel.link)).collect::<Result<Vec<_>>>()?;
        let mtu = told.or_else(|| of_tunnels.into_iter().min()).unwrap_or_else(|| overlay.pod_mtu());
        let born_again = |new: NewPod, block: usize, pod: &Namespace| {
            host.run("ip", ["link", "del", new.link])?;
            NewPod { mtu, ..new }.add(host, pod, overlay, block)
        };
        born_again(first(overlay), node, pod.as_ref().expect(POD))?;
        let later = later.lock().unwrap_or_else(PoisonError::into_inner);
        later.iter().try_for_each(|(new, block, pod)| born_again(*new, *block, pod))
    }
}

fn mtu_of(host: &Namespace, link: &str) -> Result<u32> {
    let shown = host.run("ip", ["-o", "link", "show", "dev", link])?;
    let mtu = shown.split_whitespace().skip_while(|word| *word != "mtu").nth(1).and_then(|mtu| mtu.parse().ok());
    mtu.ok_or_else(|| Error::new(format!("looking for the MTU of {link}"), shown))
}

/// What a node sets for its pods: one on a bridge wants its packets to meet filters, as kubeadm does.
pub(super) fn settings(host: &Namespace, overlay: Overlay) -> Result<()> {
    host.set("net/ipv4/ip_forward", "1")?;
    if overlay.families.has(Family::V6) {
        host.set("net/ipv6/conf/all/forwarding", "1")?;
    }
    if overlay.pod_bridge.is_none() {
        return Ok(());
    }
    let filters = |tables: &str| {
        host.set(&format!("net/bridge/bridge-nf-call-{tables}"), "1").map_err(|error| {
            error.check("the kernel has the module br_netfilter loaded: `modprobe br_netfilter`, as root")
        })
    };
    filters("iptables")?;
    if overlay.families.has(Family::V6) { filters("ip6tables") } else { Ok(()) }
}

/// What a node has of its pod network before its first pod: its block, or the pods' bridge.
pub(super) fn ground(overlay: Overlay, node: usize) -> String {
    let families = overlay.families.all().iter();
    if overlay.by == Cni::Calico {
        let by = if overlay.delivery == Delivery::Direct { "bird" } else { "80" };
        return families
            .map(|&family| format!("route add blackhole {} proto {by}\n", overlay.subnet(family, node)))
            .collect();
    }
    let Some(bridge) = overlay.pod_bridge else { return String::new() };
    let address = |&family: &Family| {
        let (address, length) = (overlay.address_of(family, node, 1), on_bridge(family));
        format!("address add {address}/{length} dev {bridge}{}\n", family.at_once())
    };
    format!("link add {bridge} mtu {} type bridge\nlink set {bridge} up\n", overlay.pod_mtu())
        + &families.map(address).collect::<String>()
}

/// The length of the prefix that pods on a bridge share.
const fn on_bridge(family: Family) -> u8 {
    match family {
        Family::V4 => 24,
        Family::V6 => 64,
    }
}
