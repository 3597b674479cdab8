//! What keeps a change of the host's network: the line in the files that its manager reads.
//!
//! A command changes the kernel until the next boot, or until the manager is told to apply its files. Where the manager
//! was recognised, the sentence names its file and how it is told, else those of the usual ones. ifupdown without a 2 has
//! nothing that applies a file without setting links down, so there the next boot does it. Netplan and networkd match a
//! port by its MAC address or name: a bridge gets its own stanza either way.

use crate::snapshot::setup::Host;
use crate::units::LinkMtu;

const INTERFACES: &str = "/etc/network/interfaces";

/// A link is set up.
pub(super) fn up(link: &str, master: Option<&str>, host: Host) -> String {
    match host {
        Host::Proxmox | Host::Ifupdown { .. } => {
            let port = master.map(|bridge| format!(" and `bridge-ports {link}` of {bridge}")).unwrap_or_default();
            stanza(&format!("`auto {link}`{port}"), host)
        }
        Host::Netplan => format!(
            "To keep it so: see that a file of /etc/netplan has {link} without `activation-mode: off`, then `netplan apply`."
        ),
        Host::NetworkManager => format!(
            "To keep it so: `nmcli connection modify CONNECTION connection.autoconnect yes` (`nmcli device show {link}` \
             names it)."
        ),
        Host::Networkd => format!(
            "To keep it so: a .network file that matches {link} and does not say `ActivationPolicy=down` \
             (`networkctl status {link}` names it), then `networkctl reload`."
        ),
        Host::Plain => format!(
            "To keep it so: see that netplan, systemd-networkd or NetworkManager manages {link} and none of them sets \
             it down (`networkctl status {link}`, `nmcli device show {link}`)."
        ),
    }
}

/// The kernel forgets a link's routes when it is set down, and remembers none of them when it is set up.
pub(super) fn routes(link: &str, host: Host) -> Vec<String> {
    let told =
        |how: &str| format!("Routes that the kernel dropped with it come back once its manager applies its files{how}");
    match host {
        Host::Proxmox | Host::Ifupdown { two: true } => vec![told(":"), "$ ifreload -a".into()],
        Host::Netplan => vec![told(":"), "$ netplan apply".into()],
        Host::NetworkManager => vec![told(":"), format!("$ nmcli device reapply {link}")],
        Host::Networkd => vec![told(":"), format!("$ networkctl reconfigure {link}")],
        Host::Ifupdown { two: false } => vec![
            "Routes that the kernel dropped with it do not come back by themselves; if the default route is gone:"
                .into(),
            "$ ip route replace default via GATEWAY".into(),
        ],
        Host::Plain => vec![told(&format!(
            ": `netplan apply`, `networkctl reconfigure {link}`, `nmcli device reapply {link}` or `ifreload -a`."
        ))],
    }
}

/// Links have an MTU.
pub(super) fn mtu(links: &[&str], mtu: LinkMtu, host: Host) -> String {
    let named = links.join(" and ");
    match host {
        Host::Proxmox => format!(
            "{} Guests: `qm set ID --netN LINE,mtu=1`, with number and line of the NIC as `qm config ID` shows them (1 is as \
             the bridge; virtio alone), and the guest's own MTU.",
            stanza(&format!("`mtu {mtu}` in the stanzas of {named}"), host)
        ),
        Host::Ifupdown { .. } => stanza(&format!("`mtu {mtu}` in the stanzas of {named}"), host),
        Host::Netplan => format!(
            "To keep it so: `mtu: {mtu}` at {named} in the files of /etc/netplan, with the NIC matched by `macaddress` where \
             systemd-networkd is the renderer; then `netplan apply`."
        ),
        Host::NetworkManager => format!(
            "To keep it so, for each of {named}: `nmcli connection modify CONNECTION 802-3-ethernet.mtu {mtu}` (`nmcli device \
             show` names them), then `nmcli device reapply LINK`."
        ),
        Host::Networkd => format!(
            "To keep it so: `MTUBytes={mtu}` under `[Link]` of the .network files of {named} in /etc/systemd/network \
             (`networkctl status LINK` names them), then `networkctl reload`."
        ),
        Host::Plain => format!(
            "To keep it so: netplan `mtu: {mtu}` at {named}, then `netplan apply`; or systemd-networkd \
             `MTUBytes={mtu}` under `[Link]` of their .network files, then `networkctl reload`."
        ),
    }
}

