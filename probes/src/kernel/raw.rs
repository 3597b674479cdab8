//! What is read of the kernel in one go, undecoded, and what it is asked about single ways.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::pod_end::PodEnds;
use super::{Dump, HostFile, RawMessage};
use crate::declared::host::RawHost;
use crate::declared::sysctl::RawSysctls;
use crate::fact::{Reason, Source, Unread};

/// Everything read from the kernel in one go. Each part fails on its own.
#[derive(Clone, Debug)]
pub struct RawFacts {
    /// `RTM_GETLINK` dump.
    pub links: Dump,
    /// `RTM_GETADDR` dump, both families.
    pub addresses: Dump,
    /// `RTM_GETROUTE` dump, both families, every table.
    pub routes: Dump,
    /// `RTM_GETNEIGH` dump, both families.
    pub neighbours: Dump,
    /// `RTM_GETNEIGHTBL` dump, both families.
    pub neighbour_tables: Dump,
    /// `RTM_GETNEIGH` dump of family `AF_BRIDGE`.
    pub fdb: Dump,
    /// The pods' ends of veths, asked for after the links.
    pub pod_ends: PodEnds,
    /// Host files, each on its own; `None` is a file that the machine does not have ([`HostFile::may_lack_in`]).
    pub files: BTreeMap<HostFile, Result<Option<String>, Unread>>,
    /// What files say of settings, and the kernel's values of those that somebody wants to be something.
    pub sysctls: RawSysctls,
    /// Files of the host that declare something.
    pub host: RawHost,
    /// How long each source took.
    pub took: BTreeMap<Source, Duration>,
}

impl RawFacts {
    /// Nothing was read yet.
    pub fn unread() -> Self {
        let not_yet = |source| Err(Unread::new(source, Reason::NotYet));
        Self {
            links: not_yet(Source::Links),
            addresses: not_yet(Source::Addresses),
            routes: not_yet(Source::Routes),
            neighbours: not_yet(Source::Neighbours),
            neighbour_tables: not_yet(Source::NeighbourTables),
            fdb: not_yet(Source::Fdb),
            pod_ends: Err(Unread::new(Source::PodEnds, Reason::NotYet)),
            files: BTreeMap::new(),
            sysctls: RawSysctls::default(),
            host: RawHost::default(),
            took: BTreeMap::new(),
        }
    }
}

/// Which way would a packet take? With policy routing that hangs on its source too (`ip rule from …`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Query {
    /// Where to.
    pub to: IpAddr,
    /// The source address that the packet has before it is routed; `None` where the route is to choose it.
    pub from: Option<IpAddr>,
}

impl From<IpAddr> for Query {
    fn from(to: IpAddr) -> Self {
        Self { to, from: None }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route to {}", self.to)?;
        self.from.iter().try_for_each(|from| write!(f, " from {from}"))
    }
}

/// What the kernel says of some ways.
#[derive(Clone, Debug)]
pub struct RawRoutes {
    /// `RTM_NEWROUTE` for each question asked, cached path MTUs left out; `None` where no route leads there.
    pub answers: Vec<(Query, Result<Option<RawMessage>, Unread>)>,
    /// `RTM_GETROUTE` dump with `RTM_F_CLONED`: the cached path MTUs. Dumped after the look-ups, because the kernel lists
    /// one only once something has looked its route up since it was learned.
    pub exceptions: Dump,
    /// How long each source took.
    pub took: BTreeMap<Source, Duration>,
}
