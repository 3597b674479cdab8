//! Machines on which Felix goes by the wrong links; and those on which it is right, or was told.

use super::*;
use crate::checks::judge_all;
use crate::config::Work;
use crate::declared::Files;
use crate::declared::host::RawHost;
use crate::declared::sizes::tests::files;
use crate::history::Standing;
use crate::silence;
use crate::snapshot::example::{Example, black_hole, limited, silent};

const PODS: [&str; 2] = ["cali1a2b3c4d5e6", "cali9f8e7d6c5b4"];

/// Calico's file with this `mtu`, and what Felix found.
fn calico(mut node: Example, mtu: u32, felix: u32) -> Example {
    let list = format!(r#"{{"name": "k8s-pod-network", "plugins": [{{"type": "calico", "mtu": {mtu}}}]}}"#);
    let felix = felix.to_string();
    node.tables.declared = files(&[("/etc/cni/net.d/10-calico.conflist", &list), ("/var/lib/calico/mtu", &felix)]);
    node
}

fn sized(node: Example, links: &[&str], mtu: u32) -> Example {
    links.iter().fold(node, |node, link| node.with(link, |link| link.mtu = LinkMtu::new(mtu)))
}

/// The reference with a network of this MTU for Kubernetes, and tunnel and pods of that.
fn reference(network: u32, pods: u32) -> Example {
    let node = sized(Example::reference(), &["enp5s0", "vmbr1"], network);
    calico(sized(node, &["vxlan.calico", PODS[0], PODS[1]], pods), 0, pods)
}

fn judge(node: &Example) -> Judgement<Evidence> {
    CalicoMtuAutodetectedWrong::judge(&node.snapshot()).unwrap()
}

fn quiet(node: &Example) {
    let judgement = judge(node);
    assert!(judgement.raised.is_empty() && judgement.unread.is_empty(), "{judgement:?}");
}

fn told(node: &Example) -> (Evidence, String) {
    let judgement = judge(node);
    let [raised] = <[_; 1]>::try_from(judgement.raised).unwrap_or_else(|all| panic!("{all:?} {:?}", judgement.unread));
    assert_eq!(raised.severity, Severity::Warning);
    let summary = CalicoMtuAutodetectedWrong::summary(&raised.subject, &raised.evidence);
    (raised.evidence, summary)
}

fn loud(node: &Example) -> Vec<String> {
    let node = node.snapshot();
    let looked = judge_all(&node, Work::Agent).into_iter().filter_map(|outcome| outcome.result.ok());
    let raised = looked.flat_map(|looked| looked.raised);
    let mut standing: Vec<_> =
        raised.map(|candidate| Standing { candidate, since: jiff::Timestamp::UNIX_EPOCH }).collect();
    let causes = silence::apply(&mut standing, &node);
    let loud = standing.iter().zip(causes).filter(|(_, cause)| cause.is_none());
    loud.map(|(one, _)| {
        let candidate = &one.candidate;
        format!("{} {} {:?}", candidate.entry.code, candidate.subject, candidate.severity)
    })
    .collect()
}

#[test]
fn a_management_nic_decides_over_a_jumbo_network() {
    let node = reference(9000, 1450);
    let (evidence, summary) = told(&node);
    assert_eq!((evidence.because, evidence.right), (Because::AnotherLink, IpSize::new(8950)));
    assert_eq!(
        summary,
        "Calico found 1450 B for pods, which is too small: it went by enp4s0 (1500 B - 50), where vmbr1 carries the \
         packets with 9000 B. 8950 B is right; as it is, each packet carries less than it could."
    );
    assert_eq!(loud(&node), ["calico-mtu-autodetected-wrong vxlan.calico Warning"]);
}

#[test]
fn the_same_links_with_one_mtu_are_right() {
    quiet(&reference(1500, 1450));
    quiet(&reference(9000, 8950)); // What somebody made of it by another pattern.
}

#[test]
fn a_management_nic_that_is_smaller_by_less_than_two_headers_differ_is_no_loss() {
    quiet(&sized(reference(1500, 1430), &["enp4s0"], 1480));
    assert_eq!(told(&sized(reference(1500, 1429), &["enp4s0"], 1479)).0.right, IpSize::new(1450));
}

#[test]
fn a_smaller_bridge_is_not_seen_and_one_byte_too_much_is_told() {
    let node = |bridge| {
        let node = sized(reference(1500, 1450), &["vmbr1"], bridge);
        sized(node, &["vxlan.calico"], bridge - 50)
    };
    let (evidence, summary) = told(&node(1499));
    assert_eq!((evidence.because, evidence.right), (Because::NotSeen, IpSize::new(1449)));
    assert!(summary.contains(
        "which is too large: it went by enp4s0 and enp5s0 (1500 B - 50) and did not see vmbr1, which carries"
    ));
    assert!(summary.ends_with("1449 B is right; as it is, full packets do not fit."), "{summary}");
    quiet(&node(1500));
}

#[test]
fn what_is_too_large_explains_pods_and_tunnel_and_is_as_bad_as_they_are() {
    let node = sized(sized(reference(1500, 1450), &["vmbr1"], 1400), &["vxlan.calico"], 1350);
    assert_eq!(loud(&node), ["calico-mtu-autodetected-wrong vxlan.calico Warning"]);
    let hole = node.clone().verdict("master-2", Plane::Overlay, black_hole(1300));
    assert!(
        loud(&hole).contains(&"calico-mtu-autodetected-wrong vxlan.calico Critical".to_owned()),
        "{:?}",
        loud(&hole)
    );
    let larger = sized(node, &PODS[..1], 1500);
    assert!(loud(&larger).iter().any(|one| one.starts_with("pod-mtu-too-large")), "Calico never gave 1500");
}

/// A node whose network is a bond called so, over NICs whose names are not a NIC's to Felix.
fn bonded(mtu: u32, nic: &str) -> Example {
    Example::empty()
        .device(nic, "device", mtu)
        .device("bond0", "bond", mtu)
        .port(nic, "bond0")
        .address("bond0", "10.0.0.11", 24)
        .vxlan("vxlan.calico", 1410, Some("bond0"), "10.0.0.11")
        .address("vxlan.calico", "10.244.1.0", 32)
        .pod(PODS[0], 1410, "10.244.1.2")
        .peer("b", "bond0", "10.0.0.12")
        .behind_tunnel("b", "vxlan.calico", "10.244.2.0", &["10.244.2.2"])
}

#[test]
fn without_a_nic_it_falls_back() {
    let (evidence, summary) = told(&calico(bonded(1500, "p1p1"), 0, 1410));
    assert_eq!((evidence.because, evidence.decided_by.len()), (Because::NoNic, 0));
    assert!(summary.contains("no link is called like a NIC, so it took 1460 B - 50, where"), "{summary}");
    quiet(&calico(bonded(1460, "p1p1"), 0, 1410)); // A cloud that has just that.
    quiet(&calico(bonded(1460, "ens4"), 0, 1410));
    assert_eq!(told(&calico(bonded(1400, "p1p1"), 0, 1410)).0.right, IpSize::new(1350));
}

#[test]
fn a_number_that_no_rule_makes_of_the_links_is_somebodys() {
    quiet(&reference(9000, 1400));
    quiet(&reference(9000, 1451));
    quiet(&calico(reference(9000, 1450), 1450, 1450)); // The file names it.
    quiet(&calico(reference(9000, 1450), 1400, 1450));
    let mut other = reference(9000, 1450);
    other.tables.declared = files(&[
        ("/etc/cni/net.d/10-flannel.conflist", r#"{"name": "a", "plugins": [{"type": "flannel"}]}"#),
        ("/var/lib/calico/mtu", "1450"),
    ]);
    quiet(&other);
    let mut none = reference(9000, 1450);
    none.tables.declared = Files::parse(&RawHost::nothing());
    quiet(&none);
}

#[test]
fn an_older_version_counted_links_that_are_down() {
    let down = reference(9000, 1450).with("enp4s0", |link| (link.up, link.carrier) = (false, None));
    assert_eq!(told(&down).0.decided_by, ["enp4s0"]);
}

#[test]
fn what_the_paths_do_not_carry_is_not_given_away() {
    let small = reference(9000, 1450).verdict("master-2", Plane::Underlay, limited(1500, Some("10.0.0.1")));
    quiet(&small);
    let silent = reference(9000, 1450).verdict("master-2", Plane::Underlay, silent());
    let judgement = judge(&silent);
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1), "that path may be the reason");
    quiet(&reference(9000, 1450).alone());
}

