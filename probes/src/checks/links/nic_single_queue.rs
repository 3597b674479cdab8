//! A NIC that takes in everything by one queue, on a machine of many processors.
//!
//! Packets of one queue are taken in by one processor, the unwrapping of tunnels with them. When that one is busy,
//! packets are dropped, and nothing else of the machine looks busy. Virtual machines are born like that: QEMU gives a
//! virtio NIC one queue unless it is told how many (Proxmox: `queues=`).
//!
//! It is told from [`MANY`] processors on: one of four is a quarter of the machine, which the pods' own work wants as
//! badly, but from eight on one is an eighth at most, and runs out long before the others do. Counted are the processors
//! of the machine, not a container's share of them: interrupts do not care for that.
//!
//! Only NICs count that packets to peers leave by and that are hardware to the kernel, a virtual machine's included: a
//! veth, a bridge or a tunnel runs on whatever processor sends to it. A driver that has no queues to tell of has one and
//! no say in it, and so has a real NIC whose most is one: nobody can mend that. What is left is a NIC that could have
//! more, and one of virtio, whose most is what the hypervisor gave it.
//!
//! The kernel can spread the packets of one queue over processors by itself (RPS), which only `/sys` of the node's own
//! network namespace tells; a node that does has no reason to heed this, and the text says so.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::Link;
use crate::kernel::ethtool::Channels;
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// From how many processors on it is told.
const MANY: u32 = 8;

/// More queues than this are of no use to a node: each costs memory and an interrupt on its processor.
const ENOUGH: u32 = 16;

/// The bus of NICs that a hypervisor makes up, and gives as many queues as it was told to.
const VIRTIO: &str = "virtio";

/// The rule.
#[derive(Debug)]
pub struct NicSingleQueue;

/// A NIC and the processors that it could keep busy.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The NIC.
    pub link: String,
    /// What it hangs on, as in `virtio`; absent before Linux 5.14, which does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// Queues that receive.
    pub queues: u32,
    /// How many of them it has at most.
    pub most: u32,
    /// Processors of the machine.
    pub processors: u32,
}

