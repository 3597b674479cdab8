//! Every metric: its name, its labels, and what it says to somebody who is called at three in the morning.
//!
//! A help text says what the value means, what it means that there is none, and where it helps, what to do. It is what
//! Grafana and Prometheus show beside the name, so it stands without the manual. Names are written as they stand in
//! queries; unit and type are the end of the name, and [`About::unit`] reads them from it.
//!
//! `kernel_events_total` is not called a counter although it is one: promtool refuses names that hold a type.

use super::{Kind, Unit};

/// What is said of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Name as it stands in queries; of a histogram without `_bucket`.
    pub name: &'static str,
    /// Labels in the order in which they are written.
    pub labels: &'static [&'static str],
    /// Type.
    pub kind: Kind,
    /// Sentences for whoever sees the metric for the first time.
    pub help: &'static str,
}

impl About {
    const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, labels, kind: Kind::Gauge, help }
    }

    const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, labels, kind: Kind::Counter, help }
    }

    const fn info(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, labels, kind: Kind::Info, help }
    }

    /// Name without the suffix that the format adds to its type, with its unit.
    pub fn family(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name.strip_suffix(suffix).expect("a metric's name ends as its type asks")
    }

    /// Base unit: the last part of the family's name.
    pub fn unit(&self) -> Option<Unit> {
        [Unit::Bytes, Unit::Seconds].into_iter().find(|unit| self.family().rsplit('_').next() == Some(unit.name()))
    }
}

const LINK: &[&str] = &["link"];
const LINK_ROLE: &[&str] = &["link", "role"];
const PEER: &[&str] = &["peer", "plane", "family"];
const PLACE: &[&str] = &["plane", "family"];
const FAMILY: &[&str] = &["family"];
const SOURCE: &[&str] = &["source"];

/// Every metric, as they stand in README.
pub const ALL: &[About] = &[
    FINDING,
    FINDINGS,
    CHECK_CONCLUDED,
    PATHS,
    PATH_MTU,
    PATH_EXPECTED_MTU,
    PATH_FORWARD_MTU,
    PATH_REVERSE_MTU,
    PATH_UP,
    PATH_MIN_MTU,
    OLDEST_PATH_RESULT,
    PATH_ROUND_TRIP,
    PROBE_PACKETS_SENT,
    PROBE_PACKETS_LOST,
    SEARCH_PACKETS,
    PROBE_ERRORS,
    TRANSFER_STALLS,
    RECOMMENDED_OVERLAY_MTU,
    LINK_MTU,
    LINK_UP,
    POD_LINKS,
    TUNNEL,
    TUNNEL_OVERHEAD,
    TUNNEL_HEADROOM,
    SETTING,
    NEIGHBOUR_ENTRIES,
    NEIGHBOUR_LIMIT,
    NEIGHBOUR_TABLE_FULL,
    CONNTRACK_ENTRIES,
    CONNTRACK_LIMIT,
    KERNEL_EVENTS,
    PEERS,
    PEER_SOURCE_LAST_SUCCESS,
    SOURCE_SUCCESS,
    SOURCE_DURATION,
    NETLINK_OVERRUNS,
    PROBE_INTERVAL,
    ROUND_DURATION,
    LAST_ROUND,
    CONFIG_SUCCESSFUL,
    CONFIG_SUCCESS,
    SERIES_SUPPRESSED,
    BUILD,
    PROCESS_CPU,
    PROCESS_START_TIME,
    PROCESS_RESIDENT_MEMORY,
    PROCESS_VIRTUAL_MEMORY,
    PROCESS_OPEN_FDS,
    PROCESS_MAX_FDS,
];

pub(super) const FINDING: About = About::gauge(
    "mtuscope_finding",
    &["code", "severity", "subject"],
    "Always 1 while something is wrong with a subject (a link, a peer, a setting, pods) and it is not the consequence of \
     another finding; absent once it is healed. Evidence, and the commands that mend it: /report of this agent.",
);

pub(super) const FINDINGS: About = About::gauge(
    "mtuscope_findings",
    &["code", "severity"],
    "How many findings of a code stand that are not the consequence of another. 0 means looked and found nothing; absent \
     means that the check could not look, see mtuscope_check_concluded.",
);

