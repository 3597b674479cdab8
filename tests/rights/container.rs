//! The agent as a container's process: not root, with file capabilities, and with what its `securityContext` grants.
//!
//! Each row of the table at the head of `agent::io::rights` is played here. A row fails if the kernel gives other rights
//! than the table says, if the agent uses less than it was given, or if it does not say what it lacks.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::sync::OnceLock;

use agent::io::rights::USED;
use lab::cluster::Cluster;
use lab::container::{Context, Image};
use lab::fault::Fault;
use lab::harness::test;
use lab::namespace::Namespace;
use lab::recipe::REFERENCE;
use lab::report::Report;
use lab::service::{self, Service};
use lab::{Error, Result};
use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::{QUICK, judged};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("granted, and the file has it: the agent probes and reads pods' ends", granted),
        test("granted, and the file has it: privilege escalation makes no difference", escalation),
        test("granted, and the file lacks it: the agent holds nothing and says whose fault it is", file_lacks),
        test("not granted, and the file has it: the agent starts, and names what would help", not_granted),
        test("not granted, and everybody may ping: paths are measured without a right", by_pings),
        test("effective in the file, and not granted: it cannot even be started", effective),
    ]
}

const NOTHING: CapabilitySet = CapabilitySet::empty();

/// What the program's file has of what the program asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum File {
    /// Nothing.
    Bare,
    /// All of it, `+p`.
    Permitted,
    /// All of it, `+ep`.
    Effective,
}

/// In the order of [`File`].
static IMAGES: OnceLock<[Image; 3]> = OnceLock::new();

/// Writes the program once for each [`File`].
pub(crate) fn write_images() {
    let images = [(NOTHING, false), (wanted(), false), (wanted(), true)];
    let images = images.map(|(permitted, effective)| Image::new(permitted, effective).expect("the lab writes files"));
    IMAGES.set(images).expect("they are written once");
}

impl File {
    pub(crate) fn start(self, place: &Namespace, context: Context) -> Command {
        IMAGES.get().expect("they are written before tests start")[self as usize].start(place, context)
    }
}

/// Every capability that the program asks for, as the manifests grant and the image's file has them.
pub(crate) fn wanted() -> CapabilitySet {
    USED.iter().fold(NOTHING, |all, used| all | CapabilitySet::from_bits_retain(used.bitmask()))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `mtuscope` in node 0.
pub(crate) fn run(file: File, cluster: &Cluster, context: Context, arguments: &[&str]) -> Result<Output> {
    let output = file.start(cluster.host(0), context).args(arguments).env("MTUSCOPE_LOG", "warn").output();
    output.map_err(|error| Error::new("starting a container", error))
}

/// Codes that are not concluded for want of this right.
pub(crate) fn for_want_of(report: &Report, right: &str) -> BTreeSet<String> {
    report.not_concluded.iter().filter(|row| row.reason.contains(right)).map(|row| row.code.clone()).collect()
}

fn granted() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let command = File::Permitted.start(cluster.host(0), Context::adding(wanted()));
    let mut agent = Service::start_in(cluster.host(0), command, &service::configuration(&cluster, 0))?;
    let report = agent.until("a healthy report", |report| report.summary.status == "healthy")?;
    assert!(report.paths.iter().all(|path| path.verdict == "clear"), "{report}");
    assert!(for_want_of(&report, "CAP_").is_empty(), "{report}");
    assert!(agent.get("/metrics", "*/*")?.body.contains(r#"mtuscope_pod_links{mtu="1450",end="pod"} 1"#));
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id()))
        .map_err(|error| Error::new("reading the agent's status", error))?;
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    let bits = format!("{:016x}", wanted().bits());
    for set in ["CapPrm", "CapBnd"] {
        assert!(line(set).ends_with(&bits), "it may hold what it asked for, and no more: {status}");
    }
    assert!(line("CapEff").ends_with(&"0".repeat(16)), "only the thread that probes uses it: {status}");
    assert!(line("NoNewPrivs").ends_with('1'), "{status}");
    let differ = Fault::PodEndMtu { node: 0, bytes: 1400.into() }.make(&cluster)?;
    agent.until("the pod's end that differs", |report| report.has("veth-ends-differ"))?;
    differ.heal()
}

