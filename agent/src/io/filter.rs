//! The packet filters of the raw ICMP sockets, as classic BPF.
//!
//! Every raw ICMP socket of a machine is handed every ICMP packet that comes in. Without a filter, somebody's flood
//! ping wakes this process for each packet; with it, the kernel keeps back what cannot concern a probe. It lets through
//!
//! - echo and timestamp replies with this process's identifier,
//! - errors that quote an echo or timestamp request with this process's identifier, a UDP packet from one of its own
//!   ports, or a UDP packet to a tunnel's port, whose inside only user space can look into.
//!
//! IPv6 quotes that start with an extension header are let through: few are, and user space reads them to their end.
//! It is no safeguard: what comes through is checked again. A load beyond a packet's end makes the kernel drop the
//! packet.

use std::collections::BTreeSet;

use probes::prober::PORTS;
use probes::units::Family;

/// One instruction of classic BPF (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub code: u16,
    /// Instructions to skip where a comparison holds.
    pub when: u8,
    /// Instructions to skip where it does not.
    pub unless: u8,
    pub k: u32,
}

/// What lets a packet through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    /// ICMP identifier of this process's requests.
    pub id: u16,
    /// The first of its UDP source ports: a multiple of how many they are.
    pub first_port: u16,
    /// Destination ports of tunnels.
    pub tunnel_ports: BTreeSet<u16>,
}

/// Opcodes (`include/uapi/linux/bpf_common.h`): class, size and mode in one number each.
mod op {
    /// X = 4 × (packet\[k\] & 15): the length of an IPv4 header.
    pub(super) const LDX_HEADER: u16 = 0xb1;
    /// X = k.
    pub(super) const LDX: u16 = 0x01;
    /// A = packet\[X + k\], one byte.
    pub(super) const LD_BYTE: u16 = 0x50;
    /// A = packet\[X + k\], two bytes.
    pub(super) const LD_HALF: u16 = 0x48;
    /// A = memory\[k\].
    pub(super) const LD_MEMORY: u16 = 0x60;
    /// memory\[k\] = A.
    pub(super) const ST: u16 = 0x02;
    /// A &= k.
    pub(super) const AND: u16 = 0x54;
    /// A <<= k.
    pub(super) const SHIFT_LEFT: u16 = 0x64;
    /// A += X.
    pub(super) const ADD_X: u16 = 0x0c;
    /// X = A.
    pub(super) const TAX: u16 = 0x07;
    /// Compares A with k.
    pub(super) const JEQ: u16 = 0x15;
    /// Lets k bytes through.
    pub(super) const RET: u16 = 0x06;
}

/// More than any packet has: lets it through whole.
const WHOLE: u32 = u32::MAX;

impl Filter {
    /// The program for the kernel. It grows by two instructions a port and has no jump that grows with it.
    pub(super) fn program(&self, family: Family) -> Vec<Instruction> {
        let id = u32::from(self.id);
        let mut program = match family {
            Family::Ipv4 => [&classify(id)[..], &quoted_icmp(id)].concat(),
            Family::Ipv6 => [&classify6(id)[..], &quoted_icmp6(id)].concat(),
        };
        program.extend([load(op::LD_HALF, 8), load(op::AND, BLOCK)]);
        program.extend(pass_if(self.first_port));
        program.push(load(op::LD_HALF, 10));
        program.extend(self.tunnel_ports.iter().flat_map(|&port| pass_if(port)));
        program.push(pass(0));
        program
    }
}

/// Lets through answers to what was encapsulated here: timestamp and ICMPv6 echo replies with this process's identifier.
/// For a socket that taps a tunnel: packets start with the IP header, and are all that come in there.
pub(super) fn tap(id: u16, family: Family) -> Vec<Instruction> {
    let (id, (protocol, number), kind) = match family {
        Family::Ipv4 => (u32::from(id), (9, 1), 14),
        Family::Ipv6 => (u32::from(id), (6, 58), 129),
    };
    let header = match family {
        Family::Ipv4 => load(op::LDX_HEADER, 0),
        Family::Ipv6 => load(op::LDX, 40),
    };
    vec![
        load(op::LDX, 0),
        load(op::LD_BYTE, protocol),
        equal(number, 1, 0),
        pass(0),
        header,
        load(op::LD_BYTE, 0),
        equal(kind, 1, 0),
        pass(0),
        load(op::LD_HALF, 4),
        equal(id, 0, 1),
        pass(WHOLE),
        pass(0),
    ]
}

