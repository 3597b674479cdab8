//! The table of paths: what is wrong first, and of what is fine only so much that the page stays small.

use std::cmp::Reverse;

use probes::path::VerdictName;
use probes::report::{PathRow, Report};
use probes::units::Family;

use super::super::super::text::tables as told;
use super::super::spark::Spark;
use super::super::trail::Trail;
use super::table::{Cell, Table, known};
use super::{count, sentence};

/// Up to so many paths stand in one table.
const TOGETHER: usize = 50;

/// Most paths that are not clear and are shown.
const FAULTY: usize = 100;

/// Clear paths that are shown where there are many.
const CLEAR: usize = 50;

/// Reasons that are told.
const REASONS: usize = 10;

const HEAD: [&str; 10] = [
    "peer",
    "plane",
    "verdict",
    "carries",
    "there / back",
    "limited by",
    "round trip",
    "loss",
    "last rounds",
    "address",
];

/// The paths.
pub(super) struct Paths {
    /// How many of what.
    pub(super) says: String,
    /// Those that are shown: all, or those that are not clear.
    pub(super) first: Table,
    /// Those that are folded.
    pub(super) clear: Option<Table>,
}

/// How bad a verdict is.
pub(super) const fn badness(verdict: VerdictName) -> u8 {
    match verdict {
        VerdictName::Clear => 0,
        VerdictName::Unknown => 1,
        VerdictName::Limited => 2,
        VerdictName::BlackHole => 3,
        VerdictName::Unreachable => 4,
    }
}

impl Paths {
    pub(super) fn new(report: &Report, trail: &Trail) -> Self {
        let mut rows: Vec<&PathRow> = report.paths.iter().collect();
        // What was never measured says least, whatever it is called.
        rows.sort_by_key(|row| (row.probed_at.is_none(), Reverse(badness(row.verdict))));
        let (clear, faulty): (Vec<_>, Vec<_>) = rows.iter().copied().partition(|row| row.verdict == VerdictName::Clear);
        let notes = notes(report, &faulty);
        if rows.len() <= TOGETHER {
            let all: Vec<&PathRow> = faulty.into_iter().chain(clear).collect();
            let first = table("paths", "", "Sizes are bytes of an IP packet, its header included.", &all, trail);
            return Self { says: says(report), first: Table { notes, ..first }, clear: None };
        }
        let shown = &faulty[..faulty.len().min(FAULTY)];
        let caption = match (faulty.len(), shown.len()) {
            (0, _) => String::new(),
            (all, few) if all > few => format!("{few} of {all} paths that are not clear; /report has them all."),
            (all, _) => format!("All {all} that are not clear. Sizes are bytes of an IP packet, its header included."),
        };
        let first = Table { notes, ..table("paths", "", &caption, shown, trail) };
        Self { says: says(report), first, clear: Some(folded(clear, trail)) }
    }
}

/// The clear ones; what is followed comes first, so that there is something to see.
fn folded(mut clear: Vec<&PathRow>, trail: &Trail) -> Table {
    clear.sort_by_key(|row| trail.of(row).is_empty());
    let shown = &clear[..clear.len().min(CLEAR)];
    let title = format!("{} more that are clear", clear.len());
    let caption = if clear.len() > shown.len() {
        format!("{} of {}; /report has them all.", shown.len(), clear.len())
    } else {
        String::new()
    };
    table("clear paths", &title, &caption, shown, trail)
}

fn says(report: &Report) -> String {
    let of = |verdict| report.paths.iter().filter(|path| path.verdict == verdict).count();
    let counts = [
        (VerdictName::Unreachable, "unreachable"),
        (VerdictName::BlackHole, "black hole"),
        (VerdictName::Limited, "limited"),
        (VerdictName::Unknown, "unknown"),
        (VerdictName::Clear, "clear"),
    ];
    let counts = counts.map(|(verdict, word)| (of(verdict), word)).into_iter().filter(|(number, _)| *number > 0);
    let counts: Vec<String> = counts.map(|(number, word)| format!("{number} {word}")).collect();
    let all = count(report.paths.len(), "path");
    let covered = report.schedule.filter(|schedule| schedule.probed < schedule.peers).map(|schedule| {
        let within = told::about(schedule.covered_within_seconds);
        format!(
            ". {} of {} peers were probed in this round; no result gets older than {within}",
            schedule.probed, schedule.peers
        )
    });
    format!("{all}: {}{}.", counts.join(", "), covered.unwrap_or_default())
}