/// A link is a port of a bridge.
pub(super) fn port(nic: &str, bridge: &str, host: Host) -> String {
    match host {
        Host::Proxmox | Host::Ifupdown { .. } => {
            stanza(&format!("`bridge-ports {nic}` in the stanza of {bridge}"), host)
        }
        Host::Netplan => {
            format!(
                "To keep it so: `interfaces: [{nic}]` at {bridge} in the files of /etc/netplan, then `netplan apply`."
            )
        }
        Host::NetworkManager => format!(
            "To keep it so: `nmcli connection modify CONNECTION master {bridge} slave-type bridge`, with the connection of \
             {nic} (`nmcli device show {nic}` names it)."
        ),
        Host::Networkd => format!(
            "To keep it so: `Bridge={bridge}` under `[Network]` of {nic}'s .network file in /etc/systemd/network, then \
             `networkctl reload`."
        ),
        Host::Plain => format!(
            "To keep it so: netplan `interfaces: [{nic}]` at {bridge}, then `netplan apply`; or systemd-networkd \
             `Bridge={bridge}` under `[Network]` of {nic}'s .network file, then `networkctl reload`."
        ),
    }
}

/// The node has a default route.
pub(super) fn gateway(host: Host) -> String {
    match host {
        Host::Proxmox | Host::Ifupdown { .. } => stanza("`gateway GATEWAY` in one stanza", host),
        Host::Netplan => "To keep it so: `routes: [{to: default, via: GATEWAY}]` at one link in the files of /etc/netplan, then \
                          `netplan apply`."
            .into(),
        Host::NetworkManager => "To keep it so: `nmcli connection modify CONNECTION ipv4.gateway GATEWAY`, with the connection \
                                 of one link, then `nmcli device reapply LINK`."
            .into(),
        Host::Networkd => "To keep it so: `Gateway=GATEWAY` under `[Network]` of one .network file in /etc/systemd/network, then \
                           `networkctl reload`."
            .into(),
        Host::Plain => "To keep it so: netplan `routes: [{to: default, via: GATEWAY}]` at one link, then `netplan apply`; or \
                        systemd-networkd `Gateway=GATEWAY` under `[Network]` of its .network file, then `networkctl reload`."
            .into(),
    }
}

fn stanza(what: &str, host: Host) -> String {
    let then = match host {
        Host::Ifupdown { two: false } => "; the next boot reads it",
        _ => ", then `ifreload -a`",
    };
    format!("To keep it so: {what} in {INTERFACES}{then}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: [Host; 7] = [
        Host::Proxmox,
        Host::Netplan,
        Host::Ifupdown { two: false },
        Host::Ifupdown { two: true },
        Host::NetworkManager,
        Host::Networkd,
        Host::Plain,
    ];

    /// What tells a host's manager that its files have changed, as far as anything does.
    const APPLIES: [(Host, &str); 5] = [
        (Host::Proxmox, "ifreload -a"),
        (Host::Ifupdown { two: true }, "ifreload -a"),
        (Host::Netplan, "netplan apply"),
        (Host::NetworkManager, "nmcli device reapply"),
        (Host::Networkd, "networkctl re"),
    ];

    fn everything(host: Host) -> [String; 5] {
        [
            mtu(&["enp5s0", "vmbr1"], LinkMtu::new(1550), host),
            up("enp5s0", Some("vmbr1"), host),
            port("enp5s0", "vmbr1", host),
            gateway(host),
            routes("eth0", host).join("\n"),
        ]
    }

    #[test]
    fn a_host_is_told_of_its_own_manager_and_of_no_other() {
        for (host, applies) in APPLIES {
            let [mtu, _, _, gateway, routes] = everything(host);
            for text in [&mtu, &gateway, &routes] {
                assert!(text.contains(applies), "{host:?}: {text}");
            }
            for (other, of_another) in APPLIES {
                let alone = everything(host).iter().all(|text| !text.contains(of_another));
                assert!(alone || of_another == applies, "{host:?} is told of {other:?}");
            }
        }
    }

    #[test]
    fn an_unknown_manager_may_be_any() {
        let [mtu, up, port, gateway, routes] = everything(Host::Plain);
        for text in [mtu, up, port, gateway, routes] {
            assert!(text.contains("netplan") && text.contains("networkd") || text.contains("networkctl"), "{text}");
        }
    }

    #[test]
    fn nothing_sets_links_down_to_apply_a_file() {
        for host in HOSTS {
            assert!(
                everything(host).iter().all(|text| !text.contains("ifdown") && !text.contains("systemctl restart"))
            );
        }
        let [mtu, .., routes] = everything(Host::Ifupdown { two: false });
        assert!(mtu.contains("the next boot") && routes.contains("$ ip route replace default via GATEWAY"));
    }

    #[test]
    fn a_port_is_kept_in_its_bridge() {
        assert!(up("eth0", Some("br0"), Host::Ifupdown { two: true }).contains("`bridge-ports eth0` of br0"));
        assert!(!up("eth0", None, Host::Ifupdown { two: true }).contains("bridge-ports"));
    }
}
