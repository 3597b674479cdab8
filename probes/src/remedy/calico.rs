//! Calico: one MTU for tunnel and pods, set where the installation keeps it.
//!
//! An operator's installation and a manifest's cannot be told apart from a node's devices, so both commands are given,
//! labelled. The MTU fields of FelixConfiguration are no way: a manifest's environment variables win over them.

use crate::units::LinkMtu;

pub(super) fn mtu(mtu: LinkMtu) -> Vec<String> {
    vec![
        format!("Set Calico's MTU to {mtu}; it holds for all nodes, so take the smallest that any of them needs."),
        "Calico installed by its operator:".into(),
        format!(
            "$ kubectl patch installation.operator.tigera.io default --type merge \
             -p '{{\"spec\":{{\"calicoNetwork\":{{\"mtu\":{mtu}}}}}}}'"
        ),
        "Calico installed by manifest:".into(),
        format!(
            "$ kubectl -n kube-system patch cm calico-config --type merge -p '{{\"data\":{{\"veth_mtu\":\"{mtu}\"}}}}' \
             && kubectl -n kube-system rollout restart ds/calico-node"
        ),
    ]
}

/// Felix looks at links by their names only, on every node by the same pattern; it starts again when it finds another MTU.
pub(super) fn search(link: &str, found: LinkMtu) -> Vec<String> {
    vec![
        format!(
            "Let Calico look at {link}, so that it finds {found} here. The pattern holds for every node: it must name, \
             on each, the links that carry the nodes' network and no other (join names by `|`)."
        ),
        format!(
            "$ kubectl patch felixconfiguration default --type merge -p '{{\"spec\":{{\"mtuIfacePattern\":\"^({link})$\"}}}}'"
        ),
        "calico-node starts again by itself, and writes what it finds to /var/lib/calico/mtu; see there that it is right \
         on each node."
            .into(),
    ]
}

/// Felix programs its tunnel, neighbours, forwarding entries and routes again when it starts.
pub(super) fn restart_here() -> Vec<String> {
    let delete = |namespace| {
        format!("$ kubectl -n {namespace} delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE")
    };
    vec![
        "Let Calico set its tunnel up again on this node. Calico installed by its operator:".into(),
        delete("calico-system"),
        "Calico installed by manifest:".into(),
        delete("kube-system"),
    ]
}

/// Felix tells by the kernel's version whether offload is broken, and can be told.
pub(super) fn no_offload() -> Vec<String> {
    vec![
        "$ kubectl patch felixconfiguration default --type merge \
         -p '{\"spec\":{\"featureDetectOverride\":\"ChecksumOffloadBroken=true\"}}'"
            .into(),
        "Left to itself, Felix of today switches it off on kernels up to 5.7 alone.".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_installations_are_given_and_labelled() {
        insta::assert_snapshot!(mtu(LinkMtu::new(1450)).join("\n"), @r#"
Set Calico's MTU to 1450; it holds for all nodes, so take the smallest that any of them needs.
Calico installed by its operator:
$ kubectl patch installation.operator.tigera.io default --type merge -p '{"spec":{"calicoNetwork":{"mtu":1450}}}'
Calico installed by manifest:
$ kubectl -n kube-system patch cm calico-config --type merge -p '{"data":{"veth_mtu":"1450"}}' && kubectl -n kube-system rollout restart ds/calico-node
"#);
    }

    #[test]
    fn the_search_is_led_to_the_link_by_its_whole_name() {
        let lines = search("bond0.100", LinkMtu::new(8950));
        assert!(lines[0].starts_with("Let Calico look at bond0.100, so that it finds 8950 here."), "{lines:?}");
        let patch: serde_json::Value = serde_json::from_str(lines[1].split('\'').nth(1).unwrap()).unwrap();
        assert_eq!(patch["spec"]["mtuIfacePattern"], "^(bond0.100)$");
    }

    #[test]
    fn patches_are_json() {
        let lines = mtu(LinkMtu::new(1450));
        let patches: Vec<serde_json::Value> = lines
            .iter()
            .filter(|line| line.starts_with("$ "))
            .filter_map(|line| line.split('\'').nth(1))
            .map(|patch| serde_json::from_str(patch).unwrap())
            .collect();
        assert_eq!(patches[0]["spec"]["calicoNetwork"]["mtu"], 1450);
        assert_eq!(patches[1]["data"]["veth_mtu"], "1450", "values of a ConfigMap are text");
    }
}
