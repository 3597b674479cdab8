//! The host: links, device MTUs, routes, modules and sysctls, now and after a reboot.
//!
//! A larger MTU goes from the wire upwards and a smaller one from the pods downwards: in between, no device may hand
//! another what that cannot take.

use std::net::IpAddr;

use crate::snapshot::Setup;
use crate::snapshot::setup::{Cni, Host};
use crate::units::LinkMtu;

use super::{Fix, INSTEAD, keep};

pub(super) fn link_up(link: &str, no_carrier: bool, master: Option<&str>, host: Host) -> Vec<String> {
    if no_carrier {
        return carrier(link);
    }
    let mut lines = vec![format!("$ ip link set dev {link} up")];
    if master.is_none() {
        lines.extend(keep::routes(link, host));
    }
    lines.push(keep::up(link, master, host));
    lines
}

fn carrier(link: &str) -> Vec<String> {
    vec![
        format!(
            "{link} is set up and sees no carrier: check cable, transceiver and switch port; on a virtual machine, \
             whether the hypervisor has the NIC disconnected."
        ),
        format!("$ ethtool {link}; journalctl -k -g {link}"),
    ]
}

pub(super) fn link_mtus(fixes: &[Fix], host: Host) -> Vec<String> {
    let changes = || {
        fixes.iter().filter_map(|fix| match fix {
            Fix::LinkMtu { link, from, mtu } => Some((link, from, mtu)),
            _ => None,
        })
    };
    let raised = changes().any(|(_, from, mtu)| mtu > from);
    let order = if raised {
        "Raise the MTU from the wire upwards: switch ports, NIC, bridge, tunnel, pods."
    } else {
        "Lower the MTU from the pods downwards: pods, tunnel, bridge, NIC, switch ports."
    };
    let commands = changes().map(|(link, _, mtu)| format!("$ ip link set dev {link} mtu {mtu}"));
    let links: Vec<_> = changes().map(|(link, ..)| link.as_str()).collect();
    let mtu = changes().map(|(_, _, mtu)| *mtu).max().unwrap_or(LinkMtu::new(0));
    std::iter::once(order.to_owned()).chain(commands).chain([keep::mtu(&links, mtu, host)]).collect()
}

/// A tunnel that no known CNI made.
pub(super) fn device_mtu(link: &str, mtu: LinkMtu) -> Vec<String> {
    vec![
        format!("On every node, and wherever {link} is configured so that it stays:"),
        format!("$ ip link set dev {link} mtu {mtu}"),
        format!("Give pods the same: `\"mtu\": {mtu}` in the CNI configuration (/etc/cni/net.d)."),
    ]
}

pub(super) fn sysctl(key: &str, value: &str, setup: Setup) -> Vec<String> {
    let file = match (setup.cni, setup.host) {
        (Cni::Unknown, Host::Proxmox) => "/etc/sysctl.d/99-proxmox-network.conf",
        _ => "/etc/sysctl.d/99-k8s.conf",
    };
    let last = key.rsplit('.').next().unwrap_or(key);
    let set = format!("$ sysctl -w {key}={value}");
    let keep = format!(
        "To keep it so: `{key} = {value}` in {file}, then `sysctl --system`, which prints the file that each value \
         comes from. A file that sorts later wins, and a CNI or network restart may set it again: \
         `grep -rs {last} {SYSCTL_FILES}` shows them."
    );
    let mut lines = match key {
        "net.ipv6.conf.all.forwarding" if value == "1" => routers_kept(),
        _ => Vec::new(),
    };
    lines.extend([set, keep]);
    if last == "accept_ra" {
        lines.push(
            "A route or address that is gone comes back with the router's next advertisement, which may take minutes; \
             `rdisc6 LINK` (package ndisc6) asks for one."
                .into(),
        );
    }
    lines
}

/// Where sysctl files lie.
pub(super) const SYSCTL_FILES: &str =
    "/etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d";

/// The kernel drops the default route that a router advertised on a link with `accept_ra` 1 as soon as it forwards there.
fn routers_kept() -> Vec<String> {
    vec![
        "See first whether a router gives this node its IPv6 default route (`proto ra`); then that link needs accept_ra 2, \
         or the route is gone as soon as the node forwards:"
            .into(),
        "$ ip -6 route show default proto ra".into(),
        "$ sysctl -w net.ipv6.conf.LINK.accept_ra=2".into(),
        "Then let it forward:".into(),
    ]
}

/// A file in `sysctl.d` would name links that are gone with their pods.
pub(super) fn pod_settings(keys: &[String], value: &str) -> Vec<String> {
    let commands = keys.iter().map(|key| format!("$ sysctl -w {key}={value}"));
    let last = keys.first().and_then(|key| key.rsplit('.').next()).unwrap_or("SETTING");
    let keep = format!(
        "The CNI sets it when it makes a pod, and a new pod has it again. What switched it off will do so once more: \
         `grep -rs {last} {SYSCTL_FILES}` shows it."
    );
    commands.chain([keep]).collect()
}

