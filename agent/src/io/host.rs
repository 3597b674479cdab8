//! Files below `host_root`, each read or failed on its own.
//!
//! The host's tree may be mounted anywhere in the agent's own. `/proc/net` is a link to `self/net` and must be followed;
//! a link that leads out of the tree must not. So below any root but `/` the kernel resolves the path as if the root
//! were `/` (`openat2` with `RESOLVE_IN_ROOT`).
//!
//! The kernel shows each process the settings and counters of that process's own network, in whichever `/proc` it looks. So
//! where nothing is mounted as `/proc` below the root, the agent's own says the same ([`kernel`]), and a container needs no
//! view of the host's processes.
//!
//! Some files come and go with a kernel module. One of those that is missing is told from one that could not be looked
//! for by the folder around it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use probes::fact::{Reason, Source, Unread};
use probes::kernel::HostFile;
use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Largest file that is read; the largest real one, `/proc/net/netstat`, has a few KiB.
const MOST: u64 = 1 << 20;

/// The root whose `/proc` is read: the host's where it is mounted there, else the agent's own.
pub fn kernel(root: &Path) -> &Path {
    // A mount that failed is there and empty, and has to be seen as such.
    if root.join("proc").symlink_metadata().is_ok() { root } else { Path::new("/") }
}

/// Reads every file.
pub fn read_all(root: &Path) -> BTreeMap<HostFile, Result<Option<String>, Unread>> {
    HostFile::ALL.into_iter().map(|file| (file, read(root, file))).collect()
}

