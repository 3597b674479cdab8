//! The cluster: what its nodes are to have in common, and the address that they share.

mod alike;
pub mod node_mtu_differs;
pub mod node_tunnel_differs;
pub mod vip_interface_missing;

pub use node_mtu_differs::NodeMtuDiffers;
pub use node_tunnel_differs::NodeTunnelDiffers;
pub use vip_interface_missing::VipInterfaceMissing;
