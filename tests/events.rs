//! Changes that the kernel tells, on a real kernel: an agent whose rounds are an hour apart has them in its report at
//! once, judges them at once, and survives being told more than it can take.
//!
//! With the interval at an hour no round can be what showed a change: that it is shown at all proves that it was told. How
//! soon depends on the machine as well, and is no verdict.

use std::fmt::Write as _;
use std::process::ExitCode;

use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::harness::{self, test};
use lab::namespace::Namespace;
use lab::recipe::{JUMBO, REFERENCE, ROUTED, Recipe, Role};
use lab::service::{self, Service};
use lab::size::Size;
use lab::wait::{self, Look};
use lab::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

fn main() -> ExitCode {
    harness::main(|| {
        let mut tests = Vec::new();
        for recipe in [REFERENCE, ROUTED, JUMBO] {
            let name = recipe.name;
            tests.push(test(format!("changes on {name} reach the report"), move || changes(recipe)));
            tests.push(test(format!("a finding on {name} comes and goes between rounds"), move || finding(recipe)));
            tests.push(test(format!("a NIC on {name} that is back is measured early"), move || back_again(recipe)));
        }
        tests.push(test("lost messages are counted and made good", overrun));
        tests.push(test("what an agent can take is no loss", no_overrun));
        tests
    })
}

/// Rounds are as far apart as they can be.
fn start<'c>(cluster: &'c Cluster) -> Result<Service<'c>> {
    let text = service::configuration(cluster, 0).replace("interval: 1s", "interval: 1h");
    Service::start_with(cluster, 0, &text)
}

fn body(service: &Service<'_>) -> Result<Value> {
    let response = service.get("/report", "application/json")?;
    serde_json::from_str(&response.body).map_err(|error| Error::new("reading /report", error))
}

/// Waits until the report says so.
fn shown(service: &Service<'_>, what: &str, there: impl Fn(&Value) -> bool) -> Result<()> {
    wait::until(what, || {
        let report = body(service)?;
        Ok(if there(&report) { Look::There(()) } else { Look::NotYet(report.to_string()) })
    })
}

/// The row of a section whose field has this value.
fn row<'v>(report: &'v Value, section: &str, field: &str, value: &str) -> Option<&'v Value> {
    report[section].as_array()?.iter().find(|row| row[field] == value)
}

fn spare(report: &Value) -> &Value {
    let name = |row: &&Value| [REFERENCE, ROUTED, JUMBO].iter().any(|recipe| row["name"] == recipe.spare);
    report["links"].as_array().and_then(|links| links.iter().find(name)).unwrap_or(&Value::Null)
}

fn changes(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let service = start(&cluster)?;
    let host = cluster.host(0);
    let link = recipe.spare;
    let lower = recipe.link(Role::Lower).expect("every recipe has one");
    let step = |command: &str, what: &str, there: &dyn Fn(&Value) -> bool| -> Result<()> {
        host.sh(command)?;
        shown(&service, what, there)
    };
    step(&format!("ip link set {link} mtu 1404"), "another MTU", &|report| spare(report)["mtu"] == 1404)?;
    step(&format!("ip link set {link} down"), "a link that is down", &|report| spare(report)["up"] == false)?;
    step(&format!("ip link set {link} up"), "a link that is up", &|report| spare(report)["up"] == true)?;
    step("ip link add late0 type veth peer name late1", "a link that is new", &|report| {
        row(report, "links", "name", "late0").is_some()
    })?;
    step("ip link del late0", "a link that is gone", &|report| row(report, "links", "name", "late0").is_none())?;
    let failed = |report: &Value| report["neighbours"]["failed"].to_string().contains("198.51.100.7");
    // The kernel tells of a failure only where there was something to lose; and with many labs on the machine it throws
    // away failed entries at once, but for those that somebody else keeps.
    let kept = format!("198.51.100.7 lladdr 02:00:00:00:00:07 dev {lower} extern_learn nud");
    host.sh(&format!("ip neigh add {kept} reachable"))?;
    step(&format!("ip neigh change {kept} failed"), "a neighbour that failed", &failed)?;
    step(&format!("ip neigh del 198.51.100.7 dev {lower}"), "a neighbour that is gone", &|report| !failed(report))?;
    let peer = recipe.underlay_address(1).to_string();
    let expected = |report: &Value, mtu: u32| {
        report["paths"].as_array().is_some_and(|paths| {
            paths.iter().any(|path| path["address"] == peer.as_str() && path["expected_mtu"] == mtu)
        })
    };
    let gateway = recipe.router_address(0).map(|router| format!("via {router} ")).unwrap_or_default();
    let route = format!("{peer} {gateway}dev {lower} mtu 1300");
    step(&format!("ip route add {route}"), "a route with an MTU of its own", &|report| expected(report, 1300))?;
    step(&format!("ip route del {route}"), "a route that is gone", &|report| expected(report, recipe.underlay_mtu))?;
    let setting = |report: &Value, value: i64| {
        let rows = report["settings"].as_array();
        rows.is_some_and(|rows| rows.iter().any(|row| row["name"] == "ip_forward" && row["value"] == value))
    };
    step("sysctl -qw net.ipv4.ip_forward=0", "a setting that changed", &|report| setting(report, 0))?;
    step("sysctl -qw net.ipv4.ip_forward=1", "a setting that is back", &|report| setting(report, 1))
}

