//! Path MTU discovery switched off, or made hard of hearing, for this machine's own packets.
//!
//! `net.ipv4.ip_no_pmtu_disc`, by value:
//! - 0: discovery.
//! - 1, and whatever is above 3: "fragmentation needed" pins the way to its destination at `min_pmtu` (552 B) for ten
//!   minutes, whatever size the message names.
//! - 2: the message is thrown away.
//! - 3: it is believed for TCP, SCTP and DCCP alone, which can prove that it is theirs. This is meant for name servers
//!   in namespaces of their own, and not for a whole machine.
//!
//! With every value but 0 new sockets leave the DF bit clear, so what the node sends itself is fragmented on the way;
//! fragments are slow and often filtered. Pods have namespaces and values of their own: what hurts them is a tunnel that
//! keeps DF on its outer packets and never hears that these are too large. So 1 and 2 are warnings on any machine; 3 is
//! one where such a tunnel is in use, and info elsewhere.
//!
//! What was measured does not hang on it, because probes set DF themselves and take the message off the wire. What the
//! kernel has cached does: a path MTU that is pinned is explained. IPv6 has no such setting, and a machine without an IPv4
//! address no use for it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::SysctlDrift;
use crate::checks::paths::PathMtuCacheStale;
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::kernel::Df;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::topology::TunnelView;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct PmtuDiscoveryOff;

/// The setting, and who needs what it throws away.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// `net.ipv4.ip_no_pmtu_disc`.
    pub value: i64,
    /// What becomes of a "fragmentation needed".
    pub effect: Effect,
    /// Tunnels over IPv4 whose outer packets keep the DF bit.
    pub tunnels: Vec<String>,
}

/// What becomes of a "fragmentation needed".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Its destination is pinned at the smallest path MTU.
    Pins,
    /// It is discarded.
    Discards,
    /// It is believed for TCP, SCTP and DCCP alone.
    BelievesTcp,
}

impl Check for PmtuDiscoveryOff {
    const ENTRY: Entry = Entry {
        code: "pmtu-discovery-off",
        area: Area::Kernel,
        severities: &[Severity::Info, Severity::Warning],
        when: &["3: only TCP, SCTP and DCCP listen", "1 or 2: nobody does; or 3 under a tunnel that sets DF"],
        title: "path MTU discovery is off",
        meaning: "The kernel does not learn what a path carries: it ignores \"fragmentation needed\" or takes it for \
                  552 B. The node's own packets may be fragmented on the way, and tunnels that set DF lose what is too large.",
        quiet: "a machine without an IPv4 address has no use for it; IPv6 has no such setting",
        look: &[
            Look { run: "sysctl net.ipv4.ip_no_pmtu_disc net.ipv4.route.min_pmtu", see: "anything but 0" },
            Look { run: "ip route show cache", see: "`mtu lock 552`: pinned" },
            Look { run: "nstat -az IpFragCreates", see: "rises: this node fragments what it sends" },
        ],
        metrics: &["mtuscope_setting{name=\"ip_no_pmtu_disc\"} > 0"],
        class: Class::BlackHole,
        silences: &[PathMtuCacheStale::ENTRY.code, SysctlDrift::ENTRY.code],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopePmtuDiscoveryOff", minutes: 15 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        let Some(&value) = node.tables.no_pmtu_disc.read()? else { return Ok(judgement) };
        let Some(effect) = effect(value) else { return Ok(judgement) };
        node.tables.links.read()?;
        let mut addresses = node.tables.addresses.read()?.into_iter().flatten();
        if addresses.any(|own| own.global && own.address.is_ipv4()) {
            let evidence = Evidence { value, effect, tunnels: keeping_df(node) };
            let breaks = if effect == Effect::Pins { pinned(node) } else { Vec::new() };
            judgement.raise_breaking(SUBJECT, severity(&evidence), evidence, breaks);
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { value, effect, tunnels } = evidence;
        let does = match effect {
            Effect::Pins => "pins the way to its destination at 552 B (min_pmtu), whatever size it names",
            Effect::Discards => "is discarded",
            Effect::BelievesTcp => "is believed for TCP, SCTP and DCCP alone",
        };
        let deaf = match (tunnels.as_slice(), effect) {
            ([], _) | (_, Effect::Pins) => String::new(),
            (tunnels, _) => format!("; full packets of {} are lost without a word", words::list(tunnels)),
        };
        format!(
            "net.ipv4.ip_no_pmtu_disc is {value}: an ICMP \"fragmentation needed\" {does}, and this node's own packets are \
             sent without DF{deaf}."
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let forget = (evidence.effect == Effect::Pins).then_some(Fix::FlushPathMtus);
        let discover = Fix::Sysctl { key: "net.ipv4.ip_no_pmtu_disc".into(), value: "0".into() };
        std::iter::once(discover).chain(forget).collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence { value: 1, effect: Effect::Pins, tunnels: Vec::new() };
        (SUBJECT, severity(&evidence), evidence)
    }
}

const SUBJECT: Subject = Subject::Setting("ip_no_pmtu_disc");

const fn effect(value: i64) -> Option<Effect> {
    match value {
        0 => None,
        2 => Some(Effect::Discards),
        3 => Some(Effect::BelievesTcp),
        _ => Some(Effect::Pins),
    }
}

fn severity(evidence: &Evidence) -> Severity {
    match evidence.effect {
        Effect::BelievesTcp if evidence.tunnels.is_empty() => Severity::Info,
        _ => Severity::Warning,
    }
}

/// Paths whose cached path MTU is the least that the kernel takes, whatever it was told.
fn pinned(node: &Snapshot) -> Vec<Subject> {
    let locked = |path: &Path| path.cached.as_ref().is_some_and(|cached| cached.locked);
    let paths = node.paths.iter().filter(|(key, path)| key.address.is_ipv4() && locked(path));
    paths.map(|(key, _)| Subject::path(key)).collect()
}

fn keeping_df(node: &Snapshot) -> Vec<String> {
    let keeps = |view: &&TunnelView| {
        let tunnel = node.tables.link(view.link).and_then(|link| link.tunnel.as_ref());
        tunnel.is_some_and(|tunnel| {
            let over_ipv6 = tunnel.local.or(tunnel.remote).is_some_and(|address| address.is_ipv6());
            matches!(tunnel.df, Some(Df::Set | Df::Inherit)) && !tunnel.external && !over_ipv6
        })
    };
    node.topology.tunnels().iter().filter(keeps).map(|tunnel| tunnel.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::snapshot::example::{Example, failed, ip};

    fn set_to(value: i64, mut node: Example) -> Example {
        node.tables.no_pmtu_disc = Fact::Known(value);
        node
    }

    fn raised(example: &Example) -> Option<(Severity, Evidence)> {
        let mut judgement = PmtuDiscoveryOff::judge(&example.snapshot()).unwrap();
        assert!(judgement.unread.is_empty());
        judgement.raised.pop().map(|raised| (raised.severity, raised.evidence))
    }

    fn with_df(df: Df) -> Example {
        Example::reference().with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().df = Some(df))
    }

    #[test]
    fn each_value_is_told_by_what_the_kernel_makes_of_it() {
        let told = |value| raised(&set_to(value, Example::reference())).map(|(level, seen)| (level, seen.effect));
        assert_eq!(told(0), None);
        assert_eq!(told(1), Some((Severity::Warning, Effect::Pins)));
        assert_eq!(told(2), Some((Severity::Warning, Effect::Discards)));
        assert_eq!(told(3), Some((Severity::Info, Effect::BelievesTcp)));
        assert_eq!(told(4), Some((Severity::Warning, Effect::Pins)), "the kernel takes what it does not know for 1");
    }

    #[test]
    fn the_hardened_mode_hurts_a_tunnel_that_keeps_df() {
        for df in [Df::Set, Df::Inherit] {
            let (severity, evidence) = raised(&set_to(3, with_df(df))).unwrap();
            assert_eq!(severity, Severity::Warning);
            assert_eq!(evidence.tunnels, ["vxlan.calico"]);
            let told = PmtuDiscoveryOff::summary(&SUBJECT, &evidence);
            assert!(told.ends_with("without DF; full packets of vxlan.calico are lost without a word."), "{told}");
        }
        let (severity, evidence) = raised(&set_to(3, with_df(Df::Unset))).unwrap();
        assert!(severity == Severity::Info && evidence.tunnels.is_empty());
    }

    #[test]
    fn a_tunnel_over_ipv6_or_in_collect_metadata_mode_is_another_matter() {
        let ipv6 =
            with_df(Df::Set).with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().local = Some(ip("fd00::1")));
        let external = with_df(Df::Set).with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().external = true);
        for node in [ipv6, external] {
            assert_eq!(raised(&set_to(3, node)).unwrap().0, Severity::Info);
        }
    }

