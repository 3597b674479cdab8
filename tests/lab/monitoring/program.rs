//! A server of Debian's that runs in a namespace until its value goes.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::http::{self, Response};
use crate::namespace::Namespace;
use crate::wait::{self, Look};
use crate::{Error, Result};

/// The program, and where it comes from.
pub(super) struct Kind {
    /// As it is started.
    pub(super) name: &'static str,
    /// Debian's package that brings it.
    pub(super) package: &'static str,
    /// The port that it serves on the loopback of its namespace.
    pub(super) port: u16,
}

/// A program that runs. It is killed with this value.
#[derive(Debug)]
pub(super) struct Program<'c> {
    place: &'c Namespace,
    name: &'static str,
    server: SocketAddr,
    child: Child,
    directory: TempDir,
}

impl<'c> Program<'c> {
    /// Starts it with the files that it reads, by name, and waits until it says that it is ready. `options` are told the
    /// directory of those files.
    pub(super) fn start(
        place: &'c Namespace,
        kind: &Kind,
        files: &[(&str, String)],
        options: impl FnOnce(&mut Command, &Path),
    ) -> Result<Self> {
        let doing = || format!("starting {} in {}", kind.name, place.name());
        let failed = |error: io::Error| Error::new(doing(), error);
        // The lab's own `/run`: it is gone with the lab, however that ends.
        let directory = tempfile::tempdir_in("/run").map_err(failed)?;
        for (name, text) in files {
            fs::write(directory.path().join(name), text).map_err(failed)?;
        }
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, kind.port));
        let log = File::create(log(directory.path())).map_err(failed)?;
        let mut command = place.command(kind.name);
        command.arg(format!("--web.listen-address={server}")).stdout(log.try_clone().map_err(failed)?).stderr(log);
        options(&mut command, directory.path());
        // SAFETY: the closure makes one system call and allocates nothing, so it is safe between fork and exec.
        unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)) };
        let child = command.spawn().map_err(|error| failed(error).check(installed(kind)))?;
        let mut program = Self { place, name: kind.name, server, child, directory };
        program.await_ready()?;
        Ok(program)
    }

    fn await_ready(&mut self) -> Result<()> {
        let ready = wait::until(&format!("{} to be ready", self.name), || {
            let ended =
                self.child.try_wait().map_err(|error| Error::new(format!("looking at {}", self.name), error))?;
            if let Some(status) = ended {
                return Err(Error::new(format!("starting {}", self.name), format!("it ended: {status}")));
            }
            Ok(match self.get("/-/ready") {
                Ok(_) => Look::There(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        });
        ready.map_err(|error| self.with_log(error))
    }

    /// Gets a path from it; any answer but 200 is an error.
    pub(super) fn get(&self, path: &str) -> Result<Response> {
        let response = http::get(self.place, self.server, path, "*/*")?;
        if response.status == 200 {
            return Ok(response);
        }
        let Response { status, body, .. } = response;
        Err(Error::new(format!("GET {path} from {}", self.name), format!("{status} {body}")))
    }

    /// Where it serves, in its namespace.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    /// An error, with what the program logged.
    pub(super) fn with_log(&self, error: Error) -> Error {
        let path = log(self.directory.path());
        let text = fs::read_to_string(path).unwrap_or_else(|error| format!("it cannot be read: {error}"));
        error.check(format!("the log of {}:\n{text}", self.name))
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // Both fail only if it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log(directory: &Path) -> PathBuf {
    directory.join("log")
}

fn installed(kind: &Kind) -> String {
    format!("`{}` is on the search path: Debian's package {} brings it", kind.name, kind.package)
}
