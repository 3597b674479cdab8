//! From a packet to the probe that it is about.

use std::net::IpAddr;
use std::time::Duration;

use super::flight::{Flight, Key};
use super::{Datagram, PORTS, Prober, Run};
use crate::path::{Answer, Carrier, Encapsulation, Refusal, TunnelEnd};
use crate::telemetry::ErrorKind;
use crate::units::{Family, IpSize, Mono};
use crate::wire::encapsulate::{inner_size, originate};
use crate::wire::icmp::{self, Complaint, Echo, Message};
use crate::wire::quote::{self, Body, Quote};

/// Who complains of what, and when.
#[derive(Clone, Copy, Debug)]
struct Complainer<'a> {
    by: IpAddr,
    complaint: Complaint,
    datagram: &'a Datagram,
}

impl Prober {
    /// A packet came in.
    pub fn on_datagram(&mut self, datagram: &Datagram) {
        let from = datagram.from;
        match icmp::parse(from, &datagram.bytes) {
            Ok(Message::EchoReply(echo)) => self.on_reply(from, &echo, Reply::Echo, datagram),
            Ok(Message::TimestampReply(echo)) => self.on_reply(from, &echo, Reply::Timestamp, datagram),
            Ok(Message::Error { complaint, quote }) => {
                self.on_error(Complainer { by: from, complaint, datagram }, quote);
            }
            Ok(Message::Other) => self.count(ErrorKind::Unmatched),
            Err(_) => self.count(ErrorKind::Malformed),
        }
    }

    fn on_reply(&mut self, from: IpAddr, echo: &Echo<'_>, reply: Reply, datagram: &Datagram) {
        let key = Key::Icmp { sequence: echo.sequence, to: from };
        let Some(flight) = self.own(key, echo) else { return };
        if !self.is_answer(&flight, from, echo, reply) {
            return self.count(ErrorKind::Forged);
        }
        let round_trip = flight.left.map(|left| round_trip(left, datagram));
        self.deliver(key, Answer::Carried { round_trip, fragment: datagram.fragment }, datagram.at);
    }

    /// Whether a reply returns what this probe said.
    fn is_answer(&self, flight: &Flight, from: IpAddr, echo: &Echo<'_>, reply: Reply) -> bool {
        let family = Family::of(from);
        let size = match (flight.probe.carrier, self.encapsulation(flight)) {
            (Carrier::Vxlan { .. }, Some(how)) => inner_size(how, flight.probe.size),
            _ => flight.probe.size,
        };
        let asks_for = match flight.probe.carrier {
            Carrier::Timestamp => Reply::Timestamp,
            Carrier::Vxlan { .. } if family == Family::Ipv4 => Reply::Timestamp,
            _ => Reply::Echo,
        };
        reply == asks_for
            && match reply {
                Reply::Timestamp => echo.originate() == Some(originate(flight.cookie)),
                Reply::Echo => {
                    let whole = u32::try_from(echo.payload.len()) == Ok(size.payload(family).bytes());
                    whole && echo.cookie() == Some(flight.cookie)
                }
            }
    }

    fn encapsulation(&self, flight: &Flight) -> Option<Encapsulation> {
        self.runs.get(&flight.run)?.target.task.encapsulation()
    }

    /// The probe that a reply or a quote is of; what is not of a probe under way is counted, unless it is merely late.
    fn own(&mut self, key: Key, echo: &Echo<'_>) -> Option<Flight> {
        if echo.id != self.id {
            self.count(ErrorKind::Unmatched);
            return None;
        }
        let flight = self.flights.get(key);
        if flight.is_none() && !self.flights.is_retired(key) {
            let kind = if self.flights.knows(echo.sequence) { ErrorKind::Forged } else { ErrorKind::Unmatched };
            self.count(kind);
        }
        flight
    }

    fn on_error(&mut self, complainer: Complainer<'_>, bytes: &[u8]) {
        let Ok(quote) = quote::parse(bytes) else {
            return self.count(ErrorKind::Malformed);
        };
        match quote.body {
            Body::Icmp(echo) => self.on_icmp_error(complainer, quote.to, &echo, 0),
            Body::Udp(udp) => self.on_udp_error(complainer, quote.to, &udp),
            Body::Other => self.count(ErrorKind::Unmatched),
        }
    }

    fn on_icmp_error(&mut self, complainer: Complainer<'_>, to: IpAddr, echo: &Echo<'_>, overhead: u32) {
        let key = Key::Icmp { sequence: echo.sequence, to };
        let Some(flight) = self.own(key, echo) else { return };
        if !quotes(&flight, echo) {
            return self.count(ErrorKind::Forged);
        }
        self.complain(key, complainer, overhead);
    }

