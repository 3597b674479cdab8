//! The packet filter of the raw ICMP socket, as classic BPF.
//!
//! Every raw ICMP socket of a machine is handed every ICMP packet that comes in. Without a filter, somebody's flood
//! ping wakes this process for each packet; with it, the kernel keeps back what cannot concern a probe. It lets through
//!
//! - echo replies with this process's identifier,
//! - errors (destination unreachable, time exceeded, parameter problem) that quote an echo request with this
//!   process's identifier, a UDP packet from its own port, or a UDP packet to a tunnel's port, whose inside only user
//!   space can look into.
//!
//! It is no safeguard: what comes through is checked again. A load beyond a packet's end makes the kernel drop the
//! packet.

use std::collections::BTreeSet;

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
    /// ICMP identifier of this process's echo requests.
    pub id: u16,
    /// Source port of its UDP probes.
    pub udp_port: u16,
    /// Destination ports of tunnels.
    pub tunnel_ports: BTreeSet<u16>,
}

/// Opcodes (`include/uapi/linux/bpf_common.h`): class, size and mode in one number each.
mod op {
    /// X = 4 × (packet\[k\] & 15): the length of an IPv4 header.
    pub(super) const LDX_HEADER: u16 = 0xb1;
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
    pub(super) fn program(&self) -> Vec<Instruction> {
        let id = u32::from(self.id);
        let mut program = Vec::from(classify(id));
        program.extend(quoted_icmp(id));
        program.extend([equal(17, 1, 0), pass(0), load(op::LD_HALF, 8)]);
        program.extend(pass_if(self.udp_port));
        program.push(load(op::LD_HALF, 10));
        program.extend(self.tunnel_ports.iter().flat_map(|&port| pass_if(port)));
        program.push(pass(0));
        program
    }
}

/// X is the IP header's length. Replies end here; errors go on with X moved by the quoted IP header's length, and A
/// the quoted protocol.
const fn classify(id: u32) -> [Instruction; 19] {
    [
        load(op::LDX_HEADER, 0),
        load(op::LD_BYTE, 0),
        equal(0, 0, 4),
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

const fn quoted_icmp(id: u32) -> [Instruction; 7] {
    [
        equal(1, 0, 6),
        load(op::LD_BYTE, 8),
        equal(8, 0, 3),
        load(op::LD_HALF, 8 + 4),
        equal(id, 0, 1),
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
        let filter = Filter { id: 0x1234, udp_port: 50_001, tunnel_ports: [4789, 8472].into() };
        run(&filter.program(), packet).unwrap_or(false)
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
    }

    #[test]
    fn other_types_stay_out() {
        for kind in (1..=255).filter(|kind| ![3, 11, 12].contains(kind)) {
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
            (ip(17, 0, &udp(50_001, 33_434)), true, "our UDP probe"),
            (ip(17, 0, &udp(50_002, 33_434)), false, "another's UDP"),
            (ip(17, 0, &udp(50_002, 4789)), true, "a tunnel's packet"),
            (ip(17, 0, &udp(50_002, 8472)), true, "the other tunnel's packet"),
            (ip(17, 0, &udp(4789, 53)), false, "from a tunnel's port, not to it"),
            (ip(6, 0, &udp(50_001, 4789)), false, "TCP with the same ports"),
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
        let filter = Filter { id: 1, udp_port: 50_001, tunnel_ports: BTreeSet::new() };
        let packet = error(3, 0, &ip(17, 0, &udp(1, 4789)));
        assert_eq!(run(&filter.program(), &packet), Some(false));
    }
}
