//! Links: what the kernel says of devices, before any packet is sent.

pub mod bridge_no_uplink;
pub mod bridge_port_mtu;
mod bridges;
pub mod default_route_missing;
pub mod link_down;
pub mod nic_single_queue;
pub(in crate::checks) mod pod_links;
pub mod pod_mtu_mixed;
pub mod pod_mtu_too_large;
pub(in crate::checks) mod pod_ways;
pub mod tunnel_no_headroom;
pub mod tunnel_undersized;
pub mod tunnel_wrong_underlay;
pub mod veth_ends_differ;

pub use bridge_no_uplink::BridgeNoUplink;
pub use bridge_port_mtu::BridgePortMtu;
pub use default_route_missing::DefaultRouteMissing;
pub use link_down::LinkDown;
pub use nic_single_queue::NicSingleQueue;
pub use pod_mtu_mixed::PodMtuMixed;
pub use pod_mtu_too_large::PodMtuTooLarge;
pub use tunnel_no_headroom::TunnelNoHeadroom;
pub use tunnel_undersized::TunnelUndersized;
pub use tunnel_wrong_underlay::TunnelWrongUnderlay;
pub use veth_ends_differ::VethEndsDiffer;
