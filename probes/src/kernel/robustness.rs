//! No input makes a decoder panic, and no message vanishes: cut or corrupted, it ends as a row or as a line.

use proptest::prelude::*;
use proptest::sample::Index;

use super::attributes::after;
use super::{RawMessage, address, golden, link, neighbour, neighbour_table, proc, route};

/// One kind of table: its golden messages, the length of the header, and how many rows and lines messages yield.
struct Decoder {
    name: &'static str,
    golden: fn() -> Vec<RawMessage>,
    header: usize,
    count: fn(&[RawMessage]) -> (usize, usize),
}

macro_rules! decoder {
    ($golden:path, $header:literal, $decode:path) => {
        Decoder {
            name: stringify!($decode),
            golden: $golden,
            header: $header,
            count: |messages| {
                let table = $decode(messages);
                (table.rows.len(), table.malformed.len())
            },
        }
    };
}

const DECODERS: [Decoder; 7] = [
    decoder!(golden::links, 16, link::decode),
    decoder!(golden::addresses, 8, address::decode),
    decoder!(golden::routes, 12, route::decode),
    decoder!(golden::exceptions, 12, route::exceptions),
    decoder!(golden::neighbours, 12, neighbour::decode),
    decoder!(golden::fdb, 12, neighbour::forwarding),
    decoder!(golden::neighbour_tables, 4, neighbour_table::decode),
];

/// Every offset at which an attribute of the message ends: cut there, it is whole and only says less.
fn ends(message: &RawMessage, header: usize) -> Vec<usize> {
    let mut ends = vec![header];
    for attribute in after(&message.body, header).unwrap() {
        ends.push(ends[ends.len() - 1] + usize::from(attribute.length()).next_multiple_of(4));
    }
    ends
}

#[test]
fn a_message_cut_anywhere_is_a_line_or_a_row_that_says_less() {
    for decoder in &DECODERS {
        for message in (decoder.golden)() {
            let ends = ends(&message, decoder.header);
            for length in 0..message.body.len() {
                let cut = RawMessage { kind: message.kind, body: message.body[..length].to_vec() };
                let (rows, lines) = (decoder.count)(&[cut]);
                // The value may end before its padding does.
                let inside = !ends.iter().any(|&end| length <= end && length + 3 >= end && length >= decoder.header);
                if inside {
                    assert_eq!((rows, lines), (0, 1), "{} cut to {length} bytes", decoder.name);
                }
                // An exception whose MTU was cut off is no path MTU any more.
                assert!(
                    rows + lines > 0 || ["route::exceptions", "neighbour_table::decode"].contains(&decoder.name),
                    "{} cut to {length}",
                    decoder.name
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for (decoder, kind) in DECODERS.iter().zip([16, 20, 24, 24, 28, 28, 64]) {
            (decoder.count)(&[RawMessage { kind, body: body.clone() }]);
        }
        let _ = route::lookup(&RawMessage { kind: 24, body });
    }

    #[test]
    fn corrupted_messages_never_panic(which: Index, edits in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8)) {
        for decoder in &DECODERS {
            let messages = (decoder.golden)();
            let mut message = which.get(&messages).clone();
            for (at, value) in &edits {
                *at.get_mut(&mut message.body) = *value;
            }
            let (rows, lines) = (decoder.count)(&[message]);
            prop_assert!(rows + lines > 0 || decoder.name != "link::decode", "a link vanished");
        }
    }

    #[test]
    fn corrupted_lengths_inside_attributes_never_panic(which: Index, at: Index, length in 0u8..80) {
        for decoder in &DECODERS {
            let messages = (decoder.golden)();
            let mut message = which.get(&messages).clone();
            let word = at.index(message.body.len() / 4) * 4;
            message.body[word] = length;
            (decoder.count)(&[message]);
        }
    }

    #[test]
    fn random_text_never_panics(snmp in any::<String>(), netstat in "([A-Z][a-z]{1,3}: [a-z0-9 ]{0,9}\n){0,6}") {
        let mut found = super::Counters::new();
        let _ = proc::pairs("a", &snmp, &mut found);
        let _ = proc::pairs("b", &netstat, &mut found);
        let _ = proc::list(&snmp, &mut found);
        let _ = super::conntrack::counters(&snmp, &mut found);
        let _ = proc::number(&snmp);
        let _ = proc::flag(&netstat);
    }
}
