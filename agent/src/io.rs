//! The world comes in here, raw: packets, netlink messages, host files.

pub mod call;
pub mod cluster;
mod connect;
pub mod declared;
pub mod descriptors;
pub mod filter;
pub mod host;
pub mod netlink;
pub mod packets;
pub mod rights;
pub mod sysctl;
pub mod transfer;
