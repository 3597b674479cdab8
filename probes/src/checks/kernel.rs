//! The kernel's settings that decide whether packets pass at all.

pub mod ip_forward_off;
pub mod rp_filter_strict;

pub use ip_forward_off::IpForwardOff;
pub use rp_filter_strict::RpFilterStrict;
