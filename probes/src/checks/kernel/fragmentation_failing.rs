//! Packets that are dropped on this node because they are too large, and fragments that never become whole.
//!
//! `FragFails` counts every packet that this node should have sent on, that was too large for the link, and that must not
//! be cut. That alone is no harm: a router that drops such a packet says so (Frag Needed, Packet Too Big), the sender
//! learns, and is quiet for ten minutes. Measured on Linux 6.18: a pod's packets of 1500 bytes that leave by a tunnel of
//! 1450 raise the counter by one each and the errors sent by one each. Two things are harm:
//!
//! - **Silence**: the counter rises by more than errors were sent. A bridge that shows its packets to filters drops what
//!   is too large for a port, with DF, counts it here and tells nobody. A tunnel that sets DF on its outer packets drops
//!   what is too large once wrapped, and sends the error to the sender of the outer packet, which is this node: where a
//!   tunnel does so, as many of the errors sent as came in again were none to others. What is silent is a lower bound:
//!   errors of other kinds are counted among those sent. A warning.
//! - **No end**: errors are sent, and packets of that size keep coming, one a second and more. Senders are many, or do
//!   not hear. Each such packet is lost and sent again. That may be a busy node that works as it should: an info.
//!
//! What our own probes met is taken off. `ReasmFails` rises when a datagram came in pieces and some were missing (30 s
//! later) or did not fit. Some are lost like any packet; of a hundred datagrams one is [`TOLERATED`], more are a warning.
//!
//! All of it counts only where it goes on through the whole window: a connection that learns its path MTU loses the
//! packets that are on their way, ten or so, and no more.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::kernel::Df;
use crate::remedy::{CounterFault, Fix};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::Family;

use super::counted::{self, SEVERAL, lasting, risen};

/// The rule.
#[derive(Debug)]
pub struct FragmentationFailing;

/// What one counter did in the window.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The counter, by the kernel's name.
    pub kernel_counter: &'static str,
    /// The family of the packets.
    pub family: Family,
    /// What happens to them.
    pub what: What,
    /// How many in the window, those left out that our own probes may have caused.
    pub failed: u64,
    /// How long the window is.
    pub seconds: f64,
    /// `failed` in a second.
    pub per_second: f64,
    /// Errors that were sent to others meanwhile, of any kind that tells of unreachable or too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told: Option<u64>,
    /// Of `failed`, those that at least were told nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<u64>,
    /// Datagrams that became whole meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reassembled: Option<u64>,
    /// Packets of our own probes that may have been among those counted, and were taken off.
    pub own_probes: u64,
    /// Tunnels of this node.
    pub tunnels: Vec<String>,
}

/// What happens to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Too large, not to be cut, dropped, and nobody is told.
    DroppedInSilence,
    /// Too large, not to be cut, dropped, and their senders are told.
    DroppedAndTold,
    /// They came in pieces that never became whole.
    NeverWhole,
}

/// A rate from which on packets that are told of each time have no end.
const OFTEN: f64 = 1.0;

/// Of so many datagrams one may stay in pieces: that is loss, not trouble with fragments.
pub const TOLERATED: u64 = 100;

