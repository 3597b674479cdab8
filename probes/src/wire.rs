//! Bytes of packets: ICMP messages, what ICMP errors quote, and packets encapsulated as a tunnel device would.
//!
//! What comes off the wire is anybody's: every length is checked, and what does not parse is [`Malformed`], which is
//! counted and dropped.

pub mod arp;
pub mod encapsulate;
pub mod icmp;
mod icmp6;
pub mod quote;
pub mod told;

use std::fmt;

/// A packet that does not mean what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(
    /// What is wrong with it.
    pub &'static str,
);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
