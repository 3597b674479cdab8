//! The kernel's tables of one reading, decoded. Each is known or could not be read, on its own.

pub mod blocks;
pub mod keyed;
pub mod neighbours;
mod news;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::declared;
use crate::declared::sysctl::{Key, Written};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::pod_end::{self, PodEnd, PodEnds};
use crate::kernel::{
    self, Address, BoundPort, Conntrack, Counters, Dump, Exception, FdbEntry, HostFile, Link, LinkIndex, Mac,
    Neighbour, NeighbourTable, RawFacts, RawMessage, Route, RouteKind, Table, TunnelKind, neighbour_table,
};
use crate::units::Family;

use keyed::{Entry, Rows};

/// Decoded tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Network devices.
    pub links: Fact<Vec<Link>>,
    /// Addresses.
    pub addresses: Fact<Vec<Address>>,
    /// Routes of every table.
    pub routes: Fact<Vec<Route>>,
    /// Cached path MTUs.
    pub exceptions: Fact<Vec<Exception>>,
    /// Neighbours.
    pub neighbours: Fact<Rows<Neighbour>>,
    /// How full the machine's neighbour tables are; the limit is the smaller one of what the table and the file say.
    pub neighbour_tables: Fact<Vec<NeighbourTable>>,
    /// Forwarding entries.
    pub forwarding: Fact<Rows<FdbEntry>>,
    /// The pods' ends of their links, by the node's ends; those that are gone are not among them.
    pub pod_ends: Fact<BTreeMap<LinkIndex, Fact<PodEnd>>>,
    /// `net.ipv4.ip_forward`.
    pub ip_forward: Fact<i64>,
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter_all: Fact<i64>,
    /// `net.ipv4.conf.all.proxy_arp`.
    pub proxy_arp_all: Fact<i64>,
    /// `net.ipv6.conf.all.forwarding`; absent where the kernel does not speak IPv6.
    pub ipv6_forwarding: Fact<i64>,
    /// `net.ipv4.ip_no_pmtu_disc`.
    pub no_pmtu_disc: Fact<i64>,
    /// `net.bridge.bridge-nf-call-iptables`; absent where br_netfilter is not loaded.
    pub bridge_nf_iptables: Fact<i64>,
    /// `net.bridge.bridge-nf-call-ip6tables`; absent where br_netfilter is not loaded.
    pub bridge_nf_ip6tables: Fact<i64>,
    /// What files say of settings.
    pub written: Fact<Written>,
    /// What other files of the host declare.
    pub declared: declared::Files,
    /// The kernel's values of settings that somebody wants to be something.
    pub values: BTreeMap<Key, Fact<String>>,
    /// Connection tracking; absent where nothing is tracked.
    pub conntrack: Fact<Conntrack>,
    /// Counters.
    pub counters: Fact<Counters>,
    /// UDP ports that are taken, of those that tunnels here use.
    pub ports: Fact<Vec<BoundPort>>,
    /// Messages that did not decode, by source.
    pub malformed: Vec<(Source, String)>,
}

impl Tables {
    /// Decodes one reading.
    pub fn decode(raw: &RawFacts) -> Self {
        let mut malformed = Vec::new();
        let file = |file: HostFile| whole(raw, file);
        let number = |of: HostFile| Fact::from(file(of).and_then(|text| kernel::proc::number(&text)));
        let links = table(Source::Links, &raw.links, kernel::link::decode, &mut malformed);
        Self {
            ports: ports(raw, &links).into(),
            links,
            addresses: table(Source::Addresses, &raw.addresses, kernel::address::decode, &mut malformed),
            routes: table(Source::Routes, &raw.routes, kernel::route::decode, &mut malformed),
            exceptions: Fact::Unread(not_yet(Source::Exceptions)),
            neighbours: table(Source::Neighbours, &raw.neighbours, kernel::neighbour::decode, &mut malformed)
                .map(Rows::from),
            neighbour_tables: neighbour_tables(raw, &mut malformed),
            forwarding: table(Source::Fdb, &raw.fdb, kernel::neighbour::forwarding, &mut malformed).map(Rows::from),
            pod_ends: pod_ends(&raw.pod_ends, &mut malformed),
            ip_forward: number(HostFile::IpForward),
            rp_filter_all: number(HostFile::RpFilterAll),
            proxy_arp_all: number(HostFile::ProxyArpAll),
            ipv6_forwarding: optional(raw, HostFile::Ipv6Forwarding),
            no_pmtu_disc: number(HostFile::NoPmtuDisc),
            bridge_nf_iptables: bridge_netfilter(raw, HostFile::BridgeNfIptables),
            bridge_nf_ip6tables: bridge_netfilter(raw, HostFile::BridgeNfIp6tables),
            written: raw.sysctls.files.as_ref().map(Written::new).map_err(Unread::clone).into(),
            declared: declared::Files::parse(&raw.host),
            values: raw.sysctls.values.iter().map(|(key, value)| (key.clone(), value_of(value))).collect(),
            conntrack: conntrack(raw).unwrap_or_else(Fact::Unread),
            counters: counters(raw).into(),
            malformed,
        }
    }

