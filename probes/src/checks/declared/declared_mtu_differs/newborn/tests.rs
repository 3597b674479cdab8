//! Machines whose files say one thing and whose kernel another; and those that only look so.

use super::super::DeclaredMtuDiffers;
use crate::checks::{Check, Judgement, Raised};
use crate::declared::Files;
use crate::declared::host::RawHost;
use crate::declared::sizes::tests::files;
use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::{Hop, Route};
use crate::report::Severity;
use crate::snapshot::example::{Example, failed, ip, no_admin};
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

use super::super::{Case, Evidence};

const CALICO: &str = "/etc/cni/net.d/10-calico.conflist";
const FELIX: &str = "/var/lib/calico/mtu";
const FLANNEL: &str = "/etc/cni/net.d/10-flannel.conflist";
const SUBNET: &str = "/run/flannel/subnet.env";

fn with(mut node: Example, texts: &[(&str, &str)]) -> Example {
    node.tables.declared = files(texts);
    node
}

/// Calico's file with this `mtu`, and what Felix found.
fn calico(node: Example, mtu: u32, felix: u32) -> Example {
    let list = format!(r#"{{"name": "k8s-pod-network", "plugins": [{{"type": "calico", "mtu": {mtu}}}]}}"#);
    with(node, &[(CALICO, &list), (FELIX, &felix.to_string())])
}

/// Flannel's file, and what Flannel wrote.
fn flannel(node: Example, mtu: u32) -> Example {
    let list = r#"{"name": "cbr0", "plugins": [{"type": "flannel", "delegate": {"isDefaultGateway": true}}]}"#;
    with(node, &[(FLANNEL, list), (SUBNET, &format!("FLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=true\n"))])
}

fn judge(node: &Example) -> Judgement<Evidence> {
    DeclaredMtuDiffers::judge(&node.snapshot()).unwrap()
}

fn meant(node: &Example, overlay: u32) -> Judgement<Evidence> {
    let mut node = node.snapshot();
    node.expect.overlay_mtu = Some(IpSize::new(overlay));
    DeclaredMtuDiffers::judge(&node).unwrap()
}

fn one(judgement: Judgement<Evidence>) -> Raised<Evidence> {
    let [raised] = <[_; 1]>::try_from(judgement.raised).unwrap_or_else(|all| panic!("{all:?}"));
    raised
}

fn told(raised: &Raised<Evidence>) -> String {
    DeclaredMtuDiffers::summary(&raised.subject, &raised.evidence)
}

fn quiet(node: &Example) {
    let judgement = judge(node);
    assert!(judgement.raised.is_empty() && judgement.unread.is_empty(), "{judgement:?}");
}

fn sized(node: Example, links: &[&str], mtu: u32) -> Example {
    links.iter().fold(node, |node, link| node.with(link, |link| link.mtu = LinkMtu::new(mtu)))
}

const PODS: [&str; 2] = ["cali1a2b3c4d5e6", "cali9f8e7d6c5b4"];

#[test]
fn what_fits_to_the_byte_is_quiet_and_one_byte_more_is_told_before_a_pod_has_it() {
    quiet(&calico(Example::reference(), 1450, 1450));
    quiet(&calico(Example::reference(), 0, 1450));
    let raised = one(judge(&calico(Example::reference(), 1451, 1450)));
    assert_eq!(
        (&raised.subject, raised.severity, raised.evidence.case),
        (&Subject::Pods, Severity::Warning, Case::NewPods)
    );
    assert_eq!(
        told(&raised),
        "New pods get an MTU of 1451 B by /etc/cni/net.d/10-calico.conflist (mtu of calico), and vxlan.calico, by which \
         they reach other nodes, takes 1450 B."
    );
    let no_pods =
        PODS.iter().fold(calico(Example::reference(), 1500, 1450), |node, pod| node.with(pod, |it| it.up = false));
    assert_eq!(one(judge(&no_pods)).evidence.case, Case::NewPods);
}

#[test]
fn felixs_number_counts_where_the_file_leaves_it_to_felix_and_only_there() {
    let raised = one(judge(&calico(Example::reference(), 0, 1500)));
    assert_eq!((raised.evidence.source.as_str(), raised.evidence.written.as_str()), ("calico", FELIX));
    quiet(&calico(Example::reference(), 1450, 9000));
}

#[test]
fn pods_that_are_as_large_as_the_file_says_are_explained_by_it_and_larger_ones_are_not() {
    let classic = calico(sized(Example::reference(), &PODS, 1500), 1500, 1450);
    assert_eq!(one(judge(&classic)).breaks, [Subject::Pods]);
    assert_eq!(one(judge(&sized(classic, &PODS[..1], 1501))).breaks, []);
    let old = calico(sized(Example::reference(), &PODS[..1], 1500), 0, 1450);
    quiet(&old); // The file is right: that pod is too large is the matter of the code about pods.
}

#[test]
fn a_tunnel_that_has_room_for_what_is_declared_is_what_differs() {
    let raised = one(judge(&calico(sized(Example::reference(), &["vxlan.calico"], 1400), 1450, 1450)));
    assert_eq!((&raised.subject, raised.evidence.case), (&Subject::Link("vxlan.calico".into()), Case::Differs));
    assert_eq!(
        told(&raised),
        "vxlan.calico has an MTU of 1400 B; /etc/cni/net.d/10-calico.conflist (mtu of calico) says 1450 B."
    );
    let tunnel = Subject::Link("vxlan.calico".into());
    assert_eq!(raised.breaks, [tunnel, Subject::Pods], "that it is undersized, and pods as large as is declared");
    let jumbo = sized(Example::reference(), &["enp5s0", "vmbr1"], 9000);
    assert_eq!(one(judge(&calico(jumbo, 8950, 8950))).subject, Subject::Link("vxlan.calico".into()));
}

#[test]
fn a_route_may_bind_more_than_its_device() {
    let mut node = calico(Example::reference(), 1450, 1450);
    let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
    let by_tunnel = |route: &&mut Route| route.destination == ip("10.244.2.0");
    routes.iter_mut().find(by_tunnel).unwrap().mtu = Some(IpSize::new(1410));
    let raised = one(judge(&node));
    assert!(
        told(&raised).contains("and the route to 10.244.2.0/26 through vxlan.calico, by which"),
        "{}",
        told(&raised)
    );
}

#[test]
fn a_tunnel_above_the_pods_is_normal() {
    quiet(&calico(sized(Example::reference(), &PODS, 1440), 1440, 1440));
    let two = Example::two_tunnels().pod(PODS[0], 1430, "10.244.1.2");
    quiet(&calico(two, 0, 1430));
}

/// Calico without a tunnel: routes by BGP to the other node, and the NIC's whole MTU.
fn direct(nic: u32) -> Example {
    let mut node = Example::empty()
        .device("eth0", "device", nic)
        .address("eth0", "10.9.0.1", 24)
        .pod(PODS[0], 1500, "10.244.1.2")
        .peer("b", "eth0", "10.9.0.2");
    let to_node = node.lookups[&ip("10.9.0.2")].known().unwrap().clone();
    let hops = vec![Hop { gateway: Some(ip("10.9.0.2")), link: node.index("eth0") }];
    let route = Route { destination: ip("10.244.2.0"), prefix: 26, protocol: 12, hops, ..to_node };
    node.lookups.insert(ip("10.244.2.2"), Fact::Known(route));
    node.peers[0].pods.push(ip("10.244.2.2"));
    node
}

#[test]
fn without_a_tunnel_the_nic_is_what_pods_leave_by() {
    quiet(&calico(direct(1500), 0, 1500));
    quiet(&calico(direct(9000), 0, 1500));
    let raised = one(judge(&calico(direct(1499), 0, 1500)));
    assert_eq!((&raised.subject, raised.evidence.link.as_deref()), (&Subject::Pods, Some("eth0")));
}

#[test]
fn where_no_pod_has_the_declared_size_and_all_fit_it_is_an_info() {
    let raised = one(judge(&calico(Example::reference(), 0, 1400)));
    assert_eq!(
        (&raised.subject, raised.severity, &raised.breaks[..]),
        (&Subject::Pods, Severity::Info, &[Subject::Pods][..])
    );
    assert_eq!(
        told(&raised),
        "New pods get an MTU of 1400 B by /var/lib/calico/mtu; those that run have an MTU of 1450 B (2)."
    );
    quiet(&calico(sized(Example::reference(), &PODS[..1], 1400), 0, 1400));
    let end = Example::reference().end(PODS[0], |end| end.mtu = LinkMtu::new(1400));
    quiet(&calico(end, 0, 1400)); // The smaller end binds: this one is as declared, the other is older.
}

#[test]
fn a_pod_of_which_one_end_was_changed_was_born_with_what_the_other_has() {
    let changed = PODS.iter().fold(Example::reference(), |node, pod| node.end(pod, |end| end.mtu = LinkMtu::new(1400)));
    quiet(&calico(changed, 0, 1450));
    let both = PODS
        .iter()
        .fold(sized(Example::reference(), &PODS, 1400), |node, pod| node.end(pod, |end| end.mtu = LinkMtu::new(1400)));
    assert_eq!(one(judge(&calico(both, 0, 1450))).severity, Severity::Info);
}

#[test]
fn an_end_that_may_be_as_declared_is_waited_for_unless_the_right_is_missing() {
    let unseen = |why: Unread| {
        let mut node = calico(Example::reference(), 0, 1400);
        node.tables.pod_ends = Fact::Unread(why);
        judge(&node)
    };
    let waits = unseen(failed(Source::PodEnds));
    assert_eq!((waits.raised.len(), &waits.unread[..]), (0, &[(Subject::Pods, failed(Source::PodEnds))][..]));
    assert_eq!(one(unseen(no_admin())).severity, Severity::Info);
}

#[test]
fn the_operators_size_against_the_files() {
    let smaller = calico(sized(Example::reference(), &PODS, 1400), 1400, 1400);
    let raised = one(meant(&smaller, 1450));
    assert_eq!((raised.severity, raised.evidence.case), (Severity::Warning, Case::Declarations));
    assert_eq!(
        told(&raised),
        "New pods get an MTU of 1400 B by /etc/cni/net.d/10-calico.conflist (mtu of calico), where expect.overlay_mtu in \
         the configuration says 1450 B."
    );
    let tunnel = one(meant(&sized(smaller.clone(), &["vxlan.calico"], 1400), 1450));
    assert_eq!(tunnel.subject, Subject::Link("vxlan.calico".into()), "told once, where it shows");
    assert!(meant(&sized(smaller, &["vxlan.calico"], 1400), 1400).raised.is_empty());
    let two = calico(Example::two_tunnels().pod(PODS[0], 1430, "10.244.1.2"), 0, 1430);
    assert!(meant(&two, 1450).raised.is_empty(), "the larger of two tunnels is meant");
}

/// `flannel.1` over a NIC, both of these sizes, and what is on `cni0`.
fn bridged(nic: u32, tunnel: u32, pods: u32) -> Example {
    let node = sized(Example::flannel(), &["eth0"], nic);
    sized(sized(node, &["flannel.1"], tunnel), &["cni0", "veth0a1b2c3d"], pods)
}

#[test]
fn flannel_keeps_the_tunnel_that_is_there() {
    quiet(&flannel(bridged(1500, 1450, 1450), 1450));
    let grown = one(judge(&flannel(bridged(9000, 1450, 1450), 8950)));
    assert_eq!((&grown.subject, grown.evidence.source.as_str()), (&Subject::Link("flannel.1".into()), "flannel"));
    assert!(
        told(&grown).ends_with("Flannel takes its MTU when it starts, and keeps devices that are there as they are.")
    );
    let shrunk = one(judge(&flannel(bridged(1500, 8950, 1450), 1450)));
    assert_eq!(shrunk.subject, Subject::Link("flannel.1".into()));
    assert!(shrunk.breaks.contains(&Subject::Link("flannel.1".into())), "its headroom");
    quiet(&flannel(bridged(1500, 1450, 1400), 1400)); // A smaller backend MTU: what is larger carries it.
}

#[test]
fn flannels_bridge_is_told_where_no_pod_holds_it_small() {
    let node = sized(flannel(bridged(1500, 1450, 1450), 1450), &["cni0"], 1400);
    assert_eq!(one(judge(&node)).subject, Subject::Link("cni0".into()));
    quiet(&sized(flannel(bridged(1500, 1450, 1450), 1450), &["cni0"], 9000));
    let mut old = flannel(bridged(1500, 1450, 1400), 1450).device("veth9", "veth", 1450).port("veth9", "cni0");
    old.link("veth9").other_namespace = Some(7);
    quiet(&old); // An old pod holds the bridge small.
}

#[test]
fn flannel_without_a_tunnel_has_the_nics_mtu() {
    let mut node = bridged(1500, 1450, 1500);
    let Fact::Known(links) = &mut node.tables.links else { unreachable!() };
    links.retain(|link| link.name != "flannel.1");
    let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
    let gone = node.lookups.keys().copied().filter(|to| to.to_string().starts_with("10.42.")).collect::<Vec<_>>();
    routes.retain(|route| !route.destination.to_string().starts_with("10.42.1."));
    gone.iter().for_each(|to| drop(node.lookups.remove(to)));
    quiet(&flannel(node.route("10.42.1.0", 24, Some("172.20.0.3"), "eth0"), 1500));
}

#[test]
fn what_flannel_takes_off_over_ipv6_is_its_own_sum() {
    let six = |mtu| {
        let node =
            Example::flannel().address("eth0", "fd00::2", 64).vxlan("flannel-v6.1", 1430, Some("eth0"), "fd00::2");
        let node = node.address("flannel-v6.1", "fd42::", 128).route("fd42:1::", 64, Some("fd42:1::"), "flannel-v6.1");
        flannel(node, mtu)
    };
    quiet(&six(1450));
    let other = one(judge(&sized(six(1460), &["eth0"], 1500)));
    assert_eq!(other.evidence.case, Case::NewPods, "another difference is none of its sums");
}

#[test]
fn pods_without_an_end_on_the_node_and_flat_networks_are_not_compared() {
    let file = |kind: &str, more: &str| format!(r#"{{"name": "n", "type": "{kind}", "mtu": 9000{more}}}"#);
    for kind in ["macvlan", "ipvlan"] {
        quiet(&with(Example::reference(), &[("/etc/cni/net.d/a.conf", &file(kind, ""))]));
    }
    let flat = Example::reference().device("br9", "bridge", 9000);
    quiet(&with(flat, &[("/etc/cni/net.d/a.conf", &file("bridge", r#", "bridge": "br9""#))]));
    let ptp = with(Example::reference(), &[("/etc/cni/net.d/a.conf", &file("ptp", ""))]);
    assert_eq!(one(judge(&ptp)).evidence.case, Case::NewPods);
}

#[test]
fn ciliums_number_is_compared_with_pods_and_routes_and_never_loud() {
    let cilium = |mtu: u32| {
        let mut node = Example::empty()
            .device("eth0", "device", 1500)
            .address("eth0", "10.9.0.1", 24)
            .device("cilium_host", "veth", 1500)
            .vxlan("cilium_vxlan", 1500, None, "0.0.0.0")
            .with("cilium_vxlan", |link| link.tunnel.as_mut().unwrap().external = true)
            .pod("lxc1a2b3c4d5e6f", 1500, "10.244.1.2")
            .peer("b", "eth0", "10.9.0.2")
            .route("10.244.2.0", 24, Some("10.244.1.1"), "cilium_host");
        let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
        routes.last_mut().unwrap().mtu = Some(IpSize::new(1450));
        let list = format!(r#"{{"name": "cilium", "plugins": [{{"type": "cilium-cni", "mtu": {mtu}}}]}}"#);
        with(node, &[("/etc/cni/net.d/05-cilium.conflist", &list)])
    };
    for known in [0, 1450, 1500] {
        quiet(&cilium(known));
    }
    assert_eq!(one(judge(&cilium(9000))).severity, Severity::Info);
}

#[test]
fn a_machine_without_files_declares_nothing_and_one_that_hides_them_is_not_concluded() {
    quiet(&Example::reference());
    let mut hidden = Example::reference();
    let why = Unread::new(Source::HostFiles, Reason::NotYet);
    hidden.tables.declared = Files::parse(&RawHost::unread(why.clone()));
    let judgement = judge(&hidden);
    assert_eq!((judgement.raised.len(), &judgement.unread[..]), (0, &[(Subject::Pods, why)][..]));
}

fn keeps(judgement: &Judgement<Evidence>, raised: &Raised<Evidence>) -> bool {
    let evidence = serde_json::to_value(&raised.evidence).unwrap();
    let named = judgement.unread.iter().any(|(subject, _)| *subject == raised.subject);
    named || judgement.kept.iter().any(|kept| kept.has(&evidence))
}

/// Could fail by a finding about a tunnel that clears as soon as the file that gave the size cannot be read.
#[test]
fn what_a_file_said_of_a_tunnel_stays_while_the_file_cannot_be_read() {
    let small = calico(sized(Example::reference(), &["vxlan.calico"], 1400), 1450, 1450);
    let raised = one(judge(&small));
    assert_eq!(raised.subject, Subject::Link("vxlan.calico".into()));
    let mut blind = small;
    let denied = Unread::new(Source::HostFiles, Reason::Denied { needs: "permission".into() });
    blind.tables.declared.cni = Fact::Unread(denied);
    let judgement = judge(&blind);
    assert!(judgement.raised.is_empty() && keeps(&judgement, &raised), "{judgement:?}");
    let meant = raised_of_the_operator();
    assert!(!keeps(&judgement, &meant), "another one's word is judged");
}

fn raised_of_the_operator() -> Raised<Evidence> {
    let mut node = sized(Example::reference(), &["vmbr1"], 1499).snapshot();
    node.expect.underlay_mtu = Some(IpSize::new(1500));
    one(DeclaredMtuDiffers::judge(&node).unwrap())
}

/// Could fail by the note of Flannel alone: its tunnel would clear, as its file names an MTU of its own.
#[test]
fn flannels_tunnel_stays_while_its_note_cannot_be_read_and_is_told_while_the_cni_file_cannot() {
    let large = sized(flannel(Example::flannel(), 1450), &["flannel.1"], 1500);
    let tunnel = |judgement: Judgement<Evidence>| {
        judgement.raised.into_iter().find(|raised| raised.subject == Subject::Link("flannel.1".into()))
    };
    let raised = tunnel(judge(&large)).expect("a tunnel that is too large");
    let denied = || Unread::new(Source::HostFiles, Reason::Denied { needs: "permission".into() });
    let mut blind = large.clone();
    blind.tables.declared.cni = Fact::Unread(denied());
    assert!(tunnel(judge(&blind)).is_some(), "the note says it all");
    blind.tables.declared = files(&[(FLANNEL, r#"{"name": "x", "type": "flannel", "delegate": {"mtu": 1450}}"#)]);
    blind.tables.declared.flannel = Fact::Unread(denied());
    assert!(keeps(&judge(&blind), &raised));
}