/// The part of a port's number that all ports of this process share.
const BLOCK: u32 = !(PORTS as u32 - 1) & 0xffff;

/// X is the IP header's length. Replies end here; errors go on with X moved by the quoted IP header's length, and A
/// the quoted protocol.
const fn classify(id: u32) -> [Instruction; 20] {
    [
        load(op::LDX_HEADER, 0),
        load(op::LD_BYTE, 0),
        equal(0, 1, 0),
        equal(14, 0, 4),
        load(op::LD_HALF, 4),
        equal(id, 0, 1),
        pass(WHOLE),
        pass(0),
        equal(3, 3, 0),
        equal(11, 2, 0),
        equal(12, 1, 0),
        pass(0),
        load(op::LD_BYTE, 8 + 9),
        load(op::ST, 0),
        load(op::LD_BYTE, 8),
        load(op::AND, 0x0f),
        load(op::SHIFT_LEFT, 2),
        load(op::ADD_X, 0),
        load(op::TAX, 0),
        load(op::LD_MEMORY, 0),
    ]
}

/// What is quoted: a request of this process passes, UDP goes on.
const fn quoted_icmp(id: u32) -> [Instruction; 10] {
    [
        equal(1, 0, 7),
        load(op::LD_BYTE, 8),
        equal(8, 1, 0),
        equal(13, 0, 3),
        load(op::LD_HALF, 8 + 4),
        equal(id, 0, 1),
        pass(WHOLE),
        pass(0),
        equal(17, 1, 0),
        pass(0),
    ]
}

/// The same for packets that start with the ICMPv6 header. The quoted IPv6 header has a fixed length.
const fn classify6(id: u32) -> [Instruction; 14] {
    [
        load(op::LDX, 0),
        load(op::LD_BYTE, 0),
        equal(129, 0, 4),
        load(op::LD_HALF, 4),
        equal(id, 0, 1),
        pass(WHOLE),
        pass(0),
        equal(1, 4, 0),
        equal(2, 3, 0),
        equal(3, 2, 0),
        equal(4, 1, 0),
        pass(0),
        load(op::LD_BYTE, 8 + 6),
        load(op::LDX, 40),
    ]
}

const fn quoted_icmp6(id: u32) -> [Instruction; 14] {
    [
        equal(58, 0, 6),
        load(op::LD_BYTE, 8),
        equal(128, 0, 3),
        load(op::LD_HALF, 8 + 4),
        equal(id, 0, 1),
        pass(WHOLE),
        pass(0),
        equal(17, 6, 0),
        equal(0, 3, 0),
        equal(43, 2, 0),
        equal(44, 1, 0),
        equal(60, 0, 1),
        pass(WHOLE),
        pass(0),
    ]
}

const fn pass_if(port: u16) -> [Instruction; 2] {
    [equal(port as u32, 0, 1), pass(WHOLE)]
}

const fn load(code: u16, k: u32) -> Instruction {
    Instruction { code, when: 0, unless: 0, k }
}

const fn equal(k: u32, when: u8, unless: u8) -> Instruction {
    Instruction { code: op::JEQ, when, unless, k }
}

