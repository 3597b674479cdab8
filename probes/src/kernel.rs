//! The kernel's tables as facts: links, addresses, routes, neighbours, forwarding entries, settings, counters.
//!
//! What arrives is raw ([`RawMessage`], text), what leaves is typed. Decoding never panics: a message that does not
//! decode is counted beside the ones that do ([`Table::malformed`]) and never read as "not there".

pub mod address;
mod attributes;
pub mod conntrack;
pub mod ethtool;
mod files;
#[cfg(test)]
pub(crate) mod golden;
mod inet6;
pub mod link;
pub mod neighbour;
pub mod neighbour_table;
pub mod pod_end;
pub mod proc;
mod raw;
#[cfg(test)]
mod robustness;
pub mod route;
pub mod socket;
mod tunnel;

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::fact::Unread;
use crate::units::{Family, IpSize, LinkMtu};

pub use files::HostFile;
pub use raw::{Query, RawFacts, RawRoutes};

/// One netlink message as the kernel sent it, the 16-byte header cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// `nlmsg_type`, as in `RTM_NEWLINK` = 16.
    pub kind: u16,
    /// What follows the netlink header.
    pub body: Vec<u8>,
}

/// One dump: every message of it, or why there is none.
pub type Dump = Result<Vec<RawMessage>, Unread>;

/// A dump that was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<T> {
    /// What decoded, in the kernel's order.
    pub rows: Vec<T>,
    /// One line for each message that did not.
    pub malformed: Vec<String>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), malformed: Vec::new() }
    }
}

/// The kernel's number for a link (`ifindex`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub u32);

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it is that of one machine: no group, and not all zeros, which in a forwarding table stands for the rest.
    pub fn is_unicast(self) -> bool {
        self.0 != [0; 6] && self.0[0] & 1 == 0
    }

    /// Whether it is that of a group of VRRP, whose routers all have it (RFC 9568 §7.3).
    pub const fn is_of_vrrp(self) -> bool {
        matches!(self.0, [0, 0, 0x5e, 0, 1 | 2, _])
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number.
    pub index: LinkIndex,
    /// The name, as in `enp5s0`.
    pub name: String,
    /// What `ip -d link` shows as kind (`bridge`, `vxlan`, `veth`, …); `device` for hardware, `loopback` for `lo`.
    pub kind: String,
    /// Device MTU.
    pub mtu: LinkMtu,
    /// `IFF_UP`: set up by the administrator.
    pub up: bool,
    /// `IFLA_CARRIER`, else `IFF_LOWER_UP`; `None` where the kernel cannot tell because the link is down.
    pub carrier: Option<bool>,
    /// The bridge or bond that it is a port of.
    pub master: Option<LinkIndex>,
    /// `IFLA_LINK` where it names a link of this namespace (VLAN, macvlan, VXLAN, veth with both ends here).
    pub lower: Option<LinkIndex>,
    /// `IFLA_LINK_NETNSID`: the other end is in the namespace of this id.
    pub other_namespace: Option<i32>,
    /// `IFLA_LINK` where it names a link of that namespace: the other end's number there.
    pub other_end: Option<LinkIndex>,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// Tunnel parameters where the link is a tunnel.
    pub tunnel: Option<Tunnel>,
    /// Which packets the link shows to the filters of the IP layer, where it is a bridge that tells.
    pub bridge: Option<BridgeFilter>,
    /// IPv4 settings of the link; `None` where the dump did not carry them.
    pub inet: Option<Inet>,
    /// What the device hangs on (`pci`, `virtio`, `usb`, …); `None` where it is made of software, and before Linux 5.14,
    /// which does not tell.
    pub bus: Option<String>,
    /// IPv6 settings of the link; `None` where the dump did not carry them: the link does not speak IPv6.
    pub inet6: Option<Inet6>,
    /// Other names that it answers to (`IFLA_ALT_IFNAME`).
    pub other_names: Vec<String>,
}

impl Link {
    /// Whether the link is `lo`.
    pub fn is_loopback(&self) -> bool {
        self.kind == "loopback"
    }

    /// Administratively up and not known to lack carrier.
    pub fn works(&self) -> bool {
        self.up && self.carrier != Some(false)
    }
}

/// `net.ipv4.conf.<link>`, as carried in the link dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inet {
    /// `rp_filter` of this link alone; the effective value is the larger of it and `all`.
    pub rp_filter: u8,
    /// `forwarding`.
    pub forwarding: bool,
    /// `proxy_arp`.
    pub proxy_arp: bool,
}

/// `net.ipv6.conf.<link>`, as carried in the link dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inet6 {
    /// `forwarding`: whether the link is a router's. What is forwarded is another matter: `all` decides that.
    pub forwarding: bool,
    /// `force_forwarding`: what comes in by the link is forwarded, whatever `all` says. Since Linux 6.17.
    pub force_forwarding: bool,
    /// `accept_ra`: 0 never, 1 unless `forwarding`, 2 always.
    pub accept_ra: i32,
    /// Whether the kernel has asked for a router since the link came up, and taken in an answer.
    pub heard_router: bool,
}

