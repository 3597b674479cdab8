//! The overlay: tunnels, and what they carry between nodes.

mod below;
pub mod overlay_fragmented;
pub mod overlay_mtu_exceeds_path;
pub mod overlay_transfer_stalls;
pub mod overlay_unreachable;
pub mod pod_unreachable;
pub mod signature;
pub mod tunnel_port_closed;
mod vtep;
pub mod vtep_incomplete;
pub mod vtep_mac_differs;
pub mod vtep_stale;

pub use overlay_fragmented::OverlayFragmented;
pub use overlay_mtu_exceeds_path::OverlayMtuExceedsPath;
pub use overlay_transfer_stalls::OverlayTransferStalls;
pub use overlay_unreachable::OverlayUnreachable;
pub use pod_unreachable::PodUnreachable;
pub use tunnel_port_closed::TunnelPortClosed;
pub use vtep_incomplete::VtepIncomplete;
pub use vtep_mac_differs::VtepMacDiffers;
pub use vtep_stale::VtepStale;

use crate::remedy::Fix;
use crate::subject::Subject;
use crate::units::Family;

/// The tunnel is made to fit the network, or the network the tunnel. A tunnel of IPv6 does not go below what IPv6 needs of
/// a link (RFC 8200 §5).
fn shrink_or(subject: &Subject, shrink: Fix, raise: Fix) -> Vec<Fix> {
    let six = matches!(subject, Subject::Path { family: Family::Ipv6, .. });
    let floor = Family::Ipv6.floor().bytes();
    match shrink {
        Fix::OverlayMtu { mtu, .. } if six && mtu.bytes() < floor => vec![raise],
        shrink => vec![shrink, Fix::Instead(vec![raise])],
    }
}
