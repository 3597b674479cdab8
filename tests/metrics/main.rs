//! `/metrics` of a running agent, as Prometheus reads it: linted by its own tool, the same in both formats, and gone when
//! what it spoke of has gone.

mod scale;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use lab::cluster::Cluster;
use lab::fault::{Fault, Sent};
use lab::harness::{self, test};
use lab::recipe::{REFERENCE, Role, SIX};
use lab::report::Report;
use lab::service::Service;
use lab::wait::{self, Look};
use lab::{Error, Result};

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            test("metrics of a healthy node are clean", healthy_metrics),
            test("metrics of a sick node are clean and name what is wrong", sick_metrics),
            test("counters of the kernel are metrics and rise with what they count", counted_metrics),
            test("ten, a thousand and ten thousand peers, well and dead, come and go within the limits", scale::peers),
            test("a thousand pods bring no series and no name", scale::pods),
            test("the golden texts of a rich node are clean", golden_metrics),
        ]
    })
}

fn healthy_metrics() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut service = Service::start(&cluster, 0)?;
    settled(&mut service)?;
    let text = metrics(&service)?;
    // A cluster as small as this has series of every path besides, which a large one leaves out.
    const OF_PATHS: [&str; 5] = ["path_mtu", "path_expected_mtu", "path_forward_mtu", "path_reverse_mtu", "path_up"];
    let of_path = |line: &str| {
        let name = line.strip_prefix("mtuscope_").and_then(|line| line.split_once('{'));
        name.is_some_and(|(name, _)| OF_PATHS.contains(&name.trim_end_matches("_bytes")))
    };
    let paths = text.lines().filter(|line| of_path(line)).count();
    let count = series(&text) - paths;
    assert!(paths > 0 && count < 300, "{count} series and {paths} of paths:\n{}", by_family(&text));
    for line in [
        r#"mtuscope_link_up{link="enp5s0",role="underlay"} 1"#,
        r#"mtuscope_link_mtu_bytes{link="vxlan.calico",role="tunnel"} 1450"#,
        r#"mtuscope_path_mtu_bytes{peer="master-2",plane="overlay",family="ipv4"} 1450"#,
        r#"mtuscope_paths{plane="underlay",family="ipv4",verdict="clear"} 2"#,
        r#"mtuscope_paths{plane="pod",family="ipv6",verdict="black_hole"} 0"#,
        r#"mtuscope_findings{code="link-down",severity="critical"} 0"#,
        r#"mtuscope_check_concluded{code="path-black-hole"} 1"#,
        r#"mtuscope_setting{name="ip_forward",link=""} 1"#,
        r#"mtuscope_tunnel_headroom_bytes{link="vxlan.calico"} 0"#,
        r#"mtuscope_recommended_overlay_mtu_bytes{link="vxlan.calico"} 1450"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("mtuscope_finding{"), "{text}");
    stop(service)
}

