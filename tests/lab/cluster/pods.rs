//! Pods as Calico and Flannel hang them on a node.

use std::net::Ipv4Addr;

use crate::Result;
use crate::namespace::Namespace;
use crate::recipe::{Cni, Overlay};

const BRIDGE: &str = "a recipe with Flannel names its bridge";

/// A pod to be hung on a node.
pub(crate) struct NewPod {
    /// The host end of its link.
    pub(crate) link: &'static str,
    /// Its address, of the node's block.
    pub(crate) address: Ipv4Addr,
    /// The MTU that both ends are born with.
    pub(crate) mtu: u32,
}

impl NewPod {
    /// Adds it to a node.
    pub(crate) fn add(&self, host: &Namespace, pod: &Namespace, overlay: Overlay, node: usize) -> Result<()> {
        let Self { link, mtu, .. } = self;
        let (on_host, in_pod) = match overlay.by {
            Cni::Calico => self.calico(),
            Cni::Flannel => self.flannel(overlay, node),
        };
        let wire = format!("link add {link} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}\n", pod.path());
        host.feed("ip", &["-batch", "-"], &(wire + &on_host))?;
        if overlay.by == Cni::Calico {
            host.set(&format!("net/ipv4/conf/{link}/proxy_arp"), "1")?;
            host.set(&format!("net/ipv4/neigh/{link}/proxy_delay"), "0")?;
        }
        pod.feed("ip", &["-batch", "-"], &in_pod)
    }

    /// A route for each pod, and a gateway that only exists as a proxy ARP answer.
    fn calico(&self) -> (String, String) {
        let Self { link, address, .. } = self;
        let host = format!("link set {link} up\nroute add {address} dev {link} scope link\n");
        let pod = format!(
            "link set eth0 up\naddress add {address}/32 dev eth0\nroute add 169.254.1.1 dev eth0 scope link\n\
             route add default via 169.254.1.1\n"
        );
        (host, pod)
    }

    /// A port of the bridge that is the pods' gateway.
    fn flannel(&self, overlay: Overlay, node: usize) -> (String, String) {
        let Self { link, address, .. } = self;
        let bridge = overlay.pod_bridge.expect(BRIDGE);
        let host = format!("link set {link} master {bridge} up\n");
        let gateway = overlay.address(node, 1);
        let pod = format!("link set eth0 up\naddress add {address}/24 dev eth0\nroute add default via {gateway}\n");
        (host, pod)
    }
}

/// What a node sets for its pods: one on a bridge wants its packets to meet filters, as kubeadm does.
pub(super) fn settings(host: &Namespace, overlay: Overlay) -> Result<()> {
    host.set("net/ipv4/ip_forward", "1")?;
    match overlay.by {
        Cni::Calico => Ok(()),
        Cni::Flannel => host.set("net/bridge/bridge-nf-call-iptables", "1").map_err(|error| {
            error.check("the kernel has the module br_netfilter loaded: `modprobe br_netfilter`, as root")
        }),
    }
}

/// What a node has of its pod network before its first pod: its block, or the pods' bridge.
pub(super) fn ground(overlay: Overlay, node: usize) -> String {
    match overlay.by {
        Cni::Calico => format!("route add blackhole {} proto 80\n", overlay.subnet(node)),
        Cni::Flannel => format!(
            "link add {0} mtu {1} type bridge\nlink set {0} up\naddress add {2}/24 dev {0}\n",
            overlay.pod_bridge.expect(BRIDGE),
            overlay.mtu,
            overlay.address(node, 1)
        ),
    }
}