fn escalation() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    for escalation in [true, false] {
        let output = run(File::Permitted, &cluster, Context { add: wanted(), escalation }, &QUICK)?;
        let (report, code) = judged(&output)?;
        assert_eq!((report.summary.status.as_str(), code), ("healthy", Some(0)), "{escalation}: {report}");
        assert!(for_want_of(&report, "CAP_").is_empty(), "{escalation}: {report}");
    }
    Ok(())
}

fn file_lacks() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let output = run(File::Bare, &cluster, Context::adding(wanted()), &QUICK)?;
    let (report, _) = judged(&output)?;
    assert_eq!(report.summary.status, "unknown", "{report}");
    assert!(for_want_of(&report, "CAP_NET_RAW").contains("path-black-hole"), "{report}");
    assert!(for_want_of(&report, "CAP_NET_ADMIN").contains("veth-ends-differ"), "{report}");
    let told = said(&output);
    assert!(told.contains("the program's file does not have it"), "{told}");
    assert!(told.contains("the program's file lacks it"), "an agent's log says it too: {told}");
    Ok(())
}

fn not_granted() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let output = run(File::Permitted, &cluster, Context::adding(NOTHING), &QUICK)?;
    let (report, code) = judged(&output)?;
    assert_eq!((report.summary.status.as_str(), code), ("unknown", Some(0)), "unseen is not fine: {report}");
    let told = said(&output);
    for part in ["CAP_NET_RAW", "It is not granted here", "ping_group_range", "[NET_RAW]"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let reason = &report.not_concluded.iter().find(|row| row.code == "path-black-hole").expect("it is not").reason;
    assert!(reason.contains("CAP_NET_RAW") && reason.contains("net.ipv4.ping_group_range"), "{reason}");
    let refused = run(File::Permitted, &cluster, Context::adding(NOTHING), &["probe", "10.0.0.12"])?;
    assert_eq!((refused.status.code(), refused.stdout.is_empty()), (Some(2), true), "{}", said(&refused));
    Ok(())
}

fn by_pings() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    cluster.host(0).set("net/ipv4/ping_group_range", "0 0")?;
    let command = File::Permitted.start(cluster.host(0), Context::adding(NOTHING));
    let mut agent = Service::start_in(cluster.host(0), command, &service::configuration(&cluster, 0))?;
    let report = agent.until("clear paths", |report| {
        !report.paths.is_empty() && report.paths.iter().all(|path| path.verdict == "clear")
    })?;
    assert_eq!(report.summary.status, "healthy", "{report}");
    let unseen = for_want_of(&report, "CAP_NET_RAW");
    // The address of kube-vip is asked for from the second look on.
    let asked = ["vip-absent", "vip-duplicate"].map(str::to_owned).into();
    let others: Vec<_> = unseen.difference(&asked).collect();
    assert_eq!(others, ["overlay-fragmented"], "what no ping tells: {report}");
    assert!(agent.log()?.contains("unprivileged socket for pings"), "{}", agent.log()?);
    let hole = Fault::DropLarger { node: 1, than: 1400.into() }.make(&cluster)?;
    let found = agent.until("the black hole", |report| report.has("path-black-hole"))?;
    let peer = cluster.recipe.nodes[1];
    let path = found.path(peer, "underlay").expect("the peer has one");
    assert_eq!((path.verdict.as_str(), path.path_mtu), ("black_hole", Some(1400)), "{found}");
    hole.heal()?;
    agent.until("healing", |report| report.summary.status == "healthy")?;
    Ok(())
}

fn effective() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let start = |add| File::Effective.start(cluster.host(0), Context::adding(add)).arg("--version").output();
    assert!(start(wanted()).is_ok_and(|output| output.status.success()));
    for add in [CapabilitySet::NET_RAW, NOTHING] {
        let refused = start(add).map(|output| output.status).expect_err("the kernel starts no half of it");
        assert_eq!(refused.raw_os_error(), Some(Errno::PERM.raw_os_error()), "this is why the image has +p: {refused}");
    }
    Ok(())
}
