//! `report` run once where something is missing: a link, a right, the host's files. What could not be looked at is said,
//! and never reads as fine.

mod container;
mod pings;

use std::process::{ExitCode, Output};

use lab::cluster::Cluster;
use lab::container::Context;
use lab::fault::Fault;
use lab::harness::{self, test};
use lab::recipe::{REFERENCE, Role};
use lab::report::{Finding, Report};
use lab::{Error, Result, service};
use rustix::thread::CapabilitySet;

fn main() -> ExitCode {
    harness::main_of_containers(|| {
        // Before there are threads: while one of them starts a program, what another one writes cannot be executed.
        container::write_images();
        let mut tests = vec![
            test("what is read is said at once, what is measured once confirmed", sick_once),
            test("report goes by findings where it may not probe, and probe does not run", without_net_raw),
            test("where pods' ends may not be read the node's speak for them as far as they can", without_net_admin),
            test(
                "report could not look at files where host_root has none, and reads the kernel all the same",
                an_empty_host_root,
            ),
            test("the text says the verdict first", text_once),
        ];
        tests.extend(container::tests());
        tests.extend(pings::tests());
        tests
    })
}

/// Not long enough to watch counters, which these tests are not about: rounds end as soon as findings are confirmed.
const NO_RATES: [&str; 2] = ["--wait", "4900ms"];

/// The command of those that need no rate.
const QUICK: [&str; 5] = ["report", "--output", "json", "--wait", "4900ms"];

fn report(cluster: &Cluster, arguments: &[&str]) -> Result<(Report, Option<i32>)> {
    let all: Vec<&str> = ["report", "--output", "json"].into_iter().chain(arguments.iter().copied()).collect();
    judged(&service::run(cluster.host(0), &all)?)
}

fn judged(output: &Output) -> Result<(Report, Option<i32>)> {
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = Report::parse(&String::from_utf8_lossy(&output.stdout)).map_err(|error| error.check(log))?;
    Ok((report, output.status.code()))
}

fn finding<'r>(report: &'r Report, code: &str, subject: &str) -> Option<&'r Finding> {
    report.findings.iter().find(|finding| finding.code == code && finding.subject == subject)
}

fn sick_once() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let down = Fault::LinkDown { node: 0, link: Role::Nic }.make(&cluster)?;
    let (report, code) = report(&cluster, &[])?;
    assert_eq!(code, Some(1), "{report}");
    assert!(
        finding(&report, "link-down", REFERENCE.nic).is_some_and(|finding| finding.silenced_by.is_none()),
        "{report}"
    );
    let peer = REFERENCE.underlay_address(1).to_string();
    let cause = format!("link-down {}", REFERENCE.nic);
    let unreachable = finding(&report, "peer-unreachable", &peer).and_then(|finding| finding.silenced_by.clone());
    assert_eq!(unreachable, Some(cause), "a measured finding is confirmed within the same run: {report}");
    let (_, lenient) = judged(&service::run(cluster.host(0), &["report", "--output", "json", "--fail-on", "never"])?)?;
    assert_eq!(lenient, Some(0));
    down.heal()
}

/// Runs `mtuscope` in node 0 without `CAP_NET_RAW`.
fn unprivileged(cluster: &Cluster, arguments: &[&str]) -> Result<Output> {
    without(CapabilitySet::NET_RAW, cluster, arguments)
}

/// Runs `mtuscope` in node 0 without a capability.
fn without(capability: CapabilitySet, cluster: &Cluster, arguments: &[&str]) -> Result<Output> {
    container::run(container::File::Permitted, cluster, Context::adding(container::wanted() - capability), arguments)
}

