//! Flannel: `Backend.MTU` in net-conf.json is the *outer* MTU, and devices that exist are reused as they are.

use crate::units::LinkMtu;

pub(super) fn mtu(tunnel: &str, mtu: LinkMtu, outer: u32) -> Vec<String> {
    vec![
        format!(
            "Set `\"Backend\": {{\"MTU\": {outer}}}` in Flannel's net-conf.json (ConfigMap kube-flannel-cfg): it is \
             the MTU of the node's network, from which Flannel takes the tunnel's overhead to get {mtu}. Restart it:"
        ),
        RESTART.into(),
        format!("A restart reuses {tunnel} and cni0 as they are, so on every node:"),
        format!("$ ip link set dev {tunnel} mtu {mtu}; ip link set dev cni0 mtu {mtu}"),
    ]
}

pub(super) fn pod_mtu(mtu: LinkMtu) -> Vec<String> {
    vec![
        "Pods take their MTU from FLANNEL_MTU in /run/flannel/subnet.env unless /etc/cni/net.d/10-flannel.conflist sets an \
         `mtu`: remove that (ConfigMap kube-flannel-cfg, cni-conf.json)."
            .into(),
        format!(
            "flanneld writes FLANNEL_MTU as it starts: the `MTU` of net-conf.json's Backend, or the NIC's where that has \
             none, less the tunnel's overhead. Restart it, and see that it is {mtu}:"
        ),
        RESTART.into(),
        "cni0 is reused as it is, so on every node:".into(),
        format!("$ ip link set dev cni0 mtu {mtu}"),
    ]
}

pub(super) fn restart_here() -> Vec<String> {
    vec![
        "Let Flannel set its tunnel up again on this node:".into(),
        "$ kubectl -n kube-flannel delete pod -l app=flannel --field-selector spec.nodeName=THIS_NODE".into(),
    ]
}

const RESTART: &str = "$ kubectl -n kube-flannel rollout restart ds/kube-flannel-ds";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_mtu_is_configured_and_the_inner_one_set_on_devices() {
        insta::assert_snapshot!(mtu("flannel.1", LinkMtu::new(1450), 1500).join("\n"), @r#"
Set `"Backend": {"MTU": 1500}` in Flannel's net-conf.json (ConfigMap kube-flannel-cfg): it is the MTU of the node's network, from which Flannel takes the tunnel's overhead to get 1450. Restart it:
$ kubectl -n kube-flannel rollout restart ds/kube-flannel-ds
A restart reuses flannel.1 and cni0 as they are, so on every node:
$ ip link set dev flannel.1 mtu 1450; ip link set dev cni0 mtu 1450
"#);
    }

    #[test]
    fn pods_follow_flannels_own_file() {
        insta::assert_snapshot!(pod_mtu(LinkMtu::new(1450)).join("\n"), @r#"
Pods take their MTU from FLANNEL_MTU in /run/flannel/subnet.env unless /etc/cni/net.d/10-flannel.conflist sets an `mtu`: remove that (ConfigMap kube-flannel-cfg, cni-conf.json).
flanneld writes FLANNEL_MTU as it starts: the `MTU` of net-conf.json's Backend, or the NIC's where that has none, less the tunnel's overhead. Restart it, and see that it is 1450:
$ kubectl -n kube-flannel rollout restart ds/kube-flannel-ds
cni0 is reused as it is, so on every node:
$ ip link set dev cni0 mtu 1450
"#);
    }
}
