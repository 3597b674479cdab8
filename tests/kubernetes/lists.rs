//! The whole: streamed, in chunks, and what is made of it.

use lab::api::{Api, Endpoint, Fault, Kind, NODES, PODS, Slice, Verb};
use probes::report::Vantage;

use super::*;

#[test]
fn a_streamed_list_costs_one_request_for_what_is_needed_and_goes_on_as_the_watch() {
    let (api, asking) = with_one();
    api.put(two());
    asking.until_nodes(&["master-2", "master-3"]);
    let requests = api.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].verb, Verb::Stream);
    assert_eq!(requests[0].query["labelSelector"], "kubernetes.io/service-name in (mtuscope,mtuscope-pod)");
    let seconds: u64 = requests[0].query["timeoutSeconds"].parse().unwrap();
    assert!((300..=600).contains(&seconds), "{seconds}");
}

#[test]
fn endpoints_are_what_the_slices_say() {
    let api = api();
    let node = |name: &str, address: &str| Endpoint::new(name, address);
    let mut unsaid = node("d", "10.0.0.4");
    (unsaid.ready, unsaid.serving, unsaid.terminating) = (None, None, None);
    api.put_all([
        Slice::new("v4", NODES)
            .with(node("a", "10.0.0.1").zone("east"))
            .with(node("b", "10.0.0.2").unready())
            .with(node("c", "10.0.0.3").terminating())
            .with(unsaid)
            .with(Endpoint { node: None, ..node("e", "10.0.0.5") }),
        Slice::new("v6", NODES).of(Kind::Ipv6).with(node("a", "fd00::1")),
        Slice::new("names", NODES).of(Kind::Name).with(node("f", "f.example")),
        Slice::new("pods", PODS).with(node("a", "10.244.1.2")),
        Slice::new("empty", PODS),
        Slice::new("foreign", "other").with(node("g", "10.0.0.7")),
    ]);
    let asking = Asking::of(&api);
    let announced = asking.until_nodes(&["a", "a", "b", "d"]);
    let seen: Vec<_> = announced.endpoints.iter().flat_map(|all| all.iter()).collect();
    assert_eq!(seen[0].addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
    assert_eq!((seen[0].vantage, seen[0].zone.as_deref()), (Vantage::Node, Some("east")));
    assert_eq!((seen[1].vantage, seen[1].addresses.len()), (Vantage::Pod, 1));
    assert_eq!((seen[2].ready, seen[3].ready), (false, true));
}

#[test]
fn where_streaming_is_refused_a_list_is_taken_in_chunks_and_watched_from_there() {
    for fault in [Fault::status(422, "Invalid"), Fault::status(400, "BadRequest"), Fault::forbidden("watch")] {
        let api = api();
        api.put_all(slices(120, 1));
        api.next(Verb::Stream, fault);
        let asking = Asking::of(&api);
        let announced = asking.until("all nodes", |announced| names(announced).is_some_and(|names| names.len() == 120));
        assert_eq!(announced.failing, None);
        until_asked(&api, "a watch", |requests| requests.iter().any(|request| request.verb == Verb::Watch));
        let requests = api.requests();
        let verbs: Vec<_> = requests.iter().map(|request| request.verb).collect();
        assert_eq!(verbs, [Verb::Stream, Verb::List, Verb::List, Verb::List, Verb::Watch]);
        assert_eq!(requests[4].query["resourceVersion"], api.version().to_string());
        assert!(requests[1..4].iter().all(|request| request.query["limit"] == "50"));
    }
}

#[test]
fn a_server_without_the_feature_is_not_asked_to_stream_twice() {
    let (api, asking) = {
        let api = api();
        api.stream_lists(false);
        api.put(one());
        let asking = Asking::of(&api);
        asking.until_nodes(&["master-2"]);
        (api, asking)
    };
    until_asked(&api, "a watch", |requests| requests.iter().any(|request| request.verb == Verb::Watch));
    api.put(two());
    asking.until_nodes(&["master-2", "master-3"]);
    api.expire();
    api.cut();
    until_asked(&api, "another list", |requests| {
        requests.iter().filter(|request| request.verb == Verb::List).count() == 2
    });
    asking.until_nodes(&["master-2", "master-3"]);
    assert_eq!(api.count(Verb::Stream), 1);
}

#[test]
fn a_token_that_expires_between_chunks_takes_the_list_from_its_beginning() {
    let api = api();
    api.stream_lists(false);
    api.put_all(slices(60, 1));
    api.next(Verb::List, Fault::None);
    api.next(Verb::List, Fault::status(410, "Expired"));
    let asking = Asking::of(&api);
    asking.until("all nodes", |announced| names(announced).is_some_and(|names| names.len() == 60));
    let lists: Vec<_> = api.requests().into_iter().filter(|request| request.verb == Verb::List).collect();
    let goes_on: Vec<bool> = lists.iter().map(|request| request.query.contains_key("continue")).collect();
    assert_eq!(goes_on, [false, true, false, true]);
}

#[test]
fn ten_thousand_nodes_and_their_twins_are_listed_either_way() {
    for streams in [true, false] {
        let api = api();
        api.stream_lists(streams);
        api.put_all(slices(100, 100));
        api.put_all(slices(100, 100).map(|slice| Slice {
            name: format!("twins-{}", slice.name),
            service: PODS.into(),
            ..slice
        }));
        let asking = Asking::of(&api);
        asking.until("all nodes", |announced| names(announced).is_some_and(|names| names.len() == 20_000));
        let lists = if streams { 0 } else { 4 };
        assert_eq!((api.count(Verb::Stream), api.count(Verb::List)), (1, lists));
    }
}

/// So many slices with so many nodes each.
fn slices(count: u32, each: u32) -> impl Iterator<Item = Slice> {
    (0..count).map(move |slice| {
        let node = |node: u32| {
            let number = slice * each + node;
            let address = format!("10.{}.{}.{}", number >> 16, number >> 8 & 0xff, number & 0xff);
            Endpoint::new(&format!("node-{number:05}"), &address.replace("10.0.0.0", "10.255.0.0")).zone("east")
        };
        (0..each).map(node).fold(Slice::new(&format!("slice-{slice:03}"), NODES), Slice::with)
    })
}

/// Fails if two requests of one agent are in flight at once, or a list is asked for more often than it is needed.
#[test]
fn asking_once_is_one_list() {
    let api: Api = api();
    api.put(one());
    let scratch = tempfile::tempdir().unwrap();
    let wanted = by(api.kubeconfig(scratch.path(), None).unwrap());
    let announced = runtime().block_on(kubernetes::once(&wanted, &Pod::default(), MINUTE));
    assert_eq!((names(&announced), &announced.failing), (Some(vec!["master-2"]), &None));
    assert_eq!(api.requests().len(), 1);
    api.close();
    let announced = runtime().block_on(kubernetes::once(&wanted, &Pod::default(), MINUTE));
    assert!(announced.endpoints.is_none());
    assert!(announced.failing.unwrap().to_string().contains("Connection refused"));
}
