//! Pod links that work, with both ends.
//!
//! A packet of a pod meets its own end first and then the node's, so what binds it is the smaller of the two. That they
//! differ is `veth-ends-differ`; the codes about pods beside other pods or beside their way out look at what binds.
//!
//! A link that is down, an end that is down, an end that is gone: no pod is at work there.
//!
//! The ends of pods are not shown to everybody (`CAP_NET_ADMIN`), the node's are. A node's end alone is a bound: whatever
//! the pod's is, its packets are no larger. So an end that fits proves that the pod fits, without any right. An end that
//! does not fit proves nothing by itself, since the pod's might be smaller; but every CNI gives both ends one MTU, and a
//! pod's end that was made smaller afterwards is a fault of its own. Where the right is missing, and with it every hope to
//! see more, that is enough to speak, with evidence that says what it rests on. Where it is there and the reading of an
//! end failed, the next one tells. That the two ends are equal is what no single end can show.
//!
//! A veth has a carrier only while both of its ends are up, so that a pod is at work shows on the node's end.

use crate::fact::{Reason, Unread};
use crate::kernel::Link;
use crate::kernel::pod_end::PodEnd;
use crate::report::Role;
use crate::snapshot::Snapshot;
use crate::units::LinkMtu;

/// Most links that evidence names.
pub(in crate::checks) const EXAMPLES: usize = 5;

/// One pod's link.
#[derive(Clone, Copy, Debug)]
pub(in crate::checks) struct PodLink<'n> {
    /// The node's end.
    pub(in crate::checks) host: &'n Link,
    /// The pod's; `None` where it was not read.
    pub(in crate::checks) end: Option<&'n PodEnd>,
}

impl PodLink<'_> {
    /// The most that the link takes of the pod's packets, as far as its ends are known.
    pub(in crate::checks) fn binds(&self) -> LinkMtu {
        self.end.map_or(self.host.mtu, |end| self.host.mtu.min(end.mtu))
    }
}

/// The pod links of a node.
#[derive(Debug, Default)]
pub(in crate::checks) struct PodLinks<'n> {
    /// Those whose both ends are known.
    pub(in crate::checks) known: Vec<PodLink<'n>>,
    /// Those of which the node's end alone is.
    pub(in crate::checks) half: Vec<PodLink<'n>>,
    /// Why, if there are any.
    pub(in crate::checks) unread: Option<Unread>,
}

impl<'n> PodLinks<'n> {
    /// Those that may be spoken of: all where no more of them will be seen, for want of the right.
    pub(in crate::checks) fn told(&self) -> Vec<PodLink<'n>> {
        let half = self.half.iter().filter(|_| self.denied().is_some());
        self.known.iter().chain(half).copied().collect()
    }

    /// Why no pod's end will be seen: the right is missing.
    pub(in crate::checks) fn denied(&self) -> Option<String> {
        let why = self.unread.as_ref().map(|why| &why.reason);
        why.filter(|why| matches!(why, Reason::Denied { .. })).map(ToString::to_string)
    }

    /// What of the pods was looked at, for what takes both ends to conclude.
    ///
    /// # Errors
    /// If there are pod links and the end of none of them could be read.
    pub(in crate::checks) fn seen(self) -> Result<Self, Unread> {
        match self.unread {
            Some(why) if self.known.is_empty() => Err(why),
            unread => Ok(Self { unread, ..self }),
        }
    }
}

/// Every pod link that works.
///
/// # Errors
/// If links or routes could not be read.
pub(in crate::checks) fn all(node: &Snapshot) -> Result<PodLinks<'_>, Unread> {
    node.tables.links.read()?;
    node.tables.routes.read()?;
    let mut pods = PodLinks::default();
    let works = |link: &&Link| link.works() && node.topology.role(link.index) == Role::Pod;
    for host in node.tables.links().iter().filter(works) {
        match node.tables.pod_end(host.index) {
            Ok(Some(end)) if end.up => pods.known.push(PodLink { host, end: Some(end) }),
            Ok(_) => {}
            Err(why) => {
                pods.half.push(PodLink { host, end: None });
                pods.unread = Some(why);
            }
        }
    }
    Ok(pods)
}

/// What to add to a sentence that rests on the node's ends alone.
pub(in crate::checks) fn unseen(why: Option<&str>) -> String {
    let told =
        |why| format!(" This goes by the node's ends, which a CNI makes like the pods'; those were not seen: {why}.");
    why.map(told).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::snapshot::example::{Example, failed, no_admin};

    const POD: &str = "cali1a2b3c4d5e6";

    fn told(node: &Example) -> Result<(Vec<(String, u32)>, bool), Unread> {
        let node = node.snapshot();
        let pods = all(&node)?.seen()?;
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
    fn the_nodes_ends_speak_for_the_pods_where_the_right_is_missing_and_not_where_a_reading_failed() {
        let bound = |why: Unread| {
            let mut node = Example::reference().with(POD, |link| link.mtu = LinkMtu::new(1500));
            node.tables.pod_ends = Fact::Unread(why);
            let node = node.snapshot();
            all(&node).unwrap().told().iter().map(|pod| pod.binds().bytes()).collect::<Vec<_>>()
        };
        assert_eq!(bound(no_admin()), [1500, 1450]);
        assert_eq!(bound(failed(Source::PodEnds)), [0; 0]);
    }

    #[test]
    fn a_node_without_pods_needs_no_right() {
        let mut node = Example::empty();
        node.tables.pod_ends = Fact::Unread(failed(Source::PodEnds));
        assert_eq!(told(&node), Ok((Vec::new(), false)));
    }
}
