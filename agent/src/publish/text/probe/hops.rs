//! The hops of a path: each with its distance, its name, its round trip and the largest packet that it sees. The hop
//! before which a size is lost is marked.

use probes::path::{Hole, HopAt, HopRow};
use probes::report::PathRow;
use probes::units::IpSize;

use super::super::style::{Style, Tone, clean};
use super::super::table::{Cell, known, table};

/// The table, if there are hops.
pub(super) fn of(path: &PathRow, style: Style) -> String {
    if path.hops.is_empty() {
        return String::new();
    }
    let rows: Vec<[Cell; 5]> = path.hops.iter().map(|hop| row(path, hop)).collect();
    let heading = format!("HOPS to {}", clean(&path.peer));
    style.heading(&heading, "bytes of the largest packet tried that each one saw")
        + &table(style, ["hop", "address", "saw", "", "round trip"], &rows)
}

fn row(path: &PathRow, hop: &HopRow) -> [Cell; 5] {
    let mut name = hop.address.map_or_else(|| "says nothing".to_owned(), |address| address.to_string());
    hop.also.iter().for_each(|also| name.push_str(&format!(", {also}")));
    if hop.target {
        name.push_str(" (target)");
    }
    let mark = mark(path, hop);
    let tone = mark.as_ref().map(|_| Tone::Critical);
    [
        hop.ttl.into(),
        name.into(),
        Cell::toned(saw(path, hop).map_or_else(|| "?".to_owned(), |size| size.to_string()), tone),
        Cell::toned(mark.unwrap_or_default(), tone),
        known(hop.round_trip_seconds.map(|seconds| format!("{:.2} ms", seconds * 1e3))),
    ]
}

/// Hops are asked with few sizes. What the target got has passed every one of them.
fn saw(path: &PathRow, hop: &HopRow) -> Option<IpSize> {
    let passed = path.forward_mtu.or(path.path_mtu);
    hop.carried.map(|carried| passed.map_or(carried, |passed| carried.max(passed)))
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
