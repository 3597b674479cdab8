//! The keys of the configuration, their ranges and their defaults.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use probes::config::{Expect, Peers, Prefix, Probing, StaticPeer};
use probes::declared::sysctl::Key;
use probes::path::SOURCES;
use probes::report::Vantage;
use probes::units::{Dual, Family, IpSize};

use super::kubernetes::{Kubernetes, kubernetes};
use super::reader::{Reader, Section, text};
use super::tree::{At, Node, Value};
use super::{Problem, Settings, surface};

/// Longest name that is taken: that of a DNS name, which Kubernetes node names are.
const NAME_BYTES: usize = 253;

/// An IPv4 link carries at least 68 bytes (RFC 791), and 16 bits describe a packet's length.
const MTU: std::ops::RangeInclusive<u32> = 68..=65_535;

/// Settings from the tree. Where `problems` is not empty afterwards, they mean nothing.
pub(super) fn settings(root: &Node, node: String, problems: &mut Vec<Problem>) -> Settings {
    let reader = &mut Reader::new(problems);
    let keys = ["node", "vantage", "listen", "host_root", "peers", "probing", "expect", "metrics", "web", "agents"];
    let top = reader.section("", Some(root), &keys);
    let mut settings = Settings::new(reader.parsed(&top, "node", "a name", name).unwrap_or(node));
    if let Some(listen) = reader.parsed(&top, "listen", "an address and port such as \"[::]:9747\"", listen) {
        settings.listen = listen;
    }
    if let Some(root) = reader.parsed(&top, "host_root", "an absolute path", absolute) {
        settings.host_root = root;
    }
    if let Some(vantage) = reader.parsed(&top, "vantage", "node or pod", vantage) {
        settings.probes.vantage = vantage;
    }
    (settings.probes.peers, settings.kubernetes) = peers(reader, &top);
    probing(reader, &top, &mut settings);
    settings.probes.expect = expect(reader, &top);
    metrics(reader, &top, &mut settings);
    settings.web = surface::web(reader, &top, settings.listen);
    settings.agents = surface::agents(reader, &top);
    settings
}

