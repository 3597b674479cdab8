//! What only explains: links, tunnels, what is declared, settings, kube-vip.

use probes::report::{LinkRow, Report, Role, SettingRow, TunnelRow};

use super::super::super::text::{declared, tables as told, vip};

use super::table::{Cell, Table, class, known};
use super::{count, sentence};

/// Rows of one table.
const ROWS: usize = 100;

/// Every table that has something to show.
pub(super) fn all(report: &Report) -> Vec<Table> {
    let all = [links(report), tunnels(report), declared(report), settings(report), vips(report)];
    all.into_iter().filter(|table| !table.rows.is_empty() || !table.notes.is_empty()).collect()
}

/// A table of its first rows, which says how many there are.
fn section(title: &str, caption: &str, head: &'static [&'static str], rows: impl Iterator<Item = Vec<Cell>>) -> Table {
    let mut rows: Vec<Vec<Cell>> = rows.collect();
    let all = rows.len();
    rows.truncate(ROWS);
    let notes = (all > ROWS).then(|| format!("{} more are not shown; /report has them all.", all - ROWS));
    Table {
        key: title.to_owned(),
        title: title.to_owned(),
        caption: caption.to_owned(),
        head,
        rows,
        notes: notes.into_iter().collect(),
    }
}

fn links(report: &Report) -> Table {
    let shown = report.links.iter().filter(|link| told::is_shown(link.role));
    let head = &["link", "role", "kind", "MTU", "state", "master", "over"];
    let mut table = section("Links", "Those that carry the cluster's traffic.", head, shown.map(link));
    table.notes.extend(told::pods(report).map(|said| format!("{said}.")));
    let others = report.links.iter().filter(|link| link.role == Role::Other).count();
    if others > 0 {
        table.notes.push(format!("{} that carry no cluster traffic are not shown.", count(others, "other link")));
    }
    table
}

fn link(link: &LinkRow) -> Vec<Cell> {
    let state = match (link.up, link.carrier) {
        (false, _) => Cell::marked("✗", "down", "critical"),
        (true, Some(false)) => Cell::marked("✗", "no carrier", "critical"),
        (true, _) => Cell::marked("✓", "up", "good"),
    };
    vec![
        link.name.as_str().into(),
        link.role.name().into(),
        link.kind.as_str().into(),
        known(Some(link.mtu)),
        state,
        known(link.master.as_deref()),
        known(link.lower.as_deref()),
    ]
}

fn tunnels(report: &Report) -> Table {
    let head = &["tunnel", "kind", "MTU", "overhead", "headroom", "over", "id", "port"];
    let caption = "Headroom is what the link below has left over: below zero, full packets do not fit.";
    let mut table = section("Tunnels", caption, head, report.tunnels.iter().map(tunnel));
    table.notes.extend(told::recommended(report).map(|said| sentence(&said)));
    table
}

fn tunnel(tunnel: &TunnelRow) -> Vec<Cell> {
    let lower = tunnel.lower.as_ref().map(|name| match tunnel.lower_mtu {
        Some(mtu) => format!("{name} ({mtu})"),
        None => name.clone(),
    });
    let headroom = match tunnel.headroom {
        Some(room) if room < 0 => Cell::marked("✗", format!("{room} does not fit"), "critical"),
        room => known(room),
    };
    vec![
        tunnel.link.as_str().into(),
        tunnel.kind.into(),
        known(Some(tunnel.mtu)),
        known(tunnel.overhead),
        headroom,
        known(lower),
        known(tunnel.id),
        known(tunnel.port),
    ]
}

fn declared(report: &Report) -> Table {
    let subjects = declared::by_subject(report);
    let notes: Vec<String> = subjects
        .iter()
        .map(|(subject, rows)| sentence(&format!("{subject}: {}.", declared::what_there_is(rows))))
        .collect();
    let rows = subjects.iter().flat_map(|(subject, rows)| {
        declared::lines(report, rows).into_iter().map(move |line| {
            let (word, tone) = match line.sign {
                "≠" => ("differs", class(line.tone.or(Some(super::super::super::text::style::Tone::Warning)))),
                "=" => ("agrees", "good"),
                "?" => ("not known", "unknown"),
                _ => ("left open", ""),
            };
            let words = Cell { text: sentence(&line.words), ..Cell::default() };
            vec![(*subject).into(), line.size.as_str().into(), Cell::marked(line.sign, word, tone), words]
        })
    });
    let mut table = section(
        "Declared",
        "What is written down, and whether the kernel has it so.",
        &["of", "MTU", "kernel", "where"],
        rows,
    );
    table.notes.splice(0..0, notes.into_iter().take(ROWS));
    table
}

fn settings(report: &Report) -> Table {
    let row = |row: &SettingRow| {
        let link = if row.link.is_empty() { "the machine" } else { &row.link };
        vec![row.name.as_str().into(), link.into(), known(Some(row.value)), known(row.wanted.as_deref())]
    };
    let head = &["setting", "link", "value", "wanted"];
    section("Settings", "Effective values of the kernel.", head, told::shown_settings(report).map(row))
}

fn vips(report: &Report) -> Table {
    let table = section("kube-vip", "", &[], std::iter::empty());
    let notes = report.vips.iter().take(ROWS).map(|row| sentence(&format!("{}.", vip::line(row)))).collect();
    Table { notes, ..table }
}
