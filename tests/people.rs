//! The lab as people use it: started as a program, asked from outside, ended by Ctrl-C; and what is left then.
#![allow(clippy::unwrap_used, reason = "what fails in a helper here fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use lab::http;
use lab::report::Report;
use lab::wait::{self, Look};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A lab that runs, and the lines that it has printed.
struct Lab {
    child: Child,
    stdin: ChildStdin,
    lines: Arc<Mutex<Vec<String>>>,
    scratch: TempDir,
}

impl Lab {
    fn start(arguments: &[&str]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = program(arguments);
        command.env("TMPDIR", scratch.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        Self { child, stdin, lines, scratch }
    }

    /// The first line that holds all these words.
    fn says(&self, words: &[&str]) -> String {
        wait::until(&format!("the lab to say {words:?}"), || {
            let lines = self.lines.lock().unwrap();
            let found = lines.iter().find(|line| words.iter().all(|word| line.contains(word)));
            Ok(found.map_or_else(|| Look::NotYet(lines.join("\n")), |line| Look::There(line.clone())))
        })
        .unwrap()
    }

    fn types(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").unwrap();
    }

    fn ends_after(&mut self, signal: Signal) -> ExitStatus {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        wait::until("the lab to end", || {
            let status = self.child.try_wait().unwrap();
            Ok(status.map_or_else(|| Look::NotYet("it runs".into()), Look::There))
        })
        .unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A test that has passed has ended it already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments);
    command
}

fn finished(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The address in a printed `curl 'ADDRESS/report?format=text'`.
fn address(line: &str) -> SocketAddr {
    let (_, after) = line.split_once("curl '").unwrap();
    after.split_once('/').unwrap().0.parse().unwrap()
}

#[test]
fn a_fault_is_watched_from_outside_and_nothing_is_left() {
    let mut lab = Lab::start(&["--fault", "path-black-hole", "--no-prometheus"]);
    let server = address(&lab.says(&["master-1", "curl '127.0.0.1:"]));
    lab.says(&["look for: path-black-hole master-2 on master-1, critical"]);
    let report = wait::until("the finding, through the door", || {
        let report = Report::parse(&http::get_here(server, "/report", "application/json")?.body)?;
        let there = report.findings.iter().any(|finding| {
            finding.code == "path-black-hole" && finding.subject == "master-2" && finding.silenced_by.is_none()
        });
        Ok(if there { Look::There(report) } else { Look::NotYet(report.to_string()) })
    });
    assert_eq!(report.unwrap().node, "master-1");
    lab.says(&["master-1", "critical path-black-hole master-2", "<- look here"]);
    let other = address(&lab.says(&["master-2", "curl '127.0.0.1:"]));
    let text = http::get_here(other, "/report?format=text", "*/*").unwrap().body;
    assert!(text.lines().next().unwrap().contains("master-2"), "each node has a door of its own: {text}");

    for (network, link, has) in [(" -n ", "vmbr1", "10.0.0.13/24"), (" --net=", "eth0", "10.244.3.2/32")] {
        let shell = lab.says(&["app-worker", "nsenter", network]);
        let shell = shell.trim().trim_start_matches("app-worker").trim();
        let line = format!("{shell} ip -o address show {link}");
        let (status, out, err) = finished(Command::new("sh").args(["-c", &line]));
        assert!(status == Some(0) && out.contains(has), "`{line}` as this user: {status:?} {out} {err}");
    }

    lab.types("h");
    lab.says(&["HEALTHY", "from healing"]);
    let held = Held::by(lab.child.id());
    assert!(held.processes.len() >= 4, "the lab and three agents: {:?}", held.processes);
    assert!(held.namespaces.len() >= 9, "user, mount, and a network for each node, pod and switch: {held:?}");
    assert_eq!(lab.ends_after(Signal::SIGINT).code(), Some(0));
    held.is_gone();
    let left: Vec<_> = fs::read_dir(lab.scratch.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!lab.lines.lock().unwrap().iter().any(|line| line.contains("Prometheus  ")), "it was not wanted");
}

/// The alerts that page, as a Prometheus tells of them. An hour's patience is a minute here, so what merely asks to be
/// looked at may join in.
fn firing(server: SocketAddr) -> lab::Result<Vec<String>> {
    let body = http::get_here(server, "/api/v1/alerts", "application/json")?.body;
    let data: serde_json::Value = serde_json::from_str(&body).map_err(|error| lab::Error::new(body, error))?;
    let alerts = data["data"]["alerts"].as_array().cloned().unwrap_or_default();
    let fires = alerts.iter().filter(|alert| alert["state"] == "firing" && alert["labels"]["severity"] == "critical");
    Ok(fires.map(|alert| format!("{} {}", alert["labels"]["alertname"], alert["annotations"]["summary"])).collect())
}

#[test]
fn a_fault_is_alerted_from_outside_until_it_is_healed_and_nothing_is_left() {
    let mut lab = Lab::start(&["--fault", "path-black-hole", "--together"]);
    let page = lab.says(&["alerts  ", "http://127.0.0.1:"]);
    let (address, path) = page.split("http://").nth(1).unwrap().split_once('/').unwrap();
    let (server, path): (SocketAddr, _) = (address.parse().unwrap(), format!("/{path}"));
    let told = lab.says(&["ALERT fires", "critical MtuscopePathBlackHole", "master-2"]);
    let seen = wait::until("the alert, through the door", || {
        let fires = firing(server)?;
        let there = fires.iter().any(|alert| alert.contains("MtuscopePathBlackHole") && alert.contains("master-2"));
        Ok(if there { Look::There(fires) } else { Look::NotYet(format!("{fires:?}")) })
    });
    assert_eq!(seen.unwrap().len(), 1, "one fault is one alert, and `{told}` was told");
    let alerts = http::get_here(server, &path, "text/html").unwrap();
    assert!(alerts.status == 200 && alerts.body.contains("MtuscopePathBlackHole"), "for people: {alerts:?}");
    let cluster = lab.says(&["cluster  ", "http://127.0.0.1:"]);
    let agent: SocketAddr = cluster.split("http://").nth(1).unwrap().trim_end_matches("/cluster").parse().unwrap();
    let page = http::get_here(agent, "/", "text/html").unwrap();
    assert!(page.status == 200 && page.body.contains("path-black-hole"), "{page:?}");

    lab.types("h");
    lab.says(&["alert resolved", "MtuscopePathBlackHole"]);
    lab.says(&["CLEAR: no alert fires"]);
    assert_eq!(firing(server).unwrap(), [""; 0]);
    let held = Held::by(lab.child.id());
    assert!(held.processes.len() >= 5, "the lab, three agents and Prometheus: {:?}", held.processes);
    assert_eq!(lab.ends_after(Signal::SIGINT).code(), Some(0));
    held.is_gone();
    assert_eq!(fs::read_dir(lab.scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_lab_that_is_killed_leaves_nothing_either() {
    let mut lab = Lab::start(&["--recipe", "routed", "--heal-after", "1s", "--fault", "link-down"]);
    lab.says(&["HEALTHY", "from healing"]);
    let held = Held::by(lab.child.id());
    assert!(!lab.ends_after(Signal::SIGKILL).success());
    held.is_gone();
    assert_eq!(fs::read_dir(lab.scratch.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_had_is_status_two_with_what_can() {
    for (arguments, says) in [
        (&["--fault", "nonsense"][..], "path-black-hole/2"),
        (&["--fault", "path-limited", "--recipe", "reference"], "clusters that have: routed, plain"),
        (&["--recipe", "nonsense"], "clusters: reference"),
    ] {
        let (status, out, err) = finished(&mut program(arguments));
        assert_eq!((status, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains(says), "{arguments:?}: {err}");
    }
    let (status, out, _) = finished(&mut program(&["--list"]));
    assert!(status == Some(0) && out.contains("path-black-hole/2") && out.contains("jumbo"), "{out}");
}

#[test]
fn where_namespaces_are_forbidden_it_says_what_to_check() {
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", forbid, env!("CARGO_BIN_EXE_lab")]);
    let (status, out, err) = finished(&mut command);
    assert_eq!((status, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("user.max_user_namespaces = 0, must not be 0"), "{err}");
}

/// What a process and its children hold.
#[derive(Debug)]
struct Held {
    /// Process ids, with the times at which they started.
    processes: BTreeSet<(u32, String)>,
    /// Namespaces that this test is not in itself, as in `net:[4026532000]`.
    namespaces: BTreeSet<String>,
}

impl Held {
    fn by(parent: u32) -> Self {
        let all = processes();
        let mut family = BTreeSet::from([parent]);
        // A child is younger than its parent, but its number may be lower once numbers have gone round.
        while all.iter().any(|(id, parent, _)| family.contains(parent) && family.insert(*id)) {}
        let own = namespaces_of(std::process::id());
        let namespaces = family.iter().flat_map(|id| namespaces_of(*id)).filter(|name| !own.contains(name)).collect();
        let family = all.into_iter().filter(|(id, ..)| family.contains(id));
        Self { processes: family.map(|(id, _, started)| (id, started)).collect(), namespaces }
    }

    fn is_gone(&self) {
        wait::until("every process and namespace to be gone", || {
            let running: Vec<_> = processes()
                .into_iter()
                .filter(|(id, _, started)| self.processes.contains(&(*id, started.clone())))
                .collect();
            let holders: Vec<_> = processes()
                .into_iter()
                .filter(|(id, ..)| namespaces_of(*id).iter().any(|name| self.namespaces.contains(name)))
                .collect();
            let gone = running.is_empty() && holders.is_empty();
            Ok(if gone { Look::There(()) } else { Look::NotYet(format!("{running:?} run, {holders:?} hold")) })
        })
        .unwrap();
    }
}

/// Every process that runs: its id, its parent's, and when it started. One that has ended and that nobody asked after
/// holds nothing but its number.
fn processes() -> Vec<(u32, u32, String)> {
    let ids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let process = |id: u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if fields.first() == Some(&"Z") {
            return None;
        }
        Some((id, fields.get(1)?.parse().ok()?, (*fields.get(19)?).to_owned()))
    };
    ids.filter_map(process).collect()
}

/// The namespaces that a process is in or has open; none of a process that is not ours to look at.
fn namespaces_of(id: u32) -> BTreeSet<String> {
    let links = |directory: &str| {
        let entries = fs::read_dir(Path::new("/proc").join(id.to_string()).join(directory));
        let targets = entries.into_iter().flatten().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.map(|target| target.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let kinds = ["net:[", "user:[", "mnt:["];
    let all = links("ns").into_iter().chain(links("fd"));
    all.filter(|name| kinds.iter().any(|kind| name.starts_with(kind))).collect()
}
