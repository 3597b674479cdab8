use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn one(node: &str, vantage: Vantage, addresses: &[&str]) -> Endpoint {
    let addresses = addresses.iter().map(|address| ip(address)).collect();
    Endpoint { node: node.into(), vantage, addresses, zone: None, ready: true }
}

fn agent(node: &str, addresses: &[&str]) -> Endpoint {
    one(node, Vantage::Node, addresses)
}

fn twin(node: &str, addresses: &[&str]) -> Endpoint {
    one(node, Vantage::Pod, addresses)
}

fn unready(endpoint: Endpoint) -> Endpoint {
    Endpoint { ready: false, ..endpoint }
}

/// Name, node addresses, twin's addresses.
fn rows(cards: &Cards) -> Vec<String> {
    let list = |addresses: Dual| addresses.into_iter().map(|address| address.to_string()).collect::<Vec<_>>().join(" ");
    let row = |card: &Card| format!("{} [{}] [{}]", card.name, list(card.node), list(card.twin));
    cards.all().values().map(row).collect()
}

fn taken(lists: &[&[Endpoint]]) -> Vec<String> {
    let mut cards = Cards::default();
    lists.iter().for_each(|endpoints| cards.take(endpoints));
    rows(&cards)
}

#[test]
fn both_services_and_both_families_make_one_card_of_a_node() {
    let list = [
        twin("b", &["10.244.2.7"]),
        agent("b", &["fd00::12"]),
        agent("a", &["10.0.0.11"]),
        agent("b", &["10.0.0.12"]),
        twin("b", &["fd00:244:2::7"]),
    ];
    assert_eq!(taken(&[&list]), ["a [10.0.0.11] []", "b [10.0.0.12 fd00::12] [10.244.2.7 fd00:244:2::7]"]);
}

#[test]
fn readiness_changes_nothing_but_the_choice_between_two_twins() {
    let list = |ready: bool| {
        let old = Endpoint { ready, ..twin("a", &["10.244.1.9"]) };
        [unready(agent("a", &["10.0.0.11"])), unready(twin("a", &["10.244.1.5"])), old]
    };
    assert_eq!(taken(&[&list(true)]), ["a [10.0.0.11] [10.244.1.9]"]);
    assert_eq!(taken(&[&list(false)]), ["a [10.0.0.11] [10.244.1.5]"], "none is ready: the lower one, not none");
}

#[test]
fn addresses_that_lead_to_no_other_machine_are_left_out_and_with_them_a_node_that_has_no_other() {
    let odd =
        ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "224.0.0.1", "ff02::1", "0.0.0.0", "::", "255.255.255.255"];
    assert_eq!(taken(&[&[agent("a", &odd)]]), [""; 0]);
    let mut all = odd.to_vec();
    all.push("10.0.0.12");
    assert_eq!(taken(&[&[agent("a", &all)]]), ["a [10.0.0.12] []"]);
    assert_eq!(taken(&[&[agent("a", &["::ffff:10.0.0.12"])]]), ["a [10.0.0.12] []"], "one address in another coat");
}

#[test]
fn an_address_that_moved_is_the_new_nodes_and_stays_its() {
    let (old, new) = (agent("b", &["10.0.0.12"]), agent("a", &["10.0.0.12"]));
    let both = [old.clone(), new.clone()];
    for lists in [vec![&both[..1], &both, &both], vec![&both[..1], &both, &both[1..]]] {
        assert_eq!(taken(&lists), ["a [10.0.0.12] []"], "{lists:?}");
    }
    let back = [&both[1..], &both, &both[..]];
    assert_eq!(taken(&back), ["b [10.0.0.12] []"], "to the one that comes later in the alphabet as well");
}

