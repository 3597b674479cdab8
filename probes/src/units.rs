//! Units: sizes, families and time.
//!
//! One unit runs from search to report: [`IpSize`], the size of an IP packet with its header. A [`LinkMtu`] (what
//! `ip link` shows) and a [`Payload`] (what follows the ICMP header) become an [`IpSize`] here and nowhere else.
//! Time is an argument: [`Now`] carries a monotonic reading for deadlines and a wall-clock reading for people.

mod dual;

use std::fmt;
use std::net::IpAddr;
use std::ops::{Add, Sub};
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use dual::Dual;

/// Size of an IP packet in bytes, IP header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct IpSize(u32);

impl IpSize {
    /// The largest packet that IPv4 can describe (16-bit total length).
    pub const MAX: Self = Self(65_535);

    /// A packet of `bytes` bytes, IP header included.
    pub const fn new(bytes: u32) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// This size less `bytes`, not below zero.
    pub const fn less(self, bytes: u32) -> Self {
        Self(self.0.saturating_sub(bytes))
    }

    /// This size and `bytes` more.
    pub const fn plus(self, bytes: u32) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// The bytes that follow the IP header and the eight bytes of an ICMP echo header.
    pub const fn payload(self, family: Family) -> Payload {
        Payload(self.0.saturating_sub(family.header() + ICMP_HEADER))
    }
}

impl fmt::Display for IpSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Length of the fixed ICMP header (RFC 792, RFC 4443), in bytes.
pub const ICMP_HEADER: u32 = 8;

/// A device's MTU as the kernel reports it: the largest IP packet that the device sends, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LinkMtu(u32);

impl LinkMtu {
    /// A device MTU of `bytes` bytes.
    pub const fn new(bytes: u32) -> Self {
        Self(bytes)
    }

    /// The MTU in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// The largest IP packet that a device of this MTU sends. Loopback's 65,536 is cut to what IP can describe.
    pub fn carries(self) -> IpSize {
        IpSize(self.0).min(IpSize::MAX)
    }
}

impl fmt::Display for LinkMtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes after the ICMP header of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Payload(u32);

impl Payload {
    /// The length in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

/// Address family, with what differs between IPv4 and IPv6 when a size is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// Length of the IP header without options or extension headers, in bytes.
    pub const fn header(self) -> u32 {
        match self {
            Self::Ipv4 => 20,
            Self::Ipv6 => 40,
        }
    }

    /// The size below which no search goes: RFC 791 §3.1 "Every internet module must be able to forward a datagram of
    /// 68 octets without further fragmentation"; RFC 8200 §5 asks 1,280 of every IPv6 link.
    pub const fn floor(self) -> IpSize {
        match self {
            Self::Ipv4 => IpSize(68),
            Self::Ipv6 => IpSize(1280),
        }
    }

    /// The name used in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A monotonic reading: time since the process started. Deadlines are kept in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(Duration);

impl Mono {
    /// `since_start` after the process started.
    pub const fn new(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// Time passed since the process started.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Mono {
    type Output = Self;
    fn add(self, other: Duration) -> Self {
        Self(self.0.saturating_add(other))
    }
}

impl Sub<Duration> for Mono {
    type Output = Self;
    fn sub(self, other: Duration) -> Self {
        Self(self.0.saturating_sub(other))
    }
}

/// One reading of both clocks, taken once a turn by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and durations.
    pub mono: Mono,
    /// For people.
    pub wall: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_mtu_is_cut_to_what_ip_can_describe() {
        assert_eq!(LinkMtu::new(65_536).carries(), IpSize::MAX);
        assert_eq!(LinkMtu::new(1500).carries(), IpSize::new(1500));
    }

    #[test]
    fn payload_leaves_out_both_headers() {
        assert_eq!(IpSize::new(1500).payload(Family::Ipv4).bytes(), 1472);
        assert_eq!(IpSize::new(1500).payload(Family::Ipv6).bytes(), 1452);
        assert_eq!(IpSize::new(10).payload(Family::Ipv4).bytes(), 0);
    }

    #[test]
    fn elapsed_time_never_underflows() {
        let (early, late) = (Mono::new(Duration::from_secs(1)), Mono::new(Duration::from_secs(3)));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
