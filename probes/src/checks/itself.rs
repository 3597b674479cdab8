//! The agent itself: what it does not see any more, or not in time.

pub mod peer_source_stale;

pub use peer_source_stale::PeerSourceStale;
