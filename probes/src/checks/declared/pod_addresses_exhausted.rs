//! Addresses for pods that have run out on this node, or nearly.
//!
//! A pod that gets none stays in `ContainerCreating`; those that run notice nothing. Who gives addresses says the CNI file
//! ([`addresses`](crate::declared::addresses)), and what can be known differs.
//!
//! **`host-local`** has ranges that are this node's alone, and a file for each address that it gave: both are seen, so what
//! is left is known. None left is critical: the next pod fails. It is a warning once a tenth is left, of that no more than
//! [`FEW`]: a tenth of a large range is plenty, and of a range of five one is as much as it ever has left. A pod gets an
//! address of each set, so the tightest one is told. A file keeps its address taken after its pod is gone without the
//! plugin being told: pods' ends say who is there, and what nobody has is counted as left over.
//!
//! **Calico** deals out blocks of a pool. A node takes another one whenever its own are full, so a full block is nothing;
//! not before no block is left in the pool does it borrow addresses out of other nodes' (unless `strictAffinity` forbids
//! that: then a pod fails, and no node sees it). So two things together are a sign: every block of this node is full, and
//! a pod here has an address of none of them. One alone is not. A pod that borrowed keeps its address when there is room
//! again, so where the node's own blocks have room it is told by nothing; an address outside may have been given by hand,
//! so it is told by full blocks alone that no more comes. Nor is it critical ever: how much is left to borrow stands in
//! Calico's own tables. The other sign is [`MOST_BLOCKS`], at which Calico gives a node no further one, and lets it borrow
//! none: nearly full is a warning then, and no more, because the number can be configured. Of a node that has more it
//! was, and nothing is known.
//!
//! Who else gives addresses (Cilium, clouds, DHCP) counts them where a node does not see it. Nothing is declared there that
//! could be held against anything, and no right or mount would change that: quiet, as on a machine without pods.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::words::count;
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look};
use crate::declared::addresses::Ipam;
use crate::declared::host_local::Pool;
use crate::declared::ranges::RangeSet;
use crate::fact::Unread;
use crate::kernel::pod_end::PodEnd;
use crate::kernel::{LinkIndex, RouteKind};
use crate::remedy::{AddressesFault, Fix};
use crate::report::Severity;
use crate::snapshot::{Snapshot, topology};
use crate::subject::Subject;
use crate::tables::blocks::Blocks;
use crate::units::Family;

/// The most that may be left of a range that is nearly used up. Pods come by the dozen when a node takes over another's.
const FEW: u64 = 16;

/// How many blocks of a family Calico gives a node, unless `maxBlocksPerHost` says otherwise.
const MOST_BLOCKS: u64 = 20;

/// Most addresses that are named.
const EXAMPLES: usize = 5;

/// The rule.
#[derive(Debug)]
pub struct PodAddressesExhausted;

/// What there is, and what is left.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Who gives addresses.
    pub by: By,
    /// Their family.
    pub family: Family,
    /// The ranges, or this node's blocks.
    pub ranges: Vec<String>,
    /// How many addresses pods can get of them.
    pub size: u64,
    /// How many are given away; of blocks, how many are seen in use.
    pub allocated: u64,
    /// How many are left.
    pub free: u64,
    /// The file that the ranges stand in; absent for blocks, which stand in Calico's own tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
    /// The folder with a file for each address that is given away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// How many of those given away a pod has; absent where not every pod's end could be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_use: Option<u64>,
    /// How many of those given away no pod has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_over: Option<u64>,
    /// A few of those that no pod has.
    pub unused: Vec<IpAddr>,
    /// Pods with addresses of none of the node's blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub borrowed: Option<u64>,
    /// Addresses of the node's blocks that are in use on other nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lent: Option<u64>,
}

/// Who gives addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The plugin of that name.
    HostLocal,
    /// Calico's own, in blocks.
    CalicoIpam,
}

