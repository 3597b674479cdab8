//! What somebody wrote down that an MTU is to be, whoever it was.
//!
//! So far that is the operator, in our own configuration. A CNI's files and flags declare the same two sizes in their
//! own places: each such source adds its lines to [`all`], and the report and the checks take them from there.

pub mod calico;
pub mod cni;
pub mod flannel;
pub mod host;
pub mod kubelet;
pub mod kubevip;
pub mod sysctl;
pub mod yaml;

use schemars::JsonSchema;
use serde::Serialize;

use crate::fact::Fact;
use crate::snapshot::Snapshot;
use crate::units::IpSize;

/// What the host's files say, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    /// The CNI configuration's files, in the order in which runtimes take them; absent without their folder.
    pub cni: Fact<Vec<cni::ConfigFile>>,
    /// The MTU that Calico found.
    pub calico_mtu: Fact<IpSize>,
    /// What Flannel wrote for its plugin.
    pub flannel: Fact<flannel::Subnet>,
    /// The command line that the kubelet is started with; absent where no file speaks of one.
    pub kubelet: Fact<kubelet::Flags>,
    /// kube-vip among the static pods; absent on a machine without a folder of them.
    pub static_pods: Fact<kubevip::StaticPods>,
}

impl Files {
    /// Understands what was read.
    pub fn parse(read: &host::RawHost) -> Self {
        Self {
            cni: cni::files(read),
            calico_mtu: calico::mtu(read),
            flannel: flannel::subnet(read),
            kubelet: kubelet::flags(read),
            static_pods: kubevip::static_pods(read),
        }
    }
}

/// One declared MTU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Who declares it: the name of the source in the report.
    pub source: &'static str,
    /// The place where it is written, as an operator would look for it.
    pub written: String,
    /// What it is about.
    pub network: Network,
    /// The size.
    pub mtu: IpSize,
}

/// What a declared MTU is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The network between the nodes.
    Underlay,
    /// Tunnels and pods.
    Overlay,
}

impl Network {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Underlay => "underlay",
            Self::Overlay => "overlay",
        }
    }
}

/// The source that is our own configuration.
pub const CONFIGURATION: &str = "configuration";

/// Everything that is declared.
pub fn all(node: &Snapshot) -> Vec<Declared> {
    let expect = &node.expect;
    let keys = [
        ("expect.underlay_mtu", Network::Underlay, expect.underlay_mtu),
        ("expect.overlay_mtu", Network::Overlay, expect.overlay_mtu),
    ];
    let one = |(key, network, mtu): (&str, Network, Option<IpSize>)| {
        Some(Declared { source: CONFIGURATION, written: key.into(), network, mtu: mtu? })
    };
    keys.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::Example;

    #[test]
    fn the_operators_sizes_are_declared_and_nothing_else() {
        let mut node = Example::reference().snapshot();
        assert_eq!(all(&node), []);
        node.expect.overlay_mtu = Some(IpSize::new(1450));
        let [overlay] = <[_; 1]>::try_from(all(&node)).unwrap();
        assert_eq!((overlay.written.as_str(), overlay.network), ("expect.overlay_mtu", Network::Overlay));
    }
}
