//! Network namespaces without privilege.
//!
//! [`enter`] puts the process into a user, mount and network namespace of its own, which must happen while it has one
//! thread. Inside, it is root over every network namespace that it makes, and over nothing else. A namespace lives as
//! long as its descriptor or a process in it; there is no name under `/run` that could be left behind.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getegid, geteuid};
use probes::declared::sysctl::{DIRECTORIES, MAIN};

use crate::{Error, Result, container, notes};

/// Where `ip` and `nft` live when the caller's search path leaves them out.
const SYSTEM_PATHS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// Enters namespaces of our own.
///
/// # Errors
/// If the kernel or a policy forbids it, with what to check. Tests must fail then, not skip.
pub fn enter() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    unshare(flags).map_err(|errno| Error::new("entering a user namespace", errno).check(what_forbids_namespaces()))?;
    write_map("setgroups", "deny")?;
    write_map("uid_map", &format!("0 {user} 1"))?;
    write_map("gid_map", &format!("0 {group} 1"))?;
    mount_own("making mounts private", None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    // Lock files and sockets of `ip` and `nft` live there, and the machine's own are not ours to write.
    mount_own("mounting an own /run", Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty())?;
    hide_declarations()?;
    hide_sysctl_files()
}

/// Where Kubernetes and its networks keep files. `/run` is the lab's own already.
const DECLARATIONS: [&str; 6] =
    ["/etc/cni", "/etc/kubernetes", "/opt/cni", "/var/lib/calico", "/var/lib/cni", "/var/lib/kubelet"];

/// What this machine is to a cluster is not what a lab's nodes are.
fn hide_declarations() -> Result<()> {
    let mut there = DECLARATIONS.into_iter().filter(|directory| Path::new(directory).is_dir());
    there.try_for_each(|directory| {
        mount_own("hiding a cluster's files", Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty())
    })
}

/// What this machine's files say of settings is no fault of a lab's.
fn hide_sysctl_files() -> Result<()> {
    for directory in DIRECTORIES.into_iter().filter(|directory| Path::new(directory).is_dir()) {
        mount_own("hiding sysctl files", Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty())?;
    }
    if !Path::new(MAIN).is_file() {
        return Ok(());
    }
    let nothing = "/run/nothing";
    fs::write(nothing, "").map_err(|error| Error::new(format!("writing {nothing}"), error))?;
    mount_own("hiding the sysctl file", Some(nothing), MAIN, None, MsFlags::MS_BIND)
}

fn write_map(file: &str, text: &str) -> Result<()> {
    let path = format!("/proc/self/{file}");
    fs::write(&path, text)
        .map_err(|error| Error::new(format!("writing {path}"), error).check(what_forbids_namespaces()))
}

fn mount_own(doing: &str, source: Option<&str>, target: &str, kind: Option<&str>, flags: MsFlags) -> Result<()> {
    mount(source, target, kind, flags, None::<&str>)
        .map_err(|errno| Error::new(doing, errno).check(what_forbids_namespaces()))
}

/// The switches that can forbid user namespaces, with their values here.
fn what_forbids_namespaces() -> String {
    let switches = [
        ("user/max_user_namespaces", "must not be 0"),
        ("kernel/unprivileged_userns_clone", "must not be 0 (Debian)"),
        ("kernel/apparmor_restrict_unprivileged_userns", "must not be 1 (Ubuntu)"),
    ];
    let values = switches.map(|(switch, rule)| {
        let value = fs::read_to_string(format!("/proc/sys/{switch}"));
        format!("{} = {}, {rule}", switch.replace('/', "."), value.as_deref().map_or("absent", str::trim))
    });
    format!(
        "{}; in a container: its seccomp profile must allow unshare, mount and setns, and /proc must not be masked",
        values.join("; ")
    )
}

/// One network namespace. It goes away with this value and the last process in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: OwnedFd,
}

