//! What a person sees: progress on a terminal, what an interruption leaves, the report and the table.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use lab::cluster::Cluster;
use lab::fault::{Fault, Way};
use lab::harness::test;
use lab::recipe::{CHAIN, REFERENCE};
use lab::wait::{self, Look};
use lab::{Error, Result, service};
use libtest_mimic::Trial;
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lost_behind;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("a terminal shows what is waited for, and a pipe does not", progress),
        test("an interruption leaves what was measured", interrupted),
        test("one path is a report that says where to look", one_path),
        test("several paths are a table with a last line", several_paths),
        test("README shows what probe prints", readme),
    ]
}

/// A command whose standard error is a terminal.
struct OnTerminal {
    child: Child,
    screen: Arc<Mutex<String>>,
}

impl OnTerminal {
    fn start(cluster: &Cluster, arguments: &[&str]) -> Result<Self> {
        let failed = |error: std::io::Error| Error::new("running `probe` on a terminal", error);
        let ends = openpty(None, None).map_err(|errno| Error::new("making a terminal", errno))?;
        let mut command = service::mtuscope(cluster.host(0))?;
        let slave: OwnedFd = ends.slave;
        command.arg("probe").args(arguments).env("TERM", "xterm").stdout(Stdio::piped()).stderr(slave);
        let child = command.spawn().map_err(failed)?;
        let screen = Arc::new(Mutex::new(String::new()));
        let (shown, mut master) = (Arc::clone(&screen), File::from(ends.master));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end of a terminal whose last writer is gone reads as an error (EIO).
            while let Ok(read @ 1..) = master.read(&mut bytes) {
                shown.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Ok(Self { child, screen })
    }

    fn shows(&self, words: &str) -> Result<()> {
        wait::until(&format!("the terminal to show `{words}`"), || {
            let screen = self.screen.lock().expect("nobody panics with it").clone();
            Ok(if screen.contains(words) { Look::There(()) } else { Look::NotYet(screen) })
        })
    }

    fn ends(self) -> Result<(Option<i32>, String)> {
        let output = self.child.wait_with_output().map_err(|error| Error::new("waiting for `probe`", error))?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}

fn progress() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let (peer, nobody) = (REFERENCE.underlay_address(1).to_string(), "10.0.0.99");
    let running = OnTerminal::start(&cluster, &[&peer, nobody])?;
    running.shows("1/2 waiting for 10.0.0.99")?;
    let (code, out) = running.ends()?;
    assert!(code == Some(1) && !out.contains("waiting for"), "{out}");
    let piped = service::run(cluster.host(0), &["probe", nobody])?;
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "", "no bar in a log");
    Ok(())
}

fn interrupted() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let (peer, nobody) = (REFERENCE.underlay_address(1).to_string(), "10.0.0.99");
    let running = OnTerminal::start(&cluster, &[&peer, nobody])?;
    running.shows("1/2 waiting for 10.0.0.99")?;
    let id = Pid::from_raw(running.child.id().cast_signed());
    kill(id, Signal::SIGINT).map_err(|errno| Error::new("interrupting `probe`", errno))?;
    let (code, out) = running.ends()?;
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("it was interrupted") && out.ends_with("2 paths: 1 clear, 1 unknown\n"), "{out}");
    Ok(())
}

fn one_path() -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    let peer = CHAIN.underlay_address(1).to_string();
    let text = || -> Result<String> {
        let output = service::run(cluster.host(0), &["probe", &peer])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert!(text()?.starts_with(&format!("CLEAR {peer}: carries 1500 B")), "{}", text()?);
    let lost = lost_behind(2, 1400, Way::There).make(&cluster)?;
    let shown = text()?;
    for words in [
        format!("BLACK HOLE {peer}: carries 1400 of 1500 B"),
        "◄ larger ones vanish on this way".into(),
        "HOPS to".into(),
        "◄ larger ones vanish before it".into(),
        "→ 172.20.100.2 (hop 2) gets such packets and 172.20.101.2 (hop 3) does not".into(),
    ] {
        assert!(shown.contains(&words), "`{words}` in\n{shown}");
    }
    lost.heal()
}

fn several_paths() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let peers = [1, 2].map(|node| REFERENCE.underlay_address(node).to_string());
    let lost = Fault::DropLarger { node: 2, than: 1400.into() }.make(&cluster)?;
    let run = |more: &[&str]| -> Result<String> {
        let output = service::run(cluster.host(0), &[&["probe", &peers[0], &peers[1]], more].concat())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let whole = run(&[])?;
    assert!(whole.contains(&peers[0]) && whole.ends_with("2 paths: 1 clear, 1 black hole\n"), "{whole}");
    let quiet = run(&["--quiet"])?;
    assert!(!quiet.contains(&peers[0]) && quiet.ends_with("2 paths: 1 clear, 1 black hole\n"), "{quiet}");
    lost.heal()
}

/// Numbers that differ from run to run: times, and packets where one was asked for again.
fn without_counts(text: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_count = |at: usize| words.get(at + 1) == Some(&"ms") || (at == 1 && words[0] == "packets");
        let masked = words.iter().enumerate().map(|(at, word)| if is_count(at) { "…" } else { word });
        masked.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// `MTUSCOPE_REGENERATE=1` writes it, if this user may.
fn readme() -> Result<()> {
    let cluster = Cluster::build(CHAIN)?;
    let lost = lost_behind(2, 1400, Way::There).make(&cluster)?;
    let output = service::run(cluster.host(0), &["probe", &CHAIN.underlay_address(1).to_string()])?;
    lost.heal()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("README.md");
    let readme = fs::read_to_string(&path).map_err(|error| Error::new("reading README.md", error))?;
    let parts = || {
        let (before, rest) = readme.split_once("<!-- probe:begin -->")?;
        let (head, rest) = rest.split_once("\n```\n")?;
        let (shown, rest) = rest.split_once("```\n")?;
        Some((format!("{before}<!-- probe:begin -->{head}\n```\n"), shown, format!("```\n{rest}")))
    };
    let (before, shown, after) = parts().ok_or_else(|| Error::new("reading README.md", "it shows no probe"))?;
    if std::env::var_os("MTUSCOPE_REGENERATE").is_some() {
        let anew = format!("{before}{printed}{after}");
        return fs::write(&path, anew).map_err(|error| Error::new("writing README.md", error));
    }
    assert_eq!(without_counts(shown), without_counts(&printed), "MTUSCOPE_REGENERATE=1 writes it anew");
    Ok(())
}
