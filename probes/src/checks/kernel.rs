//! The kernel's settings that decide whether packets pass at all, and the counters and tables that tell when they do not.

pub mod accept_ra_off;
pub mod bridge_netfilter_off;
pub mod conntrack_full;
mod counted;
pub mod fragmentation_failing;
pub mod ip_forward_off;
pub mod neighbour_table_full;
pub mod pmtu_discovery_off;
pub mod proxy_arp_off;
pub mod rp_filter_strict;
pub mod sysctl_drift;
pub mod udp_checksum_errors;

pub use accept_ra_off::AcceptRaOff;
pub use bridge_netfilter_off::BridgeNetfilterOff;
pub use conntrack_full::ConntrackFull;
pub use fragmentation_failing::FragmentationFailing;
pub use ip_forward_off::IpForwardOff;
pub use neighbour_table_full::NeighbourTableFull;
pub use pmtu_discovery_off::PmtuDiscoveryOff;
pub use proxy_arp_off::ProxyArpOff;
pub use rp_filter_strict::RpFilterStrict;
pub use sysctl_drift::SysctlDrift;
pub use udp_checksum_errors::UdpChecksumErrors;
