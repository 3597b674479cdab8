//! Netlink messages of any bytes.
//!
//! - A message is one row, one line about what is amiss, or another table's: none vanishes and none counts twice.
//! - A message means the same alone and among others, today and tomorrow.
//! - A line is one line, of bounded length, and memory is bounded by the input.
//! - No row says what cannot be: a prefix longer than its address, an identifier of more bits than it has.
//! - A pod's end is known only by an answer about that very end, and a feature only by a device that names it.
//! - Whatever the rows say, the topology of such a machine can be drawn, and every chain in it ends.
#![no_main]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;

use harness::{bounded, messages};
use libfuzzer_sys::fuzz_target;
use probes::fact::Fact;
use probes::kernel::ethtool::{self, OFFLOADS, RawDevice};
use probes::kernel::pod_end::{self, Question, RawPodEnd};
use probes::kernel::{
    Link, LinkIndex, RawFacts, RawMessage, Table, TunnelKind, address, link, neighbour, neighbour_table, route,
};
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
        one(&all, 64, neighbour_table::decode, |_| {});
    });
    let questions = pod_end::questions(&all);
    questions.iter().for_each(|(question, _)| asked(question, &all));
    for (message, other) in all.iter().zip(all.iter().rev()) {
        device(message, other);
        for (question, _) in questions.iter().take(8) {
            end(*question, message, other);
        }
    }
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

/// Whoever asks about a pod's end, a link says where that is.
fn asked(question: &Question, all: &[RawMessage]) {
    assert!(question.namespace >= 0 && question.end.0 != 0, "{question:?}");
    assert!(all.iter().any(|message| link::told_of(message) == Some(question.link)), "{question:?} of no link");
}

/// An answer to a question, by whatever message.
fn end(question: Question, message: &RawMessage, address: &RawMessage) {
    let raw = RawPodEnd { question, answer: Ok(Some(message.clone())), addresses: vec![address.clone()] };
    let (known, malformed) = pod_end::decode(&[raw]);
    assert!(known.keys().all(|link| *link == question.link), "an end of another link");
    assert!(malformed.iter().all(|line| line.chars().count() <= 161), "{malformed:?}");
    let Some(Fact::Known(end)) = known.get(&question.link) else { return };
    let about = message.body.get(4..8).map(|index| u32::from_ne_bytes(index.try_into().expect("four bytes")));
    assert_eq!(about, Some(question.end.0), "an answer about another end");
    let says = |number: [u8; 4]| message.body.windows(4).any(|bytes| bytes == number);
    assert!(says(end.mtu.bytes().to_ne_bytes()) && says(question.namespace.to_ne_bytes()), "{end:?}");
    assert!(says(question.link.0.to_ne_bytes()), "of another link's end");
    assert!(!end.up || message.body[8] & 1 == 1, "an end that is down");
}

/// What a driver says, by whatever messages.
fn device(features: &RawMessage, channels: &RawMessage) {
    let named = |name: &str| features.body.windows(name.len()).filter(|bytes| *bytes == name.as_bytes()).count();
    let raw =
        RawDevice { link: LinkIndex(1), features: Ok(Some(features.clone())), channels: Ok(Some(channels.clone())) };
    let device = ethtool::device(&raw);
    for (name, feature) in device.features.known().into_iter().flat_map(ethtool::Features::iter) {
        assert!(OFFLOADS.contains(&name) && named(name) > usize::from(feature.on), "{name}: {feature:?}");
    }
    if let Some(ethtool::Channels { receiving, most }) = device.channels.known() {
        let counts = || channels.body.windows(4).map(|bytes| u32::from_ne_bytes(bytes.try_into().expect("four bytes")));
        let sum =
            |of: u32| of == 0 || counts().any(|one| one == of || counts().any(|other| one.saturating_add(other) == of));
        assert!(sum(*receiving) && sum(*most), "{device:?}");
    }
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
