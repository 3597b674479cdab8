//! Declared: what somebody wrote down, against what the kernel has.

pub mod calico_mtu_autodetected_wrong;
mod cni;
pub mod cni_config_invalid;
pub mod cni_not_configured;
pub mod cni_plugin_missing;
pub mod declared_mtu_differs;
pub mod kubelet_flag_removed;
#[cfg(test)]
pub(crate) mod machine;
pub mod pod_addresses_exhausted;

pub use calico_mtu_autodetected_wrong::CalicoMtuAutodetectedWrong;
pub use cni_config_invalid::CniConfigInvalid;
pub use cni_not_configured::CniNotConfigured;
pub use cni_plugin_missing::CniPluginMissing;
pub use declared_mtu_differs::DeclaredMtuDiffers;
pub use kubelet_flag_removed::KubeletFlagRemoved;
pub use pod_addresses_exhausted::PodAddressesExhausted;
