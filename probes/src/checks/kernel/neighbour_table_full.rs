//! A neighbour table that is nearly full, or refuses entries.
//!
//! The kernel keeps one table a family for the whole machine: what pods resolve in namespaces of their own counts. At
//! `gc_thresh3` a new neighbour is refused ("neighbor table overflow!" in the kernel's log), and whatever is sent to it
//! fails. Short of that it collects garbage at every new entry from `gc_thresh2` on, so a count that stands at
//! [`NEARLY`] of a hundred of the limit is held there by neighbours that are in use. That is a warning. It is critical
//! only while entries are refused, which is counted.
//!
//! [`fills`](crate::tables::neighbours) says which entries count. The count errs on the high side by those exempt ones
//! that other namespaces keep; refusals do not err.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look};
use crate::fact::Unread;
use crate::kernel::neighbour_table::refusals;
use crate::remedy::{CounterFault, Fix};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::tables::neighbours::Fill;
use crate::units::Family;
use crate::windows::Rise;

#[cfg(doc)]
use super::counted::NEARLY;
use super::counted::{self, is_nearly_full, risen};

/// The rule.
#[derive(Debug)]
pub struct NeighbourTableFull;

/// How full the table is.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Evidence {
    /// The family.
    pub family: Family,
    /// Entries of the whole machine that garbage collection may take.
    pub entries: u64,
    /// Those of the node's own network namespace; the others are in those of pods.
    pub here: u64,
    /// Entries of the node that it leaves alone and that are not counted: permanent or externally learned ones.
    pub exempt: u64,
    /// Most entries that the machine keeps (`gc_thresh3`).
    pub limit: u64,
    /// Entries that were refused in the window; absent until it is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// How long the window is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

impl Check for NeighbourTableFull {
    const ENTRY: Entry = Entry {
        code: "neighbour-table-full",
        area: Area::Kernel,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["four fifths of the limit are taken", "entries are refused"],
        title: "the machine's neighbour table is full or nearly so",
        meaning: "The kernel keeps a limited number of neighbours for the whole machine, pods' among them. Once it is \
                  reached, packets to new ones fail, on the node and in every pod.",
        quiet: "permanent entries and those that a routing daemon made do not count: garbage collection spares them, \
                and the limit does not apply",
        look: &[
            Look {
                run: "ip ntable show name arp_cache; ip ntable show name ndisc_cache",
                see: "`thresh3` is the limit, `table_fulls` the refusals",
            },
            Look { run: "dmesg | grep 'neighbor table overflow'", see: "a line: the table was full" },
            Look {
                run: "ip -4 neigh show nud all | wc -l; ip -6 neigh show nud all | wc -l",
                see: "near thresh3; pods' own neighbours count too, and are not listed here",
            },
        ],
        metrics: &[
            "mtuscope_neighbour_entries / mtuscope_neighbour_limit",
            "rate(mtuscope_neighbour_table_full_total[5m])",
        ],
        class: Class::NoThread {
            why: "no public thread known by number: `neighbour table overflow` is a known ceiling of \
                                   large clusters",
        },
        silences: &[],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeNeighbourTableFull", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        for fill in node.tables.fills()? {
            let refused = risen(node, refusals(fill.family));
            let rises = matches!(&refused, Ok(Some(rise)) if rise.by > 0);
            if rises || is_nearly_full(fill.entries, fill.limit) {
                let severity = if rises { Severity::Critical } else { Severity::Warning };
                judgement.raise(subject(fill.family), severity, evidence(&fill, refused.ok().flatten()));
            } else if let Err(why) = refused {
                judgement.unread.push((subject(fill.family), why));
            }
        }
        Ok(judgement)
    }

    fn summary(subject: &Subject, evidence: &Evidence) -> String {
        let Evidence { entries, limit, refused, seconds, .. } = evidence;
        let full = format!("The machine's neighbour table {subject} has {entries} of at most {limit} entries");
        match (refused, seconds) {
            (Some(refused @ 1..), Some(seconds)) => {
                format!("{full} and refused {refused} in {seconds} s: nothing can be sent to new neighbours.")
            }
            _ => format!("{full}: once it is full, nothing can be sent to new neighbours, from no pod either."),
        }
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let most = evidence.limit.max(evidence.entries).saturating_mul(2).next_power_of_two();
        vec![Fix::Counted(CounterFault::MoreNeighbours { family: evidence.family, most })]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            family: Family::Ipv4,
            entries: 1024,
            here: 310,
            exempt: 12,
            limit: 1024,
            refused: Some(37),
            seconds: Some(30.0),
        };
        (subject(Family::Ipv4), Severity::Critical, evidence)
    }
}

