//! The pods' ends of their links, as seen from the node.
//!
//! A veth's two ends have an MTU each. The node's end says of the other one only in which namespace it is
//! (`IFLA_LINK_NETNSID`) and its number there (`IFLA_LINK`); the rest is asked for, one `RTM_GETLINK` an end with
//! `IFLA_TARGET_NETNSID`, and its addresses by `RTM_GETADDR` with `IFA_TARGET_NETNSID`. Nobody enters a namespace for that.
//! The kernel refuses it without `CAP_NET_ADMIN` in the user namespace that owns the network namespace (`EACCES`).
//!
//! Links go and namespace numbers are given away again while they are asked about. So an answer only counts if it names
//! the node's end as *its* other end and the namespace that was asked for; every other one is of a pod that is gone, and
//! gone is no failure. A kernel that does not know the attribute answers with a link of its own, which is told in the
//! same way.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_core::{DecodeError, parse_i32, parse_u32};

use super::attributes::{NEW_LINK, after, inside, line, missing, text};
use super::{LinkIndex, RawMessage, address};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::units::LinkMtu;

const HEADER: usize = 16;

const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_TARGET_NETNSID: u16 = 46;

const IFLA_INFO_KIND: u16 = 1;

const IFF_UP: u32 = 1;

/// Which end is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The node's end.
    pub link: LinkIndex,
    /// The namespace of the other end, by the number that this namespace has for it.
    pub namespace: i32,
    /// The other end's number there.
    pub end: LinkIndex,
}

/// What the kernel says of one end.
#[derive(Clone, Debug)]
pub struct RawPodEnd {
    /// What was asked.
    pub question: Question,
    /// `RTM_NEWLINK`; `None` where the kernel no longer knows namespace or link.
    pub answer: Result<Option<RawMessage>, Unread>,
    /// `RTM_NEWADDR` of the end, as far as they were read.
    pub addresses: Vec<RawMessage>,
}

/// Which ends a reading asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Every one.
    All,
    /// Those whose link is new or looks different from the last reading; of the others what was answered last.
    Changed,
}

/// Every end, each read or failed on its own, or why none could be asked for.
pub type PodEnds = Result<Vec<RawPodEnd>, Unread>;

/// The other end of a pod's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEnd {
    /// Device MTU.
    pub mtu: LinkMtu,
    /// `IFF_UP`.
    pub up: bool,
    /// Its addresses that are not link-local, as far as they were read.
    pub addresses: Vec<IpAddr>,
}

/// The ends to ask for after a dump of links, each with its link: those of veths and netkits that are in another namespace.
/// What does not decode is left to the decoder of the dump.
pub fn questions(links: &[RawMessage]) -> Vec<(Question, &RawMessage)> {
    let links = links.iter().filter(|message| message.kind == NEW_LINK);
    links.filter_map(|message| Some((question(&message.body).ok().flatten()?, message))).collect()
}

fn question(body: &[u8]) -> Result<Option<Question>, DecodeError> {
    let attributes = after(body, HEADER)?;
    let find = |kind| attributes.iter().find(|attribute| attribute.kind() == kind);
    let (Some(namespace), Some(end)) = (find(IFLA_LINK_NETNSID), find(IFLA_LINK)) else { return Ok(None) };
    let Some(info) = find(IFLA_LINKINFO) else { return Ok(None) };
    let is_pair = |kind: &str| matches!(kind, "veth" | "netkit");
    let is_pair = inside(info)?.iter().any(|nested| nested.kind() == IFLA_INFO_KIND && is_pair(&text(nested)));
    let (namespace, end) = (parse_i32(namespace.value())?, parse_u32(end.value())?);
    // The kernel names a namespace that has no number as -1.
    let asks = is_pair && namespace >= 0 && end != 0;
    Ok(asks.then_some(Question { link: index(body), namespace, end: LinkIndex(end) }))
}

