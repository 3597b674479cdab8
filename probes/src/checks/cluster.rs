//! The cluster: what its nodes are to have in common, and the address that they share.

pub mod vip_interface_missing;

pub use vip_interface_missing::VipInterfaceMissing;
