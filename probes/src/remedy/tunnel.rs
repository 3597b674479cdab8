//! A tunnel device and the pods over it, by the knob of whoever made it.

use crate::snapshot::Setup;
use crate::snapshot::setup::Cni;
use crate::units::LinkMtu;

use super::{calico, cilium, flannel, host, maker, pods};

pub(super) fn mtu(tunnel: &str, mtu: LinkMtu, overhead: u32, setup: Setup) -> Vec<String> {
    let outer = mtu.bytes() + overhead;
    let mut lines = match maker(tunnel, setup) {
        Cni::Calico => calico::mtu(mtu),
        Cni::Flannel => flannel::mtu(tunnel, mtu, outer),
        Cni::Cilium => cilium::mtu(mtu, outer),
        Cni::Unknown => host::device_mtu(tunnel, mtu),
    };
    lines.extend(pods::recreate());
    lines
}

pub(super) fn pod_mtu(tunnel: Option<&str>, mtu: LinkMtu, setup: Setup) -> Vec<String> {
    match tunnel.map_or(setup.cni, |tunnel| maker(tunnel, setup)) {
        Cni::Calico => calico::mtu(mtu),
        Cni::Flannel => flannel::pod_mtu(mtu),
        Cni::Cilium | Cni::Unknown => vec![format!(
            "Set `\"mtu\": {mtu}` in the CNI configuration of every node (/etc/cni/net.d), or whatever generates it."
        )],
    }
}

pub(super) fn up(tunnel: &str, setup: Setup) -> Vec<String> {
    let again = match maker(tunnel, setup) {
        Cni::Calico => calico::restart_here(),
        Cni::Flannel => flannel::restart_here(),
        Cni::Cilium => cilium::restart_here(),
        Cni::Unknown => {
            vec!["What leads through it went with it: see that whatever programs the tunnel does so again.".into()]
        }
    };
    std::iter::once(format!("$ ip link set dev {tunnel} up")).chain(again).collect()
}