impl Check for FragmentationFailing {
    const ENTRY: Entry = Entry {
        code: "fragmentation-failing",
        area: Area::Kernel,
        severities: &[Severity::Info, Severity::Warning],
        when: &[
            "errors are sent, and packets of that size keep coming",
            "packets are dropped and nobody is told, or over 1 % of datagrams in fragments never become whole",
        ],
        title: "packets too large to pass are dropped, or fragments do not become whole",
        meaning: "This node drops packets that are too large for the next link and must not be cut, or gets fragments \
                  from which parts are missing. Whoever sent them hears nothing, or does not listen, and hangs.",
        quiet: "a sender that learns its path MTU loses ten packets or so, and no more; our own probes' packets are \
                taken off",
        look: &[
            Look {
                run: "nstat -az IpFragFails IpReasmFails Ip6FragFails Ip6ReasmFails IcmpOutDestUnreachs Icmp6OutPktTooBigs",
                see: "FragFails rises faster than the errors sent (IcmpOutDestUnreachs, Icmp6OutPktTooBigs): nobody is \
                      told",
            },
            Look { run: "ip -s -d link", see: "the link whose `mtu` is too small" },
            Look {
                run: "tcpdump -ni any 'icmp[icmptype] = icmp-unreach or icmp6 and ip6[40] = 2'",
                see: "who is told, of which size, again and again",
            },
        ],
        metrics: &[
            "rate(mtuscope_kernel_events_total{name=~\"fragmentation_failed.*\"}[5m])",
            "rate(mtuscope_kernel_events_total{name=~\"reassembly_failed.*\"}[5m])",
        ],
        class: Class::Fragments,
        silences: &[],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeFragmentationFailing", minutes: 15 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        for counters in &COUNTERS {
            if let Some((severity, evidence)) = dropped(node, counters)? {
                judgement.raise(Subject::Counter(counters.failed), severity, evidence);
            }
            if let Some(evidence) = in_pieces(node, counters)? {
                judgement.raise(Subject::Counter(counters.unmade), Severity::Warning, evidence);
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { family, failed, seconds, per_second, reassembled, silent, .. } = evidence;
        let family = counted::words(*family);
        let packets = |thing: &str| words::count(usize::try_from(*failed).unwrap_or(usize::MAX), thing);
        let rate = format!("in {seconds} s ({per_second} a second)");
        match evidence.what {
            What::DroppedInSilence => format!(
                "This node dropped {} of {family} {rate} that were too large to be sent on and must not be cut, and \
                 told nobody about {} of them at least: their senders hang.",
                packets("packet"),
                silent.unwrap_or(*failed)
            ),
            What::DroppedAndTold => format!(
                "This node dropped {} of {family} {rate} that were too large to be sent on and must not be cut. It \
                 tells their senders, and more keep coming: they are many, or they do not hear.",
                packets("packet")
            ),
            What::NeverWhole => format!(
                "In {seconds} s {} of {family} ({per_second} a second) came in pieces that could not be put together, \
                 while {} could: fragments get lost on the way here.",
                packets("datagram"),
                reassembled.unwrap_or_default()
            ),
        }
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let tunnels = evidence.tunnels.clone();
        vec![Fix::Counted(match evidence.what {
            What::DroppedInSilence => CounterFault::DroppedInSilence { family: evidence.family, tunnels },
            What::DroppedAndTold => CounterFault::DroppedAndTold { family: evidence.family },
            What::NeverWhole => CounterFault::NeverWhole { family: evidence.family, tunnels },
        })]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            kernel_counter: "IpFragFails",
            family: Family::Ipv4,
            what: What::DroppedInSilence,
            failed: 90,
            seconds: 30.0,
            per_second: 3.0,
            told: Some(10),
            silent: Some(80),
            reassembled: None,
            own_probes: 0,
            tunnels: vec!["vxlan.calico".into()],
        };
        (Subject::Counter("fragmentation_failed"), Severity::Warning, evidence)
    }
}

/// Subjects of this code about packets that are too large, for findings that explain it.
pub const TOO_LARGE: [Subject; 2] = [Subject::Counter(COUNTERS[0].failed), Subject::Counter(COUNTERS[1].failed)];

/// The counters of one family.
struct Counters {
    family: Family,
    failed: &'static str,
    kernel_failed: &'static str,
    /// Errors that tell senders.
    told: &'static str,
    /// Errors that came in.
    heard: &'static str,
    unmade: &'static str,
    kernel_unmade: &'static str,
    whole: &'static str,
}

const COUNTERS: [Counters; 2] = [
    Counters {
        family: Family::Ipv4,
        failed: "fragmentation_failed",
        kernel_failed: "IpFragFails",
        told: "icmp_unreachable_sent",
        heard: "icmp_unreachable_received",
        unmade: "reassembly_failed",
        kernel_unmade: "IpReasmFails",
        whole: "reassembly_ok",
    },
    Counters {
        family: Family::Ipv6,
        failed: "fragmentation_failed_ipv6",
        kernel_failed: "Ip6FragFails",
        told: "packet_too_big_sent_ipv6",
        heard: "packet_too_big_received_ipv6",
        unmade: "reassembly_failed_ipv6",
        kernel_unmade: "Ip6ReasmFails",
        whole: "reassembly_ok_ipv6",
    },
];