impl Namespace {
    /// Makes a namespace. `name` is for people only.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let own = || {
            in_own_thread(|| {
                unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                fs::File::open("/proc/thread-self/ns/net")
            })
        };
        let file = container::network().unwrap_or_else(own);
        let file = file.map_err(|error| Error::new(format!("making the namespace `{name}`"), error))?;
        let made = Self { name, file: file.into() };
        // IPv4 settings of a fresh namespace are copied from the machine's; a lab starts from the kernel's defaults.
        for interface in ["all", "default"] {
            made.set(&format!("net/ipv4/conf/{interface}/rp_filter"), "0")?;
            made.set(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1")?;
        }
        made.set("net/ipv4/ip_forward", "0")?;
        made.run("ip", ["link", "set", "lo", "up"])?;
        Ok(made)
    }

    /// Lets it speak IPv6, its addresses usable the moment they are added. Whatever it is told by routers it leaves aside:
    /// addresses and routes are the recipe's.
    pub(crate) fn speak_six(&self) -> Result<()> {
        for interface in ["all", "default"] {
            for (key, value) in [("accept_dad", "0"), ("accept_ra", "0"), ("disable_ipv6", "0")] {
                self.set(&format!("net/ipv6/conf/{interface}/{key}"), value)?;
            }
        }
        Ok(())
    }

    /// The name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path by which `ip` can move links here.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs `work` inside, on a thread that is thrown away afterwards.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        in_own_thread(|| setns(&self.file, CloneFlags::CLONE_NEWNET).map(|()| work()))
            .map_err(|errno| Error::new(format!("entering the namespace `{}`", self.name), errno))
    }

    /// A command that will run inside, started from wherever.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = command(program);
        let file = self.file.as_raw_fd();
        let enter = move || {
            // SAFETY: the call takes no pointer, and the descriptor is open: the child is a copy of this process,
            // and the namespace outlives the command that borrows it or is refused with EBADF.
            let entered = unsafe { libc::setns(file, libc::CLONE_NEWNET) };
            if entered != 0 {
                return Err(io::Error::last_os_error());
            }
            // A lab that holds signals back does so for itself alone.
            SigSet::empty().thread_set_mask().map_err(io::Error::from)
        };
        // SAFETY: the closure makes two system calls and allocates nothing, so it is safe between fork and exec.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Runs a program inside and returns what it printed.
    ///
    /// # Errors
    /// If it cannot be started or fails: the command, its status and what it said.
    pub fn run<'a>(&self, program: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let arguments: Vec<&str> = arguments.into_iter().collect();
        let doing = format!("`{program} {}` in {}", arguments.join(" "), self.name);
        notes::add(&self.name, || format!("{program} {}", arguments.join(" ")));
        self.finish(&doing, command(found(program)).args(arguments), "")
    }

    /// Runs a program inside, each word of `line` one argument.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn sh(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        self.run(words.next().unwrap_or_default(), words)
    }

    /// Feeds `lines` to a program inside, all in one process.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn feed(&self, program: &str, arguments: &[&str], lines: &str) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let doing = format!("`{program} {}` in {} with\n{lines}", arguments.join(" "), self.name);
        notes::add(&self.name, || notes::fed(program, lines));
        self.finish(&doing, command(found(program)).args(arguments).stdin(Stdio::piped()), lines).map(drop)
    }

    /// Starts a program from a thread that is inside, and waits for it. One that enters by itself ([`Self::command`]) begins
    /// as a copy of this process, which is large, and a lab starts hundreds.
    fn finish(&self, doing: &str, command: &mut Command, input: &str) -> Result<String> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = self.inside(|| {
            // What is started may wait for children of its own by that signal, as shells do.
            endings().thread_unblock().map_err(|errno| Error::new(doing, errno))?;
            let mut child = command.spawn().map_err(|error| not_started(doing, error))?;
            // A program that fails early closes its end; its status and words say more than the broken pipe does.
            let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
            child.wait_with_output().map_err(|error| Error::new(doing, error))
        })??;
        said(doing, output)
    }

    /// Sets a kernel setting, named by its path below `/proc/sys`.
    ///
    /// # Errors
    /// If there is no such setting, or the value is refused.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        notes::add(&self.name, || format!("echo {value} > /proc/sys/{key}"));
        self.inside(|| fs::write(format!("/proc/sys/{key}"), value))?
            .map_err(|error| Error::new(format!("setting {key} = {value} in {}", self.name), error))
    }

    /// Reads a kernel setting.
    ///
    /// # Errors
    /// If there is no such setting.
    pub fn setting(&self, key: &str) -> Result<String> {
        self.inside(|| fs::read_to_string(format!("/proc/sys/{key}")))?
            .map(|text| text.trim().to_owned())
            .map_err(|error| Error::new(format!("reading {key} in {}", self.name), error))
    }
}

/// Holds back, in this thread and all that it will start, that a child has ended: whoever started it waits for it anyway.
/// While a child is started its thread holds all signals back, and what is held back is not thrown away: if the child is
/// quick, the kernel finds another thread for the signal, whose call on a socket then fails as interrupted.
pub(crate) fn hold_back_endings() -> Result<()> {
    endings().thread_block().map_err(|errno| Error::new("holding back SIGCHLD", errno))
}

fn endings() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals
}

/// Where a program is that [`Namespace::command`] would start.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = search_path();
    let mut places = std::env::split_paths(&path).map(|place| place.join(program));
    places.find(|place| place.is_file())
}

/// A program by its path. To search another path than its own, the standard library would begin with a copy, too.
fn found(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| program.into())
}

fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path()).stdin(Stdio::null());
    // Ctrl-C is for whoever runs the lab: an `ip` that it ended half-way could not be healed.
    command.process_group(0);
    command
}

fn search_path() -> String {
    format!("{}:{SYSTEM_PATHS}", std::env::var("PATH").unwrap_or_default())
}

/// Runs `work` on a thread of its own, so that a change of namespace dies with it.
fn in_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn not_started(doing: &str, error: io::Error) -> Error {
    Error::new(doing, format!("cannot be started: {error}"))
        .check("the packages iproute2, nftables, iputils-ping and util-linux are installed")
}

fn said(doing: &str, output: Output) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(doing, format!("{}: {}", output.status, [errors.trim(), text.trim()].join(" "))))
}