    /// Takes in the cached path MTUs, which are read after the other tables.
    pub fn take_exceptions(&mut self, dump: &Dump) {
        self.exceptions = table(Source::Exceptions, dump, kernel::route::exceptions, &mut self.malformed);
    }

    /// Tables before anything was read.
    pub fn unread() -> Self {
        Self {
            links: Fact::Unread(not_yet(Source::Links)),
            addresses: Fact::Unread(not_yet(Source::Addresses)),
            routes: Fact::Unread(not_yet(Source::Routes)),
            exceptions: Fact::Unread(not_yet(Source::Exceptions)),
            neighbours: Fact::Unread(not_yet(Source::Neighbours)),
            neighbour_tables: Fact::Unread(not_yet(Source::NeighbourTables)),
            forwarding: Fact::Unread(not_yet(Source::Fdb)),
            pod_ends: Fact::Unread(not_yet(Source::PodEnds)),
            ip_forward: Fact::Unread(not_yet(Source::Settings)),
            rp_filter_all: Fact::Unread(not_yet(Source::Settings)),
            proxy_arp_all: Fact::Unread(not_yet(Source::Settings)),
            ipv6_forwarding: Fact::Unread(not_yet(Source::Settings)),
            no_pmtu_disc: Fact::Unread(not_yet(Source::Settings)),
            bridge_nf_iptables: Fact::Unread(not_yet(Source::Settings)),
            bridge_nf_ip6tables: Fact::Unread(not_yet(Source::Settings)),
            written: Fact::Unread(not_yet(Source::SysctlFiles)),
            declared: declared::Files::parse(&declared::host::RawHost::default()),
            values: BTreeMap::new(),
            conntrack: Fact::Unread(not_yet(Source::Settings)),
            counters: Fact::Unread(not_yet(Source::Counters)),
            ports: Fact::Unread(not_yet(Source::Counters)),
            malformed: Vec::new(),
        }
    }

    /// Every counter: those of files, and how often neighbour tables were full.
    pub fn counted(&self) -> Fact<Counters> {
        let full = self.neighbour_tables.known().into_iter().flatten();
        let full = full.map(|table| (neighbour_table::refusals(table.family), table.refused));
        self.counters.clone().map(|counters| counters.into_iter().chain(full).collect())
    }

    /// Whether something could not be read here that could be read in `earlier` ones.
    pub fn tell_less_than(&self, earlier: &Self) -> bool {
        let lost = |now: bool, before: bool| before && !now;
        lost(self.links.known().is_some(), earlier.links.known().is_some())
            || lost(self.addresses.known().is_some(), earlier.addresses.known().is_some())
            || lost(self.routes.known().is_some(), earlier.routes.known().is_some())
            || lost(self.neighbours.known().is_some(), earlier.neighbours.known().is_some())
            || lost(self.forwarding.known().is_some(), earlier.forwarding.known().is_some())
            || lost(self.pod_ends.known().is_some(), earlier.pod_ends.known().is_some())
    }

    /// Every link, or none where they could not be read.
    pub fn links(&self) -> &[Link] {
        self.links.known().map_or(&[], Vec::as_slice)
    }

    /// The link of this number.
    pub fn link(&self, index: LinkIndex) -> Option<&Link> {
        self.links().iter().find(|link| link.index == index)
    }

