//! Files of nodes: each has its own, a fault changes what it says and nothing else, and healing puts all of it back. A file
//! without permission is one for whoever runs as the lab's agents do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lab::cluster::Cluster;
use lab::fault::{EditedFile, Fault, HostFile, LinkedFile, NoFile, Odd, OddFile, TakenAddresses};
use lab::harness::test;
use lab::recipe::{BRIDGED, PLAIN, REFERENCE, ROUTED};
use lab::wait::{self, Look};
use lab::{Error, Result};
use libtest_mimic::Trial;

/// Where the kernel's own files are in a tree.
const KERNEL: &str = "kernel";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("nodes have the files of their recipe", of_the_recipe),
        test("files are changed and put back", changed),
        test("files of the kernel are changed in one place", of_the_kernel),
        test("a file that grows ends with its fault", growing),
        test("the control plane's address is on its leader alone", virtual_address),
    ]
}

/// Paths, with modes and what files say.
type Files = BTreeMap<String, (u32, Option<Vec<u8>>)>;

/// Every path below a tree but the kernel's.
fn all(cluster: &Cluster, node: usize) -> Result<Files> {
    fn walk(root: &Path, at: &Path, all: &mut Files) -> std::io::Result<()> {
        for entry in fs::read_dir(at)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            let text = metadata.is_file().then(|| fs::read(&path)).transpose()?;
            all.insert(name.clone(), (metadata.permissions().mode(), text));
            if metadata.is_dir() && name != KERNEL {
                walk(root, &path, all)?;
            }
        }
        Ok(())
    }
    let (root, mut found) = (cluster.files(node).root(), Files::new());
    walk(&root, &root, &mut found).map_err(|error| Error::new("listing a node's files", error))?;
    Ok(found)
}

/// What somebody says of a path who has no more rights than the lab's agents.
fn told(cluster: &Cluster, program: &str, path: &str) -> Result<std::result::Result<String, String>> {
    let mut command = cluster.host(0).command("setpriv");
    command.args(["--bounding-set", "-dac_override,-dac_read_search", program]);
    command.arg(cluster.files(0).at(path));
    let output = command.output().map_err(|error| Error::new(format!("running {program}"), error))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) })
}

fn read(cluster: &Cluster, path: &str) -> Result<String> {
    told(cluster, "cat", path)?.map_err(|error| Error::new(format!("reading {path}"), error))
}

fn of_the_recipe() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    for (node, name) in REFERENCE.nodes.iter().enumerate() {
        let files = all(&cluster, node)?;
        let said = |path: &str| files.get(path).and_then(|(_, text)| text.clone());
        assert_eq!(said("var/lib/calico/nodename").as_deref(), Some(name.as_bytes()));
        assert_eq!(said("etc/kubernetes/manifests/kube-vip.yaml").is_some(), node < 2, "{name}");
    }
    // The kernel's files are those of whoever reads.
    assert_eq!(read(&cluster, "/proc/sys/net/ipv4/ip_forward")?, "1\n");
    assert!(read(&cluster, "/proc/net/dev")?.contains("vmbr1"));
    let plain = Cluster::build(PLAIN)?;
    assert!(all(&plain, 0)?.values().all(|(_, text)| text.is_none()), "a machine without pods has no such files");
    Ok(())
}

