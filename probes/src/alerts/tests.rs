//! What promtool cannot say: that names, references and texts hold together, at either pace.

use std::collections::BTreeSet;

use super::*;
use crate::checks::{ALL, Alert};

fn alerts(pace: Pace) -> Vec<AlertRule> {
    let all = rules(pace).into_iter().flat_map(|group| group.rules);
    all.filter_map(|rule| if let Rule::Alert(alert) = rule { Some(alert) } else { None }).collect()
}

fn recorded(pace: Pace) -> Vec<Recording> {
    let all = rules(pace).into_iter().flat_map(|group| group.rules);
    all.filter_map(|rule| if let Rule::Recording(recording) = rule { Some(recording) } else { None }).collect()
}

#[test]
fn spans_are_written_in_the_largest_unit_that_fits() {
    let shown = [0, 1, 59, 60, 90, 900, 3600, 5400].map(|seconds| Span(seconds).to_string());
    assert_eq!(shown, ["0s", "1s", "59s", "1m", "90s", "15m", "1h", "90m"]);
    assert_eq!((Pace::Shipped.minutes(2), Pace::Test.minutes(2)), (Span(120), Span(2)));
}

#[test]
fn the_build_may_say_where_the_runbook_stands() {
    let told = runbook(Some("https://wiki.example/RUNBOOK.md"));
    assert_eq!(told, "https://wiki.example/RUNBOOK.md");
    // A build argument that nobody gives is empty.
    assert!([None, Some("")].map(runbook).iter().all(|there| there.starts_with("https://github.com/OWNER/")));
    assert_eq!(RUNBOOK, runbook(option_env!("MTUSCOPE_RUNBOOK")));
}

#[test]
fn every_code_that_alerts_does_once_for_each_severity_above_info() {
    let all = alerts(Pace::Shipped);
    for check in ALL {
        let of: Vec<_> = all.iter().filter(|alert| alert.anchor == check.entry.code).collect();
        let Alert::Named { name, minutes } = check.entry.alert else {
            assert!(of.is_empty(), "{} alerts", check.entry.code);
            continue;
        };
        let severities: BTreeSet<_> = of.iter().map(|alert| alert.severity).collect();
        let wanted: BTreeSet<_> =
            check.entry.severities.iter().copied().filter(|severity| *severity > Severity::Info).collect();
        assert_eq!((of.len(), severities), (wanted.len(), wanted), "{}", check.entry.code);
        let hold = Pace::Shipped.minutes(minutes);
        assert!(of.iter().all(|alert| alert.name == name && alert.hold == hold), "{}", check.entry.code);
    }
}

#[test]
fn an_alert_is_kept_for_as_long_as_it_took() {
    for alert in alerts(Pace::Shipped) {
        assert!(alert.keep >= Pace::Shipped.minutes(5), "{}: shorter than a restart", alert.name);
        let of_finding = ALL.iter().any(|check| check.entry.code == alert.anchor);
        assert!(!of_finding || alert.keep >= alert.hold, "{}: a gap where severities change", alert.name);
    }
}

#[test]
fn names_are_of_one_form() {
    let words = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric());
    let all = alerts(Pace::Shipped);
    assert!(all.iter().all(|alert| alert.name.starts_with("Mtuscope") && words(alert.name)));
    let recorded = recorded(Pace::Shipped);
    for Recording { name, what, .. } in &recorded {
        assert_eq!(name.split(':').count(), 3, "{name}: level:metric:operation");
        assert!(name.split(':').nth(1).unwrap().starts_with("mtuscope_") && !what.is_empty(), "{name}");
    }
    let names: BTreeSet<_> = recorded.iter().map(|recording| recording.name).collect();
    assert_eq!(names.len(), recorded.len(), "two rules record the same");
    let pairs: BTreeSet<_> = all.iter().map(|alert| (alert.name, alert.severity)).collect();
    assert_eq!(pairs.len(), all.len(), "two rules raise the same");
}

