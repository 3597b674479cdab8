//! The shipped binary as kubelet or systemd runs it: signals, a configuration that changes, logs that somebody reads, or
//! does not.
#![allow(clippy::unwrap_used, reason = "what fails in a helper here fails its test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a condition may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);

/// Pause between two looks. It is no part of any verdict.
const PAUSE: Duration = Duration::from_millis(20);

/// A running agent, killed when dropped.
struct Agent {
    child: Child,
    address: SocketAddr,
    /// Its end of the pipe, while somebody reads.
    log: Option<BufReader<ChildStderr>>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Agent {
    /// Starts an agent on a free port and waits until its log says where it listens.
    fn start(config: Option<&Path>, level: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mtuscope"));
        command.args(["agent", "--log-format", "json"]).env_remove("MTUSCOPE_LISTEN").env("MTUSCOPE_LOG", level);
        command.env_remove("MTUSCOPE_CONFIG").env_remove("NODE_NAME");
        match config {
            Some(path) => command.arg("--config").arg(path),
            None => command.args(["--listen", "127.0.0.1:0"]),
        };
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = child.stderr.take().map(BufReader::new);
        let mut agent = Self { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), log };
        agent.address = agent.logged("mtuscope starts")["listen"].as_str().unwrap().parse().unwrap();
        agent
    }

    /// The next line with this message; the test fails if the log ends before.
    fn logged(&mut self, message: &str) -> serde_json::Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.log.as_mut().unwrap().read_line(&mut line).unwrap() > 0, "the log ends without: {message}");
            let event: serde_json::Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if event["message"].as_str().is_some_and(|said| said.contains(message)) {
                return event;
            }
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits until the answer to a path has a part.
    fn until(&mut self, path: &str, part: &str) {
        let started = Instant::now();
        loop {
            let answer = self.get(path);
            if answer.contains(part) {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "no {part} in {answer}");
            assert_eq!(self.child.try_wait().unwrap(), None, "it still runs");
            thread::sleep(PAUSE);
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Ends it by a signal, and within a second.
    fn end(&mut self, signal: Signal) {
        let sent = Instant::now();
        self.signal(signal);
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(sent.elapsed() < Duration::from_secs(1), "{signal}: {:?}", sent.elapsed());
    }
}

#[test]
fn signals_end_the_agent_within_a_second() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut agent = Agent::start(None, "info");
        assert!(agent.get("/livez").starts_with("HTTP/1.1 200 "));
        // Connections that are being served do not hold the agent up.
        let _idle = TcpStream::connect(agent.address).unwrap();
        let mut half = TcpStream::connect(agent.address).unwrap();
        half.write_all(b"GET /report HTTP/1.1\r\nHo").unwrap();
        agent.end(signal);
    }
}

/// A configuration that names one peer, in a directory of its own.
fn naming(peer: &str, more: &str) -> String {
    let peers = format!("peers:\n  kernel: false\n  static: [{{ name: {peer}, underlay: 192.0.2.1 }}]\n");
    format!("listen: 127.0.0.1:0\n{peers}probing: {{ interval: 1s }}\n{more}")
}

fn config(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    (directory, path)
}

#[test]
fn the_file_is_taken_up_by_itself_and_on_sighup_and_a_broken_one_is_not() {
    let (_directory, path) = config(&naming("first", ""));
    let mut agent = Agent::start(Some(&path), "info");
    agent.until("/report", r#""peer": "first""#);
    fs::write(&path, naming("second", "")).unwrap();
    let event = agent.logged("these settings changed");
    assert_eq!((event["changed"].as_str(), event["reload"].as_u64()), (Some("peers.static"), Some(1)));
    agent.until("/report", r#""peer": "second""#);
    fs::write(&path, naming("third", "metrics: { named_peers: many }\n")).unwrap();
    agent.signal(Signal::SIGHUP);
    let event = agent.logged("the configuration is wrong");
    let problem = event["problem"].as_str().unwrap();
    assert!(problem.contains("config.yaml:6:25: metrics.named_peers must be a whole number"), "{problem}");
    agent.until("/metrics", "\nmtuscope_config_last_reload_successful 0\n");
    assert!(agent.get("/report").contains(r#""peer": "second""#));
    fs::write(&path, naming("third", "")).unwrap();
    agent.until("/metrics", "\nmtuscope_config_last_reload_successful 1\n");
    agent.until("/report", r#""peer": "third""#);
    agent.end(Signal::SIGTERM);
}

/// Makes the agent log a line, if it logs at the level `debug`.
fn make_it_log(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"\0 this is no HTTP\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // It may be reset before the answer is read, which is no matter.
    _ = stream.read_to_end(&mut answer);
}

#[test]
fn a_log_reader_that_does_not_read_holds_nothing_up() {
    let (_directory, path) = config(&naming("peer", ""));
    let mut agent = Agent::start(Some(&path), "debug");
    // The pipe takes one page; what is more than that blocks whoever writes it.
    let pipe = agent.log.as_ref().unwrap().get_ref();
    nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    for _ in 0..200 {
        make_it_log(agent.address);
    }
    assert!(agent.get("/livez").starts_with("HTTP/1.1 200 "));
    let rounds = |agent: &Agent| {
        let metrics = agent.get("/metrics");
        let line = metrics.lines().find(|line| line.starts_with("mtuscope_last_round_timestamp_seconds "));
        line.map(str::to_owned)
    };
    let (before, started) = (rounds(&agent), Instant::now());
    while rounds(&agent) == before {
        assert!(started.elapsed() < DEADLINE, "rounds stand still at {before:?}");
        thread::sleep(PAUSE);
    }
    agent.end(Signal::SIGTERM);
}

#[test]
fn a_log_reader_that_left_ends_nothing() {
    let mut agent = Agent::start(None, "debug");
    agent.log = None;
    for _ in 0..5 {
        make_it_log(agent.address);
    }
    assert!(agent.get("/livez").starts_with("HTTP/1.1 200 "));
    agent.end(Signal::SIGTERM);
}
