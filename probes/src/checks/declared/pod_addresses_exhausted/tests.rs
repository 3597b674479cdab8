use super::*;
use crate::declared::ranges::Range;
use crate::fact::{Fact, Reason, Source};
use crate::snapshot::example::{Example, failed, no_admin};

fn pool(subnets: &[&str], given: impl Iterator<Item = u32>) -> Pool {
    let set = |subnet: &&str| RangeSet::new(vec![Range::subnet(subnet).unwrap()]).unwrap();
    let base = u32::from(std::net::Ipv4Addr::new(10, 42, 0, 0));
    Pool {
        config: "/etc/cni/net.d/10-flannel.conflist".into(),
        written: "/run/flannel/subnet.env".into(),
        folder: "/var/lib/cni/networks/cbr0".into(),
        sets: subnets.iter().map(set).collect(),
        given: given.map(|host| std::net::Ipv4Addr::from(base + host).into()).collect(),
        by_veth: true,
    }
}

/// A Flannel node that gave so many addresses away; its only pod has 10.42.0.2.
fn gave(subnet: &str, given: u32) -> Example {
    with(pool(&[subnet], 2..2 + given))
}

fn with(pool: Pool) -> Example {
    let pod = IpAddr::from([10, 42, 0, 2]);
    // The node is a container itself: what its own NIC ends in is no pod's, and says nothing of its addresses.
    let mut node = Example::flannel().end("veth0a1b2c3d", |end| end.addresses = vec![pod]);
    node.tables.declared.addresses = Fact::Known(Ipam::HostLocal(pool));
    node
}

fn raised(node: &Example) -> Option<(Severity, Evidence)> {
    let mut judgement = PodAddressesExhausted::judge(&node.snapshot()).unwrap();
    assert!(judgement.unread.is_empty() && judgement.raised.len() < 2);
    judgement.raised.pop().map(|raised| (raised.severity, raised.evidence))
}

fn level(node: &Example) -> Option<Severity> {
    raised(node).map(|(severity, _)| severity)
}

#[test]
fn none_left_is_critical_and_few_left_is_a_warning() {
    assert_eq!(level(&gave("10.42.0.0/24", 253)), Some(Severity::Critical));
    assert_eq!(level(&gave("10.42.0.0/24", 252)), Some(Severity::Warning));
    assert_eq!(level(&gave("10.42.0.0/24", 237)), Some(Severity::Warning), "16 left");
    assert_eq!(level(&gave("10.42.0.0/24", 236)), None, "17 left");
    assert_eq!(level(&gave("10.42.0.0/24", 0)), None);
}

#[test]
fn a_tiny_range_is_told_by_its_last_address_alone_and_a_large_one_not_by_its_tenth() {
    let levels =
        |subnet: &str, given: &[u32]| given.iter().map(|&given| level(&gave(subnet, given))).collect::<Vec<_>>();
    assert_eq!(levels("10.42.0.0/29", &[4, 5]), [None, Some(Severity::Critical)]);
    assert_eq!(levels("10.42.0.0/28", &[11, 12, 13]), [None, Some(Severity::Warning), Some(Severity::Critical)]);
    assert_eq!(levels("10.42.0.0/20", &[3_900, 4_077]), [None, Some(Severity::Warning)]);
}

#[test]
fn an_ipv6_range_is_never_used_up_and_of_two_the_tighter_is_told() {
    let mut pool = pool(&["10.42.0.0/28", "fd00:42::/64"], 2..14);
    let six = (2..3_000).map(|host| IpAddr::from(std::net::Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, host)));
    pool.given.extend(six);
    let node = with(pool.clone());
    let (severity, evidence) = raised(&node).unwrap();
    assert_eq!((severity, evidence.family, evidence.free), (Severity::Warning, Family::Ipv4, 1));
    pool.sets.remove(0);
    assert_eq!(level(&with(pool)), None);
}

