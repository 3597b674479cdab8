//! Every set-up is recognised: what each link is for, which planes there are, what each should carry, and who is there.
//!
//! [`recipe::SETUPS`] and one recipe of each older kind. An agent that is told its peers has to say all of a healthy node;
//! a `report` that is told nothing has to find the peers that the kernel's tables name, each once, and nobody else.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::ExitCode;

use lab::cluster::Cluster;
use lab::family::Family;
use lab::harness::{self, test};
use lab::recipe::{
    BGP, CILIUM, CLOUD, CROSS_SUBNET, Cni, DUAL, Delivery, HOST_GW, JUMBO, REFERENCE, ROUTED, Recipe, Role, SETUPS,
    TWO_NICS,
};
use lab::report::Report;
use lab::service::{self, Service};
use lab::{Error, Result};

fn main() -> ExitCode {
    harness::main(|| {
        let mut tests = Vec::new();
        for recipe in SETUPS.into_iter().chain([REFERENCE, ROUTED, JUMBO, DUAL]) {
            tests.push(test(format!("all of {} is known", recipe.name), move || known(recipe)));
        }
        for recipe in [BGP, HOST_GW, TWO_NICS, CROSS_SUBNET] {
            tests.push(test(format!("report finds the peers of {}", recipe.name), move || discovered(recipe)));
        }
        for recipe in [CILIUM, CLOUD] {
            let name = format!("nothing on {} names a peer, and the gateway is taken", recipe.name);
            tests.push(test(name, move || nobody(recipe)));
        }
        tests
    })
}

/// Plane, address, what it should carry.
type Row = (String, String, Option<u32>);

fn row(plane: &str, address: IpAddr, mtu: u32) -> Row {
    (plane.to_owned(), address.to_string(), Some(mtu))
}

/// Every path of a node whose peers are named with all their addresses.
fn all_of(cluster: &Cluster) -> Result<BTreeSet<Row>> {
    let (recipe, overlay) = (cluster.recipe, cluster.overlay()?);
    let of = |peer: usize| {
        let underlay = recipe.underlay_addresses(peer).into_iter();
        let tunnels = overlay.tunnel_addresses(peer).into_iter();
        let pods = overlay.pod_addresses(peer).into_iter();
        let between = move |address| overlay.between_tunnels(Family::of(address), recipe.underlay_mtu);
        let carries = move |address| overlay.carries().min(between(address));
        underlay
            .map(move |address| row("underlay", address, recipe.underlay_mtu))
            .chain(tunnels.map(move |address| row("overlay", address, between(address))))
            .chain(pods.map(move |address| row("pod", address, carries(address))))
    };
    Ok(cluster.peers(0).flat_map(of).collect())
}

fn listed(report: &Report) -> Vec<Row> {
    report.paths.iter().map(|path| (path.plane.clone(), path.address.clone(), path.expected_mtu)).collect()
}

fn lists(report: &Report, wanted: &BTreeSet<Row>) {
    let listed = listed(report);
    assert_eq!(&listed.iter().cloned().collect::<BTreeSet<_>>(), wanted, "{report}");
    assert_eq!(listed.len(), wanted.len(), "some address is listed twice: {report}");
    let clear = report.paths.iter().all(|path| path.verdict == "clear" && path.path_mtu == path.expected_mtu);
    assert!(clear && report.is_well(), "{report}");
}

/// What each link is for; a link that the recipe does not name is for nothing that counts.
fn roles(recipe: &Recipe) -> Vec<(&'static str, &'static str)> {
    let overlay = recipe.overlay.filter(|overlay| overlay.delivery.vxlan().is_some());
    let bridge = if recipe.bridge.is_some() { Role::Bridge } else { Role::Nic };
    let tunnels = [Role::Tunnel, Role::TunnelSix].map(|role| (role, "tunnel"));
    let usual = [
        (Role::Nic, "underlay"),
        (bridge, if recipe.bridge.is_some() { "bridge" } else { "underlay" }),
        (Role::Pod, "pod"),
        (Role::PodBridge, "bridge"),
        (Role::Management, "other"),
        (Role::Spare, "other"),
    ];
    let tunnels = tunnels.into_iter().filter(|_| overlay.is_some());
    let named = usual.into_iter().chain(tunnels).filter_map(|(role, word)| Some((recipe.link(role)?, word)));
    let of_cilium = recipe.overlay.is_some_and(|overlay| overlay.by == Cni::Cilium);
    named.chain(["cilium_host", "cilium_net"].map(|link| (link, "other")).into_iter().filter(|_| of_cilium)).collect()
}

fn known(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let wanted = all_of(&cluster)?;
    let measured = |report: &Report| report.paths.iter().all(|path| path.packets_sent > 0) && report.is_well();
    let report = Service::start(&cluster, 0)?.until("every path to be measured", measured)?;
    lists(&report, &wanted);
    assert_eq!(report.summary.peers, recipe.nodes.len() - 1, "{report}");
    for (link, role) in roles(&recipe) {
        let found = report.links.iter().find(|found| found.name == link).map(|found| found.role.as_str());
        assert_eq!(found, Some(role), "{link}");
    }
    let tunnels: BTreeSet<_> = report.tunnels.iter().map(|tunnel| tunnel.link.as_str()).collect();
    let made = [Role::Tunnel, Role::TunnelSix].into_iter().filter_map(|role| recipe.link(role)).collect();
    assert_eq!(tunnels, made);
    let overlay = cluster.overlay()?;
    let fits = overlay.tunnels().iter().map(|tunnel| tunnel.mtu).min();
    assert_eq!(report.summary.recommended_overlay_mtu, fits, "{report}");
    // Whether a pod keeps to less than its device takes, its own routes say: they are in its namespace.
    let of_routes = matches!(overlay.delivery, Delivery::Metadata { .. });
    let fits = |verdict: &str| verdict == "ok" || (of_routes && verdict == "unknown");
    assert!(report.ladders.iter().all(|ladder| fits(&ladder.verdict)), "{:?}", report.ladders);
    for tunnel in &report.tunnels {
        let lower = (tunnel.lower.as_deref(), tunnel.headroom);
        let external = matches!(overlay.delivery, Delivery::Metadata { .. });
        assert_eq!(lower, (recipe.link(Role::Lower), if external { None } else { Some(0) }), "{tunnel:?}");
    }
    Ok(())
}

fn told_nothing(cluster: &Cluster) -> Result<Report> {
    let output = service::run(cluster.host(0), &["report", "--output", "json"])?;
    Report::parse(&String::from_utf8_lossy(&output.stdout))
}

/// Pods are nobody's business here: no table names them.
fn discovered(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let report = told_nothing(&cluster)?;
    lists(&report, &all_of(&cluster)?.into_iter().filter(|(plane, ..)| plane != "pod").collect());
    assert_eq!(report.summary.peers, recipe.nodes.len() - 1, "{report}");
    Ok(())
}

fn nobody(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let report = told_nothing(&cluster)?;
    let names: BTreeSet<_> = report.paths.iter().map(|path| path.peer.as_str()).collect();
    if names != BTreeSet::from(["default-gateway"]) {
        return Err(Error::new("reading the peers", format!("{names:?}\n{report}")));
    }
    assert!(report.is_well(), "{report}");
    Ok(())
}
