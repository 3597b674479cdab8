//! Which CNI and which host were recognised: a fix is worded for them.

use std::net::{IpAddr, Ipv4Addr};

use crate::declared::network::Manager;
use crate::kernel::{Link, TunnelKind};

use crate::tables::Tables;

/// What was recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setup {
    /// The CNI.
    pub cni: Cni,
    /// The host.
    pub host: Host,
}

/// CNIs whose fixes are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cni {
    /// Calico, by its devices.
    Calico,
    /// Flannel.
    Flannel,
    /// Cilium.
    Cilium,
    /// None that is known.
    #[default]
    Unknown,
}

/// Hosts whose network files differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// Proxmox VE: bridges named `vmbr` and a number, and no files of anything but ifupdown2.
    Proxmox,
    /// Netplan's files describe the network.
    Netplan,
    /// `/etc/network/interfaces` does.
    Ifupdown {
        /// Whether it is ifupdown2 that reads it.
        two: bool,
    },
    /// NetworkManager's connections do.
    NetworkManager,
    /// systemd-networkd's files do.
    Networkd,
    /// Any other, or what could not be looked at.
    #[default]
    Plain,
}

impl Host {
    /// A bridge's name is a habit, files are what is read: they decide where both speak.
    fn new(bridged: bool, manager: Option<Manager>) -> Self {
        match manager {
            Some(Manager::Ifupdown { .. }) | None if bridged => Self::Proxmox,
            Some(Manager::Netplan) => Self::Netplan,
            Some(Manager::Ifupdown { two }) => Self::Ifupdown { two },
            Some(Manager::NetworkManager) => Self::NetworkManager,
            Some(Manager::Networkd) => Self::Networkd,
            None => Self::Plain,
        }
    }
}

/// The device by which Cilium's routes to pods leave: its program there sends them on, into its tunnel or by the NIC.
pub const CILIUM_HOST: &str = "cilium_host";

/// The gateway of Calico's pods. No machine has the address: the node's end of a pod's link answers for it.
pub const POD_GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));

/// Whether the link is the node's end of a Calico pod's that is meant to answer for [`POD_GATEWAY`].
pub fn by_proxy(link: &Link) -> bool {
    of_calico_pod(link) && link.inet.is_some_and(|inet| inet.proxy_arp)
}

/// Whether the link is the node's end of a Calico pod's, and up.
pub fn of_calico_pod(link: &Link) -> bool {
    link.kind == "veth" && link.name.starts_with("cali") && link.up
}

/// Whether Calico's BPF programs stand in for the kernel's routing: they have a pair of links of their own.
pub fn is_calico_bpf(tables: &Tables) -> bool {
    tables.link_named("bpfin.cali").is_some()
}

/// Whether Felix made the link and keeps its settings.
pub fn is_calicos(link: &Link) -> bool {
    let name = link.name.as_str();
    name.starts_with("cali") || name.ends_with(".calico") || name.ends_with(".cali") || name == "tunl0"
}

impl Setup {
    /// Recognises the set-up by the devices that it leaves on the machine.
    pub fn new(tables: &Tables) -> Self {
        let named = |prefix: &str| tables.links().iter().any(|link| link.name.starts_with(prefix));
        let wireguard = |name: &str| {
            let mut links = tables.links().iter();
            links.any(|link| {
                link.name == name && link.tunnel.as_ref().is_some_and(|tunnel| tunnel.kind == TunnelKind::Wireguard)
            })
        };
        let cni = match () {
            () if named("cilium_") => Cni::Cilium,
            () if named("vxlan.calico") || named("vxlan-v6.calico") || named("cali") || wireguard("wireguard.cali") => {
                Cni::Calico
            }
            () if named("flannel.") || named("flannel-") => Cni::Flannel,
            () => Cni::Unknown,
        };
        let numbered = |name: &str| {
            name.strip_prefix("vmbr").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let bridged = tables.links().iter().any(|link| link.kind == "bridge" && numbered(&link.name));
        Self { cni, host: Host::new(bridged, tables.declared.network) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::Example;

    #[test]
    fn a_host_is_told_by_its_files_and_by_its_bridges_where_they_say_nothing_else() {
        let host = |mut example: Example, manager| {
            example.tables.declared.network = manager;
            Setup::new(&example.snapshot().tables).host
        };
        let (proxmox, plain) = (Example::reference, Example::flannel);
        assert_eq!((host(proxmox(), None), host(plain(), None)), (Host::Proxmox, Host::Plain));
        let two = Some(Manager::Ifupdown { two: true });
        assert_eq!((host(proxmox(), two), host(plain(), two)), (Host::Proxmox, Host::Ifupdown { two: true }));
        for (manager, expected) in [
            (Manager::Netplan, Host::Netplan),
            (Manager::NetworkManager, Host::NetworkManager),
            (Manager::Networkd, Host::Networkd),
        ] {
            assert_eq!(host(proxmox(), Some(manager)), expected, "whatever its bridges are called");
            assert_eq!(host(plain(), Some(manager)), expected);
        }
    }
}
