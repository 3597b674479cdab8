//! What scamper needs to run without root.
//!
//! scamper gives up its rights at the start: it enters `/var/empty`, sets its groups, and becomes `nobody`. In a user
//! namespace of one user there is no second one to become and no group to set, so it would refuse to run. Here it finds a
//! `/var/empty`, a `nobody` that is the only user there is, and a kernel that says yes to `setgroups`. Nothing else is
//! different, and its packets and times are its own.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use lab::namespace::Namespace;
use lab::{Error, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// A mount namespace in which scamper finds what it looks for.
#[derive(Debug)]
pub(crate) struct Jail {
    mounts: File,
}

impl Jail {
    /// Makes it.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn new() -> Result<Self> {
        let mounts = thread::spawn(furnish).join().expect("it does not panic");
        let mounts = mounts.map_err(|error| Error::new("making what scamper needs without root", error))?;
        Ok(Self { mounts })
    }

    /// scamper, to be run in a node.
    pub(crate) fn scamper(&self, node: &Namespace) -> Command {
        let mut command = node.command("scamper");
        let mounts = self.mounts.as_raw_fd();
        let enter = move || {
            // SAFETY: the call takes no pointer, and the descriptor is open: the child is a copy of this process.
            if unsafe { libc::setns(mounts, libc::CLONE_NEWNS) } != 0 {
                return Err(io::Error::last_os_error());
            }
            grant_groups()
        };
        // SAFETY: the closure makes two system calls and allocates nothing, so it is safe between fork and exec.
        unsafe { command.pre_exec(enter) };
        command
    }
}

/// Runs on a thread that is thrown away: mounts, and a descriptor that keeps them.
fn furnish() -> io::Result<File> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(Some("tmpfs"), "/var", Some("tmpfs"), MsFlags::empty(), none)?;
    fs::create_dir("/var/empty")?;
    fs::write("/var/passwd", "root:x:0:0::/:/bin/false\nnobody:x:0:0::/:/bin/false\n")?;
    mount(Some("/var/passwd"), "/etc/passwd", none, MsFlags::MS_BIND, none)?;
    File::open("/proc/thread-self/ns/mnt")
}

/// Makes `setgroups` succeed without effect, in this process and what it becomes.
fn grant_groups() -> io::Result<()> {
    const fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    // The number of the system call is the first word that a filter sees.
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_setgroups as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live until the call returns, which copies both.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
