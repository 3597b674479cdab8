//! What somebody wrote down that an MTU is to be, whoever it was.
//!
//! The operator does, in our own configuration; the CNI's file, or what Felix and Flannel wrote for their plugins where the
//! file leaves it to them ([`sizes`]). Each source has its lines in [`all`], also where another has the last word, and the
//! report takes them from there.

pub mod addresses;
pub mod calico;
pub mod cni;
pub mod felix;
pub mod flannel;
pub mod host;
pub mod host_local;
pub mod kubelet;
pub mod kubevip;
pub mod network;
pub mod ranges;
pub mod runtime;
pub mod sizes;
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
    /// What shows that this machine is a Kubernetes node; absent if it is none.
    pub node: Fact<String>,
    /// The container runtime, and where it looks. Never absent.
    pub runtime: Fact<runtime::Runtime>,
    /// The CNI configuration's files, in the order in which runtimes take them; absent without their folder.
    pub cni: Fact<Vec<cni::ConfigFile>>,
    /// A few other names in that folder.
    pub cni_others: Vec<String>,
    /// Plugins that are there.
    pub plugins: cni::Programs,
    /// The MTU that Calico found.
    pub calico_mtu: Fact<IpSize>,
    /// What Flannel wrote for its plugin.
    pub flannel: Fact<flannel::Subnet>,
    /// The command line that the kubelet is started with; absent where no file speaks of one.
    pub kubelet: Fact<kubelet::Flags>,
    /// kube-vip among the static pods; absent on a machine without a folder of them.
    pub static_pods: Fact<kubevip::StaticPods>,
    /// Who sets the host's network up, where that is plain.
    pub network: Option<network::Manager>,
    /// Who gives pods their addresses; absent where no CNI file says so.
    pub addresses: Fact<addresses::Ipam>,
}

impl Files {
    /// Understands what was read.
    pub fn parse(read: &host::RawHost) -> Self {
        let runtime = runtime::of(read);
        let cni = cni::files(read);
        let (cni_others, plugins) = runtime.as_ref().map_or_else(
            |_| Default::default(),
            |runtime| {
                let folders = cni::folders(&cni, runtime);
                (cni::others(read, runtime), cni::Programs::new(read, folders.iter()))
            },
        );
        Self {
            node: runtime::node(read),
            runtime: runtime.into(),
            cni,
            cni_others,
            plugins,
            calico_mtu: calico::mtu(read),
            flannel: flannel::subnet(read),
            kubelet: kubelet::flags(read),
            static_pods: kubevip::static_pods(read),
            network: network::manager(read),
            addresses: addresses::ipam(read),
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
    /// Tunnels.
    Tunnel,
    /// Pods that are born now.
    Pods,
}

impl Network {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Underlay => "underlay",
            Self::Overlay => "overlay",
            Self::Tunnel => "tunnel",
            Self::Pods => "pods",
        }
    }
}

/// The source that is our own configuration.
pub const CONFIGURATION: &str = "configuration";

/// The source that is the CNI file that the runtime takes.
pub const CNI_FILE: &str = "cni-file";

/// The source that is what Felix found.
pub const CALICO: &str = "calico";

/// The source that is what Flannel wrote.
pub const FLANNEL: &str = "flannel";

impl From<&sizes::Pods> for Declared {
    fn from(pods: &sizes::Pods) -> Self {
        let source = match pods.by {
            sizes::Giver::CniFile => CNI_FILE,
            sizes::Giver::Calico => CALICO,
            sizes::Giver::Flannel => FLANNEL,
        };
        Self { source, written: pods.written.clone(), network: Network::Pods, mtu: pods.mtu }
    }
}

/// Everything that is declared: the operator's sizes, then those of files.
pub fn all(node: &Snapshot) -> Vec<Declared> {
    let mut all = configured(node);
    let pods = sizes::pods(&node.tables.declared).ok().flatten();
    all.extend(pods.iter().map(Declared::from));
    let said = |declared: &Declared| pods.as_ref().is_some_and(|pods| pods.written == declared.written);
    all.extend([calicos(node), flannels(node)].into_iter().flatten().filter(|declared| !said(declared)));
    all
}

/// What the operator declares.
pub fn configured(node: &Snapshot) -> Vec<Declared> {
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

/// What Felix wrote for pods; where the CNI file gives another, it is what it gave its tunnels.
fn calicos(node: &Snapshot) -> Option<Declared> {
    let mtu = *node.tables.declared.calico_mtu.known()?;
    Some(Declared { source: CALICO, written: calico::MTU.into(), network: Network::Tunnel, mtu })
}

/// What Flannel wrote; the same.
fn flannels(node: &Snapshot) -> Option<Declared> {
    let mtu = node.tables.declared.flannel.known()?.mtu?;
    Some(Declared { source: FLANNEL, written: sizes::flannels(), network: Network::Tunnel, mtu })
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
