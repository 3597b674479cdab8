//! Declared: what somebody wrote down, against what the kernel has.

pub mod declared_mtu_differs;

pub use declared_mtu_differs::DeclaredMtuDiffers;
