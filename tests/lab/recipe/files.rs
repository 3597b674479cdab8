//! What a node of a recipe has in its files: a CNI's configuration and plugins, what its daemon noted, what the plugins
//! allocated, and what kubeadm left. In the words and modes of the programs that write them; every size, name and address
//! is the recipe's. A recipe without a pod network is no Kubernetes node, and has none of it.

mod kubernetes;

use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Cni, Overlay, Recipe};
use crate::family::Family;

/// Folders that every machine has.
pub(crate) const FOLDERS: [&str; 5] = ["/etc/sysctl.d", "/run/sysctl.d", "/usr/lib/sysctl.d", "/opt", "/var/lib"];

/// Plugins that every node has: the package `kubernetes-cni`.
const PLUGINS: [&str; 19] = [
    "bandwidth",
    "bridge",
    "dhcp",
    "dummy",
    "firewall",
    "host-device",
    "host-local",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "sbr",
    "static",
    "tap",
    "tuning",
    "vlan",
    "vrf",
    "LICENSE",
];

/// The pod's number in its node's block.
const POD: u8 = 2;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFile {
    /// Where.
    pub path: String,
    /// What it says.
    pub text: String,
    /// Who may do what with it.
    pub mode: u32,
}

impl HostFile {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), mode: 0o644 }
    }

    fn secret(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { mode: 0o600, ..Self::new(path, text) }
    }

    fn plugin(name: &str) -> Self {
        let mode = if name == "LICENSE" { 0o644 } else { 0o755 };
        Self { mode, ..Self::new(format!("/opt/cni/bin/{name}"), format!("#!/bin/sh\n# stands for {name}\n")) }
    }
}

impl Recipe {
    /// The files of a node.
    pub fn files(&self, node: usize) -> Vec<HostFile> {
        let Some(overlay) = self.overlay else { return Vec::new() };
        let of_cni = match overlay.by {
            Cni::Calico => self.calico(overlay, node),
            Cni::Flannel => self.flannel(overlay, node),
            Cni::Cilium => cilium(),
            Cni::Aws => aws(overlay),
        };
        let plugins = PLUGINS.iter().chain(overlay.by.plugins()).map(|name| HostFile::plugin(name));
        of_cni.into_iter().chain(plugins).chain(self.kubernetes(overlay, node)).collect()
    }

    /// The files of a node that its CNI writes anew once it is told this MTU for pods, and what they say then.
    pub(crate) fn files_told(&self, node: usize, mtu: u32) -> Vec<HostFile> {
        let mut told = *self;
        if let Some(overlay) = &mut told.overlay {
            overlay.mtu = mtu;
            // Calico's list names what it is told; Flannel's note does, and its list only where it names one already.
            overlay.declared |= overlay.by == Cni::Calico;
            if let Some(six) = &mut overlay.six {
                six.mtu = mtu;
            }
        }
        let before = self.files(node);
        told.files(node).into_iter().filter(|file| !before.contains(file)).collect()
    }

    /// Where a node's CNI configuration is.
    pub fn cni_file(&self) -> Option<&'static str> {
        Some(match self.overlay?.by {
            Cni::Calico => "/etc/cni/net.d/10-calico.conflist",
            Cni::Flannel => "/etc/cni/net.d/10-flannel.conflist",
            Cni::Cilium => "/etc/cni/net.d/05-cilium.conflist",
            Cni::Aws => "/etc/cni/net.d/10-aws.conflist",
        })
    }

    /// Where a node's host-local allocations are, if its CNI has such.
    pub fn allocations(&self) -> Option<&'static str> {
        (self.overlay?.by == Cni::Flannel).then_some("/var/lib/cni/networks/cbr0")
    }

    /// `calico/node` renders its template, with `veth_mtu` of its `ConfigMap`; Felix notes what it works out.
    fn calico(&self, overlay: Overlay, node: usize) -> Vec<HostFile> {
        let (name, kubeconfig) = (self.nodes[node], "/etc/cni/net.d/calico-kubeconfig");
        let mtu = if overlay.declared { overlay.pod_mtu() } else { 0 };
        let families = ["assign_ipv4", "assign_ipv6"].into_iter().zip([Family::V4, Family::V6]);
        let mut ipam = json!({ "type": "calico-ipam" });
        if overlay.families.has(Family::V6) {
            for (key, family) in families {
                ipam[key] = overlay.families.has(family).to_string().into();
            }
        }
        let list = json!({ "name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [
            {
                "type": "calico", "log_level": "info", "log_file_path": "/var/log/calico/cni/cni.log",
                "datastore_type": "kubernetes", "nodename": name, "mtu": mtu, "ipam": ipam,
                "policy": { "type": "k8s" }, "kubernetes": { "kubeconfig": kubeconfig }
            },
            { "type": "portmap", "snat": true, "capabilities": { "portMappings": true } },
            { "type": "bandwidth", "capabilities": { "bandwidth": true } }
        ]});
        vec![
            HostFile::secret("/etc/cni/net.d/10-calico.conflist", pretty(&list)),
            HostFile::secret(kubeconfig, "# Kubeconfig file for Calico CNI plugin.\napiVersion: v1\nkind: Config\n"),
            HostFile::new("/var/lib/calico/mtu", overlay.pod_mtu().to_string()),
            HostFile::new("/var/lib/calico/nodename", name),
        ]
    }

    /// flanneld's note, the list of its manifest, and what its plugin and host-local keep of each pod.
    fn flannel(&self, overlay: Overlay, node: usize) -> Vec<HostFile> {
        let mut delegate = json!({ "hairpinMode": true, "isDefaultGateway": true });
        if let Some(bridge) = overlay.pod_bridge.filter(|bridge| *bridge != "cni0") {
            delegate["bridge"] = bridge.into();
        }
        if overlay.declared {
            delegate["mtu"] = overlay.mtu.into();
        }
        let list = json!({ "name": "cbr0", "cniVersion": "0.3.1", "plugins": [
            { "type": "flannel", "delegate": delegate },
            { "type": "portmap", "capabilities": { "portMappings": true } }
        ]});
        let id = container(node, POD);
        let mut files = vec![
            HostFile::new("/etc/cni/net.d/10-flannel.conflist", pretty(&list)),
            HostFile::new("/run/flannel/subnet.env", subnet_env(overlay, node)),
            HostFile::secret(format!("/var/lib/cni/flannel/{id}"), delegated(overlay, node, delegate).to_string()),
        ];
        files.extend(host_local(overlay, node, &[POD]));
        files
    }
}

