//! The world comes in here, raw: packets, netlink messages, host files.

pub mod arp;
pub mod call;
pub mod cards;
pub mod cluster;
mod connect;
pub mod declared;
pub mod descriptors;
pub mod filter;
pub mod host;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod netlink;
pub mod packets;
pub(crate) mod pem;
#[cfg(test)]
pub(crate) mod pki;
pub mod rights;
pub mod sysctl;
pub mod transfer;
