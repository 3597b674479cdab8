//! Pods as Calico and Flannel hang them on a node.

use crate::Result;
use crate::namespace::Namespace;
use crate::recipe::{Cni, Overlay};

/// Adds a pod to a node.
pub(super) fn add(host: &Namespace, pod: &Namespace, overlay: Overlay, node: usize) -> Result<()> {
    let link = overlay.by.pod_link();
    let (on_host, in_pod) = match overlay.by {
        Cni::Calico => calico(overlay, node),
        Cni::Flannel => flannel(overlay, node),
    };
    let wire = format!("link add {link} mtu {0} type veth peer name eth0 mtu {0} netns {1}\n", overlay.mtu, pod.path());
    host.feed("ip", &["-batch", "-"], &(wire + &on_host))?;
    if overlay.by == Cni::Calico {
        host.set(&format!("net/ipv4/conf/{link}/proxy_arp"), "1")?;
        host.set(&format!("net/ipv4/neigh/{link}/proxy_delay"), "0")?;
    }
    pod.feed("ip", &["-batch", "-"], &in_pod)
}

/// A route for each pod, and a gateway that only exists as a proxy ARP answer.
fn calico(overlay: Overlay, node: usize) -> (String, String) {
    let (link, address, block) = (overlay.by.pod_link(), overlay.pod_address(node), overlay.subnet(node));
    let host = format!(
        "link set {link} up\nroute add {address} dev {link} scope link\nroute add blackhole {block} proto 80\n"
    );
    let pod = format!(
        "link set eth0 up\naddress add {address}/32 dev eth0\nroute add 169.254.1.1 dev eth0 scope link\n\
         route add default via 169.254.1.1\n"
    );
    (host, pod)
}

/// A bridge that is the pods' gateway.
fn flannel(overlay: Overlay, node: usize) -> (String, String) {
    let (link, address, gateway) = (overlay.by.pod_link(), overlay.pod_address(node), overlay.address(node, 1));
    let bridge = overlay.pod_bridge.expect("a recipe with Flannel names its bridge");
    let host = format!(
        "link add {bridge} mtu {} type bridge\nlink set {link} master {bridge} up\nlink set {bridge} up\n\
         address add {gateway}/24 dev {bridge}\n",
        overlay.mtu
    );
    let pod = format!("link set eth0 up\naddress add {address}/24 dev eth0\nroute add default via {gateway}\n");
    (host, pod)
}