#[test]
fn what_the_operator_means_is_not_too_small() {
    let judged = |overlay| {
        let mut node = reference(9000, 1450).snapshot();
        node.expect.overlay_mtu = Some(IpSize::new(overlay));
        CalicoMtuAutodetectedWrong::judge(&node).unwrap().raised.len()
    };
    assert_eq!([judged(1450), judged(8950)], [0, 1]);
}

#[test]
fn of_several_tunnels_the_largest_overhead_counts() {
    let two = |felix| {
        let mut node = sized(Example::two_tunnels(), &["enp5s0", "vmbr1"], 9000).device("enp4s0", "device", 1500);
        node = node.pod(PODS[0], 1430, "10.244.1.2");
        calico(node, 0, felix)
    };
    let (evidence, _) = told(&two(1430));
    assert_eq!((evidence.overhead, evidence.right), (70, IpSize::new(8930)));
    assert_eq!(evidence.tunnels, ["vxlan-v6.calico", "vxlan.calico"]);
    quiet(&two(1450));
}

/// A node whose bond of this MTU leads to its peer, without a tunnel.
fn direct(nic: u32, felix: u32) -> Example {
    let node = Example::empty()
        .device("eth0", "device", 1500)
        .device("bond0", "bond", nic)
        .address("bond0", "10.9.0.1", 24)
        .pod(PODS[0], 1500, "10.244.1.2")
        .peer("b", "bond0", "10.9.0.2");
    calico(node, 0, felix)
}

