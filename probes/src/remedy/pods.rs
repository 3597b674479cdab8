//! Pods: their links, and that they are born again.

use std::net::IpAddr;

use crate::units::LinkMtu;

/// The node's end follows the pod's: then what is too large reaches the node, which tells the sender. Behind a bridge
/// nobody would tell.
pub(super) fn ends(links: &[(String, LinkMtu)], ports: &[String], pods: &[IpAddr]) -> Vec<String> {
    let mut lines = Vec::new();
    if !links.is_empty() {
        lines.push(
            "At once, on this node: give the node's ends the MTU that the pods have, so that what is too large is \
             answered and does not vanish:"
                .to_owned(),
        );
        lines.extend(links.iter().map(|(link, mtu)| format!("$ ip link set dev {link} mtu {mtu}")));
    }
    if !ports.is_empty() {
        lines.push(format!(
            "Leave {} as large as its bridge, which drops without a word what is too large for one port; the pod's end \
             has to be mended.",
            ports.join(", ")
        ));
    }
    let find = "Find what changed one end: the plugin `tuning` with an `mtu` in /etc/cni/net.d, a pod with NET_ADMIN, a \
                network manager that takes hold of the node's ends. A CNI gives both ends the same MTU.";
    lines.push(find.to_owned());
    if !pods.is_empty() {
        let addresses: String = pods.iter().map(|address| format!(" -e {address}")).collect();
        lines.push("See which pods they are:".to_owned());
        lines.push(format!("$ kubectl get pods --all-namespaces -o wide | grep -wF{addresses}"));
    }
    lines
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
        let lines = ends(&[("cali1".into(), LinkMtu::new(1500)), ("cali2".into(), LinkMtu::new(1400))], &[], &[]);
        assert_eq!(lines[1..3], ["$ ip link set dev cali1 mtu 1500", "$ ip link set dev cali2 mtu 1400"]);
    }

    #[test]
    fn a_bridges_port_stays_and_pods_are_named_by_their_addresses() {
        let lines = ends(&[], &["veth1".into()], &[IpAddr::from([10, 244, 1, 2])]);
        assert!(lines[0].starts_with("Leave veth1 as large as its bridge"), "{lines:?}");
        assert_eq!(lines[3], "$ kubectl get pods --all-namespaces -o wide | grep -wF -e 10.244.1.2");
    }
}
