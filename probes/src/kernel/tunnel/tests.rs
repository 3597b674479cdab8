//! What a real kernel said of each kind of tunnel, parameter by parameter.

use std::collections::BTreeMap;

use super::*;
use crate::kernel::{Options, RawMessage, golden, link};

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
                options: Options { key: true, ..Options::default() },
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
        ("cilium_vxlan", Tunnel { port: Some(8472), df: Some(Df::Unset), external: true, ..tunnel(TunnelKind::Vxlan) }),
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

/// Every tunnel of a machine, and the link `eth0` below them.
fn tunnels_of(machine: &BTreeMap<String, Vec<RawMessage>>) -> (BTreeMap<String, Tunnel>, LinkIndex) {
    let table = link::decode(&machine["links"]);
    assert_eq!(table.malformed, [""; 0]);
    let eth0 = table.rows.iter().find(|link| link.name == "eth0").unwrap().index;
    (table.rows.into_iter().filter_map(|link| Some((link.name, link.tunnel?))).collect(), eth0)
}

/// What tells a decoder that looks at the wrong attribute: over IPv6 numbers mean other things.
#[test]
fn golden_tunnels_over_ipv6_and_with_options() {
    let (found, eth0) = tunnels_of(&golden::wrapped());
    let none = Options::default();
    let v4 = |kind, options| Tunnel {
        local: ip("10.0.0.11"),
        remote: ip("10.0.0.12"),
        df: Some(Df::Set),
        options,
        ..Tunnel::of(kind)
    };
    let v6 = |kind, options| Tunnel { local: ip("fd00::11"), remote: ip("fd00::12"), options, ..Tunnel::of(kind) };
    let key = Options { key: true, ..none };
    let limit = Options { encap_limit: true, ..none };
    let fou = Options { wrap: Some(Wrap::Fou), ..none };
    let gue = Options { wrap: Some(Wrap::Gue), ..none };
    for (name, expected) in [
        ("gre2", Tunnel { id: Some(7), ..v4(TunnelKind::Gre, Options { checksum: true, sequence: true, ..key }) }),
        ("gretap2", Tunnel { id: Some(9), ..v4(TunnelKind::Gretap, key) }),
        ("tun-fou", v4(TunnelKind::Ipip, fou)),
        ("tun-gue", Tunnel { remote: ip("10.0.0.13"), ..v4(TunnelKind::Ipip, gue) }),
        ("sit2", v4(TunnelKind::Sit, fou)),
        ("ip4in6", v6(TunnelKind::Ip6tnl, limit)),
        ("ip6in6", Tunnel { remote: ip("fd00::13"), lower: Some(eth0), ..v6(TunnelKind::Ip6tnl, none) }),
        ("ip6gre1", v6(TunnelKind::Ip6gre, limit)),
        ("ip6gre2", Tunnel { id: Some(8), ..v6(TunnelKind::Ip6gre, key) }),
        ("ip6gretap1", v6(TunnelKind::Ip6gretap, limit)),
        (
            "geneve6",
            Tunnel {
                id: Some(9),
                port: Some(6081),
                remote: ip("fd00::12"),
                df: Some(Df::Unset),
                ..Tunnel::of(TunnelKind::Geneve)
            },
        ),
    ] {
        assert_eq!(found[name], expected, "{name}");
    }
}

#[test]
fn golden_tunnels_in_collect_metadata_mode_have_nothing_of_their_own() {
    let (found, _) = tunnels_of(&golden::wrapped());
    let external = |kind, df| Tunnel { external: true, df, ..Tunnel::of(kind) };
    let bare = Options { bare: true, ..Options::default() };
    for (name, expected) in [
        ("cilium_ipip4", external(TunnelKind::Ipip, Some(Df::Set))),
        ("cilium_ipip6", external(TunnelKind::Ip6tnl, None)),
        ("gre_sys", external(TunnelKind::Gretap, Some(Df::Set))),
        ("ip6gre_sys", external(TunnelKind::Ip6gretap, None)),
        ("gpe0", Tunnel { port: Some(4790), options: bare, ..external(TunnelKind::Vxlan, Some(Df::Unset)) }),
    ] {
        assert_eq!(found[name], expected, "{name}");
    }
    let (found, _) = tunnels_of(&golden::weave());
    let weave = Tunnel { port: Some(6784), ..external(TunnelKind::Vxlan, Some(Df::Unset)) };
    assert_eq!(found, BTreeMap::from([("vxlan-6784".into(), weave)]));
    let (found, _) = tunnels_of(&golden::antrea());
    let antrea = Tunnel { port: Some(6081), ..external(TunnelKind::Geneve, Some(Df::Unset)) };
    assert_eq!(found, BTreeMap::from([("genev_sys_6081".into(), antrea)]));
}