#[test]
fn without_a_tunnel_pods_have_what_the_nic_has() {
    let node = direct(9000, 1500);
    assert_eq!(judge(&node).raised[0].subject, Subject::Pods);
    assert_eq!((told(&node).0.overhead, told(&node).0.right), (0, IpSize::new(9000)));
    assert!(told(&node).1.contains("it went by eth0 (1500 B), where bond0"), "{}", told(&node).1);
    quiet(&direct(1500, 1500));
    assert_eq!(told(&direct(1400, 1500)).0.because, Because::NotSeen);
}

#[test]
fn a_link_below_that_is_down_is_another_codes_matter() {
    let down = reference(9000, 1450).with("vmbr1", |link| (link.up, link.carrier) = (false, None));
    let judgement = judge(&down);
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
    assert!(judgement.unread[0].1.to_string().contains("vmbr1 is down"));
}

#[test]
fn files_that_could_not_be_read_are_not_concluded() {
    let mut hidden = reference(9000, 1450);
    let why = Unread::new(Source::HostFiles, Reason::NotYet);
    hidden.tables.declared = Files::parse(&RawHost::unread(why.clone()));
    assert_eq!(CalicoMtuAutodetectedWrong::judge(&hidden.snapshot()).unwrap_err(), why);
    hidden.tables.declared.cni = crate::fact::Fact::Absent;
    quiet(&hidden); // No file of Calico's: nobody asks what Felix found.
}

/// Could fail by the routes that are known: without the one that is not, another link takes least.
#[test]
fn without_a_tunnel_a_route_to_a_peer_that_is_not_known_leaves_it_open() {
    use crate::fact::Fact;
    let mut node = direct(9000, 1500).snapshot();
    let way = node.peers[0].underlay.v4.expect("a peer");
    node.lookups.insert(way.into(), Fact::Unread(Unread::new(Source::Lookup, Reason::NotYet)));
    let judgement = CalicoMtuAutodetectedWrong::judge(&node).unwrap();
    assert!(judgement.raised.is_empty());
    let [(subject, why)] = judgement.unread.as_slice() else { panic!("{judgement:?}") };
    assert!(*subject == Subject::Pods && why.to_string().contains("a route to a peer is not known"), "{why}");
}

/// Could fail by one byte at what the headers of both families differ by.
#[test]
fn what_is_given_away_is_more_than_a_headers_difference() {
    quiet(&reference(1520, 1450));
    assert_eq!(told(&reference(1521, 1450)).0.right, IpSize::new(1471));
    let carries = |mtu| reference(9000, 1450).verdict("master-2", Plane::Underlay, limited(mtu, Some("10.0.0.1")));
    quiet(&carries(1520));
    assert_eq!(told(&carries(1521)).0.right, IpSize::new(8950));
}

#[test]
fn a_gateway_that_stands_in_for_a_peer_tells_no_link() {
    let mut node = direct(9000, 1500);
    node.peers[0].gateway = true;
    quiet(&node);
}
