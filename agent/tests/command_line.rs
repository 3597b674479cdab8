//! The shipped binary, started as an operator or kubelet does: statuses, streams, signals.
#![allow(clippy::unwrap_used, reason = "what fails in a helper here fails its test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn mtuscope(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtuscope"));
    command.args(arguments).env_remove("MTUSCOPE_CONFIG").env_remove("MTUSCOPE_LISTEN").env_remove("MTUSCOPE_LOG");
    command
}

fn finished(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = mtuscope(arguments).output().expect("the binary starts");
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn wrong_usage_and_wrong_configuration_are_status_two_with_empty_output() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "probing: { interval: never }\nnods: x\n").unwrap();
    let path = file.path().to_str().unwrap();
    for (arguments, said) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["report", "--peer", "master-2"], "not an IP address"),
        (&["report", "--config", "/no/such/file"], "/no/such/file: cannot open"),
        (&["agent", "--config", path], ":2:1: unknown key `nods`; did you mean `node`?"),
        (&["checks", "nonsense"], "there is no code `nonsense`"),
    ] {
        let (status, out, err) = finished(arguments);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
}

#[test]
fn every_mistake_of_a_configuration_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "probing: { interval: never }\nnods: x\nlisten: 1\n").unwrap();
    let (_, _, err) = finished(&["report", "--config", file.path().to_str().unwrap()]);
    for place in [":1:22: ", ":2:1: ", ":3:9: "] {
        assert!(err.contains(place), "{place} in {err}");
    }
}

#[test]
fn the_version_names_the_revision() {
    let (status, out, _) = finished(&["--version"]);
    let revision = option_env!("MTUSCOPE_REVISION").unwrap_or("unknown");
    assert_eq!((status, out), (Some(0), format!("mtuscope {} (revision {revision})\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn the_catalogue_is_text_or_json() {
    let (status, out, _) = finished(&["checks"]);
    assert_eq!(status, Some(0));
    assert!(out.starts_with("  code"), "{out}");
    let (_, out, _) = finished(&["checks", "--output", "json"]);
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(probes::checks::ALL.len()));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = mtuscope(&["checks"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn without_net_raw_probe_says_so() {
    let permitted = caps::has_cap(None, caps::CapSet::Permitted, caps::Capability::CAP_NET_RAW).unwrap();
    let child = std::thread::spawn(move || {
        // A root that lacks the capability in its bounding set cannot regain it by starting a program.
        if permitted {
            caps::drop(None, caps::CapSet::Bounding, caps::Capability::CAP_NET_RAW).unwrap();
            caps::clear(None, caps::CapSet::Inheritable).unwrap();
        }
        finished(&["probe", "127.0.0.1"])
    });
    let (status, out, err) = child.join().unwrap();
    assert_eq!((status, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("CAP_NET_RAW") && err.contains("setcap cap_net_raw+p"), "{err}");
}

/// A running agent, killed when dropped.
struct Agent {
    child: Child,
    address: SocketAddr,
}

impl Drop for Agent {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Starts an agent on a free port and waits until its log says where it listens.
fn agent() -> Agent {
    let arguments = ["agent", "--listen", "127.0.0.1:0", "--log-format", "json"];
    let mut child = mtuscope(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let address = event["listen"].as_str().unwrap().parse().unwrap();
    child.stderr = Some(log.into_inner());
    Agent { child, address }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn signals_end_the_agent_within_a_second() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut agent = agent();
        assert!(get(agent.address, "/livez").starts_with("HTTP/1.1 200 "));
        // A connection that is being served does not hold the agent up.
        let _idle = TcpStream::connect(agent.address).unwrap();
        let sent = Instant::now();
        kill(Pid::from_raw(agent.child.id() as i32), signal).unwrap();
        let status = agent.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(sent.elapsed() < Duration::from_secs(1), "{signal}: {:?}", sent.elapsed());
    }
}

#[test]
fn a_port_in_use_is_status_two() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, _, err) = finished(&["agent", "--listen", &address]);
    assert_eq!(status, Some(2));
    assert!(err.contains(&format!("cannot listen on {address}: ")), "{err}");
}
