//! Agents of all kinds on loopback addresses, each with an address of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;

use probes::path::{Plane, VerdictName};
use probes::report::{Status, Vantage};

use super::*;
use crate::publish::example;

const PLAN: Plan = Plan { parallel: 2, each: Duration::from_secs(2), total: Duration::from_secs(60), body: 1 << 20 };

/// Serves each connection by `answer`, on one port of several loopback addresses.
struct Peers {
    port: u16,
    agents: Vec<Agent>,
}

impl Peers {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { port, agents: Vec::new() }
    }

    /// One more peer; `answer` gets every connection. Without one, nobody listens.
    fn with(mut self, name: &str, answer: Option<fn(TcpStream, &str)>) -> Self {
        let address: IpAddr = [127, 0, 77, 1 + self.agents.len() as u8].into();
        self.agents.push(Agent { peer: name.into(), vantage: Vantage::Node, addresses: vec![address], zone: None });
        if let Some(answer) = answer {
            let listener = TcpListener::bind((address, self.port)).unwrap();
            let name = name.to_owned();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    let mut asked = Vec::new();
                    while !asked.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        asked.push(byte[0]);
                    }
                    assert!(asked.starts_with(b"GET /report?format=json HTTP/1.1\r\n"), "it asks for nothing else");
                    answer(stream, &name);
                }
            });
        }
        self
    }

    fn gather(&self, plan: Plan) -> Matrix {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut published = example::published();
        published.agents = self.agents.clone();
        Arc::make_mut(&mut published.report).paths.clear();
        runtime.block_on(gather(&published, self.port, plan, &Terms::default()))
    }
}

fn send(mut stream: TcpStream, status: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // Who asked may have hung up: that is a case of its own.
    _ = stream.write_all((head + body).as_bytes());
}

/// An agent as it should be, with a clear path to `master-1`.
fn good(stream: TcpStream, name: &str) {
    let mut report = Arc::unwrap_or_clone(example::published().report);
    report.node = name.into();
    report.addresses.clear();
    report.paths = vec![example::path("master-1", Plane::Underlay, "10.0.0.11", VerdictName::Clear, 1500)];
    send(stream, "200 OK", &serde_json::to_string(&report).unwrap());
}

fn hanging(mut stream: TcpStream, _: &str) {
    // Until whoever asked hangs up.
    _ = stream.read(&mut [0]);
}

fn answers(matrix: &Matrix) -> Vec<(&str, Answer)> {
    matrix.nodes.iter().map(|node| (node.name.as_str(), node.answer)).collect()
}

#[test]
fn everybody_who_does_not_answer_is_told_with_the_reason() {
    let peers = Peers::new()
        .with("fine", Some(good))
        .with("garbage", Some(|stream, _| send(stream, "200 OK", "{\"schema\": \"mtuscope.report/v1\", \"node\": ")))
        .with("gone", None)
        .with("hanging", Some(hanging))
        .with("locked", Some(|stream, _| send(stream, "401 Unauthorized", "who are you?")))
        .with("starting", Some(|stream, _| send(stream, "503 Service Unavailable", "first round")))
        .with("telling", Some(|stream, _| send(stream, "200 OK", &" ".repeat(2 << 20))));
    let matrix = peers.gather(PLAN);
    assert_eq!(
        answers(&matrix),
        [
            ("fine", Answer::Report),
            ("garbage", Answer::Garbage),
            ("gone", Answer::NoConnection),
            ("hanging", Answer::Timeout),
            ("locked", Answer::Unauthorized),
            ("master-1", Answer::Report),
            ("starting", Answer::NotReady),
            ("telling", Answer::TooLarge),
        ]
    );
    let locked = &matrix.nodes[4];
    assert_eq!(locked.why.as_deref(), Some("answered 401: who are you?"));
    assert_eq!((matrix.summary.agents, matrix.summary.answered, matrix.summary.status), (8, 2, Status::Warning));
}

#[test]
fn there_is_an_end_to_waiting_for_all() {
    let silent = (0..6).fold(Peers::new(), |peers, at| peers.with(&format!("silent-{at}"), Some(hanging)));
    let matrix = silent.gather(Plan { each: Duration::from_millis(400), total: Duration::from_millis(600), ..PLAN });
    let not_asked = answers(&matrix).into_iter().filter(|(_, answer)| *answer == Answer::NotAsked).count();
    let late = answers(&matrix).into_iter().filter(|(_, answer)| *answer == Answer::Timeout).count();
    assert!(not_asked >= 2 && not_asked + late == 6, "{matrix:?}");
}

#[test]
fn another_address_is_tried_where_nobody_is_at_the_first() {
    let mut peers = Peers::new().with("two", Some(good));
    peers.agents[0].addresses.insert(0, [127, 0, 78, 1].into());
    assert_eq!(answers(&peers.gather(PLAN)), [("master-1", Answer::Report), ("two", Answer::Report)]);
}