/// The ends by the node's ends, and a line for each answer that does not decode. An end that is gone is left out.
pub fn decode(ends: &[RawPodEnd]) -> (BTreeMap<LinkIndex, Fact<PodEnd>>, Vec<String>) {
    let (mut known, mut malformed) = (BTreeMap::new(), Vec::new());
    for raw in ends {
        let fact = match &raw.answer {
            Err(unread) => Fact::Unread(unread.clone()),
            Ok(None) => continue,
            Ok(Some(message)) => match answered(&raw.question, &message.body) {
                Ok(None) => continue,
                Ok(Some((mtu, up))) => {
                    let addresses = addresses(&raw.question, &raw.addresses, &mut malformed);
                    Fact::Known(PodEnd { mtu, up, addresses })
                }
                Err(error) => {
                    let what = line("pod's end", &message.body, &error);
                    malformed.push(what.clone());
                    Fact::Unread(Unread::new(Source::PodEnds, Reason::Malformed { what }))
                }
            },
        };
        known.insert(raw.question.link, fact);
    }
    (known, malformed)
}

/// MTU and whether it is up, if the message is about the end that was asked for. Little is wanted of each of many, so it
/// is not decoded whole.
fn answered(question: &Question, body: &[u8]) -> Result<Option<(LinkMtu, bool)>, DecodeError> {
    let (mut mtu, mut other_end, mut target) = (None, None, None);
    for attribute in after(body, HEADER)? {
        match attribute.kind() {
            IFLA_MTU => mtu = Some(parse_u32(attribute.value())?),
            IFLA_LINK => other_end = Some(parse_u32(attribute.value())?),
            IFLA_TARGET_NETNSID => target = Some(parse_i32(attribute.value())?),
            _ => {}
        }
    }
    let mtu = mtu.ok_or_else(|| missing("MTU (IFLA_MTU)"))?;
    let is_it = other_end == Some(question.link.0) && target == Some(question.namespace) && index(body) == question.end;
    Ok(is_it.then(|| (LinkMtu::new(mtu), number(body, 8) & IFF_UP != 0)))
}

fn addresses(question: &Question, rows: &[RawMessage], malformed: &mut Vec<String>) -> Vec<IpAddr> {
    let mut table = address::decode(rows);
    malformed.append(&mut table.malformed);
    let own = table.rows.into_iter().filter(|own| own.link == question.end && own.global);
    own.map(|own| own.address).collect()
}

/// `ifi_index` of a message whose header is whole.
fn index(body: &[u8]) -> LinkIndex {
    LinkIndex(number(body, 4))
}