impl Cni {
    /// Plugins that it brings along.
    const fn plugins(self) -> &'static [&'static str] {
        match self {
            Self::Calico => &["calico", "calico-ipam"],
            Self::Flannel => &["flannel"],
            Self::Cilium => &["cilium-cni"],
            Self::Aws => &["aws-cni", "egress-cni", "aws-cni-support.sh"],
        }
    }
}

/// The list that Cilium's agent writes once it is ready, and the one that it put out of the way.
fn cilium() -> Vec<HostFile> {
    let list = json!({ "cniVersion": "0.3.1", "name": "cilium", "plugins": [
        { "type": "cilium-cni", "enable-debug": false, "log-file": "/var/run/cilium/cilium-cni.log" }
    ]});
    let other = json!({ "cniVersion": "0.3.1", "name": "podman", "type": "bridge", "bridge": "cni-podman0" });
    vec![
        HostFile::secret("/etc/cni/net.d/05-cilium.conflist", pretty(&list)),
        HostFile::new("/etc/cni/net.d/87-podman.conf.cilium_bak", pretty(&other)),
    ]
}

/// The list that `aws-node` copies: numbers are strings in it.
fn aws(overlay: Overlay) -> Vec<HostFile> {
    let mtu = overlay.mtu.to_string();
    let list = json!({ "cniVersion": "0.4.0", "name": "aws-cni", "disableCheck": true, "plugins": [
        {
            "name": "aws-cni", "type": "aws-cni", "vethPrefix": "eni", "mtu": mtu, "podSGEnforcingMode": "strict",
            "pluginLogFile": "/var/log/aws-routed-eni/plugin.log", "pluginLogLevel": "DEBUG"
        },
        {
            "name": "egress-cni", "type": "egress-cni", "mtu": mtu, "enabled": "false", "nodeIP": "",
            "ipam": {
                "type": "host-local", "ranges": [[{ "subnet": "fd00::ac:00/118" }]],
                "routes": [{ "dst": "::/0" }], "dataDir": "/run/cni/v4pd/egress-v6-ipam"
            },
            "pluginLogFile": "/var/log/aws-routed-eni/egress-v6-plugin.log", "pluginLogLevel": "DEBUG"
        },
        { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true }
    ]});
    vec![HostFile::new("/etc/cni/net.d/10-aws.conflist", pretty(&list))]
}

fn subnet_env(overlay: Overlay, node: usize) -> String {
    let mut text = String::new();
    for &family in overlay.families.all() {
        let prefix = if family == Family::V4 { "FLANNEL" } else { "FLANNEL_IPV6" };
        let (network, subnet) = (overlay.whole_network(family), overlay.subnet(family, node));
        let length = subnet.rsplit('/').next().expect("a prefix has a length");
        let gateway = overlay.address_of(family, node, 1);
        let _ = write!(text, "{prefix}_NETWORK={network}\n{prefix}_SUBNET={gateway}/{length}\n");
    }
    text + &format!("FLANNEL_MTU={}\nFLANNEL_IPMASQ=true\n", overlay.mtu)
}

