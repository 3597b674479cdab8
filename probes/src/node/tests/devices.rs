//! When drivers are asked what they do, and about which links.

use super::*;
use crate::kernel::golden::{CALI1, ENP5S0, VMBR1, VXLAN_CALICO};

/// A node on which the agent listens, after its first round.
fn clean() -> World {
    let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
    world.round();
    world
}

fn told_of(world: &mut World, link: LinkIndex) {
    let dump = golden::links();
    let message = dump.into_iter().find(|raw| kernel::link::told_of(raw) == Some(link)).unwrap();
    world.node.on(Input::Changed(vec![message]), at(world.time));
}

#[test]
fn nics_and_tunnels_are_asked_about_once_and_pods_never() {
    let mut world = clean();
    let asked = world.asked_devices[0].clone();
    assert!(asked.contains(&ENP5S0) && asked.contains(&VXLAN_CALICO), "{asked:?}");
    assert!(!asked.contains(&CALI1) && !asked.contains(&VMBR1), "{asked:?}");
    (0..5).for_each(|_| drop(world.round()));
    assert_eq!(world.asked_devices.len(), 1, "nothing has changed");
    let (took, whole) = world.round().telemetry.sources[&Source::Ethtool];
    assert!(whole && took == Duration::from_millis(1), "a VXLAN device without queues is no failure");
}

#[test]
fn they_are_asked_again_with_the_next_round_when_the_kernel_tells_of_one() {
    let mut world = clean();
    let round = world.time;
    // A feature that is switched is told like this, and nothing else of the link is different.
    told_of(&mut world, VXLAN_CALICO);
    world.round();
    assert_eq!(world.asked_devices.len(), 2);
    assert!(world.time - round > Duration::from_secs(20), "it is worth no round of its own");
    told_of(&mut world, CALI1);
    world.round();
    assert_eq!(world.asked_devices.len(), 2, "a pod's link is nobody's business");
    world.node.on(Input::Overrun, at(world.time));
    world.round();
    assert_eq!(world.asked_devices.len(), 3, "something was told that nobody heard");
}

#[test]
fn what_the_kernel_does_not_tell_of_is_asked_at_a_slow_pace() {
    let mut world = clean();
    let first = world.time;
    while world.asked_devices.len() < 2 {
        world.round();
    }
    let pause = world.time - first;
    assert!(pause >= Duration::from_secs(570) && pause <= Duration::from_secs(640), "{pause:?}");
}

#[test]
fn an_answer_that_differs_is_judged_without_waiting_for_the_next_round() {
    let mut world = clean();
    let (readings, before) = (world.readings, world.time);
    world.node.on(Input::Devices(Box::new(devices(&[VXLAN_CALICO]))), at(world.time));
    world.round();
    assert_eq!(world.readings, readings + 1);
    assert!(world.time - before < Duration::from_secs(2));
    assert_eq!(world.asked_devices.len(), 1, "a look that an answer caused asks no more");
}
