//! What `mtuscope probe` prints: a row for each address, and below it what every one that is not clear means.

use probes::path::VerdictName;
use probes::report::{PathRow, ProbeReport};

use super::style::{Style, clean};
use super::table::{Cell, known, table};
use super::tables::{carries, limit, round_trip, verdict, words};

/// Measured paths as text.
pub fn probe(report: &ProbeReport, style: Style) -> String {
    let row = |row: &PathRow| -> [Cell; 7] {
        [
            row.peer.as_str().into(),
            verdict(row),
            carries(row).into(),
            limit(row).into(),
            known(round_trip(row)),
            row.packets_sent.into(),
            known(row.cached_mtu.filter(|cached| Some(*cached) != row.path_mtu)),
        ]
    };
    let rows: Vec<_> = report.paths.iter().map(row).collect();
    let header = ["address", "verdict", "carries", "limited by", "round trip", "packets", "cached"];
    let about = |path: &PathRow| Some(format!("{} ({}): {}", path.peer, words(path.verdict).0, meaning(path)?));
    let about: Vec<String> = report.paths.iter().filter_map(about).collect();
    let mut text = table(style, header, &rows);
    text.push_str(if about.is_empty() { "" } else { "\n" });
    about.iter().for_each(|about| text.push_str(&style.hanging(&clean(about))));
    text
}

/// What a verdict means for whoever has to act on it.
fn meaning(path: &PathRow) -> Option<String> {
    let why = path.why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    let size = path.path_mtu.map(|mtu| mtu.to_string()).unwrap_or_default();
    match path.verdict {
        VerdictName::Clear => None,
        VerdictName::Limited => Some(format!(
            "packets larger than {size} bytes are refused with an ICMP error, so senders can adapt; \
             what drops ICMP on the way back would turn this into a black hole{why}."
        )),
        VerdictName::BlackHole => Some(format!(
            "packets larger than {size} bytes vanish in silence: connections open and then hang. Raise the MTU of \
             the link that drops them, or set the sender's MTU to {size}{why}."
        )),
        VerdictName::Unreachable => Some(format!("nothing comes back for any size{why}.")),
        VerdictName::Unknown => Some(format!("nothing could be concluded{why}.")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use insta::assert_snapshot;

    use super::super::super::example;
    use super::*;

    #[test]
    fn a_path_of_every_verdict() {
        let report = Arc::unwrap_or_clone(example::published().report);
        let named = |path: PathRow| PathRow { peer: path.address.to_string(), ..path };
        let paths = report.paths.into_iter().map(named).collect();
        let report = ProbeReport { schema: "mtuscope.probe/v1", paths };
        assert_snapshot!(probe(&report, Style { colour: false, width: 90 }));
    }
}
