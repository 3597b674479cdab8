//! The report's settings: the machine's, and those of the links that they matter on.
//!
//! A link's row holds the value that counts there, which for `rp_filter` is the larger of `all` and its own. `forwarding`
//! is shown of the links that pods' packets come in by, `ipv6.accept_ra` of those that a router advertised something on.
//! Pods' own links are hundreds: `rp_filter` stands for each, of the others one row for all of them, named `pods` as in
//! findings, with the least value.

mod wanted;

use crate::kernel::Link;
use crate::report::{Role, SettingRow, Vantage};
use crate::snapshot::Snapshot;
use crate::snapshot::entries::{Whose, entries};
use crate::snapshot::setup::of_calico_pod;
use crate::units::Family;

/// Every row that matters there: a pod's network forwards nothing, and of its settings the one counts that its own packets
/// obey.
pub(super) fn rows(node: &Snapshot, vantage: Vantage) -> Vec<SettingRow> {
    match vantage {
        Vantage::Node => of_node(node),
        Vantage::Pod => global(node).into_iter().filter(|row| row.name == NO_PMTU_DISC).collect(),
    }
}

const NO_PMTU_DISC: &str = "ip_no_pmtu_disc";

fn of_node(node: &Snapshot) -> Vec<SettingRow> {
    let links = node.tables.links().iter();
    let mut rows = global(node);
    rows.extend(links.clone().filter_map(|link| {
        let value = *node.tables.rp_filter(link).known()?;
        Some(row(node, "rp_filter", "ipv4", &link.name, value))
    }));
    rows.extend(forwarding(node));
    rows.extend(proxy_arp(node));
    rows.extend(
        links
            .filter(|link| is_advertised_to(node, link))
            .filter_map(|link| Some(row(node, "ipv6.accept_ra", "ipv6", &link.name, link.inet6?.accept_ra.into()))),
    );
    rows.extend(wanted::others(node, &GLOBAL));
    rows
}

/// Settings of the whole machine that have a row whether or not somebody expects something of them.
const GLOBAL: [&str; 5] = [
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv4.ip_no_pmtu_disc",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
];

fn global(node: &Snapshot) -> Vec<SettingRow> {
    let tables = &node.tables;
    let [ip_forward, ipv6_forwarding, no_pmtu_disc, iptables, ip6tables] = GLOBAL;
    let global = [
        ("ip_forward", ip_forward, &tables.ip_forward),
        ("ipv6.forwarding", ipv6_forwarding, &tables.ipv6_forwarding),
        (NO_PMTU_DISC, no_pmtu_disc, &tables.no_pmtu_disc),
        ("bridge-nf-call-iptables", iptables, &tables.bridge_nf_iptables),
        ("bridge-nf-call-ip6tables", ip6tables, &tables.bridge_nf_ip6tables),
    ];
    let row = |(name, key, value): (&str, &str, &crate::fact::Fact<i64>)| {
        let wanted = wanted::of(node, key);
        Some(SettingRow { name: name.into(), link: String::new(), value: *value.known()?, wanted })
    };
    global.into_iter().filter_map(row).collect()
}

/// A link's setting.
fn row(node: &Snapshot, name: &str, family: &str, link: &str, value: i64) -> SettingRow {
    let last = name.rsplit('.').next().unwrap_or(name);
    let wanted = wanted::of(node, &format!("net.{family}.conf.{}.{last}", link.replace('.', "/")));
    SettingRow { name: name.into(), link: link.into(), value, wanted }
}

fn forwarding(node: &Snapshot) -> Vec<SettingRow> {
    let entries = entries(node, Family::Ipv4);
    let value = |link: &Link| Some(i64::from(link.inet?.forwarding));
    let of_pods = entries.iter().filter(|(_, whose)| *whose == Whose::Pod).filter_map(|(link, _)| value(link));
    let pods = of_pods.min().map(|least| row(node, "forwarding", "ipv4", PODS, least));
    let others = entries.iter().filter(|(_, whose)| *whose != Whose::Pod);
    let others = others.filter_map(|(link, _)| Some(row(node, "forwarding", "ipv4", &link.name, value(link)?)));
    others.chain(pods).collect()
}

