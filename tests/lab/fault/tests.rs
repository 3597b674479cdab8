//! How faults read, and where they are played.

use super::*;
use crate::recipe::{CHAIN, FOUR_WAYS, JUMBO, PLAIN, REFERENCE, ROUTED};

#[derive(Deserialize)]
struct Faults {
    fault: Vec<Fault>,
}

pub(super) fn read(text: &str) -> Fault {
    toml::from_str::<Faults>(&format!("fault = [ {text} ]")).unwrap().fault.remove(0)
}

#[test]
fn reads_as_an_operator_writes_it() {
    assert_eq!(read("{ link_down = { link = 'nic' } }"), Fault::LinkDown { node: 0, link: Role::Nic });
    assert_eq!(read("{ port_down = { node = 1 } }"), Fault::PortDown { node: 1 });
    assert_eq!(read("{ drop_frag_needed = {} }"), Fault::DropFragNeeded {});
    let (after, way, manner) = (2, Way::Back, Manner::Muted);
    let narrow = Fault::NarrowHop { after, bytes: 1400.into(), way, manner };
    assert_eq!(read("{ narrow_hop = { after = 2, bytes = '1400', way = 'back', manner = 'muted' } }"), narrow);
    assert_eq!(read("{ drop_time_exceeded = {} }"), Fault::DropTimeExceeded { router: None });
    let loss = Fault::Loss { node: 1, percent: 5, way: Way::Both, of: Traffic::All };
    assert_eq!(read("{ loss = { node = 1, percent = 5 } }"), loss);
}

#[test]
fn is_played_only_where_its_things_are() {
    let fits = |text: &str| [REFERENCE, ROUTED, JUMBO, PLAIN].map(|recipe| read(text).fits(&recipe));
    assert_eq!(fits("{ unplug = { link = 'nic' } }"), [true, false, true, false]);
    assert_eq!(fits("{ unplug = { link = 'pod' } }"), [false, true, false, false]);
    assert_eq!(fits("{ link_down = { link = 'bridge' } }"), [true, false, true, false]);
    assert_eq!(fits("{ hop_mtu = { bytes = 'underlay - 1' } }"), [false, true, false, true]);
    assert_eq!(fits("{ mtu = { link = 'nic', bytes = 'tunnel' } }"), [true, true, true, false]);
    assert_eq!(fits("{ sysctl = { key = 'net/ipv4/conf/{tunnel}/x', value = '1' } }"), [true, true, true, false]);
}

#[test]
fn a_wire_is_narrowed_only_where_one_follows_a_router() {
    let fits = |text: &str| [REFERENCE, ROUTED, CHAIN, FOUR_WAYS].map(|recipe| read(text).fits(&recipe));
    assert_eq!(fits("{ narrow_hop = { after = 1, bytes = 'underlay - 1' } }"), [false, true, true, false]);
    assert_eq!(fits("{ narrow_hop = { after = 3, bytes = '1400' } }"), [false, false, true, true]);
    assert_eq!(fits("{ drop_hop = { after = 5 } }"), [false, false, false, true]);
    assert_eq!(fits("{ drop_time_exceeded = { router = 4 } }"), [false, false, true, true]);
    assert_eq!(fits("{ drop_time_exceeded = {} }"), [false, true, true, true]);
    assert_eq!(fits("{ stall_transfers = { node = 1, than = '1000' } }"), [true, true, false, true]);
}

#[test]
fn what_one_fault_is_made_of_may_be_several_steps() {
    let has_steps = |text: &str| read(text).has_steps();
    assert!(has_steps("{ mtu = { link = 'pod', bytes = '1400' } }"), "one end of a veth after the other");
    assert!(
        !has_steps("{ mtu = { link = 'nic', bytes = '1400' } }") && !has_steps("{ pod_end_mtu = { bytes = '1400' } }")
    );
    assert!(has_steps("{ narrow_hop = { after = 1, bytes = '1400', manner = 'muted' } }"));
    assert!(!has_steps("{ narrow_hop = { after = 1, bytes = '1400', manner = 'lost' } }"));
}

#[test]
fn a_misspelt_fault_is_refused() {
    let error = toml::from_str::<Faults>("fault = [{ link_dwon = {} }]").err().unwrap().to_string();
    assert!(error.contains("link_dwon") && error.contains("link_down"), "{error}");
}