/// Whether a bridge shows what it forwards to iptables and nft, whatever the setting for all bridges says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeFilter {
    /// `nf_call_iptables`.
    pub iptables: bool,
    /// `nf_call_ip6tables`.
    pub ip6tables: bool,
}

/// Kinds of tunnel. What IPsec adds hangs on its keys and what ERSPAN adds on its version: their overhead is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TunnelKind {
    /// VXLAN (RFC 7348).
    Vxlan,
    /// Geneve (RFC 8926).
    Geneve,
    /// IP in GRE (RFC 2784).
    Gre,
    /// Ethernet in GRE.
    Gretap,
    /// IPv4 in IPv4 (RFC 2003).
    Ipip,
    /// IPv6 in IPv4 (RFC 4213).
    Sit,
    /// WireGuard.
    Wireguard,
    /// IP in GRE over IPv6.
    Ip6gre,
    /// Ethernet in GRE over IPv6.
    Ip6gretap,
    /// IPv4 or IPv6 in IPv6 (RFC 2473).
    Ip6tnl,
    /// IP in nothing but UDP.
    Bareudp,
    /// Mirrored Ethernet in GRE.
    Erspan,
    /// Mirrored Ethernet in GRE over IPv6.
    Ip6erspan,
    /// IPsec by a tunnel device.
    Vti,
    /// IPsec over IPv6 by a tunnel device.
    Vti6,
    /// IPsec by an interface.
    Xfrm,
}

impl TunnelKind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Vxlan,
        Self::Geneve,
        Self::Gre,
        Self::Gretap,
        Self::Ipip,
        Self::Sit,
        Self::Wireguard,
        Self::Ip6gre,
        Self::Ip6gretap,
        Self::Ip6tnl,
        Self::Bareudp,
        Self::Erspan,
        Self::Ip6erspan,
        Self::Vti,
        Self::Vti6,
        Self::Xfrm,
    ];

    /// The family of outer packets, where the kind leaves no choice.
    pub const fn outer(self) -> Option<Family> {
        match self {
            Self::Gre | Self::Gretap | Self::Ipip | Self::Sit | Self::Erspan | Self::Vti => Some(Family::Ipv4),
            Self::Ip6gre | Self::Ip6gretap | Self::Ip6tnl | Self::Ip6erspan | Self::Vti6 => Some(Family::Ipv6),
            Self::Vxlan | Self::Geneve | Self::Wireguard | Self::Bareudp | Self::Xfrm => None,
        }
    }

    /// The kernel's name of the kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
            Self::Gretap => "gretap",
            Self::Ipip => "ipip",
            Self::Sit => "sit",
            Self::Wireguard => "wireguard",
            Self::Ip6gre => "ip6gre",
            Self::Ip6gretap => "ip6gretap",
            Self::Ip6tnl => "ip6tnl",
            Self::Bareudp => "bareudp",
            Self::Erspan => "erspan",
            Self::Ip6erspan => "ip6erspan",
            Self::Vti => "vti",
            Self::Vti6 => "vti6",
            Self::Xfrm => "xfrm",
        }
    }
}

/// What a tunnel device does with the Don't Fragment bit of its outer packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Df {
    /// Cleared: outer packets may be fragmented. The kernel's default.
    #[default]
    Unset,
    /// Set on every outer packet.
    Set,
    /// Taken over from the inner packet.
    Inherit,
}

impl Df {
    /// The word that `ip -d link` shows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Set => "set",
            Self::Inherit => "inherit",
        }
    }
}

/// Parameters of a tunnel device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Kind.
    pub kind: TunnelKind,
    /// Network identifier (VNI) or key.
    pub id: Option<u32>,
    /// UDP destination port.
    pub port: Option<u16>,
    /// Source address of outer packets.
    pub local: Option<IpAddr>,
    /// Fixed remote address or multicast group.
    pub remote: Option<IpAddr>,
    /// The link that outer packets are bound to.
    pub lower: Option<LinkIndex>,
    /// Treatment of DF; `None` where the kind has no such setting.
    pub df: Option<Df>,
    /// Collect-metadata mode (`external`): no MTU, headroom or remote of its own.
    pub external: bool,
    /// Whether the device learns forwarding entries from traffic.
    pub learning: bool,
    /// Whether the device asks a daemon for entries that it lacks (`l2miss`, `l3miss`).
    pub asks: bool,
    /// Options that change what it adds.
    pub options: Options,
}

/// Options of a tunnel device that change what it adds to a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// GRE with a key. What `id` shows is the same key.
    pub key: bool,
    /// GRE with a checksum.
    pub checksum: bool,
    /// GRE with a sequence number.
    pub sequence: bool,
    /// Packets over IPv6 say how many tunnels may be around them (`encaplimit`; the default, unless it is `none`).
    pub encap_limit: bool,
    /// No Ethernet header inside: VXLAN-GPE.
    pub bare: bool,
    /// What stands between the outer IP header and the tunnel's own.
    pub wrap: Option<Wrap>,
}

