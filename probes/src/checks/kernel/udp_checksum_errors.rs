//! UDP datagrams that come in with a wrong checksum, and keep coming.
//!
//! A wire that spoils bits is rare, and its own checksum catches nearly all of it. What keeps coming was sent so: a NIC or
//! a tunnel device that says it fills in checksums, and does not, or fills in those inside a tunnel wrongly. ICMP carries
//! a checksum that software made, so pings pass, and UDP (DNS before all) and TCP are dropped without a word.
//!
//! The kernel counts every such datagram that is for this network namespace, whether a socket waits for it or not
//! (measured on Linux 6.18, both families). What is for a pod is counted in the pod's. A few are stray; [`SEVERAL`] in a
//! window through which they keep coming are not. Where transfers through a tunnel stall with wrong checksums as well,
//! that finding names peer and tunnel and explains this one.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::remedy::{CounterFault, Fix};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::Family;

use super::counted::{self, SEVERAL, lasting, risen};

/// The rule.
#[derive(Debug)]
pub struct UdpChecksumErrors;

/// What the counter did in the window.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The counter, by the kernel's name.
    pub kernel_counter: &'static str,
    /// The family of the datagrams.
    pub family: Family,
    /// How many came with a wrong checksum.
    pub errors: u64,
    /// How long the window is.
    pub seconds: f64,
    /// `errors` in a second.
    pub per_second: f64,
    /// Datagrams that were delivered meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered: Option<u64>,
    /// `errors` of all that came, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Tunnels of this node.
    pub tunnels: Vec<String>,
}

