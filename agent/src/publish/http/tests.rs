//! The server over loopback sockets, good and bad clients alike.

mod cluster;
mod home;
mod hostile;
mod secured;
mod transfers;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use probes::config::Config;
use tokio::sync::mpsc;

use super::super::example;
use super::*;
use crate::driver;
use crate::io::call::Terms;

/// A server on a thread of its own, ended when dropped.
struct Running {
    address: SocketAddr,
    publish: watch::Sender<Option<Arc<Published>>>,
    listeners: mpsc::UnboundedSender<TcpListener>,
    surface: watch::Sender<Surface>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic");
        }
    }
}

fn start(bounds: Bounds) -> Running {
    start_with(bounds, Config::new("master-1"))
}

fn start_with(bounds: Bounds, config: Config) -> Running {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (publish, published) = watch::channel(None);
    let (surface, given_surface) = watch::channel(Surface::default());
    let site = Site {
        published,
        standing: watch::channel(Standing::default()).1,
        orders: driver::standing(config, "/".into(), Terms::default()),
        codes: example::CODES.to_vec(),
        vantage: Vantage::Node,
        proc: "/proc".into(),
        surface: given_surface,
    };
    let (listeners, given) = mpsc::unbounded_channel();
    listeners.send(listener).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                result = serve(given, site, bounds) => result.unwrap(),
                _ = stopped => {}
            }
        });
    };
    Running { address, publish, listeners, surface, stop: Some(stop), thread: Some(thread::spawn(serve)) }
}

fn send(server: &Running, request: &str) -> String {
    exchange(server.address, request)
}

fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // A server that refuses may close before it has read everything, which arrives as a reset behind the answer.
    match stream.read_to_string(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => answer,
    }
}

