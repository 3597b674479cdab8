//! The hops of a path: each with its distance, its name, its round trip and the largest packet that it sees. The hop
//! before which a size is lost is marked.

use probes::path::{Hole, HopAt, HopRow};
use probes::report::PathRow;

use super::super::style::{Style, Tone, clean};
use super::super::table::{Cell, known, table};

/// The table, if there are hops.
pub(super) fn of(path: &PathRow, style: Style) -> String {
    if path.hops.is_empty() {
        return String::new();
    }
    let rows: Vec<[Cell; 5]> = path.hops.iter().map(|hop| row(path, hop)).collect();
    let heading = format!("HOPS to {}", clean(&path.peer));
    style.heading(&heading, "bytes of the largest packet that each one sees")
        + &table(style, ["hop", "address", "sees", "", "round trip"], &rows)
}

fn row(path: &PathRow, hop: &HopRow) -> [Cell; 5] {
    let address = hop.address.map_or_else(|| "says nothing".to_owned(), |address| address.to_string());
    let name = if hop.target { format!("{address} (target)") } else { address };
    let mark = mark(path, hop);
    let tone = mark.as_ref().map(|_| Tone::Critical);
    [
        hop.ttl.into(),
        name.into(),
        Cell::toned(hop.carried.map_or_else(|| "?".to_owned(), |size| size.to_string()), tone),
        Cell::toned(mark.unwrap_or_default(), tone),
        known(hop.round_trip_seconds.map(|seconds| format!("{:.2} ms", seconds * 1e3))),
    ]
}

/// What is to be said beside a hop.
fn mark(path: &PathRow, hop: &HopRow) -> Option<String> {
    let lost = path.hole.is_some_and(|hole| hole.before.ttl == hop.ttl);
    let says = path.limited_by.filter(|limit| limit.reported_mtu.is_some() && limit.address == hop.address);
    match says {
        _ if lost => Some("◄ larger ones vanish before it".into()),
        Some(limit) if limit.address.is_some() => {
            limit.reported_mtu.map(|mtu| format!("◄ says that its next link carries {mtu}"))
        }
        _ => None,
    }
}

/// Where a size is lost, in a cell.
pub(super) fn arrow(hole: &Hole) -> String {
    let name = |hop: &HopAt| hop.address.map_or_else(|| "?".to_owned(), |address| address.to_string());
    let after = hole.after.as_ref().map_or_else(|| "here".to_owned(), name);
    format!("{after} → {} (hop {})", name(&hole.before), hole.before.ttl)
}
