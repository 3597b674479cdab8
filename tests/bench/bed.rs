//! Where a tool is run: a node with a meter on its wire.
//!
//! The meter sits where packets leave, behind everything that the kernel does to them: a fragment counts as a packet, and
//! what the kernel refused to send does not count. It counts ICMP, UDP and TCP for the targets alone, so neither ARP nor a
//! tool's own HTTP is in it.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use lab::cluster::{BACKBONE, Cluster};
use lab::namespace::Namespace;
use lab::recipe::PLAIN;
use lab::{Error, Result};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The network of [`far`] targets, all of them on the peer.
pub(crate) const FAR: &str = "10.77.0.0/16";

/// A program that takes longer is stuck.
const STUCK: Duration = Duration::from_secs(600);

/// Two nodes and two routers between them, with a network of targets on the far one.
///
/// Routers and peer answer without a rate limit: a tool that is run ten times in a row would otherwise be held up by what
/// the runs before it used up.
///
/// # Errors
/// If it cannot be built.
pub(crate) fn network() -> Result<Cluster> {
    let cluster = Cluster::build(PLAIN)?;
    for namespace in cluster.routers.iter().chain([cluster.host(1)]) {
        namespace.set("net/ipv4/icmp_ratelimit", "0")?;
    }
    let [near, other] = &cluster.routers[..] else {
        return Err(Error::new("looking for two routers", format!("there are {}", cluster.routers.len())));
    };
    let behind = near.sh(&format!("ip -4 -o route show {}", subnet(PLAIN.underlay_address(1))))?;
    let gateway = behind.split_whitespace().skip_while(|word| *word != "via").nth(1).unwrap_or_default();
    near.sh(&format!("ip route add {FAR} via {gateway} dev {BACKBONE}"))?;
    other.sh(&format!("ip route add {FAR} via {}", PLAIN.underlay_address(1)))?;
    cluster.host(1).sh(&format!("ip route add local {FAR} dev lo"))?;
    Ok(cluster)
}

fn subnet(address: IpAddr) -> String {
    let text = address.to_string();
    let network = text.rsplit_once('.').map_or(text.as_str(), |(network, _)| network);
    format!("{network}.0/24")
}

/// Targets on the far node.
pub(crate) fn far(count: u16) -> Vec<Ipv4Addr> {
    spread([10, 77], count)
}

/// Addresses of one network, 250 of each 256.
pub(crate) fn spread([a, b]: [u8; 2], count: u16) -> Vec<Ipv4Addr> {
    let address = |at: u16| {
        let [c, d] =
            [at / 250, at % 250 + 1].map(|byte| u8::try_from(byte).expect("no more than 62,500 are asked for"));
        Ipv4Addr::new(a, b, c, d)
    };
    (0..count).map(address).collect()
}

/// A node with a meter.
#[derive(Debug)]
pub(crate) struct Bed<'n> {
    /// The node.
    pub(crate) node: &'n Namespace,
    directory: TempDir,
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Done {
    /// Its standard output.
    pub(crate) text: String,
    /// Its standard error.
    pub(crate) errors: String,
    /// From its start to its end, in milliseconds.
    pub(crate) wall_ms: f64,
    /// Packets that left for the targets.
    pub(crate) packets: u64,
}

impl Done {
    /// That it did not do what it is for.
    pub(crate) fn unfit(&self, tool: &str) -> Error {
        Error::new(format!("reading what {tool} says"), format!("{:?}, {:?}", self.text.trim(), self.errors.trim()))
    }
}

impl<'n> Bed<'n> {
    /// Puts a meter for these targets on a link of a node.
    ///
    /// # Errors
    /// If the kernel has no hook there (it came with Linux 5.16).
    pub(crate) fn new(node: &'n Namespace, link: &str, targets: &str) -> Result<Self> {
        let rule = format!("ip daddr {targets} ip protocol {{ icmp, udp, tcp }} counter");
        let chain = format!("type filter hook egress device \"{link}\" priority 0; policy accept;\n{rule}\n");
        node.feed("nft", &["-f", "-"], &format!("table netdev bench {{ chain out {{ {chain}}}\n}}\n"))?;
        // The lab's own `/run`: outputs go to memory, so that no pipe and no disk holds a tool up.
        let directory = tempfile::tempdir_in("/run").map_err(|error| Error::new("making a directory", error))?;
        Ok(Self { node, directory })
    }

    /// A file of this bed.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a program to its end, on a node that remembers nothing of earlier ones.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn run(&self, mut command: Command) -> Result<Done> {
        let doing = format!("running {}", command.get_program().to_string_lossy());
        let failed = |error: io::Error| Error::new(doing.clone(), error);
        let (output, errors) = (self.file("output"), self.file("errors"));
        command.stdout(File::create(&output).map_err(failed)?).stderr(File::create(&errors).map_err(failed)?);
        let (ended, wall_ms, packets) = self.metered(|| ended(&mut command))?;
        let status = ended.map_err(failed)?;
        if status.signal() == Some(Signal::SIGKILL as i32) {
            return Err(Error::new(doing, format!("it does not end within {STUCK:?}")));
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(failed);
        Ok(Done { text: read(&output)?, errors: read(&errors)?, wall_ms, packets })
    }

    /// Does something on a node that remembers nothing of earlier tools: what came of it, milliseconds, packets.
    ///
    /// # Errors
    /// If the meter cannot be read.
    pub(crate) fn metered<T>(&self, work: impl FnOnce() -> T) -> Result<(T, f64, u64)> {
        self.node.sh("ip route flush cache")?;
        let before = self.packets()?;
        let started = Instant::now();
        let done = work();
        let wall = millis(started.elapsed());
        Ok((done, wall, self.packets()? - before))
    }

    /// What the meter shows.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn packets(&self) -> Result<u64> {
        let table = self.node.sh("nft list table netdev bench")?;
        let shown = table.split_whitespace().skip_while(|word| *word != "packets").nth(1);
        shown.and_then(|count| count.parse().ok()).ok_or_else(|| Error::new("reading the meter", table))
    }
}

/// Runs a command to its end, or kills it when nobody would wait any longer.
fn ended(command: &mut Command) -> io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let id = Pid::from_raw(i32::try_from(child.id()).expect("process ids are small"));
    let (over, waits) = mpsc::channel::<()>();
    thread::spawn(move || {
        if waits.recv_timeout(STUCK) == Err(RecvTimeoutError::Timeout) {
            // It fails only if the program has ended at this very moment.
            let _ = kill(id, Signal::SIGKILL);
        }
    });
    let status = child.wait();
    drop(over);
    status
}

/// A time as a figure.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A program that serves until this value goes.
#[derive(Debug)]
pub(crate) struct Server(Child);

impl Server {
    /// Starts it; what it says goes to a file.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::new(format!("starting {:?}", command.get_program()), error);
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let die_with_parent = || set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
        // SAFETY: the closure makes one system call and allocates nothing, so it is safe between fork and exec.
        unsafe { command.pre_exec(die_with_parent) };
        let child = command.stdout(output).stderr(errors).spawn();
        child.map(Self).map_err(|error| Error::new(format!("starting {:?}", command.get_program()), error))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_hosts_and_never_twice() {
        let far = far(1000);
        assert_eq!(far.first(), Some(&Ipv4Addr::new(10, 77, 0, 1)));
        assert_eq!(far.last(), Some(&Ipv4Addr::new(10, 77, 3, 250)));
        assert_eq!(far.iter().collect::<std::collections::BTreeSet<_>>().len(), 1000);
    }
}
