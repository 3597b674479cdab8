//! A process as the kubelet starts a container's: not root, and with no more rights than its `securityContext` grants.
//!
//! What a capability is worth depends on who owns the network namespace that it is used in. So [`enter`] makes a user
//! namespace inside the lab's own whose only user is [`USER`], as the image says it, and every network namespace that is
//! made from then on belongs to it. The lab stays root over all of them, for it is root in the parent.
//!
//! A container runtime gives a process that is not root the granted capabilities as bounding and permitted set, no
//! inheritable and no ambient ones, sets `no_new_privs` where privilege escalation is not allowed, and starts the program.
//! What is left then is what the *file* has, within the bounding set: that is the kernel's doing, and what
//! [`Image::start`] leaves to it. The program is this very executable, copied, with capabilities set on the copy.
//!
//! Capabilities of files are written by the lab, whose tmpfs it is: the kernel then takes them for those of the lab's root,
//! and they count in every user namespace below.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{XattrFlags, setxattr};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use tempfile::TempDir;

use crate::harness::AGENT;
use crate::namespace::Namespace;
use crate::{Error, Result};

/// The user that the image names.
pub const USER: u32 = 65_532;

/// The user namespace that network namespaces are made in; the lab's own where none is set.
static OWNER: OnceLock<OwnedFd> = OnceLock::new();

/// From here on network namespaces belong to a user namespace whose only user is [`USER`].
///
/// # Errors
/// If the kernel or a policy forbids it.
pub fn enter() -> Result<()> {
    let failed = |error: io::Error| Error::new("making a user namespace for containers", error);
    let owner = waiting(
        || unshare(CloneFlags::CLONE_NEWUSER),
        |process| {
            // The user that the lab runs as, which is root of the lab, is the user that the image names.
            fs::write(format!("/proc/{process}/uid_map"), format!("{USER} 0 1"))?;
            fs::write(format!("/proc/{process}/gid_map"), format!("{USER} 0 1"))?;
            fs::File::open(format!("/proc/{process}/ns/user"))
        },
    );
    OWNER.set(owner.map_err(failed)?.into()).map_err(|_| Error::new("making a user namespace for containers", "twice"))
}

/// A network namespace that belongs to containers, where [`enter`] was called.
pub(crate) fn network() -> Option<io::Result<fs::File>> {
    let owner = OWNER.get()?;
    let enter = move || {
        setns(owner, CloneFlags::CLONE_NEWUSER)?;
        unshare(CloneFlags::CLONE_NEWNET)
    };
    Some(waiting(enter, |process| fs::File::open(format!("/proc/{process}/ns/net"))))
}

/// Looks at a process that has done `first` and waits; it ends afterwards.
fn waiting<T>(
    first: impl Fn() -> nix::Result<()> + Send + Sync + 'static,
    look: impl FnOnce(u32) -> io::Result<T>,
) -> io::Result<T> {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    // SAFETY: the closure makes one or two system calls and allocates nothing, so it is safe between fork and exec.
    unsafe { command.pre_exec(move || first().map_err(io::Error::from)) };
    let mut process = command.spawn()?;
    let seen = look(process.id());
    // Both fail only if it has ended already, which is what is wanted.
    let _ = process.kill();
    let _ = process.wait();
    seen
}

/// What a container may do: the rows of the table in the documentation are made of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// `securityContext.capabilities.add`, after `drop: [ALL]`.
    pub add: CapabilitySet,
    /// `securityContext.allowPrivilegeEscalation`.
    pub escalation: bool,
}

impl Context {
    /// As the manifests have it: no privilege escalation, and these capabilities.
    pub const fn adding(add: CapabilitySet) -> Self {
        Self { add, escalation: false }
    }

    /// What a container runtime does in the process that becomes the container's.
    fn take(self) -> io::Result<()> {
        for capability in CapabilitySet::all().iter().filter(|&one| !self.add.contains(one)) {
            match remove_capability_from_bounding_set(capability) {
                // One that this kernel does not know.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        clear_ambient_capability_set()?;
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: self.add, permitted: self.add, inheritable: none })?;
        if !self.escalation {
            set_no_new_privs(true)?;
        }
        Ok(())
    }
}

/// The program, as an image has it.
#[derive(Debug)]
pub struct Image {
    directory: TempDir,
}

impl Image {
    /// An image whose program has these capabilities as permitted ones (`setcap …+p`), and as effective ones too where
    /// that is asked for (`+ep`).
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(permitted: CapabilitySet, effective: bool) -> Result<Self> {
        let failed = |error: io::Error| Error::new("making a program with capabilities", error);
        let image = Self { directory: tempfile::tempdir_in("/run").map_err(failed)? };
        let executable = std::env::current_exe().map_err(failed)?;
        fs::copy(executable, image.program()).map_err(failed)?;
        if !permitted.is_empty() {
            let capabilities = of_file(permitted, effective);
            setxattr(image.program(), "security.capability", &capabilities, XattrFlags::empty())
                .map_err(|errno| failed(errno.into()))?;
        }
        Ok(image)
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join(AGENT)
    }

    /// The program, to be run in a pod or on a node as a container's process.
    pub fn start(&self, place: &Namespace, context: Context) -> Command {
        let mut command = place.command(self.program());
        command.env_remove("NODE_NAME").env("NO_COLOR", "1");
        let prepare = move || {
            let owner = OWNER.get().ok_or(io::ErrorKind::NotFound)?;
            setns(owner, CloneFlags::CLONE_NEWUSER).map_err(io::Error::from)?;
            context.take()
        };
        // SAFETY: the closure makes system calls and allocates nothing, so it is safe between fork and exec.
        unsafe { command.pre_exec(prepare) };
        command
    }
}

/// Capabilities of a file as the kernel keeps them: `struct vfs_cap_data`, revision 2, with the bit of effective ones.
fn of_file(permitted: CapabilitySet, effective: bool) -> Vec<u8> {
    const REVISION_2: u32 = 0x0200_0000;
    let bits = permitted.bits();
    let words = [REVISION_2 | u32::from(effective), bits as u32, 0, (bits >> 32) as u32, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_of_a_file_are_laid_out_as_setcap_writes_them() {
        // `setcap cap_net_admin,cap_net_raw+p`, as `getfattr -e hex -n security.capability` shows it.
        let both = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
        let hex: String = of_file(both, false).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0000000200300000000000000000000000000000");
        assert_eq!(of_file(both, true)[0], 1, "the bit of +ep");
    }
}