fn proxy_arp(node: &Snapshot) -> Option<SettingRow> {
    let all = *node.tables.proxy_arp_all.known()?;
    let calico = node.tables.links().iter().filter(|link| of_calico_pod(link));
    let least = calico.filter_map(|link| link.inet).map(|inet| i64::from(inet.proxy_arp).max(all)).min()?;
    Some(row(node, "proxy_arp", "ipv4", PODS, least))
}

/// [`Subject::Pods`](crate::subject::Subject::Pods) in words.
const PODS: &str = "pods";

fn is_advertised_to(node: &Snapshot, link: &Link) -> bool {
    let of_a_router = node.tables.addresses_of(link.index).any(|own| own.autoconfigured && own.valid.is_some());
    let heard = link.inet6.is_some_and(|inet6| inet6.heard_router);
    node.topology.role(link.index) != Role::Pod && (of_a_router || heard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Inet;
    use crate::snapshot::example::Example;
    use crate::subject::Subject;

    fn value(node: &Example, name: &str, link: &str) -> Option<i64> {
        let rows = rows(&node.snapshot(), Vantage::Node);
        let mut found = rows.iter().filter(|row| row.name == name && row.link == link);
        let value = found.next().map(|row| row.value);
        assert_eq!(found.count(), 0, "{name} of {link} stands there once");
        value
    }

    #[test]
    fn forwarding_is_shown_where_pods_packets_come_in() {
        let mut node = Example::reference();
        assert_eq!(value(&node, "forwarding", "vxlan.calico"), Some(1));
        assert_eq!(value(&node, "forwarding", "pods"), Some(1));
        assert_eq!(value(&node, "forwarding", "vmbr0"), None, "nothing of pods comes in there");
        node = node.with("cali9f8e7d6c5b4", |link| link.inet = Some(Inet::default()));
        assert_eq!(value(&node, "forwarding", "pods"), Some(0), "one of them is off");
        assert_eq!(value(&node, "proxy_arp", "pods"), Some(0));
    }

    #[test]
    fn a_pods_link_has_no_row_of_its_own_but_for_the_filter() {
        let rows = rows(&Example::reference().snapshot(), Vantage::Node);
        let names: Vec<_> = rows.iter().filter(|row| row.link.starts_with("cali")).map(|row| &row.name).collect();
        assert_eq!(names, ["rp_filter", "rp_filter"]);
        assert_eq!(PODS, Subject::Pods.to_string());
    }

    #[test]
    fn the_larger_of_all_and_own_counts() {
        let mut node = Example::reference().with("cali9f8e7d6c5b4", |link| link.inet = Some(Inet::default()));
        node.tables.proxy_arp_all = crate::fact::Fact::Known(1);
        assert_eq!(value(&node, "proxy_arp", "pods"), Some(1));
        assert_eq!(value(&Example::flannel(), "proxy_arp", "pods"), None, "no link of Calico's");
    }

    #[test]
    fn whether_a_link_listens_to_routers_is_shown_where_it_ever_did() {
        let node = Example::reference();
        assert_eq!(value(&node, "ipv6.accept_ra", "vmbr1"), None);
        let heard = node.with("vmbr1", |link| link.inet6.as_mut().unwrap().heard_router = true);
        assert_eq!(value(&heard, "ipv6.accept_ra", "vmbr1"), Some(1));
        assert_eq!(value(&heard, "ipv6.forwarding", ""), Some(1));
    }

    #[test]
    fn what_is_wanted_stands_beside_it() {
        let mut node = Example::reference().snapshot();
        node.expect.sysctls.insert("net.ipv4.conf.vmbr1.rp_filter".into(), "2".into());
        node.expect.sysctls.insert("net.ipv6.conf.all.forwarding".into(), "1".into());
        let wanted: Vec<_> =
            rows(&node, Vantage::Node).into_iter().filter_map(|row| Some((row.name, row.wanted?))).collect();
        assert_eq!(wanted, [("ipv6.forwarding".into(), "1".to_owned()), ("rp_filter".into(), "2".into())]);
    }
}
