//! The kernel's settings that decide whether packets pass at all.

pub mod accept_ra_off;
pub mod bridge_netfilter_off;
pub mod ip_forward_off;
pub mod pmtu_discovery_off;
pub mod proxy_arp_off;
pub mod rp_filter_strict;
pub mod sysctl_drift;

pub use accept_ra_off::AcceptRaOff;
pub use bridge_netfilter_off::BridgeNetfilterOff;
pub use ip_forward_off::IpForwardOff;
pub use pmtu_discovery_off::PmtuDiscoveryOff;
pub use proxy_arp_off::ProxyArpOff;
pub use rp_filter_strict::RpFilterStrict;
pub use sysctl_drift::SysctlDrift;
