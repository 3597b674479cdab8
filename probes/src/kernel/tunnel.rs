//! `IFLA_INFO_DATA` of tunnel devices: VXLAN, Geneve, GRE, IPIP, SIT, their kin over IPv6, WireGuard, IPsec.
//!
//! Of some kinds nobody can tell what they add. They are tunnels all the same: taken for NICs, an IPsec interface that is
//! up would be one more way out. Kinds that do not stand here yield no tunnel.
//!
//! An address of zero means "any" to the kernel and is no address here. WireGuard tells nothing over rtnetlink but its
//! kind. Bare UDP is always in collect-metadata mode and says so by having nothing else.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, Parseable, ParseableParametrized, parse_u32};
use netlink_packet_route::link::{
    GeneveDf, GreEncapFlags, GreEncapType, GreIOFlags, InfoBareUdp, InfoGeneve, InfoGre, InfoGre6, InfoIpTunnel,
    InfoKind, InfoVti, InfoVxlan, InfoXfrm, Ip6TunnelFlags, TunnelEncapFlags, TunnelEncapType, VxlanDf,
};

use super::attributes::{Attribute, inside};
use super::{Df, LinkIndex, Tunnel, TunnelKind, Wrap};

/// Fills in what the attributes of one kind say.
type Fill = fn(&mut Tunnel, &[Attribute<'_>]) -> Result<(), DecodeError>;

/// Decodes the parameters of a link of this kind as far as they go, and says what stopped it: a parameter that is not as
/// long as it must be, or data cut short. No tunnel if the kind is none.
pub(super) fn decode(kind: &str, data: Option<&Attribute<'_>>) -> (Option<Tunnel>, Option<DecodeError>) {
    let Some(kind) = TunnelKind::ALL.into_iter().find(|known| known.name() == kind) else { return (None, None) };
    let fill: Fill = match kind {
        TunnelKind::Vxlan => vxlan,
        TunnelKind::Geneve => geneve,
        TunnelKind::Gre | TunnelKind::Gretap | TunnelKind::Erspan => gre,
        TunnelKind::Ip6gre | TunnelKind::Ip6gretap | TunnelKind::Ip6erspan => gre6,
        TunnelKind::Ipip | TunnelKind::Sit | TunnelKind::Ip6tnl => iptun,
        TunnelKind::Vti | TunnelKind::Vti6 => vti,
        TunnelKind::Xfrm => xfrm,
        TunnelKind::Bareudp => bareudp,
        TunnelKind::Wireguard => |_, _| Ok(()),
    };
    let mut tunnel = Tunnel::of(kind);
    let filled = data.map_or(Ok(()), |data| inside(data).and_then(|data| fill(&mut tunnel, &data)));
    if tunnel.external {
        // The kernel shows a zero, or its default, but each packet brings its own.
        tunnel.id = None;
        tunnel.options.encap_limit = false;
    }
    (Some(tunnel), filled.err())
}

fn address(address: impl Into<IpAddr>) -> Option<IpAddr> {
    Some(address.into()).filter(|address| !address.is_unspecified())
}

fn lower(index: u32) -> Option<LinkIndex> {
    (index != 0).then_some(LinkIndex(index))
}

/// A network identifier has 24 bits (RFC 7348 §5, RFC 8926 §3.1), in an attribute of 32.
fn vni(id: u32) -> Result<u32, DecodeError> {
    if id < 1 << 24 { Ok(id) } else { Err(format!("identifier {id}, expected at most 24 bits").into()) }
}

/// `IFLA_VXLAN_*` whose meaning is used: id, group, link, local, learning, l2miss, l3miss, port, group6, local6, external,
/// gpe, df.
const VXLAN_USED: [u16; 13] = [1, 2, 3, 4, 7, 13, 14, 15, 16, 17, 25, 27, 29];

fn vxlan(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    for attribute in data.iter().filter(|attribute| VXLAN_USED.contains(&attribute.kind())) {
        match InfoVxlan::parse(attribute)? {
            InfoVxlan::Id(id) => tunnel.id = Some(vni(id)?),
            InfoVxlan::Group(group) => tunnel.remote = address(group),
            InfoVxlan::Group6(group) => tunnel.remote = address(group),
            InfoVxlan::Link(index) => tunnel.lower = lower(index),
            InfoVxlan::Local(local) => tunnel.local = address(local),
            InfoVxlan::Local6(local) => tunnel.local = address(local),
            InfoVxlan::Learning(learning) => tunnel.learning = learning,
            InfoVxlan::L2Miss(asks) | InfoVxlan::L3Miss(asks) => tunnel.asks |= asks,
            InfoVxlan::Port(port) => tunnel.port = Some(port),
            InfoVxlan::CollectMetadata(external) => tunnel.external = external,
            InfoVxlan::Gpe => tunnel.options.bare = true,
            InfoVxlan::Df(VxlanDf::Unset) => tunnel.df = Some(Df::Unset),
            InfoVxlan::Df(VxlanDf::Set) => tunnel.df = Some(Df::Set),
            InfoVxlan::Df(VxlanDf::Inherit) => tunnel.df = Some(Df::Inherit),
            _ => {}
        }
    }
    // Kernels before 4.20 have no `df` for VXLAN and always leave it clear.
    tunnel.df = tunnel.df.or(Some(Df::Unset));
    Ok(())
}

/// `IFLA_GENEVE_*` whose meaning is used: id, remote, port, external, remote6, df, local, local6.
const GENEVE_USED: [u16; 8] = [1, 2, 5, 6, 7, 13, 17, 18];

fn geneve(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    for attribute in data.iter().filter(|attribute| GENEVE_USED.contains(&attribute.kind())) {
        match InfoGeneve::parse(attribute)? {
            InfoGeneve::Id(id) => tunnel.id = Some(vni(id)?),
            InfoGeneve::Remote(remote) => tunnel.remote = address(remote),
            InfoGeneve::Remote6(remote) => tunnel.remote = address(remote),
            InfoGeneve::Local(local) => tunnel.local = address(local),
            InfoGeneve::Local6(local) => tunnel.local = address(local),
            InfoGeneve::Port(port) => tunnel.port = Some(port),
            InfoGeneve::CollectMetadata => tunnel.external = true,
            InfoGeneve::Df(GeneveDf::Unset) => tunnel.df = Some(Df::Unset),
            InfoGeneve::Df(GeneveDf::Set) => tunnel.df = Some(Df::Set),
            InfoGeneve::Df(GeneveDf::Inherit) => tunnel.df = Some(Df::Inherit),
            _ => {}
        }
    }
    tunnel.df = tunnel.df.or(Some(Df::Unset));
    Ok(())
}

/// `IFLA_GRE_*` whose meaning is used: link, output flags, output key, local, remote, pmtudisc, wrap and its flags,
/// external.
const GRE_USED: [u16; 9] = [1, 3, 5, 6, 7, 10, 14, 15, 18];

fn gre(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    for attribute in data.iter().filter(|attribute| GRE_USED.contains(&attribute.kind())) {
        match InfoGre::parse(attribute)? {
            InfoGre::Link(index) => tunnel.lower = lower(index),
            InfoGre::OFlags(flags) => take_flags(tunnel, flags),
            InfoGre::OKey(key) => tunnel.id = Some(key),
            InfoGre::Local(local) => tunnel.local = address(local),
            InfoGre::Remote(remote) => tunnel.remote = address(remote),
            InfoGre::PathMTUDiscovery(on) => tunnel.df = Some(outer_df(on)),
            InfoGre::EncapType(kind) => tunnel.options.wrap = wrap_of_gre(kind),
            InfoGre::EncapFlags(flags) => extend(tunnel, flags.contains(GreEncapFlags::RemoteChecksum)),
            InfoGre::CollectMetadata => tunnel.external = true,
            _ => {}
        }
    }
    tunnel.id = tunnel.id.filter(|_| tunnel.options.key);
    Ok(())
}

/// As those of GRE, but that nothing is said of DF. `IFLA_GRE_FLAGS` stands beside.
const GRE6_USED: [u16; 8] = [1, 3, 5, 6, 7, 14, 15, 18];

/// `IFLA_GRE_FLAGS`, `IP6_TNL_F_*`. The crate steps over it.
const IFLA_GRE_FLAGS: u16 = 13;

fn gre6(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    tunnel.options.encap_limit = true;
    for attribute in data.iter().filter(|attribute| attribute.kind() == IFLA_GRE_FLAGS) {
        take_limit(tunnel, Ip6TunnelFlags::from_bits_retain(parse_u32(attribute.value())?));
    }
    for attribute in data.iter().filter(|attribute| GRE6_USED.contains(&attribute.kind())) {
        match InfoGre6::parse(attribute)? {
            InfoGre6::Link(index) => tunnel.lower = lower(index),
            InfoGre6::OFlags(flags) => take_flags(tunnel, flags),
            InfoGre6::OKey(key) => tunnel.id = Some(key),
            InfoGre6::Local(local) => tunnel.local = address(local),
            InfoGre6::Remote(remote) => tunnel.remote = address(remote),
            InfoGre6::EncapType(kind) => tunnel.options.wrap = wrap_of_gre(kind),
            InfoGre6::EncapFlags(flags) => extend(tunnel, flags.contains(GreEncapFlags::RemoteChecksum)),
            InfoGre6::CollectMetadata => tunnel.external = true,
            _ => {}
        }
    }
    tunnel.id = tunnel.id.filter(|_| tunnel.options.key);
    Ok(())
}

fn take_flags(tunnel: &mut Tunnel, flags: GreIOFlags) {
    tunnel.options.key = flags.contains(GreIOFlags::Key);
    tunnel.options.checksum = flags.contains(GreIOFlags::Checksum);
    tunnel.options.sequence = flags.contains(GreIOFlags::Seq);
}

fn take_limit(tunnel: &mut Tunnel, flags: Ip6TunnelFlags) {
    tunnel.options.encap_limit = !flags.contains(Ip6TunnelFlags::IgnEncapLimit);
}

const fn wrap_of_gre(kind: GreEncapType) -> Option<Wrap> {
    match kind {
        GreEncapType::None => None,
        GreEncapType::Fou => Some(Wrap::Fou),
        GreEncapType::Gue => Some(Wrap::Gue),
        _ => Some(Wrap::Other),
    }
}

/// Remote checksum offload is an extension of GUE, in a header of its own.
fn extend(tunnel: &mut Tunnel, remote_checksum: bool) {
    if remote_checksum && tunnel.options.wrap == Some(Wrap::Gue) {
        tunnel.options.wrap = Some(Wrap::Other);
    }
}

/// `IFLA_IPTUN_*` whose meaning is used: link, local, remote, pmtudisc, wrap and its flags, external. They mean the same
/// to IPIP, SIT and IPv6.
const IPTUN_USED: [u16; 7] = [1, 2, 3, 10, 15, 16, 19];

/// `IFLA_IPTUN_FLAGS`, `IP6_TNL_F_*` over IPv6 and other things elsewhere.
const IFLA_IPTUN_FLAGS: u16 = 8;

fn iptun(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    let over_ipv6 = tunnel.kind == TunnelKind::Ip6tnl;
    tunnel.options.encap_limit = over_ipv6;
    let used = |kind| IPTUN_USED.contains(&kind) || (over_ipv6 && kind == IFLA_IPTUN_FLAGS);
    for attribute in data.iter().filter(|attribute| used(attribute.kind())) {
        match InfoIpTunnel::parse_with_param(attribute, InfoKind::Ip6Tnl)? {
            InfoIpTunnel::Link(index) => tunnel.lower = lower(index),
            InfoIpTunnel::Local(local) => tunnel.local = address(local),
            InfoIpTunnel::Remote(remote) => tunnel.remote = address(remote),
            InfoIpTunnel::PMtuDisc(on) => tunnel.df = Some(outer_df(on)),
            InfoIpTunnel::Ipv6Flags(flags) => take_limit(tunnel, flags),
            InfoIpTunnel::EncapType(kind) => tunnel.options.wrap = wrap(kind),
            InfoIpTunnel::EncapFlags(flags) => extend(tunnel, flags.contains(TunnelEncapFlags::RemCSum)),
            InfoIpTunnel::CollectMetadata => tunnel.external = true,
            _ => {}
        }
    }
    Ok(())
}

const fn wrap(kind: TunnelEncapType) -> Option<Wrap> {
    match kind {
        TunnelEncapType::None => None,
        TunnelEncapType::Fou => Some(Wrap::Fou),
        TunnelEncapType::Gue => Some(Wrap::Gue),
        _ => Some(Wrap::Other),
    }
}

/// `IFLA_VTI_*` whose meaning is used: link, output key, local, remote.
const VTI_USED: [u16; 4] = [1, 3, 4, 5];

fn vti(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    for attribute in data.iter().filter(|attribute| VTI_USED.contains(&attribute.kind())) {
        match InfoVti::parse(attribute)? {
            InfoVti::Link(index) => tunnel.lower = lower(index),
            InfoVti::OKey(key) => tunnel.id = Some(key),
            InfoVti::Local(local) => tunnel.local = address(local),
            InfoVti::Remote(remote) => tunnel.remote = address(remote),
            _ => {}
        }
    }
    Ok(())
}

/// `IFLA_XFRM_*`: link, interface identifier.
const XFRM_USED: [u16; 2] = [1, 2];

fn xfrm(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    for attribute in data.iter().filter(|attribute| XFRM_USED.contains(&attribute.kind())) {
        match InfoXfrm::parse(attribute)? {
            InfoXfrm::Link(index) => tunnel.lower = lower(index),
            InfoXfrm::IfId(id) => tunnel.id = Some(id),
            _ => {}
        }
    }
    Ok(())
}

/// `IFLA_BAREUDP_PORT`.
const BAREUDP_PORT: u16 = 1;

fn bareudp(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    tunnel.external = true;
    for attribute in data.iter().filter(|attribute| attribute.kind() == BAREUDP_PORT) {
        if let InfoBareUdp::Port(port) = InfoBareUdp::parse(attribute)? {
            tunnel.port = Some(port);
        }
    }
    Ok(())
}

/// With `pmtudisc` the kernel sets DF on every outer packet; with `nopmtudisc` the outer packet takes the inner one's.
const fn outer_df(pmtudisc: bool) -> Df {
    if pmtudisc { Df::Set } else { Df::Inherit }
}

impl Tunnel {
    /// Whether whoever sent a packet that no longer fits once it is wrapped is told so, pods too. IPIP, GRE and SIT with
    /// DF outside answer with Fragmentation Needed themselves (`tnl_update_pmtu`, `ipip6_tunnel_xmit`); they have to know
    /// for that what the way carries, which a silent network below never tells. Others drop without a word.
    pub const fn tells(&self) -> bool {
        let routed = matches!(self.kind, TunnelKind::Ipip | TunnelKind::Gre | TunnelKind::Sit);
        routed && matches!(self.df, Some(Df::Set)) && !self.external
    }
}

#[cfg(test)]
mod tests;
