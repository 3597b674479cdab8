//! A path MTU in the kernel's cache that is smaller than what the wire was just measured to carry.
//!
//! The kernel learns a path MTU from "fragmentation needed" and keeps it for `net.ipv4.route.mtu_expires`, ten minutes.
//! Programs obey it; probes ask the wire. A value that the wire does not bear out was true once and is no more, or was
//! never true: one bad path of several, or forged – the kernel believes whoever quotes an echo reply that it may have
//! sent. Meanwhile everything that this node sends to that address, its tunnel's outer packets too, is cut to that size.
//!
//! Left out is what the wire explains (`node::cache`): the value that a limited path, or our own probing of it, taught
//! the kernel before it was healed, and inside a tunnel what follows from the outer packet's path. A value that is
//! renewed although the path is healed is told all the same, with how often: somebody still says so.
//!
//! Where paths of equal cost differ and the value is that of a smaller one, [`super::PathEcmpMtu`] explains it. It has no
//! consequence among the codes: probes do not obey the cache. It stays a warning, because
//! senders that obey get through.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Reason, Source, Unread};
use crate::path::{PathKey, Plane};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::IpSize;

use super::some_peer;

/// The rule.
#[derive(Debug)]
pub struct PathMtuCacheStale;

/// What is cached, and what the wire carries.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The network that is crossed.
    pub plane: Plane,
    /// The address that the kernel has cached it for.
    pub address: IpAddr,
    /// The cached path MTU.
    pub cached: IpSize,
    /// What was measured to pass.
    pub carries: IpSize,
    /// Whether the kernel was told less than the least that it takes (`net.ipv4.route.min_pmtu`); it then fragments.
    pub locked: bool,
    /// Seconds until the kernel forgets it, if it is not renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
    /// How often it was renewed while it was watched: somebody keeps sending "fragmentation needed".
    pub renewed: u32,
}

