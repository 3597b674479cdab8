//! Equal-cost paths: how many source ports carry the size, and which do not, to try by hand.

use probes::report::PathRow;
use probes::report::spread::{FateName, SpreadKind, SpreadRow};

use super::super::style::{Style, Tone, clean};
use super::super::table::{Cell, table};

/// Whether packets from some source ports vanish with nobody saying so.
pub fn swallows(spread: &SpreadRow) -> bool {
    spread.kinds.iter().any(|kind| matches!(kind.fate, FateName::Swallowed | FateName::Dead))
}

/// The table, if source ports were tried.
pub(super) fn of(path: &PathRow, style: Style) -> String {
    let Some(spread) = &path.spread else { return String::new() };
    let size = spread.expected.map_or_else(|| "the full size".to_owned(), |size| format!("{size} bytes"));
    let heading = format!("EQUAL-COST PATHS to {}", clean(&path.peer));
    let explained = format!("{size} from each of {} UDP source ports", spread.ports);
    let rows: Vec<[Cell; 4]> = spread.kinds.iter().map(row).collect();
    let said = conclusion(spread);
    style.heading(&heading, &explained)
        + &table(style, ["ports", "what becomes of it", "carries", "such as"], &rows)
        + &style.wrap("  ", &said)
}

fn row(kind: &SpreadKind) -> [Cell; 4] {
    let (words, tone) = match kind.fate {
        FateName::Carried => ("arrives".to_owned(), None),
        FateName::Limited => (limited(kind), Some(Tone::Warning)),
        FateName::Swallowed => ("vanishes, small packets arrive".to_owned(), Some(Tone::Critical)),
        FateName::Dead => ("vanishes, small packets too".to_owned(), Some(Tone::Critical)),
        FateName::Unknown => ("not known".to_owned(), Some(Tone::Warning)),
    };
    let sample: Vec<String> = kind.sample.iter().map(u16::to_string).collect();
    let more = if kind.ports > kind.sample.len() { ", …" } else { "" };
    [
        kind.ports.into(),
        Cell::toned(words, tone),
        kind.carries.map_or_else(String::new, |size| size.to_string()).into(),
        format!("{}{more}", sample.join(", ")).into(),
    ]
}

fn limited(kind: &SpreadKind) -> String {
    let by = kind.address.map_or_else(|| "a hop".to_owned(), |address| address.to_string());
    match kind.reported_mtu {
        Some(mtu) => format!("{by} says {mtu}"),
        None => format!("{by} says that it is too big"),
    }
}

fn conclusion(spread: &SpreadRow) -> String {
    let (bad, settled) = (spread.bad(), spread.settled());
    let share = spread.share_bad.unwrap_or_default() * 100.0;
    match (bad, settled) {
        (_, 0) => "Nothing could be concluded of any port.".to_owned(),
        (0, _) => "Every port that answers carries it: no path of equal cost is smaller.".to_owned(),
        (bad, settled) if bad == settled => "No port carries it: every path of equal cost is smaller.".to_owned(),
        _ => format!(
            "{bad} of {settled} ports ({share:.0} %) do not carry it: one of several paths of equal cost is smaller, and \
             connections hang or run by their ports."
        ),
    }
}
