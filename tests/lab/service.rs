//! The agent in a node: the library that ships, in a process of its own, started from this very executable.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::Duration;

use agent::config::duration;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::harness::AGENT;
use crate::http::{self, Response};
use crate::namespace::Namespace;
use crate::report::Report;
use crate::wait::{self, Look};
use crate::{Error, Result};

/// Where the agent listens in its node.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9747);

/// How the agents of stories probe: rounds as short as they can be.
pub const PROBING: &str = "probing: { interval: 1s, confirm_rounds: 2 }\n";

/// A running agent. It is killed with this value.
#[derive(Debug)]
pub struct Service<'c> {
    host: &'c Namespace,
    child: Child,
    config: PathBuf,
    log: PathBuf,
    _directory: TempDir,
}

impl<'c> Service<'c> {
    /// Starts the agent in a node, with every other node as a named peer, and waits until it is ready.
    ///
    /// # Errors
    /// If it cannot be started, ends early, or does not become ready; with what it logged.
    pub fn start(cluster: &'c Cluster, node: usize) -> Result<Self> {
        Self::start_with(cluster, node, &configuration(cluster, node))
    }

    /// As [`Self::start`], with another configuration.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(cluster: &'c Cluster, node: usize, configuration: &str) -> Result<Self> {
        let mut service = Self::launch(cluster, node, configuration, |command, config| {
            command.arg("--config").arg(config).args(["--listen", &SERVER.to_string()]);
        })?;
        service.await_ready()?;
        Ok(service)
    }

    /// As [`Self::start_with`], but where the agent listens by default: peers reach it through the tunnel too.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_open(cluster: &'c Cluster, node: usize, configuration: &str) -> Result<Self> {
        let mut service = Self::launch(cluster, node, configuration, |command, config| {
            command.arg("--config").arg(config);
        })?;
        service.await_ready()?;
        Ok(service)
    }

    /// Starts the agent with options of its own, which are told the path of the configuration.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn launch(
        cluster: &'c Cluster,
        node: usize,
        configuration: &str,
        options: impl FnOnce(&mut Command, &Path),
    ) -> Result<Self> {
        let host = cluster.host(node);
        Self::spawn(host, mtuscope(host)?, configuration, options)
    }

    /// Starts the agent in a place of any kind, a pod as well, and waits until it is ready. It listens where it does by
    /// default.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(place: &'c Namespace, command: Command, configuration: &str) -> Result<Self> {
        let mut service = Self::spawn(place, command, configuration, |command, config| {
            command.arg("--config").arg(config);
        })?;
        service.await_ready()?;
        Ok(service)
    }

    /// Starts the agent in a place of any kind, and waits for nothing. It listens where it does by default.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn launch_in(place: &'c Namespace, configuration: &str) -> Result<Self> {
        Self::spawn(place, mtuscope(place)?, configuration, |command, config| {
            command.arg("--config").arg(config);
        })
    }

    fn spawn(
        host: &'c Namespace,
        mut command: Command,
        configuration: &str,
        options: impl FnOnce(&mut Command, &Path),
    ) -> Result<Self> {
        let failed = |error: io::Error| Error::new("starting the agent", error);
        // The lab's own `/run`: it is gone with the lab, however that ends.
        let directory = tempfile::tempdir_in("/run").map_err(failed)?;
        let (config, log) = (directory.path().join("mtuscope.yaml"), directory.path().join("log"));
        fs::write(&config, configuration).map_err(failed)?;
        options(command.arg("agent"), &config);
        let output = File::create(&log).map_err(failed)?;
        let child = command.stdout(output.try_clone().map_err(failed)?).stderr(output).spawn().map_err(failed)?;
        Ok(Self { host, child, config, log, _directory: directory })
    }

    /// Waits until its first round is done.
    ///
    /// # Errors
    /// If it ends early, or does not become ready; with what it logged.
    pub fn await_ready(&mut self) -> Result<()> {
        wait::until("the agent to be ready", || {
            self.check_alive()?;
            Ok(match self.get("/readyz", "*/*") {
                Ok(Response { status: 200, .. }) => Look::There(()),
                Ok(response) => Look::NotYet(format!("{} {}", response.status, response.body)),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
        .map_err(|error| self.with_log(error))
    }

    /// Gets a path from it.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn get(&self, path: &str, accept: &str) -> Result<Response> {
        http::get(self.host, SERVER, path, accept)
    }

    /// Its report.
    ///
    /// # Errors
    /// If it does not answer, or not with a report.
    pub fn report(&self) -> Result<Report> {
        Report::parse(&self.written()?)
    }

    /// The same as it is written.
    fn written(&self) -> Result<String> {
        let response = self.get("/report", "application/json")?;
        if response.status != 200 {
            return Err(Error::new("asking for /report", format!("{} {}", response.status, response.body)));
        }
        Ok(response.body)
    }

    /// Looks at its reports until one satisfies `there`.
    ///
    /// # Errors
    /// If none does in time: the last report and what the agent logged.
    pub fn until(&mut self, what: &str, there: impl FnMut(&Report) -> bool) -> Result<Report> {
        self.until_after(Duration::ZERO, what, there)
    }

    /// The same for what may rightly take as long as `pause` by itself.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn until_after(
        &mut self,
        pause: Duration,
        what: &str,
        mut there: impl FnMut(&Report) -> bool,
    ) -> Result<Report> {
        // It is looked at several times a round; to read and validate it again each time would cost more than all else.
        let mut last: Option<(String, Report)> = None;
        let seen = wait::until_after(pause, what, || {
            self.check_alive()?;
            let written = self.written()?;
            let report = match last.take() {
                Some((known, report)) if known == written => report,
                _ => Report::parse(&written)?,
            };
            if there(&report) {
                return Ok(Look::There(report));
            }
            let said = report.to_string();
            last = Some((written, report));
            Ok(Look::NotYet(said))
        });
        seen.map_err(|error| self.with_log(error))
    }

    /// That the process started first is still the one that runs.
    ///
    /// # Errors
    /// If it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.with_log(Error::new("looking at the agent", format!("it ended: {status}")))),
            Err(error) => Err(Error::new("looking at the agent", error)),
        }
    }

    /// The file that it reads its configuration from.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.check_alive()?;
        let id = Pid::from_raw(i32::try_from(self.child.id()).expect("process ids are small"));
        kill(id, signal).map_err(|errno| Error::new(format!("sending {signal}"), errno))
    }

    /// What it has logged.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).map_err(|error| Error::new("reading the agent's log", error))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// If it has ended already, or does not end in time.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let ended = wait::until("the agent to end after SIGTERM", || {
            let status = self.child.try_wait().map_err(|error| Error::new("waiting for the agent", error))?;
            Ok(status.map_or_else(|| Look::NotYet("it runs".into()), Look::There))
        });
        ended.map_err(|error| self.with_log(error))
    }

    /// An error, with what the agent logged.
    #[must_use]
    pub fn with_log(&self, error: Error) -> Error {
        let log = fs::read_to_string(&self.log).unwrap_or_else(|error| format!("its log cannot be read: {error}"));
        error.check(format!("the agent's log:\n{log}"))
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        // Both fail only if it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command `mtuscope`, to be run in a node. It dies with the thread that starts it.
///
/// # Errors
/// If this executable cannot be found.
pub fn mtuscope(host: &Namespace) -> Result<Command> {
    let executable = std::env::current_exe().map_err(|error| Error::new("finding this executable", error))?;
    let mut command = host.command(executable);
    command.arg0(AGENT).env_remove("NODE_NAME").env("NO_COLOR", "1");
    let prepare = || {
        set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)?;
        OVERRIDES.into_iter().try_for_each(without)
    };
    // SAFETY: the closure makes a few system calls and allocates nothing, so it is safe between fork and exec.
    unsafe { command.pre_exec(prepare) };
    Ok(command)
}

