//! Writes one whole machine as the kernel tells it, for the golden machines of the topology's tests.
//!
//! `machine FILE [ADDRESS[@SOURCE]]...` reads every table of this network namespace and the route to each address, from
//! the source where one is named. The file is a sequence of messages as `capture` writes them. A message of type 0 opens
//! a section and holds its name: a table, or the question that the next message answers.

use std::io;
use std::net::IpAddr;

use agent::io::netlink::Netlink;
use agent::io::rights;
use probes::kernel::pod_end::Ends;
use probes::kernel::{Dump, Query, RawMessage};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or_else(|| other("usage: machine FILE [ADDRESS[@SOURCE]]..."))?;
    let queries = arguments.map(|text| query(&text)).collect::<io::Result<_>>()?;
    rights::raise();
    let bytes = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(machine(queries))?;
    std::fs::write(file, bytes)
}

async fn machine(queries: Vec<Query>) -> io::Result<Vec<u8>> {
    let netlink = Netlink::open().map_err(other)?;
    let facts = netlink.facts(Ends::All).await;
    let mut file = Vec::new();
    for (table, dump) in [
        ("links", facts.links),
        ("addresses", facts.addresses),
        ("routes", facts.routes),
        ("neighbours", facts.neighbours),
        ("fdb", facts.fdb),
    ] {
        section(&mut file, table, dump)?;
    }
    for (query, answer) in netlink.routes(queries).await.answers {
        section(&mut file, &query.to_string(), Ok(answer.into_iter().flatten().collect()))?;
    }
    Ok(file)
}

fn query(text: &str) -> io::Result<Query> {
    let (to, from) = text.split_once('@').map_or((text, None), |(to, from)| (to, Some(from)));
    let address = |text: &str| text.parse::<IpAddr>().map_err(other);
    Ok(Query { to: address(to)?, from: from.map(address).transpose()? })
}

fn section(file: &mut Vec<u8>, name: &str, dump: Dump) -> io::Result<()> {
    let head = RawMessage { kind: 0, body: name.as_bytes().to_vec() };
    for message in [head].into_iter().chain(dump.map_err(other)?) {
        file.extend(u32::try_from(message.body.len()).map_err(other)?.to_le_bytes());
        file.extend(message.kind.to_le_bytes());
        file.extend(message.body);
    }
    Ok(())
}

fn other(error: impl ToString) -> io::Error {
    io::Error::other(error.to_string())
}