impl Check for PathMtuCacheStale {
    const ENTRY: Entry = Entry {
        code: "path-mtu-cache-stale",
        area: Area::Paths,
        severities: &[Severity::Warning],
        when: &["the kernel's cached path MTU is below what the wire was measured to carry"],
        title: "kernel remembers a smaller path MTU than the path has",
        meaning: "The kernel has cached a path MTU for the peer that the wire does not bear out, and cuts what this \
                  node sends there to that size. It came from a hop that was mended since, from one bad path of \
                  several, or from a forged error.",
        quiet: "what a limited path, or our own probing of it, taught the kernel before it was healed is left to \
                expire",
        look: &[
            Look {
                run: "ip route get ADDRESS",
                see: "`cache expires Ns mtu M` with M below what `mtuscope probe` measures",
            },
            Look { run: "ip route show cache", see: "the same for other destinations" },
            Look {
                run: "tcpdump -vni any 'icmp[icmptype] == icmp-unreach and icmp[icmpcode] == 4'",
                see: "who still sends the error, if it is renewed",
            },
            Look {
                run: "sysctl net.ipv4.route.mtu_expires net.ipv4.route.min_pmtu",
                see: "how long an entry stays, and how small it may be",
            },
        ],
        metrics: &["mtuscope_path_mtu_bytes"],
        class: Class::Cache,
        silences: &[],
        confirm: Confirm::Rounds,
        // One that is not renewed is gone after ten minutes.
        alert: Alert::Named { name: "MtuscopePathMtuCacheStale", minutes: 15 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.exceptions.read()?;
        some_peer(node)?;
        let mut worst: BTreeMap<Subject, Evidence> = BTreeMap::new();
        let mut unread = BTreeMap::new();
        for (key, path) in &node.paths {
            let subject = Subject::path(key);
            match evidence(node, key, path) {
                Err(why) => drop(unread.insert(subject, why)),
                Ok(Some(found)) if worst.get(&subject).is_none_or(|least| found.cached < least.cached) => {
                    worst.insert(subject, found);
                }
                Ok(_) => {}
            }
        }
        unread.retain(|subject, _| !worst.contains_key(subject));
        let mut judgement = Judgement { unread: unread.into_iter().collect(), ..Judgement::default() };
        worst.into_iter().for_each(|(subject, evidence)| judgement.raise(subject, Severity::Warning, evidence));
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, plane, address, cached, carries, locked, renewed, .. } = evidence;
        let lock = if *locked { " It was told even less than the least that it takes." } else { "" };
        let again = match renewed {
            0 => String::new(),
            1 => " It was learned once more since: somebody still sends \"fragmentation needed\".".into(),
            times => {
                format!(" It was learned {times} times more since: somebody keeps sending \"fragmentation needed\".")
            }
        };
        format!(
            "The kernel has cached a path MTU of {cached} B for {}, while the {} path carries {carries} B: what \
             this node sends there is cut to {cached} B.{lock}{again}",
            words::at(peer, *address),
            plane.name()
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        vec![Fix::ForgetPathMtu { to: evidence.address, locked: evidence.locked }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let address = IpAddr::from([10, 0, 0, 12]);
        let evidence = Evidence {
            peer: "master-2".into(),
            plane: Plane::Underlay,
            address,
            cached: IpSize::new(1400),
            carries: IpSize::new(1500),
            locked: false,
            expires_seconds: Some(431),
            renewed: 1,
        };
        (
            Subject::path(&PathKey { peer: "master-2".into(), plane: Plane::Underlay, address }),
            Severity::Warning,
            evidence,
        )
    }
}

fn evidence(node: &Snapshot, key: &PathKey, path: &Path) -> Result<Option<Evidence>, Unread> {
    let Some(cached) = path.cached.filter(|cached| !cached.explained) else { return Ok(None) };
    let Some(carries) = node.on_the_wire(key, path)? else {
        let why = format!("{} B are cached for {}, which does not answer", cached.mtu, key.address);
        return Err(Unread::new(Source::Probes, Reason::Unsupported { why }));
    };
    Ok((cached.mtu < carries).then(|| Evidence {
        peer: key.peer.clone(),
        plane: key.plane,
        address: key.address,
        cached: cached.mtu,
        carries,
        locked: cached.locked,
        expires_seconds: cached.expires.map(|left| left.as_secs()),
        renewed: cached.renewed,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::snapshot::example::{Example, black_hole, failed, ip, limited, no_right, silent};

    fn judge(example: &Example) -> Judgement<Evidence> {
        PathMtuCacheStale::judge(&example.snapshot()).unwrap()
    }

    fn stale(address: &str, mtu: u32) -> Example {
        Example::reference().remembers(address, mtu)
    }

    #[test]
    fn one_byte_less_than_the_wire_carries_is_told_on_every_plane() {
        for (address, carries) in [("10.0.0.12", 1500), ("10.244.2.0", 1450), ("10.244.2.2", 1450)] {
            let judgement = judge(&stale(address, carries - 1));
            let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
            assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("master-2", Severity::Warning));
            assert_eq!((raised.evidence.address, raised.evidence.carries), (ip(address), IpSize::new(carries)));
            assert!(judge(&stale(address, carries)).raised.is_empty(), "the wire's own size");
        }
    }

    #[test]
    fn a_limited_path_that_is_cached_as_it_is_is_quiet() {
        for verdict in [limited(1400, Some("10.0.0.1")), black_hole(1400)] {
            let node = stale("10.0.0.12", 1400).verdict("master-2", Plane::Underlay, verdict.clone());
            assert!(judge(&node).raised.is_empty());
            let smaller = stale("10.0.0.12", 1300).verdict("master-2", Plane::Underlay, verdict);
            assert_eq!(judge(&smaller).raised[0].evidence.carries, IpSize::new(1400));
        }
    }

    #[test]
    fn inside_a_tunnel_a_size_that_follows_from_the_path_below_is_quiet() {
        let node = stale("10.244.2.0", 1350).verdict("master-2", Plane::Underlay, limited(1400, Some("10.0.0.1")));
        assert!(judge(&node).raised.is_empty(), "1350 + 50 = 1400");
        let another = stale("10.244.3.0", 1350).verdict("master-2", Plane::Underlay, limited(1400, Some("10.0.0.1")));
        assert_eq!(judge(&another).raised.len(), 1, "the path to another peer explains nothing");
    }

    #[test]
    fn what_the_wire_explains_is_quiet() {
        let mut node = stale("10.0.0.12", 1400).snapshot();
        for cached in node.paths.values_mut().filter_map(|path| path.cached.as_mut()) {
            cached.explained = true;
        }
        assert!(PathMtuCacheStale::judge(&node).unwrap().raised.is_empty());
    }

    #[test]
    fn the_smallest_of_a_peers_pods_is_told() {
        let pods = &["10.244.2.2", "10.244.2.3"];
        let node = Example::reference().behind_tunnel("master-2", "vxlan.calico", "10.244.2.0", pods);
        let judgement = judge(&node.remembers(pods[0], 1400).remembers(pods[1], 1300));
        assert_eq!(judgement.raised.len(), 1);
        assert_eq!(judgement.raised[0].evidence.cached, IpSize::new(1300));
    }

    #[test]
    fn without_a_measured_wire_nothing_is_concluded_where_something_is_cached() {
        let unmeasured = stale("10.0.0.12", 1400).unmeasured("master-2", Plane::Underlay, no_right());
        let judgement = judge(&unmeasured);
        assert!(judgement.raised.is_empty());
        assert_eq!(judgement.unread[0].1, no_right());
        let lost = judge(&stale("10.0.0.12", 1400).verdict("master-2", Plane::Underlay, silent()));
        assert_eq!((lost.raised.len(), lost.unread.len()), (0, 1), "it neither raises nor clears");
        let nothing_cached = Example::reference().unmeasured("master-2", Plane::Underlay, no_right());
        assert!(judge(&nothing_cached).unread.is_empty(), "there is nothing that could be stale");
    }

    #[test]
    fn a_kernel_that_does_not_list_its_cache_is_not_concluded() {
        let mut node = stale("10.0.0.12", 1400);
        node.tables.exceptions = Fact::Unread(failed(Source::Exceptions));
        assert_eq!(PathMtuCacheStale::judge(&node.snapshot()).unwrap_err(), failed(Source::Exceptions));
    }

    #[test]
    fn who_keeps_saying_so_is_part_of_the_sentence() {
        let told = |renewed, locked| {
            let (subject, _, evidence) = PathMtuCacheStale::example();
            PathMtuCacheStale::summary(&subject, &Evidence { renewed, locked, ..evidence })
        };
        assert_eq!(
            told(0, false),
            "The kernel has cached a path MTU of 1400 B for master-2 (10.0.0.12), while the underlay path carries \
             1500 B: what this node sends there is cut to 1400 B."
        );
        assert!(
            told(2, false)
                .ends_with("It was learned 2 times more since: somebody keeps sending \"fragmentation needed\".")
        );
        assert!(told(0, true).contains("told even less"));
    }
}