/// Why paths are not clear, each reason once.
fn notes(report: &Report, faulty: &[&PathRow]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for row in faulty {
        let Some(why) = &row.why else { continue };
        let note = format!("{} ({}): {}", sentence(&row.peer), row.plane.name(), sentence(why));
        if notes.len() < REASONS && !notes.iter().any(|known| known.ends_with(&sentence(why))) {
            notes.push(note);
        }
    }
    let lost = report.node_addresses.iter().filter(|row| row.verdict == VerdictName::Unreachable);
    notes
        .extend(lost.take(REASONS).map(|row| sentence(&format!("Nobody answers at {} of {}.", row.address, row.peer))));
    notes
}

fn table(key: &str, title: &str, caption: &str, rows: &[&PathRow], trail: &Trail) -> Table {
    Table {
        key: key.to_owned(),
        title: title.to_owned(),
        caption: caption.to_owned(),
        head: &HEAD,
        rows: rows.iter().map(|row| path(row, trail)).collect(),
        notes: Vec::new(),
    }
}

/// The sign, the word and the colour of a verdict.
const fn verdict(verdict: VerdictName) -> (&'static str, &'static str, &'static str) {
    let (sign, tone) = match verdict {
        VerdictName::Clear => ("✓", "good"),
        VerdictName::Limited => ("▲", "warning"),
        VerdictName::BlackHole | VerdictName::Unreachable => ("✗", "critical"),
        VerdictName::Unknown => ("?", "unknown"),
    };
    (sign, told::words(verdict).0, tone)
}

fn path(row: &PathRow, trail: &Trail) -> Vec<Cell> {
    let (sign, word, tone) = verdict(row.verdict);
    let plane = match row.family {
        Family::Ipv4 => row.plane.name().to_owned(),
        Family::Ipv6 => format!("{} IPv6", row.plane.name()),
    };
    let ways = row.forward_mtu.zip(row.reverse_mtu).map(|(there, back)| format!("{there} / {back}"));
    let one_way = row.forward_mtu.map(|there| format!("{there} / –"));
    let limit = (row.limited_by.is_some() || row.way.is_some()).then(|| told::limit(row));
    let loss = row.loss_ratio.map(|ratio| format!("{:.0} %", (ratio * 100.0).ceil()));
    vec![
        row.peer.as_str().into(),
        plane.as_str().into(),
        Cell::marked(sign, word, tone),
        carries(row).as_str().into(),
        known(ways.or(one_way)),
        known(limit),
        known(told::round_trip(row)),
        known(loss),
        Cell { spark: Spark::draw(&trail.of(row)), ..known(None::<&str>) },
        row.address.to_string().as_str().into(),
    ]
}

/// What passes of what should.
fn carries(row: &PathRow) -> String {
    match (row.path_mtu, row.expected_mtu) {
        (Some(mtu), Some(expected)) => format!("{mtu} of {expected}"),
        (Some(mtu), None) => mtu.to_string(),
        (None, Some(expected)) => format!("? of {expected}"),
        (None, None) => "?".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::example::{cluster, published};
    use super::*;

    fn words(row: &[Cell], column: &str) -> String {
        row[HEAD.iter().position(|head| *head == column).unwrap()].text.clone()
    }

    #[test]
    fn few_paths_stand_in_one_table_the_worst_first() {
        let paths = Paths::new(&published().report, &Trail::default());
        assert!(paths.clear.is_none());
        let verdicts: Vec<_> = paths.first.rows.iter().map(|row| words(row, "verdict")).collect();
        assert_eq!(verdicts, ["unreachable", "unreachable", "black hole", "black hole", "limited", "unknown", "clear"]);
        assert_eq!(words(&paths.first.rows[0], "carries"), "? of 1500", "0 would be a size");
        assert_eq!(paths.first.notes, ["app-worker (pod): it answers TCP but no ICMP"]);
    }

    #[test]
    fn of_many_only_what_is_not_clear_is_open_and_what_is_left_out_is_counted() {
        let paths = Paths::new(&cluster(1_000, 200).report, &Trail::default());
        let clear = paths.clear.unwrap();
        assert_eq!((paths.first.rows.len(), clear.rows.len()), (FAULTY, CLEAR));
        assert!(paths.first.caption.starts_with("100 of 600 paths"), "{}", paths.first.caption);
        assert_eq!(
            (clear.title.as_str(), clear.caption.as_str()),
            ("2400 more that are clear", "50 of 2400; /report has them all.")
        );
        assert_eq!(paths.says, "3000 paths: 600 black hole, 2400 clear.");
    }

    #[test]
    fn every_row_has_every_column() {
        for row in Paths::new(&published().report, &Trail::default()).first.rows {
            assert_eq!(row.len(), HEAD.len());
        }
    }
}