pub(super) const CHECK_CONCLUDED: About = About::gauge(
    "mtuscope_check_concluded",
    &["code"],
    "1 if a check could look at everything that it judges, 0 if it could not. At 0 nothing is said about its subject, \
     neither good nor bad: not_concluded in /report names the reason, often a missing right or an unreadable file. Absent before the first round has ended.",
);

pub(super) const PATHS: About = About::gauge(
    "mtuscope_paths",
    &["plane", "family", "verdict"],
    "Number of paths to peers by verdict: clear carries packets of the size expected, limited carries less and says so, \
     black_hole carries less and drops the rest in silence, unreachable carries nothing, unknown could not be judged yet. \
     Every combination is there from the start.",
);

pub(super) const PATH_MTU: About = About::gauge(
    "mtuscope_path_mtu_bytes",
    PEER,
    "Largest IP packet, header included, that was confirmed to reach a peer. Where it is below \
     mtuscope_path_expected_mtu_bytes, larger packets are refused or lost on the way. Absent while the peer cannot be \
     reached or judged, and for healthy peers of a cluster of more than 100.",
);

pub(super) const PATH_EXPECTED_MTU: About = About::gauge(
    "mtuscope_path_expected_mtu_bytes",
    PEER,
    "Largest IP packet, header included, that should reach a peer by this node's routes, devices and configuration. \
     Absent if no route says so.",
);

pub(super) const PATH_FORWARD_MTU: About = About::gauge(
    "mtuscope_path_forward_mtu_bytes",
    PEER,
    "Largest IP packet on the way to a peer, measured apart from the way back. Absent where the two were not told apart, \
     as on every clear path.",
);

pub(super) const PATH_REVERSE_MTU: About = About::gauge(
    "mtuscope_path_reverse_mtu_bytes",
    PEER,
    "At least so large an IP packet passes on the way back from a peer. Below the way there, look at the peer's side. \
     Absent where it was not measured, as on every clear path.",
);

pub(super) const PATH_UP: About = About::gauge(
    "mtuscope_path_up",
    PEER,
    "1 if packets of any size reach a peer, 0 if none do by any protocol tried. Absent if it is not known, for example \
     because the peer's host filters ICMP.",
);

pub(super) const PATH_MIN_MTU: About = About::gauge(
    "mtuscope_path_min_mtu_bytes",
    PLACE,
    "Smallest path MTU over all peers, so one bad path in any number of good ones shows. Absent until a path was \
     measured.",
);

pub(super) const OLDEST_PATH_RESULT: About = About::gauge(
    "mtuscope_oldest_path_result_timestamp_seconds",
    PLACE,
    "When the path was measured whose result is oldest, in seconds since 1970. Its age is how long a break can go \
     unnoticed; if it keeps growing, rounds are late (coverage-late). Absent until a path was measured.",
);

pub(super) const PATH_ROUND_TRIP: About = About {
    name: "mtuscope_path_round_trip_seconds",
    labels: PLACE,
    kind: Kind::Histogram,
    help: "Round trips of small reference probes, over all peers. What loss or load between nodes does shows here before \
           anything fails; which peer it is, /report tells. Absent where this node has no such path.",
};

pub(super) const PROBE_PACKETS_SENT: About = About::counter(
    "mtuscope_probe_packets_sent_total",
    PLACE,
    "Reference probes sent: one small and one full-size packet for each path and round. No increase means that nothing \
     is measured. Absent where this node has no such path.",
);

pub(super) const PROBE_PACKETS_LOST: About = About::counter(
    "mtuscope_probe_packets_lost_total",
    PLACE,
    "Reference probes that nobody answered. Divided by mtuscope_probe_packets_sent_total it is the loss over all peers. \
     Absent as that is.",
);

pub(super) const SEARCH_PACKETS: About = About::counter(
    "mtuscope_search_packets_total",
    PLACE,
    "Packets sent to find out which size passes, reference probes left out. It rises only while a path does not carry \
     the size expected. Absent where this node has no such path.",
);

pub(super) const PROBE_ERRORS: About = About::counter(
    "mtuscope_probe_errors_total",
    &["reason"],
    "Packets and messages that failed or were not taken: malformed and netlink_malformed could not be read, unmatched \
     belong to no probe or came too late, forged bear the wrong sender or cookie, send_failed the kernel refused to send. \
     No verdict rests on any of them.",
);

pub(super) const TRANSFER_STALLS: About = About::counter(
    "mtuscope_transfer_stalls_total",
    &[],
    "TCP transfers with peers' agents through a tunnel that stopped half-way. ICMP passes and TCP does not: suspect \
     checksum offload of the tunnel, and see overlay-transfer-stalls.",
);