pub(super) fn bridge_port(bridge: &str, free: &[String], host: Host) -> Vec<String> {
    let (which, nic) = match free {
        [] => (Some(format!("See which NIC is to lead {bridge} to the other nodes; none is free now:")), "NIC"),
        [one] => (None, one.as_str()),
        several => {
            let which = several.join(" or ");
            (
                Some(format!("See which of {which} is wired to the other nodes, and make it the port of {bridge}:")),
                "NIC",
            )
        }
    };
    let keep = keep::port(nic, bridge, host);
    let look = which.is_some().then(|| "$ ip -br link; bridge link".to_owned());
    let meant =
        format!("If {bridge} is meant to join guests of this machine alone, see that those that are nodes run.");
    which.into_iter().chain(look).chain([format!("$ ip link set dev {nic} up master {bridge}"), keep, meant]).collect()
}

pub(super) fn default_route(covers: IpAddr, link: Option<&str>, host: Host) -> Vec<String> {
    let link = link.unwrap_or("LINK");
    vec![
        "Give the node its default route back:".into(),
        "$ ip route replace default via GATEWAY".into(),
        keep::gateway(host),
        INSTEAD.into(),
        format!("A node that is to have none needs a route that covers {covers}, by any link but a pod's:"),
        format!("$ ip route replace {covers} dev {link}"),
    ]
}

pub(super) fn module(name: &str) -> Vec<String> {
    vec![
        format!("$ modprobe {name}"),
        format!(
            "To keep it so: the line `{name}` in /etc/modules-load.d/k8s.conf. Modules named there are loaded before \
             sysctls are set; a sysctl of a module that comes later is lost."
        ),
    ]
}

pub(super) fn flush_path_mtus() -> Vec<String> {
    vec![
        "The kernel keeps a path MTU that it has cached for ten minutes; to be rid of all of them at once:".into(),
        "$ ip route flush cache".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(link: &str, from: u32, mtu: u32) -> Fix {
        Fix::LinkMtu { link: link.into(), from: LinkMtu::new(from), mtu: LinkMtu::new(mtu) }
    }

    #[test]
    fn raising_goes_from_the_wire_upwards_and_is_kept_in_one_place() {
        let raised = [change("enp5s0", 1500, 1550), change("vmbr1", 1500, 1550)];
        insta::assert_snapshot!(link_mtus(&raised, Host::Proxmox).join("\n"), @r#"
Raise the MTU from the wire upwards: switch ports, NIC, bridge, tunnel, pods.
$ ip link set dev enp5s0 mtu 1550
$ ip link set dev vmbr1 mtu 1550
To keep it so: `mtu 1550` in the stanzas of enp5s0 and vmbr1 in /etc/network/interfaces, then `ifreload -a`. Guests: `qm set ID --netN LINE,mtu=1`, with number and line of the NIC as `qm config ID` shows them (1 is as the bridge; virtio alone), and the guest's own MTU.
"#);
    }

    #[test]
    fn lowering_goes_from_the_pods_downwards() {
        let lines = link_mtus(&[change("eth0", 9000, 1500)], Host::Plain);
        insta::assert_snapshot!(lines.join("\n"), @r#"
Lower the MTU from the pods downwards: pods, tunnel, bridge, NIC, switch ports.
$ ip link set dev eth0 mtu 1500
To keep it so: netplan `mtu: 1500` at eth0, then `netplan apply`; or systemd-networkd `MTUBytes=1500` under `[Link]` of their .network files, then `networkctl reload`.
"#);
    }

    #[test]
    fn a_link_without_carrier_is_not_set_up_once_more() {
        let lines = link_up("enp5s0", true, Some("vmbr1"), Host::Proxmox).join("\n");
        assert!(!lines.contains("ip link set") && lines.contains("ethtool enp5s0"), "{lines}");
    }

    #[test]
    fn a_bridges_port_is_kept_in_the_bridge() {
        insta::assert_snapshot!(link_up("enp5s0", false, Some("vmbr1"), Host::Proxmox).join("\n"), @r#"
$ ip link set dev enp5s0 up
To keep it so: `auto enp5s0` and `bridge-ports enp5s0` of vmbr1 in /etc/network/interfaces, then `ifreload -a`.
"#);
    }

    #[test]
    fn what_a_router_advertised_is_kept_before_ipv6_forwards() {
        let lines = |key| sysctl(key, "1", Setup { cni: Cni::Calico, host: Host::Plain });
        let six = lines("net.ipv6.conf.all.forwarding");
        let at = |command: &str| six.iter().position(|line| line.contains(command));
        assert!(at("accept_ra=2").is_some() && at("accept_ra=2") < at("$ sysctl -w net.ipv6.conf.all.forwarding=1"));
        assert!(!lines("net.ipv4.ip_forward").join("\n").contains("accept_ra"));
    }

    #[test]
    fn a_sysctl_is_set_and_kept_where_the_machine_keeps_it() {
        let file = |cni, host| sysctl("net.ipv4.ip_forward", "1", Setup { cni, host })[1].clone();
        assert!(file(Cni::Unknown, Host::Proxmox).contains("99-proxmox-network.conf"));
        assert!(file(Cni::Calico, Host::Proxmox).contains("99-k8s.conf"), "a node, whatever its bridges are called");
    }
}