fn request(server: &Running, method: &str, path: &str, headers: &str) -> String {
    send(server, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
}

fn status(answer: &str) -> &str {
    answer.split_whitespace().nth(1).unwrap_or("no answer")
}

#[test]
fn before_the_first_round_it_lives_and_is_not_ready() {
    let server = start(Bounds::default());
    for (path, wanted) in [
        ("/livez", "200"),
        ("/healthz", "200"),
        ("/-/healthy", "200"),
        ("/readyz", "503"),
        ("/-/ready", "503"),
        ("/report", "503"),
        ("/node", "503"),
        ("/metrics", "200"),
        ("/", "200"),
        ("/nothing", "404"),
    ] {
        let answer = request(&server, "GET", path, "");
        assert_eq!(status(&answer), wanted, "{path}: {answer}");
    }
    assert!(request(&server, "GET", "/report", "").ends_with("try again in a few seconds\n"));
    server.publish.send_replace(Some(Arc::new(example::published())));
    for path in ["/readyz", "/-/ready", "/report", "/node"] {
        assert_eq!(status(&request(&server, "GET", path, "")), "200", "{path}");
    }
}

#[test]
fn the_report_is_json_or_text() {
    let server = start(Bounds::default());
    server.publish.send_replace(Some(Arc::new(example::published())));
    let json = request(&server, "GET", "/report", "");
    let (head, body) = json.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-type: application/json\r\n"), "{head}");
    let report: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(report["schema"], "mtuscope.report/v1");
    for answer in [
        request(&server, "GET", "/report", "Accept: text/plain\r\n"),
        request(&server, "GET", "/report?format=text", ""),
    ] {
        assert!(answer.contains("\r\n\r\nCRITICAL master-1: "), "{answer}");
    }
    assert_eq!(status(&request(&server, "GET", "/report?format=xml", "")), "400");
}

#[test]
fn a_node_gives_its_card() {
    let server = start(Bounds::default());
    server.publish.send_replace(Some(Arc::new(example::published())));
    let answer = request(&server, "GET", probes::card::PATH, "");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let told = probes::card::read(body.as_bytes()).unwrap();
    assert_eq!((told.node.as_str(), told.links[0].mtu.bytes()), ("master-1", 1500));
}

#[test]
fn metrics_come_in_the_format_that_was_asked_for() {
    let server = start(Bounds::default());
    server.publish.send_replace(Some(Arc::new(example::published())));
    let text = request(&server, "GET", "/metrics", "");
    assert!(text.to_lowercase().contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{text}");
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    let open = request(&server, "GET", "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(open.to_lowercase().contains(kind), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
}

#[test]
fn head_has_no_body_and_other_methods_are_refused() {
    let server = start(Bounds::default());
    server.publish.send_replace(Some(Arc::new(example::published())));
    for path in ["/", "/report", "/node", "/metrics", "/livez", "/readyz"] {
        let answer = request(&server, "HEAD", path, "");
        assert_eq!(status(&answer), "200", "{path}");
        assert!(answer.ends_with("\r\n\r\n"), "{path}: {answer}");
        assert_eq!(status(&request(&server, "POST", path, "Content-Length: 0\r\n")), "405", "{path}");
        assert_eq!(status(&request(&server, "DELETE", path, "")), "405", "{path}");
    }
}

#[test]
fn oversized_heads_are_refused() {
    let server = start(Bounds::default());
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(status(&request(&server, "GET", "/livez", &many)), "431");
    let long = format!("X: {}\r\n", "y".repeat(64 * 1024));
    assert_eq!(status(&request(&server, "GET", "/livez", &long)), "431");
    assert_eq!(status(&send(&server, "\u{0}\u{1} garbage\r\n\r\n")), "400");
    assert_eq!(status(&request(&server, "GET", "/livez", "")), "200", "others are served on");
}

#[test]
fn slow_clients_are_dropped_and_their_places_given_on() {
    let short = Duration::from_millis(300);
    let bounds = Bounds { connections: 2, kept: 0, head_time: short, connection_time: short, ..Bounds::default() };
    let server = start(bounds);
    let slow: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    let started = Instant::now();
    assert_eq!(status(&request(&server, "GET", "/livez", "")), "200", "served once a place is free");
    assert!(started.elapsed() >= short, "both places were taken");
    for mut stream in slow {
        let mut rest = Vec::new();
        _ = stream.read_to_end(&mut rest);
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"), "{rest:?}");
    }
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let short = Duration::from_millis(300);
    let bounds = Bounds { connections: 1, kept: 0, connection_time: short, ..Bounds::default() };
    let server = start(bounds);
    // Tens of megabytes: more than the socket buffers of both ends take.
    server.publish.send_replace(Some(Arc::new(example::cluster(20_000, 20_000))));
    let mut greedy = TcpStream::connect(server.address).unwrap();
    greedy.write_all(b"GET /report HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(status(&request(&server, "GET", "/livez", "")), "200");
}

#[test]
fn a_port_in_use_is_an_error() {
    let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = bind(first.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn the_unspecified_address_is_reached_over_ipv4() {
    let listener = bind("[::]:0".parse().unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
}

#[test]
fn the_listening_socket_moves_and_the_old_address_is_let_go() {
    let server = start(Bounds::default());
    let mut under_way = TcpStream::connect(server.address).unwrap();
    under_way.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    let next = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let moved = next.local_addr().unwrap();
    server.listeners.send(next).unwrap();
    assert_eq!(status(&exchange(moved, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")), "200");
    while TcpStream::connect(server.address).is_ok() {
        thread::yield_now();
    }
    under_way.write_all(b"Host: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "200", "who was connected is served to the end");
}

#[test]
fn one_port_can_move_between_all_addresses_and_one() {
    let all = bind("[::]:0".parse().unwrap()).unwrap();
    let port = all.local_addr().unwrap().port();
    let one = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(bind(one).unwrap_err().kind(), ErrorKind::AddrInUse, "which is why it takes more than that");
    let narrow = bind_beside(one, &all).unwrap();
    assert_eq!(bind(one).unwrap_err().kind(), ErrorKind::AddrInUse, "nobody else gets in");
    drop(all);
    let wide = bind_beside(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)), &narrow).unwrap();
    drop(narrow);
    TcpStream::connect(one).unwrap();
    assert_eq!(wide.local_addr().unwrap().port(), port);
}

#[test]
fn another_programs_port_stays_its_own() {
    let (ours, theirs) = (bind("127.0.0.1:0".parse().unwrap()).unwrap(), bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let error = bind_beside(theirs.local_addr().unwrap(), &ours).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    TcpStream::connect(ours.local_addr().unwrap()).unwrap();
}
