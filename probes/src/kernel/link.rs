//! `RTM_NEWLINK` messages: devices, their IPv4 settings, and the parameters of tunnels.
//!
//! Name, MTU and flags make a link; a message without them is malformed. What else a message carries is read as far as
//! it goes: a link whose tunnel parameters or IPv4 settings do not decode is still a row, and a line says what is amiss.

use netlink_packet_core::{DecodeError, Parseable, ParseableParametrized, parse_mac};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{AfSpecInet, LinkAttribute, LinkFlags, LinkHeader, LinkLayerType};

use super::attributes::{self, Attribute, NEW_LINK, after, inside, missing, text};
use super::{Inet, Link, LinkIndex, Mac, RawMessage, Table, tunnel};
use crate::units::LinkMtu;

const HEADER: usize = 16;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_CARRIER: u16 = 33;
const IFLA_LINK_NETNSID: u16 = 37;

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;

const AF_INET: u16 = 2;
const IFLA_INET_CONF: u16 = 1;
/// `IPV4_DEVCONF_RP_FILTER` is the eighth of an array of 32-bit numbers and the last one that is used here.
const INET_CONF_LEAST: usize = 8 * 4;

/// Decodes a dump of links.
pub fn decode(messages: &[RawMessage]) -> Table<Link> {
    let mut amiss = Vec::new();
    let mut table = attributes::rows(messages, NEW_LINK, "link", |body| link(body, &mut amiss).map(Some));
    table.malformed.append(&mut amiss);
    table
}

/// What the attributes of one message said, before it is known whether they suffice.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    mtu: Option<u32>,
    carrier: Option<bool>,
    master: Option<u32>,
    link: Option<u32>,
    other_namespace: Option<i32>,
    mac: Option<Mac>,
    kind: Option<String>,
    tunnel: Option<super::Tunnel>,
    inet: Option<Inet>,
    amiss: Vec<String>,
}

fn link(body: &[u8], amiss: &mut Vec<String>) -> Result<Link, DecodeError> {
    let header = LinkHeader::parse(body)?;
    let mut draft = Draft::default();
    for attribute in after(body, HEADER)? {
        draft.take(&attribute, header.link_layer_type)?;
    }
    let name = draft.name.ok_or_else(|| missing("name (IFLA_IFNAME)"))?;
    let mtu = draft.mtu.ok_or_else(|| missing("MTU (IFLA_MTU)"))?;
    amiss.extend(draft.amiss.iter().map(|what| attributes::line(&format!("link {name}:"), body, what)));

    let up = header.flags.contains(LinkFlags::Up);
    let carrier = draft.carrier.unwrap_or(header.flags.contains(LinkFlags::LowerUp));
    // `IFLA_LINK` is 0 for a device that has no lower link, as `sit0`, and names a link of the *other* namespace where
    // `IFLA_LINK_NETNSID` stands beside it.
    let lower = draft.link.filter(|&lower| lower != 0 && lower != header.index && draft.other_namespace.is_none());
    Ok(Link {
        index: LinkIndex(header.index),
        name,
        kind: draft.kind.unwrap_or_else(|| unnamed(header.flags).into()),
        mtu: LinkMtu::new(mtu),
        up,
        carrier: up.then_some(carrier),
        master: draft.master.map(LinkIndex),
        lower: lower.map(LinkIndex),
        other_namespace: draft.other_namespace,
        mac: draft.mac,
        tunnel: draft.tunnel,
        inet: draft.inet,
    })
}

/// The kind of a link that has no `IFLA_INFO_KIND`.
fn unnamed(flags: LinkFlags) -> &'static str {
    if flags.contains(LinkFlags::Loopback) { "loopback" } else { "device" }
}

impl Draft {
    fn take(&mut self, attribute: &Attribute<'_>, layer: LinkLayerType) -> Result<(), DecodeError> {
        match attribute.kind() {
            IFLA_IFNAME => self.name = Some(text(attribute).into_owned()),
            IFLA_LINKINFO => self.take_info(attribute),
            IFLA_AF_SPEC => match inet(attribute) {
                Ok(inet) => self.inet = inet,
                Err(error) => self.amiss.push(format!("IPv4 settings: {error}")),
            },
            IFLA_ADDRESS if layer == LinkLayerType::Ether => self.mac = parse_mac(attribute.value()).ok().map(Mac),
            IFLA_MTU | IFLA_LINK | IFLA_MASTER | IFLA_CARRIER | IFLA_LINK_NETNSID => self.take_number(attribute)?,
            _ => {}
        }
        Ok(())
    }

    fn take_number(&mut self, attribute: &Attribute<'_>) -> Result<(), DecodeError> {
        match LinkAttribute::parse_with_param(attribute, AddressFamily::Unspec)? {
            LinkAttribute::Mtu(mtu) => self.mtu = Some(mtu),
            LinkAttribute::Link(index) => self.link = Some(index),
            LinkAttribute::Controller(index) => self.master = (index != 0).then_some(index),
            LinkAttribute::Carrier(carrier) => self.carrier = Some(carrier != 0),
            LinkAttribute::LinkNetNsId(id) => self.other_namespace = Some(id),
            _ => {}
        }
        Ok(())
    }

    fn take_info(&mut self, attribute: &Attribute<'_>) {
        let nested = match inside(attribute) {
            Ok(nested) => nested,
            Err(error) => return self.amiss.push(format!("kind: {error}")),
        };
        let kind = nested.iter().find(|nested| nested.kind() == IFLA_INFO_KIND).map(text);
        let data = nested.iter().find(|nested| nested.kind() == IFLA_INFO_DATA);
        if let Some(kind) = &kind {
            match tunnel::decode(kind, data) {
                Ok(tunnel) => self.tunnel = tunnel,
                Err(error) => self.amiss.push(format!("{kind} parameters: {error}")),
            }
        }
        self.kind = kind.map(|kind| kind.into_owned());
    }
}

fn inet(spec: &Attribute<'_>) -> Result<Option<Inet>, DecodeError> {
    let families = inside(spec)?;
    let Some(family) = families.iter().find(|family| family.kind() == AF_INET) else { return Ok(None) };
    let parts = inside(family)?;
    let Some(conf) = parts.iter().find(|part| part.kind() == IFLA_INET_CONF) else { return Ok(None) };
    // The crate fills a short array with zeros, and zero would read as "rp_filter is off".
    if conf.value().len() < INET_CONF_LEAST {
        return Err(DecodeError::buffer_too_small(conf.value().len(), INET_CONF_LEAST));
    }
    let AfSpecInet::DevConf(conf) = AfSpecInet::parse(conf)? else { return Ok(None) };
    let rp_filter = u8::try_from(conf.rp_filter)
        .map_err(|_| DecodeError::from(format!("rp_filter is {}, expected 0 to 2", conf.rp_filter)))?;
    Ok(Some(Inet { rp_filter, forwarding: conf.forwarding != 0, proxy_arp: conf.proxy_arp != 0 }))
}
