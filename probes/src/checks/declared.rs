//! Declared: what somebody wrote down, against what the kernel has.

pub mod calico_mtu_autodetected_wrong;
pub mod declared_mtu_differs;
pub mod kubelet_flag_removed;
pub mod pod_addresses_exhausted;

pub use calico_mtu_autodetected_wrong::CalicoMtuAutodetectedWrong;
pub use declared_mtu_differs::DeclaredMtuDiffers;
pub use kubelet_flag_removed::KubeletFlagRemoved;
pub use pod_addresses_exhausted::PodAddressesExhausted;