#[test]
fn what_lies_in_the_folder_and_not_in_the_range_is_none_of_it() {
    assert_eq!(level(&with(pool(&["10.42.0.0/28"], 16..600))), None, "of a range that was");
    assert_eq!(level(&with(pool(&["10.42.0.0/28"], 0..14))), Some(Severity::Warning), "the network and the gateway");
}

#[test]
fn what_no_pod_has_is_left_over() {
    let (_, evidence) = raised(&gave("10.42.0.0/28", 13)).unwrap();
    assert_eq!((evidence.in_use, evidence.left_over, evidence.unused.len()), (Some(1), Some(12), EXAMPLES));
    assert!(!evidence.unused.contains(&IpAddr::from([10, 42, 0, 2])));
    let summary = PodAddressesExhausted::summary(&Subject::Pods, &evidence);
    assert_eq!(
        summary,
        "All 13 addresses of 10.42.0.0/28 are given away: no further pod starts here. 12 of them belong to no pod that is \
         here."
    );
}

#[test]
fn a_pod_whose_address_was_not_read_may_have_any_and_without_a_look_nothing_is_left_over() {
    let silent = gave("10.42.0.0/28", 13).end("veth0a1b2c3d", |end| end.addresses.clear());
    let (_, evidence) = raised(&silent).unwrap();
    assert_eq!((evidence.left_over, evidence.unused), (Some(12), Vec::new()));
    let mut blind = gave("10.42.0.0/28", 13);
    blind.tables.pod_ends = Fact::Unread(no_admin());
    assert_eq!(
        raised(&blind).map(|(severity, evidence)| (severity, evidence.left_over)),
        Some((Severity::Critical, None))
    );
    let mut by_macvlan = pool(&["10.42.0.0/28"], 2..15);
    by_macvlan.by_veth = false;
    assert_eq!(raised(&with(by_macvlan)).unwrap().1.left_over, None);
}

#[test]
fn an_address_with_a_route_of_its_own_is_in_use() {
    let routed = gave("10.42.0.0/28", 13).route("10.42.0.3", 32, None, "veth0a1b2c3d");
    assert_eq!(raised(&routed).unwrap().1.left_over, Some(11));
    let elsewhere = gave("10.42.0.0/28", 13).route("10.42.0.3", 32, Some("10.0.0.12"), "eth0");
    assert_eq!(raised(&elsewhere).unwrap().1.left_over, Some(12), "by a gateway, so nobody's here");
}

/// Could fail by the order of the sets: a pod takes one of each, so the tightest decides.
#[test]
fn of_two_that_are_nearly_used_up_the_tighter_is_told() {
    let given = || (2..254).chain(258..508);
    for subnets in [["10.42.0.0/24", "10.42.1.0/24"], ["10.42.1.0/24", "10.42.0.0/24"]] {
        let (severity, evidence) = raised(&with(pool(&subnets, given()))).unwrap();
        assert_eq!((severity, evidence.free, evidence.ranges), (Severity::Warning, 1, vec!["10.42.0.0/24".into()]));
    }
}

#[test]
fn what_is_left_is_said_in_numbers() {
    let said = |given| {
        let (_, evidence) = raised(&gave("10.42.0.0/28", given)).unwrap();
        PodAddressesExhausted::summary(&Subject::Pods, &Evidence { left_over: Some(0), ..evidence })
    };
    assert_eq!(
        said(12),
        "12 of the 13 addresses of 10.42.0.0/28 are given away: 1 more pod can start here, and none after that."
    );
}

/// The reference node with blocks of 4 addresses, in use up to so many of the last; so many pods are elsewhere.
fn calico(blocks: u8, used: u8, elsewhere: u8) -> Example {
    let mut node = Example::reference();
    node.tables.declared.addresses = Fact::Known(Ipam::Calico);
    for block in 0..blocks {
        node = node.block(&format!("10.99.{block}.0"), 30);
        let used = if block + 1 == blocks { used } else { 4 };
        for host in 0..used {
            node = node.route(&format!("10.99.{block}.{host}"), 32, None, "vmbr0");
        }
    }
    node = without_pods(node);
    for pod in 0..elsewhere {
        node = node.pod(&format!("cali00000000{pod:03}"), 1450, &format!("10.98.0.{pod}"));
    }
    node
}

