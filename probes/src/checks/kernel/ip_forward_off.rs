//! Forwarding switched off on a machine that forwards for pods.
//!
//! The tunnel address still answers, since that is the machine itself; pods behind it do not, and no ICMP error tells.
//! It is lost by a network restart or a hardening script. A machine without pods and without a tunnel that carries
//! them forwards for nobody, and may have it off.
//!
//! Which of the values decides was measured (Linux 6.18):
//! - *IPv4*: the link that a packet comes in by, and nothing else. `net.ipv4.ip_forward` is `conf.all.forwarding`; to
//!   change it writes it to every link, and to `default` for links to come, and that is all it does. So with 0 in `all`
//!   packets pass where every link's own value is 1 (Felix writes it to each pod's link), and with 1 in `all` a link with
//!   0 passes nothing on, whatever is written to `ip_forward` again.
//! - *IPv6*: `net.ipv6.conf.all.forwarding`. A link's own value makes it a router's or a host's, which is a matter of
//!   router advertisements, and stops no packet. Since Linux 6.17 a link's `force_forwarding` passes on what comes in by
//!   it where `all` is 0.
//!
//! So the links that pods' packets come in by are looked at ([`entries`]). One with 0 while `ip_forward` is 1 is critical
//! if packets of pods come in by it as they are, and a warning if only answers from the world do. Where `ip_forward` is
//! 0, that is the finding, and links are not counted up. IPv6 matters only where pods speak it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::SysctlDrift;
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::Link;
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::snapshot::entries::{Whose, entries};
use crate::subject::Subject;
use crate::units::Family;

/// The rule.
#[derive(Debug)]
pub struct IpForwardOff;

/// The setting, and who needs it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The setting: the one for all links, or `LINK` in place of the links below.
    pub setting: String,
    /// Its value.
    pub value: i64,
    /// Number of pod links on this machine.
    pub pod_links: usize,
    /// Tunnels that carry pods' packets.
    pub tunnels: Vec<String>,
    /// Links that pods' packets come in by and that do not forward, where that is a matter of each link. Pods' own are
    /// counted below.
    pub links: Vec<String>,
    /// Number of pods' own links that do not forward, where that is a matter of each link.
    pub pod_links_off: usize,
    /// A few of these.
    pub pod_links_seen: Vec<String>,
}

impl Check for IpForwardOff {
    const ENTRY: Entry = Entry {
        code: "ip-forward-off",
        area: Area::Kernel,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "one link does not forward, which only answers from the world come in by",
            "nothing is forwarded, or not what comes in by a link of pods or of the tunnel",
        ],
        title: "forwarding is off",
        meaning: "The kernel forwards nothing between pods, tunnel and network, or nothing of what comes in by one of \
                  their links, so pods of this node do not reach other nodes or are not reached from them. Packets are \
                  dropped without an ICMP error.",
        quiet: "a machine without pods and without a tunnel for them forwards for nobody; IPv6 counts only where pods \
                speak it",
        look: &[
            Look { run: "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding", see: "0" },
            Look {
                run: "sysctl -a --pattern 'net.ipv4.conf.*.forwarding'",
                see: "0 at the link that packets of pods come in by, although `all` is 1",
            },
            Look { run: "nstat -az IpInAddrErrors Ip6InAddrErrors", see: "rises while pods send" },
        ],
        metrics: &["mtuscope_setting{name=\"ip_forward\"} == 0"],
        class: Class::Forwarding,
        silences: &[SysctlDrift::ENTRY.code],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeIpForwardOff", minutes: 1 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        match node.tables.ip_forward.read()? {
            Some(0) => all_links(node, &mut judgement)?,
            Some(_) => each_link(node, &mut judgement)?,
            None => {}
        }
        if let Err(why) = ipv6(node, &mut judgement) {
            judgement.unread.push((IPV6, why));
        }
        Ok(judgement)
    }

    fn summary(subject: &Subject, evidence: &Evidence) -> String {
        let Evidence { setting, value, pod_links_off, .. } = evidence;
        if *subject != LINKS {
            let packet = if setting.contains("ipv6") { "IPv6 packet" } else { "packet" };
            return format!(
                "{setting} is {value} on a node that forwards for {}: no {packet} passes.",
                served(evidence)
            );
        }
        let pods = (*pod_links_off > 0).then(|| words::count(*pod_links_off, "pod link"));
        let links: Vec<_> = evidence.links.iter().cloned().chain(pods).collect();
        format!("Forwarding is off on {}: what comes in there for pods or from them is dropped.", words::list(&links))
    }

    fn fixes(subject: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let on = |key: String| Fix::Sysctl { key, value: "1".into() };
        if *subject != LINKS {
            return vec![on(evidence.setting.clone())];
        }
        let key = |link: &String| words::link_setting("ipv4", link, "forwarding");
        let of_pods: Vec<_> = evidence.pod_links_seen.iter().map(key).collect();
        let of_pods = (!of_pods.is_empty()).then(|| Fix::PodSettings { keys: of_pods, value: "1".into() });
        evidence.links.iter().map(|link| on(key(link))).chain(of_pods).collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            setting: "net.ipv4.ip_forward".into(),
            value: 0,
            pod_links: 14,
            tunnels: vec!["vxlan.calico".into()],
            links: Vec::new(),
            pod_links_off: 0,
            pod_links_seen: Vec::new(),
        };
        (GLOBAL, Severity::Critical, evidence)
    }
}