fn changed() -> Result<()> {
    let cluster = Cluster::build(BRIDGED)?;
    let before = all(&cluster, 0)?;
    let file = || "{cni_file}".to_owned();
    let odd = |path: &str, is| Fault::OddFile(OddFile { node: 0, path: path.into(), is });
    let path = BRIDGED.cni_file().expect("it has a pod network");
    let says = |cluster: &Cluster, wanted: &str| {
        let text = read(cluster, path)?;
        assert!(text.contains(wanted), "{wanted}: {text}");
        Ok(())
    };
    type Seen<'c> = Box<dyn Fn(&Cluster) -> Result<()> + 'c>;
    let denied = |program: &'static str, path: &'static str| -> Seen<'_> {
        Box::new(move |cluster| {
            let told = told(cluster, program, path)?;
            assert!(told.as_ref().is_err_and(|told| told.contains("Permission denied")), "{path}: {told:?}");
            Ok(())
        })
    };
    let cases: Vec<(Fault, Seen<'_>)> = vec![
        (
            Fault::HostFile(HostFile { node: 0, path: file(), text: "{\"mtu\": {= pod - 1}} {lower}".into() }),
            Box::new(|cluster| says(cluster, "{\"mtu\": 1399} br0")),
        ),
        (
            Fault::HostFile(HostFile { node: 0, path: "/etc/new/folder/file".into(), text: "{node} {subnet}".into() }),
            Box::new(|cluster| {
                assert_eq!(read(cluster, "/etc/new/folder/file")?, "edge-a 10.43.1.0/24");
                Ok(())
            }),
        ),
        (
            Fault::EditedFile(EditedFile {
                node: 0,
                path: file(),
                old: "\"mtu\": {= pod}".into(),
                new: "\"mtu\": 9".into(),
            }),
            Box::new(|cluster| says(cluster, "\"mtu\": 9\n")),
        ),
        (
            Fault::NoFile(NoFile { node: 0, path: "/opt/cni/bin".into() }),
            Box::new(|cluster| {
                assert!(!cluster.files(0).at("/opt/cni/bin").exists());
                Ok(())
            }),
        ),
        (
            Fault::LinkedFile(LinkedFile { node: 0, path: file(), to: path.into() }),
            Box::new(|cluster| {
                assert_eq!(fs::read_link(cluster.files(0).at(path)).ok().as_deref(), Some(Path::new(path)));
                Ok(())
            }),
        ),
        (odd("{cni_file}", Odd::Unreadable), denied("cat", path)),
        (odd("/etc/cni/net.d", Odd::Unreadable), denied("ls", "/etc/cni/net.d")),
        (odd("/run/flannel", Odd::Unreadable), denied("cat", "/run/flannel/subnet.env")),
        (odd("/opt/cni/bin/bridge", Odd::NotExecutable), denied("env", "/opt/cni/bin/bridge")),
        (odd("{cni_file}", Odd::Utf16), Box::new(|cluster| says(cluster, "{\0\n\0"))),
        (
            Fault::TakenAddresses(TakenAddresses { node: 0, left: 3.into() }),
            Box::new(|cluster| {
                let listed = told(cluster, "ls", "/var/lib/cni/networks/cbr0")?.unwrap_or_default();
                assert_eq!(listed.lines().filter(|name| name.starts_with("10.43.1.")).count(), 250, "{listed}");
                Ok(())
            }),
        ),
    ];
    for (fault, seen) in cases {
        let made = fault.make(&cluster)?;
        seen(&cluster).map_err(|error| error.while_doing(format!("after {fault:?}")))?;
        assert_ne!(all(&cluster, 0)?, before, "{fault:?}");
        made.heal()?;
        assert_eq!(all(&cluster, 0)?, before, "healing {fault:?}");
    }
    Ok(())
}

fn of_the_kernel() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let before = all(&cluster, 0)?;
    let write = |path: &str| Fault::HostFile(HostFile { node: 0, path: path.into(), text: "7\n".into() });
    let most = write("/proc/sys/net/ipv4/neigh/default/gc_thresh3").make(&cluster)?;
    let stat = write("/proc/net/stat/nothing").make(&cluster)?;
    let read_all = || -> Result<[String; 3]> {
        let [most, stat, forward] =
            ["sys/net/ipv4/neigh/default/gc_thresh3", "net/stat/nothing", "sys/net/ipv4/ip_forward"]
                .map(|path| read(&cluster, &format!("/proc/{path}")));
        Ok([most?, stat?, forward?])
    };
    assert_eq!(read_all()?, ["7\n", "7\n", "1\n"]);
    assert!(read(&cluster, "/proc/net/dev")?.contains("flannel.1"));
    cluster.host(0).set("net/ipv4/ip_forward", "0")?;
    assert_eq!(read_all()?, ["7\n", "7\n", "0\n"], "what is beside it goes on being the kernel's");
    stat.heal()?;
    most.heal()?;
    assert_eq!(all(&cluster, 0)?, before);
    Ok(())
}

fn growing() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let before = all(&cluster, 0)?;
    let path = "/run/count";
    let grows = Fault::HostFile(HostFile { node: 0, path: path.into(), text: "{growing}\n".into() }).make(&cluster)?;
    let first = read(&cluster, path)?;
    wait::until("the number to grow", || {
        let now = read(&cluster, path)?;
        Ok(if now == first { Look::NotYet(now) } else { Look::There(()) })
    })?;
    grows.heal()?;
    assert_eq!(all(&cluster, 0)?, before);
    Ok(())
}

fn virtual_address() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let vip = REFERENCE.vip().expect("the reference cluster has one").to_string();
    for (node, name) in REFERENCE.nodes.iter().enumerate() {
        let addresses = cluster.host(node).sh("ip -4 address show dev vmbr1")?;
        assert_eq!(
            addresses.contains(&format!("{vip}/32")),
            Some(node) == REFERENCE.vip_leader(),
            "{name}: {addresses}"
        );
    }
    Ok(())
}
