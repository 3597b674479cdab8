//! A node becomes as the others are: its tunnel is made anew from the settings that hold for all.

use super::{calico, cilium, flannel, maker};
use crate::snapshot::Setup;
use crate::snapshot::setup::Cni;

/// Settings that hold for all nodes are looked at first: a CNI that starts again with its own old word changes nothing.
pub(super) fn tunnel(tunnel: &str, most: &[(&'static str, String)], setup: Setup) -> Vec<String> {
    let all: Vec<String> = most.iter().map(|(what, value)| format!("{what} {value}")).collect();
    let mut lines = vec![format!("{tunnel} is to have {}, as on most nodes.", all.join(", "))];
    lines.push(format!("$ ip -d link show dev {tunnel}"));
    lines.push(where_it_is_set(maker(tunnel, setup)).into());
    lines.extend(match maker(tunnel, setup) {
        Cni::Calico => calico::restart_here(),
        Cni::Flannel => flannel::restart_here(),
        Cni::Cilium => cilium::restart_here(),
        Cni::Unknown => vec!["Make the device anew on this node by whatever makes it.".into()],
    });
    lines
}

const fn where_it_is_set(by: Cni) -> &'static str {
    match by {
        Cni::Calico => {
            "Calico takes the kind from the IPPool (vxlanMode, ipipMode), port and identifier from FelixConfiguration \
             (vxlanPort, vxlanVNI); one of the name node.THIS_NODE outweighs the one of the name default: see that there is \
             none by mistake."
        }
        Cni::Flannel => {
            "Flannel takes kind, VNI and port from the Backend of net-conf.json (ConfigMap kube-flannel-cfg) as it starts, \
             and makes a device that differs anew. A node that was not started again has the old ones."
        }
        Cni::Cilium => {
            "Cilium takes kind and port from the ConfigMap cilium-config (tunnel-protocol, tunnel-port) as it starts. A node \
             that was not started again has the old ones."
        }
        Cni::Unknown => "Look at whatever makes the device: it has other settings here than on most nodes.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::setup::Host;

    #[test]
    fn each_cni_is_started_again_with_what_holds_for_all() {
        let told = |name: &str, cni| {
            let most = [("UDP port", "8472".to_owned()), ("network identifier", "1".to_owned())];
            tunnel(name, &most, Setup { cni, host: Host::Plain }).join("\n")
        };
        let flannel = told("flannel.1", Cni::Flannel);
        assert!(
            flannel.starts_with("flannel.1 is to have UDP port 8472, network identifier 1, as on most"),
            "{flannel}"
        );
        assert!(flannel.contains("net-conf.json") && flannel.contains("$ kubectl -n kube-flannel delete pod"));
        assert!(told("vxlan.calico", Cni::Calico).contains("FelixConfiguration"));
        let own = told("wg0", Cni::Calico);
        assert!(!own.contains("kubectl") && own.contains("whatever makes it"), "an operator's own device");
    }
}
