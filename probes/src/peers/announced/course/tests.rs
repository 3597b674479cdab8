//! The course against a server of words: each answer is told, and what follows is looked at.

use serde_json::json;

use super::*;
use crate::fact::{Reason, Source};

fn course() -> Course {
    Course::new(Services { nodes: "mtuscope".into(), pods: "mtuscope-pod".into() }, 7, 0)
}

fn at(seconds: u64) -> Mono {
    Mono::new(Duration::from_secs(seconds))
}

fn slice(name: &str, version: u64, nodes: &[&str]) -> serde_json::Value {
    let endpoint = |node: &&str| json!({ "addresses": [format!("10.0.0.{}", node.len())], "nodeName": node });
    let endpoints: Vec<_> = nodes.iter().map(endpoint).collect();
    json!({
        "metadata": { "name": name, "resourceVersion": version.to_string(),
            "labels": { "kubernetes.io/service-name": "mtuscope" } },
        "addressType": "IPv4",
        "endpoints": endpoints,
    })
}

fn event(kind: &str, object: serde_json::Value) -> Event {
    Event::parse(json!({ "type": kind, "object": object }).to_string().as_bytes()).unwrap()
}

fn bookmark(version: u64, initial: bool) -> Event {
    let annotations = if initial { json!({ "k8s.io/initial-events-end": "true" }) } else { json!(null) };
    event("BOOKMARK", json!({ "metadata": { "resourceVersion": version.to_string(), "annotations": annotations } }))
}

fn page(version: u64, go_on: &str, items: Vec<serde_json::Value>) -> Page {
    let page = json!({ "metadata": { "resourceVersion": version.to_string(), "continue": go_on }, "items": items });
    Page::parse(page.to_string().as_bytes()).unwrap()
}

fn failed(kind: Kind) -> Failed {
    let unread = Unread::new(Source::Kubernetes, Reason::Failed { what: format!("{kind:?}") });
    Failed { kind, retry_after: None, unread }
}

fn nodes(course: &mut Course) -> Option<Vec<String>> {
    let endpoints = course.announced().endpoints?;
    Some(endpoints.iter().map(|endpoint| endpoint.node.clone()).collect())
}

/// A course that watches from version 10 on and holds one node.
fn watching() -> Course {
    let mut course = course();
    course.on_open(at(0));
    course.on_event(event("ADDED", slice("a", 9, &["m"])), at(1)).unwrap();
    course.on_event(bookmark(10, true), at(1)).unwrap();
    course
}

#[test]
fn a_streamed_list_is_held_when_it_is_complete_and_goes_on_as_the_watch() {
    let mut course = course();
    assert_eq!(course.next(at(0)), Step::Ask(Query::Stream));
    course.on_open(at(0));
    course.on_event(event("ADDED", slice("a", 9, &["m"])), at(1)).unwrap();
    assert_eq!((nodes(&mut course), course.announced().heard), (None, 0));
    course.on_event(bookmark(10, true), at(1)).unwrap();
    assert_eq!((nodes(&mut course), course.announced().heard), (Some(vec!["m".into()]), 1));
    course.on_event(event("MODIFIED", slice("a", 11, &["m", "nn"])), at(1)).unwrap();
    assert_eq!(nodes(&mut course), Some(vec!["m".into(), "nn".into()]));
    course.on_event(event("DELETED", slice("a", 12, &["m", "nn"])), at(1)).unwrap();
    assert_eq!(nodes(&mut course), Some(vec![]));
    course.on_end(at(300));
    assert_eq!(course.next(at(300)), Step::Ask(Query::Watch("12".into())));
}

#[test]
fn who_refuses_to_stream_is_asked_for_a_list_at_once_and_that_is_no_failure() {
    for code in [400, 403, 404, 422] {
        let mut course = course();
        course.on_failed(failed(Kind::Status(code)), at(0));
        assert_eq!(course.next(at(0)), Step::Ask(Query::List(None)), "{code}");
        assert_eq!(course.announced().failing, None);
        course.on_page(page(10, "", vec![slice("a", 9, &["m"])]));
        assert_eq!(course.next(at(0)), Step::Ask(Query::Watch("10".into())));
        course.on_failed(failed(Kind::Gone), at(1));
        assert_eq!(course.next(at(100)), Step::Ask(Query::List(None)), "it is not asked to stream again");
        course.on_other_server();
        assert_eq!(course.next(at(100)), Step::Ask(Query::Stream));
    }
}