pub(super) const RECOMMENDED_OVERLAY_MTU: About = About::gauge(
    "mtuscope_recommended_overlay_mtu_bytes",
    LINK,
    "Largest MTU that a tunnel can have on every path measured, paths that a finding blames left out. If it is below the \
     tunnel's MTU, configure the CNI with it. Absent until a path was measured.",
);

pub(super) const LINK_MTU: About = About::gauge(
    "mtuscope_link_mtu_bytes",
    LINK_ROLE,
    "MTU of a link that packets between nodes cross: underlay, bridge or tunnel. It should be the same on all nodes of a \
     network. Absent if the link is gone, or has another role.",
);

pub(super) const LINK_UP: About = About::gauge(
    "mtuscope_link_up",
    LINK_ROLE,
    "1 if a link is set up and has carrier, else 0. At 0 nothing passes it: ip -d link show on the node, then cable and \
     switch port. Absent if the link is gone, or has another role.",
);

pub(super) const POD_LINKS: About = About::gauge(
    "mtuscope_pod_links",
    &["mtu", "end"],
    "Number of pods' links whose end in the node (host) or in the pod has this MTU. A pod keeps the MTU that it was made \
     with until it is made anew. Ends in pods are absent where the agent may not read them (NET_ADMIN).",
);

pub(super) const TUNNEL: About = About::info(
    "mtuscope_tunnel_info",
    &["link", "kind", "id", "port", "df"],
    "Always 1: kind, network identifier, UDP port and DF setting of a tunnel. They should be the same on all nodes. A \
     label is empty where the tunnel has no such parameter. Absent if the tunnel is gone.",
);

pub(super) const TUNNEL_OVERHEAD: About = About::gauge(
    "mtuscope_tunnel_overhead_bytes",
    LINK,
    "Bytes that a tunnel adds to each packet. Absent if not known, as with IPsec.",
);

pub(super) const TUNNEL_HEADROOM: About = About::gauge(
    "mtuscope_tunnel_headroom_bytes",
    LINK,
    "What is left of the lower link's MTU after a tunnel's MTU and overhead. Below 0 packets of full size do not fit: \
     lower the tunnel's MTU or raise the link's. Absent where the tunnel has no MTU of its own, or no known lower link.",
);

pub(super) const SETTING: About = About::gauge(
    "mtuscope_setting",
    &["name", "link"],
    "A kernel setting as it takes effect, so of rp_filter the larger of the link's and that of all. The link is empty for \
     the machine's own, and pods for all pods' links. Absent if it could not be read; a wrong one is a finding.",
);

pub(super) const NEIGHBOUR_ENTRIES: About = About::gauge(
    "mtuscope_neighbour_entries",
    FAMILY,
    "Neighbour entries of the whole machine that garbage collection may take; permanent ones and those of a control \
     plane do not count. Near mtuscope_neighbour_limit new neighbours are refused. Absent if the table could not be read, \
     and for an unused family.",
);

pub(super) const NEIGHBOUR_LIMIT: About = About::gauge(
    "mtuscope_neighbour_limit",
    FAMILY,
    "Most such neighbour entries that the machine keeps: gc_thresh3 of sysctl net.ipv4.neigh.default or \
     net.ipv6.neigh.default. Absent as mtuscope_neighbour_entries is.",
);

pub(super) const NEIGHBOUR_TABLE_FULL: About = About::counter(
    "mtuscope_neighbour_table_full_total",
    FAMILY,
    "Neighbour entries refused because the table was full; each was a packet that could not leave. If it rises, raise \
     gc_thresh3, see neighbour-table-full. Absent as mtuscope_neighbour_entries is.",
);

pub(super) const CONNTRACK_ENTRIES: About = About::gauge(
    "mtuscope_conntrack_entries",
    &[],
    "Connections that the kernel tracks in this network namespace. Near mtuscope_conntrack_limit new connections are \
     dropped, and old ones go on. Absent where nothing is tracked.",
);

pub(super) const CONNTRACK_LIMIT: About = About::gauge(
    "mtuscope_conntrack_limit",
    &[],
    "Most connections that the kernel tracks: sysctl net.netfilter.nf_conntrack_max. Absent where nothing is tracked.",
);

