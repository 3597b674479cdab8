//! The kernel's tables over rtnetlink, raw: what was asked, what came back, or why nothing did.
//!
//! Three rules. *A failure is never an empty list*: the error number in the message that ends a dump counts, and so does
//! one that answers the request. *Nothing is dropped*: messages leave here undecoded, because the usual connection logs
//! and forgets those that it does not understand, and a link that is forgotten reads as a link that is not there.
//! *One dump at a time*: a socket that is in the middle of one refuses the next, so a socket whose dump was given up is
//! thrown away.
//!
//! A dump that the kernel marks as interrupted (a table changed meanwhile, entries may be missing or double) is asked
//! for again, [`ATTEMPTS`] times at most.

mod channel;
mod ethtool;
pub mod events;
mod pipeline;
mod pod_ends;
mod request;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use probes::fact::{Reason, Source, Unread};
use probes::kernel::pod_end::{Ends, PodEnds};
use probes::kernel::{Dump, Query, RawFacts, RawMessage, RawRoutes};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use channel::{Channel, Fault};
use pipeline::Pipeline;
use request::Request;

/// Longest time for one table.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often an interrupted dump is asked for before the table counts as unread. A dump of a thousand links takes some ten
/// milliseconds: where pods come and go by the hundred a second, one attempt in three is not interrupted.
const ATTEMPTS: u32 = 15;

/// Everything that is read of the kernel in one go.
const EVERY: [Source; 7] = [
    Source::Links,
    Source::Addresses,
    Source::Routes,
    Source::Neighbours,
    Source::NeighbourTables,
    Source::Fdb,
    Source::PodEnds,
];

/// The capability that the kernel wants when it refuses a table.
const NEEDS: &str = "CAP_NET_ADMIN";

/// The first kernel that lists cached path MTUs; older ones answer with an empty list.
const LISTS_EXCEPTIONS: (u32, u32) = (5, 3);

/// Asks the kernel of the network namespace in which it was opened.
pub struct Netlink {
    /// `None` after a fault; opened again when next needed.
    channel: Mutex<Option<Channel>>,
    pods: Mutex<pod_ends::Known>,
    /// The number of the generic family `ethtool`, once known.
    ethtool: OnceLock<u16>,
}

impl Netlink {
    /// Opens a socket. Needs a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    /// If the kernel gives out no rtnetlink socket.
    pub fn open() -> Result<Self, Unread> {
        let channel = Channel::open().map_err(|fault| unread(Source::Links, "rtnetlink socket", &fault))?;
        Ok(Self { channel: Mutex::new(Some(channel)), pods: Mutex::default(), ethtool: OnceLock::new() })
    }

    /// Every table, each read or failed on its own. `files` and `sysctls` are left empty.
    pub async fn facts(&self, ends: Ends) -> RawFacts {
        self.read(&EVERY, ends).await
    }

    /// These tables, each read or failed on its own; the others are not looked at.
    pub async fn tables(&self, wanted: &[Source]) -> RawFacts {
        self.read(wanted, Ends::All).await
    }

    async fn read(&self, wanted: &[Source], ends: Ends) -> RawFacts {
        let mut took = BTreeMap::new();
        let mut table = async |source: Source| match wanted.contains(&source) {
            true => self.table(source, &mut took).await,
            false => Err(Unread::new(source, Reason::NotYet)),
        };
        let mut facts = RawFacts {
            links: table(Source::Links).await,
            addresses: table(Source::Addresses).await,
            routes: table(Source::Routes).await,
            neighbours: table(Source::Neighbours).await,
            neighbour_tables: table(Source::NeighbourTables).await,
            fdb: table(Source::Fdb).await,
            pod_ends: Err(Unread::new(Source::PodEnds, Reason::NotYet)),
            files: BTreeMap::new(),
            sysctls: Default::default(),
            host: Default::default(),
            took,
        };
        if wanted.contains(&Source::PodEnds) {
            let start = Instant::now();
            facts.pod_ends = self.pod_ends(&facts.links, ends).await;
            facts.took.insert(Source::PodEnds, start.elapsed());
        }
        facts
    }

    /// The pods' ends of the veths in a dump of links.
    async fn pod_ends(&self, links: &Dump, which: Ends) -> PodEnds {
        let no_links = |links: &Unread| Unread::new(Source::PodEnds, links.reason.clone());
        let links = links.as_ref().map_err(no_links)?;
        self.pods.lock().await.read(links, which)
    }

    /// The answer to each question, in the order given, and the path MTUs that the kernel has cached.
    pub async fn routes(&self, queries: Vec<Query>) -> RawRoutes {
        let start = Instant::now();
        let answers = Self::lookups(queries);
        let mut took = BTreeMap::from([(Source::Lookup, start.elapsed())]);
        RawRoutes { answers, exceptions: self.table(Source::Exceptions, &mut took).await, took }
    }

    /// What the kernel would use, cached path MTUs left out.
    fn lookups(queries: Vec<Query>) -> Vec<(Query, Result<Option<RawMessage>, Unread>)> {
        let fail = |query: &Query, fault: &Fault| unread(Source::Lookup, &query.to_string(), fault);
        let questions: Vec<_> = queries.iter().map(|&query| request::lookup(query)).collect();
        let answers = match Pipeline::open() {
            Ok(mut pipeline) => pipeline.ask(&questions),
            Err(error) => queries.iter().map(|_| Err(Fault::Closed(error.to_string()))).collect(),
        };
        let answer =
            |(query, answer): (Query, pipeline::Answer)| (query, found(answer).map_err(|fault| fail(&query, &fault)));
        queries.into_iter().zip(answers).map(answer).collect()
    }