impl Check for PodAddressesExhausted {
    const ENTRY: Entry = Entry {
        code: "pod-addresses-exhausted",
        area: Area::Declared,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "a tenth of a range is left, and no more than 16 addresses; Calico has no further block for the node",
            "none of a range is left",
        ],
        title: "the node's addresses for pods have run out, or nearly",
        meaning: "A pod that gets no address is not started: it stays in ContainerCreating, while those that run notice \
                  nothing. Addresses also run out by files of pods that are long gone.",
        quiet: "a block of Calico's that is full while the pool has others; a large range of which a tenth is left; \
                files of a range that is used no more; addresses that are counted where a node does not see it (Cilium, \
                clouds, DHCP)",
        look: &[
            Look {
                run: "kubectl get events -A --field-selector reason=FailedCreatePodSandBox",
                see: "`no IP addresses available in range set`, or an assignment of fewer addresses than were asked for",
            },
            Look { run: "ls /var/lib/cni/networks/*", see: "about as many addresses as the node's range has" },
            Look {
                run: "ip route show type blackhole; ip -6 route show type blackhole",
                see: "Calico's blocks of this node",
            },
            Look { run: "calicoctl ipam show --show-blocks", see: "pools with no address free" },
        ],
        metrics: &["mtuscope_pod_links"],
        class: Class::Addresses,
        silences: &[],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopePodAddressesExhausted", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let told: Vec<(Severity, Evidence)> = match node.tables.declared.addresses.read() {
            Ok(Some(Ipam::HostLocal(pool))) => pool.sets.iter().filter_map(|set| of_set(set, pool, node)).collect(),
            Ok(Some(Ipam::Calico | Ipam::Elsewhere) | None) => of_blocks(&node.tables.blocks()?),
            // Blocks are Calico's, wherever its file is.
            Err(unread) => match node.tables.blocks()? {
                blocks if blocks.is_empty() => return Err(unread),
                blocks => of_blocks(&blocks),
            },
        };
        let mut judgement = Judgement::default();
        let tightest = told.into_iter().max_by_key(|(severity, evidence)| (*severity, Reverse(evidence.free)));
        if let Some((severity, evidence)) = tightest {
            judgement.raise(Subject::Pods, severity, evidence);
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { ranges, size, allocated, free, left_over, borrowed, .. } = evidence;
        let ranges = crate::checks::words::list(ranges);
        match evidence.by {
            By::HostLocal => {
                let left_over = match left_over {
                    Some(left_over @ 1..) => format!(" {left_over} of them belong to no pod that is here."),
                    _ => String::new(),
                };
                match free {
                    0 => format!(
                        "All {size} addresses of {ranges} are given away: no further pod starts here.{left_over}"
                    ),
                    _ => format!(
                        "{allocated} of the {size} addresses of {ranges} are given away: {} can start here, and none \
                         after that.{left_over}",
                        count(usize::try_from(*free).unwrap_or(usize::MAX), "more pod"),
                    ),
                }
            }
            By::CalicoIpam if evidence.at_most_blocks() => format!(
                "{allocated} of the {size} addresses of this node's {MOST_BLOCKS} blocks are in use, and Calico gives a \
                 node no more blocks than that unless it is told to."
            ),
            By::CalicoIpam => format!(
                "All {size} addresses of this node's blocks ({ranges}) are in use, and {} from elsewhere: Calico's pool \
                 seems to have no block left for this node.",
                match borrowed {
                    Some(1) | None => "1 pod has one".to_owned(),
                    Some(pods) => format!("{pods} pods have theirs"),
                }
            ),
        }
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let fault = match (&evidence.folder, &evidence.written) {
            (Some(folder), Some(written)) => AddressesFault::Ranges {
                folder: folder.clone(),
                written: written.clone(),
                family: evidence.family,
                left_over: evidence.left_over,
            },
            _ => AddressesFault::Blocks { most: evidence.at_most_blocks().then_some(MOST_BLOCKS) },
        };
        vec![Fix::Addresses(fault)]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            by: By::HostLocal,
            family: Family::Ipv4,
            ranges: vec!["10.244.1.0/24".into()],
            size: 253,
            allocated: 253,
            free: 0,
            written: Some(crate::declared::flannel::SUBNET.into()),
            folder: Some("/var/lib/cni/networks/cbr0".into()),
            in_use: Some(12),
            left_over: Some(241),
            unused: vec![IpAddr::from([10, 244, 1, 9]), IpAddr::from([10, 244, 1, 10])],
            borrowed: None,
            lent: None,
        };
        (Subject::Pods, Severity::Critical, evidence)
    }
}

