//! What a node's own Kubernetes files say: kube-vip's manifest, the kubelet's flags. And the way to the API.

use std::net::IpAddr;

/// An address that nobody has, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipHeld {
    /// The address.
    pub address: IpAddr,
    /// The link that it belongs on.
    pub link: String,
    /// kube-vip's manifest.
    pub manifest: String,
    /// The election's lease, where there is one.
    pub lease: Option<String>,
    /// Whether nobody has it.
    pub nobody: bool,
}

/// The kubelet watches the folder: a manifest that is saved is in force within seconds.
pub(super) fn vip_interface(manifest: &str, interface: &str, candidates: &[String]) -> Vec<String> {
    let name = match candidates {
        [] => "a link of this node (`ip -br address` shows them)".to_owned(),
        [only] => format!("{only}, which has an address of that network"),
        several => format!("one of {}, which have an address of that network", several.join(", ")),
    };
    vec![
        format!(
            "In {manifest}, name in place of {interface}: {name}. Links may have other names on each node; with no name \
             kube-vip takes the default route's link. The kubelet restarts kube-vip as soon as the file is saved, so edit a \
             copy outside of that folder and move it there."
        ),
        format!("$ grep -n -A1 'vip_interface\\|vip_servicesinterface' {manifest}"),
        "$ ip -br address".into(),
    ]
}

/// What keeps an agent from hearing the API is nearly always one of these, the reason told first. Namespace, Services and
/// service account are called as the manifests call them.
pub(super) fn api_heard(why: Option<&str>) -> Vec<String> {
    let mut lines: Vec<String> = why.map(|why| format!("The agent was told: {why}")).into_iter().collect();
    lines.extend(
        [
            "See that the API is there, and reachable from this node by the address that pods use:",
            "$ kubectl get --raw /readyz; kubectl get service kubernetes",
            "See that the agent may read EndpointSlices in its own namespace; apply the manifests' Role and RoleBinding \
             again if it may not:",
            "$ kubectl auth can-i watch endpointslices.discovery.k8s.io -n mtuscope --as \
             system:serviceaccount:mtuscope:mtuscope",
            "See that the Services are there and select the agents: their slices name every node:",
            "$ kubectl -n mtuscope get services,endpointslices",
            "If the API refuses the token (401), restart the agent's pod; if nothing answers, look for a NetworkPolicy or \
             firewall between this node and the API servers (TCP 443 and 6443).",
        ]
        .map(str::to_owned),
    );
    lines
}

/// Who should have the address is in the lease; who has it is on the nodes.
pub(super) fn vip_held_once(held: &VipHeld) -> Vec<String> {
    let VipHeld { address, link, manifest, lease, nobody } = held;
    let mut lines = Vec::new();
    if let Some(lease) = lease {
        lines.push("The lease names the node that should have the address, and when it was renewed last:".into());
        lines.push(format!("$ kubectl -n kube-system get lease {lease} -o yaml"));
    }
    lines.push("On each node with a manifest of kube-vip, see who has it:".into());
    lines.push(format!("$ ip -br address show to {address}"));
    if *nobody {
        lines.push(format!(
            "Nobody takes it over: see on those nodes whether kube-vip runs, and what it says. It ends where the link that \
             {manifest} names is missing, and does not take the address while it cannot reach the API server that the lease \
             is kept in."
        ));
        lines.push("$ crictl logs $(crictl ps -a --name kube-vip -q | head -1)".into());
        lines.push(format!("Until it does, one node may have it by hand: `ip address add {address}/32 dev {link}`."));
    } else {
        lines.push(format!(
            "Take it from the node that the lease does not name, by `ip address del {address}/32 dev {link}` there, and see \
             why kube-vip left it: a process that was killed takes nothing back, and two clusters, or a machine beside \
             them, may have been given one address."
        ));
    }
    lines
}

pub(super) fn kubelet_flags(flags: &[(String, String)]) -> Vec<String> {
    let mut lines: Vec<_> = flags.iter().map(|(flag, at)| format!("Delete {flag} from {at}.")).collect();
    if flags.iter().any(|(_, at)| at.contains("/systemd/system/")) {
        lines.push("$ systemctl daemon-reload".into());
    }
    lines.push("$ systemctl restart kubelet".into());
    lines.push(
        "The MTU of pods is the CNI's (its configuration in /etc/cni/net.d, or what generates that); no flag of the \
         kubelet sets it. A later `kubeadm upgrade node` writes kubeadm-flags.env anew."
            .into(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_says_who_should_have_the_address() {
        let told = |lease: Option<&str>, nobody| {
            let held = VipHeld {
                address: IpAddr::from([10, 0, 0, 100]),
                link: "vmbr1".into(),
                manifest: "/m.yaml".into(),
                lease: lease.map(str::to_owned),
                nobody,
            };
            vip_held_once(&held).join("\n")
        };
        let absent = told(Some("plndr-cp-lock"), true);
        assert!(
            absent.contains("get lease plndr-cp-lock") && absent.contains("ip address add 10.0.0.100/32 dev vmbr1")
        );
        let twice = told(None, false);
        assert!(!twice.contains("lease ") || twice.contains("the lease does not name"), "{twice}");
        assert!(twice.contains("ip address del 10.0.0.100/32 dev vmbr1") && !twice.contains("kubectl"));
    }

    #[test]
    fn units_are_read_again_where_they_give_the_flag() {
        let lines = |at: &str| kubelet_flags(&[("--network-plugin".into(), at.into())]).join("\n");
        let unit = lines("/etc/systemd/system/kubelet.service.d/10-kubeadm.conf:3");
        assert!(
            unit.starts_with("Delete --network-plugin from /etc/systemd") && unit.contains("$ systemctl daemon-reload")
        );
        assert!(!lines("/etc/default/kubelet:1").contains("daemon-reload"));
    }

    #[test]
    fn the_reason_that_was_told_comes_first() {
        assert!(api_heard(Some("403 Forbidden"))[0].ends_with("told: 403 Forbidden"));
        assert!(api_heard(None)[0].starts_with("See that the API is there"));
    }

    #[test]
    fn a_link_of_the_addresss_network_is_proposed() {
        let first = |candidates: &[&str]| {
            let candidates: Vec<_> = candidates.iter().map(|&name| name.to_owned()).collect();
            vip_interface("/m.yaml", "eth1", &candidates).remove(0)
        };
        assert!(first(&["vmbr1"]).starts_with("In /m.yaml, name in place of eth1: vmbr1, which has"));
        assert!(first(&["a", "b"]).contains("one of a, b, which have"));
        assert!(first(&[]).contains("ip -br address"));
    }
}
