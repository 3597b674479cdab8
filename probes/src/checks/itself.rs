//! The agent itself: what it does not see any more, or not in time.

pub mod coverage_late;
pub mod peer_source_stale;

pub use coverage_late::CoverageLate;
pub use peer_source_stale::PeerSourceStale;