#[test]
fn who_has_no_time_now_has_not_refused() {
    for code in [429, 500, 503, 401] {
        let mut course = course();
        course.on_failed(failed(Kind::Status(code)), at(0));
        assert!(matches!(course.next(at(0)), Step::Wait(_)), "{code}");
        assert_eq!(course.next(at(100)), Step::Ask(Query::Stream));
        assert!(course.announced().failing.is_some());
    }
}

#[test]
fn a_stream_that_never_comes_to_the_end_of_the_beginning_is_given_up() {
    let mut course = course();
    course.on_open(at(0));
    course.on_event(event("ADDED", slice("a", 9, &["m"])), at(1)).unwrap();
    course.on_failed(failed(Kind::Silent), at(30));
    assert_eq!(course.next(at(30)), Step::Ask(Query::List(None)));
}

#[test]
fn a_list_in_chunks_is_held_when_the_last_has_come() {
    let mut course = course();
    course.on_failed(failed(Kind::Status(422)), at(0));
    course.on_page(page(10, "more", vec![slice("a", 9, &["m"])]));
    assert_eq!(course.next(at(0)), Step::Ask(Query::List(Some("more".into()))));
    assert_eq!(nodes(&mut course), None);
    course.on_page(page(10, "", vec![slice("b", 8, &["nn"])]));
    assert_eq!(nodes(&mut course), Some(vec!["m".into(), "nn".into()]));
    assert_eq!(course.next(at(0)), Step::Ask(Query::Watch("10".into())));
}

#[test]
fn a_token_that_expired_takes_the_list_from_its_beginning_without_what_had_come() {
    for kind in [Kind::Gone, Kind::Broken, Kind::Status(500)] {
        let mut course = course();
        course.on_failed(failed(Kind::Status(422)), at(0));
        course.on_page(page(10, "more", vec![slice("a", 9, &["m"])]));
        course.on_failed(failed(kind), at(0));
        assert_eq!(course.next(at(100)), Step::Ask(Query::List(None)));
        course.on_page(page(20, "", vec![slice("b", 8, &["nn"])]));
        assert_eq!(nodes(&mut course), Some(vec!["nn".into()]), "{kind:?}");
    }
}

#[test]
fn a_watch_that_breaks_is_resumed_where_it_was() {
    let mut course = watching();
    course.on_event(bookmark(15, false), at(1)).unwrap();
    course.on_failed(failed(Kind::Broken), at(40));
    assert!(course.announced().failing.is_some());
    let Step::Wait(until) = course.next(at(40)) else { panic!("{course:?}") };
    assert!(until <= at(42));
    assert_eq!(course.next(until), Step::Ask(Query::Watch("15".into())));
    course.on_open(until);
    assert_eq!(course.announced().failing, None);
    assert_eq!(nodes(&mut course), Some(vec!["m".into()]));
}

#[test]
fn a_version_that_is_gone_takes_the_whole_again_while_the_old_one_holds() {
    let mut course = watching();
    let status = Status { code: 410, ..Status::default() };
    let ended = course.on_event(Event::Error(status), at(1)).unwrap_err();
    course.on_failed(failed(Kind::of(&ended)), at(1));
    assert_eq!((nodes(&mut course), course.announced().failing), (Some(vec!["m".into()]), None));
    assert_eq!(course.next(at(10)), Step::Ask(Query::Stream));
    course.on_open(at(10));
    course.on_event(event("ADDED", slice("b", 21, &["nn"])), at(1)).unwrap();
    course.on_failed(failed(Kind::Broken), at(11));
    assert_eq!(nodes(&mut course), Some(vec!["m".into()]), "half a list takes nobody away");
    course.on_open(at(80));
    course.on_event(event("ADDED", slice("c", 22, &["ppp"])), at(1)).unwrap();
    course.on_event(bookmark(23, true), at(1)).unwrap();
    assert_eq!(nodes(&mut course), Some(vec!["ppp".into()]));
}

