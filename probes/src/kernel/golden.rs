//! Dumps of a real kernel, for the tests of the decoders. `golden/README.md` says how they were made.

use std::collections::BTreeMap;

use super::pod_end::{Question, RawPodEnd};
use super::{LinkIndex, Mac, RawMessage};

/// Cuts a file into messages: length of the body (32 bits), message type (16 bits), body.
fn messages(mut file: &[u8]) -> Vec<RawMessage> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = file.split_at_checked(6) {
        let length = u32::from_le_bytes(head[..4].try_into().unwrap());
        let (body, rest) = rest.split_at(length.try_into().unwrap());
        messages.push(RawMessage { kind: u16::from_le_bytes([head[4], head[5]]), body: body.to_vec() });
        file = rest;
    }
    assert!(file.is_empty());
    messages
}

/// A whole machine: messages by section, which is a table or the question that its message answers.
fn sections(file: &[u8]) -> BTreeMap<String, Vec<RawMessage>> {
    let mut sections: Vec<(String, Vec<RawMessage>)> = Vec::new();
    for message in messages(file) {
        match (message.kind, sections.last_mut()) {
            (0, _) => sections.push((String::from_utf8(message.body).unwrap(), Vec::new())),
            (_, Some((_, section))) => section.push(message),
            (_, None) => panic!("a machine starts with a section"),
        }
    }
    sections.into_iter().collect()
}

macro_rules! machines {
    ($($name:ident: $about:literal,)*) => {
        $(
            #[doc = $about]
            pub(crate) fn $name() -> BTreeMap<String, Vec<RawMessage>> {
                sections(include_bytes!(concat!("golden/machines/", stringify!($name), ".bin")))
            }
        )*
    };
}

machines! {
    bonded: "VXLAN on a VLAN on a bond of two NICs; a management NIC.",
    bridged: "A bridge over a VLAN, a NIC and a guest's tap; macvlan and ipvlan NICs beside.",
    teamed: "A bridge over a team of two NICs.",
    tunnels: "One tunnel of every kind.",
    policy: "VXLAN whose outer packets another table sends by another NIC.",
    wrapped: "Tunnels over IPv6, with options that cost bytes, in collect-metadata mode, and of unknown overhead.",
    wireguards: "WireGuard as each CNI has it, and an administrator's.",
    nested: "VXLAN through WireGuard.",
    weave: "Weave Net's bridge, datapath and VXLAN port.",
    antrea: "Antrea's gateway, Geneve port and a pod in one datapath.",
    spread: "VXLAN over equal-cost routes by two NICs; management in a VRF.",
}

/// What the drivers of a veth and a VXLAN device say.
pub(crate) fn software() -> BTreeMap<String, Vec<RawMessage>> {
    sections(include_bytes!("golden/devices/software.bin"))
}

/// What those of a virtual machine's NICs say: `eth0` of virtio with one queue, `eth3` of vmxnet3 with several.
pub(crate) fn virtual_machine() -> BTreeMap<String, Vec<RawMessage>> {
    sections(include_bytes!("golden/devices/virtual.bin"))
}

pub(crate) fn links() -> Vec<RawMessage> {
    messages(include_bytes!("golden/links.bin"))
}

/// The same node while its pod is at work: its links.
pub(crate) fn links_with_pods() -> Vec<RawMessage> {
    messages(include_bytes!("golden/pods/links.bin"))
}

/// What it was answered about the other ends of `enp5s0` and `cali1`.
pub(crate) fn pod_ends() -> Vec<RawPodEnd> {
    let end = |(asked, said): (String, Vec<RawMessage>)| {
        let numbers: Vec<u32> = asked.split(' ').map(|number| number.parse().unwrap()).collect();
        let [link, namespace, end] = numbers[..] else { panic!("{asked}") };
        let (link, end) = (LinkIndex(link), LinkIndex(end));
        let mut said = said.into_iter();
        RawPodEnd {
            question: Question { link, namespace: namespace.cast_signed(), end },
            answer: Ok(said.next()),
            addresses: said.collect(),
        }
    };
    sections(include_bytes!("golden/pods/pod_ends.bin")).into_iter().map(end).collect()
}

pub(crate) fn neighbour_tables() -> Vec<RawMessage> {
    messages(include_bytes!("golden/neighbour_tables.bin"))
}

pub(crate) fn addresses() -> Vec<RawMessage> {
    messages(include_bytes!("golden/addresses.bin"))
}

pub(crate) fn routes() -> Vec<RawMessage> {
    messages(include_bytes!("golden/routes.bin"))
}

pub(crate) fn exceptions() -> Vec<RawMessage> {
    messages(include_bytes!("golden/exceptions.bin"))
}

pub(crate) fn lookups() -> Vec<RawMessage> {
    messages(include_bytes!("golden/lookups.bin"))
}

pub(crate) fn neighbours() -> Vec<RawMessage> {
    messages(include_bytes!("golden/neighbours.bin"))
}

pub(crate) fn fdb() -> Vec<RawMessage> {
    messages(include_bytes!("golden/fdb.bin"))
}

/// Links of a host that a router advertised itself to.
pub(crate) fn advertised_links() -> Vec<RawMessage> {
    messages(include_bytes!("golden/advertised/links.bin"))
}

/// Its addresses.
pub(crate) fn advertised_addresses() -> Vec<RawMessage> {
    messages(include_bytes!("golden/advertised/addresses.bin"))
}

/// Its routes.
pub(crate) fn advertised_routes() -> Vec<RawMessage> {
    messages(include_bytes!("golden/advertised/routes.bin"))
}

/// Numbers that the kernel gave to the links of the golden network.
pub(crate) const LO: LinkIndex = LinkIndex(1);
pub(crate) const ENP5S0: LinkIndex = LinkIndex(3);
pub(crate) const VMBR1: LinkIndex = LinkIndex(4);
pub(crate) const SPARE: LinkIndex = LinkIndex(5);
pub(crate) const ENP4S0: LinkIndex = LinkIndex(6);
pub(crate) const CALI1: LinkIndex = LinkIndex(7);
pub(crate) const VXLAN_CALICO: LinkIndex = LinkIndex(8);
pub(crate) const VXLAN6: LinkIndex = LinkIndex(9);
pub(crate) const EXTERNAL0: LinkIndex = LinkIndex(10);

/// The MAC address that ends in these two bytes and starts as all of that group do.
pub(crate) const fn mac(group: u8, tail: [u8; 2]) -> Mac {
    Mac([group, 0, 0, 0, tail[0], tail[1]])
}