/// The two pods of the reference have addresses of no block.
fn without_pods(mut node: Example) -> Example {
    let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
    routes.retain(|route| !(route.prefix == 32 && route.destination.to_string().starts_with("10.244.1.")));
    node
}

#[test]
fn a_full_block_and_a_pod_from_elsewhere_are_a_sign_together_and_neither_alone() {
    let (severity, evidence) = raised(&calico(2, 4, 1)).unwrap();
    assert_eq!((severity, evidence.size, evidence.free, evidence.borrowed), (Severity::Warning, 8, 0, Some(1)));
    assert_eq!(
        PodAddressesExhausted::summary(&Subject::Pods, &evidence),
        "All 8 addresses of this node's blocks (10.99.0.0/30 and 10.99.1.0/30) are in use, and 1 pod has one from \
         elsewhere: Calico's pool seems to have no block left for this node."
    );
    assert_eq!(level(&calico(2, 3, 1)), None, "one is left");
    assert_eq!(level(&calico(2, 4, 0)), None, "the next pod brings another block");
    assert_eq!(level(&calico(0, 0, 1)), None, "no block at all");
}

#[test]
fn at_the_most_blocks_nearly_full_is_enough_and_beyond_nothing_is_known() {
    let most = u8::try_from(MOST_BLOCKS).unwrap();
    assert_eq!(level(&calico(most, 4, 0)), Some(Severity::Warning));
    assert_eq!(level(&calico(most, 0, 0)), Some(Severity::Warning), "4 of 80 are left");
    assert_eq!(level(&calico(most - 1, 4, 0)), None);
    assert_eq!(level(&calico(most + 1, 4, 0)), None, "it was configured");
    let (_, evidence) = raised(&calico(most, 3, 0)).unwrap();
    let summary = PodAddressesExhausted::summary(&Subject::Pods, &evidence);
    assert!(summary.starts_with("79 of the 80 addresses of this node's 20 blocks are in use"), "{summary}");
    let fix = Fix::Addresses(AddressesFault::Blocks { most: Some(MOST_BLOCKS) });
    assert_eq!(PodAddressesExhausted::fixes(&Subject::Pods, &evidence), [fix]);
}

#[test]
fn blocks_speak_for_themselves_where_the_file_was_not_read() {
    let unread = |mut node: Example, why: Fact<Ipam>| {
        node.tables.declared.addresses = why;
        PodAddressesExhausted::judge(&node.snapshot()).map(|judgement| judgement.raised.len())
    };
    let why = || Unread::new(Source::HostFiles, Reason::NotYet);
    assert_eq!(unread(calico(2, 4, 1), Fact::Unread(why())), Ok(1));
    assert_eq!(unread(calico(2, 4, 1), Fact::Absent), Ok(1), "the file is elsewhere: k3s, RKE2");
    assert_eq!(unread(calico(2, 3, 1), Fact::Unread(why())), Ok(0));
    assert_eq!(unread(Example::flannel(), Fact::Unread(why())), Err(why()), "no block says nothing");
    assert_eq!(unread(Example::flannel(), Fact::Absent), Ok(0), "no Kubernetes, or none that says where");
    assert_eq!(unread(Example::flannel(), Fact::Known(Ipam::Elsewhere)), Ok(0), "nothing here to count");
    let mut blind = calico(2, 4, 1);
    blind.tables.routes = Fact::Unread(failed(Source::Routes));
    assert_eq!(unread(blind, Fact::Known(Ipam::Calico)), Err(failed(Source::Routes)));
}