impl Evidence {
    /// Whether the node has as many blocks as it may.
    fn at_most_blocks(&self) -> bool {
        self.by == By::CalicoIpam && small(self.ranges.len()) == MOST_BLOCKS
    }
}

/// How bad it is that so many are left of so many.
const fn severity(size: u64, free: u64) -> Option<Severity> {
    match free {
        0 => Some(Severity::Critical),
        1..=FEW if free.saturating_mul(10) <= size => Some(Severity::Warning),
        _ => None,
    }
}

fn of_set(set: &RangeSet, pool: &Pool, node: &Snapshot) -> Option<(Severity, Evidence)> {
    let given: BTreeSet<IpAddr> = pool.given.iter().copied().filter(|&address| set.gives(address)).collect();
    let allocated = small(given.len());
    let size = u64::try_from(set.size()).unwrap_or(u64::MAX);
    let free = size.saturating_sub(allocated);
    let severity = severity(size, free)?;
    let unused = pool.by_veth.then(|| unused(&given, node)).flatten();
    let left_over = unused.as_ref().map(|(number, _)| *number);
    let evidence = Evidence {
        by: By::HostLocal,
        family: set.family(),
        ranges: set.shown(),
        size,
        allocated,
        free,
        written: Some(pool.written.clone()),
        folder: Some(pool.folder.clone()),
        in_use: left_over.map(|left_over| allocated.saturating_sub(left_over)),
        left_over,
        unused: unused.map(|(_, examples)| examples).unwrap_or_default(),
        borrowed: None,
        lent: None,
    };
    Some((severity, evidence))
}

/// How many addresses no pod has, at least, and a few of them; `None` where pods' ends are not all known. A pod's end whose
/// addresses were not read may have any one of them: then none is named.
fn unused(given: &BTreeSet<IpAddr>, node: &Snapshot) -> Option<(u64, Vec<IpAddr>)> {
    let ends = node.tables.pod_ends.known()?.iter();
    let ends: Vec<(&LinkIndex, Option<&PodEnd>)> =
        ends.map(|(link, end)| Some((link, end.read().ok()?))).collect::<Option<_>>()?;
    let ends = || ends.iter().filter_map(|&(link, end)| Some((link, end?)));
    let routes = node.tables.routes.known()?.iter().filter(|route| route.kind == RouteKind::Unicast);
    let routed = routes.filter(|route| route.hops.iter().all(|hop| hop.gateway.is_none()));
    let had: BTreeSet<IpAddr> = ends().flat_map(|(_, end)| end.addresses.iter().copied()).collect();
    let had = &had | &routed.map(|route| route.destination).collect();
    let nobodys: Vec<IpAddr> = given.difference(&had).copied().collect();
    let pods = topology::pod_links(&node.tables);
    let silent = ends().filter(|(link, end)| pods.contains(link) && end.addresses.is_empty()).count();
    let number = small(nobodys.len().saturating_sub(silent));
    Some((number, if silent == 0 { nobodys.into_iter().take(EXAMPLES).collect() } else { Vec::new() }))
}

fn of_blocks(all: &[Blocks]) -> Vec<(Severity, Evidence)> {
    let is_short = |blocks: &&Blocks| {
        let free = blocks.size.saturating_sub(blocks.used);
        let at_most = small(blocks.prefixes.len()) == MOST_BLOCKS;
        at_most && severity(blocks.size, free).is_some() || free == 0 && blocks.elsewhere > 0
    };
    let told = |blocks: &Blocks| Evidence {
        by: By::CalicoIpam,
        family: blocks.family,
        ranges: blocks.prefixes.iter().map(|(network, prefix)| format!("{network}/{prefix}")).collect(),
        size: blocks.size,
        allocated: blocks.used,
        free: blocks.size.saturating_sub(blocks.used),
        written: None,
        folder: None,
        in_use: None,
        left_over: None,
        unused: Vec::new(),
        borrowed: Some(blocks.elsewhere),
        lent: Some(blocks.lent),
    };
    all.iter().filter(is_short).map(|blocks| (Severity::Warning, told(blocks))).collect()
}

fn small(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
