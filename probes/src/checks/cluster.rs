//! The cluster: what its nodes are to have in common, and the address that they share.

mod alike;
pub mod node_mtu_differs;
pub mod node_tunnel_differs;
pub mod vip_absent;
pub mod vip_duplicate;
pub mod vip_interface_missing;

pub use node_mtu_differs::NodeMtuDiffers;
pub use node_tunnel_differs::NodeTunnelDiffers;
pub use vip_absent::VipAbsent;
pub use vip_duplicate::VipDuplicate;
pub use vip_interface_missing::VipInterfaceMissing;