fn number(body: &[u8], at: usize) -> u32 {
    body.get(at..at + 4).and_then(|bytes| parse_u32(bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::golden::{self, CALI1, ENP5S0};

    fn pod() -> RawPodEnd {
        golden::pod_ends().into_iter().find(|end| end.question.link == CALI1).unwrap()
    }

    fn decoded(end: RawPodEnd) -> Option<Fact<PodEnd>> {
        let (mut ends, lines) = decode(&[end]);
        assert_eq!(lines, [""; 0]);
        ends.remove(&CALI1)
    }

    #[test]
    fn every_veth_that_leads_elsewhere_is_asked_about_and_nothing_else() {
        let links = golden::links_with_pods();
        let asked = questions(&links);
        assert!(asked.iter().map(|(question, _)| *question).eq(golden::pod_ends().iter().map(|end| end.question)));
        assert_eq!(asked.iter().map(|(question, _)| question.link).collect::<Vec<_>>(), [ENP5S0, CALI1]);
        assert!(asked.iter().all(|(question, link)| index(&link.body) == question.link), "each with its own link");
    }

    #[test]
    fn golden_ends() {
        let ip = |text: &str| text.parse().unwrap();
        let (ends, lines) = decode(&golden::pod_ends());
        assert_eq!(lines, [""; 0]);
        let end = |addresses| Fact::Known(PodEnd { mtu: LinkMtu::new(1500), up: true, addresses });
        let pod = vec![ip("10.244.1.2"), ip("fd00:244::2")];
        assert_eq!(ends, BTreeMap::from([(ENP5S0, end(vec![ip("10.0.0.1")])), (CALI1, end(pod))]));
    }

    #[test]
    fn an_end_that_is_gone_or_another_pods_now_is_no_end() {
        assert_eq!(decoded(RawPodEnd { answer: Ok(None), ..pod() }), None);
        let asked = |change: fn(&mut Question)| {
            let mut end = pod();
            change(&mut end.question);
            end
        };
        assert_eq!(decoded(asked(|question| question.end = LinkIndex(99))), None);
        assert_eq!(decoded(asked(|question| question.namespace += 1)), None, "the number was given away again");
        let (ends, _) = decode(&[asked(|question| question.link = LinkIndex(99))]);
        assert!(ends.is_empty(), "it is the end of another link");
    }

    #[test]
    fn a_kernel_that_answers_with_a_link_of_its_own_tells_of_no_pod() {
        let own = golden::links_with_pods().into_iter().find(|message| index(&message.body) == CALI1);
        assert_eq!(decoded(RawPodEnd { answer: Ok(own), ..pod() }), None);
    }

    #[test]
    fn what_could_not_be_read_or_understood_is_unread() {
        let denied = Unread::new(Source::PodEnds, Reason::Denied { needs: "CAP_NET_ADMIN".into() });
        assert_eq!(decoded(RawPodEnd { answer: Err(denied.clone()), ..pod() }), Some(Fact::Unread(denied)));
        let mut cut = pod();
        let Ok(Some(message)) = &mut cut.answer else { panic!("it was answered") };
        message.body.truncate(40);
        let (ends, lines) = decode(&[cut]);
        assert!(matches!(&ends[&CALI1], Fact::Unread(Unread { reason: Reason::Malformed { .. }, .. })), "{ends:?}");
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn an_address_that_is_not_read_yet_costs_no_end() {
        let bare = decoded(RawPodEnd { addresses: Vec::new(), ..pod() });
        assert!(matches!(bare, Some(Fact::Known(PodEnd { addresses, .. })) if addresses.is_empty()));
    }

    /// The golden link of a pod, one of its numbers changed.
    fn link_with(kind: u16, value: i32) -> RawMessage {
        let mut link = golden::links_with_pods().into_iter().find(|message| index(&message.body) == CALI1).unwrap();
        let head = [8_u16.to_ne_bytes(), kind.to_ne_bytes()].concat();
        let at = link.body.windows(4).position(|bytes| bytes == head).unwrap() + 4;
        link.body[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        link
    }

    #[test]
    fn nobody_asks_about_a_namespace_without_number_an_end_that_is_none_or_another_kind_of_link() {
        assert_eq!(questions(&[link_with(IFLA_LINK_NETNSID, 0)]).len(), 1, "the first number is one");
        assert_eq!(questions(&[link_with(IFLA_LINK_NETNSID, -1)]), []);
        assert_eq!(questions(&[link_with(IFLA_LINK, 0)]), []);
        let mut other = link_with(IFLA_LINK_NETNSID, 0);
        let at = other.body.windows(5).position(|bytes| bytes == b"veth\0").unwrap();
        other.body[at..at + 4].copy_from_slice(b"vlan");
        assert_eq!(questions(&[other]), [], "its lower link is elsewhere, which is no other end");
    }

    #[test]
    fn an_end_that_is_down_is_down_and_has_its_own_addresses_alone() {
        let mut end = pod();
        let Ok(Some(message)) = &mut end.answer else { panic!("it was answered") };
        message.body[8] &= !1;
        end.addresses.iter_mut().for_each(|row| row.body[4..8].copy_from_slice(&99_u32.to_ne_bytes()));
        let Some(Fact::Known(end)) = decoded(end) else { panic!("it is known") };
        assert!(!end.up && end.addresses.is_empty(), "{end:?}");
    }
}
