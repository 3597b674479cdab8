//! Connection tracking that is nearly full, or drops what it cannot take.
//!
//! Every connection through a node with kube-proxy or network policies takes an entry, each probe and each DNS question
//! among them. Each network namespace counts its own against one limit, `nf_conntrack_max` (measured on Linux 6.18: a
//! namespace without the right to set it sees the machine's). At the limit the kernel looks for an entry to give up, one
//! whose connection nothing was answered on, and drops the packet if there is none.
//!
//! [`NEARLY`] of a hundred of the limit are a warning. It is critical while, that full, entries are given up early or
//! packets are dropped. The counter of drops alone proves nothing: connections that clash (two questions to DNS by one
//! port) are counted there as well, on an empty table, and so are those that failed to be inserted.
//!
//! Where nothing is tracked the files are missing, and there is nothing to fill.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::paths::PathLossy;
use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Look};
use crate::fact::Unread;
use crate::remedy::{CounterFault, Fix};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

#[cfg(doc)]
use super::counted::NEARLY;
use super::counted::{is_nearly_full, risen, seconds};

/// The rule.
#[derive(Debug)]
pub struct ConntrackFull;

/// How full the table is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Connections tracked (`nf_conntrack_count`).
    pub entries: u64,
    /// The most that may be (`nf_conntrack_max`).
    pub limit: u64,
    /// Packets that were dropped in the window; absent until it is full, and where the kernel does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// Entries that were given up early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up: Option<u64>,
    /// Entries that could not be inserted, most of them because connections clashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_inserted: Option<u64>,
    /// How long the window is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

impl Check for ConntrackFull {
    const ENTRY: Entry = Entry {
        code: "conntrack-full",
        area: Area::Kernel,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["four fifths of the limit are taken", "and entries are given up early, or packets dropped"],
        title: "connection tracking is full or nearly so",
        meaning: "The node tracks nearly as many connections as it may. Once it cannot take another one, packets of new \
                  connections are dropped at random, of any size.",
        quiet: "the counter of drops rises on an empty table as well (two connections that clash); only with a full \
                table it counts",
        look: &[
            Look {
                run: "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",
                see: "count near max",
            },
            Look { run: "conntrack -S", see: "`drop` and `early_drop` rise" },
            Look { run: "dmesg | grep 'nf_conntrack: table full'", see: "a line: packets were dropped" },
        ],
        metrics: &[
            "mtuscope_conntrack_entries / mtuscope_conntrack_limit",
            "rate(mtuscope_kernel_events_total{name=~\"conntrack_.*drops\"}[5m])",
        ],
        class: Class::NoThread {
            why: "no public thread known by number: `nf_conntrack: table full` is a known ceiling of \
                                   busy nodes",
        },
        silences: &[PathLossy::ENTRY.code],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeConntrackFull", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        let Some(table) = node.tables.conntrack.read()? else { return Ok(judgement) };
        if !is_nearly_full(table.entries, table.limit) {
            return Ok(judgement);
        }
        // What is not known yet, or not counted, does not make it less full.
        let rise = |counter| risen(node, counter).ok().flatten();
        let (dropped, given_up) = (rise("conntrack_drops"), rise("conntrack_early_drops"));
        let evidence = Evidence {
            entries: table.entries,
            limit: table.limit,
            dropped: dropped.map(|rise| rise.by),
            given_up: given_up.map(|rise| rise.by),
            not_inserted: rise("conntrack_insertions_failed").map(|rise| rise.by),
            seconds: dropped.or(given_up).map(seconds),
        };
        if evidence.harm() > 0 {
            // Whose packets are dropped is a matter of chance.
            let breaks = node.paths.keys().map(Subject::path).collect();
            judgement.raise_causing(SUBJECT, Severity::Critical, evidence, Causes::Named, breaks);
        } else {
            judgement.raise_alone(SUBJECT, Severity::Warning, evidence);
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { entries, limit, dropped, given_up, seconds, .. } = evidence;
        let full = format!("{entries} of at most {limit} connections are tracked");
        match (evidence.harm(), seconds) {
            (1.., Some(seconds)) => format!(
                "{full}, and in {seconds} s {} packets were dropped and {} connections given up for want of room.",
                dropped.unwrap_or_default(),
                given_up.unwrap_or_default()
            ),
            _ => format!("{full}: once there is no room, packets of new connections are dropped at random."),
        }
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let most = evidence.limit.max(evidence.entries).saturating_mul(2).next_power_of_two();
        vec![Fix::Counted(CounterFault::MoreConnections { most })]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            entries: 262_144,
            limit: 262_144,
            dropped: Some(112),
            given_up: Some(2_040),
            not_inserted: Some(3),
            seconds: Some(30.0),
        };
        (SUBJECT, Severity::Critical, evidence)
    }
}

