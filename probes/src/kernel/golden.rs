//! Dumps of a real kernel, for the tests of the decoders. `golden/README.md` says how they were made.

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

pub(crate) fn links() -> Vec<RawMessage> {
    messages(include_bytes!("golden/links.bin"))
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