#[test]
fn a_server_that_was_restored_from_a_backup_is_asked_for_the_whole() {
    let status = Status { code: 504, message: "Timeout: Too large resource version: 9".into(), ..Status::default() };
    let mut course = watching();
    course.on_failed(failed(Kind::of(&status)), at(1));
    assert_eq!(course.next(at(10)), Step::Ask(Query::Stream));
}

#[test]
fn an_error_in_the_stream_that_is_no_410_resumes() {
    let mut course = watching();
    let ended = course.on_event(Event::Error(Status { code: 500, ..Status::default() }), at(1)).unwrap_err();
    course.on_failed(failed(Kind::of(&ended)), at(1));
    assert_eq!(course.next(at(10)), Step::Ask(Query::Watch("10".into())));
}

#[test]
fn signs_of_life_are_counted_and_an_open_connection_is_none() {
    let mut course = watching();
    course.on_end(at(5));
    assert_eq!(course.announced().heard, 1, "it ended too soon to be in order");
    course.on_open(at(10));
    assert_eq!(course.announced().heard, 1);
    course.on_event(bookmark(10, false), at(1)).unwrap();
    assert_eq!(course.announced().heard, 2);
    course.on_event(event("MODIFIED", slice("a", 11, &["m"])), at(1)).unwrap();
    assert_eq!(course.announced().heard, 3);
    course.on_end(at(310));
    assert_eq!(course.announced().heard, 4);
}

#[test]
fn who_ends_every_watch_at_once_is_not_asked_without_pause() {
    let mut course = watching();
    let mut asked = 0;
    let mut now = at(1);
    while now < at(600) {
        match course.next(now) {
            Step::Wait(until) => now = until,
            Step::Ask(_) => {
                asked += 1;
                course.on_open(now);
                course.on_event(bookmark(10, false), now).unwrap();
                course.on_end(now);
            }
        }
    }
    assert!(asked < 60, "{asked}");
}

/// Fails if a server that takes lists but no watch is asked for all there is again and again.
#[test]
fn who_has_forgotten_every_version_is_not_listed_without_pause() {
    let mut course = watching();
    let (mut now, mut wholes) = (at(1), 0);
    while now < at(600) {
        match course.next(now) {
            Step::Wait(until) => now = until,
            Step::Ask(Query::Watch(_)) => course.on_failed(failed(Kind::Gone), now),
            Step::Ask(_) => {
                wholes += 1;
                course.on_open(now);
                course.on_event(bookmark(10 + wholes, true), now).unwrap();
                course.on_end(now);
            }
        }
    }
    assert!(wholes < 60, "{wholes}");
}

#[test]
fn what_stays_the_same_is_the_same_value() {
    let mut course = watching();
    let before = course.announced().endpoints.unwrap();
    course.on_event(bookmark(15, false), at(1)).unwrap();
    course.on_event(event("MODIFIED", slice("a", 16, &["m"])), at(1)).unwrap();
    assert!(Arc::ptr_eq(&before, &course.announced().endpoints.unwrap()));
}

/// An hour without the API: every attempt fails. The peers stay, the attempts are few, and the first that is answered
/// finds the version gone and takes the whole.
#[test]
fn an_hour_of_outage_takes_nobody_away() {
    let mut course = watching();
    let (mut now, mut attempts) = (at(100), 0);
    course.on_failed(failed(Kind::Broken), now);
    while now < at(3700) {
        match course.next(now) {
            Step::Wait(until) => now = until,
            Step::Ask(query) => {
                assert_eq!(query, Query::Watch("10".into()));
                attempts += 1;
                course.on_failed(failed(Kind::Broken), now);
            }
        }
    }
    assert!((60..400).contains(&attempts), "{attempts}");
    let announced = course.announced();
    assert_eq!((announced.heard, announced.failing.is_some()), (1, true));
    assert_eq!(nodes(&mut course), Some(vec!["m".into()]));
    course.on_failed(failed(Kind::Gone), now);
    let Step::Wait(until) = course.next(now) else { panic!("it waits") };
    assert!(until.since(now) <= Duration::from_secs(60));
    assert_eq!(course.next(until), Step::Ask(Query::Stream));
    course.on_open(until);
    course.on_event(event("ADDED", slice("a", 90, &["nn"])), at(1)).unwrap();
    course.on_event(bookmark(91, true), at(1)).unwrap();
    assert_eq!((nodes(&mut course), course.announced().failing), (Some(vec!["nn".into()]), None));
}
