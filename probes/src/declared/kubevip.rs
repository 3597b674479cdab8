//! kube-vip as a static pod: who holds the control plane's address, and by which link.
//!
//! The kubelet takes every file of its folder whose name does not begin with a dot, whatever it is called, and of each the
//! first document; so a manifest is known by its content: a `Pod` with a container whose image is kube-vip's. On k3s and
//! RKE2 the folder is another one. A DaemonSet of kube-vip leaves nothing on the node that could be read.
//!
//! kube-vip takes a setting from its environment, else from its flags, else from a configuration file, else it has a
//! value of its own: without an interface it takes the default route's. Names have changed: `vip_address` is `address`
//! since 0.4, `vip_cidr` was `vip_subnet`'s name until 0.8. What comes from elsewhere (`valueFrom`, `$(NAME)`, a file in
//! the container, the words of a shell) is not known here, and that is told apart from what is not given.

mod settings;

use std::net::IpAddr;

use serde_json::Value;

use super::host::{Ask, EntryKind, RawHost};
use super::runtime::{top, visible};
use super::{kubelet, yaml};
use crate::fact::{Fact, Unread};

pub use settings::Given;
use settings::Settings;

/// Where the kubelet takes static pods from if nobody says otherwise.
const FOLDER: &str = "/etc/kubernetes/manifests";

/// Where the kubelets within k3s and RKE2 take them from.
const OTHERS: [&str; 2] = ["/var/lib/rancher/k3s/agent/pod-manifests", "/var/lib/rancher/rke2/agent/pod-manifests"];

/// Values of an interface that leave the choice to kube-vip.
const AUTOMATIC: [&str; 2] = ["", "auto"];

/// What the folders of static pods say of kube-vip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticPods {
    /// Its manifests.
    pub kube_vip: Vec<KubeVip>,
    /// What may be a manifest of it, and could not be read.
    pub unread: Vec<Unread>,
}

/// One manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeVip {
    /// The file.
    pub file: String,
    /// The link that the control plane's address is put on.
    pub interface: Given,
    /// The link for the addresses of Services, where it is another one.
    pub services_interface: Given,
    /// The address, or several, or a name.
    pub address: Given,
    /// How the address is made known; `None` where that is not known or not given.
    pub mode: Option<Mode>,
    /// Whether it holds the control plane's address.
    pub control_plane: bool,
    /// Whether it holds the addresses of Services.
    pub services: bool,
    /// Whether it starts although its link is down.
    pub may_be_down: bool,
    /// Who holds the address is elected; `None` where there is no election.
    pub lease: Option<Lease>,
}

/// How an address is made known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One node has the address and answers for it: ARP, or neighbour discovery.
    Arp,
    /// Routers are told.
    Bgp,
    /// A routing table of the node, for a routing daemon to tell.
    Table,
    /// A WireGuard link that kube-vip makes.
    Wireguard,
}

impl Mode {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Bgp => "bgp",
            Self::Table => "table",
            Self::Wireguard => "wireguard",
        }
    }
}

/// How the holder is elected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The lease's name.
    pub name: String,
    /// How long it holds, how long its holder tries to keep it, and how often everybody tries, in seconds.
    pub seconds: [Option<u32>; 3],
}

impl KubeVip {
    /// The addresses that are given as such.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let all = self.address.text().into_iter().flat_map(|text| text.split(','));
        all.filter_map(|one| one.trim().split('/').next()?.parse().ok()).collect()
    }

    /// The links that are named, and whether each is one that kube-vip makes itself.
    pub fn links(&self) -> impl Iterator<Item = (&str, bool)> {
        let made = self.mode == Some(Mode::Wireguard);
        let named = [(&self.interface, made), (&self.services_interface, false)];
        let links = named.into_iter().filter_map(|(given, made)| Some((given.text()?, made)));
        links.filter(|(link, _)| !AUTOMATIC.contains(link))
    }
}

pub(super) fn asks(read: &RawHost) -> Vec<Ask> {
    let folders = folders(read);
    let entries = folders.iter().filter_map(|folder| read.folder(folder).ok().flatten()).flatten();
    let ends = entries.filter_map(|entry| match &entry.kind {
        EntryKind::Dangling(to) if to.starts_with('/') => Some(Ask::folder(top(to), &[])),
        _ => None,
    });
    let ends: Vec<Ask> = ends.collect();
    // Any name will do for the kubelet.
    folders.into_iter().map(|folder| Ask::folder(folder, &[""])).chain(ends).collect()
}