fn sick_metrics() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut service = Service::start(&cluster, 0)?;
    let down = Fault::LinkDown { node: 0, link: Role::Nic }.make(&cluster)?;
    service.until("both findings", |report| report.has("link-down") && report.has("peer-unreachable"))?;
    let text = metrics(&service)?;
    for line in [
        r#"mtuscope_link_up{link="enp5s0",role="underlay"} 0"#,
        r#"mtuscope_finding{code="link-down",severity="critical",subject="enp5s0"} 1"#,
        r#"mtuscope_findings{code="peer-unreachable",severity="critical"} 0"#,
        r#"mtuscope_path_up{peer="master-2",plane="underlay",family="ipv4"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    let pod = REFERENCE.link(Role::Pod).expect("it has a pod");
    assert!(!text.contains(pod), "no pod is named:\n{text}");
    assert!(!text.contains(r#"mtuscope_path_mtu_bytes{peer="master-2""#), "what is not known is absent:\n{text}");
    down.heal()?;
    service.until("healing", |report| report.findings.is_empty() && report.summary.status == "healthy")?;
    assert!(!metrics(&service)?.contains("mtuscope_finding{"), "what has gone is gone at the next scrape");
    stop(service)
}

/// Every counter has the kernel's value, by the product's name, and no more series than names.
fn counted_metrics() -> Result<()> {
    let cluster = Cluster::build(SIX)?;
    let mut service = Service::start(&cluster, 0)?;
    settled(&mut service)?;
    let text = metrics(&service)?;
    for family in ["ipv4", "ipv6"] {
        let of = |name: &str| value(&text, &format!(r#"mtuscope_neighbour_{name}{{family="{family}"}}"#));
        // What the machine's tables hold is the machine's matter.
        let (entries, limit, full) = (of("entries"), of("limit"), of("table_full_total"));
        assert!(entries.is_some() && limit > Some(0.0) && full.is_some(), "{text}");
    }
    let events = text.lines().filter(|line| line.starts_with("mtuscope_kernel_events_total{")).count();
    assert!((8..=10).contains(&events), "{events} counters:\n{text}");
    let tracked = ["entries", "limit"].map(|name| value(&text, &format!("mtuscope_conntrack_{name}")));
    assert_eq!(tracked[0].is_some(), tracked[1].is_some(), "both or none: {text}");
    let errors = r#"mtuscope_kernel_events_total{name="udp_checksum_errors_ipv6"}"#;
    assert_eq!(value(&text, errors), Some(0.0), "{text}");
    // Fewer than it takes for a finding: they are counted all the same.
    let stray = Fault::Sends { what: Sent::WrongChecksums, node: 1, times: Some(3) }.make(&cluster)?;
    wait::until("the counter to rise", || {
        let now = value(&metrics(&service)?, errors);
        Ok(if now == Some(3.0) { Look::There(()) } else { Look::NotYet(format!("{now:?}")) })
    })?;
    stray.heal()?;
    stop(service)
}

/// The text that the agent's own tests hold every change against, as Prometheus's linter sees it.
fn golden_metrics() -> Result<()> {
    let file = "agent__publish__exposition__tests__a_rich_node_in_the_older_text.snap";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("agent/src/publish/snapshots").join(file);
    let golden = fs::read_to_string(&path).map_err(|error| Error::new(format!("reading {}", path.display()), error))?;
    let text = golden.splitn(3, "---\n").nth(2).expect("a snapshot has a head between two lines");
    assert!(series(text) > 150, "{text}");
    lint(text)
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Waits until every check has concluded that can: until then series come with every round. Without other agents nobody
/// makes transfers, or says what their node is.
fn settled(service: &mut Service<'_>) -> Result<()> {
    const OF_OTHERS: [&str; 3] = ["overlay-transfer-stalls", "node-mtu-differs", "node-tunnel-differs"];
    let concluded = |report: &Report| report.not_concluded.iter().all(|one| OF_OTHERS.contains(&one.code.as_str()));
    service.until("every check to conclude", concluded).map(drop)
}

/// The metrics as text, after Prometheus's own linter and the other format had their look. A round or look that ends
/// between two scrapes may bring series, so the other format is held against a text that was the same before and after.
fn metrics(service: &Service<'_>) -> Result<String> {
    let plain = || service.get("/metrics", "text/plain;version=0.0.4");
    let (text, open) = wait::until("two scrapes of the same series", || {
        let before = plain()?;
        let open = service.get("/metrics", "application/openmetrics-text;version=1.0.0")?;
        let text = plain()?;
        let still = names(&before.body) == names(&text.body);
        Ok(if still { Look::There((text, open)) } else { Look::NotYet("they differ".into()) })
    })?;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    lint(&text.body)?;
    let kind = open.header("content-type").unwrap_or_default().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(open.body.ends_with("# EOF\n"), "{}", open.body);
    assert_eq!(names(&text.body), names(&open.body), "both formats have the same series");
    let mut distinct = names(&text.body);
    distinct.dedup();
    assert_eq!(distinct.len(), names(&text.body).len(), "no series twice:\n{}", text.body);
    Ok(text.body)
}

fn lint(text: &str) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::new("running `promtool check metrics`", error).check("Debian's package prometheus has promtool")
    };
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().map_err(failed)?;
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).map_err(failed)?;
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() && output.stderr.is_empty() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::new("running `promtool check metrics`", format!("{}: {said}\n{text}", output.status)))
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

/// How many series each family has, most first: which one grew shows beside the table in the head of the agent's metrics.
fn by_family(text: &str) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        *counts.entry(line.split(['{', ' ']).next().unwrap_or(line)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.iter().map(|(family, count)| format!("{count:4} {family}\n")).collect()
}

/// Series without their values; process metrics come and go with what the kernel tells.
fn names(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| line.starts_with("mtuscope_"));
    let mut names: Vec<_> = lines.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

fn stop(service: Service<'_>) -> Result<()> {
    let status = service.stop()?;
    assert_eq!(status.code(), Some(0));
    Ok(())
}