fn name(text: &str) -> Option<String> {
    let fits = !text.trim().is_empty() && text.len() <= NAME_BYTES && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn vantage(text: &str) -> Option<Vantage> {
    match text {
        "node" => Some(Vantage::Node),
        "pod" => Some(Vantage::Pod),
        _ => None,
    }
}

fn listen(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

fn absolute(text: &str) -> Option<PathBuf> {
    Path::new(text).is_absolute().then(|| PathBuf::from(text))
}

fn probing(reader: &mut Reader<'_>, top: &Section<'_>, settings: &mut Settings) {
    let keys = ["interval", "confirm_rounds", "packets_per_second", "transfers", "stable_peers", "ecmp_ports"];
    let section = reader.section("probing", top.find("probing"), &keys);
    let default = Probing::default();
    let hour = Duration::from_secs(3600);
    settings.probes.probing = Probing {
        interval: reader.duration(&section, "interval", Duration::from_secs(1)..=hour).unwrap_or(default.interval),
        confirm_rounds: reader.number(&section, "confirm_rounds", 1..=10).unwrap_or(default.confirm_rounds),
        packets_per_second: reader
            .number(&section, "packets_per_second", 1..=100_000)
            .unwrap_or(default.packets_per_second),
        transfers: reader.flag(&section, "transfers").unwrap_or(default.transfers),
        stable_peers: reader.number(&section, "stable_peers", 0..=1000).or(default.stable_peers),
        ecmp_ports: ecmp_ports(reader, &section).unwrap_or(default.ecmp_ports),
    };
}

fn ecmp_ports(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<u16> {
    reader.number(section, "ecmp_ports", 0..=u32::from(SOURCES)).and_then(|ports| ports.try_into().ok())
}

fn metrics(reader: &mut Reader<'_>, top: &Section<'_>, settings: &mut Settings) {
    let section = reader.section("metrics", top.find("metrics"), &["named_peers", "findings"]);
    if let Some(most) = reader.number(&section, "named_peers", 0..=100) {
        settings.metrics.named_peers = most as usize;
    }
    if let Some(most) = reader.number(&section, "findings", 0..=500) {
        settings.metrics.findings = most as usize;
    }
}

fn expect(reader: &mut Reader<'_>, top: &Section<'_>) -> Expect {
    let keys = ["underlay_mtu", "overlay_mtu", "underlay_network", "sysctls"];
    let section = reader.section("expect", top.find("expect"), &keys);
    let underlay = reader.number(&section, "underlay_mtu", MTU);
    let overlay = reader.number(&section, "overlay_mtu", MTU);
    if let (Some(underlay), Some(overlay), Some(node)) = (underlay, overlay, section.find("overlay_mtu"))
        && overlay > underlay
    {
        let what = format!("expect.overlay_mtu ({overlay}) must be no larger than expect.underlay_mtu ({underlay})");
        reader.refuse(node.at, what);
    }
    Expect {
        underlay_mtu: underlay.map(IpSize::new),
        overlay_mtu: overlay.map(IpSize::new),
        underlay_network: networks(reader, &section),
        sysctls: sysctls(reader, &section),
    }
}

fn networks(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<Prefix> {
    let key = "underlay_network";
    let Some(node) = section.find(key) else { return Vec::new() };
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let parse = |node| reader.parsed_at(section, key, node, "a network such as 10.0.0.0/24", Prefix::parse);
    nodes.iter().filter_map(parse).collect()
}

fn sysctls(reader: &mut Reader<'_>, section: &Section<'_>) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    for entry in reader.map("expect.sysctls", section.find("sysctls")) {
        if !is_sysctl(&entry.key) {
            let what =
                format!("`{}` is no sysctl such as net.ipv4.ip_forward; only keys below net. are read", entry.key);
            reader.refuse(entry.at, what);
        }
        match text(&entry.value) {
            Some(value) if value.trim().is_empty() || value.len() > LONGEST_VALUE => {
                let what = format!("expect.sysctls: {} needs a value of 1 to {LONGEST_VALUE} characters", entry.key);
                reader.refuse(entry.value.at, what);
            }
            Some(value) => _ = wanted.insert(entry.key.clone(), value.to_owned()),
            None => reader.refuse(entry.value.at, format!("expect.sysctls: {} needs one value", entry.key)),
        }
    }
    wanted
}

/// Longest value that is expected of a sysctl; of one that is longer, the kernel shows several lines.
const LONGEST_VALUE: usize = 1024;

/// Only `net.` keys bear on paths. What is no key below `/proc/sys/net`, or would climb out of it, is none.
fn is_sysctl(key: &str) -> bool {
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '@');
    key.starts_with("net.") && key.chars().all(usual) && Key::parse(key).is_some()
}

fn peers(reader: &mut Reader<'_>, top: &Section<'_>) -> (Peers, Option<Kubernetes>) {
    let section = reader.section("peers", top.find("peers"), &["kernel", "kubernetes", "static"]);
    let default = Peers::default();
    let kernel = reader.flag(&section, "kernel").unwrap_or(default.kernel);
    let kubernetes = kubernetes(reader, &section);
    let fixed = fixed(reader, &section);
    (Peers { kernel, kubernetes: kubernetes.is_some(), fixed, ..default }, kubernetes)
}

fn fixed(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<StaticPeer> {
    let Some(node) = section.find("static") else { return Vec::new() };
    let items = match &node.value {
        Value::Empty => return Vec::new(),
        Value::List(items) => items,
        _ => {
            reader.refuse(node.at, "peers.static must be a list of peers".into());
            return Vec::new();
        }
    };
    let mut seen = Seen::default();
    items.iter().enumerate().filter_map(|(index, item)| peer(reader, index, item, &mut seen)).collect()
}

/// Names and addresses that peers have taken, and where.
#[derive(Default)]
struct Seen {
    names: BTreeMap<String, At>,
    addresses: BTreeMap<(&'static str, IpAddr), At>,
}

fn peer(reader: &mut Reader<'_>, index: usize, item: &Node, seen: &mut Seen) -> Option<StaticPeer> {
    let path = format!("peers.static[{index}]");
    if !matches!(item.value, Value::Map(_)) {
        reader.refuse(item.at, format!("{path} must be a map with a name and addresses"));
        return None;
    }
    let section = reader.section(&path, Some(item), &["name", "underlay", "overlay", "pod"]);
    let underlay = dual(reader, &section, "underlay", seen);
    let overlay = dual(reader, &section, "overlay", seen);
    let pods = addresses(reader, &section, "pod", seen).into_iter().map(|(address, _)| address).collect();
    let is_none = |node: &Node| matches!(&node.value, Value::List(nodes) if nodes.is_empty());
    if ["underlay", "overlay", "pod"].iter().all(|key| section.find(key).is_none_or(is_none)) {
        reader.refuse(item.at, format!("{path} needs at least one address: underlay, overlay or pod"));
    }
    if section.find("name").is_none() {
        reader.refuse(item.at, format!("{path} needs a name"));
    }
    let name = reader.parsed(&section, "name", "a name", name)?;
    let at = section.find("name").map_or(item.at, |node| node.at);
    if let Some(first) = seen.names.insert(name.clone(), at) {
        reader.refuse(at, format!("peer `{name}` is named twice; the first is in line {}", first.line));
    }
    Some(StaticPeer { name, underlay, overlay, pods })
}

/// An address, or a list with one of each family: a path is named by peer, plane and family.
fn dual(reader: &mut Reader<'_>, section: &Section<'_>, key: &'static str, seen: &mut Seen) -> Dual {
    let mut dual = Dual::NONE;
    for (address, at) in addresses(reader, section, key, seen) {
        if let Some(first) = dual.of(Family::of(address)) {
            let key = section.name(key);
            reader.refuse(at, format!("{key} must be one address of each family, found {address} beside {first}"));
        }
        dual = dual.or(address.into());
    }
    dual
}

fn addresses(reader: &mut Reader<'_>, section: &Section<'_>, key: &'static str, seen: &mut Seen) -> Vec<(IpAddr, At)> {
    let Some(node) = section.find(key) else { return Vec::new() };
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    nodes.iter().filter_map(|node| Some((address(reader, section, key, node, seen)?, node.at))).collect()
}

fn address(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &'static str,
    node: &Node,
    seen: &mut Seen,
) -> Option<IpAddr> {
    let address = reader.address(section, key, node)?;
    if let Some(first) = seen.addresses.insert((key, address), node.at) {
        reader.refuse(node.at, format!("{key} address {address} is given twice; the first is in line {}", first.line));
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn problems(text: &str) -> String {
        let problems = Settings::parse(text, "here".into()).expect_err("a problem");
        let error = super::super::ConfigError::new(Path::new("mtuscope.yaml"), problems);
        error.to_string()
    }

    #[test]
    fn every_key_arrives() {
        let text = super::super::every_key();
        let settings = Settings::parse(&text, "here".into()).unwrap();
        let peer = StaticPeer {
            name: "master-2".into(),
            underlay: Dual { v4: Some([10, 0, 0, 12].into()), v6: "fd00::12".parse().ok() },
            overlay: Dual { v4: Some([10, 244, 2, 0].into()), v6: None },
            pods: vec![[10, 244, 2, 2].into(), [10, 244, 2, 3].into()],
        };
        let lone = StaticPeer {
            name: "master-3".into(),
            underlay: Dual::NONE,
            overlay: Dual { v4: None, v6: "fd00:244:3::".parse().ok() },
            pods: vec!["fd00:244:3::2".parse().unwrap()],
        };
        let mut wanted = Settings::new("master-1");
        wanted.probes.vantage = Vantage::Pod;
        wanted.listen = "192.0.2.1:9000".parse().unwrap();
        wanted.host_root = "/host".into();
        let on = cfg!(feature = "kubernetes");
        wanted.probes.peers = Peers { kernel: false, kubernetes: on, fixed: vec![peer, lone], ..Peers::default() };
        wanted.kubernetes = on.then(|| Kubernetes { namespace: Some("net".into()), ..Kubernetes::default() });
        wanted.probes.probing = Probing {
            interval: Duration::from_secs(90),
            confirm_rounds: 3,
            packets_per_second: 500,
            transfers: false,
            stable_peers: Some(30),
            ecmp_ports: 16,
        };
        wanted.probes.expect = Expect {
            underlay_mtu: Some(IpSize::new(1500)),
            overlay_mtu: Some(IpSize::new(1450)),
            underlay_network: Prefix::parse("10.0.0.0/24").into_iter().chain(Prefix::parse("fd00:1::/64")).collect(),
            sysctls: [("net.ipv4.ip_forward".into(), "1".into()), ("net.ipv4.conf.all.rp_filter".into(), "2".into())]
                .into(),
        };
        wanted.metrics = super::super::MetricLimits { named_peers: 10, findings: 20 };
        wanted.web = surface::Web {
            config_file: Some("/etc/mtuscope/web.yaml".into()),
            bearer_token_files: vec!["/etc/mtuscope/tokens/people".into(), "/etc/mtuscope/tokens/agents".into()],
            metrics: Some(surface::WebMetrics {
                config_file: Some("/etc/mtuscope/metrics.yaml".into()),
                bearer_token_files: vec!["/etc/mtuscope/tokens/prometheus".into()],
                open: false,
            }),
            health_listen: Some("127.0.0.1:9748".parse().unwrap()),
        };
        wanted.agents = surface::Agents {
            tls: Some(surface::AgentsTls {
                ca_file: "/etc/mtuscope/tls/ca.crt".into(),
                server_name: Some("mtuscope.mtuscope.svc".into()),
                certificate: Some(("/etc/mtuscope/tls/tls.crt".into(), "/etc/mtuscope/tls/tls.key".into())),
            }),
            credentials: Some(surface::AgentsCredentials::User {
                username: "agent".into(),
                password_file: "/etc/mtuscope/password".into(),
            }),
        };
        assert_eq!(settings, wanted);
    }

    #[test]
    fn sections_without_content_are_defaults() {
        let text = "peers:\nprobing:\nexpect:\n  sysctls:\nmetrics: {}\n";
        assert_eq!(Settings::parse(text, "here".into()), Ok(Settings::new("here")));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        assert_snapshot!(problems(include_str!("every_problem.yaml")));
    }

    #[test]
    fn the_wrong_kind_of_document_is_one_problem() {
        let map = "must be a map of keys and values, found";
        assert_eq!(problems("- a\n- b\n"), format!("mtuscope.yaml:1:1: the configuration {map} a list"));
        assert_eq!(problems("just words\n"), format!("mtuscope.yaml:1:1: the configuration {map} `just words`"));
    }

    #[test]
    fn the_ends_of_a_range_are_inside() {
        for (text, good) in [
            ("probing: { interval: 1s }", true),
            ("probing: { interval: 999ms }", false),
            ("probing: { interval: 1h }", true),
            ("probing: { interval: 1h1ms }", false),
            ("probing: { confirm_rounds: 0 }", false),
            ("probing: { confirm_rounds: 10 }", true),
            ("probing: { packets_per_second: 100000 }", true),
            ("probing: { packets_per_second: 100001 }", false),
            ("probing: { packets_per_second: 99999999999999999999 }", false),
            ("peers: { static: [{ name: a, underlay: [10.0.0.1, 'fd00::1'], overlay: ['fd00:1::'] }] }", true),
            ("peers: { static: [{ name: a, underlay: ['fd00::1', 'fd00::2'] }] }", false),
            ("peers: { static: [{ name: a, underlay: [] }] }", false),
            ("expect: { underlay_mtu: 68 }", true),
            ("expect: { underlay_mtu: 67 }", false),
            ("expect: { underlay_mtu: 1500, overlay_mtu: 1500 }", true),
            ("expect: { underlay_mtu: 1500, overlay_mtu: 1501 }", false),
            ("expect: { underlay_network: 10.0.0.0/24 }", true),
            ("expect: { underlay_network: [10.0.0.0/24, 10.0.1.0/24] }", true),
            ("expect: { underlay_network: 10.0.0.12/24 }", false),
            ("expect: { underlay_network: [vmbr1] }", false),
            ("expect: { sysctls: { net..x: 1 } }", false),
            ("expect: { sysctls: { net.ipv4.conf.eth0/100.rp_filter: 1 } }", true),
            ("expect: { sysctls: { kernel.panic: 1 } }", false),
            ("expect: { sysctls: { net.ipv4.//.x: 1 } }", false),
            ("expect: { sysctls: { net.ipv4./.x: 1 } }", false),
            ("expect: { sysctls: { net/ipv4/ip_forward: 1 } }", false),
            ("expect: { sysctls: { net.ipv4.conf.*.rp_filter: 1 } }", false),
            ("expect: { sysctls: { net.ipv4.ip_forward: '' } }", false),
            ("expect: { sysctls: { net.ipv4.tcp_rmem: 4096 131072 6291456 } }", true),
        ] {
            assert_eq!(Settings::parse(text, "here".into()).is_ok(), good, "{text}");
        }
    }
}
