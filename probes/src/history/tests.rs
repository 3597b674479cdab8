use super::*;
use crate::checks::{Alert, Area, Causes, Entry};
use crate::fact::{Reason, Source, Unread};
use crate::report::Severity;

const fn entry(code: &'static str, confirm: Confirm) -> Entry {
    Entry {
        code,
        area: Area::Paths,
        severities: &[Severity::Warning],
        title: "",
        meaning: "",
        look: &[],
        silences: &[],
        confirm,
        alert: Alert::None { why: "test" },
    }
}

static MEASURED: Entry = entry("measured", Confirm::Rounds);
static READ: Entry = entry("read", Confirm::AtOnce);

fn subject() -> Subject {
    Subject::Link("eth0".into())
}

fn candidate(entry: &'static Entry) -> Candidate {
    Candidate {
        entry,
        subject: subject(),
        severity: Severity::Warning,
        summary: String::new(),
        evidence: serde_json::Value::Null,
        fixes: Vec::new(),
        breaks: Vec::new(),
        causes: Causes::All,
    }
}

fn at(seconds: u64) -> Now {
    let wall = Timestamp::from_second(1_000_000 + i64::try_from(seconds).unwrap()).unwrap();
    Now { mono: Mono::new(Duration::from_secs(seconds)), wall }
}

fn raised(entry: &'static Entry) -> Vec<Outcome> {
    vec![Outcome { entry, result: Ok(Looked { raised: vec![candidate(entry)], unread: Vec::new() }) }]
}

fn clean(entry: &'static Entry) -> Vec<Outcome> {
    vec![Outcome { entry, result: Ok(Looked::default()) }]
}

fn unread() -> Unread {
    Unread::new(Source::Probes, Reason::NotYet)
}

fn blind(entry: &'static Entry) -> Vec<Outcome> {
    vec![Outcome { entry, result: Err(unread()) }]
}

fn blind_on_subject(entry: &'static Entry) -> Vec<Outcome> {
    let looked = Looked { raised: Vec::new(), unread: vec![(subject(), unread())] };
    vec![Outcome { entry, result: Ok(looked) }]
}

fn stands(history: &History) -> bool {
    history.standing().next().is_some()
}

#[test]
fn a_measured_finding_takes_rounds_in_agreement() {
    let mut history = History::new(2);
    history.update(raised(&MEASURED), Occasion::Round, at(0));
    assert!(!stands(&history) && history.pending() == 1);
    history.update(clean(&MEASURED), Occasion::Round, at(1));
    assert_eq!(history.pending(), 0, "a round that disagrees starts the count anew");
    history.update(raised(&MEASURED), Occasion::Round, at(2));
    history.update(raised(&MEASURED), Occasion::Round, at(3));
    assert!(stands(&history) && history.pending() == 0);
    assert_eq!(history.standing().next().unwrap().since, at(3).wall);
}

#[test]
fn a_finding_read_from_the_kernel_is_raised_at_once_and_one_clean_round_clears() {
    let mut history = History::new(5);
    history.update(raised(&READ), Occasion::Round, at(0));
    assert!(stands(&history));
    history.update(raised(&READ), Occasion::Round, at(1));
    assert_eq!(history.standing().next().unwrap().since, at(0).wall, "since is the first time");
    history.update(clean(&READ), Occasion::Round, at(2));
    assert!(!stands(&history));
}

#[test]
fn not_seen_freezes() {
    let mut history = History::new(2);
    for _ in 0..3 {
        history.update(blind(&MEASURED), Occasion::Round, at(0));
    }
    assert!(!stands(&history) && history.pending() == 0, "blindness raises nothing");
    history.update(raised(&MEASURED), Occasion::Round, at(1));
    history.update(blind(&MEASURED), Occasion::Round, at(2));
    history.update(blind_on_subject(&MEASURED), Occasion::Round, at(3));
    history.update(raised(&MEASURED), Occasion::Round, at(4));
    assert!(stands(&history), "what was seen before still counts");
    history.update(blind(&MEASURED), Occasion::Round, at(5));
    history.update(blind_on_subject(&MEASURED), Occasion::Round, at(6));
    assert!(stands(&history), "blindness clears nothing");
    history.update(clean(&MEASURED), Occasion::Round, at(7));
    assert!(!stands(&history));
}

#[test]
fn flapping_takes_longer_to_clear_each_time() {
    let mut history = History::new(1);
    let mut clean_rounds = Vec::new();
    let mut time = 0;
    for _ in 0..5 {
        history.update(raised(&READ), Occasion::Round, at(time));
        let mut rounds = 0;
        while stands(&history) {
            time += 1;
            rounds += 1;
            history.update(clean(&READ), Occasion::Round, at(time));
        }
        clean_rounds.push(rounds);
        time += 1;
    }
    assert_eq!(clean_rounds, [1, 2, 4, 8, 8]);
}

#[test]
fn a_finding_that_comes_back_much_later_is_not_flapping() {
    let mut history = History::new(1);
    history.update(raised(&READ), Occasion::Round, at(0));
    history.update(clean(&READ), Occasion::Round, at(1));
    let later = 2 + FLAP_WINDOW.as_secs();
    history.update(clean(&READ), Occasion::Round, at(later));
    history.update(raised(&READ), Occasion::Round, at(later));
    history.update(clean(&READ), Occasion::Round, at(later + 1));
    assert!(!stands(&history));
}
