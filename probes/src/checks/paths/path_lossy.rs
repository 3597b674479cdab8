//! A path that loses packets whatever their size.
//!
//! Loss slows every TCP connection down and looks, from an application, like a size that does not pass: the larger the
//! upload, the surer one of its segments is lost. It is judged by small references alone, over a window
//! ([`crate::loss`]), and only where the samples leave no doubt that more than [`NOTICEABLE`] is lost: a clean path on
//! which a packet was lost stays quiet, and so does one that is not there at all.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look};
use crate::fact::Unread;
use crate::loss::Loss;
use crate::path::{PathKey, Plane};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::Family;

use super::{Case, judge_each};

/// Its code.
pub const LOSSY: &str = "path-lossy";
/// Samples below which nothing is said.
const LEAST_SAMPLES: u32 = 50;
/// The share of loss that is worth a word: one in a hundred halves the speed of a TCP connection over a long path.
const NOTICEABLE: f64 = 0.01;
/// The share of loss that little works with.
const CRIPPLING: f64 = 0.2;

/// The rule.
#[derive(Debug)]
pub struct PathLossy;

/// What was lost.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The network that is crossed.
    pub plane: Plane,
    /// The address that was probed.
    pub address: IpAddr,
    /// The links that packets leave by, the tunnel first.
    pub via: Vec<String>,
    /// Small packets sent lately, at most ten minutes ago.
    pub sent: u32,
    /// Those of them that were not answered.
    pub lost: u32,
    /// The share that was lost, 0 to 1: on the way there and back together.
    pub ratio: f64,
    /// The least share that is lost by these samples, wrong once in 200.
    pub at_least: f64,
}

impl Check for PathLossy {
    const ENTRY: Entry = Entry {
        code: LOSSY,
        area: Area::Paths,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["more than 1 in 100 is lost, beyond doubt", "at least 1 in 5 is lost"],
        title: "path loses packets",
        meaning: "Small packets to the peer, or their answers, get lost. TCP slows down with every loss, and the longer a \
                  transfer the surer it meets one.",
        quiet: "single losses: samples must leave no doubt that more than 1 % is lost; a path that answers nothing is \
                unreachable",
        look: &[
            Look {
                run: "mtr --report --report-cycles 100 ADDRESS",
                see: "the first hop from which on all later ones lose packets",
            },
            Look { run: "ip -s link show LINK", see: "`errors` and `dropped` that rise: cable, duplex, queue" },
            Look { run: "ethtool -S LINK", see: "`crc`, `fifo` or `missed` errors of the NIC" },
        ],
        metrics: &[
            "rate(mtuscope_probe_packets_lost_total[5m]) / rate(mtuscope_probe_packets_sent_total[5m])",
            "histogram_quantile(0.99, sum by (le) (rate(mtuscope_path_round_trip_seconds_bucket[5m])))",
        ],
        class: Class::NoThread { why: "no public thread known: loss has as many causes as there are networks" },
        silences: &[LOSSY],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopePathLossy", minutes: 5 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        judge_each(node, &Plane::ALL, |case| {
            let loss = case.path.losses.total();
            let at_least = loss.at_least().filter(|&least| loss.sent >= LEAST_SAMPLES && least >= NOTICEABLE)?;
            let severity = if at_least >= CRIPPLING { Severity::Critical } else { Severity::Warning };
            Some((severity, evidence(node, case, loss, at_least)?))
        })
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, plane, address, sent, lost, ratio, .. } = evidence;
        let percent = ratio * 100.0;
        format!(
            "The {} path to {peer} ({address}) loses {percent:.0} % of small packets: {lost} of {sent}.",
            plane.name()
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { peer, address, via, .. } = evidence;
        vec![Fix::PathKeeps { to: *address, peer: peer.clone(), links: via.clone() }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            peer: "master-2".into(),
            plane: Plane::Underlay,
            address: IpAddr::from([10, 0, 0, 12]),
            via: vec!["vmbr1".into(), "enp5s0".into()],
            sent: 150,
            lost: 15,
            ratio: 0.1,
            at_least: 0.054,
        };
        let subject = Subject::Path { peer: "master-2".into(), plane: Plane::Underlay, family: Family::Ipv4 };
        (subject, Severity::Warning, evidence)
    }
}

fn evidence(node: &Snapshot, case: &Case<'_>, loss: Loss, at_least: f64) -> Option<Evidence> {
    let PathKey { peer, plane, address } = case.key.clone();
    let name = |&link| node.tables.link(link).map(|link| link.name.clone());
    let via = case.path.via.iter().filter_map(name).collect();
    let Loss { sent, lost } = loss;
    Some(Evidence { peer, plane, address, via, sent, lost, ratio: loss.ratio()?, at_least })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Verdict;
    use crate::snapshot::example::{Example, no_right};
    use crate::units::{IpSize, Mono};

    fn losing(sent: u32, lost: u32) -> Snapshot {
        let mut node = Example::reference()
            .verdict("master-2", Plane::Underlay, Verdict::Clear { mtu: IpSize::new(1500) })
            .snapshot();
        let (_, path) = node.paths.iter_mut().find(|(key, _)| key.peer == "master-2").unwrap();
        path.losses.push(Mono::default(), Loss { sent, lost });
        node
    }

    fn raised(node: &Snapshot) -> Vec<(String, Severity)> {
        let raised = PathLossy::judge(node).unwrap().raised;
        raised.into_iter().map(|raised| (raised.subject.to_string(), raised.severity)).collect()
    }

    #[test]
    fn loss_beyond_doubt_is_raised_by_how_much_it_is() {
        assert_eq!(raised(&losing(150, 15)), [("master-2".into(), Severity::Warning)]);
        assert_eq!(raised(&losing(150, 60)), [("master-2".into(), Severity::Critical)]);
    }

    #[test]
    fn a_packet_now_and_then_and_too_few_samples_are_quiet() {
        for (sent, lost) in [(150, 0), (150, 1), (150, 3), (40, 20), (2, 2)] {
            assert_eq!(raised(&losing(sent, lost)), [], "{lost} of {sent}");
        }
    }

    #[test]
    fn a_path_that_was_not_measured_is_not_concluded() {
        let node = Example::reference().unmeasured("master-2", Plane::Underlay, no_right()).snapshot();
        let judgement = PathLossy::judge(&node).unwrap();
        assert!(judgement.raised.is_empty() && !judgement.unread.is_empty());
    }
}
