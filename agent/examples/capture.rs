//! Writes the kernel's answers as they are, for the golden files of the decoders.
//!
//! `capture DIRECTORY [ADDRESS]...` dumps every table of this network namespace to `DIRECTORY/<table>.bin` and the route
//! to each address to `lookups.bin`. Of the pods' ends it writes `pod_ends.bin`: before each a message of type 0 that says
//! what was asked. A file is a sequence of messages: length of the body (32 bits) and message type (16
//! bits), both little-endian, then the body. What was read is summed up on standard error.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use agent::io::{host, netlink::Netlink, rights};
use probes::kernel::pod_end::{self, Ends, PodEnds, RawPodEnd};
use probes::kernel::{Dump, Query, RawMessage, address, link, neighbour, neighbour_table, route};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or_else(|| other("usage: capture DIRECTORY [ADDRESS]..."))?);
    let addresses: Vec<IpAddr> = arguments.map(|text| text.parse().map_err(other)).collect::<io::Result<_>>()?;
    writeln!(io::stderr(), "{:?}", rights::raise())?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(capture(&directory, addresses))
}

async fn capture(directory: &Path, addresses: Vec<IpAddr>) -> io::Result<()> {
    let netlink = Netlink::open().map_err(other)?;
    let facts = netlink.facts(Ends::All).await;
    let mut log = io::stderr();
    writeln!(log, "took {:?}", facts.took)?;
    writeln!(log, "{:#?}", link::decode(&write(directory, "links", facts.links)?))?;
    writeln!(log, "{:#?}", address::decode(&write(directory, "addresses", facts.addresses)?))?;
    writeln!(log, "{:#?}", route::decode(&write(directory, "routes", facts.routes)?))?;
    writeln!(log, "{:#?}", neighbour::decode(&write(directory, "neighbours", facts.neighbours)?))?;
    let tables = write(directory, "neighbour_tables", facts.neighbour_tables)?;
    writeln!(log, "{:#?}", neighbour_table::decode(&tables))?;
    writeln!(log, "{:#?}", neighbour::forwarding(&write(directory, "fdb", facts.fdb)?))?;
    writeln!(log, "{:#?}", pod_end::decode(&facts.pod_ends.clone().map_err(other)?))?;
    write(directory, "pod_ends", asked(facts.pod_ends))?;
    let mut lookups = Vec::new();
    let routes = netlink.routes(addresses.into_iter().map(Query::from).collect()).await;
    writeln!(log, "{:#?}", route::exceptions(&write(directory, "exceptions", routes.exceptions)?))?;
    for (query, answer) in routes.answers {
        writeln!(log, "{query}: {:?}", route::answer(answer.clone()))?;
        lookups.extend(answer.ok().flatten());
    }
    write(directory, "lookups", Ok(lookups))?;
    writeln!(log, "{:#?}", host::read_all(Path::new("/")).into_values().map(|text| text.is_ok()).collect::<Vec<_>>())
}

fn asked(ends: PodEnds) -> Dump {
    let messages = |end: RawPodEnd| {
        let asked = format!("{} {} {}", end.question.link.0, end.question.namespace, end.question.end.0).into_bytes();
        let said = end.answer.ok().flatten().into_iter().chain(end.addresses);
        std::iter::once(RawMessage { kind: 0, body: asked }).chain(said)
    };
    ends.map(|ends| ends.into_iter().flat_map(messages).collect())
}

fn write(directory: &Path, table: &str, dump: Dump) -> io::Result<Vec<RawMessage>> {
    let messages = dump.map_err(other)?;
    let mut file = Vec::new();
    for message in &messages {
        file.extend(u32::try_from(message.body.len()).map_err(other)?.to_le_bytes());
        file.extend(message.kind.to_le_bytes());
        file.extend(&message.body);
    }
    std::fs::write(directory.join(table).with_extension("bin"), file)?;
    Ok(messages)
}

fn other(error: impl ToString) -> io::Error {
    io::Error::other(error.to_string())
}
