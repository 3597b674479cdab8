//! Netlink messages of any bytes.
//!
//! - A message is one row, one line about what is amiss, or another table's: none vanishes and none counts twice.
//! - A message means the same alone and among others, today and tomorrow.
//! - A line is one line, of bounded length, and memory is bounded by the input.
//! - No row says what cannot be: a prefix longer than its address, an identifier of more bits than it has.
//! - Whatever the rows say, the topology of such a machine can be drawn, and every chain in it ends.
#![no_main]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;

use harness::{bounded, messages};
use libfuzzer_sys::fuzz_target;
use probes::kernel::{Link, RawFacts, RawMessage, Table, TunnelKind, address, link, neighbour, route};
use probes::snapshot::Topology;
use probes::snapshot::topology::outer;
use probes::tables::Tables;

fuzz_target!(|bytes: &[u8]| {
    let all = messages(bytes);
    bounded(bytes.len(), 512, || {
        one(&all, 16, link::decode, plausible_link);
        one(&all, 20, address::decode, |row| assert!(row.prefix <= bits(row.address), "{row:?}"));
        one(&all, 24, route::decode, |row| assert!(row.prefix <= bits(row.destination), "{row:?}"));
        one(&all, 24, route::exceptions, |row| assert!(row.mtu.bytes() > 0, "{row:?}"));
        one(&all, 28, neighbour::decode, |_| {});
        one(&all, 28, neighbour::forwarding, |_| {});
    });
    for message in &all {
        let alone = std::slice::from_ref(message);
        whole(message);
        assert!(route::lookup(message).is_err() || message.kind == 24);
        assert!(route::decode(alone).rows.is_empty() || route::exceptions(alone).rows.is_empty(), "told and learned");
    }
    topology(all);
});

/// What holds for every table.
fn one<T: PartialEq + Debug>(
    all: &[RawMessage],
    kind: u16,
    decode: impl Fn(&[RawMessage]) -> Table<T>,
    plausible: impl Fn(&T),
) {
    let table = decode(all);
    let mut apart = Table::default();
    for message in all {
        let mut alone = decode(std::slice::from_ref(message));
        assert!(alone.rows.len() <= 1, "one message, many rows");
        assert!(message.kind == kind || alone == Table::default(), "another table's message");
        apart.rows.append(&mut alone.rows);
        apart.malformed.append(&mut alone.malformed);
    }
    assert_eq!(table.rows, apart.rows);
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(table.malformed.clone()), sorted(apart.malformed));
    for line in &table.malformed {
        assert!(line.chars().count() <= 161 && !line.contains(['\n', '\r']), "{line:?}");
    }
    table.rows.iter().for_each(plausible);
}

/// That a message ends up somewhere.
fn whole(message: &RawMessage) {
    let alone = std::slice::from_ref(message);
    let rows_and_lines = match message.kind {
        16 => count(&link::decode(alone)),
        20 => count(&address::decode(alone)),
        28 => count(&neighbour::decode(alone)) + count(&neighbour::forwarding(alone)),
        _ => return,
    };
    assert!(rows_and_lines > 0, "a message vanished");
}

fn count<T>(table: &Table<T>) -> usize {
    table.rows.len() + table.malformed.len()
}

fn plausible_link(link: &Link) {
    let Some(tunnel) = &link.tunnel else { return };
    if matches!(tunnel.kind, TunnelKind::Vxlan | TunnelKind::Geneve) {
        assert!(tunnel.id.is_none_or(|id| id < 1 << 24), "a VNI has 24 bits: {tunnel:?}");
    }
    assert!(tunnel.local.is_none_or(|address| !address.is_unspecified()), "{tunnel:?}");
    assert!(tunnel.remote.is_none_or(|address| !address.is_unspecified()), "{tunnel:?}");
    assert!(!tunnel.external || tunnel.id.is_none(), "{tunnel:?}");
    for family in [probes::units::Family::Ipv4, probes::units::Family::Ipv6] {
        assert!(probes::overhead::of(tunnel, family).is_none_or(|adds| (20..=120).contains(&adds)), "{tunnel:?}");
    }
}

const fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn topology(all: Vec<RawMessage>) {
    let tables = Tables::decode(&RawFacts {
        links: Ok(all.clone()),
        addresses: Ok(all.clone()),
        routes: Ok(all.clone()),
        neighbours: Ok(all.clone()),
        fdb: Ok(all),
        ..RawFacts::unread()
    });
    let answers = outer::queries(&tables, &[]).into_iter().map(|query| (query, probes::fact::Fact::Absent)).collect();
    let topology = Topology::new(&tables, &[], &BTreeMap::new(), &answers);
    for link in tables.links() {
        let chain = topology.chain(link.index);
        assert!(chain.len() <= tables.links().len().max(1) * 2, "{chain:?}");
    }
}