fn finding(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let mut service = start(&cluster)?;
    let process = service.id();
    let size = Size::try_from("tunnel + overhead - 1".to_owned()).map_err(|error| Error::new("a size", error))?;
    let small = Fault::Mtu { node: 0, link: Role::Lower, bytes: size }.make(&cluster)?;
    service.until("the finding", |report| report.has("tunnel-no-headroom"))?;
    small.heal()?;
    service.until("the finding to go", |report| !report.has("tunnel-no-headroom"))?;
    let spare = Fault::Mtu { node: 0, link: Role::Spare, bytes: "1280".to_owned().try_into().expect("a number") };
    let near = spare.make(&cluster)?;
    let report = service.until("the bystander", |report| {
        report.links.iter().any(|link| link.name == recipe.spare && link.mtu == 1280)
    })?;
    assert!(report.findings.is_empty() && service.id() == process, "{report}");
    near.heal()
}

/// With a round an hour nothing but the link's own events can have brought the measurement.
fn back_again(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let mut service = start(&cluster)?;
    let clear = |report: &lab::report::Report| report.paths.iter().all(|path| path.verdict == "clear");
    let before = service.until("every path to be clear", clear)?;
    let down = Fault::LinkDown { node: 0, link: Role::Nic }.make(&cluster)?;
    service.until("the dead NIC and what it broke", |report| report.has("link-down") && !clear(report))?;
    down.heal()?;
    let after = service.until("every path to be clear again", |report| !report.has("link-down") && clear(report))?;
    assert!(after.measured_since(before.generated_at), "{after}");
    Ok(())
}

fn overruns(service: &Service<'_>) -> Result<u64> {
    let text = service.get("/metrics", "text/plain")?.body;
    let value = text.lines().find_map(|line| line.strip_prefix("mtuscope_netlink_overruns_total "));
    let number = value.and_then(|value| value.parse::<f64>().ok());
    number.map(|number| number as u64).ok_or_else(|| Error::new("looking for netlink_overruns_total", text))
}

/// Changes a link's MTU many times while the agent stands still.
fn flood(host: &Namespace, service: &Service<'_>, link: &str, times: u32) -> Result<()> {
    let agent = Pid::from_raw(i32::try_from(service.id()).expect("process ids are small"));
    let send = |signal| kill(agent, signal).map_err(|errno| Error::new("stopping the agent", errno));
    let mut lines = String::new();
    for _ in 0..times {
        let _ = write!(lines, "link set {link} mtu 1400\nlink set {link} mtu 1420\n");
    }
    send(Signal::SIGSTOP)?;
    let fed = host.feed("ip", &["-batch", "-"], &lines);
    send(Signal::SIGCONT)?;
    fed
}

fn overrun() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let service = start(&cluster)?;
    assert_eq!(overruns(&service)?, 0);
    flood(cluster.host(0), &service, REFERENCE.spare, 2000)?;
    shown(&service, "the last of many changes", |report| spare(report)["mtu"] == 1420)?;
    // What a look that was under way has read can be shown before the loss is noticed.
    wait::until("the loss to be counted: four thousand messages do not fit a socket's buffer", || {
        let lost = overruns(&service)?;
        Ok(if lost > 0 { Look::There(()) } else { Look::NotYet(format!("{lost} losses")) })
    })?;
    cluster.host(0).sh(&format!("ip link set {} mtu 1430", REFERENCE.spare))?;
    shown(&service, "a change after the loss", |report| spare(report)["mtu"] == 1430)
}

fn no_overrun() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let service = start(&cluster)?;
    flood(cluster.host(0), &service, REFERENCE.spare, 5)?;
    shown(&service, "the last of some changes", |report| spare(report)["mtu"] == 1420)?;
    assert_eq!(overruns(&service)?, 0);
    Ok(())
}
