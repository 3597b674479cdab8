//! Pod links that work, with both ends.
//!
//! A packet of a pod meets its own end first and then the node's, so what binds it is the smaller of the two. That they
//! differ is `veth-ends-differ`; the codes about pods beside other pods or beside a tunnel look at what binds.
//!
//! A link that is down, an end that is down, an end that is gone: no pod is at work there. Where the ends cannot be read
//! (no `CAP_NET_ADMIN`) nothing is said of any pod, but a node without pods needs no such right.

use crate::fact::Unread;
use crate::kernel::Link;
use crate::kernel::pod_end::PodEnd;
use crate::report::Role;
use crate::snapshot::Snapshot;
use crate::units::LinkMtu;

/// Most links that evidence names.
pub(super) const EXAMPLES: usize = 5;

/// One pod's link.
#[derive(Clone, Copy, Debug)]
pub(super) struct PodLink<'n> {
    /// The node's end.
    pub(super) host: &'n Link,
    /// The pod's.
    pub(super) end: &'n PodEnd,
}

impl PodLink<'_> {
    /// The most that the link takes of the pod's packets.
    pub(super) fn binds(&self) -> LinkMtu {
        self.host.mtu.min(self.end.mtu)
    }
}

/// The pod links of a node.
#[derive(Debug, Default)]
pub(super) struct PodLinks<'n> {
    /// Those whose both ends are known.
    pub(super) known: Vec<PodLink<'n>>,
    /// Why some are not known, if some are not.
    pub(super) unread: Option<Unread>,
}

/// Every pod link that works.
///
/// # Errors
/// If links or routes could not be read, or there are pod links and the end of none of them could be.
pub(super) fn all(node: &Snapshot) -> Result<PodLinks<'_>, Unread> {
    node.tables.links.read()?;
    node.tables.routes.read()?;
    let mut pods = PodLinks::default();
    let works = |link: &&Link| link.works() && node.topology.role(link.index) == Role::Pod;
    for host in node.tables.links().iter().filter(works) {
        match node.tables.pod_end(host.index) {
            Ok(Some(end)) if end.up => pods.known.push(PodLink { host, end }),
            Ok(_) => {}
            Err(why) => pods.unread = Some(why),
        }
    }
    match pods.unread {
        Some(why) if pods.known.is_empty() => Err(why),
        unread => Ok(PodLinks { unread, ..pods }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::snapshot::example::{Example, failed};

    const POD: &str = "cali1a2b3c4d5e6";

    fn told(node: &Example) -> Result<(Vec<(String, u32)>, bool), Unread> {
        let node = node.snapshot();
        let pods = all(&node)?;
        let known = pods.known.iter().map(|pod| (pod.host.name.clone(), pod.binds().bytes())).collect();
        Ok((known, pods.unread.is_some()))
    }

    fn ends(node: &mut Example) -> &mut std::collections::BTreeMap<crate::kernel::LinkIndex, Fact<PodEnd>> {
        let Fact::Known(ends) = &mut node.tables.pod_ends else { panic!("they are known") };
        ends
    }

    #[test]
    fn the_smaller_end_binds() {
        let node = Example::reference().end(POD, |end| end.mtu = LinkMtu::new(1400));
        let node = node.end("cali9f8e7d6c5b4", |end| end.mtu = LinkMtu::new(1500));
        let all = vec![(POD.to_owned(), 1400), ("cali9f8e7d6c5b4".to_owned(), 1450)];
        assert_eq!(told(&node), Ok((all, false)));
    }

    #[test]
    fn where_no_pod_is_at_work_there_is_no_pod_link() {
        let other = || vec![("cali9f8e7d6c5b4".to_owned(), 1450)];
        let mut gone = Example::reference();
        let index = gone.index(POD);
        ends(&mut gone).insert(index, Fact::Absent);
        let down = Example::reference().with(POD, |link| link.up = false);
        let without_carrier = Example::reference().with(POD, |link| link.carrier = Some(false));
        for node in [gone, down, without_carrier, Example::reference().end(POD, |end| end.up = false)] {
            assert_eq!(told(&node), Ok((other(), false)));
        }
    }

    #[test]
    fn one_end_that_cannot_be_read_hides_no_other() {
        let mut node = Example::reference();
        let index = node.index(POD);
        ends(&mut node).insert(index, Fact::Unread(failed(Source::PodEnds)));
        assert_eq!(told(&node), Ok((vec![("cali9f8e7d6c5b4".to_owned(), 1450)], true)));
        node.tables.pod_ends = Fact::Unread(failed(Source::PodEnds));
        assert_eq!(told(&node), Err(failed(Source::PodEnds)));
    }

    #[test]
    fn a_node_without_pods_needs_no_right() {
        let mut node = Example::empty();
        node.tables.pod_ends = Fact::Unread(failed(Source::PodEnds));
        assert_eq!(told(&node), Ok((Vec::new(), false)));
    }
}