/// What Flannel's plugin hands to `bridge`, kept for the pod's end.
fn delegated(overlay: Overlay, node: usize, mut delegate: Value) -> Value {
    let families = overlay.families.all();
    let ranges: Vec<_> = families.iter().map(|&family| json!([{ "subnet": overlay.subnet(family, node) }])).collect();
    let routes: Vec<_> = families.iter().map(|&family| json!({ "dst": overlay.whole_network(family) })).collect();
    delegate["cniVersion"] = "0.3.1".into();
    delegate["ipMasq"] = false.into();
    delegate["ipam"] = json!({ "type": "host-local", "ranges": ranges, "routes": routes });
    delegate["isGateway"] = true.into();
    delegate["mtu"] = overlay.mtu.into();
    delegate["name"] = "cbr0".into();
    delegate["type"] = "bridge".into();
    delegate
}

/// What host-local keeps of pods with these numbers: a file for each address, named by it, the last one of each range,
/// and its lock.
fn host_local(overlay: Overlay, node: usize, pods: &[u8]) -> Vec<HostFile> {
    let folder = "/var/lib/cni/networks/cbr0";
    let mut files = vec![HostFile::new(format!("{folder}/lock"), "")];
    for (range, &family) in overlay.families.all().iter().enumerate() {
        let address = |pod: u8| overlay.address_of(family, node, pod);
        files.extend(pods.iter().map(|&pod| allocation(folder, address(pod), &container(node, pod))));
        if let Some(&last) = pods.last() {
            files.push(HostFile::new(format!("{folder}/last_reserved_ip.{range}"), address(last).to_string()));
        }
    }
    files
}

/// The file of one address: container and interface, in lines as host-local ends them.
pub(crate) fn allocation(folder: &str, address: IpAddr, container: &str) -> HostFile {
    HostFile::new(format!("{folder}/{address}"), format!("{container}\r\neth0"))
}

/// A container's name, as long as a runtime's.
pub(crate) fn container(node: usize, pod: u8) -> String {
    format!("{:064x}", (node << 8) + usize::from(pod) + 0xc0de_0000)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{self, BRIDGED, CLOUD, DUAL, JUMBO, PLAIN, REFERENCE, ROUTED, SIX_ALONE};

    fn text(recipe: &Recipe, node: usize, path: &str) -> Option<String> {
        recipe.files(node).into_iter().find(|file| file.path == path).map(|file| file.text)
    }

    fn first_plugin(recipe: &Recipe) -> Value {
        let text = text(recipe, 0, recipe.cni_file().unwrap()).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["plugins"][0].clone()
    }

    #[test]
    fn calico_names_the_mtu_or_leaves_it_to_felix() {
        assert_eq!((&first_plugin(&JUMBO)["mtu"], &first_plugin(&REFERENCE)["mtu"]), (&8950.into(), &0.into()));
        assert_eq!(text(&DUAL, 1, "/var/lib/calico/mtu").as_deref(), Some("1430"), "the smaller of two tunnels");
        assert_eq!(text(&REFERENCE, 2, "/var/lib/calico/nodename").as_deref(), Some("app-worker"));
        assert_eq!(first_plugin(&CLOUD)["mtu"], "9001");
    }

    #[test]
    fn flannel_notes_its_subnet_and_host_local_its_pods() {
        let note = "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        assert_eq!(text(&ROUTED, 1, "/run/flannel/subnet.env").as_deref(), Some(note));
        let six = text(&SIX_ALONE, 0, "/run/flannel/subnet.env").unwrap();
        assert!(
            six.starts_with("FLANNEL_IPV6_NETWORK=fd00:10:67::/48\nFLANNEL_IPV6_SUBNET=fd00:10:67:1::1/64\n"),
            "{six}"
        );
        let taken = text(&ROUTED, 0, "/var/lib/cni/networks/cbr0/10.42.1.2").unwrap();
        assert!(taken.ends_with("\r\neth0") && taken.len() == 70, "{taken:?}");
        let delegate = &first_plugin(&BRIDGED)["delegate"];
        assert_eq!((&delegate["bridge"], &delegate["mtu"]), (&"cbr0".into(), &1400.into()));
        assert_eq!(first_plugin(&ROUTED)["delegate"].get("mtu"), None);
    }

    #[test]
    fn a_machine_without_pods_has_no_such_files_and_every_other_one_has_its_plugins() {
        assert_eq!(PLAIN.files(0), []);
        for recipe in recipe::every().filter(|recipe| recipe.overlay.is_some()) {
            let kind = first_plugin(&recipe)["type"].as_str().unwrap().to_owned();
            let files = recipe.files(0);
            let plugin = files.iter().find(|file| file.path == format!("/opt/cni/bin/{kind}"));
            assert!(plugin.is_some_and(|plugin| plugin.mode == 0o755 && !plugin.text.is_empty()), "{}", recipe.name);
            let mut paths: Vec<_> = files.iter().map(|file| &file.path).collect();
            paths.sort();
            paths.dedup();
            assert_eq!(paths.len(), files.len(), "{}: a path twice", recipe.name);
        }
    }
}
