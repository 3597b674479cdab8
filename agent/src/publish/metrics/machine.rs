//! Links, tunnels, settings, neighbours, tracked connections and kernel counters.
//!
//! Pod links are counted by MTU and never named: a node has hundreds and they come and go. Settings are shown for the
//! machine, for links that are shown themselves, and for all pods' links as one; not for a bridge's or bond's ports,
//! which hand on what comes in before any of these settings is looked at.
//!
//! What bears on IPv6 alone is shown of nodes that have a path in it. A counter that rises all the same is shown anywhere.
//!
//! Tracked connections have series although every node exporter has them too: a table fills over hours, and whoever
//! gets the alert at four fifths wants to see since when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use probes::report::{LinkRow, NeighbourTableRow, Report, Role, SettingRow, TunnelRow};
use probes::units;

use super::{Family, Number, glossary, label};

/// Most links with series of their own.
const LINKS: usize = 50;

/// Most tunnels with series of their own: a node has one or two, and whoever has more tunnels to other places.
const TUNNELS: usize = 20;

/// Most series of pods' links: a pod may be given any MTU, so a thousand pods may have a thousand.
const POD_LINKS: usize = 20;

/// Most series of settings: the operator may want any number of them.
const SETTINGS: usize = 200;

/// What stands for all pods' links in the place of a link.
const PODS: &str = "pods";

/// Counters with a series: those that tell of harm. What else is counted stands in the report.
const SHOWN: [&str; 10] = [
    "conntrack_drops",
    "conntrack_early_drops",
    "fragmentation_failed",
    "fragmentation_failed_ipv6",
    "reassembly_failed",
    "reassembly_failed_ipv6",
    "reverse_path_filter",
    "tcp_checksum_errors",
    "udp_checksum_errors",
    "udp_checksum_errors_ipv6",
];

/// Families about the machine.
pub(super) fn families(report: &Report, suppressed: &mut usize) -> Vec<Family> {
    let shown = shown(report, suppressed);
    let mut all = links(&shown);
    all.push(pod_links(report, suppressed));
    all.extend(tunnels(report, suppressed));
    all.push(settings(report, &shown, suppressed));
    all.extend(neighbours(report));
    all.extend(conntrack(report));
    all.push(counters(report));
    all
}

/// Links of the roles that are shown, what carries traffic first.
fn shown<'a>(report: &'a Report, suppressed: &mut usize) -> Vec<&'a LinkRow> {
    let shows = |link: &&LinkRow| matches!(link.role, Role::Underlay | Role::Bridge | Role::Tunnel);
    let mut links: Vec<_> = report.links.iter().filter(shows).collect();
    links.sort_by_key(|link| (link.role == Role::Bridge, &link.name));
    *suppressed += links.len().saturating_sub(LINKS) * 2;
    links.truncate(LINKS);
    links
}

fn links(shown: &[&LinkRow]) -> Vec<Family> {
    let [mut mtu, mut up] = [glossary::LINK_MTU, glossary::LINK_UP].map(Family::of);
    for link in shown {
        let labels = || [label("link", link.name.clone()), label("role", link.role.name())];
        mtu.push(labels(), link.mtu.bytes());
        up.push(labels(), link.up && link.carrier != Some(false));
    }
    vec![mtu, up]
}

