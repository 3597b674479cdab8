//! Changes: taken as they come, resumed where a watch ended, whichever way it did.

use lab::api::{Gone, Slice, Verb};

use super::*;

#[test]
fn changes_arrive() {
    let (api, asking) = with_one();
    api.put(two());
    asking.until_nodes(&["master-2", "master-3"]);
    api.put(Slice::new("nodes-b", NODES).with(Endpoint::new("worker", "10.0.0.14").unready()));
    let announced = asking.until_nodes(&["master-2", "master-3", "worker"]);
    assert!(!announced.endpoints.unwrap()[2].ready);
    api.delete("nodes-a");
    asking.until_nodes(&["worker"]);
    api.put(Slice::new("nodes-b", NODES).with(Endpoint::new("worker", "10.0.0.24")));
    let moved = asking.until("another address", |announced| {
        announced.endpoints.iter().flat_map(|all| all.iter()).any(|endpoint| endpoint.ready)
    });
    assert_eq!(moved.endpoints.unwrap()[0].addresses, ["10.0.0.24".parse::<std::net::IpAddr>().unwrap()]);
    api.put(Slice::new("nodes-b", NODES).with(Endpoint::new("worker", "10.0.0.24").terminating()));
    asking.until_nodes(&[]);
    assert_eq!(api.requests().len(), 1, "all of it by one watch");
}

#[test]
fn every_bookmark_is_a_sign_of_life_and_moves_the_version_on() {
    let (api, asking) = with_one();
    let heard = asking.told.borrow().heard;
    api.put(Slice::new("foreign", "other"));
    api.bookmark();
    asking.until("a sign of life", |announced| announced.heard == heard + 1);
    api.bookmark();
    asking.until("another one", |announced| announced.heard == heard + 2);
    api.end_watches();
    let version = api.version().to_string();
    until_asked(&api, "the watch to be resumed", |requests| {
        requests.last().is_some_and(|last| last.verb == Verb::Watch && last.query["resourceVersion"] == version)
    });
    assert_eq!(api.requests().len(), 2);
}

#[test]
fn a_watch_whose_connection_breaks_is_resumed_and_nothing_is_missed() {
    let (api, asking) = with_one();
    let version = api.version().to_string();
    api.close();
    api.put(two());
    let failing = asking.until_failing(&["watch of endpointslices in namespace mtuscope at http://127.0.0.1", "check"]);
    assert_eq!(names(&failing), Some(vec!["master-2"]), "the last endpoints stay");
    api.open();
    asking.until_nodes(&["master-2", "master-3"]);
    let last = api.requests().pop().unwrap();
    assert_eq!((last.verb, last.query["resourceVersion"].as_str()), (Verb::Watch, version.as_str()));
    assert_eq!(api.count(Verb::Stream), 1, "nothing was listed again");
}

#[test]
fn a_version_that_is_gone_takes_the_whole_again() {
    for gone in [Gone::Event, Gone::Status] {
        let (api, asking) = with_one();
        api.tell_gone(gone);
        api.close();
        api.put(two());
        api.expire();
        api.open();
        asking.until_nodes(&["master-2", "master-3"]);
        let verbs: Vec<_> = api.requests().iter().map(|request| request.verb).collect();
        assert_eq!(verbs, [Verb::Stream, Verb::Watch, Verb::Stream], "{gone:?}");
        let status = api.requests()[1].status;
        assert_eq!(status, Some(if gone == Gone::Status { 410 } else { 200 }));
    }
}

#[test]
fn a_server_that_was_restored_from_a_backup_is_listed_again() {
    let (api, asking) = with_one();
    api.close();
    api.restore();
    api.put(two());
    api.open();
    asking.until_nodes(&["master-2", "master-3"]);
    assert_eq!(api.requests()[1].status, Some(504));
}

#[test]
fn orders_are_followed_while_it_runs() {
    let (api, asking) = with_one();
    let wanted = asking.orders.borrow().clone();
    asking.orders.send_replace(None);
    let off = asking.until("nothing", |announced| announced.endpoints.is_none());
    assert!(off.failing.is_none() && off.heard > 0);
    let mut other = wanted.clone().unwrap();
    other.services.nodes = "other".into();
    api.put(Slice::new("other", "other").with(Endpoint::new("elsewhere", "10.0.0.99")));
    asking.orders.send_replace(Some(other));
    asking.until_nodes(&["elsewhere"]);
    asking.orders.send_replace(wanted);
    asking.until_nodes(&["master-2"]);
}
