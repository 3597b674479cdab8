//! Means that an agent loses while it runs: descriptors, the host's files, a socket. Each loss is seen from outside,
//! raises no finding about the network, and is over when it is over.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use lab::cluster::Cluster;
use lab::harness::test;
use lab::namespace::Namespace;
use lab::recipe::{REFERENCE, ROUTED};
use lab::report::Report;
use lab::service::{self, Service};
use lab::wait::{self, Look};
use lab::{Error, Result};
use libtest_mimic::Trial;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{until_logged, until_metric};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("without descriptors it goes on, says so, and recovers", no_descriptors),
        test("the host's files vanish and come back", no_host_root),
        test("a socket that is destroyed is opened anew", destroyed_socket),
    ]
}

/// An agent that gets no descriptor beyond those that it has.
struct Starved {
    id: u32,
    before: Option<Rlimit>,
}

impl Starved {
    fn new(service: &Service<'_>) -> Result<Self> {
        let mut starved = Self { id: service.id(), before: None };
        starved.tighten()?;
        Ok(starved)
    }

    /// Lowers the soft limit to what is in use. A connection that was still being closed may have left one over, so this
    /// is done until it shows.
    fn tighten(&mut self) -> Result<()> {
        let current = Some(first_free(self.id)?);
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        let before = limit(self.id, Rlimit { current, maximum })?;
        self.before.get_or_insert(before);
        Ok(())
    }

    fn feed(self) -> Result<()> {
        self.before.map_or(Ok(()), |before| limit(self.id, before).map(drop))
    }
}

fn limit(id: u32, wanted: Rlimit) -> Result<Rlimit> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("process ids are small and positive");
    prlimit(Some(id), Resource::Nofile, wanted).map_err(|errno| Error::new("limiting descriptors", errno))
}

/// The number that a process's next descriptor would have, once all have stayed the same for some looks. The one that it
/// keeps in reserve, the directory `/`, is among them.
fn first_free(id: u32) -> Result<u64> {
    let (mut last, mut alike) = (Vec::new(), 0);
    wait::until("descriptors to stay as they are", || {
        let open = fs::read_dir(format!("/proc/{id}/fd")).map_err(|error| Error::new("listing descriptors", error))?;
        let number = |entry: &fs::DirEntry| entry.file_name().to_str()?.parse::<u64>().ok();
        let open = open.flatten().filter_map(|entry| Some((number(&entry)?, fs::read_link(entry.path()).ok()?)));
        let mut open: Vec<_> = open.collect();
        open.sort_unstable();
        alike = if open == last { alike + 1 } else { 0 };
        last = open;
        let settled = alike >= 5 && last.iter().any(|(_, target)| target == Path::new("/"));
        let free = (0..).find(|free| last.iter().all(|(number, _)| number != free)).unwrap_or_default();
        Ok(if settled { Look::There(free) } else { Look::NotYet(format!("{last:?}")) })
    })
}

fn reason<'r>(report: &'r Report, code: &str) -> Option<&'r str> {
    report.not_concluded.iter().find(|row| row.code == code).map(|row| row.reason.as_str())
}

/// The node answers TCP alone.
fn tcp_only(host: &Namespace) -> Result<()> {
    let rules = "table inet tcponly { chain faults { type filter hook input priority 0; policy accept;\n\
                 meta l4proto { icmp, udp } drop\n}\n}\n";
    host.feed("nft", &["-f", "-"], rules)
}