fn dropped(node: &Snapshot, counters: &Counters) -> Result<Option<(Severity, Evidence)>, Unread> {
    let Some(rise) = lasting(node, counters.failed)? else { return Ok(None) };
    let own = node.windows.own();
    let failed = rise.by.saturating_sub(own);
    let told = told(node, counters)?;
    let silent = told.map(|told| failed.saturating_sub(told));
    let (severity, what) = if silent.is_some_and(|silent| silent >= SEVERAL) {
        (Severity::Warning, What::DroppedInSilence)
    } else if counted::rate(failed, rise) >= OFTEN {
        (Severity::Info, What::DroppedAndTold)
    } else {
        return Ok(None);
    };
    let evidence = Evidence {
        kernel_counter: counters.kernel_failed,
        family: counters.family,
        what,
        failed,
        seconds: counted::seconds(rise),
        per_second: counted::rate(failed, rise),
        told,
        silent,
        reassembled: None,
        own_probes: own,
        tunnels: counted::tunnels(node),
    };
    Ok(Some((severity, evidence)))
}

/// Errors that were sent to others. Those about the outer packets of a tunnel that sets DF go to this node itself.
fn told(node: &Snapshot, counters: &Counters) -> Result<Option<u64>, Unread> {
    let sent = risen(node, counters.told)?.map(|rise| rise.by);
    let sets_df = |df: Option<Df>| df.is_some_and(|df| df != Df::Unset);
    let mut tunnels = node.tables.links().iter().filter_map(|link| link.tunnel.as_ref());
    if !tunnels.any(|tunnel| sets_df(tunnel.df)) {
        return Ok(sent);
    }
    let heard = risen(node, counters.heard)?.map_or(0, |rise| rise.by);
    Ok(sent.map(|sent| sent.saturating_sub(heard)))
}