/// Whether this machine forwards for pods.
pub(super) fn forwards_for_pods(node: &Snapshot) -> bool {
    let evidence = evidence(node, "net.ipv4.ip_forward", 0);
    evidence.pod_links > 0 || !evidence.tunnels.is_empty()
}

const GLOBAL: Subject = Subject::Setting("ip_forward");
const LINKS: Subject = Subject::Setting("forwarding");
const IPV6: Subject = Subject::Setting("ipv6.forwarding");

/// Pods' links that are named.
const FEW: usize = 3;

/// `ip_forward` is 0: nothing passes, unless every link that counts has a value of its own.
fn all_links(node: &Snapshot, judgement: &mut Judgement<Evidence>) -> Result<(), Unread> {
    node.tables.links.read()?;
    let evidence = evidence(node, "net.ipv4.ip_forward", 0);
    if evidence.pod_links == 0 && evidence.tunnels.is_empty() {
        node.tables.routes.read()?;
        return Ok(());
    }
    let entries = entries(node, Family::Ipv4);
    let all_forward = entries.iter().all(|(link, _)| link.inet.is_some_and(|inet| inet.forwarding));
    if entries.is_empty() || !all_forward {
        judgement.raise(GLOBAL, Severity::Critical, evidence);
    }
    Ok(())
}

fn each_link(node: &Snapshot, judgement: &mut Judgement<Evidence>) -> Result<(), Unread> {
    node.tables.links.read()?;
    let off: Vec<_> = entries(node, Family::Ipv4).into_iter().filter(|(link, _)| !forwards(link)).collect();
    if let Some((silent, _)) = off.iter().find(|(link, _)| link.inet.is_none()) {
        let why = format!("{}: the link dump carries no IPv4 settings", silent.name);
        judgement.unread.push((LINKS, Unread::new(Source::Settings, Reason::Unsupported { why })));
        return Ok(());
    }
    if off.is_empty() {
        node.tables.routes.read()?;
        return Ok(());
    }
    let names = |of_pods: bool| {
        let links = off.iter().filter(move |(_, whose)| (*whose == Whose::Pod) == of_pods);
        links.map(|(link, _)| link.name.clone())
    };
    let evidence = Evidence {
        links: names(false).collect(),
        pod_links_off: names(true).count(),
        pod_links_seen: names(true).take(FEW).collect(),
        ..evidence(node, "net.ipv4.conf.LINK.forwarding", 0)
    };
    let of_the_world = off.iter().all(|(_, whose)| *whose == Whose::World);
    judgement.raise(LINKS, if of_the_world { Severity::Warning } else { Severity::Critical }, evidence);
    Ok(())
}

fn forwards(link: &Link) -> bool {
    link.inet.is_some_and(|inet| inet.forwarding)
}

/// # Errors
/// If pods speak IPv6, and the setting could not be read.
fn ipv6(node: &Snapshot, judgement: &mut Judgement<Evidence>) -> Result<(), Unread> {
    let entries = entries(node, Family::Ipv6);
    if entries.is_empty() || node.tables.ipv6_forwarding.read()? != Some(&0) {
        return Ok(());
    }
    let forced = |link: &Link| link.inet6.is_some_and(|inet6| inet6.force_forwarding);
    if !entries.iter().all(|(link, _)| forced(link)) {
        judgement.raise(IPV6, Severity::Critical, evidence(node, "net.ipv6.conf.all.forwarding", 0));
    }
    Ok(())
}

fn served(evidence: &Evidence) -> String {
    let pods = words::count(evidence.pod_links, "pod link");
    words::list(&std::iter::once(&pods).chain(&evidence.tunnels).collect::<Vec<_>>())
}

fn evidence(node: &Snapshot, setting: &str, value: i64) -> Evidence {
    let pods = node.tables.links().iter().filter(|link| node.topology.role(link.index) == Role::Pod);
    let tunnels = node.topology.tunnels().iter().filter(|tunnel| tunnel.carries_pods);
    Evidence {
        setting: setting.into(),
        value,
        pod_links: pods.count(),
        tunnels: tunnels.map(|tunnel| tunnel.name.clone()).collect(),
        links: Vec::new(),
        pod_links_off: 0,
        pod_links_seen: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