fn no_descriptors() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    // A sweep that opens its sockets just when a descriptor is passed on would keep it until all is over.
    let quiet = service::configuration(&cluster, 0).replace("probing: {", "probing: { ecmp_ports: 0,");
    let mut service = Service::start_with(&cluster, 0, &quiet)?;
    let peer = ROUTED.nodes[1];
    let mut starved = Starved::new(&service)?;
    let too_many = |report: &Report| reason(report, "ip-forward-off").is_some_and(|why| why.contains("Too many open"));
    let report = service.until("settings to go unread", |report| {
        too_many(report) || starved.tighten().is_err_and(|error| panic!("{error}"))
    })?;
    let clear = |report: &Report| report.path(peer, "underlay").is_some_and(|path| path.verdict == "clear");
    assert!(clear(&report), "what needs no descriptor goes on: {report}");
    until_metric(&mut service, r#"mtuscope_source_success{source="settings"}"#, 0.0)?;
    until_metric(&mut service, r#"mtuscope_source_success{source="links"}"#, 1.0)?;
    until_logged(&mut service, &["WARN", "HTTP connections have to wait", "LimitNOFILE="])?;
    until_logged(&mut service, &["WARN", "cannot open the configuration", "the configuration in use stays"])?;
    until_metric(&mut service, "mtuscope_config_last_reload_successful", 1.0)?;
    // A peer that answers nothing but TCP, which cannot be tried, may be there.
    tcp_only(cluster.host(1))?;
    let report = service.until("the peer to be unknown", |report| {
        report
            .path(peer, "underlay")
            .is_some_and(|path| path.why.as_deref().is_some_and(|why| why.contains("not be tried")))
    })?;
    assert!(!report.has("peer-unreachable"), "{report}");
    starved.feed()?;
    let report = service.until("TCP to be tried", |report| {
        report.path(peer, "underlay").is_some_and(|path| {
            path.why.as_deref().is_some_and(|why| why.contains("TCP port") && !why.contains("not be tried"))
        })
    })?;
    assert_eq!(reason(&report, "ip-forward-off"), None, "{report}");
    cluster.host(1).sh("nft delete table inet tcponly")?;
    service.until("all to be well", |report| report.summary.status == "healthy")?;
    let log = service.log()?;
    let said =
        log.lines().filter(|line| line.contains("HTTP connections have to wait") && !line.contains("again")).count();
    assert_eq!(said, 1, "said once, however often it failed:\n{log}");
    Ok(())
}

fn no_host_root() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let failed = |error| Error::new("moving the host's files", error);
    let directory = tempfile::tempdir().map_err(failed)?;
    let (root, away, bare) =
        (directory.path().join("host"), directory.path().join("away"), directory.path().join("bare"));
    // Without a `/proc` of the host's the agent's own would do. One that is there and empty is a mount that failed.
    fs::create_dir_all(bare.join("proc")).map_err(failed)?;
    let real = cluster.files(0).root();
    symlink(&real, &root).map_err(failed)?;
    let configuration =
        service::configuration(&cluster, 0).replace(&real.display().to_string(), &root.display().to_string());
    let mut service = Service::start_with(&cluster, 0, &configuration)?;
    service.until("all to be well", |report| report.summary.status == "healthy")?;
    fs::rename(&root, &away).map_err(failed)?;
    symlink(&bare, &root).map_err(failed)?;
    let report = service.until("settings to go unread", |report| {
        reason(report, "ip-forward-off").is_some_and(|why| why.contains("does not exist"))
    })?;
    assert!(report.findings.is_empty(), "not seen is not off: {report}");
    assert!(report.paths.iter().all(|path| path.verdict == "clear"), "{report}");
    until_metric(&mut service, r#"mtuscope_source_success{source="settings"}"#, 0.0)?;
    until_metric(&mut service, r#"mtuscope_source_success{source="counters"}"#, 0.0)?;
    // Over the other link.
    fs::rename(&away, &root).map_err(failed)?;
    service.until("settings to be read again", |report| reason(report, "ip-forward-off").is_none())?;
    until_metric(&mut service, r#"mtuscope_source_success{source="settings"}"#, 1.0)
}

/// Destroys the agent's UDP socket and says whether it was there.
fn destroy_udp(cluster: &Cluster) -> Result<bool> {
    let killed = cluster.host(0).run("ss", ["-K", "-u", "-a", "-n", "-H"])?;
    Ok(!killed.trim().is_empty())
}

fn destroyed_socket() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let mut service = Service::start(&cluster, 0)?;
    // UDP is tried when a peer does not answer ICMP, from the same port in every round.
    let filtered = lab::fault::Fault::DropEcho { node: 1 }.make(&cluster)?;
    let unknown =
        |report: &Report| report.path(ROUTED.nodes[1], "underlay").is_some_and(|path| path.verdict == "unknown");
    service.until("the path to be unknown", unknown)?;
    assert!(destroy_udp(&cluster)?, "the agent has a UDP socket");
    until_logged(&mut service, &["WARN", "a socket for probes is lost and opened anew"])?;
    service.until("the path to be unknown still", unknown)?;
    let sockets = wait::until("another UDP socket", || {
        let listed = cluster.host(0).run("ss", ["-u", "-a", "-n", "-H"])?;
        Ok(if listed.trim().is_empty() { Look::NotYet(listed) } else { Look::There(listed) })
    })?;
    assert!(sockets.contains("UNCONN"), "{sockets}");
    filtered.heal()?;
    service.until("all to be well", |report| report.summary.status == "healthy").map(drop)
}
