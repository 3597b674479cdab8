//! A NIC with one queue: more of them where the driver has more, else from whoever gives the machine its NIC.

/// The driver has more.
pub(super) fn here(link: &str, queues: u32) -> Vec<String> {
    vec![
        "More queues, at a quiet hour: many drivers start the NIC anew for it and lose packets for a moment.".into(),
        format!("$ ethtool -L {link} combined {queues}"),
        format!(
            "A driver that counts receiving and sending queues apart (`ethtool -l {link}`) wants `rx {queues} tx {queues}`. \
             To keep it so: systemd-networkd `CombinedChannels={queues}` under `[Link]` of a .link file that matches \
             {link}; or a line `pre-up ethtool -L {link} combined {queues}` in its stanza of /etc/network/interfaces."
        ),
    ]
}

/// Only the hypervisor has more. QEMU gives out one queue unless it is told otherwise.
pub(super) fn from_hypervisor(link: &str, queues: u32) -> Vec<String> {
    vec![
        format!(
            "{link} is given one queue by the hypervisor. On a Proxmox host, with the guest's number, and with number and \
             line of that NIC as `qm config` shows them (`ip link show dev {link}` here has its MAC address):"
        ),
        "$ qm config ID | grep ^net".into(),
        format!("$ qm set ID --netN LINE,queues={queues}"),
        format!(
            "With libvirt: `<driver name='vhost' queues='{queues}'/>` in that `<interface>`. Then stop and start the guest \
             from outside; a reboot from within is not enough. See that it took:"
        ),
        format!("$ ethtool -l {link}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hypervisor_is_asked_for_what_the_driver_does_not_have() {
        insta::assert_snapshot!(from_hypervisor("ens19", 8).join("\n"), @r#"
ens19 is given one queue by the hypervisor. On a Proxmox host, with the guest's number, and with number and line of that NIC as `qm config` shows them (`ip link show dev ens19` here has its MAC address):
$ qm config ID | grep ^net
$ qm set ID --netN LINE,queues=8
With libvirt: `<driver name='vhost' queues='8'/>` in that `<interface>`. Then stop and start the guest from outside; a reboot from within is not enough. See that it took:
$ ethtool -l ens19
"#);
        let here = here("ens19", 8).join("\n");
        assert!(here.contains("$ ethtool -L ens19 combined 8") && !here.contains("qm set"), "{here}");
    }
}