    fn on_udp_error(&mut self, complainer: Complainer<'_>, to: IpAddr, udp: &quote::Datagram<'_>) {
        let probes = self.udp_probes(to, udp);
        if !probes.is_empty() {
            return self.on_own_udp_error(complainer, &probes, udp.payload);
        }
        let is_tunnel = |run: &Run| run.target.tunnel.filter(|tunnel| tunnel.vtep == to && tunnel.port == udp.port);
        let tunnel = self.runs.values().find_map(is_tunnel);
        if self.is_own_port(udp.source) {
            return self.on_encapsulated_error(complainer, to, udp);
        }
        let Some(tunnel) = tunnel else {
            return self.count(ErrorKind::Unmatched);
        };
        let complainer = outer(complainer);
        match quote::inside_vxlan(udp.payload) {
            Some(inner) => self.on_inner_error(complainer, tunnel, &inner),
            None => self.blame_large_probes(complainer, tunnel),
        }
    }

    /// Probes that are no encapsulated ones, by what is quoted of them.
    fn udp_probes(&self, to: IpAddr, udp: &quote::Datagram<'_>) -> Vec<Key> {
        let size = IpSize::new(u32::from(udp.length)).plus(Family::of(to).header());
        let source = udp.source.wrapping_sub(self.first_port);
        let mut probes = self.flights.udp(to, udp.port);
        probes.extend(self.flights.sweeps(to, source, size));
        probes
    }

    fn is_own_port(&self, source: u16) -> bool {
        (self.first_port..=self.first_port.saturating_add(PORTS - 1)).contains(&source)
    }

    fn on_own_udp_error(&mut self, complainer: Complainer<'_>, probes: &[Key], payload: &[u8]) {
        let quoted = icmp::cookie(payload);
        let mut matched = false;
        for &key in probes {
            let cookie = self.flights.get(key).map(|flight| flight.cookie);
            if quoted.is_none() || quoted == cookie {
                matched = true;
                self.complain(key, complainer, 0);
            }
        }
        if !matched {
            self.count(ErrorKind::Forged);
        }
    }

    /// An error about the outside of a packet that was encapsulated here. It is known by what is inside, where enough of
    /// it is quoted; else by source port and length, which repeats and probes with fewer hops to go share.
    fn on_encapsulated_error(&mut self, complainer: Complainer<'_>, to: IpAddr, udp: &quote::Datagram<'_>) {
        let complainer = outer(complainer);
        if let Some(Quote { to, body: Body::Icmp(echo) }) = quote::inside_vxlan(udp.payload) {
            return self.on_icmp_error(complainer, to, &echo, 0);
        }
        let keys = self.encapsulated(to, udp);
        let expired = matches!(complainer.complaint, Complaint::Refused(Refusal::TtlExceeded));
        if keys.is_empty() || (expired && keys.len() > 1) {
            return self.count(ErrorKind::Unmatched);
        }
        for key in keys {
            self.complain(key, complainer, 0);
        }
    }

    /// Probes under way that were encapsulated here and look like this from outside.
    fn encapsulated(&self, to: IpAddr, udp: &quote::Datagram<'_>) -> Vec<Key> {
        let size = IpSize::new(u32::from(udp.length)).plus(Family::of(to).header());
        let is_it = |flight: &Flight| {
            let same_port =
                matches!(flight.probe.carrier, Carrier::Vxlan { source } if self.port(source) == udp.source);
            same_port && flight.probe.size == size
        };
        let towards = |how: Encapsulation| (how.vtep, how.port) == (to, udp.port);
        let runs = self.runs.values().filter(|run| run.target.task.encapsulation().is_some_and(towards));
        let keys = runs.flat_map(|run| &run.flights).copied();
        keys.filter(|&key| self.flights.get(key).as_ref().is_some_and(is_it)).collect()
    }

    /// The packet inside is a probe, or it is what pods send: theirs is no error of ours, and says nothing of a probe.
    fn on_inner_error(&mut self, complainer: Complainer<'_>, tunnel: TunnelEnd, inner: &Quote<'_>) {
        match inner.body {
            Body::Icmp(echo) if echo.id == self.id => {
                self.on_icmp_error(complainer, inner.to, &echo, tunnel.overhead);
            }
            Body::Icmp(_) | Body::Other => {}
            Body::Udp(udp) => {
                let probes = self.udp_probes(inner.to, &udp);
                if !probes.is_empty() {
                    self.on_own_udp_error(complainer, &probes, udp.payload);
                }
            }
        }
    }