impl Check for NicSingleQueue {
    const ENTRY: Entry = Entry {
        code: "nic-single-queue",
        area: Area::Links,
        severities: &[Severity::Info],
        when: &["a machine of 8 processors and more has one queue where it could have several"],
        title: "NIC has one queue on a machine of many processors",
        meaning: "One processor takes in all packets of the cluster's network and unwraps those of the tunnel. Once it is \
                  busy packets get lost, while the machine as a whole looks idle. A node that spreads them over processors \
                  by itself (RPS, `rps_cpus` is not 0) is fine.",
        quiet: "a machine of fewer processors; a real NIC whose most is one; a driver that tells nothing of queues",
        look: &[
            Look {
                run: "ethtool -l NIC",
                see: "`Combined: 1` under `Current hardware settings`, more under `Pre-set maximums`",
            },
            Look {
                run: "cat /sys/class/net/NIC/queues/rx-0/rps_cpus",
                see: "`0`: nothing spreads the packets; anything else: RPS does, and all is well",
            },
            Look {
                run: "grep -e CPU -e NET_RX /proc/softirqs",
                see: "NET_RX of one processor is far above the others'",
            },
        ],
        metrics: &[],
        class: Class::NoThread { why: "no public thread known: it costs speed, and is found by profiling" },
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::None { why: "It bounds speed and breaks nothing." },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        let mut judgement = Judgement::default();
        let is_nic = |link: &&Link| link.kind == "device" && node.topology.role(link.index) == Role::Underlay;
        let mut nics = node.tables.links().iter().filter(is_nic).peekable();
        if nics.peek().is_none() {
            // Nobody asks a machine without one, a container as a rule.
            return Ok(judgement);
        }
        let processors = match node.devices.processors.read()? {
            Some(&processors) if processors >= MANY => processors,
            _ => return Ok(judgement),
        };
        for link in nics {
            let subject = Subject::Link(link.name.clone());
            match node.devices.get(link.index).channels.read().and_then(|channels| has_one(link, channels)) {
                Ok(None) => {}
                Ok(Some(Channels { receiving: queues, most })) => {
                    let (link, bus) = (link.name.clone(), link.bus.clone());
                    judgement.raise(subject, Severity::Info, Evidence { link, bus, queues, most, processors });
                }
                Err(unread) => judgement.unread.push((subject, unread)),
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { link, bus, queues: _, most, processors } = evidence;
        let could = match (most, bus.as_deref()) {
            (1, _) => "the hypervisor gives it no more".into(),
            (most, _) => format!("it could have {most}"),
        };
        format!("{link} takes in all packets by one queue, so by one of {processors} processors; {could}.")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { link, most, processors, .. } = evidence;
        let at_hypervisor = *most == 1;
        let bound = if at_hypervisor { ENOUGH } else { ENOUGH.min(*most) };
        vec![Fix::Queues { link: link.clone(), queues: bound.min(*processors), at_hypervisor }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence { link: "ens19".into(), bus: Some(VIRTIO.into()), queues: 1, most: 1, processors: 16 };
        (Subject::Link("ens19".into()), Severity::Info, evidence)
    }
}

/// The queues of a NIC that has one and could have more.
fn has_one(link: &Link, channels: Option<&Channels>) -> Result<Option<Channels>, Unread> {
    let Some(&channels) = channels.filter(|channels| channels.receiving == 1) else { return Ok(None) };
    match link.bus.as_deref() {
        _ if channels.most > 1 => Ok(Some(channels)),
        Some(VIRTIO) => Ok(Some(channels)),
        Some(_) => Ok(None),
        None => {
            let why =
                format!("{} has one queue at most, and Linux before 5.14 does not tell who made it so", link.name);
            Err(Unread::new(Source::Links, Reason::Unsupported { why }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::kernel::ethtool::{Device, Devices, Features};
    use crate::snapshot::example::{Example, failed};

    /// The reference node, whose `enp5s0` is of virtio, with this many queues of so many, and so many processors.
    fn node(receiving: u32, most: u32, processors: u32) -> Example {
        let node = Example::reference().with("enp5s0", |link| link.bus = Some(VIRTIO.into()));
        let node = node.queues("enp4s0", 1, 1).queues("enp5s0", receiving, most);
        node.processors(processors)
    }

    fn judge(node: &Example) -> Judgement<Evidence> {
        NicSingleQueue::judge(&node.snapshot()).unwrap()
    }

    #[test]
    fn one_queue_on_many_processors_is_told_and_two_are_not() {
        let judgement = judge(&node(1, 1, MANY));
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("enp5s0", Severity::Info));
        assert!(judge(&node(2, 2, MANY)).raised.is_empty());
        assert!(judge(&node(1, 1, MANY - 1)).raised.is_empty());
    }

    #[test]
    fn what_the_driver_has_is_told_here_and_what_it_lacks_at_the_hypervisor() {
        let fixes = |node: &Example| {
            let raised = judge(node).raised.remove(0);
            NicSingleQueue::fixes(&raised.subject, &raised.evidence)
        };
        let fix = |queues, at_hypervisor| vec![Fix::Queues { link: "enp5s0".into(), queues, at_hypervisor }];
        assert_eq!(fixes(&node(1, 1, 8)), fix(8, true));
        assert_eq!(fixes(&node(1, 4, 8)), fix(4, false));
        assert_eq!(fixes(&node(1, 1, 64)), fix(16, true));
    }

    #[test]
    fn hardware_that_has_no_more_is_let_be_and_hardware_that_has_is_not() {
        let real = |most| node(1, most, 8).with("enp5s0", |link| link.bus = Some("pci".into()));
        assert!(judge(&real(1)).raised.is_empty());
        assert_eq!(judge(&real(8)).raised.len(), 1);
    }

    #[test]
    fn a_kernel_that_does_not_tell_the_bus_leaves_it_open() {
        let silent = |most| node(1, most, 8).with("enp5s0", |link| link.bus = None);
        let judgement = judge(&silent(1));
        assert!(judgement.raised.is_empty() && judgement.unread[0].1.to_string().contains("5.14"), "{judgement:?}");
        assert_eq!(judge(&silent(2)).raised.len(), 1, "that it could have more is enough");
    }

    #[test]
    fn a_veth_is_no_nic_and_neither_is_one_that_no_peer_is_reached_by() {
        let veth = node(1, 8, 8).with("enp5s0", |link| link.kind = "veth".into());
        assert!(judge(&veth).raised.is_empty());
        let management = node(2, 2, 8).queues("enp4s0", 1, 8);
        assert!(judge(&management).raised.is_empty());
    }

    #[test]
    fn what_could_not_be_asked_is_not_concluded() {
        let mut unread = node(1, 1, 8);
        let device =
            Device { features: Fact::Known(Features::default()), channels: Fact::Unread(failed(Source::Ethtool)) };
        unread.devices.set(unread.index("enp5s0"), device);
        assert_eq!(judge(&unread).unread, [(Subject::Link("enp5s0".into()), failed(Source::Ethtool))]);
        let mut early = node(1, 1, 8);
        early.devices = Devices::unread();
        assert!(NicSingleQueue::judge(&early.snapshot()).is_err(), "nobody has asked yet");
        let mut container = early.with("enp5s0", |link| link.kind = "veth".into());
        container.devices = Devices::unread();
        let judgement = NicSingleQueue::judge(&container.snapshot()).unwrap();
        assert!(judgement.raised.is_empty() && judgement.unread.is_empty(), "there is no NIC to ask about");
        let mut without = node(1, 1, 8);
        let device = Device { features: Fact::Known(Features::default()), channels: Fact::Absent };
        without.devices.set(without.index("enp5s0"), device);
        let judgement = judge(&without);
        assert!(judgement.raised.is_empty() && judgement.unread.is_empty(), "a driver without queues: {judgement:?}");
    }

    #[test]
    fn no_more_queues_are_advised_than_are_of_use() {
        let raised = judge(&node(1, 64, 64)).raised.remove(0);
        let fix = Fix::Queues { link: "enp5s0".into(), queues: ENOUGH, at_hypervisor: false };
        assert_eq!(NicSingleQueue::fixes(&raised.subject, &raised.evidence), [fix]);
        assert!(judge(&node(0, 4, 8)).raised.is_empty(), "a driver that counts none has not one");
    }
}