fn folders(read: &RawHost) -> Vec<String> {
    let own = match kubelet::static_pods(read) {
        Fact::Known(folder) => folder.trim_end_matches('/').to_owned(),
        Fact::Absent | Fact::Unread(_) => FOLDER.to_owned(),
    };
    [own].into_iter().filter(|folder| folder.starts_with('/')).chain(OTHERS.map(str::to_owned)).collect()
}

/// What static pods say of kube-vip; absent on a machine that has no folder of them.
pub fn static_pods(read: &RawHost) -> Fact<StaticPods> {
    let (mut pods, mut any) = (StaticPods::default(), false);
    for folder in folders(read) {
        let entries = match read.folder(&folder) {
            Ok(None) => continue,
            Ok(Some(entries)) => entries,
            Err(unread) => {
                pods.unread.push(unread);
                continue;
            }
        };
        any = true;
        for entry in entries.iter().filter(|entry| !entry.name.starts_with('.')) {
            let path = format!("{folder}/{}", entry.name);
            let found = match &entry.kind {
                EntryKind::File { text: Some(text), .. } => {
                    text.as_ref().map_err(Unread::clone).and_then(|text| manifest(&path, text))
                }
                // What it leads to may be there and not be mounted: a manifest in a folder of somebody's own.
                EntryKind::Dangling(to) if to.starts_with('/') => visible(read, to).map(|()| None),
                _ => continue,
            };
            match found {
                Ok(found) => pods.kube_vip.extend(found),
                Err(unread) => pods.unread.push(unread),
            }
        }
    }
    // Where the kubelet could not be asked for its folder, a usual one without kube-vip says nothing.
    if let (Fact::Unread(why), true) = (kubelet::static_pods(read), pods.kube_vip.is_empty()) {
        pods.unread.push(why);
    }
    if any || !pods.unread.is_empty() { Fact::Known(pods) } else { Fact::Absent }
}

/// The manifest in a file, if it is one of kube-vip.
fn manifest(path: &str, text: &str) -> Result<Option<KubeVip>, Unread> {
    let pod = match yaml::first(text) {
        Ok(pod) => pod,
        // The kubelet passes over what it cannot read; only what speaks of kube-vip was meant to be one.
        Err(_) if !text.contains("kube-vip") => return Ok(None),
        Err(broken) => return Err(broken.in_file(path)),
    };
    if pod["kind"] != "Pod" {
        return Ok(None);
    }
    let containers = pod["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let container = containers.iter().find(|container| container["image"].as_str().is_some_and(is_kube_vip));
    Ok(container.map(|container| kube_vip(path, container)))
}

/// Whether an image is kube-vip's: the last part of its name says so, in whatever registry it lies.
fn is_kube_vip(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    name.ends_with("kube-vip") || name.ends_with("kube-vip-iptables")
}

fn kube_vip(path: &str, container: &Value) -> KubeVip {
    let settings = Settings::of(container);
    let mode = [
        (Mode::Arp, "vip_arp", "arp"),
        (Mode::Bgp, "bgp_enable", "bgp"),
        (Mode::Table, "vip_routingtable", "table"),
        (Mode::Wireguard, "vip_wireguard", "wireguard"),
    ];
    let seconds = |variable, flag| settings.get(&[variable], &[flag]).text().and_then(|text| text.parse().ok());
    let lease = || Lease {
        name: settings.get(&["vip_leasename"], &["leaseName"]).text().unwrap_or("plndr-cp-lock").to_owned(),
        seconds: [
            seconds("vip_leaseduration", "leaseDuration"),
            seconds("vip_renewdeadline", "leaseRenewDuration"),
            seconds("vip_retryperiod", "leaseRetry"),
        ],
    };
    KubeVip {
        file: path.to_owned(),
        interface: settings.get(&["vip_interface"], &["interface"]),
        services_interface: settings.get(&["vip_servicesinterface"], &["serviceInterface"]),
        address: settings.get(&["address", "vip_address"], &["address", "vip"]),
        mode: mode.into_iter().find(|(_, variable, flag)| settings.is_on(variable, flag)).map(|(mode, ..)| mode),
        control_plane: settings.is_on("cp_enable", "controlplane"),
        services: settings.is_on("svc_enable", "services"),
        may_be_down: settings.is_on("vip_allow_interface_not_up", "allowInterfaceNotUp"),
        lease: settings.is_on("vip_leaderelection", "leaderElection").then(lease),
    }
}

#[cfg(test)]
mod tests;
