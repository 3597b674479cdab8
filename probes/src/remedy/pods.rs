//! Pods: their links, and that they are born again.

use crate::units::LinkMtu;

/// The node's end follows the pod's: then what is too large reaches the node, which tells the sender.
pub(super) fn ends(links: &[(String, LinkMtu)]) -> Vec<String> {
    let commands = links.iter().map(|(link, mtu)| format!("$ ip link set dev {link} mtu {mtu}"));
    let at_once = "At once, on this node: give the node's ends the MTU that the pods have, so that what is too large is \
                   answered and does not vanish:";
    let find = "Find what changed one end: the plugin `tuning` with an `mtu` in /etc/cni/net.d, a pod with NET_ADMIN, a \
                network manager that takes hold of the node's ends. A CNI gives both ends the same MTU.";
    std::iter::once(at_once.to_owned()).chain(commands).chain([find.to_owned()]).collect()
}

pub(super) fn recreate() -> Vec<String> {
    vec![
        "Pods keep their MTU until they are recreated; restart them, one namespace at a time:".into(),
        "$ kubectl -n NAMESPACE rollout restart deployment,statefulset,daemonset".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_follows_its_pod() {
        let lines = ends(&[("cali1".into(), LinkMtu::new(1500)), ("cali2".into(), LinkMtu::new(1400))]);
        assert_eq!(lines[1..3], ["$ ip link set dev cali1 mtu 1500", "$ ip link set dev cali2 mtu 1400"]);
    }
}