    /// The link of this name.
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links().iter().find(|link| link.name == name)
    }

    /// The link that answers to a name, be it its first or another one: what a program is told to use.
    pub fn link_called(&self, name: &str) -> Option<&Link> {
        let other = || self.links().iter().find(|link| link.other_names.iter().any(|other| other == name));
        self.link_named(name).or_else(other)
    }

    /// The pod's end of a link; `None` if it is gone, or there is none.
    ///
    /// # Errors
    /// If the ends could not be read, or this one could not.
    pub fn pod_end(&self, link: LinkIndex) -> Result<Option<&PodEnd>, Unread> {
        self.pod_ends.read()?.and_then(|ends| ends.get(&link)).map_or(Ok(None), Fact::read)
    }

    /// Addresses of a link.
    pub fn addresses_of(&self, link: LinkIndex) -> impl Iterator<Item = &Address> {
        self.addresses.known().into_iter().flatten().filter(move |address| address.link == link)
    }

    /// Whether this machine has the address.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.known().into_iter().flatten().any(|own| own.address == address)
    }

    /// The smallest path MTU that the kernel has cached for a destination; of several, the one that is kept longest.
    pub fn exception(&self, destination: IpAddr) -> Option<&Exception> {
        let cached = self.exceptions.known()?.iter().filter(|entry| entry.destination == destination);
        cached.min_by_key(|entry| (entry.mtu, std::cmp::Reverse(entry.expires)))
    }

    /// Neighbour entries of a link.
    pub fn neighbours_of(&self, link: LinkIndex) -> impl Iterator<Item = &Neighbour> {
        self.neighbours.known().into_iter().flatten().filter(move |neighbour| neighbour.link == link)
    }

    /// Forwarding entries of a link.
    pub fn forwarding_of(&self, link: LinkIndex) -> impl Iterator<Item = &FdbEntry> {
        self.forwarding.known().into_iter().flatten().filter(move |entry| entry.link == link)
    }

    /// Forwarding entries of a link that lead to another machine.
    pub fn remotes_of(&self, link: LinkIndex) -> impl Iterator<Item = (&FdbEntry, IpAddr)> {
        self.forwarding_of(link).filter_map(|entry| entry.destination.map(|address| (entry, address)))
    }

    /// The far tunnel end behind a neighbour of a tunnel: neighbour → MAC → forwarding entry.
    pub fn far_end(&self, tunnel: LinkIndex, neighbour: IpAddr) -> Option<IpAddr> {
        let mac = self.neighbours_at(tunnel, neighbour).next()?.mac?;
        self.entries_for(tunnel, mac).find_map(|entry| entry.destination)
    }

    /// Neighbour entries of a link for an address.
    pub fn neighbours_at(&self, link: LinkIndex, address: IpAddr) -> impl Iterator<Item = &Neighbour> {
        self.neighbours.known().into_iter().flat_map(move |all| all.at(&Entry::Address(link, address)))
    }

    /// Forwarding entries of a link for a hardware address.
    pub fn entries_for(&self, link: LinkIndex, mac: Mac) -> impl Iterator<Item = &FdbEntry> {
        self.forwarding.known().into_iter().flat_map(move |all| all.at(&Entry::Mac(link, mac)))
    }

    /// Forwarding entries of a link that lead to a machine.
    pub fn entries_to(&self, link: LinkIndex, end: IpAddr) -> impl Iterator<Item = &FdbEntry> {
        self.forwarding.known().into_iter().flat_map(move |all| all.at(&Entry::Address(link, end)))
    }

    /// Whether a VXLAN device finds nodes by nothing but the entries that somebody wrote for each. It may do without if it
    /// floods (an all-zero or multicast forwarding entry, a `remote` or `group`), learns, asks a daemon, is a port of a
    /// bridge, or is told with each packet (collect-metadata mode). While it is down its neighbours and routes are lost.
    pub fn leads_by_entries(&self, link: &Link) -> bool {
        let Some(tunnel) = &link.tunnel else { return false };
        let alone = tunnel.remote.is_none() && !tunnel.learning && !tunnel.asks && !tunnel.external;
        let floods = || self.forwarding_of(link.index).any(|entry| !entry.mac.is_unicast());
        tunnel.kind == TunnelKind::Vxlan && alone && link.master.is_none() && link.works() && !floods()
    }

    /// The far tunnel ends that routes name as gateways: IPIP and GRE devices without `remote`, as Calico's `tunl0`, send
    /// the outer packet straight to the gateway of the inner one.
    pub fn far_gateways(&self, link: &Link) -> Vec<IpAddr> {
        let by_gateway = link.tunnel.as_ref().is_some_and(|tunnel| {
            let layer3 = matches!(
                tunnel.kind,
                TunnelKind::Ipip | TunnelKind::Gre | TunnelKind::Sit | TunnelKind::Ip6tnl | TunnelKind::Ip6gre
            );
            layer3 && tunnel.remote.is_none() && !tunnel.external
        });
        let routes = self.routes.known().into_iter().flatten().filter(|route| route.kind == RouteKind::Unicast);
        let hops = routes.flat_map(|route| &route.hops).filter(|hop| hop.link == link.index);
        if by_gateway { hops.filter_map(|hop| hop.gateway).collect() } else { Vec::new() }
    }

    /// The effective `rp_filter` of a link: the larger of its own value and that of `all`.
    pub fn rp_filter(&self, link: &Link) -> Fact<i64> {
        let Some(inet) = link.inet else {
            let why = format!("{}: the link dump carries no IPv4 settings", link.name);
            return Fact::Unread(Unread::new(Source::Settings, Reason::Unsupported { why }));
        };
        self.rp_filter_all.clone().map(|all| all.max(i64::from(inet.rp_filter)))
    }
}

