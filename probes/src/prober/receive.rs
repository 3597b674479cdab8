//! From a packet to the probe that it is about.

use std::net::IpAddr;
use std::time::Duration;

use super::flight::{Flight, Key};
use super::{Datagram, Prober, Run};
use crate::path::{Answer, Carrier, Refusal, TunnelEnd};
use crate::telemetry::ErrorKind;
use crate::units::{Family, IpSize, Mono};
use crate::wire::icmp::{self, Complaint, Echo, Message};
use crate::wire::quote::{self, Body, Quote};

/// Who complains of what, and when.
#[derive(Clone, Copy, Debug)]
struct Complainer {
    by: IpAddr,
    complaint: Complaint,
    at: Mono,
}

impl Prober {
    /// A packet came in.
    pub fn on_datagram(&mut self, datagram: &Datagram) {
        let Ok((from, message)) = icmp::parse(&datagram.bytes) else {
            return self.count(ErrorKind::Malformed);
        };
        if from != datagram.from {
            return self.count(ErrorKind::Malformed);
        }
        match message {
            Message::EchoReply(echo) => self.on_reply(from, &echo, datagram),
            Message::Error { complaint, quote } => {
                let complainer = Complainer { by: from, complaint, at: datagram.at };
                self.on_error(complainer, quote);
            }
            Message::Other => self.count(ErrorKind::Unmatched),
        }
    }

    fn on_reply(&mut self, from: IpAddr, echo: &Echo<'_>, datagram: &Datagram) {
        let key = Key::Echo { sequence: echo.sequence, to: from };
        let Some(flight) = self.own(key, echo) else { return };
        let expected = flight.probe.size.payload(Family::Ipv4).bytes();
        if echo.cookie() != Some(flight.cookie) || u32::try_from(echo.payload.len()) != Ok(expected) {
            return self.count(ErrorKind::Forged);
        }
        let round_trip = flight.left.map(|left| round_trip(left, datagram));
        self.deliver(key, Answer::Carried { round_trip, fragment: None }, datagram.at);
    }

    /// The probe that an echo is of; what is not of a probe under way is counted, unless it is merely late.
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

    fn on_error(&mut self, complainer: Complainer, bytes: &[u8]) {
        let Ok(quote) = quote::parse(bytes) else {
            return self.count(ErrorKind::Malformed);
        };
        match quote.body {
            Body::Echo(echo) => self.on_echo_error(complainer, quote.to, &echo, 0),
            Body::Udp { port, payload } => self.on_udp_error(complainer, quote.to, port, payload),
            Body::Other => self.count(ErrorKind::Unmatched),
        }
    }

    fn on_echo_error(&mut self, complainer: Complainer, to: IpAddr, echo: &Echo<'_>, overhead: u32) {
        let key = Key::Echo { sequence: echo.sequence, to };
        let Some(flight) = self.own(key, echo) else { return };
        if echo.cookie().is_some_and(|cookie| cookie != flight.cookie) {
            return self.count(ErrorKind::Forged);
        }
        self.deliver(key, answer(complainer, overhead), complainer.at);
    }

    fn on_udp_error(&mut self, complainer: Complainer, to: IpAddr, port: u16, payload: &[u8]) {
        let probes = self.flights.udp(to, port);
        if !probes.is_empty() {
            return self.on_own_udp_error(complainer, &probes, payload);
        }
        let is_tunnel = |run: &Run| run.target.tunnel.filter(|tunnel| tunnel.vtep == to && tunnel.port == port);
        let Some(tunnel) = self.runs.values().find_map(is_tunnel) else {
            return self.count(ErrorKind::Unmatched);
        };
        let complainer = outer(complainer);
        match quote::inside_vxlan(payload) {
            Some(inner) => self.on_inner_error(complainer, tunnel, &inner),
            None => self.blame_large_probes(complainer, tunnel),
        }
    }

    fn on_own_udp_error(&mut self, complainer: Complainer, probes: &[Key], payload: &[u8]) {
        let quoted = icmp::cookie(payload);
        let mut matched = false;
        for &key in probes {
            let cookie = self.flights.get(key).map(|flight| flight.cookie);
            if quoted.is_none() || quoted == cookie {
                matched = true;
                self.deliver(key, answer(complainer, 0), complainer.at);
            }
        }
        if !matched {
            self.count(ErrorKind::Forged);
        }
    }

    /// The packet inside is a probe, or it is what pods send: theirs is no error of ours, and says nothing of a probe.
    fn on_inner_error(&mut self, complainer: Complainer, tunnel: TunnelEnd, inner: &Quote<'_>) {
        match inner.body {
            Body::Echo(echo) if echo.id == self.id => {
                self.on_echo_error(complainer, inner.to, &echo, tunnel.overhead);
            }
            Body::Echo(_) | Body::Other => {}
            Body::Udp { port, payload } => {
                let probes = self.flights.udp(inner.to, port);
                if !probes.is_empty() {
                    self.on_own_udp_error(complainer, &probes, payload);
                }
            }
        }
    }

    /// Too little is quoted to see the packet inside.
    fn blame_large_probes(&mut self, complainer: Complainer, tunnel: TunnelEnd) {
        let limit = match complainer.complaint {
            Complaint::TooBig(Some(mtu)) => Some(mtu.less(tunnel.overhead)),
            Complaint::TooBig(None) => Some(self.largest_towards(tunnel).less(1)),
            Complaint::Refused(_) => None,
        };
        let too_large = |size: IpSize| limit.is_none_or(|limit| size > limit);
        for key in self.echoes_towards(tunnel) {
            let size = self.flights.get(key).map(|flight| flight.probe.size);
            if size.is_some_and(too_large) {
                self.deliver(key, answer(complainer, tunnel.overhead), complainer.at);
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

/// The same complaint where it is about a tunnel's outer packet.
const fn outer(complainer: Complainer) -> Complainer {
    match complainer.complaint {
        Complaint::Refused(Refusal::PortUnreachable) => {
            Complainer { complaint: Complaint::Refused(Refusal::TunnelPortUnreachable), ..complainer }
        }
        _ => complainer,
    }
}

fn answer(complainer: Complainer, overhead: u32) -> Answer {
    let by = complainer.by;
    match complainer.complaint {
        Complaint::TooBig(mtu) => Answer::TooBig { by, mtu: mtu.map(|mtu| mtu.less(overhead)) },
        Complaint::Refused(why) => Answer::Refused { by, why },
    }
}
