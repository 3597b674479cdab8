//! Bytes of packets: ICMP messages and what ICMP errors quote.

pub mod icmp;
pub mod quote;
