use super::*;
use crate::path::Plane;

fn exchange(ended: Ended, arrived: u32) -> Exchange {
    Exchange { ended, arrived, kernel: Some(Kernel { segment: 1398, acknowledged: 170, ..Kernel::default() }) }
}

fn answered(arrived: u32) -> Exchange {
    exchange(Ended::Answered { status: 200 }, arrived)
}

/// Stands still with so many segments that nobody acknowledges.
fn still(arrived: u32, unacknowledged: u32) -> Exchange {
    let kernel = Kernel { unacknowledged, retransmits: unacknowledged, segment: 1398, ..Kernel::default() };
    Exchange { kernel: Some(kernel), ..exchange(Ended::Stalled, arrived) }
}

fn moved(from_peer: Exchange, to_peer: Exchange) -> Outcome {
    conclude(Seen { bulk: Some(Bulk { from_peer, to_peer }), ..seen(answered(0), None) })
}

fn conclude(seen: Seen) -> Outcome {
    let key = PathKey { peer: "n2".into(), plane: Plane::Overlay, address: [10, 244, 2, 0].into() };
    Transferred { transfer: Transfer { key, port: 9747, node: None }, seen }.conclude()
}

fn small(ended: Ended, node_answers: Option<bool>) -> Outcome {
    conclude(seen(exchange(ended, 0), node_answers))
}

fn seen(small: Exchange, node_answers: Option<bool>) -> Seen {
    Seen { small, node_answers, bulk: None, spoilt: Some(0) }
}

fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unknown { why } => why,
        other => panic!("concluded: {other:?}"),
    }
}

fn direction(outcome: &Outcome) -> Option<Direction> {
    match outcome {
        Outcome::Stalled(stall) => Some(stall.direction),
        Outcome::Passed | Outcome::Unknown { .. } => None,
    }
}

#[test]
fn what_arrives_both_ways_has_passed() {
    assert_eq!(moved(answered(BYTES), answered(BYTES)), Outcome::Passed);
}

#[test]
fn a_stall_is_told_by_its_direction() {
    let whole = || answered(BYTES);
    assert_eq!(direction(&moved(still(0, 0), whole())), Some(Direction::FromPeer));
    assert_eq!(direction(&moved(whole(), still(0, 9))), Some(Direction::ToPeer));
    assert_eq!(direction(&moved(still(1398, 0), still(0, 9))), Some(Direction::Both));
    assert_eq!(direction(&moved(still(0, 1), still(0, 9))), Some(Direction::ToPeer), "not even the request arrived");
}

#[test]
fn a_stall_carries_what_the_kernel_knew() {
    let Outcome::Stalled(stall) = moved(still(2796, 0), still(0, 10)) else { panic!("a stall") };
    assert_eq!((stall.from_peer, stall.to_peer, stall.retransmits), (2796, Some(0), Some(10)));
    assert_eq!((stall.segment, stall.stage), (Some(1398), Stage::Moving));
}

#[test]
fn an_agent_that_hangs_is_no_stall_of_the_network() {
    let shut = Exchange { kernel: Some(Kernel { unsent: 40_000, ..Kernel::default() }), ..exchange(Ended::Stalled, 0) };
    assert!(why(moved(answered(BYTES), shut)).contains("hangs"));
    assert!(why(moved(answered(BYTES), still(0, 0))).contains("never answered"));
    let blind = Exchange { kernel: None, ..still(0, 9) };
    assert!(matches!(moved(answered(BYTES), blind), Outcome::Unknown { .. }), "without a witness nothing is said");
}

#[test]
fn a_direction_that_could_not_be_tried_does_not_hide_the_other() {
    for other in [Ended::Answered { status: 429 }, Ended::Silent, Ended::Broken { why: "reset".into() }] {
        assert_eq!(direction(&moved(exchange(other.clone(), 0), still(0, 4))), Some(Direction::ToPeer));
        assert_eq!(direction(&moved(still(0, 0), exchange(other.clone(), 0))), Some(Direction::FromPeer));
        assert!(!why(moved(exchange(other, 0), answered(BYTES))).is_empty());
    }
}

#[test]
fn an_answer_that_is_short_is_no_proof_of_anything() {
    assert!(why(moved(answered(1000), answered(BYTES))).contains("1000 of 65536 bytes"));
    assert!(why(moved(answered(BYTES), answered(BYTES - 1))).starts_with("the transfer to it"));
}

#[test]
fn an_agent_that_is_not_there_or_says_no_is_no_finding_and_says_why() {
    for (ended, says) in [
        (Ended::Silent, "no agent runs there, or a filter"),
        (Ended::Refused, "nobody listens"),
        (Ended::NotConnected { why: "EHOSTUNREACH".into() }, "EHOSTUNREACH"),
        (Ended::Answered { status: 403 }, "does not know this node"),
        (Ended::Answered { status: 404 }, "older"),
        (Ended::Answered { status: 429 }, "too many"),
        (Ended::Answered { status: 503 }, "only just started"),
        (Ended::Answered { status: 418 }, "418"),
        (Ended::Broken { why: "no HTTP".into() }, "no HTTP"),
        (Ended::Stalled, "hangs"),
        (Ended::Answered { status: 200 }, "200"),
    ] {
        let told = why(small(ended.clone(), None));
        assert!(told.contains(says), "{ended:?}: {told}");
    }
}

#[test]
fn where_nothing_of_tcp_comes_back_a_filter_cannot_be_told_from_the_tunnel() {
    let told = why(small(Ended::Silent, Some(true)));
    assert!(told.contains("filtered there, or this node's tunnel spoils"), "{told}");
    assert!(why(small(Ended::Silent, Some(false))).contains("no agent runs there"));
}

#[test]
fn a_handshake_with_nothing_after_it_is_a_stall() {
    let Outcome::Stalled(stall) = conclude(seen(still(0, 1), None)) else { panic!("a stall") };
    assert_eq!((stall.direction, stall.stage), (Direction::ToPeer, Stage::Asking));
}

#[test]
fn answers_that_come_in_spoilt_are_no_filter() {
    let with = |spoilt, ended| conclude(Seen { spoilt, ..seen(exchange(ended, 0), Some(true)) });
    let Outcome::Stalled(stall) = with(Some(2), Ended::Silent) else { panic!("a stall") };
    assert_eq!((stall.direction, stall.stage, stall.spoilt), (Direction::FromPeer, Stage::Connecting, Some(2)));
    for (spoilt, ended) in [(Some(1), Ended::Silent), (None, Ended::Silent), (Some(9), Ended::Refused)] {
        assert!(matches!(with(spoilt, ended.clone()), Outcome::Unknown { .. }), "{spoilt:?} {ended:?}");
    }
}
