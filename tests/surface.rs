//! What users see of a real cluster: `report` and its exit status, `/report` and `/metrics`.

use std::net::IpAddr;
use std::process::ExitCode;

use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::harness::{self, test};
use lab::http::Response;
use lab::recipe::{JUMBO, PLAIN, REFERENCE, ROUTED, Recipe, Role};
use lab::report::Report;
use lab::service::{self, Service};
use lab::wait::{self, Look};
use lab::{Error, Result};

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            test("report finds its peers in the kernel of reference", || discovers(REFERENCE)),
            test("report finds its peers in the kernel of routed", || discovers(ROUTED)),
            test("report finds its peers in the kernel of jumbo", || discovers(JUMBO)),
            test("a wait that is too short for rates leaves them open", short_wait),
            test("report falls back to the default gateway", falls_back_to_the_gateway),
            test("report describes links and tunnels as they are", describes_the_reference_node),
            test("the exit status of report follows its findings", exit_statuses),
            test("metrics follow a fault and its healing", metrics_follow),
            test("health and unknown paths are told by status", statuses),
        ]
    })
}

/// Runs `report`; what it prints is held against the committed schema.
fn report(cluster: &Cluster, arguments: &[&str]) -> Result<(Report, i32)> {
    let all = [&["report", "--output", "json"], arguments].concat();
    let output = service::run(cluster.host(0), &all)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().ok_or_else(|| Error::new("running `report`", output.status))?;
    let report = Report::parse(&text).map_err(|error| error.check(format!("it exited with {code} and said {log}")))?;
    Ok((report, code))
}

/// Not long enough to watch counters, which these tests are not about: rounds end as soon as findings are confirmed.
const NO_RATES: [&str; 2] = ["--wait", "4900ms"];

/// Codes that hang on a rate, by the reason that the report gives.
fn rates(report: &Report) -> Vec<&str> {
    let rows = report.not_concluded.iter().filter(|row| row.reason.contains("a rate takes 5 s"));
    rows.map(|row| row.code.as_str()).collect()
}

/// Fails if a code is called quiet of which too little was seen, or if the default wait is too short for any.
fn short_wait() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let (short, code) = report(&cluster, &NO_RATES)?;
    assert_eq!((short.summary.status.as_str(), code), ("healthy", 0), "{short}");
    for code in ["fragmentation-failing", "udp-checksum-errors"] {
        assert!(rates(&short).contains(&code), "{code}: {short}");
    }
    let (whole, _) = report(&cluster, &[])?;
    assert_eq!(rates(&whole), [""; 0], "{whole}");
    Ok(())
}

fn discovers(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let (report, code) = report(&cluster, &NO_RATES)?;
    assert_eq!((report.summary.status.as_str(), code), ("healthy", 0), "{report}");
    assert_eq!(report.summary.peers, recipe.nodes.len() - 1, "{report}");
    let overlay = cluster.overlay()?;
    for peer in cluster.peers(0) {
        is_clear(&report, recipe.underlay_address(peer), "underlay", recipe.underlay_mtu);
        is_clear(&report, overlay.tunnel_address(peer), "overlay", overlay.mtu);
    }
    assert_eq!(report.summary.recommended_overlay_mtu, Some(overlay.mtu), "{report}");
    Ok(())
}

fn is_clear(report: &Report, address: IpAddr, plane: &str, mtu: u32) {
    let path = report.paths.iter().find(|path| path.address == address.to_string());
    let seen = path.map(|path| (path.plane.as_str(), path.verdict.as_str(), path.path_mtu));
    assert_eq!(seen, Some((plane, "clear", Some(mtu))), "{report}");
}

fn falls_back_to_the_gateway() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let (report, code) = report(&cluster, &NO_RATES)?;
    assert_eq!((report.summary.status.as_str(), report.summary.peers, code), ("healthy", 1, 0), "{report}");
    let gateway = PLAIN.router_address(0).expect("this recipe has routers");
    is_clear(&report, gateway, "underlay", PLAIN.underlay_mtu);
    Ok(())
}

fn describes_the_reference_node() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let (report, _) = report(&cluster, &NO_RATES)?;
    let tunnel = report.tunnels.first().expect("it has a tunnel");
    assert_eq!((tunnel.link.as_str(), tunnel.kind.as_str(), tunnel.mtu), ("vxlan.calico", "vxlan", 1450));
    assert_eq!((tunnel.id, tunnel.port, tunnel.overhead, tunnel.headroom), (Some(4096), Some(4789), Some(50), Some(0)));
    assert_eq!(tunnel.lower.as_deref(), Some("vmbr1"));
    let role = |name: &str| report.links.iter().find(|link| link.name == name).map(|link| link.role.as_str());
    let link = |role| REFERENCE.link(role).expect("the reference cluster has every kind of link");
    assert_eq!(role(link(Role::Tunnel)), Some("tunnel"));
    assert_eq!(role(link(Role::Pod)), Some("pod"));
    assert_eq!(role(link(Role::Nic)), Some("underlay"));
    for unused in [Role::Management, Role::Spare] {
        assert_eq!(role(link(unused)), Some("other"), "{unused:?}");
    }
    let port = report.links.iter().find(|link| link.name == "enp5s0").and_then(|link| link.master.as_deref());
    assert_eq!(port, Some("vmbr1"));
    Ok(())
}

