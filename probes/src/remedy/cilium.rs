//! Cilium: the MTU that is set is the node network's, and the overhead is taken from it.

use crate::units::LinkMtu;

pub(super) fn mtu(mtu: LinkMtu, outer: u32) -> Vec<String> {
    vec![
        format!("Set Cilium's MTU to {outer}, the node network's: Cilium takes the tunnel's overhead to get {mtu}."),
        "Cilium installed by Helm:".into(),
        format!("$ helm -n kube-system upgrade cilium cilium/cilium --reuse-values --set MTU={outer}"),
        "Cilium installed without Helm:".into(),
        format!(
            "$ kubectl -n kube-system patch cm cilium-config --type merge -p '{{\"data\":{{\"mtu\":\"{outer}\"}}}}'"
        ),
        "After either:".into(),
        "$ kubectl -n kube-system rollout restart ds/cilium".into(),
    ]
}

pub(super) fn restart_here() -> Vec<String> {
    vec![
        "Let Cilium set its tunnel up again on this node:".into(),
        "$ kubectl -n kube-system delete pod -l k8s-app=cilium --field-selector spec.nodeName=THIS_NODE".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_underlay_value_is_set() {
        insta::assert_snapshot!(mtu(LinkMtu::new(1450), 1500).join("\n"), @r#"
Set Cilium's MTU to 1500, the node network's: Cilium takes the tunnel's overhead to get 1450.
Cilium installed by Helm:
$ helm -n kube-system upgrade cilium cilium/cilium --reuse-values --set MTU=1500
Cilium installed without Helm:
$ kubectl -n kube-system patch cm cilium-config --type merge -p '{"data":{"mtu":"1500"}}'
After either:
$ kubectl -n kube-system rollout restart ds/cilium
"#);
    }
}
