//! Which settings differ, and how much that matters.

use crate::checks::Judgement;
use crate::checks::kernel::{bridge_netfilter_off, ip_forward_off};
use crate::declared::sysctl::{KNOWN, Key, Line, Setting, Written, alike, is_on, number};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::Link;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::snapshot::setup::Cni;
use crate::subject::Subject;
use crate::units::Family;

use super::Evidence;

pub(super) fn all(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
    node.tables.links.read()?;
    let mut judgement = Judgement::default();
    for (text, wanted) in &node.expect.sysctls {
        let Some(key) = Key::parse(text) else { continue };
        take(&mut judgement, &key, expected(node, &key, wanted));
    }
    let read = |look: &dyn Fn(&Written) -> Found| node.tables.written.read()?.map_or(Ok(None), look);
    for setting in &KNOWN {
        let names = setting.keys();
        let Some(key) = names.first().filter(|_| !is_taken(&judgement, &names)) else { continue };
        take(&mut judgement, key, read(&|written| by_files(node, setting, &names, written)));
    }
    for link in node.tables.links().iter().filter(|link| is_the_hosts(node, link)) {
        let key = link_filter(link).filter(|key| !is_taken(&judgement, std::slice::from_ref(key)));
        let Some(key) = key else { continue };
        take(&mut judgement, &key, read(&|written| filter(node, link, &key, written)));
    }
    Ok(judgement)
}

type Found = Result<Option<(Severity, Evidence)>, Unread>;

fn take(judgement: &mut Judgement<Evidence>, key: &Key, found: Found) {
    let subject = Subject::Sysctl(key.to_string());
    match found {
        Ok(Some((severity, evidence))) => judgement.raise(subject, severity, evidence),
        Ok(None) => {}
        Err(why) => judgement.unread.push((subject, why)),
    }
}

/// Whether a setting was found to be other than the operator expects, or could not be looked at.
fn is_taken(judgement: &Judgement<Evidence>, names: &[Key]) -> bool {
    let is_it = |subject: &Subject| names.iter().any(|name| *subject == Subject::Sysctl(name.to_string()));
    judgement.raised.iter().any(|raised| is_it(&raised.subject))
        || judgement.unread.iter().any(|(subject, _)| is_it(subject))
}

/// What the operator's word is worth.
fn expected(node: &Snapshot, key: &Key, wanted: &str) -> Found {
    if key.of_link().is_some_and(|(link, _)| node.tables.link_named(link).is_none()) {
        // One configuration serves nodes with other links.
        return Ok(None);
    }
    let value = value(node, key)?;
    if value.as_deref().is_some_and(|value| same(is_switch(key), value, wanted)) {
        return Ok(None);
    }
    let names = Setting::with(&key.to_string()).map_or_else(|| vec![key.clone()], Setting::keys);
    // What files say is told where it is known; the operator's word counts without.
    let lines = node.tables.written.known().and_then(|written| written.lines(&names).ok()).unwrap_or_default();
    let evidence = Evidence { key: key.to_string(), value, expected: Some(wanted.to_owned()), lines, at_risk: false };
    Ok(Some((Severity::Warning, evidence)))
}

/// What a setting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Pods of this machine need it on.
    Pods,
    /// Packets hang on it.
    Some,
    /// It bears on nothing here, or somebody else keeps it.
    Nothing,
}

fn need(node: &Snapshot, key: &Key) -> Result<Need, Unread> {
    let pods = |family| -> Result<Need, Unread> {
        let six = || node.peers.iter().flat_map(|peer| &peer.pods).any(std::net::IpAddr::is_ipv6);
        let forwards = ip_forward_off::forwards_for_pods(node) && (family == Family::Ipv4 || six());
        Ok(if forwards { Need::Pods } else { Need::Some })
    };
    let bridge = |family| Ok(if bridge_netfilter_off::concerns(node, family)? { Need::Pods } else { Need::Nothing });
    match key.path() {
        "net/ipv4/ip_forward" => pods(Family::Ipv4),
        "net/ipv6/conf/all/forwarding" => pods(Family::Ipv6),
        "net/bridge/bridge-nf-call-iptables" => bridge(Family::Ipv4),
        "net/bridge/bridge-nf-call-ip6tables" => bridge(Family::Ipv6),
        "net/netfilter/nf_conntrack_max" if ip_forward_off::forwards_for_pods(node) => Ok(Need::Nothing),
        _ if key.name() == "rp_filter" && keeps_filters(node) => Ok(Need::Nothing),
        _ => Ok(Need::Some),
    }
}

/// Whether the CNI sets `rp_filter` of links that are not its own.
fn keeps_filters(node: &Snapshot) -> bool {
    node.setup.cni == Cni::Cilium || node.tables.link_named("bpfin.cali").is_some()
}