fn in_pieces(node: &Snapshot, counters: &Counters) -> Result<Option<Evidence>, Unread> {
    let Some(rise) = lasting(node, counters.unmade)? else { return Ok(None) };
    let own = node.windows.own();
    let failed = rise.by.saturating_sub(own);
    let whole = risen(node, counters.whole)?.map(|rise| rise.by);
    let all = whole.unwrap_or_default().saturating_add(failed);
    if failed < SEVERAL || failed.saturating_mul(TOLERATED) <= all {
        return Ok(None);
    }
    Ok(Some(Evidence {
        kernel_counter: counters.kernel_unmade,
        family: counters.family,
        what: What::NeverWhole,
        failed,
        seconds: counted::seconds(rise),
        per_second: counted::rate(failed, rise),
        told: None,
        silent: None,
        reassembled: whole,
        own_probes: own,
        tunnels: counted::tunnels(node),
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::counted::rising;
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::kernel::Counters as Counted;
    use crate::path::{Learned, Measured};
    use crate::snapshot::example::{Example, black_hole, failed};
    use crate::units::Mono;
    use crate::windows::Windows;

    /// What is raised where these counters rise by so much in five seconds.
    fn judge(node: Example, counters: &[(&'static str, u64)]) -> Vec<(String, Severity, What)> {
        let mut node = node;
        rising(&mut node, counters);
        let judgement = FragmentationFailing::judge(&node.snapshot()).unwrap();
        assert!(judgement.unread.is_empty());
        let told = |one: crate::checks::Raised<Evidence>| (one.subject.to_string(), one.severity, one.evidence.what);
        judgement.raised.into_iter().map(told).collect()
    }

    fn one(subject: &str, severity: Severity, what: What) -> Vec<(String, Severity, What)> {
        vec![(subject.into(), severity, what)]
    }

    #[test]
    fn a_router_that_tells_does_its_work() {
        let told = |number| {
            judge(Example::reference(), &[("fragmentation_failed", number), ("icmp_unreachable_sent", number)])
        };
        assert_eq!(told(0), []);
        assert_eq!(told(4), [], "a connection that learns");
        assert_eq!(told(5).len(), 1, "one a second");
        assert_eq!(told(10), one("fragmentation_failed", Severity::Info, What::DroppedAndTold), "without an end");
    }

    #[test]
    fn nobody_was_told() {
        let silent =
            |sent| judge(Example::reference(), &[("fragmentation_failed", 20), ("icmp_unreachable_sent", sent)]);
        assert_eq!(silent(15), one("fragmentation_failed", Severity::Warning, What::DroppedInSilence));
        assert_eq!(silent(16), one("fragmentation_failed", Severity::Info, What::DroppedAndTold), "four are few");
    }

    #[test]
    fn errors_to_oneself_tell_nobody() {
        let counters = [("fragmentation_failed", 20), ("icmp_unreachable_sent", 20), ("icmp_unreachable_received", 20)];
        let node = |df| {
            Example::reference().with("vxlan.calico", |link| {
                link.tunnel.as_mut().unwrap().df = Some(df);
            })
        };
        let severity = |df| judge(node(df), &counters).remove(0).1;
        assert_eq!(severity(Df::Unset), Severity::Info, "somebody else's errors came in");
        assert_eq!([severity(Df::Set), severity(Df::Inherit)], [Severity::Warning; 2]);
    }

    #[test]
    fn ipv6_has_counters_of_its_own() {
        let silent = [("fragmentation_failed_ipv6", 9), ("packet_too_big_sent_ipv6", 0), ("icmp_unreachable_sent", 9)];
        let found = judge(Example::reference(), &silent);
        assert_eq!(found, one("fragmentation_failed_ipv6", Severity::Warning, What::DroppedInSilence));
        let pieces = [("reassembly_failed_ipv6", 9), ("reassembly_ok_ipv6", 9)];
        let found = judge(Example::reference(), &pieces);
        assert_eq!(found, one("reassembly_failed_ipv6", Severity::Warning, What::NeverWhole));
    }

    #[test]
    fn a_fragment_that_is_lost_now_and_then_is_loss() {
        let lost =
            |failed, whole| judge(Example::reference(), &[("reassembly_failed", failed), ("reassembly_ok", whole)]);
        assert_eq!(lost(4, 0), []);
        assert_eq!(lost(5, 0), one("reassembly_failed", Severity::Warning, What::NeverWhole));
        assert_eq!(lost(10, 990), [], "one of a hundred");
        assert_eq!(lost(10, 985), one("reassembly_failed", Severity::Warning, What::NeverWhole));
    }

    #[test]
    fn what_our_own_probes_met_is_taken_off() {
        let own = |packets| {
            let mut node = Example::reference();
            let measured = Measured { sent: packets, ..Measured::new(black_hole(1400), Mono::default()) };
            rising(&mut node, &[("fragmentation_failed", 30), ("icmp_unreachable_sent", 0)]);
            node.windows.probed(&Learned::Mtu(Box::new(measured)));
            FragmentationFailing::judge(&node.snapshot()).unwrap().raised
        };
        assert!(own(26).is_empty());
        let [raised] = &own(25)[..] else { panic!("five are not ours") };
        assert_eq!((raised.evidence.failed, raised.evidence.own_probes), (5, 25));
        let mut pieces = Example::reference();
        rising(&mut pieces, &[("reassembly_failed", 30)]);
        let measured = Measured { sent: 26, ..Measured::new(black_hole(1400), Mono::default()) };
        pieces.windows.probed(&Learned::Mtu(Box::new(measured)));
        assert!(FragmentationFailing::judge(&pieces.snapshot()).unwrap().raised.is_empty(), "pieces of ours");
    }

    #[test]
    fn a_burst_is_over_before_it_counts() {
        let mut node = Example::reference();
        node.windows = Windows::default();
        for (second, value) in [(0, 0), (1, 0), (2, 100), (3, 100), (4, 100), (5, 100)] {
            let sample = Counted::from([("fragmentation_failed", value), ("icmp_unreachable_sent", 0)]);
            node.windows.take(&Fact::Known(sample), Mono::new(Duration::from_secs(second)));
        }
        assert!(FragmentationFailing::judge(&node.snapshot()).unwrap().raised.is_empty());
    }

    #[test]
    fn what_was_not_watched_or_read_concludes_nothing() {
        let mut node = Example::reference();
        node.windows = Windows::default();
        let why = FragmentationFailing::judge(&node.snapshot()).unwrap_err().to_string();
        assert_eq!(why, "counters: a rate takes 5 s of watching");
        let mut unread = Example::reference();
        rising(&mut unread, &[("fragmentation_failed", 30)]);
        unread.tables.counters = Fact::Unread(failed(Source::Counters));
        assert_eq!(FragmentationFailing::judge(&unread.snapshot()).unwrap_err(), failed(Source::Counters));
    }

    #[test]
    fn a_kernel_that_does_not_count_errors_sent_proves_no_silence() {
        assert_eq!(judge(Example::reference(), &[("fragmentation_failed", 4)]), []);
        let found = judge(Example::reference(), &[("fragmentation_failed", 50)]);
        assert_eq!(found, one("fragmentation_failed", Severity::Info, What::DroppedAndTold));
    }
}
