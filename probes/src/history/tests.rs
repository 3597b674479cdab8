use super::*;
use crate::checks::{Causes, Entry};
use crate::fact::{Reason, Source, Unread};
use crate::report::Severity;

const fn entry(code: &'static str, confirm: Confirm) -> Entry {
    Entry { confirm, ..Entry::made_up(code) }
}

static MEASURED: Entry = entry("measured", Confirm::Rounds);
static MOVED: Entry = entry("moved", Confirm::Transfers);
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
    vec![Outcome { entry, result: Ok(Looked { raised: vec![candidate(entry)], ..Looked::default() }) }]
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
    let looked = Looked { unread: vec![(subject(), unread())], ..Looked::default() };
    vec![Outcome { entry, result: Ok(looked) }]
}

/// Everything was measured in this round.
fn all(_: Confirm, _: &Subject) -> bool {
    true
}

fn stands(history: &History) -> bool {
    history.standing().next().is_some()
}

#[test]
fn a_measured_finding_takes_rounds_in_agreement() {
    let mut history = History::new(2);
    history.update(raised(&MEASURED), Occasion::Round, all, at(0));
    assert!(!stands(&history) && history.pending() == 1);
    history.update(clean(&MEASURED), Occasion::Round, all, at(1));
    assert_eq!(history.pending(), 0, "a round that disagrees starts the count anew");
    history.update(raised(&MEASURED), Occasion::Round, all, at(2));
    history.update(raised(&MEASURED), Occasion::Round, all, at(3));
    assert!(stands(&history) && history.pending() == 0);
    assert_eq!(history.standing().next().unwrap().since, at(3).wall);
}

#[test]
fn a_finding_read_from_the_kernel_is_raised_at_once_and_one_clean_round_clears() {
    let mut history = History::new(5);
    history.update(raised(&READ), Occasion::Round, all, at(0));
    assert!(stands(&history));
    history.update(raised(&READ), Occasion::Round, all, at(1));
    assert_eq!(history.standing().next().unwrap().since, at(0).wall, "since is the first time");
    history.update(clean(&READ), Occasion::Round, all, at(2));
    assert!(!stands(&history));
}

#[test]
fn not_seen_freezes() {
    let mut history = History::new(2);
    for _ in 0..3 {
        history.update(blind(&MEASURED), Occasion::Round, all, at(0));
    }
    assert!(!stands(&history) && history.pending() == 0, "blindness raises nothing");
    history.update(raised(&MEASURED), Occasion::Round, all, at(1));
    history.update(blind(&MEASURED), Occasion::Round, all, at(2));
    history.update(blind_on_subject(&MEASURED), Occasion::Round, all, at(3));
    history.update(raised(&MEASURED), Occasion::Round, all, at(4));
    assert!(stands(&history), "what was seen before still counts");
    history.update(blind(&MEASURED), Occasion::Round, all, at(5));
    history.update(blind_on_subject(&MEASURED), Occasion::Round, all, at(6));
    assert!(stands(&history), "blindness clears nothing");
    history.update(clean(&MEASURED), Occasion::Round, all, at(7));
    assert!(!stands(&history));
}

#[test]
fn flapping_takes_longer_to_clear_each_time() {
    let mut history = History::new(1);
    let mut clean_rounds = Vec::new();
    let mut time = 0;
    for _ in 0..5 {
        history.update(raised(&READ), Occasion::Round, all, at(time));
        let mut rounds = 0;
        while stands(&history) {
            time += 10;
            rounds += 1;
            history.update(clean(&READ), Occasion::Round, all, at(time));
        }
        clean_rounds.push(rounds);
        time += 10;
    }
    assert_eq!(clean_rounds, [1, 2, 4, 8, 8]);
}

#[test]
fn a_finding_that_comes_back_much_later_is_not_flapping() {
    let mut history = History::new(1);
    history.update(raised(&READ), Occasion::Round, all, at(0));
    history.update(clean(&READ), Occasion::Round, all, at(1));
    let later = 2 + FLAP_WINDOW.as_secs();
    history.update(clean(&READ), Occasion::Round, all, at(later));
    history.update(raised(&READ), Occasion::Round, all, at(later));
    history.update(clean(&READ), Occasion::Round, all, at(later + 1));
    assert!(!stands(&history));
}

#[test]
fn somebody_at_work_is_no_flapping() {
    let mut history = History::new(1);
    for time in [0, 2, 4, 6] {
        history.update(raised(&READ), Occasion::Round, all, at(time));
        assert!(stands(&history));
        history.update(clean(&READ), Occasion::Look, all, at(time + 1));
        assert!(!stands(&history), "it goes when it is gone, {time} s after it came first");
    }
    history.update(raised(&READ), Occasion::Round, all, at(20));
    history.update(clean(&READ), Occasion::Round, all, at(21));
    assert!(stands(&history), "this time it came back");
}

#[test]
fn what_is_seen_between_rounds_has_to_settle_first() {
    let millis = |millis: u64| Now { mono: Mono::new(Duration::from_millis(millis)), wall: at(0).wall };
    let mut history = History::new(1);
    history.update(raised(&READ), Occasion::Look, all, millis(1000));
    assert!(!stands(&history) && history.is_unsettled());
    history.update(clean(&READ), Occasion::Look, all, millis(1100));
    assert!(!stands(&history) && !history.is_unsettled(), "it was a step on the way");
    history.update(raised(&READ), Occasion::Look, all, millis(2000));
    history.update(raised(&READ), Occasion::Look, all, millis(2249));
    assert!(!stands(&history));
    history.update(raised(&READ), Occasion::Look, all, millis(2250));
    assert!(stands(&history) && !history.is_unsettled());
    let mut round = History::new(1);
    round.update(raised(&READ), Occasion::Look, all, millis(1000));
    round.update(raised(&READ), Occasion::Round, all, millis(1001));
    assert!(stands(&round), "a round waits for nothing");
}

