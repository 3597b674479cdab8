//! A real browser in a node: Chromium without a screen, driven by the scripts of `tests/page`.
//!
//! One process serves many checks, since starting it takes longer than most of them. It lives in the network namespace of
//! a node and so reaches the agents there by loopback, whatever is broken between nodes, and nothing outside the lab. A
//! check is a function of those scripts by its name; what it finds wrong comes back as an error with the console, what
//! the page's policy refused, and the path of a picture.
//!
//! What it keeps, it keeps below a directory of its own on the lab's `/run`. Pictures are for whoever reads that a test
//! failed, and outlive it: they are in `MTUSCOPE_PICTURES`, or in `/var/tmp`.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::namespace::{Namespace, find};
use crate::{Error, Result};

/// What starts it, beside this crate.
const SESSION: &str = "page/session.mjs";

/// What installs everything that is needed here.
const INSTALL: &str = "apt-get install chromium nodejs npm; npm ci --prefix tests --ignore-scripts";

/// A browser that runs. It is ended with this value.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    requests: Option<ChildStdin>,
    results: BufReader<ChildStdout>,
    directory: TempDir,
}

/// What a check came to.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Value(Value),
    Error(String),
}

impl Browser {
    /// Starts one in a node.
    ///
    /// # Errors
    /// If a part is not installed, with the command that installs it, or does not start, with what it said.
    pub fn start(host: &Namespace) -> Result<Self> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (chromium, node) = (installed("chromium")?, installed("node")?);
        if !scripts.join("node_modules/playwright-core").is_dir() {
            return Err(missing("tests/node_modules/playwright-core"));
        }
        let failed = |error: io::Error| Error::new("starting a browser", error);
        let directory = tempfile::tempdir_in("/run").map_err(failed)?;
        let words = File::create(log(&directory)).map_err(failed)?;
        let mut command = host.command(node);
        command.arg(scripts.join(SESSION)).arg(chromium).arg(directory.path()).arg(pictures());
        command.env("HOME", directory.path()).env("TMPDIR", directory.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(words);
        // SAFETY: the closure makes one system call and allocates nothing, so it is safe between fork and exec.
        unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)) };
        let mut child = command.spawn().map_err(failed)?;
        let results = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut browser = Self { requests: child.stdin.take(), child, results, directory };
        browser.result().map_err(|error| error.while_doing("starting a browser"))?;
        Ok(browser)
    }

    /// Runs one check.
    ///
    /// # Errors
    /// If it finds something, or the browser ends.
    pub fn check(&mut self, check: &str, given: &Value) -> Result<Value> {
        let request = json!({ "check": check, "given": given }).to_string() + "\n";
        let doing = || format!("the check `{check}` of tests/page");
        let mut requests = self.requests.as_ref().expect("it is taken when this value goes");
        requests.write_all(request.as_bytes()).map_err(|error| self.ended(&error.to_string()).while_doing(doing()))?;
        self.result().map_err(|error| error.while_doing(doing()))
    }

    fn result(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.results.read_line(&mut line);
        match read.map(|_| serde_json::from_str(&line)) {
            Ok(Ok(Outcome::Value(value))) => Ok(value),
            Ok(Ok(Outcome::Error(told))) => Err(Error::new("looking at a page", told)),
            Ok(Err(_)) => Err(self.ended(&format!("no result: {line:?}"))),
            Err(error) => Err(self.ended(&error.to_string())),
        }
    }

    /// That it cannot be asked any more, with what it said.
    fn ended(&self, why: &str) -> Error {
        let words = fs::read_to_string(log(&self.directory)).unwrap_or_default();
        Error::new("asking a browser", why).check(format!("that all of it is installed: {INSTALL}; it said: {words}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its requests is the end of its work: it closes Chromium, which it started in a group of its own.
        drop(self.requests.take());
        let mut rest = String::new();
        let _ = io::Read::read_to_string(&mut self.results, &mut rest);
        // These fail only if it has ended already, which is what is wanted.
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn log(directory: &TempDir) -> PathBuf {
    directory.path().join("words")
}

fn pictures() -> PathBuf {
    env::var_os("MTUSCOPE_PICTURES").map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

fn missing(what: &str) -> Error {
    Error::new("starting a browser", format!("{what} is not there")).check(format!("it is installed: {INSTALL}"))
}

/// Where a program is.
fn installed(program: &str) -> Result<PathBuf> {
    find(program).ok_or_else(|| missing(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_installs_it() {
        let told = installed("chromium-of-nobody").unwrap_err().to_string();
        assert!(
            told.contains("chromium-of-nobody is not there") && told.contains("apt-get install chromium"),
            "{told}"
        );
    }
}