const fn pass(bytes: u32) -> Instruction {
    load(op::RET, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with a program: `None` where it reads beyond the packet.
    fn run(program: &[Instruction], packet: &[u8]) -> Option<bool> {
        let (mut a, mut x, mut at, mut memory) = (0u32, 0u32, 0usize, [0u32; 16]);
        let byte = |at: u32| packet.get(at as usize).map(|&byte| u32::from(byte));
        loop {
            let Instruction { code, when, unless, k } = program[at];
            at += 1;
            match code {
                op::LDX => x = k,
                op::LDX_HEADER => x = 4 * (byte(k)? & 15),
                op::LD_BYTE => a = byte(x + k)?,
                op::LD_HALF => a = byte(x + k)? << 8 | byte(x + k + 1)?,
                op::LD_MEMORY => a = memory[k as usize],
                op::ST => memory[k as usize] = a,
                op::AND => a &= k,
                op::SHIFT_LEFT => a <<= k,
                op::ADD_X => a += x,
                op::TAX => x = a,
                op::JEQ => at += usize::from(if a == k { when } else { unless }),
                op::RET => return Some(k > 0),
                other => panic!("the program uses opcode {other:#x}"),
            }
        }
    }

    fn passes(packet: &[u8]) -> bool {
        run(&filter().program(Family::Ipv4), packet).unwrap_or(false)
    }

    fn passes6(packet: &[u8]) -> bool {
        run(&filter().program(Family::Ipv6), packet).unwrap_or(false)
    }

    fn filter() -> Filter {
        Filter { id: 0x1234, first_port: 61_440, tunnel_ports: [4789, 8472].into() }
    }

    fn ip(protocol: u8, options: usize, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20 + options];
        packet[0] = 0x45 + (options / 4) as u8;
        packet[9] = protocol;
        packet.extend_from_slice(body);
        packet
    }

    fn echo(kind: u8, id: u16) -> Vec<u8> {
        let [high, low] = id.to_be_bytes();
        vec![kind, 0, 0, 0, high, low, 0, 1]
    }

    fn udp(source: u16, port: u16) -> Vec<u8> {
        [source, port, 8, 0].into_iter().flat_map(u16::to_be_bytes).collect()
    }

    fn error(kind: u8, options: usize, quoted: &[u8]) -> Vec<u8> {
        let mut body = vec![kind, 4, 0, 0, 0, 0, 5, 120];
        body.extend_from_slice(quoted);
        ip(1, options, &body)
    }

    #[test]
    fn replies_pass_by_identifier() {
        assert!(passes(&ip(1, 0, &echo(0, 0x1234))));
        assert!(passes(&ip(1, 8, &echo(0, 0x1234))), "behind IP options");
        assert!(!passes(&ip(1, 0, &echo(0, 0x1235))), "another process's");
        assert!(passes(&ip(1, 0, &echo(14, 0x1234))), "a timestamp reply");
        assert!(!passes(&ip(1, 0, &echo(14, 0x1235))), "another process's timestamp");
    }

    #[test]
    fn other_types_stay_out() {
        for kind in (1..=255).filter(|kind| ![3, 11, 12, 14].contains(kind)) {
            assert!(!passes(&ip(1, 0, &echo(kind, 0x1234))), "type {kind}");
        }
    }

    #[test]
    fn errors_pass_by_what_they_quote() {
        let quotes = [
            (ip(1, 0, &echo(8, 0x1234)), true, "our request"),
            (ip(1, 12, &echo(8, 0x1234)), true, "our request with IP options"),
            (ip(1, 0, &echo(8, 0x1235)), false, "another process's request"),
            (ip(1, 0, &echo(0, 0x1234)), false, "a reply with the same identifier"),
            (ip(1, 0, &echo(13, 0x1234)), true, "our timestamp request"),
            (ip(17, 0, &udp(61_440, 33_434)), true, "a UDP probe from our first port"),
            (ip(17, 0, &udp(61_951, 33_434)), true, "a UDP probe from our last port"),
            (ip(17, 0, &udp(61_439, 33_434)), false, "another's UDP"),
            (ip(17, 0, &udp(61_952, 33_434)), false, "another's UDP"),
            (ip(17, 0, &udp(50_002, 4789)), true, "a tunnel's packet"),
            (ip(17, 0, &udp(50_002, 8472)), true, "the other tunnel's packet"),
            (ip(17, 0, &udp(4789, 53)), false, "from a tunnel's port, not to it"),
            (ip(6, 0, &udp(61_440, 4789)), false, "TCP with the same ports"),
        ];
        for (quote, expected, what) in &quotes {
            for (kind, options) in [(3, 0), (11, 0), (12, 0), (3, 4)] {
                assert_eq!(passes(&error(kind, options, quote)), *expected, "type {kind}: {what}");
            }
            assert!(!passes(&error(5, 0, quote)), "a redirect: {what}");
        }
    }

    #[test]
    fn truncated_packets_are_dropped() {
        let whole = [
            ip(1, 0, &echo(0, 0x1234)),
            error(3, 0, &ip(1, 0, &echo(8, 0x1234))),
            error(3, 0, &ip(17, 0, &udp(1, 4789))),
        ];
        for (packet, needed) in whole.iter().zip([26, 54, 52]) {
            for length in 0..needed {
                assert!(!passes(&packet[..length]), "{length} of {needed} bytes");
            }
            assert!(passes(&packet[..needed]));
        }
    }

    #[test]
    fn without_tunnels_no_foreign_udp_passes() {
        let filter = Filter { tunnel_ports: BTreeSet::new(), ..filter() };
        let packet = error(3, 0, &ip(17, 0, &udp(1, 4789)));
        assert_eq!(run(&filter.program(Family::Ipv4), &packet), Some(false));
    }

    fn ip6(next: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet.resize(40, 0);
        packet.extend_from_slice(body);
        packet
    }

    fn error6(kind: u8, quoted: &[u8]) -> Vec<u8> {
        [&[kind, 0, 0, 0, 0, 0, 5, 120], quoted].concat()
    }

    #[test]
    fn ipv6_replies_pass_by_identifier_and_other_types_stay_out() {
        assert!(passes6(&echo(129, 0x1234)) && !passes6(&echo(129, 0x1235)));
        for kind in (0..=255).filter(|kind| ![1, 2, 3, 4, 129].contains(kind)) {
            assert!(!passes6(&echo(kind, 0x1234)), "type {kind}");
        }
    }

    #[test]
    fn ipv6_errors_pass_by_what_they_quote() {
        let quotes = [
            (ip6(58, &echo(128, 0x1234)), true, "our request"),
            (ip6(58, &echo(128, 0x1235)), false, "another process's request"),
            (ip6(58, &echo(129, 0x1234)), false, "a reply with the same identifier"),
            (ip6(17, &udp(61_700, 33_434)), true, "our UDP probe"),
            (ip6(17, &udp(50_000, 33_434)), false, "another's UDP"),
            (ip6(17, &udp(50_000, 8472)), true, "a tunnel's packet"),
            (ip6(6, &udp(61_700, 8472)), false, "TCP with the same ports"),
            (ip6(44, &[0; 16]), true, "a fragment, for user space to read"),
            (ip6(0, &[0; 16]), true, "hop-by-hop options, for user space to read"),
        ];
        for (quote, expected, what) in &quotes {
            for kind in [1, 2, 3, 4] {
                assert_eq!(passes6(&error6(kind, quote)), *expected, "type {kind}: {what}");
            }
            assert!(!passes6(&error6(137, quote)), "a redirect: {what}");
        }
    }

    #[test]
    fn truncated_ipv6_packets_are_dropped() {
        for packet in [echo(129, 0x1234), error6(2, &ip6(58, &echo(128, 0x1234))), error6(2, &ip6(17, &udp(1, 4789)))] {
            let needed = packet.len().min(52 + 2)
                - if packet[0] == 129 { 2 } else { 0 }
                - if packet.get(14) == Some(&17) { 2 } else { 0 };
            assert!(!passes6(&packet[..needed - 1]) && passes6(&packet[..needed]), "{needed} bytes");
        }
    }

    #[test]
    fn a_tap_passes_answers_to_what_was_encapsulated_here_and_nothing_else() {
        let passes = |family, packet: &[u8]| run(&tap(0x1234, family), packet).unwrap_or(false);
        assert!(passes(Family::Ipv4, &ip(1, 0, &echo(14, 0x1234))));
        assert!(passes(Family::Ipv4, &ip(1, 8, &echo(14, 0x1234))), "behind IP options");
        assert!(passes(Family::Ipv6, &ip6(58, &echo(129, 0x1234))));
        let others = [ip(1, 0, &echo(14, 1)), ip(1, 0, &echo(0, 0x1234)), ip(17, 0, &echo(14, 0x1234)), ip(6, 0, &[])];
        assert!(others.iter().all(|packet| !passes(Family::Ipv4, packet)));
        let others = [ip6(58, &echo(129, 1)), ip6(58, &echo(128, 0x1234)), ip6(17, &echo(129, 0x1234))];
        assert!(others.iter().all(|packet| !passes(Family::Ipv6, packet)));
    }
}
