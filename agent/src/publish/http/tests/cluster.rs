//! `/cluster` over a socket: who is asked how often, and what comes of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use probes::peers::announced::Agent;
use serde_json::Value;

use super::*;

/// A peer's agent that is no agent, and counts who comes.
fn counting() -> (TcpListener, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (asked, taken) = (Arc::new(AtomicUsize::new(0)), listener.try_clone().unwrap());
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in taken.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut stream = stream.unwrap();
            _ = stream.read(&mut [0; 1024]);
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\ngarbage");
        }
    });
    (listener, asked)
}

/// Serves what is published, with one peer whose agent is on `port`.
fn with_peer(port: u16) -> Running {
    let mut config = Config::new("master-1");
    config.port = port;
    let server = start_with(Bounds::default(), config);
    let mut published = example::published();
    published.agents = vec![Agent {
        peer: "master-2".into(),
        vantage: Vantage::Node,
        addresses: vec![[127, 0, 0, 1].into()],
        zone: None,
    }];
    server.publish.send_replace(Some(Arc::new(published)));
    server
}

#[test]
fn there_is_no_picture_before_the_first_round() {
    let server = start(Bounds::default());
    let data = request(&server, "GET", "/cluster", "");
    assert_eq!((status(&data), data.contains("<html")), ("503", false), "{data}");
    for path in ["/cluster", "/cluster?from=a&to=b"] {
        let page = request(&server, "GET", path, "Accept: text/html\r\n");
        assert_eq!((status(&page), page.contains("the first round is not finished")), ("503", true), "{page}");
        let comes_again = page.contains("http-equiv=\"refresh\"") && page.to_lowercase().contains("retry-after: 3\r\n");
        assert!(comes_again && page.contains("<a href=\"/cluster\" aria-current=\"page\">"), "{page}");
    }
}

#[test]
fn however_many_ask_the_peers_are_asked_once() {
    let (peer, asked) = counting();
    let server = with_peer(peer.local_addr().unwrap().port());
    let answers: Vec<String> = thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| request(&server, "GET", "/cluster", ""))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (_, body) = answers[0].split_once("\r\n\r\n").unwrap();
    let picture: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&picture["schema"], &picture["node"]), (&"mtuscope.cluster/v1".into(), &"master-1".into()));
    let nodes = picture["nodes"].as_array().unwrap();
    let peer = nodes.iter().find(|node| node["name"] == "master-2").unwrap();
    assert_eq!(peer["answer"], "garbage", "{peer}");
    assert!(answers.iter().all(|answer| answer.ends_with(body)), "all got the same");
    assert!(answers[0].contains("\r\nage: 0\r\n") && answers[0].contains("cache-control: private, max-age=10"));
    let text = request(&server, "GET", "/cluster?format=text", "");
    assert!(text.contains("seen from master-1") && text.contains("answered garbage"), "{text}");
    assert_eq!(status(&request(&server, "GET", "/cluster?format=xml", "")), "400");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_report_asks_nobody() {
    let (peer, asked) = counting();
    let server = with_peer(peer.local_addr().unwrap().port());
    assert_eq!(status(&request(&server, "GET", "/report", "")), "200");
    assert_eq!(status(&request(&server, "GET", "/report?format=text", "")), "200");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";

#[test]
fn a_browser_gets_a_page_whose_form_works_and_asks_for_a_pair() {
    let (peer, asked) = counting();
    let server = with_peer(peer.local_addr().unwrap().port());
    let page = request(&server, "GET", "/cluster", BROWSER);
    assert!(
        page.contains("content-type: text/html; charset=utf-8\r\n") && page.contains("form-action 'self'"),
        "{page}"
    );
    assert!(page.contains("vary: accept\r\n") && page.contains("etag: "), "{page}");
    assert!(page.contains("master-2: answered garbage"), "{page}");
    let again = request(&server, "GET", "/cluster?format=html", "");
    assert!(again.ends_with(page.split_once("\r\n\r\n").unwrap().1), "the same picture");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for _ in 0..3 {
        let pair = request(&server, "GET", "/cluster?from=master-1&to=master-2", BROWSER);
        assert_eq!(status(&pair), "200");
        assert!(pair.contains("master-1 says of master-2") && pair.contains("form-action 'self'"), "{pair}");
        assert!(pair.contains("its agent: answered garbage"), "{pair}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "of a pair only the other agent is asked, and once for all");
}

#[test]
fn a_pair_of_nobody_is_none_and_asks_nobody_but_for_the_picture() {
    let (peer, asked) = counting();
    let server = with_peer(peer.local_addr().unwrap().port());
    let early = start(Bounds::default());
    assert_eq!(status(&request(&early, "GET", "/cluster?from=a&to=b", BROWSER)), "503");
    for (query, wanted) in [
        ("from=master-1&to=nobody", "404"),
        ("from=127.0.0.1&to=master-1", "404"),
        ("from=master-1&to=master-1", "400"),
        ("from=master-1", "400"),
    ] {
        let answer = request(&server, "GET", &format!("/cluster?{query}"), BROWSER);
        assert_eq!(status(&answer), wanted, "{query}: {answer}");
        assert!(answer.contains("<form") && answer.contains("content-security-policy: "), "{answer}");
    }
    assert_eq!(status(&request(&server, "GET", "/cluster?from=master-1&to=master-2", "")), "400", "only as a page");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
