//! The overlay: tunnels, and what they carry between nodes.

pub mod overlay_mtu_exceeds_path;
pub mod overlay_transfer_stalls;
pub mod overlay_unreachable;
pub mod pod_unreachable;

pub use overlay_mtu_exceeds_path::OverlayMtuExceedsPath;
pub use overlay_transfer_stalls::OverlayTransferStalls;
pub use overlay_unreachable::OverlayUnreachable;
pub use pod_unreachable::PodUnreachable;