fn without_net_raw() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let output = unprivileged(&cluster, &QUICK)?;
    let (report, code) = judged(&output)?;
    assert_eq!((report.summary.status.as_str(), code), ("unknown", Some(0)), "unseen is not fine: {report}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("CAP_NET_RAW") && said.contains("setcap"), "how to be told everything: {said}");
    let told = report.not_concluded.iter().find(|row| row.code == "path-black-hole").map(|row| row.reason.as_str());
    assert!(told.is_some_and(|reason| reason.contains("CAP_NET_RAW")), "{report}");
    assert!(report.paths.iter().all(|path| path.verdict == "unknown" && path.packets_sent == 0), "{report}");
    let lost = Fault::LinkDown { node: 0, link: Role::Nic }.make(&cluster)?;
    let (report, code) = judged(&unprivileged(&cluster, &QUICK)?)?;
    assert_eq!(code, Some(1), "{report}");
    assert!(report.has("link-down"), "{report}");
    lost.heal()?;
    let output = unprivileged(&cluster, &["probe", "127.0.0.1"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("CAP_NET_RAW") && output.stdout.is_empty(), "{said}");
    Ok(())
}

fn without_net_admin() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let (report, code) = judged(&without(CapabilitySet::NET_ADMIN, &cluster, &QUICK)?)?;
    assert_eq!((report.summary.status.as_str(), code), ("healthy", Some(0)), "{report}");
    // That the node's end fits shows that the pod does. That the two are equal, or all pods, it does not.
    let of_pods = ["pod-mtu-mixed", "veth-ends-differ"].map(str::to_owned);
    let lost = container::for_want_of(&report, "CAP_NET_ADMIN");
    assert_eq!(lost, of_pods.into(), "{report}");
    let (whole, _) = judged(&service::run(cluster.host(0), &QUICK)?)?;
    assert!(container::for_want_of(&whole, "CAP_").is_empty(), "{whole}");
    let large = Fault::Mtu { node: 0, link: Role::Pod, bytes: 1500.into() }.make(&cluster)?;
    let (report, _) = judged(&without(CapabilitySet::NET_ADMIN, &cluster, &["report", "--output", "json"])?)?;
    let told = finding(&report, "pod-mtu-too-large", "pods").map(|finding| finding.summary.as_str());
    assert!(told.is_some_and(|told| told.contains("CAP_NET_ADMIN")), "what it rests on: {report}");
    large.heal()?;
    let differ = Fault::PodEndMtu { node: 0, bytes: 1400.into() }.make(&cluster)?;
    let down = Fault::LinkDown { node: 0, link: Role::Nic }.make(&cluster)?;
    let (report, _) = judged(&without(CapabilitySet::NET_ADMIN, &cluster, &QUICK)?)?;
    assert!(report.has("link-down") && !report.has("veth-ends-differ"), "{report}");
    down.heal()?;
    let (seen, _) = judged(&service::run(cluster.host(0), &QUICK)?)?;
    assert!(seen.has("veth-ends-differ"), "what was there all the time: {seen}");
    differ.heal()
}

fn an_empty_host_root() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let failed = |error: std::io::Error| Error::new("writing a configuration", error);
    let directory = tempfile::tempdir().map_err(failed)?;
    let (root, config) = (directory.path().join("root"), directory.path().join("config.yaml"));
    std::fs::create_dir(&root).map_err(failed)?;
    std::fs::write(&config, format!("host_root: {}\n", root.display())).map_err(failed)?;
    let (report, code) = report(&cluster, &[&NO_RATES[..], &["--config", &config.to_string_lossy()]].concat())?;
    assert_eq!(code, Some(0), "{report}");
    let told = |code| report.not_concluded.iter().find(|row| row.code == code).map(|row| row.reason.as_str());
    for code in ["cni-not-configured", "sysctl-drift"] {
        assert!(told(code).is_some_and(|reason| reason.contains("host_root")), "{code}: {report}");
    }
    for code in ["ip-forward-off", "rp-filter-strict"] {
        assert_eq!(told(code), None, "the process's own /proc shows its network: {report}");
    }
    assert_eq!(
        report.path(&REFERENCE.underlay_address(1).to_string(), "underlay").map(|path| path.verdict.as_str()),
        Some("clear")
    );
    Ok(())
}

fn text_once() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let healthy = service::run(cluster.host(0), &["report", "--wait", "4900ms"])?;
    let text = String::from_utf8_lossy(&healthy.stdout).into_owned();
    assert!(text.starts_with("HEALTHY "), "{text}");
    let down = Fault::LinkDown { node: 0, link: Role::Nic }.make(&cluster)?;
    let sick = service::run(cluster.host(0), &["report"])?;
    let text = String::from_utf8_lossy(&sick.stdout).into_owned();
    let mut lines = text.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("CRITICAL ")), "{text}");
    assert!(lines.next().is_some_and(|line| line.contains("link-down") && line.contains(REFERENCE.nic)), "{text}");
    assert!(text.contains(&format!("ip link set dev {} up", REFERENCE.nic)), "{text}");
    down.heal()
}
