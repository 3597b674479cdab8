//! Declared: what somebody wrote down, against what the kernel has.

mod cni;
pub mod cni_config_invalid;
pub mod cni_not_configured;
pub mod cni_plugin_missing;
pub mod declared_mtu_differs;
#[cfg(test)]
pub(crate) mod machine;

pub use cni_config_invalid::CniConfigInvalid;
pub use cni_not_configured::CniNotConfigured;
pub use cni_plugin_missing::CniPluginMissing;
pub use declared_mtu_differs::DeclaredMtuDiffers;
