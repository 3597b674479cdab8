//! Writes what drivers say of themselves, for the golden devices of the ethtool decoder.
//!
//! `devices FILE LINK...` asks about each link of this network namespace. The file is a sequence of messages as `capture`
//! writes them. A message of type 0 opens a section and holds its name: a link and `features` or `channels`. What a
//! driver does not do leaves its section empty.

use std::io::{self, Write};

use agent::io::netlink::Netlink;
use probes::fact::Unread;
use probes::kernel::ethtool::Devices;
use probes::kernel::pod_end::Ends;
use probes::kernel::{RawMessage, link};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or_else(|| other("usage: devices FILE LINK..."))?;
    let names: Vec<String> = arguments.collect();
    let bytes = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(devices(&names))?;
    std::fs::write(file, bytes)
}

async fn devices(names: &[String]) -> io::Result<Vec<u8>> {
    let netlink = Netlink::open().map_err(other)?;
    let links = link::decode(&netlink.facts(Ends::All).await.links.map_err(other)?).rows;
    let find = |name: &String| links.iter().find(|link| link.name == *name).ok_or_else(|| other(format!("no {name}")));
    let wanted = names.iter().map(|name| Ok(find(name)?.index)).collect::<io::Result<Vec<_>>>()?;
    let raw = netlink.devices(&wanted);
    writeln!(io::stderr(), "took {:?}: {:#?}", raw.took, Devices::decode(&raw))?;
    let mut file = Vec::new();
    for (name, device) in names.iter().zip(raw.devices) {
        section(&mut file, &format!("{name} features"), device.features)?;
        section(&mut file, &format!("{name} channels"), device.channels)?;
    }
    Ok(file)
}

fn section(file: &mut Vec<u8>, name: &str, answer: Result<Option<RawMessage>, Unread>) -> io::Result<()> {
    let head = RawMessage { kind: 0, body: name.as_bytes().to_vec() };
    for message in [head].into_iter().chain(answer.map_err(other)?) {
        file.extend(u32::try_from(message.body.len()).map_err(other)?.to_le_bytes());
        file.extend(message.kind.to_le_bytes());
        file.extend(message.body);
    }
    Ok(())
}

fn other(error: impl ToString) -> io::Error {
    io::Error::other(error.to_string())
}