/// Rights to read what modes forbid, by their numbers in `capabilities(7)`: `CAP_DAC_OVERRIDE`, `CAP_DAC_READ_SEARCH`.
/// The second is granted by a component of the manifests alone, so the product is tested without both.
const OVERRIDES: [libc::c_ulong; 2] = [1, 2];

/// Lets a command be started without `CAP_NET_RAW`, which a container need not have.
pub fn without_net_raw(command: &mut Command) {
    const NET_RAW: libc::c_ulong = 13;
    // SAFETY: the closure makes one system call and allocates nothing, so it is safe between fork and exec.
    unsafe { command.pre_exec(|| without(NET_RAW)) };
}

/// Gives up a right for what this process becomes.
fn without(right: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, right, 0, 0, 0) };
    if dropped == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Runs `mtuscope` in a node to its end.
///
/// # Errors
/// If it cannot be started.
pub fn run(host: &Namespace, arguments: &[&str]) -> Result<Output> {
    let doing = || format!("`mtuscope {}` in {}", arguments.join(" "), host.name());
    mtuscope(host)?.args(arguments).output().map_err(|error| Error::new(doing(), error))
}

/// The configuration of a node: short rounds, every other node named with all its addresses, the node's own files.
pub fn configuration(cluster: &Cluster, node: usize) -> String {
    configuration_every(cluster, node, Duration::from_secs(1))
}

/// As [`configuration`], with rounds as far apart as `interval`.
pub fn configuration_every(cluster: &Cluster, node: usize, interval: Duration) -> String {
    let (recipe, root) = (&cluster.recipe, cluster.files(node).root());
    let mut text =
        format!("node: {}\nhost_root: {}\npeers:\n  kernel: true\n  static:\n", recipe.nodes[node], root.display());
    for (peer, name) in recipe.nodes.iter().enumerate().filter(|(peer, _)| *peer != node) {
        let _ = write!(text, "    - {{ name: {name}, underlay: {}", all_in_yaml(recipe.underlay_addresses(peer)));
        if let Some(overlay) = recipe.overlay {
            let tunnel = overlay.tunnel_addresses(peer);
            if !tunnel.is_empty() {
                let _ = write!(text, ", overlay: {}", all_in_yaml(tunnel));
            }
            let _ = write!(text, ", pod: {}", all_in_yaml(overlay.pod_addresses(peer)));
        }
        text += " }\n";
    }
    text + &format!("probing: {{ interval: {}, confirm_rounds: 2 }}\n", duration::show(interval))
}

/// An address, or a list of several.
fn all_in_yaml(addresses: Vec<IpAddr>) -> String {
    let all: Vec<_> = addresses.into_iter().map(in_yaml).collect();
    if let [only] = all.as_slice() { only.clone() } else { format!("[{}]", all.join(", ")) }
}

/// An address of IPv6 may end in a colon, which YAML takes for its own.
fn in_yaml(address: IpAddr) -> String {
    if address.is_ipv4() { address.to_string() } else { format!("\"{address}\"") }
}