/// What an IP or GRE tunnel is wrapped in (`encap`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// Foo over UDP.
    Fou,
    /// Generic UDP encapsulation, without extensions.
    Gue,
    /// Anything else, of which it is not known what it adds.
    Other,
}

impl Tunnel {
    /// A tunnel of which nothing but the kind is known.
    pub const fn of(kind: TunnelKind) -> Self {
        Self {
            kind,
            id: None,
            port: None,
            local: None,
            remote: None,
            lower: None,
            df: None,
            external: false,
            learning: false,
            asks: false,
            options: Options {
                key: false,
                checksum: false,
                sequence: false,
                encap_limit: false,
                bare: false,
                wrap: None,
            },
        }
    }
}

/// One address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link that has it.
    pub link: LinkIndex,
    /// The address (`IFA_LOCAL`, else `IFA_ADDRESS`).
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Whether the scope is global (neither link nor host).
    pub global: bool,
    /// Whether it was made of a prefix that a router advertised, and is to be kept as such (`mngtmpaddr`).
    pub autoconfigured: bool,
    /// How long it is kept unless somebody renews it; `None` for ever.
    pub valid: Option<std::time::Duration>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination prefix; the unspecified address with prefix 0 for a default route.
    pub destination: IpAddr,
    /// Prefix length of the destination.
    pub prefix: u8,
    /// Routing table.
    pub table: u32,
    /// `rtm_protocol`: who installed it (2 kernel, 3 boot, 4 static, 12 BIRD, 80 Calico, …).
    pub protocol: u8,
    /// What the route does.
    pub kind: RouteKind,
    /// Where packets go; several for a multipath route, none for blackhole and its kin.
    pub hops: Vec<Hop>,
    /// `mtu` of the route, if set.
    pub mtu: Option<IpSize>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// `metric`.
    pub priority: u32,
    /// How long it is kept unless somebody renews it; `None` for ever. Zero is one that has run out and is listed still.
    pub expires: Option<std::time::Duration>,
}

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Sends it on.
    Unicast,
    /// Delivers it here.
    Local,
    /// Drops it in silence.
    Blackhole,
    /// Refuses it with an ICMP error.
    Refuse,
    /// Anything else (broadcast, multicast, anycast, throw, …).
    Other,
}

/// One next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The gateway; `None` if the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The link that packets leave by.
    pub link: LinkIndex,
}

/// A path MTU that the kernel has cached for one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The destination.
    pub destination: IpAddr,
    /// The cached path MTU.
    pub mtu: IpSize,
    /// Whether it stands for less than `net.ipv4.route.min_pmtu`: packets of this size are then sent without DF.
    pub locked: bool,
    /// How long the kernel keeps it.
    pub expires: Option<std::time::Duration>,
}

/// State of a neighbour entry (`NUD_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NeighbourState {
    /// Being resolved.
    Incomplete,
    /// Confirmed lately.
    Reachable,
    /// Valid, to be confirmed on use.
    Stale,
    /// About to be confirmed.
    Delay,
    /// Being confirmed.
    Probe,
    /// Did not answer.
    Failed,
    /// Needs no resolution.
    Noarp,
    /// Set by hand or by a CNI; never garbage-collected.
    Permanent,
    /// No state.
    None,
}

/// One neighbour entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The link.
    pub link: LinkIndex,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its hardware address, if resolved.
    pub mac: Option<Mac>,
    /// State.
    pub state: NeighbourState,
    /// `NTF_EXT_LEARNED`: kept by a control plane, exempt from garbage collection.
    pub external: bool,
}

/// One forwarding entry of a VXLAN device or bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdbEntry {
    /// The device.
    pub link: LinkIndex,
    /// Destination MAC; all zeros is the default entry.
    pub mac: Mac,
    /// The remote tunnel end (`NDA_DST`); `None` for bridge entries.
    pub destination: Option<IpAddr>,
    /// Whether the entry is permanent.
    pub permanent: bool,
}

/// A UDP port that is taken, on one address or on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundPort {
    /// The family of the socket. One of IPv6 may take the port for IPv4 too.
    pub family: Family,
    /// The port.
    pub port: u16,
    /// Who opened it; 0 for the kernel itself too.
    pub uid: u32,
}

/// How full one of the machine's neighbour tables is. Every network namespace shares it and sees the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourTable {
    /// Which.
    pub family: Family,
    /// Entries of all network namespaces, those among them that garbage collection leaves alone.
    pub entries: u32,
    /// Most entries that garbage collection leaves: `gc_thresh3`.
    pub limit: u32,
    /// How often an entry was refused because the table was full (`table_fulls`).
    pub refused: u64,
}

/// Connection tracking in this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Connections tracked: `nf_conntrack_count`.
    pub entries: u64,
    /// The most that a namespace may have: `nf_conntrack_max`.
    pub limit: u64,
}

/// Counters of `/proc/net` that the product uses, by product name.
pub type Counters = BTreeMap<&'static str, u64>;
