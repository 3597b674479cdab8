//! `IFLA_INFO_DATA` of tunnel devices: VXLAN, Geneve, GRE, IPIP, SIT, WireGuard.
//!
//! A kind that stands here has a known overhead; other kinds yield no tunnel. An address of zero means "any" to the
//! kernel and is no address here. WireGuard tells nothing over rtnetlink but its kind.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, Parseable, ParseableParametrized};
use netlink_packet_route::link::{
    GeneveDf, GreIOFlags, InfoGeneve, InfoGre, InfoIpTunnel, InfoKind, InfoVxlan, VxlanDf,
};

use super::attributes::{Attribute, inside};
use super::{Df, LinkIndex, Tunnel, TunnelKind};

/// Fills in what the attributes of one kind say.
type Fill = fn(&mut Tunnel, &[Attribute<'_>]) -> Result<(), DecodeError>;

/// Decodes the parameters of a link of this kind as far as they go, and says what stopped it: a parameter that is not as
/// long as it must be, or data cut short. No tunnel if the kind is none.
pub(super) fn decode(kind: &str, data: Option<&Attribute<'_>>) -> (Option<Tunnel>, Option<DecodeError>) {
    let (kind, fill): (_, Fill) = match kind {
        "vxlan" => (TunnelKind::Vxlan, vxlan),
        "geneve" => (TunnelKind::Geneve, geneve),
        "gre" => (TunnelKind::Gre, gre),
        "gretap" => (TunnelKind::Gretap, gre),
        "ipip" => (TunnelKind::Ipip, iptun),
        "sit" => (TunnelKind::Sit, iptun),
        "wireguard" => (TunnelKind::Wireguard, |_, _| Ok(())),
        _ => return (None, None),
    };
    let mut tunnel = Tunnel::of(kind);
    let filled = data.map_or(Ok(()), |data| inside(data).and_then(|data| fill(&mut tunnel, &data)));
    if tunnel.external {
        // The kernel shows a zero, but each packet brings its own.
        tunnel.id = None;
    }
    (Some(tunnel), filled.err())
}

fn address(address: impl Into<IpAddr>) -> Option<IpAddr> {
    Some(address.into()).filter(|address| !address.is_unspecified())
}

fn lower(index: u32) -> Option<LinkIndex> {
    (index != 0).then_some(LinkIndex(index))
}

/// `IFLA_VXLAN_*` whose meaning is used: id, group, link, local, learning, l2miss, l3miss, port, group6, local6, external,
/// df.
const VXLAN_USED: [u16; 12] = [1, 2, 3, 4, 7, 13, 14, 15, 16, 17, 25, 29];

fn vxlan(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    for attribute in data.iter().filter(|attribute| VXLAN_USED.contains(&attribute.kind())) {
        match InfoVxlan::parse(attribute)? {
            InfoVxlan::Id(id) => tunnel.id = Some(id),
            InfoVxlan::Group(group) => tunnel.remote = address(group),
            InfoVxlan::Group6(group) => tunnel.remote = address(group),
            InfoVxlan::Link(index) => tunnel.lower = lower(index),
            InfoVxlan::Local(local) => tunnel.local = address(local),
            InfoVxlan::Local6(local) => tunnel.local = address(local),
            InfoVxlan::Learning(learning) => tunnel.learning = learning,
            InfoVxlan::L2Miss(asks) | InfoVxlan::L3Miss(asks) => tunnel.asks |= asks,
            InfoVxlan::Port(port) => tunnel.port = Some(port),
            InfoVxlan::CollectMetadata(external) => tunnel.external = external,
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
            InfoGeneve::Id(id) => tunnel.id = Some(id),
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

/// `IFLA_GRE_*` whose meaning is used: link, output flags, output key, local, remote, pmtudisc, external.
const GRE_USED: [u16; 7] = [1, 3, 5, 6, 7, 10, 18];

fn gre(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    let (mut keyed, mut key) = (false, 0);
    for attribute in data.iter().filter(|attribute| GRE_USED.contains(&attribute.kind())) {
        match InfoGre::parse(attribute)? {
            InfoGre::Link(index) => tunnel.lower = lower(index),
            InfoGre::OFlags(flags) => keyed = flags.contains(GreIOFlags::Key),
            InfoGre::OKey(output) => key = output,
            InfoGre::Local(local) => tunnel.local = address(local),
            InfoGre::Remote(remote) => tunnel.remote = address(remote),
            InfoGre::PathMTUDiscovery(on) => tunnel.df = Some(outer_df(on)),
            InfoGre::CollectMetadata => tunnel.external = true,
            _ => {}
        }
    }
    tunnel.id = keyed.then_some(key);
    Ok(())
}

/// `IFLA_IPTUN_*` whose meaning is used: link, local, remote, pmtudisc, external. They mean the same to IPIP and SIT.
const IPTUN_USED: [u16; 5] = [1, 2, 3, 10, 19];

fn iptun(tunnel: &mut Tunnel, data: &[Attribute<'_>]) -> Result<(), DecodeError> {
    for attribute in data.iter().filter(|attribute| IPTUN_USED.contains(&attribute.kind())) {
        match InfoIpTunnel::parse_with_param(attribute, InfoKind::IpIp)? {
            InfoIpTunnel::Link(index) => tunnel.lower = lower(index),
            InfoIpTunnel::Local(local) => tunnel.local = address(local),
            InfoIpTunnel::Remote(remote) => tunnel.remote = address(remote),
            InfoIpTunnel::PMtuDisc(on) => tunnel.df = Some(outer_df(on)),
            InfoIpTunnel::CollectMetadata => tunnel.external = true,
            _ => {}
        }
    }
    Ok(())
}

/// With `pmtudisc` the kernel sets DF on every outer packet; with `nopmtudisc` the outer packet takes the inner one's.
const fn outer_df(pmtudisc: bool) -> Df {
    if pmtudisc { Df::Set } else { Df::Inherit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{golden, link};

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn golden_tunnels_of_every_kind() {
        let table = link::decode(&golden::tunnels()["links"]);
        assert_eq!(table.malformed, [""; 0]);
        let find = |name: &str| table.rows.iter().find(|link| link.name == name).unwrap();
        let (local, eth0) = (ip("10.0.0.11"), Some(find("eth0").index));
        let tunnel = Tunnel::of;
        for (name, expected) in [
            ("tunl0", Tunnel { df: Some(Df::Inherit), ..tunnel(TunnelKind::Ipip) }),
            (
                "gre1",
                Tunnel {
                    id: Some(7),
                    local,
                    remote: ip("10.0.0.13"),
                    lower: eth0,
                    df: Some(Df::Set),
                    ..tunnel(TunnelKind::Gre)
                },
            ),
            ("gretap1", Tunnel { local, remote: ip("10.0.0.14"), df: Some(Df::Set), ..tunnel(TunnelKind::Gretap) }),
            ("sit1", Tunnel { local, remote: ip("10.0.0.15"), df: Some(Df::Set), ..tunnel(TunnelKind::Sit) }),
            ("wireguard.cali", tunnel(TunnelKind::Wireguard)),
            (
                "geneve1",
                Tunnel {
                    id: Some(9),
                    port: Some(6083),
                    remote: ip("10.0.0.16"),
                    df: Some(Df::Unset),
                    ..tunnel(TunnelKind::Geneve)
                },
            ),
            (
                "genev_sys_6081",
                Tunnel { port: Some(6081), df: Some(Df::Unset), external: true, ..tunnel(TunnelKind::Geneve) },
            ),
            (
                "cilium_vxlan",
                Tunnel { port: Some(8472), df: Some(Df::Unset), external: true, ..tunnel(TunnelKind::Vxlan) },
            ),
            (
                "vxlan6",
                Tunnel {
                    id: Some(7),
                    port: Some(4789),
                    local: ip("fd00::11"),
                    lower: eth0,
                    df: Some(Df::Unset),
                    ..tunnel(TunnelKind::Vxlan)
                },
            ),
        ] {
            assert_eq!(find(name).tunnel, Some(expected), "{name}");
        }
    }

    #[test]
    fn golden_links_that_are_no_tunnels_have_none() {
        for machine in [golden::bonded(), golden::bridged(), golden::teamed(), golden::spread()] {
            let table = link::decode(&machine["links"]);
            assert_eq!(table.malformed, [""; 0]);
            let tunnels = table.rows.iter().filter(|link| link.tunnel.is_some());
            assert!(tunnels.clone().all(|link| link.kind == "vxlan"), "{:?}", tunnels.collect::<Vec<_>>());
        }
    }
}