impl Check for UdpChecksumErrors {
    const ENTRY: Entry = Entry {
        code: "udp-checksum-errors",
        area: Area::Kernel,
        severities: &[Severity::Warning],
        when: &["5 and more came in a window, through all of it"],
        title: "UDP keeps coming in with wrong checksums",
        meaning: "Datagrams reach this node with a wrong checksum and are dropped without a word, which is what a tunnel \
                  or NIC does whose checksum offload is broken. Pings pass, and names are not resolved.",
        quiet: "stray ones (under 5 a window), and a burst that is over",
        look: &[
            Look { run: "nstat -az UdpInCsumErrors Udp6InCsumErrors TcpInCsumErrors", see: "UdpInCsumErrors rises" },
            Look {
                run: "ethtool -k TUNNEL | grep checksum",
                see: "`tx-checksum-ip-generic: on` at the sender's tunnel: switch it off to confirm",
            },
            Look {
                run: "tcpdump -Q in -ni any -vv udp | grep -B1 'bad udp cksum'",
                see: "who sends them: the address above `bad udp cksum`",
            },
        ],
        metrics: &["rate(mtuscope_kernel_events_total{name=~\"udp_checksum_errors.*\"}[5m])"],
        class: Class::Offload,
        silences: &[],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeUdpChecksumErrors", minutes: 10 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        for counters in &COUNTERS {
            if let Some(evidence) = evidence(node, counters)? {
                judgement.raise(Subject::Counter(counters.errors), Severity::Warning, evidence);
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { family, errors, seconds, per_second, ratio, .. } = evidence;
        let datagrams = words::count(usize::try_from(*errors).unwrap_or(usize::MAX), "UDP datagram");
        let share = ratio.map_or_else(String::new, |ratio| format!(", {:.1} % of all", ratio * 100.0));
        format!(
            "{datagrams} of {} came with a wrong checksum in {seconds} s ({per_second} a second{share}) and were \
             dropped: whoever sends them leaves checksums to a device that does not make them.",
            counted::words(*family)
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        vec![Fix::Counted(CounterFault::WrongChecksums { tunnels: evidence.tunnels.clone() })]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            kernel_counter: "UdpInCsumErrors",
            family: Family::Ipv4,
            errors: 45,
            seconds: 30.0,
            per_second: 1.5,
            delivered: Some(1455),
            ratio: Some(0.03),
            tunnels: vec!["vxlan.calico".into()],
        };
        (Subject::Counter("udp_checksum_errors"), Severity::Warning, evidence)
    }
}

/// Subjects of this code, for findings that explain it.
pub const SUBJECTS: [Subject; 2] = [Subject::Counter(COUNTERS[0].errors), Subject::Counter(COUNTERS[1].errors)];

/// The counters of one family.
struct Counters {
    family: Family,
    kernel: &'static str,
    errors: &'static str,
    delivered: &'static str,
}

const COUNTERS: [Counters; 2] = [
    Counters {
        family: Family::Ipv4,
        kernel: "UdpInCsumErrors",
        errors: "udp_checksum_errors",
        delivered: "udp_datagrams",
    },
    Counters {
        family: Family::Ipv6,
        kernel: "Udp6InCsumErrors",
        errors: "udp_checksum_errors_ipv6",
        delivered: "udp_datagrams_ipv6",
    },
];

fn evidence(node: &Snapshot, counters: &Counters) -> Result<Option<Evidence>, Unread> {
    let Some(rise) = lasting(node, counters.errors)?.filter(|rise| rise.by >= SEVERAL) else { return Ok(None) };
    let delivered = risen(node, counters.delivered)?.map(|rise| rise.by);
    Ok(Some(Evidence {
        kernel_counter: counters.kernel,
        family: counters.family,
        errors: rise.by,
        seconds: counted::seconds(rise),
        per_second: counted::rate(rise.by, rise),
        delivered,
        ratio: delivered.map(|delivered| ratio(rise.by, delivered)),
        tunnels: counted::tunnels(node),
    }))
}

/// With three places after the point.
fn ratio(errors: u64, delivered: u64) -> f64 {
    let share = errors as f64 / errors.saturating_add(delivered).max(1) as f64;
    (share * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::counted::rising;
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::snapshot::example::{Example, failed};
    use crate::windows::Windows;

    fn judge(counters: &[(&'static str, u64)]) -> Vec<(String, Evidence)> {
        let mut node = Example::reference();
        rising(&mut node, counters);
        let raised = UdpChecksumErrors::judge(&node.snapshot()).unwrap().raised;
        raised.into_iter().map(|one| (one.subject.to_string(), one.evidence)).collect()
    }

    #[test]
    fn several_that_keep_coming_are_raised_and_stray_ones_are_not() {
        assert_eq!(judge(&[("udp_checksum_errors", 4), ("udp_datagrams", 100)]).len(), 0);
        let [(subject, evidence)] = &judge(&[("udp_checksum_errors", 5), ("udp_datagrams", 95)])[..] else { panic!() };
        assert_eq!(
            (subject.as_str(), evidence.delivered, evidence.ratio),
            ("udp_checksum_errors", Some(95), Some(0.05))
        );
        assert_eq!(
            UdpChecksumErrors::summary(&SUBJECTS[0], evidence),
            "5 UDP datagrams of IPv4 came with a wrong checksum in 5 s (1 a second, 5.0 % of all) and were dropped: \
             whoever sends them leaves checksums to a device that does not make them."
        );
    }

    #[test]
    fn each_family_is_judged_on_its_own() {
        let [(subject, evidence)] = &judge(&[("udp_checksum_errors", 3), ("udp_checksum_errors_ipv6", 50)])[..] else {
            panic!()
        };
        assert_eq!((subject.as_str(), evidence.delivered), ("udp_checksum_errors_ipv6", None), "not counted: not told");
    }

    #[test]
    fn what_was_not_watched_or_read_concludes_nothing() {
        let mut early = Example::reference();
        early.windows = Windows::default();
        assert!(UdpChecksumErrors::judge(&early.snapshot()).is_err());
        let mut unread = Example::reference();
        rising(&mut unread, &[("udp_checksum_errors", 50)]);
        unread.tables.counters = Fact::Unread(failed(Source::Counters));
        assert_eq!(UdpChecksumErrors::judge(&unread.snapshot()).unwrap_err(), failed(Source::Counters));
    }

    #[test]
    fn a_burst_that_is_over_is_no_finding() {
        let mut node = Example::reference();
        node.windows = Windows::default();
        for (second, value) in [(0, 0), (1, 0), (2, 100), (3, 100), (4, 100), (5, 100)] {
            let sample = crate::kernel::Counters::from([("udp_checksum_errors", value)]);
            node.windows.take(&Fact::Known(sample), crate::units::Mono::new(std::time::Duration::from_secs(second)));
        }
        assert!(UdpChecksumErrors::judge(&node.snapshot()).unwrap().raised.is_empty());
    }
}