fn exit_statuses() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let warning = Fault::Mtu { node: 0, link: Role::Pod, bytes: 1500.into() }.make(&cluster)?;
    for (fail_on, status) in [("critical", 0), ("warning", 1), ("info", 1), ("never", 0)] {
        let (report, code) = report(&cluster, &[&NO_RATES[..], &["--fail-on", fail_on]].concat())?;
        assert!(report.has("pod-mtu-too-large"), "{report}");
        assert_eq!((report.summary.status.as_str(), code), ("warning", status), "--fail-on {fail_on}: {report}");
    }
    warning.heal()?;
    let critical = Fault::MissingFdb { node: 0, of: 1 }.make(&cluster)?;
    for (fail_on, status) in [("critical", 1), ("never", 0)] {
        let (report, code) = report(&cluster, &["--peer", "10.0.0.12", "--fail-on", fail_on])?;
        assert_eq!((report.summary.status.as_str(), code), ("critical", status), "--fail-on {fail_on}: {report}");
    }
    critical.heal()?;
    let (report, code) = report(&cluster, &NO_RATES)?;
    assert_eq!((report.summary.status.as_str(), code), ("healthy", 0), "{report}");
    Ok(())
}

fn metrics_follow() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let service = Service::start(&cluster, 0)?;
    let peer = ROUTED.nodes[1];
    let mtu = |bytes| (series("path_mtu_bytes", &[("peer", peer), ("plane", "underlay")]), Some(bytes));
    let finding = series("finding", &[("code", "path-black-hole"), ("subject", peer)]);
    shows(&service, &[mtu(1500.0), (finding.clone(), None)])?;
    let hole = Fault::DropLarger { node: 1, than: 1400.into() }.make(&cluster)?;
    shows(&service, &[mtu(1400.0), (finding.clone(), Some(1.0))])?;
    hole.heal()?;
    shows(&service, &[mtu(1500.0), (finding, None)])
}

/// A metric's name and labels that it must have.
#[derive(Clone, Debug)]
struct Series {
    name: String,
    labels: Vec<String>,
}

fn series(name: &str, labels: &[(&str, &str)]) -> Series {
    let labels = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    Series { name: format!("mtuscope_{name}{{"), labels }
}

impl Series {
    fn value(&self, text: &str) -> Option<f64> {
        let line = text.lines().find(|line| {
            line.starts_with(&self.name) && self.labels.iter().all(|label| line.contains(label.as_str()))
        })?;
        line.rsplit_once(' ')?.1.parse().ok()
    }
}

/// Waits until every series has its value, or is absent where that is wanted, in both exposition formats.
fn shows(service: &Service<'_>, wanted: &[(Series, Option<f64>)]) -> Result<()> {
    for accept in ["text/plain", "application/openmetrics-text; version=1.0.0"] {
        wait::until("the metrics to show it", || {
            let text = service.get("/metrics", accept)?.body;
            let wrong = wanted.iter().find(|(series, value)| series.value(&text) != *value);
            Ok(wrong.map_or(Look::There(()), |wrong| Look::NotYet(format!("{wrong:?} not in\n{text}"))))
        })?;
    }
    Ok(())
}

fn statuses() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let mut service = Service::start(&cluster, 0)?;
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/report", 200), ("/metrics", 200), ("/nothing", 404)] {
        let Response { status: seen, body, .. } = service.get(path, "*/*")?;
        assert_eq!(seen, status, "{path}: {body}");
    }
    Report::parse(&service.get("/report", "application/json")?.body)?;
    let text = service.get("/report?format=text", "*/*")?;
    assert!(text.body.contains(ROUTED.nodes[1]) && !text.body.starts_with('{'), "{}", text.body);
    let filtered = Fault::DropEcho { node: 1 }.make(&cluster)?;
    let report = service.until("the underlay path to be unknown", |report| {
        report.path(ROUTED.nodes[1], "underlay").is_some_and(|path| path.verdict == "unknown")
    })?;
    let path = report.path(ROUTED.nodes[1], "underlay").expect("it was just seen");
    assert_eq!((path.path_mtu, report.has("peer-unreachable")), (None, false), "{report}");
    filtered.heal()
}
