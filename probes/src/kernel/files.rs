//! Files of the host that say what the kernel does: settings, counters, sockets.
//!
//! Some come and go with a kernel module or an address family. A file that is missing is then told from one that could not
//! be looked for by the folder around it ([`HostFile::may_lack_in`]).

use crate::fact::Source;

/// Files that the agent reads below `host_root`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostFile {
    /// `/proc/sys/net/ipv4/ip_forward`.
    IpForward,
    /// `/proc/sys/net/ipv4/conf/all/rp_filter`.
    RpFilterAll,
    /// `/proc/sys/net/ipv4/conf/all/proxy_arp`.
    ProxyArpAll,
    /// `/proc/sys/net/ipv6/conf/all/forwarding`, there only where the kernel speaks IPv6.
    Ipv6Forwarding,
    /// `/proc/sys/net/ipv4/ip_no_pmtu_disc`.
    NoPmtuDisc,
    /// `/proc/sys/net/bridge/bridge-nf-call-iptables`, there only while the module br_netfilter is loaded.
    BridgeNfIptables,
    /// `/proc/sys/net/bridge/bridge-nf-call-ip6tables`, as the other.
    BridgeNfIp6tables,
    /// `/proc/modules`, the modules that are loaded.
    Modules,
    /// `/proc/net/snmp`.
    Snmp,
    /// `/proc/net/netstat`.
    Netstat,
    /// `/proc/net/udp`.
    Udp,
    /// `/proc/net/udp6`, which a kernel without IPv6 lacks.
    Udp6,
    /// `/proc/net/snmp6`, there only where IPv6 is.
    Snmp6,
    /// `/proc/sys/net/ipv4/neigh/default/gc_thresh3`, shown only by the machine's own network namespace.
    NeighboursLimit,
    /// `/proc/sys/net/ipv6/neigh/default/gc_thresh3`, as the other.
    NeighboursLimit6,
    /// `/proc/sys/net/netfilter/nf_conntrack_count`, there only while the module nf_conntrack is loaded.
    ConntrackCount,
    /// `/proc/sys/net/netfilter/nf_conntrack_max`, as the other.
    ConntrackMax,
    /// `/proc/net/stat/nf_conntrack`, which a kernel may be built without.
    ConntrackStat,
}

impl HostFile {
    /// Every file.
    pub const ALL: [Self; 18] = [
        Self::IpForward,
        Self::RpFilterAll,
        Self::ProxyArpAll,
        Self::Ipv6Forwarding,
        Self::NoPmtuDisc,
        Self::BridgeNfIptables,
        Self::BridgeNfIp6tables,
        Self::Modules,
        Self::Snmp,
        Self::Netstat,
        Self::Udp,
        Self::Udp6,
        Self::Snmp6,
        Self::NeighboursLimit,
        Self::NeighboursLimit6,
        Self::ConntrackCount,
        Self::ConntrackMax,
        Self::ConntrackStat,
    ];

    /// The path below `host_root`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::IpForward => "/proc/sys/net/ipv4/ip_forward",
            Self::RpFilterAll => "/proc/sys/net/ipv4/conf/all/rp_filter",
            Self::ProxyArpAll => "/proc/sys/net/ipv4/conf/all/proxy_arp",
            Self::Ipv6Forwarding => "/proc/sys/net/ipv6/conf/all/forwarding",
            Self::NoPmtuDisc => "/proc/sys/net/ipv4/ip_no_pmtu_disc",
            Self::BridgeNfIptables => "/proc/sys/net/bridge/bridge-nf-call-iptables",
            Self::BridgeNfIp6tables => "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
            Self::Modules => "/proc/modules",
            Self::Snmp => "/proc/net/snmp",
            Self::Netstat => "/proc/net/netstat",
            Self::Udp => "/proc/net/udp",
            Self::Udp6 => "/proc/net/udp6",
            Self::Snmp6 => "/proc/net/snmp6",
            Self::NeighboursLimit => "/proc/sys/net/ipv4/neigh/default/gc_thresh3",
            Self::NeighboursLimit6 => "/proc/sys/net/ipv6/neigh/default/gc_thresh3",
            Self::ConntrackCount => "/proc/sys/net/netfilter/nf_conntrack_count",
            Self::ConntrackMax => "/proc/sys/net/netfilter/nf_conntrack_max",
            Self::ConntrackStat => "/proc/net/stat/nf_conntrack",
        }
    }

    /// The source that the file belongs to.
    pub const fn source(self) -> Source {
        match self {
            Self::IpForward
            | Self::RpFilterAll
            | Self::ProxyArpAll
            | Self::Ipv6Forwarding
            | Self::NoPmtuDisc
            | Self::BridgeNfIptables
            | Self::BridgeNfIp6tables
            | Self::Modules
            | Self::NeighboursLimit
            | Self::NeighboursLimit6
            | Self::ConntrackCount
            | Self::ConntrackMax => Source::Settings,
            Self::Snmp | Self::Netstat | Self::Snmp6 | Self::ConntrackStat | Self::Udp | Self::Udp6 => Source::Counters,
        }
    }

    /// For a file that a machine may do without: the folder that must be there to tell a missing file from a host tree
    /// that is not mounted where it was said to be.
    pub const fn may_lack_in(self) -> Option<&'static str> {
        match self {
            Self::Ipv6Forwarding
            | Self::BridgeNfIptables
            | Self::BridgeNfIp6tables
            | Self::Modules
            | Self::Snmp6
            | Self::NeighboursLimit
            | Self::NeighboursLimit6
            | Self::ConntrackCount
            | Self::ConntrackMax
            | Self::ConntrackStat => Some("/proc/sys/net"),
            Self::Udp6 => Some("/proc/net"),
            Self::IpForward
            | Self::RpFilterAll
            | Self::ProxyArpAll
            | Self::NoPmtuDisc
            | Self::Snmp
            | Self::Netstat
            | Self::Udp => None,
        }
    }
}