#[test]
fn measured_findings_wait_for_rounds_and_not_for_looks() {
    let mut history = History::new(2);
    history.update(raised(&MEASURED), Occasion::Round, all, at(0));
    assert!(!history.is_unsettled() && history.pending() == 1);
}

#[test]
fn what_was_not_measured_in_this_round_neither_confirms_nor_clears() {
    let none = |_: Confirm, _: &Subject| false;
    let mut history = History::new(2);
    history.update(raised(&MEASURED), Occasion::Round, all, at(0));
    assert_eq!(history.doubts().collect::<Vec<_>>(), [(&subject(), true)]);
    history.update(raised(&MEASURED), Occasion::Round, none, at(1));
    assert!(!stands(&history), "the same measurement, looked at again");
    history.update(clean(&MEASURED), Occasion::Round, none, at(2));
    assert_eq!(history.pending(), 1, "what was seen before still counts");
    history.update(raised(&MEASURED), Occasion::Round, all, at(3));
    assert_eq!(history.doubts().collect::<Vec<_>>(), [(&subject(), false)]);
    history.update(clean(&MEASURED), Occasion::Round, none, at(4));
    assert!(stands(&history));
    history.update(clean(&MEASURED), Occasion::Round, all, at(5));
    assert!(!stands(&history) && history.doubts().next().is_none());
}

#[test]
fn what_is_read_from_the_kernel_waits_for_no_measurement() {
    let none = |_: Confirm, _: &Subject| false;
    let mut history = History::new(2);
    history.update(raised(&READ), Occasion::Round, none, at(0));
    assert!(stands(&history));
    history.update(clean(&READ), Occasion::Round, none, at(1));
    assert!(!stands(&history));
}

/// Nothing new was said about anything.
fn nothing(_: Confirm, _: &Subject) -> bool {
    false
}

#[test]
fn a_transfer_counts_once_however_often_it_is_judged() {
    let mut history = History::new(2);
    history.update(raised(&MOVED), Occasion::Transfers, all, at(0));
    for second in 1..20 {
        history.update(raised(&MOVED), Occasion::Round, nothing, at(second));
        assert!(!stands(&history) && history.pending() == 1, "{second}");
    }
    history.update(raised(&MOVED), Occasion::Round, all, at(20));
    assert!(stands(&history));
    history.update(blind_on_subject(&MOVED), Occasion::Transfers, all, at(21));
    assert!(stands(&history), "an agent that is gone clears nothing");
    history.update(clean(&MOVED), Occasion::Transfers, all, at(22));
    assert!(!stands(&history), "one that passes does");
}

#[test]
fn a_flapping_transfer_is_not_clean_twice_for_one_that_passed() {
    let mut history = History::new(1);
    history.update(raised(&MOVED), Occasion::Transfers, all, at(0));
    history.update(clean(&MOVED), Occasion::Transfers, all, at(1));
    history.update(raised(&MOVED), Occasion::Transfers, all, at(20));
    history.update(clean(&MOVED), Occasion::Transfers, all, at(21));
    history.update(clean(&MOVED), Occasion::Round, nothing, at(22));
    assert!(stands(&history), "it takes two that pass by now");
    history.update(clean(&MOVED), Occasion::Transfers, all, at(40));
    assert!(!stands(&history));
}

#[test]
fn transfers_bring_nothing_new_about_anything_else() {
    let mut history = History::new(2);
    history.update(raised(&MEASURED), Occasion::Round, all, at(0));
    history.update(raised(&MEASURED), Occasion::Transfers, all, at(1));
    assert!(!stands(&history));
    history.update(clean(&MEASURED), Occasion::Transfers, all, at(2));
    assert_eq!(history.pending(), 1);
    history.update(raised(&MOVED), Occasion::Look, all, at(3));
    assert_eq!(history.pending(), 1, "nor does a look about transfers");
}

/// Could fail by a finding that clears because what named its subject could not be read.
#[test]
fn a_finding_of_which_nothing_is_known_stays_whatever_its_subject() {
    use crate::checks::Kept;
    let told = |kept: Vec<Kept>| {
        let mut history = History::new(1);
        let mut one = candidate(&READ);
        one.evidence = serde_json::json!({"network": "pods"});
        let looked = Looked { raised: vec![one], ..Looked::default() };
        history.update(vec![Outcome { entry: &READ, result: Ok(looked) }], Occasion::Round, all, at(0));
        let looked = Looked { kept, ..Looked::default() };
        history.update(vec![Outcome { entry: &READ, result: Ok(looked) }], Occasion::Round, all, at(30));
        history.standing().count()
    };
    assert_eq!(told(Vec::new()), 0);
    assert_eq!(told(vec![Kept::with("network", "overlay"), Kept::with("network", "pods")]), 1);
    assert_eq!(told(vec![Kept::with("network", "overlay"), Kept::with("source", "pods")]), 0);
    let others = |value: &str| vec![Kept::but("network", [value.to_owned()].into_iter())];
    assert_eq!((told(others("pods")), told(others("overlay"))), (0, 1));
}
