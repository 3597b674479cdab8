//! What drivers say of themselves: features and queues, over the generic netlink family `ethtool`.
//!
//! Reading needs no right. The number of the family is given out when the kernel starts, so it is asked for by name, once.
//! Features are asked for by name too (no compact bit sets): 3 to 5 KiB and some 30 µs a link, where a list of the kernel's
//! bit numbers would be one question more and one more thing to keep.

use std::fs;
use std::sync::OnceLock;
use std::time::Instant;

use netlink_sys::protocols::NETLINK_GENERIC;
use probes::fact::{Reason, Source, Unread};
use probes::kernel::ethtool::{RawDevice, RawDevices, too_old};
use probes::kernel::{LinkIndex, RawMessage};

use super::channel::Fault;
use super::pipeline::{Answer, Pipeline};
use super::{Netlink, unread};

/// Bytes of the largest answer that is taken whole: each of 64 features named in all four lists is 10 KiB.
const LONGEST: usize = 16 << 10;

/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID` and `CTRL_ATTR_FAMILY_NAME` of `linux/genetlink.h`.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// `ETHTOOL_MSG_FEATURES_GET` and `ETHTOOL_MSG_CHANNELS_GET` of `linux/ethtool_netlink.h`.
const GET_FEATURES: u8 = 11;
const GET_CHANNELS: u8 = 17;

/// `ETHTOOL_A_*_HEADER`, which is the same for every question and must be flagged as nested.
const HEADER: u16 = 1 | libc::NLA_F_NESTED as u16;
/// `ETHTOOL_A_HEADER_DEV_INDEX`.
const DEVICE_INDEX: u16 = 1;

/// The processors of the machine. Unlike a container's share of them they are the same in every mount of `/sys`.
const PROCESSORS: &str = "/sys/devices/system/cpu/online";

impl Netlink {
    /// What the drivers of these links say of themselves, and how many processors serve them.
    pub fn devices(&self, links: &[LinkIndex]) -> RawDevices {
        let start = Instant::now();
        let devices = self.ask_drivers(links).unwrap_or_else(|unread| {
            let silent = |&link| RawDevice { link, features: Err(unread.clone()), channels: Err(unread.clone()) };
            links.iter().map(silent).collect()
        });
        let processors = fs::read_to_string(PROCESSORS).map_err(|error| {
            Unread::new(Source::Ethtool, Reason::Failed { what: format!("read {PROCESSORS}: {error}") })
        });
        RawDevices { devices, processors, took: start.elapsed() }
    }

    fn ask_drivers(&self, links: &[LinkIndex]) -> Result<Vec<RawDevice>, Unread> {
        let socket = Pipeline::of(NETLINK_GENERIC, LONGEST);
        let mut socket = socket.map_err(|error| failed("generic netlink socket", &Fault::Closed(error.to_string())))?;
        let family = family(&self.ethtool, &mut socket)?;
        let commands = [(GET_FEATURES, "ETHTOOL_MSG_FEATURES_GET"), (GET_CHANNELS, "ETHTOOL_MSG_CHANNELS_GET")];
        let questions = links.iter().flat_map(|&link| commands.map(|(command, _)| about(family, command, link)));
        let mut answers = socket.ask(&questions.collect::<Vec<_>>()).into_iter();
        let mut next = |link: LinkIndex, name: &str| answer(answers.next(), &format!("{name} of link {}", link.0));
        let device =
            |&link| RawDevice { link, features: next(link, commands[0].1), channels: next(link, commands[1].1) };
        Ok(links.iter().map(device).collect())
    }
}

/// The number of the family.
fn family(known: &OnceLock<u16>, socket: &mut Pipeline) -> Result<u16, Unread> {
    if let Some(&family) = known.get() {
        return Ok(family);
    }
    let question = message(CONTROL, GET_FAMILY, &attribute(FAMILY_NAME, b"ethtool\0"));
    match socket.ask(&[question]).pop() {
        Some(Ok(answer)) => match number(&answer) {
            Some(family) => Ok(*known.get_or_init(|| family)),
            None => {
                let what = "CTRL_CMD_GETFAMILY of ethtool: the answer names no number".into();
                Err(Unread::new(Source::Ethtool, Reason::Malformed { what }))
            }
        },
        Some(Err(Fault::Errno(libc::ENOENT))) => Err(Unread::new(Source::Ethtool, too_old())),
        other => answer(other, "CTRL_CMD_GETFAMILY of ethtool").map(|_| 0),
    }
}

/// The number of a family in what is said of it.
fn number(answer: &RawMessage) -> Option<u16> {
    let mut rest = answer.body.get(4..)?;
    while let Some((head, _)) = rest.split_first_chunk::<4>() {
        let (length, kind) =
            (usize::from(u16::from_ne_bytes([head[0], head[1]])), u16::from_ne_bytes([head[2], head[3]]));
        if kind == FAMILY_ID {
            return Some(u16::from_ne_bytes(*rest.get(4..length)?.first_chunk()?));
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
    None
}

fn about(family: u16, command: u8, link: LinkIndex) -> RawMessage {
    message(family, command, &attribute(HEADER, &attribute(DEVICE_INDEX, &link.0.to_ne_bytes())))
}

/// A message of version 1.
fn message(family: u16, command: u8, attributes: &[u8]) -> RawMessage {
    RawMessage { kind: family, body: [&[command, 1, 0, 0], attributes].concat() }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What a driver does not do is no failure.
fn answer(answer: Option<Answer>, what: &str) -> Result<Option<RawMessage>, Unread> {
    match answer.unwrap_or(Err(Fault::Lost)) {
        Ok(message) => Ok(Some(message)),
        Err(Fault::Errno(libc::EOPNOTSUPP)) => Ok(None),
        Err(fault) => Err(failed(what, &fault)),
    }
}

fn failed(what: &str, fault: &Fault) -> Unread {
    unread(Source::Ethtool, what, fault)
}

#[cfg(test)]
mod tests {
    use probes::fact::Fact;
    use probes::kernel::ethtool::Devices;

    use super::*;

    #[test]
    fn a_question_names_the_link_by_number() {
        let question = about(21, GET_FEATURES, LinkIndex(3));
        assert_eq!(question.kind, 21);
        assert_eq!(question.body, [11, 1, 0, 0, 12, 0, 1, 0x80, 8, 0, 1, 0, 3, 0, 0, 0]);
    }

    #[test]
    fn the_number_of_a_family_stands_among_other_things() {
        let body = [vec![1, 2, 0, 0], attribute(FAMILY_NAME, b"ethtool\0"), attribute(FAMILY_ID, &[21, 0])].concat();
        let answer = |body: &[u8]| RawMessage { kind: CONTROL, body: body.to_vec() };
        assert_eq!(number(&answer(&body)), Some(21));
        for length in 0..body.len() - 3 {
            assert_eq!(number(&answer(&body[..length])), None, "cut to {length} bytes");
        }
        assert_eq!(number(&answer(&[1, 2, 0, 0, 0, 0, 9, 0])), None, "a length below its header");
    }

    #[test]
    fn what_a_driver_does_not_do_is_told_from_what_was_not_heard() {
        assert_eq!(answer(Some(Err(Fault::Errno(libc::EOPNOTSUPP))), "it"), Ok(None));
        let gone = answer(Some(Err(Fault::Errno(libc::ENODEV))), "ETHTOOL_MSG_FEATURES_GET of link 3").unwrap_err();
        assert!(gone.to_string().contains("FEATURES_GET of link 3: No such device"), "{gone}");
        assert!(answer(None, "it").is_err());
    }

    #[tokio::test]
    async fn this_machines_loopback_has_features_and_no_queues() {
        let netlink = Netlink::open().unwrap();
        let nobody = LinkIndex(u32::MAX >> 1);
        for _ in 0..2 {
            let raw = netlink.devices(&[LinkIndex(1), nobody]);
            let devices = Devices::decode(&raw);
            let Fact::Known(features) = &devices.get(LinkIndex(1)).features else { panic!("{raw:?}") };
            assert!(features.get("tx-checksum-ip-generic").is_some_and(|feature| feature.on && feature.fixed));
            assert_eq!(devices.get(LinkIndex(1)).channels, Fact::Absent);
            assert!(
                matches!(&devices.get(nobody).features, Fact::Unread(why) if why.to_string().contains("No such device"))
            );
            assert!(devices.processors.known().is_some_and(|&count| count > 0));
        }
    }
}