/// Whether a prefix holds an address.
pub fn covers(prefix: IpAddr, length: u8, address: IpAddr) -> bool {
    match (prefix, address) {
        (IpAddr::V4(prefix), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            (u32::from(prefix) ^ u32::from(address)) & mask == 0
        }
        (IpAddr::V6(prefix), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            (u128::from(prefix) ^ u128::from(address)) & mask == 0
        }
        _ => false,
    }
}

fn table<T>(
    source: Source,
    dump: &Dump,
    decode: impl Fn(&[RawMessage]) -> Table<T>,
    malformed: &mut Vec<(Source, String)>,
) -> Fact<Vec<T>> {
    match dump {
        Err(unread) => Fact::Unread(unread.clone()),
        Ok(messages) => {
            let Table { rows, malformed: lines } = decode(messages);
            malformed.extend(lines.into_iter().map(|line| (source, line)));
            Fact::Known(rows)
        }
    }
}

fn pod_ends(raw: &PodEnds, malformed: &mut Vec<(Source, String)>) -> Fact<BTreeMap<LinkIndex, Fact<PodEnd>>> {
    let ends = raw.as_ref().map_err(Unread::clone).map(|raw| {
        let (ends, lines) = pod_end::decode(raw);
        malformed.extend(lines.into_iter().map(|line| (Source::PodEnds, line)));
        ends
    });
    ends.into()
}

fn file(raw: &RawFacts, file: HostFile) -> Result<Option<&String>, Unread> {
    match raw.files.get(&file) {
        Some(Ok(text)) => Ok(text.as_ref()),
        Some(Err(unread)) => Err(unread.clone()),
        None => Err(not_yet(file.source())),
    }
}

/// A file that every machine has.
fn whole(raw: &RawFacts, of: HostFile) -> Result<String, Unread> {
    let missing = || Reason::Failed { what: format!("{} does not exist", of.path()) };
    file(raw, of)?.cloned().ok_or_else(|| Unread::new(of.source(), missing()))
}

fn value_of(value: &Result<Option<String>, Unread>) -> Fact<String> {
    match value {
        Ok(Some(value)) => Fact::Known(value.trim().to_owned()),
        Ok(None) => Fact::Absent,
        Err(unread) => Fact::Unread(unread.clone()),
    }
}

/// A setting that some machines do not have.
fn optional(raw: &RawFacts, of: HostFile) -> Fact<i64> {
    match file(raw, of).and_then(|text| text.map(|text| kernel::proc::number(text)).transpose()) {
        Ok(Some(value)) => Fact::Known(value),
        Ok(None) => Fact::Absent,
        Err(unread) => Fact::Unread(unread),
    }
}

/// A setting that comes and goes with the module br_netfilter. Before Linux 5.3 there was one for the whole machine, and
/// only the machine's own namespace showed it: in a container the module may be at work although the file is missing.
fn bridge_netfilter(raw: &RawFacts, of: HostFile) -> Fact<i64> {
    let read = || match file(raw, of)? {
        Some(text) => kernel::proc::number(text).map(Fact::Known),
        None => match file(raw, HostFile::Modules)? {
            Some(modules) if kernel::proc::has_module(modules, "br_netfilter") => {
                let why =
                    format!("br_netfilter is loaded, and this namespace has no {}: a kernel before 5.3", of.path());
                Err(Unread::new(of.source(), Reason::Unsupported { why }))
            }
            _ => Ok(Fact::Absent),
        },
    };
    read().unwrap_or_else(Fact::Unread)
}

fn counters(raw: &RawFacts) -> Result<Counters, Unread> {
    let mut counters = Counters::new();
    for of in [HostFile::Snmp, HostFile::Netstat] {
        kernel::proc::pairs(of.path(), &whole(raw, of)?, &mut counters)?;
    }
    if let Some(text) = file(raw, HostFile::Snmp6)? {
        kernel::proc::list(text, &mut counters)?;
    }
    if let Some(text) = file(raw, HostFile::ConntrackStat)? {
        kernel::conntrack::counters(text, &mut counters)?;
    }
    Ok(counters)
}

fn conntrack(raw: &RawFacts) -> Result<Fact<Conntrack>, Unread> {
    match (file(raw, HostFile::ConntrackCount)?, file(raw, HostFile::ConntrackMax)?) {
        (Some(count), Some(max)) => kernel::conntrack::table(count, max).map(Fact::Known),
        _ => Ok(Fact::Absent),
    }
}

