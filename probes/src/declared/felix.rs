//! The MTU that Felix finds for a host, and what it makes of it for pods.
//!
//! Felix looks every 30 seconds and starts again when what it finds has changed. It goes by the *names* of links, never by
//! routes: the smallest MTU of those that look like a NIC (`mtuIfacePattern`), and 1,460 where none does. A bond or a bridge
//! is not looked at, a management NIC is. Each tunnel gets that less what it adds, pods the smallest of the tunnels in use,
//! and where there is none the whole; that smallest is what it writes to `/var/lib/calico/mtu`.
//!
//! The names grew over time, and links that are down counted until 3.27. A version that still runs may be any of these, so
//! each rule is a value ([`RULES`]), the one of today first.
//!
//! Not repeated here: Azure's 100 more for WireGuard. Its sum fits no rule, and what fits none is not spoken of.

use crate::kernel::Link;
use crate::kernel::{Tunnel, TunnelKind};
use crate::overhead;
use crate::units::{Family, IpSize, LinkMtu};

/// What Felix takes for the host's MTU where no link looks like a NIC: the least of the common clouds'.
pub const FALLBACK: LinkMtu = LinkMtu::new(1460);

/// What one version, and those like it, go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The third letters of a NIC's name after `en`, `wl`, `ww`, `sl` or `ib`.
    thirds: &'static [u8],
    /// Whether links that are down are left out.
    works: bool,
}

/// The rules of all versions that look for themselves, newest first: from 3.28 on, 3.27, 3.26, 3.25, and before.
pub const RULES: [Rule; 5] = [
    Rule { thirds: b"Pcopsvx", works: true },
    Rule { thirds: b"Pcopsvx", works: false },
    Rule { thirds: b"Pcopsx", works: false },
    Rule { thirds: b"copsx", works: false },
    Rule { thirds: b"opsx", works: false },
];

/// What Felix finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The MTU that it takes for the host's.
    pub host: LinkMtu,
    /// The links that decide it; none where it falls back.
    pub by: Vec<String>,
}

impl Rule {
    /// What this rule finds among links.
    pub fn detect(self, links: &[Link]) -> Detected {
        let looked_at = || links.iter().filter(|link| self.looks_at(link));
        let Some(host) = looked_at().map(|link| link.mtu).min() else {
            return Detected { host: FALLBACK, by: Vec::new() };
        };
        let by = looked_at().filter(|link| link.mtu == host).map(|link| link.name.clone()).collect();
        Detected { host, by }
    }

    /// Whether it counts a link.
    pub fn looks_at(self, link: &Link) -> bool {
        // A link without an MTU yet is passed over, and Felix reads "running", which a link without carrier is not.
        let counts = link.mtu.bytes() > 0 && (!self.works || link.works());
        counts && self.names(&link.name)
    }

    fn names(self, name: &str) -> bool {
        let by_bus = || {
            let (prefix, rest) = name.as_bytes().split_at_checked(2)?;
            let known = [b"en", b"wl", b"ww", b"sl", b"ib"].iter().any(|known| *known == prefix);
            Some(known && self.thirds.contains(rest.first()?))
        };
        ["eth", "wlan", "wwan"].iter().any(|prefix| name.starts_with(prefix)) || by_bus().unwrap_or(false)
    }
}

/// What Felix takes off the host's MTU for a tunnel of its own; `None` for any other device.
pub fn overhead(link: &Link) -> Option<u32> {
    let of = |kind, outer| overhead::of(&Tunnel::of(kind), outer);
    let kind = link.tunnel.as_ref()?.kind;
    match (link.name.as_str(), kind) {
        ("vxlan.calico", TunnelKind::Vxlan) => of(kind, Family::Ipv4),
        ("vxlan-v6.calico", TunnelKind::Vxlan) => of(kind, Family::Ipv6),
        ("tunl0", TunnelKind::Ipip) => of(kind, Family::Ipv4),
        ("wireguard.cali", TunnelKind::Wireguard) => of(kind, Family::Ipv4),
        ("wg-v6.cali", TunnelKind::Wireguard) => of(kind, Family::Ipv6),
        _ => None,
    }
}