#[test]
fn golden_ipsec_and_mirrors_are_tunnels_of_which_no_overhead_is_known() {
    let (found, eth0) = tunnels_of(&golden::wrapped());
    for (name, kind, id) in [
        ("erspan1", TunnelKind::Erspan, 3),
        ("erspan6", TunnelKind::Ip6erspan, 4),
        ("vti1", TunnelKind::Vti, 5),
        ("vti6", TunnelKind::Vti6, 6),
        ("ipsec0", TunnelKind::Xfrm, 7),
    ] {
        let tunnel = &found[name];
        assert_eq!((tunnel.kind, tunnel.id), (kind, Some(id)), "{name}");
        let ends = match name {
            "ipsec0" => [None, None],
            "erspan1" | "vti1" => [ip("10.0.0.11"), ip("10.0.0.12")],
            _ => [ip("fd00::11"), ip("fd00::12")],
        };
        assert_eq!([tunnel.local, tunnel.remote], ends, "{name}");
        assert_eq!(tunnel.lower, (name == "ipsec0").then_some(eth0), "{name}");
        let outer = kind.outer().unwrap_or(crate::units::Family::Ipv4);
        assert_eq!(crate::overhead::of(tunnel, outer), None, "{name}");
    }
}

/// The link of a kind with these attributes in its data.
fn link_of(kind: &str, data: &[(u16, &[u8])]) -> Tunnel {
    let nested = |kind: u16, value: &[u8]| {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let data: Vec<u8> = data.iter().flat_map(|&(kind, value)| nested(kind, value)).collect();
    let data = nested(2, &data);
    let (tunnel, fault) = decode(kind, Some(&Attribute::new(&data)));
    assert!(fault.is_none(), "{fault:?}");
    tunnel.unwrap()
}

/// No kernel at hand has bare UDP, and none of the machines offloads checksums to the far end.
#[test]
fn what_no_machine_shows() {
    let bare = link_of("bareudp", &[(1, &6635u16.to_be_bytes()), (2, &[8, 0])]);
    assert_eq!((bare.port, bare.external), (Some(6635), true));
    let gue = [(15, &2u16.to_ne_bytes()[..]), (16, &4u16.to_ne_bytes())];
    assert_eq!(link_of("ipip", &gue).options.wrap, Some(Wrap::Other), "its private header is not counted");
    let mpls = [(15, &3u16.to_ne_bytes()[..])];
    assert_eq!(link_of("sit", &mpls).options.wrap, Some(Wrap::Other));
    assert!(link_of("ip6gre", &[]).options.encap_limit, "the kernel's default");
}

#[test]
fn an_identifier_of_more_than_24_bits_is_none() {
    for (kind, last) in [("vxlan", 0x00ff_ffff_u32), ("geneve", 0x00ff_ffff)] {
        let data = |id: u32| [12, 0, 2, 0, 8, 0, 1, 0].into_iter().chain(id.to_ne_bytes());
        let of = |id| {
            let data: Vec<u8> = data(id).collect();
            let (tunnel, fault) = decode(kind, Some(&Attribute::new(&data)));
            (tunnel.unwrap().id, fault.is_some())
        };
        assert_eq!(of(last), (Some(last), false), "{kind}");
        assert_eq!(of(last + 1), (None, true), "{kind}");
    }
}

#[test]
fn a_kind_that_is_no_tunnel_has_no_parameters() {
    for kind in ["veth", "bridge", "macsec", "vxlan2", ""] {
        assert_eq!(decode(kind, None).0, None, "{kind}");
    }
    for kind in TunnelKind::ALL {
        assert_eq!(decode(kind.name(), None).0.unwrap().kind, kind);
    }
}