    /// Passes a complaint on to the probe that it is about.
    fn complain(&mut self, key: Key, complainer: Complainer<'_>, overhead: u32) {
        let Some(flight) = self.flights.get(key) else { return };
        let answer = answer(&flight, complainer, overhead, key);
        self.deliver(key, answer, complainer.datagram.at);
    }

    /// Too little is quoted to see the packet inside.
    fn blame_large_probes(&mut self, complainer: Complainer<'_>, tunnel: TunnelEnd) {
        let limit = match complainer.complaint {
            Complaint::TooBig(Some(mtu)) => Some(mtu.less(tunnel.overhead)),
            Complaint::TooBig(None) => Some(self.largest_towards(tunnel).less(1)),
            Complaint::Refused(_) => None,
        };
        let too_large = |size: IpSize| limit.is_none_or(|limit| size > limit);
        for key in self.echoes_towards(tunnel) {
            let size = self.flights.get(key).map(|flight| flight.probe.size);
            if size.is_some_and(too_large) {
                self.complain(key, complainer, tunnel.overhead);
            }
        }
    }

    fn largest_towards(&self, tunnel: TunnelEnd) -> IpSize {
        let flights = self.echoes_towards(tunnel).into_iter().filter_map(|key| self.flights.get(key));
        flights.map(|flight| flight.probe.size).max().unwrap_or(IpSize::MAX)
    }

    fn echoes_towards(&self, tunnel: TunnelEnd) -> Vec<Key> {
        let through = |run: &&Run| run.target.tunnel.is_some_and(|t| (t.vtep, t.port) == (tunnel.vtep, tunnel.port));
        let keys = self.runs.values().filter(through).flat_map(|run| &run.flights).copied();
        let is_echo = |key: &Key| self.flights.get(*key).is_some_and(|flight| flight.probe.carrier == Carrier::Echo);
        keys.filter(is_echo).collect()
    }
}

/// The time from leaving to the kernel's stamp, if the stamp is later than leaving; else to reception.
fn round_trip(left: Mono, datagram: &Datagram) -> Duration {
    let whole = datagram.at.since(left);
    datagram.waited.and_then(|waited| whole.checked_sub(waited)).unwrap_or(whole)
}

/// Whether a quote is of this probe, as far as it goes.
fn quotes(flight: &Flight, echo: &Echo<'_>) -> bool {
    match flight.probe.carrier {
        Carrier::Timestamp | Carrier::Vxlan { .. } => {
            echo.originate().is_none_or(|quoted| quoted == originate(flight.cookie))
        }
        _ => echo.cookie().is_none_or(|cookie| cookie == flight.cookie),
    }
}

/// The same complaint where it is about a tunnel's outer packet.
const fn outer(complainer: Complainer<'_>) -> Complainer<'_> {
    match complainer.complaint {
        Complaint::Refused(Refusal::PortUnreachable) => {
            Complainer { complaint: Complaint::Refused(Refusal::TunnelPortUnreachable), ..complainer }
        }
        _ => complainer,
    }
}

fn answer(flight: &Flight, complainer: Complainer<'_>, overhead: u32, key: Key) -> Answer {
    let by = complainer.by;
    let round_trip = || flight.left.map(|left| round_trip(left, complainer.datagram));
    match complainer.complaint {
        Complaint::TooBig(mtu) => Answer::TooBig { by, mtu: mtu.map(|mtu| mtu.less(overhead)) },
        Complaint::Refused(Refusal::TtlExceeded) if flight.probe.ttl.is_some() => {
            Answer::Expired { by, round_trip: round_trip() }
        }
        // A sweep asks a port that nobody listens on, for this answer.
        Complaint::Refused(Refusal::PortUnreachable) if matches!(key, Key::Sweep { to, .. } if to == by) => {
            Answer::Carried { round_trip: round_trip(), fragment: None }
        }
        Complaint::Refused(why) => Answer::Refused { by, why },
    }
}

/// Kinds of reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Echo,
    Timestamp,
}

/// What "time to live exceeded" in a packet means to the probe that it is about.
#[cfg(test)]
pub(super) fn expired(flight: &Flight, datagram: &Datagram) -> Answer {
    let complaint = Complaint::Refused(Refusal::TtlExceeded);
    answer(flight, Complainer { by: datagram.from, complaint, datagram }, 0, Key::Tcp { transmit: flight.transmit })
}