/// What pods get over a host's MTU where the most that a tunnel takes off is this.
pub const fn pods(host: LinkMtu, overhead: u32) -> IpSize {
    IpSize::new(host.bytes()).less(overhead)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::example::Example;

    const TODAY: Rule = RULES[0];

    fn found(node: &Example) -> (u32, Vec<String>) {
        let Detected { host, by } = TODAY.detect(node.snapshot().tables.links());
        (host.bytes(), by)
    }

    fn devices(of: &[(&str, u32)]) -> Example {
        of.iter().fold(Example::empty(), |node, (name, mtu)| node.device(name, "device", *mtu))
    }

    #[test]
    fn the_smallest_nic_decides_whatever_it_leads_to() {
        assert_eq!(found(&devices(&[("enp4s0", 1500), ("enp5s0", 9000)])), (1500, vec!["enp4s0".into()]));
        let equal = devices(&[("eth0", 1500), ("eth1", 1500), ("docker0", 1400)]);
        assert_eq!(found(&equal), (1500, vec!["eth0".into(), "eth1".into()]));
    }

    #[test]
    fn bonds_and_bridges_are_no_nics_and_without_one_it_falls_back() {
        let node = devices(&[("bond0", 9000), ("vmbr1", 9000), ("br0", 1500), ("eni123", 9001), ("ib0", 2044)]);
        assert_eq!(found(&node), (1460, Vec::new()));
        assert_eq!(found(&Example::empty()), (1460, Vec::new()), "lo is none");
    }

    #[test]
    fn links_that_do_not_run_counted_once() {
        let down =
            devices(&[("eth0", 9000), ("eth1", 1500)]).with("eth1", |link| (link.up, link.carrier) = (false, None));
        assert_eq!(found(&down).0, 9000);
        let without_carrier =
            devices(&[("eth0", 9000), ("eth1", 1500)]).with("eth1", |link| link.carrier = Some(false));
        assert_eq!(found(&without_carrier).0, 9000);
        let before: Vec<u32> =
            RULES[1..].iter().map(|rule| rule.detect(down.snapshot().tables.links()).host.bytes()).collect();
        assert_eq!(before, [1500; 4]);
    }

    #[test]
    fn names_grew_over_time() {
        let by = |name: &str| RULES.map(|rule| rule.names(name));
        assert_eq!(by("enp5s0.100"), [true; 5], "a VLAN looks like its NIC");
        assert_eq!(by("enc1000"), [true, true, true, true, false]);
        assert_eq!(by("enP2p1s0"), [true, true, true, false, false]);
        assert_eq!(by("env3"), [true, true, false, false, false]);
        for other in ["en", "e", "", "ibx", "wlp2s0", "wlan0", "slx", "wwan0", "cali1", "venp", "é", "enü"] {
            let all = by(other);
            let is = ["ibx", "wlp2s0", "wlan0", "slx", "wwan0"].contains(&other);
            assert_eq!(all, [is; 5], "{other}");
        }
    }

    #[test]
    fn a_link_without_an_mtu_decides_nothing() {
        assert_eq!(found(&devices(&[("eth0", 1500), ("eth1", 0)])), (1500, vec!["eth0".into()]));
    }

    #[test]
    fn wireguard_adds_by_the_family_that_carries_it() {
        let taken = |name: &str| {
            let node =
                devices(&[(name, 1400)]).with(name, |link| link.tunnel = Some(Tunnel::of(TunnelKind::Wireguard)));
            overhead(node.snapshot().tables.link_named(name).unwrap())
        };
        assert_eq!(["wireguard.cali", "wg-v6.cali", "wg0"].map(taken), [Some(60), Some(80), None]);
    }

    #[test]
    fn only_its_own_tunnels_take_something_off() {
        let node = Example::reference().vxlan("vxlan-v6.calico", 1430, Some("vmbr1"), "fd00::11").snapshot();
        let taken: Vec<_> =
            node.tables.links().iter().filter_map(|link| Some((link.name.as_str(), overhead(link)?))).collect();
        assert_eq!(taken, [("vxlan.calico", 50), ("vxlan-v6.calico", 70)]);
        assert!(Example::flannel().snapshot().tables.links().iter().all(|link| overhead(link).is_none()));
        assert_eq!(pods(FALLBACK, 50), IpSize::new(1410));
    }

    proptest! {
        /// Would fail if a link that is not counted could decide, or one that is counted were smaller.
        #[test]
        fn what_is_found_is_the_least_of_what_is_looked_at(
            links in prop::collection::vec(("(en|eth|bond|ib|vmbr|wl)[a-zP0-9]{0,3}", 68_u32..10_000, any::<bool>()), 0..8),
            rule in 0..RULES.len(),
        ) {
            let node = links.iter().enumerate().fold(Example::empty(), |node, (at, (name, mtu, up))| {
                let name = format!("{name}{at}");
                node.device(&name, "device", *mtu).with(&name, |link| (link.up, link.carrier) = (*up, up.then_some(true)))
            }).snapshot();
            let (rule, links) = (RULES[rule], node.tables.links());
            let Detected { host, by } = rule.detect(links);
            let counted: Vec<_> = links.iter().filter(|link| rule.looks_at(link)).collect();
            prop_assert_eq!(by.is_empty(), counted.is_empty());
            prop_assert!(counted.iter().all(|link| link.mtu >= host));
            prop_assert!(counted.iter().filter(|link| link.mtu == host).map(|link| &link.name).eq(&by));
            prop_assert!(by.is_empty() == (host == FALLBACK && counted.is_empty()));
        }
    }
}