#[test]
fn anchors_of_agents_are_no_codes_and_each_says_what_to_do() {
    let codes: BTreeSet<_> = ALL.iter().map(|check| check.entry.code).collect();
    for watch in agents::ALL {
        assert!(!codes.contains(watch.anchor), "{}", watch.anchor);
        assert!(watch.severity < Severity::Critical, "{}: no packet is lost for it", watch.name);
        assert!(!watch.look.is_empty() && !watch.fix.is_empty() && watch.meaning.ends_with('.'), "{}", watch.name);
    }
}

#[test]
fn a_summary_is_a_line_and_braces_close() {
    for alert in alerts(Pace::Shipped) {
        assert!(!alert.summary.contains('\n'), "{}", alert.name);
        for text in [&alert.summary, &alert.description, &alert.plain.summary, &alert.plain.description] {
            assert_eq!(text.matches("{{").count(), text.matches("}}").count(), "{}: {text}", alert.name);
            let (begun, ended) = (["{{ if", "{{ range", "{{ with"], text.matches("{{ end }}").count());
            let begun: usize = begun.map(|word| text.matches(word).count()).into_iter().sum();
            assert_eq!(begun, ended, "{}: {text}", alert.name);
        }
        assert!(!format!("{:?}", alert.plain).contains("query "), "{}", alert.name);
    }
}

#[test]
fn at_test_pace_a_minute_is_a_second_and_nothing_else_differs() {
    // Spans stand in brackets, the step of a subquery among them, and behind `offset`.
    let seconds = |text: &str| {
        let mut told = String::new();
        for piece in text.split_inclusive(['[', ':', ']', ' ', '\n']) {
            let (word, end) = piece.split_at(piece.trim_end_matches(['[', ':', ']', ' ', '\n']).len());
            let minutes = word.strip_suffix('m').and_then(|number| number.parse::<u32>().ok());
            let hours = word.strip_suffix('h').and_then(|number| number.parse::<u32>().ok());
            match minutes.or(hours.map(|hours| hours * 60)) {
                Some(minutes) => told.push_str(&format!("{}{end}", Span(minutes))),
                None => told.push_str(piece),
            }
        }
        told
    };
    for (shipped, test) in alerts(Pace::Shipped).iter().zip(alerts(Pace::Test)) {
        assert_eq!((seconds(&shipped.expr), &shipped.summary), (test.expr.clone(), &test.summary));
        assert_eq!((shipped.hold.0, &shipped.description), (test.hold.0 * 60, &test.description));
    }
    for (shipped, test) in recorded(Pace::Shipped).iter().zip(recorded(Pace::Test)) {
        assert_eq!((shipped.name, seconds(&shipped.expr)), (test.name, test.expr));
    }
}

#[test]
fn codes_that_are_shared_or_about_peers_are_told_by_their_subject() {
    let peers: BTreeSet<_> = findings::of_peers().collect();
    for code in ["peer-unreachable", "path-black-hole", "overlay-unreachable", "pod-unreachable"] {
        assert!(peers.contains(code), "{code}");
    }
    for code in ["link-down", "vip-absent", "sysctl-drift", "peer-source-stale"] {
        assert!(!peers.contains(code), "{code}");
    }
}

#[test]
fn what_silences_each_other_does_not_leave_each_other_out() {
    let all = alerts(Pace::Shipped);
    let leaves_out = |code: &str, other: &str| {
        let of = all.iter().find(|alert| alert.anchor == code).unwrap();
        of.expr.split("unless").skip(1).any(|part| part.split(['"', '|']).any(|word| word == other))
    };
    assert!(leaves_out("pod-unreachable", "peer-unreachable"));
    assert!(!leaves_out("peer-unreachable", "pod-unreachable"));
    for one in findings::of_peers() {
        for other in findings::of_peers() {
            assert!(!(leaves_out(one, other) && leaves_out(other, one)), "{one} and {other} hide each other");
        }
    }
}

#[test]
fn files_hold_every_rule() {
    let groups = rules(Pace::Shipped);
    let (alerts, recorded) = (alerts(Pace::Shipped).len(), recorded(Pace::Shipped).len());
    for file in [prometheus(&groups), operator(&groups)] {
        assert_eq!((file.matches("- alert: ").count(), file.matches("- record: ").count()), (alerts, recorded));
    }
    assert_eq!(
        (recordings(&groups).matches("- alert: ").count(), grafana(&groups).matches("- uid: ").count()),
        (0, alerts)
    );
}
