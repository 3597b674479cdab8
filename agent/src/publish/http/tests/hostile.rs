//! Clients that mean harm, and what they must not take from others.

use super::*;

/// A client of its own, as far as places go.
fn client(server: &Running, last: u8) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
    socket.connect(&server.address.into()).unwrap();
    socket.into()
}

fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let closed = match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).unwrap();
    closed
}

#[test]
fn one_client_takes_its_own_places_and_no_more() {
    let server = start(Bounds { per_client: 4, kept: 2, ..Bounds::default() });
    let slow: Vec<_> = (0..30)
        .map(|_| {
            let mut stream = client(&server, 2);
            // Who is turned away may be so before this is written.
            _ = stream.write_all(b"GET /livez HTTP/1.1\r\nX-Slow: ");
            stream
        })
        .collect();
    while slow.iter().filter(|stream| is_closed(stream)).count() < 24 {
        thread::yield_now();
    }
    let mut other = client(&server, 3);
    other.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "200");
    assert_eq!(slow.iter().filter(|stream| !is_closed(stream)).count(), 6, "its own, and those kept for this machine");
    drop(slow);
    loop {
        // They are given back, soon.
        let mut again = client(&server, 2);
        let mut answer = String::new();
        if again.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
            && again.read_to_string(&mut answer).is_ok_and(|read| read > 0)
        {
            return assert_eq!(status(&answer), "200");
        }
    }
}

#[test]
fn ten_thousand_headers_are_refused() {
    let server = start(Bounds::default());
    let many: String = (0..10_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    let mut stream = TcpStream::connect(server.address).unwrap();
    // It may be cut off while it writes.
    _ = stream.write_all(format!("GET /livez HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes());
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    assert!(["431", "no answer"].contains(&status(&answer)), "{answer}");
    assert_eq!(status(&request(&server, "GET", "/livez", "")), "200");
}

#[test]
fn no_second_request_is_smuggled_in() {
    let server = start(Bounds::default());
    server.publish.send_replace(Some(Arc::new(example::published())));
    let second = "GET /report HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n".to_owned(),
        format!(
            "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            second.len()
        ),
        "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n".to_owned(),
        "POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length : 40\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n".to_owned(),
    ] {
        let answer = exchange(server.address, &(head.clone() + second));
        assert!(!answer.contains("mtuscope.report"), "{head:?}: {answer}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{head:?}: {answer}");
    }
}

#[test]
fn who_says_nothing_after_connecting_is_let_go() {
    let short = Duration::from_millis(200);
    let server = start(Bounds { handshake_time: short, head_time: short, ..Bounds::default() });
    let mut silent = TcpStream::connect(server.address).unwrap();
    let mut answer = Vec::new();
    _ = silent.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("200"), "{answer:?}");
}

#[test]
fn health_has_an_address_of_its_own() {
    let (give, given) = mpsc::unbounded_channel();
    let (publish, published) = watch::channel(None);
    let site = Site {
        published,
        standing: watch::channel(Standing::default()).1,
        orders: driver::standing(Config::new("master-1"), "/".into(), Terms::default()),
        codes: example::CODES.to_vec(),
        vantage: Vantage::Node,
        proc: "/proc".into(),
        surface: watch::channel(Surface::default()).1,
    };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve_health(given, site))
    });
    let get = |address, path: &str| exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let open = || {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        give.send(Some(listener)).unwrap();
        address
    };
    let first = open();
    let found = ["/livez", "/readyz", "/report", "/metrics", "/"].map(|path| status(&get(first, path)).to_owned());
    assert_eq!(found, ["200", "503", "404", "404", "404"]);
    publish.send_replace(Some(Arc::new(example::published())));
    let second = open();
    assert_eq!(status(&get(second, "/readyz")), "200");
    while TcpStream::connect(first).is_ok() {
        thread::yield_now();
    }
    give.send(None).unwrap();
    while TcpStream::connect(second).is_ok() {
        thread::yield_now();
    }
}
