//! Who sets the host's network up: told by the files that each manager reads, so that a remedy names the right ones.
//!
//! Only names are asked for, and the text of ifupdown's one file: a machine that netplan or NetworkManager took over often
//! keeps an `/etc/network/interfaces` that says nothing but `lo`. Netplan's files come first: what it generates for
//! systemd-networkd or NetworkManager is written over. Then ifupdown, whose links both others leave alone, as far as it
//! names any. Where NetworkManager runs and systemd-networkd has files, neither is told: each may keep some of the links.
//! A folder that could not be looked into is as one that is not there: the advice is less exact then, and not wrong.

use super::host::{Ask, EntryKind, RawHost};

const NETPLAN: &str = "/etc/netplan";
const INTERFACES: &str = "/etc/network/interfaces";
const MORE_INTERFACES: &str = "/etc/network/interfaces.d";
const IFUPDOWN2: &str = "/etc/network/ifupdown2";
const NETWORKD: &str = "/etc/systemd/network";
/// What NetworkManager keeps while it runs. Its keyfiles lie where only root may look.
const DEVICES: &str = "/run/NetworkManager/devices";

/// Whose files describe the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Netplan, which generates what one of the others reads.
    Netplan,
    /// ifupdown.
    Ifupdown {
        /// Whether it is ifupdown2, which can apply its file as a whole.
        two: bool,
    },
    /// NetworkManager.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
}

pub(super) fn asks() -> Vec<Ask> {
    let folders = [NETPLAN, MORE_INTERFACES, IFUPDOWN2, NETWORKD, DEVICES];
    folders.into_iter().map(|folder| Ask::folder(folder, &[])).chain([Ask::text(INTERFACES)]).collect()
}

/// The manager whose files there are; `None` where none or several could be it.
pub fn manager(read: &RawHost) -> Option<Manager> {
    let has = |folder, is: fn(&str) -> bool| {
        let entries = read.folder(folder).ok().flatten().unwrap_or_default();
        entries.iter().any(|entry| matches!(entry.kind, EntryKind::File { .. }) && is(&entry.name))
    };
    let is_there = |folder| read.folder(folder).is_ok_and(|entries| entries.is_some());
    let interfaces = read.text(INTERFACES).ok().flatten().is_some_and(names_links);
    let of_manager = has(DEVICES, |_| true);
    let of_networkd = has(NETWORKD, |name| name.ends_with(".network"));
    match () {
        () if has(NETPLAN, |name| name.ends_with(".yaml")) => Some(Manager::Netplan),
        () if interfaces || has(MORE_INTERFACES, |_| true) => Some(Manager::Ifupdown { two: is_there(IFUPDOWN2) }),
        () if of_manager && of_networkd => None,
        () if of_manager => Some(Manager::NetworkManager),
        () if of_networkd => Some(Manager::Networkd),
        () => None,
    }
}

/// Whether ifupdown's file describes any link but `lo`.
fn names_links(text: &str) -> bool {
    let stanzas = text.lines().filter_map(|line| line.split_whitespace().skip_while(|word| *word != "iface").nth(1));
    stanzas.into_iter().any(|link| link != "lo")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::host::{Entry, Found};
    use crate::fact::{Reason, Source, Unread};

    /// A machine with these files and no other.
    fn machine(files: &[&str], interfaces: Option<&str>) -> RawHost {
        let mut read = RawHost::nothing();
        for ask in asks() {
            let names = files.iter().filter_map(|file| file.strip_prefix(ask.path.as_str())?.strip_prefix('/'));
            let file =
                |name: &str| Entry { name: name.into(), kind: EntryKind::File { executable: false, text: None } };
            let entries: Vec<_> = names.map(file).collect();
            if !entries.is_empty() {
                read.take(ask.path, Ok(Some(Found::Folder(entries))));
            }
        }
        read.take(INTERFACES.into(), Ok(interfaces.map(|text| Found::Text(text.into()))));
        read
    }

    const LOOPBACK: &str = "# see interfaces(5)\nauto lo\niface lo inet loopback\n";
    const PROXMOX: &str = "auto lo\niface lo inet loopback\n\niface enp5s0 inet manual\n\nauto vmbr1\niface vmbr1 inet static\n\tmtu 1500\n";

    #[test]
    fn each_manager_is_told_by_its_own_files() {
        for (files, interfaces, expected) in [
            (&["/etc/netplan/50-cloud-init.yaml"][..], None, Manager::Netplan),
            (&[], Some(PROXMOX), Manager::Ifupdown { two: false }),
            (&["/etc/network/ifupdown2/ifupdown2.conf"], Some(PROXMOX), Manager::Ifupdown { two: true }),
            (&["/etc/network/interfaces.d/50-cloud-init"], Some(LOOPBACK), Manager::Ifupdown { two: false }),
            (&["/etc/systemd/network/10-lan.network"], None, Manager::Networkd),
            (&["/run/NetworkManager/devices/2"], None, Manager::NetworkManager),
        ] {
            assert_eq!(manager(&machine(files, interfaces)), Some(expected), "{files:?}");
        }
    }

    #[test]
    fn files_that_describe_no_link_tell_nothing() {
        let others = ["/etc/systemd/network/10-eth.link", "/etc/netplan/README"];
        assert_eq!(manager(&machine(&others, Some(LOOPBACK))), None);
        assert_eq!(manager(&RawHost::nothing()), None);
        assert_eq!(manager(&RawHost::default()), None);
    }

    #[test]
    fn netplan_and_ifupdown_come_before_what_they_leave_to_others_and_two_that_share_are_not_told() {
        let both = ["/etc/systemd/network/10-lan.network", "/run/NetworkManager/devices/2"];
        assert_eq!(manager(&machine(&both, None)), None);
        assert_eq!(manager(&machine(&both, Some(PROXMOX))), Some(Manager::Ifupdown { two: false }));
        let netplan = [both[0], "/etc/netplan/01-netcfg.yaml"];
        assert_eq!(manager(&machine(&netplan, Some(PROXMOX))), Some(Manager::Netplan));
    }

    #[test]
    fn what_could_not_be_looked_into_does_not_hide_the_rest() {
        let mut read = machine(&["/etc/systemd/network/10-lan.network"], None);
        let denied = Unread::new(Source::HostFiles, Reason::Denied { needs: "permission".into() });
        read.take(NETPLAN.into(), Err(denied));
        assert_eq!(manager(&read), Some(Manager::Networkd));
    }
}