/// Reads one file below `root`; `None` if it is one that a machine may do without, and this one does.
///
/// # Errors
/// If a file is missing that every machine has, or if it may not be read, is larger than 1 MiB or no text. The reason
/// names its path.
pub fn read(root: &Path, file: HostFile) -> Result<Option<String>, Unread> {
    let shown = root.join(file.path().trim_start_matches('/'));
    let shown = shown.display();
    let read = open(root, file.path(), READ).and_then(bounded);
    if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) && lacks(root, file) {
        return Ok(None);
    }
    let bytes = read.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::PermissionDenied => Reason::Denied { needs: format!("permission to read {shown}") },
            io::ErrorKind::NotFound => Reason::Failed { what: format!("{shown} does not exist ({error})") },
            _ => Reason::Failed { what: format!("read {shown}: {error}") },
        };
        Unread::new(file.source(), reason)
    })?;
    let malformed = |what| Unread::new(file.source(), Reason::Malformed { what });
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST) {
        return Err(malformed(format!("{shown} is larger than {MOST} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| malformed(format!("{shown} is no text")))
}

/// Whether the folder is there in which the machine may lack the file.
fn lacks(root: &Path, file: HostFile) -> bool {
    file.may_lack_in().is_some_and(|folder| open(root, folder, OFlags::PATH | OFlags::DIRECTORY).is_ok())
}

/// How a file is opened: a pipe or device in its place must not hold the agent up.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens something below `root`.
pub(super) fn open(root: &Path, path: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC;
    if root == Path::new("/") {
        return Ok(rustix::fs::open(path, flags, Mode::empty())?.into());
    }
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?.into())
}

/// Whether the machine's files are below `root`: every machine has a `/usr`, and no container that is given nothing.
pub(super) fn is_mounted(root: &Path) -> bool {
    open(root, "/usr", OFlags::PATH).map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
}

/// Nobody has given the agent the machine's files, which is a choice and no failure.
pub(super) fn unmounted(root: &Path, source: Source) -> Unread {
    let why = format!(
        "none of the machine's files is below host_root ({}): mount its /etc, /run, /usr, /var and /opt there, read-only",
        root.display()
    );
    Unread::new(source, Reason::Unsupported { why })
}

/// The right that a file of the machine takes which is not for everybody.
pub(super) fn needs(shown: &str) -> String {
    format!("permission to read {shown}: CAP_DAC_READ_SEARCH, as of the manifests' component root-files, or root")
}

pub(super) fn bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    /// A root with `/proc/net` as a link to `self/net`, as the kernel has it.
    fn host() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/7/net")).unwrap();
        fs::create_dir_all(root.path().join("proc/sys/net/ipv4")).unwrap();
        symlink("7", root.path().join("proc/self")).unwrap();
        symlink("self/net", root.path().join("proc/net")).unwrap();
        root
    }

    fn reason(root: &TempDir, file: HostFile) -> Reason {
        read(root.path(), file).unwrap_err().reason
    }

    #[test]
    fn this_machines_files_are_read() {
        for (file, text) in read_all(Path::new("/")) {
            assert!(text.unwrap().is_none_or(|text| !text.is_empty()), "{file:?}");
        }
    }

    #[test]
    fn links_are_followed_within_the_root() {
        let root = host();
        fs::write(root.path().join("proc/7/net/snmp"), "Ip: A\nIp: 1\n").unwrap();
        assert_eq!(read(root.path(), HostFile::Snmp).unwrap().unwrap(), "Ip: A\nIp: 1\n");
    }

    #[test]
    fn a_link_does_not_lead_out_of_the_root() {
        let (root, outside) = (host(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "1").unwrap();
        let link = root.path().join("proc/sys/net/ipv4/ip_forward");
        for target in [outside.path().join("secret"), "../../../../../../../../../../../../etc/hostname".into()] {
            symlink(target, &link).unwrap();
            assert!(matches!(reason(&root, HostFile::IpForward), Reason::Failed { what } if what.contains("exist")));
            fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn missing_too_large_and_no_text_are_told_apart() {
        let root = host();
        let path = root.path().join("proc/sys/net/ipv4/ip_forward");
        let missing = format!("{} does not exist (No such file or directory (os error 2))", path.display());
        assert_eq!(reason(&root, HostFile::IpForward), Reason::Failed { what: missing });

        fs::write(&path, "1\n").unwrap();
        assert_eq!(read(root.path(), HostFile::IpForward).unwrap().unwrap(), "1\n");
        fs::write(&path, vec![b'1'; (1 << 20) + 1]).unwrap();
        assert!(matches!(reason(&root, HostFile::IpForward), Reason::Malformed { what } if what.contains("larger")));
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(reason(&root, HostFile::IpForward), Reason::Malformed { what } if what.contains("no text")));
    }

    #[test]
    fn a_file_of_a_module_is_missing_only_where_the_folder_around_it_is_there() {
        let root = host();
        assert_eq!(read(root.path(), HostFile::BridgeNfIptables), Ok(None));
        fs::create_dir_all(root.path().join("proc/sys/net/bridge")).unwrap();
        fs::write(root.path().join("proc/sys/net/bridge/bridge-nf-call-iptables"), "0\n").unwrap();
        assert_eq!(read(root.path(), HostFile::BridgeNfIptables), Ok(Some("0\n".into())));
        let unmounted = tempfile::tempdir().unwrap();
        let missing = reason(&unmounted, HostFile::BridgeNfIptables);
        assert!(matches!(missing, Reason::Failed { what } if what.contains("does not exist")));
    }

    #[test]
    fn a_file_that_may_not_be_read_is_denied() {
        let root = host();
        let path = root.path().join("proc/sys/net/ipv4/ip_forward");
        fs::write(&path, "1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        // Capabilities are a thread's own: without them root may not read it either.
        let read = std::thread::spawn(move || {
            caps::clear(None, caps::CapSet::Effective).unwrap();
            reason(&root, HostFile::IpForward)
        });
        let needs = format!("permission to read {}", path.display());
        assert_eq!(read.join().unwrap(), Reason::Denied { needs });
    }

    #[test]
    fn where_no_proc_is_mounted_the_agents_own_speaks() {
        let (mounted, without) = (host(), tempfile::tempdir().unwrap());
        assert_eq!(kernel(mounted.path()), mounted.path());
        for root in [without.path(), Path::new("/nonexistent"), Path::new("/")] {
            assert_eq!(kernel(root), Path::new("/"));
        }
        let empty = tempfile::tempdir().unwrap();
        fs::create_dir(empty.path().join("proc")).unwrap();
        assert_eq!(kernel(empty.path()), empty.path(), "a mount that failed does not pass for none");
    }

    #[test]
    fn a_root_that_is_not_there_is_named() {
        let unread = read(Path::new("/nonexistent"), HostFile::Snmp).unwrap_err();
        assert!(unread.to_string().starts_with("counters: /nonexistent/proc/net/snmp does not exist"), "{unread}");
    }
}