#[test]
fn of_two_that_are_equally_new_one_that_is_ready_has_an_address_and_keeps_it() {
    let list = [unready(agent("a", &["10.0.0.12"])), agent("b", &["10.0.0.12"])];
    assert_eq!(taken(&[&list]), ["b [10.0.0.12] []"]);
    let turned = [agent("a", &["10.0.0.12"]), unready(agent("b", &["10.0.0.12"]))];
    assert_eq!(taken(&[&list, &turned]), ["b [10.0.0.12] []"], "it would flap with readiness");
}

#[test]
fn a_twin_on_the_hosts_network_is_no_pod() {
    assert_eq!(taken(&[&[twin("a", &["10.0.0.11"]), agent("a", &["10.0.0.11"])]]), ["a [10.0.0.11] []"]);
}

#[test]
fn who_is_not_listed_any_more_has_no_card() {
    let list = [agent("a", &["10.0.0.11"]), agent("b", &["10.0.0.12"])];
    assert_eq!(taken(&[&list, &list[..1]]), ["a [10.0.0.11] []"]);
}

#[test]
fn a_name_is_kept_as_far_as_it_can_be_printed() {
    let odd = [agent("no\u{1b}[31m\nde", &["10.0.0.11"]), agent(" \t", &["10.0.0.12"]), agent("", &["10.0.0.13"])];
    assert_eq!(taken(&[&odd]), ["10.0.0.12 [10.0.0.12] []", "10.0.0.13 [10.0.0.13] []", "no[31mde [10.0.0.11] []"]);
    let long = "x".repeat(100_000);
    let mut cards = Cards::default();
    cards.take(&[agent(&long, &["10.0.0.11"])]);
    assert_eq!(cards.all().keys().next().unwrap().len(), LONGEST);
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let address = prop_oneof![(0u8..6).prop_map(|last| IpAddr::from([10, 0, 0, last])), any::<IpAddr>()];
    let vantage = prop_oneof![Just(Vantage::Node), Just(Vantage::Pod)];
    let endpoint = (0u8..5, vantage, prop::collection::vec(address, 0..4), any::<bool>());
    endpoint.prop_map(|(node, vantage, addresses, ready)| Endpoint {
        node: format!("n{node}"),
        vantage,
        addresses,
        zone: None,
        ready,
    })
}

proptest! {
    #[test]
    fn no_address_is_on_two_cards_and_the_same_list_again_changes_nothing(
        lists in prop::collection::vec(prop::collection::vec(any_endpoint(), 0..12), 1..4),
    ) {
        let mut cards = Cards::default();
        for list in &lists {
            cards.take(list);
            let all: Vec<IpAddr> = cards.all().values().flat_map(Card::addresses).collect();
            let distinct: BTreeSet<&IpAddr> = all.iter().collect();
            prop_assert_eq!(distinct.len(), all.len());
            prop_assert!(all.iter().all(leads_elsewhere));
            let before = cards.all().clone();
            cards.take(list);
            prop_assert_eq!(&before, cards.all());
        }
    }
}

#[test]
fn what_is_left_of_a_node_that_another_replaced_is_no_node_until_it_has_an_address_again() {
    let before = [agent("a", &["10.0.0.12"]), twin("a", &["10.244.2.7"])];
    let replaced = [agent("b", &["10.0.0.12"]), twin("a", &["10.244.2.7"])];
    let only_b = ["b [10.0.0.12] []"];
    assert_eq!(taken(&[&before, &replaced]), only_b);
    assert_eq!(taken(&[&before, &replaced, &replaced]), only_b, "not even later");
    let moved = [agent("b", &["10.0.0.12"]), agent("a", &["10.0.0.14"]), twin("a", &["10.244.2.7"])];
    assert_eq!(taken(&[&before, &replaced, &moved]), ["a [10.0.0.14] [10.244.2.7]", "b [10.0.0.12] []"]);
    // Its agent is being replaced: nobody else has its address.
    assert_eq!(taken(&[&before, &before[1..]]), ["a [] [10.244.2.7]"]);
    // It went, and came back without an agent.
    assert_eq!(taken(&[&before, &replaced, &replaced[..1], &replaced[1..]]), ["a [] [10.244.2.7]"]);
}