/// The tables, each held to the smaller one of both limits that are told: the file is the machine's own word, which the
/// kernel shows nowhere but in the machine's own network namespace.
fn neighbour_tables(raw: &RawFacts, malformed: &mut Vec<(Source, String)>) -> Fact<Vec<NeighbourTable>> {
    let decode = neighbour_table::decode;
    let tables = table(Source::NeighbourTables, &raw.neighbour_tables, decode, malformed);
    let limited = |mut table: NeighbourTable| {
        let of = match table.family {
            Family::Ipv4 => HostFile::NeighboursLimit,
            Family::Ipv6 => HostFile::NeighboursLimit6,
        };
        // A limit that could not be read in the file is still told by the table.
        let written = file(raw, of).ok().flatten().and_then(|text| kernel::proc::number(text).ok());
        table.limit =
            written.and_then(|limit| u32::try_from(limit).ok()).map_or(table.limit, |own| own.min(table.limit));
        table
    };
    tables.map(|tables| tables.into_iter().map(limited).collect())
}

/// A node may have thousands of UDP sockets; only the ports of its tunnels are kept.
fn ports(raw: &RawFacts, links: &Fact<Vec<Link>>) -> Result<Vec<BoundPort>, Unread> {
    let links = links.read()?.into_iter().flatten();
    let used: BTreeSet<u16> = links.filter_map(|link| link.tunnel.as_ref()?.port).collect();
    let mut bound = kernel::socket::bound(Family::Ipv4, &whole(raw, HostFile::Udp)?, &used)?;
    if let Some(text) = file(raw, HostFile::Udp6)? {
        bound.extend(kernel::socket::bound(Family::Ipv6, text, &used)?);
    }
    Ok(bound)
}

const fn not_yet(source: Source) -> Unread {
    Unread::new(source, Reason::NotYet)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of the setting when file and list of modules read like this.
    fn bridge_nf(setting: Option<&str>, modules: Result<Option<&str>, Unread>) -> Fact<i64> {
        let unread = || Err(not_yet(Source::Links));
        let files = BTreeMap::from([
            (HostFile::BridgeNfIptables, Ok(setting.map(str::to_owned))),
            (HostFile::Modules, modules.map(|text| text.map(str::to_owned))),
        ]);
        let raw = RawFacts {
            links: unread(),
            addresses: unread(),
            routes: unread(),
            neighbours: unread(),
            neighbour_tables: unread(),
            fdb: unread(),
            pod_ends: Err(not_yet(Source::PodEnds)),
            files,
            sysctls: Default::default(),
            host: Default::default(),
            took: BTreeMap::new(),
        };
        Tables::decode(&raw).bridge_nf_iptables
    }

    #[test]
    fn a_bridge_setting_is_missing_only_where_its_module_is() {
        let loaded = "br_netfilter 32768 0 - Live 0x0\nbridge 319488 1 br_netfilter, Live 0x0\n";
        assert_eq!(bridge_nf(Some("1\n"), Ok(Some(loaded))), Fact::Known(1));
        assert_eq!(bridge_nf(None, Ok(Some("bridge 319488 0 - Live 0x0\n"))), Fact::Absent);
        assert_eq!(bridge_nf(None, Ok(None)), Fact::Absent, "a kernel without modules");
        let hidden = bridge_nf(None, Ok(Some(loaded)));
        assert!(matches!(&hidden, Fact::Unread(why) if why.to_string().contains("5.3")), "{hidden:?}");
        let denied = Unread::new(Source::Settings, Reason::Denied { needs: "permission".into() });
        assert_eq!(bridge_nf(None, Err(denied.clone())), Fact::Unread(denied));
    }

    #[test]
    fn prefixes_hold_what_they_should() {
        let covers =
            |prefix: &str, length, address: &str| covers(prefix.parse().unwrap(), length, address.parse().unwrap());
        assert!(covers("10.0.0.0", 24, "10.0.0.255"));
        assert!(!covers("10.0.0.0", 24, "10.0.1.0"));
        assert!(covers("0.0.0.0", 0, "8.8.8.8"));
        assert!(covers("10.1.1.1", 32, "10.1.1.1") && !covers("10.1.1.1", 32, "10.1.1.2"));
        assert!(covers("fd00::", 64, "fd00::1") && !covers("fd00::", 64, "fd00:0:0:1::1"));
        assert!(covers("::", 0, "fd00::1") && !covers("::", 0, "10.0.0.1"));
    }
}