pub(super) const KERNEL_EVENTS: About = About::counter(
    "mtuscope_kernel_events_total",
    &["name"],
    "Counters of the kernel that rise when it drops or spoils packets, by name. A rate above 0 is a lead, not yet a \
     fault: rp_filter, fragmentation, checksums and connection tracking have findings of their own. Absent if they could \
     not be read, and for an unused IP family.",
);

pub(super) const PEERS: About = About::gauge(
    "mtuscope_peers",
    SOURCE,
    "Peers that a source names: static is the configuration, kernel the tunnel's own tables, kubernetes the API. 0 of all \
     of them means that nothing is probed. A source that is not asked is absent.",
);

pub(super) const PEER_SOURCE_LAST_SUCCESS: About = About::gauge(
    "mtuscope_peer_source_last_success_timestamp_seconds",
    SOURCE,
    "When a source of peers last answered, in seconds since 1970. While it is old the last known peers are probed and new \
     ones are missed. Absent if it never answered.",
);

pub(super) const SOURCE_SUCCESS: About = About::gauge(
    "mtuscope_source_success",
    SOURCE,
    "1 if a source of facts could be read whole the last time, else 0; the other sources go on without it. At 0 checks \
     that rest on it are not concluded, and /report says why. Absent where the source was not given to the agent.",
);

pub(super) const SOURCE_DURATION: About = About::gauge(
    "mtuscope_source_duration_seconds",
    SOURCE,
    "How long reading a source of facts took the last time. Seconds mean a crowded or sick kernel, and rounds that come \
     late. Absent for what is told and not read: events, kubernetes; probes take mtuscope_round_duration_seconds.",
);

pub(super) const NETLINK_OVERRUNS: About = About::counter(
    "mtuscope_netlink_overruns_total",
    &[],
    "Times that the kernel told of changes faster than they were taken. Nothing is missed, everything is then read anew; \
     a steady rate means that something on the node changes links or routes all the time.",
);

pub(super) const PROBE_INTERVAL: About = About::gauge(
    "mtuscope_probe_interval_seconds",
    &[],
    "Time between the starts of two rounds, as configured. Absent before the first round.",
);

pub(super) const ROUND_DURATION: About = About::gauge(
    "mtuscope_round_duration_seconds",
    &[],
    "How long the last round took. Above mtuscope_probe_interval_seconds rounds come late. Absent before the first round \
     has ended.",
);

pub(super) const LAST_ROUND: About = About::gauge(
    "mtuscope_last_round_timestamp_seconds",
    &[],
    "When the last round ended, in seconds since 1970. Older than a few intervals: the agent hangs or starves, and all \
     other values are as old. Absent before the first round has ended.",
);

pub(super) const CONFIG_SUCCESSFUL: About = About::gauge(
    "mtuscope_config_last_reload_successful",
    &[],
    "1 if the configuration was good the last time it was read, else 0. At 0 the one before stays in force; the log names \
     file, line and what is allowed.",
);

pub(super) const CONFIG_SUCCESS: About = About::gauge(
    "mtuscope_config_last_reload_success_timestamp_seconds",
    &[],
    "When the configuration in force was taken up, in seconds since 1970.",
);

pub(super) const SERIES_SUPPRESSED: About = About::gauge(
    "mtuscope_series_suppressed",
    &[],
    "Series left out because a limit was reached, so that a broken cluster does not flood Prometheus. Above 0 the worst \
     are shown and /report has the rest; metrics.named_peers and metrics.findings of the configuration are the limits.",
);

pub(super) const BUILD: About = About::info(
    "mtuscope_build_info",
    &["version", "revision", "vantage"],
    "Always 1: version and commit of this agent, and whether it looks from a node or from a pod. Two versions long after \
     a roll-out are a pod that was not replaced.",
);

pub(super) const PROCESS_CPU: About = About::counter(
    "process_cpu_seconds_total",
    &[],
    "Processor time that this agent has used, user and system, in seconds.",
);

pub(super) const PROCESS_START_TIME: About = About::gauge(
    "process_start_time_seconds",
    &[],
    "When this agent started, in seconds since 1970. Each change is a restart: see kubectl logs --previous.",
);

pub(super) const PROCESS_RESIDENT_MEMORY: About = About::gauge(
    "process_resident_memory_bytes",
    &[],
    "Resident memory of this agent. At the container's limit the kernel kills it.",
);

