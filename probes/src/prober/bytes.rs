//! The bytes of a probe, and by what means they leave.

use std::net::{IpAddr, SocketAddr};

use super::flight::Key;
use super::{Means, Prober};
use crate::path::search::TCP_TIMEOUT;
use crate::path::{Carrier, Encapsulation, Probe, SOURCES, spread};
use crate::units::Family;
use crate::wire::encapsulate::{self, Mark};
use crate::wire::icmp::{self, COOKIE};

/// The source port of probes that need none of their own: the last one, which no sweep uses.
const ANY_SOURCE: u16 = SOURCES;

impl Prober {
    /// Where to, and by what means.
    pub(super) fn means(
        &self,
        key: Key,
        probe: Probe,
        address: IpAddr,
        encapsulation: Option<Encapsulation>,
        cookie: u64,
    ) -> (SocketAddr, Means) {
        let (id, sequence) = match key {
            Key::Icmp { sequence, .. } => (self.id, sequence),
            Key::Udp { .. } | Key::Sweep { .. } | Key::Tcp { .. } => (self.id, 0),
        };
        let icmp = |(head, padding)| (SocketAddr::new(address, 0), Means::Icmp { head, padding });
        let udp = |to, port, source, (head, padding)| {
            (SocketAddr::new(to, port), Means::Udp { source: self.port(source), head, padding })
        };
        let plain = || padded(probe, Family::of(address), cookie);
        match (probe.carrier, encapsulation) {
            (Carrier::Tcp { port }, _) => (SocketAddr::new(address, port), Means::Tcp { timeout: TCP_TIMEOUT }),
            (Carrier::Udp { port }, _) => udp(address, port, ANY_SOURCE, plain()),
            (Carrier::Sweep { source }, _) => udp(address, spread::PORT, source, plain()),
            (Carrier::Vxlan { source }, Some(how)) => {
                let payload = encapsulate::request(how, Mark { id, sequence, cookie }, probe.size);
                udp(how.vtep, how.port, source, payload)
            }
            (Carrier::Timestamp, _) => {
                icmp(icmp::timestamp_request(id, sequence, encapsulate::originate(cookie), probe.size))
            }
            (Carrier::Echo | Carrier::Vxlan { .. }, _) => {
                icmp(icmp::echo_request(Family::of(address), id, sequence, cookie, probe.size))
            }
        }
    }

    /// The number of a source port on the wire.
    pub(super) const fn port(&self, source: u16) -> u16 {
        self.first_port.saturating_add(if source < SOURCES { source } else { ANY_SOURCE })
    }
}

/// The cookie, then zeros. A UDP header is as long as that of an ICMP echo.
fn padded(probe: Probe, family: Family, cookie: u64) -> (Vec<u8>, u32) {
    let payload = probe.size.payload(family).bytes();
    (cookie.to_be_bytes().to_vec(), payload.saturating_sub(COOKIE as u32))
}