    async fn table(&self, source: Source, took: &mut BTreeMap<Source, Duration>) -> Dump {
        let start = Instant::now();
        let dump = self.dump(source).await;
        took.insert(source, start.elapsed());
        dump
    }

    async fn dump(&self, source: Source) -> Dump {
        if source == Source::Exceptions {
            can_list_exceptions()?;
        }
        let mut rows = Vec::new();
        for request in request::dumps(source) {
            let fault = match timeout(PATIENCE, self.attempts(&request)).await.unwrap_or(Err(Fault::Late)) {
                Ok(part) => {
                    rows.extend(part.into_iter().filter(|row| request.asks_for(row)));
                    continue;
                }
                Err(fault) => fault,
            };
            if !(request.optional && fault.is_absent_family()) {
                return Err(unread(source, request.name, &fault));
            }
        }
        Ok(rows)
    }

    /// Dumps until the kernel says that nothing changed meanwhile.
    async fn attempts(&self, request: &Request) -> Result<Vec<RawMessage>, Fault> {
        let mut slot = self.channel.lock().await;
        let mut last = Fault::Interrupted;
        for _ in 0..ATTEMPTS {
            // Taken out, so that a dump which is given up half-way takes its socket with it.
            let mut channel = slot.take().map_or_else(Channel::open, Ok)?;
            if request.needs_strict && !channel.strict() {
                *slot = Some(channel);
                return Err(Fault::Lenient);
            }
            let dump = channel.dump(request).await;
            if dump.as_ref().err().is_none_or(Fault::leaves_socket_usable) {
                *slot = Some(channel);
            }
            match dump {
                Err(fault) if fault.is_passing() => last = fault,
                dump => return dump,
            }
        }
        Err(last)
    }
}

fn can_list_exceptions() -> Result<(), Unread> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < LISTS_EXCEPTIONS => {
            let why = format!("Linux {release} does not list cached path MTUs; Linux 5.3 is the first that does");
            Err(Unread::new(Source::Exceptions, Reason::Unsupported { why }))
        }
        _ => Ok(()),
    }
}

/// What could not be read and why. The kernel refuses a table with `EPERM` or `EACCES`.
fn unread(source: Source, what: &str, fault: &Fault) -> Unread {
    let reason = match fault {
        Fault::Errno(libc::EPERM | libc::EACCES) => Reason::Denied { needs: NEEDS.into() },
        Fault::Lenient => Reason::Unsupported { why: format!("{what}: {fault}") },
        fault => Reason::Failed { what: format!("{what}: {fault}") },
    };
    Unread::new(source, reason)
}

/// The kernel answers the lookup of a route that leads nowhere with the error that a packet would meet: there is none, or
/// it is of the kind `unreachable`, `prohibit` or `blackhole`.
fn found(answer: Result<RawMessage, Fault>) -> Result<Option<RawMessage>, Fault> {
    match answer {
        Err(Fault::Errno(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)) => Ok(None),
        answer => answer.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_refused_table_names_the_capability() {
        for errno in [libc::EPERM, libc::EACCES] {
            let unread = unread(Source::Fdb, "RTM_GETNEIGH", &Fault::Errno(errno));
            assert_eq!(unread.reason, Reason::Denied { needs: "CAP_NET_ADMIN".into() });
        }
    }

    #[test]
    fn a_route_that_leads_nowhere_is_an_answer_and_a_fault_is_none() {
        for errno in [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL] {
            assert_eq!(found(Err(Fault::Errno(errno))), Ok(None), "a prohibit route is no missing right");
        }
        for fault in [Fault::Errno(libc::EPERM), Fault::Errno(libc::ENOBUFS)] {
            assert!(found(Err(fault)).is_err());
        }
        assert_eq!(found(Err(Fault::Late)), Err(Fault::Late));
    }

    #[tokio::test]
    async fn every_table_of_this_machine_is_read_and_timed() {
        let facts = Netlink::open().unwrap().facts(Ends::All).await;
        let links = probes::kernel::link::decode(&facts.links.unwrap());
        assert!(links.rows.iter().any(|link| link.name == "lo" && link.inet.is_some()), "{links:?}");
        assert_eq!(links.malformed, [""; 0]);
        for dump in [&facts.addresses, &facts.routes, &facts.neighbours, &facts.neighbour_tables, &facts.fdb] {
            assert!(dump.is_ok(), "{dump:?}");
        }
        assert_eq!(facts.took.len(), EVERY.len());
    }

    #[tokio::test]
    async fn lookups_are_answered_each_on_its_own_and_in_order() {
        // The loopback address has a route of its own, the rest of its network shares one.
        let own = Query::from(IpAddr::from([127, 0, 0, 1]));
        let shared = Query { from: Some(own.to), ..Query::from(IpAddr::from([127, 1, 2, 3])) };
        let many: Vec<_> = [own, shared].into_iter().cycle().take(600).collect();
        let RawRoutes { answers, exceptions, took } = Netlink::open().unwrap().routes(many.clone()).await;
        assert!(exceptions.is_ok(), "{exceptions:?}");
        assert_eq!(took.len(), 2);
        assert_eq!(answers.iter().map(|(query, _)| *query).collect::<Vec<_>>(), many);
        for (query, answer) in answers {
            let route = probes::kernel::route::lookup(&answer.unwrap().unwrap()).unwrap();
            assert_eq!(route.prefix, if query == own { 32 } else { 8 }, "{query}");
        }
    }
}