impl Evidence {
    /// What was lost for want of room.
    fn harm(&self) -> u64 {
        self.dropped.unwrap_or_default().saturating_add(self.given_up.unwrap_or_default())
    }
}

const SUBJECT: Subject = Subject::Counter("nf_conntrack");

#[cfg(test)]
mod tests {
    use super::super::counted::rising;
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::kernel::Conntrack;
    use crate::snapshot::example::{Example, failed};

    fn node(entries: u64) -> Example {
        let mut node = Example::reference();
        node.tables.conntrack = Fact::Known(Conntrack { entries, limit: 1_000 });
        node
    }

    fn severity(mut node: Example, counters: &[(&'static str, u64)]) -> Option<Severity> {
        rising(&mut node, counters);
        let judgement = ConntrackFull::judge(&node.snapshot()).unwrap();
        judgement.raised.first().map(|one| one.severity)
    }

    #[test]
    fn four_fifths_are_a_warning() {
        assert_eq!(severity(node(799), &[]), None);
        assert_eq!(severity(node(800), &[]), Some(Severity::Warning));
        assert_eq!(severity(node(800), &[("conntrack_drops", 0)]), Some(Severity::Warning));
    }

    #[test]
    fn it_is_critical_while_something_is_lost_for_want_of_room() {
        assert_eq!(severity(node(1_000), &[("conntrack_drops", 5)]), Some(Severity::Critical));
        assert_eq!(severity(node(990), &[("conntrack_early_drops", 5)]), Some(Severity::Critical));
        let clashes = [("conntrack_drops", 50), ("conntrack_insertions_failed", 50)];
        assert_eq!(severity(node(10), &clashes), None, "connections that clash on an empty table");
        assert_eq!(severity(node(900), &[("conntrack_insertions_failed", 50)]), Some(Severity::Warning));
    }

    #[test]
    fn what_is_dropped_at_random_is_loss_and_what_is_nearly_full_loses_nothing() {
        let causes = |counters: &[(&'static str, u64)]| {
            let mut node = node(1_000);
            rising(&mut node, counters);
            let [raised] = &ConntrackFull::judge(&node.snapshot()).unwrap().raised[..] else { panic!("one finding") };
            (raised.causes, raised.breaks.is_empty())
        };
        assert_eq!(causes(&[("conntrack_drops", 5)]), (Causes::Named, false));
        assert_eq!(causes(&[]), (Causes::Nothing, true));
    }

    #[test]
    fn where_nothing_is_tracked_nothing_is_full() {
        let mut none = node(1_000);
        none.tables.conntrack = Fact::Absent;
        assert_eq!(severity(none, &[]), None);
        let mut unread = node(1_000);
        unread.tables.conntrack = Fact::Unread(failed(Source::Settings));
        assert_eq!(ConntrackFull::judge(&unread.snapshot()).unwrap_err(), failed(Source::Settings));
    }

    #[test]
    fn no_limit_is_no_full_table() {
        let mut none = node(0);
        none.tables.conntrack = Fact::Known(Conntrack { entries: 0, limit: 0 });
        assert_eq!(severity(none, &[]), None);
    }

    #[test]
    fn one_connection_that_was_given_up_is_harm_and_says_in_what_time() {
        let mut full = node(1_000);
        rising(&mut full, &[("conntrack_early_drops", 1)]);
        let raised = ConntrackFull::judge(&full.snapshot()).unwrap().raised.remove(0);
        assert_eq!((raised.severity, raised.evidence.seconds), (Severity::Critical, Some(5.0)));
    }

    #[test]
    fn a_limit_that_was_lowered_below_what_is_there_is_raised_above_that() {
        let evidence = Evidence { entries: 3_000, limit: 1_000, ..ConntrackFull::example().2 };
        let fix = Fix::Counted(CounterFault::MoreConnections { most: 8_192 });
        assert_eq!(ConntrackFull::fixes(&SUBJECT, &evidence), [fix]);
    }
}
