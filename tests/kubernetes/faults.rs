//! What servers, and what stands before them, answer instead.

use lab::api::{Fault, Verb};

use super::*;

/// What a server says that is busy or broken passes, is named while it lasts, and takes nobody to another way of asking.
#[test]
fn who_is_busy_or_broken_is_asked_again() {
    for (fault, words) in [
        (Fault::too_many(1), ["429", "priority and fairness"]),
        (Fault::status(429, "TooManyRequests").after(1), ["429", "priority and fairness"]),
        (Fault::status(500, "InternalError"), ["500", "its store"]),
        (Fault::status(503, "ServiceUnavailable"), ["503", "its store"]),
        (Fault::Text { code: 502, body: "<html>Bad Gateway</html>".into(), retry_after: None }, ["502", "Bad Gateway"]),
        (Fault::Body("<html>Please log in</html>\n".into()), ["malformed", "what stands between"]),
        (Fault::Body("{\"type\":\"ADDED\",\"object\":3}\n".into()), ["malformed", "what stands between"]),
        (Fault::Broken("{\"type\":\"ADDED\",\"obj".into()), ["watch of endpointslices", "can be reached"]),
    ] {
        let api = api();
        api.put(one());
        api.always(Some(fault));
        let asking = Asking::of(&api);
        let failing = asking.until_failing(&words);
        assert!(failing.endpoints.is_none());
        api.always(None);
        asking.until_nodes(&["master-2"]);
        assert_eq!(api.count(Verb::List), 0);
    }
}

#[test]
fn the_servers_word_is_kept() {
    let api = api();
    api.put(one());
    api.next(Verb::Stream, Fault::too_many(3));
    let started = std::time::Instant::now();
    let asking = Asking::of(&api);
    asking.until_nodes(&["master-2"]);
    assert!(started.elapsed() >= Duration::from_secs(3), "it came back after {:?}", started.elapsed());
}

#[test]
fn a_missing_right_is_named_with_its_verb() {
    let api = api();
    api.put(one());
    api.always(Some(Fault::forbidden("list")));
    let asking = Asking::of(&api);
    asking.until_failing(&[
        "Role in namespace mtuscope",
        "verb list on endpointslices of discovery.k8s.io",
        "cannot list",
    ]);
    api.always(None);
    asking.until_nodes(&["master-2"]);
    api.always(Some(Fault::forbidden("watch")));
    api.cut();
    let failing = asking.until_failing(&["Role in namespace mtuscope", "verb watch on endpointslices"]);
    assert_eq!(names(&failing), Some(vec!["master-2"]));
}

#[test]
fn half_a_list_takes_nobody_away() {
    let (api, asking) = with_one();
    api.expire();
    api.next(Verb::Stream, Fault::Broken("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\"}}}\n".into()));
    api.put(two());
    api.cut();
    asking.until("the broken list", |announced| {
        assert_ne!(names(announced).map(|names| names.len()), Some(0));
        names(announced).is_some_and(|names| names.len() == 2)
    });
}

#[test]
fn an_api_without_the_resource_is_named() {
    let api = api();
    let asking = Asking::of(&api);
    asking.until_nodes(&[]);
    let mut wanted = asking.orders.borrow().clone().unwrap();
    wanted.namespace = Some("elsewhere".into());
    asking.orders.send_replace(Some(wanted));
    asking.until_failing(&["404", "namespace elsewhere", "since 1.21"]);
}
