//! `/transfer` over loopback sockets: what peers get, and what anybody else can make of it.

use std::net::IpAddr;

use probes::peers::Peer;
use probes::transfer::admission::{Guests, INSIDE, PEER_BURST, PEER_INSIDE};
use probes::transfer::{BYTES, LOOK, LOOKS};
use probes::units::Dual;

use super::*;

/// A server to which these addresses are peers.
fn serving(bounds: Bounds, peers: &[&str]) -> Running {
    let server = start(bounds);
    let peer = |address: &&str| Peer {
        name: (*address).to_owned(),
        underlay: address.parse::<IpAddr>().unwrap().into(),
        overlay: Dual::NONE,
        pods: Vec::new(),
        tunnels: Vec::new(),
        gateway: false,
        zone: None,
        node: Dual::NONE,
        twin: Dual::NONE,
    };
    let guests = Guests::of(&peers.iter().map(peer).collect::<Vec<_>>());
    server.publish.send_replace(Some(Arc::new(Published { guests, ..example::published() })));
    server
}

fn to_a_peer() -> Running {
    serving(Bounds::default(), &["127.0.0.1"])
}

fn post(bytes: usize) -> String {
    format!("POST /transfer HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n{}", "0".repeat(bytes))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// A connection from this address of loopback, on which the request has been sent.
fn asks(server: &Running, from: [u8; 4], request: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::from(from), 0).into()).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

const GET: &str = "GET /transfer HTTP/1.1\r\nHost: x\r\n\r\n";
const HEAD: &str = "HEAD /transfer HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_peer_gets_and_gives_64_kib() {
    let server = to_a_peer();
    let given = send(&server, GET);
    assert_eq!((status(&given), body(&given).len()), ("200", BYTES as usize));
    assert!(given.to_lowercase().contains("content-length: 65536\r\n"));
    for bytes in [BYTES as usize, 1, 0] {
        let taken = send(&server, &post(bytes));
        assert_eq!((status(&taken), body(&taken)), ("200", format!("{bytes}\n").as_str()));
    }
    let head = send(&server, HEAD);
    assert_eq!((status(&head), body(&head)), ("200", ""));
    let put = request(&server, "PUT", "/transfer", "Content-Length: 0\r\n");
    assert_eq!((status(&put), body(&put)), ("405", "only GET, HEAD and POST\n"));
}

#[test]
fn nobody_takes_part_before_it_is_known_who_is_a_peer() {
    let server = start(Bounds::default());
    for request in [GET, HEAD, &post(3)] {
        assert_eq!(status(&send(&server, request)), "503");
    }
}

#[test]
fn a_stranger_gets_the_reason_and_not_a_byte_more() {
    let server = serving(Bounds::default(), &["10.0.0.12"]);
    for request in [GET.to_owned(), post(100)] {
        let refused = send(&server, &request);
        assert_eq!(status(&refused), "403", "{refused}");
        assert!(body(&refused).contains("it knows none at 127.0.0.1") && refused.len() < 600, "{refused}");
    }
    assert_eq!(status(&send(&server, HEAD)), "403");
}

#[test]
fn switched_off_even_peers_are_refused() {
    let server = serving(Bounds::default(), &["127.0.0.1"]);
    server.publish.send_replace(Some(Arc::new(example::published())));
    let refused = send(&server, GET);
    assert_eq!(status(&refused), "403");
    assert!(body(&refused).contains("probing.transfers"), "{refused}");
}

#[test]
fn a_body_has_an_end() {
    let server = to_a_peer();
    assert_eq!(status(&send(&server, &post(BYTES as usize + 1))), "413");
    let chunk = format!("1000\r\n{}\r\n", "0".repeat(0x1000));
    let endless = "POST /transfer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(endless.as_bytes()).unwrap();
    // It writes until it is cut off.
    while stream.write_all(chunk.as_bytes()).is_ok() {}
    assert_eq!(status(&send(&server, &post(5))), "200", "others are served on");
}

#[test]
fn a_flood_is_turned_away_and_the_report_is_served() {
    let server = serving(Bounds { per_client: 64, ..Bounds::default() }, &["127.0.0.1"]);
    let mut let_in = 0;
    while status(&send(&server, HEAD)) == "200" {
        let_in += 1;
    }
    assert!(let_in >= PEER_BURST, "{let_in}");
    let flood: Vec<_> = (0..50).map(|_| asks(&server, [127, 0, 0, 1], GET)).collect();
    assert_eq!(status(&request(&server, "GET", "/report", "")), "200");
    for mut stream in flood {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(["200", "429"].contains(&status(&answer)), "{answer}");
    }
}

#[test]
fn who_is_turned_away_for_a_while_is_told_how_long() {
    let server = to_a_peer();
    loop {
        let answer = send(&server, GET);
        if status(&answer) == "429" {
            assert!(answer.to_lowercase().contains("\r\nretry-after: 1\r\n"), "{answer}");
            return;
        }
        assert_eq!(status(&answer), "200");
    }
}

#[test]
fn those_that_hang_are_few_and_the_report_is_served_beside_them() {
    let peers: Vec<String> = (1..=20).map(|number| format!("127.0.0.{number}")).collect();
    let server = serving(Bounds::default(), &peers.iter().map(String::as_str).collect::<Vec<_>>());
    let unfinished = "POST /transfer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n0";
    let four = INSIDE / PEER_INSIDE;
    let hanging: Vec<_> = (0..INSIDE).map(|n| asks(&server, [127, 0, 0, 1 + (n % four) as u8], unfinished)).collect();
    let answer = |number| {
        let mut answer = String::new();
        asks(&server, [127, 0, 0, number], GET).read_to_string(&mut answer).unwrap();
        answer
    };
    while !body(&answer(20)).contains("under way") {
        thread::yield_now();
    }
    for number in 1..20 {
        assert_eq!(status(&answer(number)), "429", "{number}");
    }
    assert_eq!(status(&request(&server, "GET", "/report", "")), "200");
    drop(hanging);
}

#[test]
fn whoever_stands_still_is_cut_and_the_place_given_on() {
    let short = Duration::from_millis(200);
    let server = serving(Bounds { body_pause: short, ..Bounds::default() }, &["127.0.0.1"]);
    let half = "POST /transfer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789";
    let mut hanging: Vec<_> = (0..PEER_INSIDE).map(|_| asks(&server, [127, 0, 0, 1], half)).collect();
    for stream in &mut hanging {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!((status(&answer), body(&answer)), ("408", "10 bytes, and then nothing\n"));
    }
    assert_eq!(status(&send(&server, GET)), "200");
}

#[test]
fn whoever_does_not_read_is_cut_and_the_place_given_on() {
    let bounds = Bounds { connection_time: Duration::from_millis(500), ..Bounds::default() };
    let server = serving(bounds, &["127.0.0.1"]);
    let small = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // What is given does not fit in here, nor in the little that the other end may send ahead.
        socket.set_recv_buffer_size(2048).unwrap();
        socket.connect(&server.address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(GET.as_bytes()).unwrap();
        stream
    };
    let deaf: Vec<_> = (0..PEER_INSIDE).map(small).collect();
    while status(&send(&server, GET)) != "200" {
        thread::yield_now();
    }
    drop(deaf);
}

#[test]
fn who_sends_has_time_to_see_that_it_stalls() {
    let bounds = Bounds::default();
    let stall = LOOK * LOOKS;
    assert!(bounds.body_pause >= 3 * stall, "looks may come late: whoever is cut first knows only that it was cut");
    assert!(bounds.body_pause < bounds.connection_time, "else the reason is never told");
}