    #[test]
    fn what_was_pinned_is_to_be_forgotten() {
        let fixes = |value| PmtuDiscoveryOff::fixes(&SUBJECT, &raised(&set_to(value, Example::reference())).unwrap().1);
        assert!(fixes(1).contains(&Fix::FlushPathMtus) && !fixes(2).contains(&Fix::FlushPathMtus));
    }

    #[test]
    fn only_a_path_that_was_pinned_is_explained() {
        let mut node = Example::reference().remembers("10.0.0.12", 552).remembers("10.0.0.13", 1400);
        node.tables.no_pmtu_disc = Fact::Known(1);
        let mut node = node.snapshot();
        node.paths
            .values_mut()
            .filter_map(|path| path.cached.as_mut())
            .for_each(|one| one.locked = one.mtu.bytes() == 552);
        let breaks = |node: &Snapshot| PmtuDiscoveryOff::judge(node).unwrap().raised.remove(0).breaks;
        let [Subject::Path { peer, .. }] = &breaks(&node)[..] else { panic!("one path") };
        assert_eq!(peer, "master-2");
        node.tables.no_pmtu_disc = Fact::Known(2);
        assert!(breaks(&node).is_empty(), "nothing is pinned by a message that is thrown away");
    }

    #[test]
    fn a_machine_without_ipv4_has_no_use_for_it() {
        let ipv6 = || Example::empty().device("eth0", "device", 1500).address("eth0", "fd00::5", 64);
        assert!(raised(&set_to(1, ipv6())).is_none());
        assert!(raised(&set_to(1, ipv6().address("eth0", "192.0.2.5", 24))).is_some());
    }

    #[test]
    fn what_could_not_be_read_concludes_nothing() {
        let mut node = Example::reference();
        node.tables.no_pmtu_disc = Fact::Unread(failed(Source::Settings));
        assert_eq!(PmtuDiscoveryOff::judge(&node.snapshot()).unwrap_err(), failed(Source::Settings));
        let mut node = set_to(1, Example::reference());
        node.tables.addresses = Fact::Unread(failed(Source::Addresses));
        assert_eq!(PmtuDiscoveryOff::judge(&node.snapshot()).unwrap_err(), failed(Source::Addresses));
        assert!(PmtuDiscoveryOff::judge(&set_to(0, node).snapshot()).is_ok(), "nobody has to ask who needs it");
    }
}