fn by_files(node: &Snapshot, setting: &Setting, names: &[Key], written: &Written) -> Found {
    let Some(key) = names.first() else { return Ok(None) };
    let need = need(node, key)?;
    if need == Need::Nothing {
        return Ok(None);
    }
    let lines = written.lines(names)?;
    if lines.is_empty() {
        return Ok(None);
    }
    let Some(value) = value(node, key)? else { return Ok(None) };
    if lines.iter().any(|line| same(setting.switch, &value, &line.value)) || is_open(node, key, &value) {
        return Ok(None);
    }
    let agreed = lines.iter().all(|line| line.read_by.len() > 1);
    let severity = if agreed && need == Need::Pods { Severity::Warning } else { Severity::Info };
    let at_risk = need == Need::Pods && setting.switch && is_on(&value) == Some(true);
    Ok(Some((severity, Evidence { key: key.to_string(), value: Some(value), expected: None, lines, at_risk })))
}

/// The value of `rp_filter` that drops packets: of what is off or loose, files may say what they like.
const STRICT: i64 = 1;

/// Whether a setting is a filter that lets pass what links themselves do not hold back. That of `all` is loose for every
/// link when it is 2, so without it strict links drop.
fn is_open(node: &Snapshot, key: &Key, value: &str) -> bool {
    let strict = |link: &Link| link.inet.is_some_and(|inet| i64::from(inet.rp_filter) == STRICT);
    let held_open = key.path() == "net/ipv4/conf/all/rp_filter" && node.tables.links().iter().any(strict);
    key.name() == "rp_filter" && !held_open && number(value).is_some_and(|value| value != STRICT)
}

/// A link whose `rp_filter` no CNI has a hand in: peers are reached by it, and it is no port of a bridge, whose packets
/// come in by the bridge.
fn is_the_hosts(node: &Snapshot, link: &Link) -> bool {
    let pods = || bridge_netfilter_off::pods_on(node, link) > 0;
    link.master.is_none() && matches!(node.topology.role(link.index), Role::Underlay | Role::Bridge) && !pods()
}

fn link_filter(link: &Link) -> Option<Key> {
    Key::parse(&format!("net/ipv4/conf/{}/rp_filter", link.name))
}

fn filter(node: &Snapshot, link: &Link, key: &Key, written: &Written) -> Found {
    let lines = written.lines(std::slice::from_ref(key))?;
    if lines.is_empty() || need(node, key)? == Need::Nothing {
        return Ok(None);
    }
    let all = node.tables.rp_filter_all.read()?.copied().unwrap_or_default();
    let Some(effective) = node.tables.rp_filter(link).read()?.copied() else { return Ok(None) };
    let meant = |line: &Line| line.value.split_whitespace().next().and_then(number).map(|value| value.max(all));
    if effective != STRICT || lines.iter().any(|line| meant(line) == Some(effective)) {
        return Ok(None);
    }
    let value = Some(effective.to_string());
    Ok(Some((Severity::Info, Evidence { key: key.to_string(), value, expected: None, lines, at_risk: false })))
}

fn is_switch(key: &Key) -> bool {
    Setting::with(&key.to_string()).is_some_and(|setting| setting.switch)
}

fn same(switch: bool, value: &str, written: &str) -> bool {
    let both = || Some(is_on(value)? == is_on(written)?);
    alike(value, written) || switch && both() == Some(true)
}

/// What the kernel has. Where the catalogue looks at a setting already, it is that reading.
fn value(node: &Snapshot, key: &Key) -> Result<Option<String>, Unread> {
    let tables = &node.tables;
    let shown = |value: &Fact<i64>| value.clone().map(|value| value.to_string());
    let value = match key.path() {
        "net/ipv4/ip_forward" => shown(&tables.ip_forward),
        "net/ipv4/ip_no_pmtu_disc" => shown(&tables.no_pmtu_disc),
        "net/ipv4/conf/all/rp_filter" => shown(&tables.rp_filter_all),
        "net/bridge/bridge-nf-call-iptables" => shown(&tables.bridge_nf_iptables),
        "net/bridge/bridge-nf-call-ip6tables" => shown(&tables.bridge_nf_ip6tables),
        _ => tables.values.get(key).cloned().unwrap_or(Fact::Unread(NOT_YET)),
    };
    let missing = match (key.path().split('/').nth(1), key.name()) {
        (Some("bridge"), name) if name.starts_with("bridge-nf-") => Some("0"),
        (Some("ipv6"), "disable_ipv6") => Some("1"),
        _ => None,
    };
    Ok(value.read()?.cloned().or_else(|| missing.map(str::to_owned)))
}

/// An order that came since the last reading.
const NOT_YET: Unread = Unread::new(Source::Settings, Reason::NotYet);
