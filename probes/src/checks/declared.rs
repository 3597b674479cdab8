//! Declared: what somebody wrote down, against what the kernel has.

pub mod declared_mtu_differs;
pub mod kubelet_flag_removed;

pub use declared_mtu_differs::DeclaredMtuDiffers;
pub use kubelet_flag_removed::KubeletFlagRemoved;