pub(super) const PROCESS_VIRTUAL_MEMORY: About =
    About::gauge("process_virtual_memory_bytes", &[], "Address space of this agent; most of it is never used.");

pub(super) const PROCESS_OPEN_FDS: About = About::gauge(
    "process_open_fds",
    &[],
    "Open files and sockets of this agent. At process_max_fds it can neither answer nor probe.",
);

pub(super) const PROCESS_MAX_FDS: About =
    About::gauge("process_max_fds", &[], "Most files and sockets that this agent may have open.");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_tells_type_and_unit_as_prometheus_has_it() {
        for about in ALL {
            let (name, family) = (about.name, about.family());
            let own = name.strip_prefix("mtuscope_").or(name.strip_prefix("process_")).expect("a known prefix");
            assert!(own.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert_eq!(name.ends_with("_total"), about.kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_info"), about.kind == Kind::Info, "{name}");
            assert_eq!(about.unit().is_some(), family.ends_with("_bytes") || family.ends_with("_seconds"), "{name}");
            let sized = ["mtu", "headroom", "overhead", "duration", "timestamp", "interval", "memory"];
            let measured = sized.iter().any(|word| own.split('_').any(|part| part == *word));
            assert!(!measured || about.unit().is_some(), "{name} measures something and has no unit");
            for word in ["gauge", "counter", "histogram", "secs", "ms", "milliseconds"] {
                assert!(!name.split('_').any(|part| part == word), "{name} holds {word}");
            }
        }
        let names: BTreeSet<_> = ALL.iter().map(|about| about.name).collect();
        assert_eq!(names.len(), ALL.len(), "no name twice");
    }

    /// Fails where a text is a heading and not a sentence, says nothing but the name, or breaks a format's line.
    #[test]
    fn a_help_text_is_sentences_that_say_more_than_the_name() {
        for About { name, help, .. } in ALL {
            assert!(help.ends_with('.') && help.starts_with(|c: char| c.is_uppercase() || c.is_numeric()), "{name}");
            assert!(!help.contains(['\n', '\\', '"', '`']) && !help.contains("  "), "{name}: {help:?}");
            assert!((30..=420).contains(&help.len()), "{name}: {} characters", help.len());
            assert!(help.split(' ').count() > name.split('_').count(), "{name}: {help}");
        }
        let texts: BTreeSet<_> = ALL.iter().map(|about| about.help).collect();
        assert_eq!(texts.len(), ALL.len(), "no text twice");
    }

    /// Whoever is told of a metric in a help text has to find it.
    #[test]
    fn metrics_that_a_help_text_names_exist() {
        let known: BTreeSet<_> = ALL.iter().map(|about| about.name).collect();
        for About { name, help, .. } in ALL {
            let words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let mut named = words.filter(|word| word.starts_with("mtuscope_") || word.starts_with("process_"));
            assert!(named.all(|word| known.contains(word)), "{name}: {help}");
        }
    }

    /// A row of README's table: the metrics, their type and labels.
    type Row<'r> = (Vec<&'r str>, &'r str, Vec<&'r str>);

    fn readme() -> Vec<Row<'static>> {
        let readme = include_str!("../../../../README.md");
        let (_, rest) = readme.split_once("\n### Metrics\n").expect("README has a section on metrics");
        let section = rest.split("\n#").next().expect("it has a beginning");
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let quoted = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        let row = |line: &'static str| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            (quoted(cells[1]), cells[2], quoted(cells[3]))
        };
        rows.map(row).collect()
    }

    /// Fails where a metric is added, removed, renamed or gets other labels, and README does not say so; and the other way.
    #[test]
    fn readme_s_table_and_the_metrics_are_the_same() {
        let kind = |kind: Kind| format!("{kind:?}").to_lowercase();
        let mut told = BTreeSet::new();
        for (names, of, labels) in readme() {
            for name in names {
                let own = |about: &&About| about.name.trim_start_matches("mtuscope_") == name;
                let about = ALL.iter().find(own).unwrap_or_else(|| panic!("README names {name}, which there is not"));
                assert_eq!((of, &labels[..]), (&*kind(about.kind), about.labels), "{name}");
                assert!(told.insert(about.name), "{name} has two rows");
            }
        }
        let missing: Vec<_> = ALL.iter().filter(|about| !told.contains(about.name)).map(|about| about.name).collect();
        assert!(missing.is_empty(), "README does not name {missing:?}");
    }
}