/// The table, as the kernel's log calls it.
const fn subject(family: Family) -> Subject {
    Subject::Counter(match family {
        Family::Ipv4 => "arp_cache",
        Family::Ipv6 => "ndisc_cache",
    })
}

fn evidence(fill: &Fill, refused: Option<Rise>) -> Evidence {
    Evidence {
        family: fill.family,
        entries: fill.entries,
        here: fill.here,
        exempt: fill.exempt,
        limit: fill.limit,
        refused: refused.map(|rise| rise.by),
        seconds: refused.map(counted::seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::super::counted::rising;
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::kernel::NeighbourTable;
    use crate::snapshot::example::{Example, failed};
    use crate::windows::Windows;

    /// A machine whose ARP table has this many entries, two of them permanent ones of the node's.
    fn node(entries: u32) -> Example {
        let mut node = Example::reference();
        let table = |family, entries| NeighbourTable { family, entries, limit: 1024, refused: 0 };
        node.windows = Windows::default();
        node.tables.neighbour_tables = Fact::Known(vec![table(Family::Ipv4, entries), table(Family::Ipv6, 40)]);
        node
    }

    fn exempt() -> u32 {
        u32::try_from(node(0).snapshot().tables.fills().unwrap()[0].exempt).unwrap()
    }

    fn judge(mut node: Example, refused: u64) -> Judgement<Evidence> {
        rising(&mut node, &[("neighbour_table_full", refused), ("neighbour_table_full_ipv6", 0)]);
        NeighbourTableFull::judge(&node.snapshot()).unwrap()
    }

    #[test]
    fn a_table_is_nearly_full_at_four_fifths_of_what_may_be_collected() {
        assert!(judge(node(819 + exempt()), 0).raised.is_empty(), "permanent entries are left out");
        let judgement = judge(node(820 + exempt()), 0);
        let [raised] = &judgement.raised[..] else { panic!("{judgement:?}") };
        assert_eq!((raised.severity, raised.subject.to_string().as_str()), (Severity::Warning, "arp_cache"));
        assert_eq!(
            NeighbourTableFull::summary(&raised.subject, &raised.evidence),
            "The machine's neighbour table arp_cache has 820 of at most 1024 entries: once it is full, nothing can be \
             sent to new neighbours, from no pod either."
        );
    }

    #[test]
    fn it_is_critical_only_while_entries_are_refused() {
        let raised = |entries, refused| judge(node(entries), refused).raised.first().map(|one| one.severity);
        assert_eq!(raised(1_024, 0), Some(Severity::Warning));
        assert_eq!(raised(1_024, 10), Some(Severity::Critical));
        assert_eq!(raised(1_024, 1), Some(Severity::Critical), "none is refused by chance");
        assert_eq!(raised(700, 10), Some(Severity::Critical), "it was full a moment ago");
    }

    #[test]
    fn a_table_that_was_not_watched_is_judged_by_its_ratio_alone() {
        let early = NeighbourTableFull::judge(&node(100).snapshot()).unwrap();
        assert_eq!((early.raised.len(), early.unread.len()), (0, 2), "it may refuse entries");
        let full = NeighbourTableFull::judge(&node(1_000).snapshot()).unwrap();
        assert_eq!(full.raised.iter().map(|one| one.severity).collect::<Vec<_>>(), [Severity::Warning]);
        assert_eq!((full.raised[0].evidence.refused, full.unread.len()), (None, 1));
    }

    #[test]
    fn tables_that_could_not_be_read_conclude_nothing() {
        let mut unread = node(100);
        unread.tables.neighbour_tables = Fact::Unread(failed(Source::NeighbourTables));
        assert_eq!(NeighbourTableFull::judge(&unread.snapshot()).unwrap_err(), failed(Source::NeighbourTables));
    }
}