/// The MTUs that most links have, where there are many.
fn pod_links(report: &Report, suppressed: &mut usize) -> Family {
    let mut counts: BTreeMap<(u32, &'static str), usize> = BTreeMap::new();
    for link in report.links.iter().filter(|link| link.role == Role::Pod) {
        *counts.entry((link.mtu.bytes(), "host")).or_default() += 1;
        if let Some(pod) = link.pod {
            *counts.entry((pod.mtu.bytes(), "pod")).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    *suppressed += counts.len().saturating_sub(POD_LINKS);
    counts.truncate(POD_LINKS);
    counts.sort_unstable();
    let mut family = Family::of(glossary::POD_LINKS);
    for ((mtu, end), count) in counts {
        family.push([label("mtu", mtu.to_string()), label("end", end)], count);
    }
    family
}

/// Tunnels that carry pods' packets come first.
fn tunnels(report: &Report, suppressed: &mut usize) -> [Family; 4] {
    use glossary::{RECOMMENDED_OVERLAY_MTU, TUNNEL, TUNNEL_HEADROOM, TUNNEL_OVERHEAD};
    let mut families = [TUNNEL, TUNNEL_OVERHEAD, TUNNEL_HEADROOM, RECOMMENDED_OVERLAY_MTU].map(Family::of);
    let mut tunnels: Vec<_> = report.tunnels.iter().collect();
    tunnels.sort_by_key(|tunnel| !tunnel.carries_pods);
    for (at, tunnel) in tunnels.into_iter().enumerate() {
        let recommended = tunnel.recommended_mtu.map(|mtu| mtu.bytes().number());
        let (overhead, headroom) = (tunnel.overhead.map(Number::number), tunnel.headroom.map(Number::number));
        let values = [Some(1.0), overhead, headroom, recommended];
        if at >= TUNNELS {
            *suppressed += values.iter().flatten().count();
            continue;
        }
        let link = || vec![label("link", tunnel.link.clone())];
        let labels = [tunnel_labels(tunnel), link(), link(), link()];
        for ((family, labels), value) in families.iter_mut().zip(labels).zip(values) {
            family.push_known(labels, value);
        }
    }
    families
}

fn tunnel_labels(tunnel: &TunnelRow) -> super::Labels {
    let number = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    vec![
        label("link", tunnel.link.clone()),
        label("kind", tunnel.kind),
        label("id", number(tunnel.id)),
        label("port", number(tunnel.port.map(u32::from))),
        label("df", tunnel.df.map(|df| df.name()).unwrap_or_default()),
    ]
}

fn settings(report: &Report, shown: &[&LinkRow], suppressed: &mut usize) -> Family {
    let own = shown.iter().filter(|link| link.master.is_none()).map(|link| link.name.as_str());
    let subjects: BTreeSet<&str> = own.chain(["", PODS]).collect();
    let ipv6 = speaks_ipv6(report);
    let shows = |row: &&SettingRow| subjects.contains(row.link.as_str()) && (ipv6 || !is_of_ipv6(&row.name));
    let mut family = Family::of(glossary::SETTING);
    for (at, row) in report.settings.iter().filter(shows).enumerate() {
        if at < SETTINGS {
            family.push([label("name", row.name.clone()), label("link", row.link.clone())], row.value);
        } else {
            *suppressed += 1;
        }
    }
    family
}

/// Whether this node reaches anybody by IPv6, or should.
fn speaks_ipv6(report: &Report) -> bool {
    report.paths.iter().any(|path| path.family == units::Family::Ipv6)
}

/// Settings as the report names them: `ipv6.forwarding`, `bridge-nf-call-ip6tables`, `net.ipv6.conf.all.disable_ipv6`.
fn is_of_ipv6(setting: &str) -> bool {
    ["ipv6.", "ip6"].iter().any(|mark| setting.contains(mark))
}

/// A table of IPv6 is shown of a node that has no path in it once it refuses somebody, or is half full.
fn neighbours(report: &Report) -> [Family; 3] {
    use glossary::{NEIGHBOUR_ENTRIES, NEIGHBOUR_LIMIT, NEIGHBOUR_TABLE_FULL};
    let [mut entries, mut limit, mut full] = [NEIGHBOUR_ENTRIES, NEIGHBOUR_LIMIT, NEIGHBOUR_TABLE_FULL].map(Family::of);
    let ipv6 = speaks_ipv6(report);
    let matters = |table: &&NeighbourTableRow| {
        ipv6 || table.family == units::Family::Ipv4 || table.refused > 0 || table.entries >= table.limit / 2
    };
    for table in report.neighbours.tables.iter().filter(matters) {
        let labels = || [label("family", table.family.name())];
        entries.push(labels(), table.entries);
        limit.push(labels(), table.limit);
        full.push(labels(), table.refused);
    }
    [entries, limit, full]
}

fn conntrack(report: &Report) -> [Family; 2] {
    let table = report.conntrack.as_ref();
    let [entries, limit] = [glossary::CONNTRACK_ENTRIES, glossary::CONNTRACK_LIMIT].map(Family::of);
    [entries.with_known(table.map(|table| table.entries)), limit.with_known(table.map(|table| table.limit))]
}

fn counters(report: &Report) -> Family {
    let mut family = Family::of(glossary::KERNEL_EVENTS);
    let ipv6 = speaks_ipv6(report);
    for (name, &count) in report.counters.iter().filter(|(name, _)| SHOWN.contains(&name.as_str())) {
        if ipv6 || count > 0 || !name.ends_with("_ipv6") {
            family.push([label("name", name.clone())], count);
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use probes::path::{Plane, VerdictName};
    use probes::units::LinkMtu;

    use super::super::super::example;
    use super::super::lines;
    use super::*;

    #[test]
    fn pod_links_are_counted_by_the_mtu_of_each_end() {
        let published = example::published();
        assert_eq!(
            lines(&pod_links(&published.report, &mut 0)),
            ["1450,host 1", "1450,pod 1", "1500,host 2", "1500,pod 1"]
        );
    }

    #[test]
    fn a_link_without_carrier_is_not_up() {
        let published = example::published();
        let families = links(&shown(&published.report, &mut 0));
        assert!(lines(&families[1]).contains(&"enp6s0,underlay 0".to_owned()), "{:?}", lines(&families[1]));
    }

    #[test]
    fn settings_are_shown_of_the_machine_of_links_that_are_shown_and_of_all_pods() {
        let published = example::published();
        let mut report = (*published.report).clone();
        let row = |link: &str| SettingRow { name: "forwarding".into(), link: link.into(), value: 1, wanted: None };
        report.settings = ["", "pods", "vxlan.calico", "cali1a2b3c4d5e6"].map(row).to_vec();
        let shown = lines(&settings(&report, &shown(&report, &mut 0), &mut 0));
        assert_eq!(shown, ["forwarding, 1", "forwarding,pods 1", "forwarding,vxlan.calico 1"]);
    }

    #[test]
    fn a_port_and_a_family_without_paths_have_no_settings() {
        let mut report = (*example::published().report).clone();
        let row = |name: &str, link: &str| SettingRow { name: name.into(), link: link.into(), value: 1, wanted: None };
        let rows = [("rp_filter", "enp5s0"), ("rp_filter", "vmbr1"), ("bridge-nf-call-ip6tables", "")];
        report.settings = rows.map(|(name, link)| row(name, link)).to_vec();
        let port = report.links.iter().find(|link| link.name == "enp5s0").unwrap();
        assert!(port.role == Role::Underlay && port.master.is_some(), "it is shown as a link: {port:?}");
        let lines = |report: &Report| lines(&settings(report, &shown(report, &mut 0), &mut 0));
        assert_eq!(lines(&report), ["rp_filter,vmbr1 1"]);
        report.paths.push(example::path("master-2", Plane::Underlay, "fd00::12", VerdictName::Clear, 1500));
        assert_eq!(lines(&report), ["rp_filter,vmbr1 1", "bridge-nf-call-ip6tables, 1"]);
    }

    #[test]
    fn counters_of_ipv6_are_shown_with_a_path_in_it_or_once_they_rise() {
        let mut report = (*example::published().report).clone();
        let mut shown = |count| {
            report.counters =
                [("udp_checksum_errors".to_owned(), 0), ("udp_checksum_errors_ipv6".to_owned(), count)].into();
            lines(&counters(&report))
        };
        assert_eq!(shown(0), ["udp_checksum_errors 0"]);
        assert_eq!(shown(3), ["udp_checksum_errors 0", "udp_checksum_errors_ipv6 3"]);
        report.paths.push(example::path("master-2", Plane::Underlay, "fd00::12", VerdictName::Clear, 1500));
        report.counters.insert("udp_checksum_errors_ipv6".into(), 0);
        assert_eq!(lines(&counters(&report)), ["udp_checksum_errors 0", "udp_checksum_errors_ipv6 0"]);
    }

    #[test]
    fn tracked_connections_are_absent_where_nothing_tracks_them() {
        let mut report = (*example::published().report).clone();
        assert_eq!(conntrack(&report).iter().flat_map(lines).collect::<Vec<_>>(), [" 318", " 262144"]);
        report.conntrack = None;
        assert!(conntrack(&report).iter().all(|family| family.samples.is_empty()));
    }

    #[test]
    fn only_counters_that_tell_of_harm_have_series() {
        let mut report = (*example::published().report).clone();
        report.counters.insert("udp_datagrams".into(), 100_000);
        assert_eq!(lines(&counters(&report)), ["fragmentation_failed 17", "reverse_path_filter 0"]);
    }

    #[test]
    fn each_neighbour_table_has_its_family_and_one_that_is_not_used_is_left_out() {
        let mut report = (*example::published().report).clone();
        let of = |report: &Report| neighbours(report).map(|family| lines(&family));
        assert_eq!(of(&report), [["ipv4 7"], ["ipv4 1024"], ["ipv4 0"]]);
        report.neighbours.tables[1].refused = 1;
        assert_eq!(of(&report), [["ipv4 7", "ipv6 4"], ["ipv4 1024", "ipv6 1024"], ["ipv4 0", "ipv6 1"]]);
        report.neighbours.tables[1].refused = 0;
        report.neighbours.tables[1].entries = 512;
        assert_eq!(of(&report)[0], ["ipv4 7", "ipv6 512"], "it fills up");
        report.neighbours.tables[1].entries = 4;
        report.paths.push(example::path("master-2", Plane::Underlay, "fd00::12", VerdictName::Clear, 1500));
        assert_eq!(of(&report)[0], ["ipv4 7", "ipv6 4"], "it is used");
    }

    #[test]
    fn tunnels_beyond_the_limit_are_counted_and_the_pods_own_stays() {
        let mut report = (*example::published().report).clone();
        let pods = report.tunnels.remove(0);
        let other =
            |at| TunnelRow { link: format!("gre{at}"), carries_pods: false, recommended_mtu: None, ..pods.clone() };
        report.tunnels = (0..TUNNELS).map(other).chain([pods.clone()]).collect();
        let mut suppressed = 0;
        let [info, ..] = tunnels(&report, &mut suppressed);
        assert_eq!((info.samples.len(), suppressed), (TUNNELS, 3), "it has no recommendation");
        assert_eq!(info.samples[0].labels[0].1, "vxlan.calico");
    }

    #[test]
    fn the_mtus_of_pods_links_that_most_have_are_shown() {
        let mut report = (*example::published().report).clone();
        let pod = report.links.iter().find(|link| link.role == Role::Pod).unwrap().clone();
        let with = |mtu| LinkRow { name: format!("cali{mtu}"), mtu: LinkMtu::new(mtu), pod: None, ..pod.clone() };
        report.links = (1000..1100).map(with).chain([with(9000), with(9000)]).collect();
        let mut suppressed = 0;
        let shown = lines(&pod_links(&report, &mut suppressed));
        assert_eq!((shown.len(), suppressed), (POD_LINKS, 101 - POD_LINKS));
        assert_eq!(shown.last().unwrap(), "9000,host 2", "{shown:?}");
    }

    #[test]
    fn settings_beyond_the_limit_are_counted() {
        let mut report = (*example::published().report).clone();
        let wanted = |at| SettingRow { name: format!("net.core.{at}"), link: String::new(), value: 1, wanted: None };
        report.settings = (0..SETTINGS + 7).map(wanted).collect();
        let mut suppressed = 0;
        assert_eq!((settings(&report, &[], &mut suppressed).samples.len(), suppressed), (SETTINGS, 7));
    }

    #[test]
    fn a_recommendation_belongs_to_its_tunnel() {
        let published = example::published();
        let mut report = (*published.report).clone();
        let unknown = TunnelRow { link: "tunl0".into(), recommended_mtu: None, ..report.tunnels[0].clone() };
        report.tunnels.push(unknown);
        assert_eq!(lines(&tunnels(&report, &mut 0)[3]), ["vxlan.calico 1350"]);
    }

    #[test]
    fn links_beyond_the_limit_are_counted() {
        let published = example::published();
        let mut report = (*published.report).clone();
        let bridge = report.links.iter().find(|link| link.role == Role::Bridge).unwrap().clone();
        let had = shown(&report, &mut 0).len();
        report.links.extend((0..60).map(|n| LinkRow { name: format!("br{n}"), ..bridge.clone() }));
        let mut suppressed = 0;
        let shown = shown(&report, &mut suppressed);
        assert_eq!((shown.len(), suppressed), (LINKS, (had + 60 - LINKS) * 2));
        assert_eq!(shown[0].role, Role::Underlay, "what carries traffic stays");
    }
}
