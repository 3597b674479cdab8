//! Calico's pods without a gateway, because the node has no route that covers the gateway's address.
//!
//! Calico gives every pod 169.254.1.1 for a gateway, an address that no machine has: the pod's ARP request is answered by
//! the node's end of the link (`proxy_arp`). The kernel answers for an address only while it has a route to it by another
//! link, in practice the default route. Without one every pod of the node is cut off in both directions, while the node
//! and its tunnel address answer as ever, so other nodes see silent pods and nothing else.
//!
//! The kernel itself is asked (a route lookup, so policy tables count). A route that drops or refuses is as good as none;
//! one that is narrower than the default route and covers the address is enough. The lookup names no source and no
//! incoming link, as a pod's request has them: where it finds nothing, and a route of another table than the main one
//! would do, a rule may lead pods there, and nothing is concluded.
//!
//! Only pods that find their gateway in this way count: a Calico link that is up, with `proxy_arp` on, and with an IPv4
//! route to its pod. Where that is off, another code speaks.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::overlay::{OverlayUnreachable, PodUnreachable};
use crate::checks::paths::PeerUnreachable;
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::{Link, Route, RouteKind};
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::snapshot::setup::{POD_GATEWAY, by_proxy};
use crate::subject::Subject;
use crate::tables::{Tables, covers};

/// The rule.
#[derive(Debug)]
pub struct DefaultRouteMissing;

/// The pods, and what the kernel says of the way to their gateway.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The address that pods have for a gateway.
    pub gateway: IpAddr,
    /// What the kernel's routing tables have for it.
    pub route: Missing,
    /// Number of pod links that it is the gateway of.
    pub pod_links: usize,
    /// Peers that cannot be sent to, because there is no route to them either.
    pub peers: Vec<String>,
    /// The link that leads to other nodes, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// What stands in place of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Nothing.
    None,
    /// A route that drops in silence.
    Blackhole,
    /// A route that refuses with an error.
    Refuses,
}

impl Check for DefaultRouteMissing {
    const ENTRY: Entry = Entry {
        code: "default-route-missing",
        area: Area::Links,
        severities: &[Severity::Critical],
        when: &["a Calico pod's gateway is not answered for"],
        title: "pods have no gateway",
        meaning: "Calico's pods send everything to 169.254.1.1, for which the node answers only while it has a route that \
                  covers it. It has none, so every pod here is cut off while the node itself answers.",
        quiet: "a route that is narrower than the default one and covers 169.254.1.1 is enough; where a policy table \
                might do, nothing is concluded",
        look: &[
            Look {
                run: "ip route get 169.254.1.1",
                see: "`Network is unreachable`, or a route of type `unreachable`, `prohibit` or `blackhole`",
            },
            Look { run: "ip route show default", see: "no line" },
            Look { run: "ip rule", see: "a rule that leads packets from pods to another table" },
            Look { run: "in a pod: ip neigh show 169.254.1.1", see: "`FAILED` or `INCOMPLETE`" },
        ],
        metrics: &["mtuscope_setting{name=\"proxy_arp\"}"],
        class: Class::NoThread {
            why: "no public thread known: Calico's documentation of 169.254.1.1 tells why it happens",
        },
        silences: &[PeerUnreachable::ENTRY.code, OverlayUnreachable::ENTRY.code, PodUnreachable::ENTRY.code],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeDefaultRouteMissing", minutes: 1 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        let mut judgement = Judgement::default();
        let pod_links =
            node.tables.links().iter().filter(|link| by_proxy(link) && has_ipv4_pod(&node.tables, link)).count();
        if pod_links == 0 {
            node.tables.routes.read()?;
            return Ok(judgement);
        }
        let not_asked = Fact::Unread(Unread::new(Source::Lookup, Reason::NotYet));
        let answer = node.lookups.get(&POD_GATEWAY).unwrap_or(&not_asked).read()?;
        if answer.is_some_and(|route| matches!(route.kind, RouteKind::Unicast | RouteKind::Local)) {
            return Ok(judgement);
        }
        if let Some(table) = other_table(&node.tables) {
            judgement.unread.push((Subject::Pods, unasked(table)));
            return Ok(judgement);
        }
        let (peers, breaks) = without_route(node);
        let (route, link) = (missing(&node.tables), to_other_nodes(node));
        let evidence = Evidence { gateway: POD_GATEWAY, route, pod_links, peers, link };
        judgement.raise_breaking(Subject::Pods, Severity::Critical, evidence, breaks);
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { gateway, route, pod_links, peers, .. } = evidence;
        let has = match route {
            Missing::None => format!("No route covers {gateway}, the gateway of Calico's pods"),
            Missing::Blackhole => format!("A blackhole route covers {gateway}, the gateway of Calico's pods"),
            Missing::Refuses => format!("A route that refuses covers {gateway}, the gateway of Calico's pods"),
        };
        let peers = match peers.as_slice() {
            [] => String::new(),
            peers => format!(" There is none to {} either.", words::list(peers)),
        };
        let pods = if *pod_links == 1 { "the pod".into() } else { format!("all {pod_links} pods") };
        format!("{has}, so the kernel does not answer for it and {pods} of this node can send to nobody.{peers}")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        vec![Fix::DefaultRoute { covers: evidence.gateway, link: evidence.link.clone() }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let link = Some("vmbr1".into());
        let evidence = Evidence { gateway: POD_GATEWAY, route: Missing::None, pod_links: 14, peers: Vec::new(), link };
        (Subject::Pods, Severity::Critical, evidence)
    }
}

/// Routes of every table.
fn routes(tables: &Tables) -> impl Iterator<Item = &Route> {
    tables.routes.known().into_iter().flatten()
}

/// Whether a route to one IPv4 address leads through the link. Where routes could not be read Calico's link counts.
fn has_ipv4_pod(tables: &Tables, link: &Link) -> bool {
    let to_one = |route: &Route| route.destination.is_ipv4() && route.prefix == 32;
    tables.routes.known().is_none()
        || routes(tables).any(|route| to_one(route) && route.hops.iter().any(|hop| hop.link == link.index))
}

/// Routes that cover the gateway's address; the kernel's own tables are the default rules'.
fn covering(tables: &Tables, own: bool) -> impl Iterator<Item = &Route> {
    let is_own = |route: &Route| RULED.contains(&route.table);
    routes(tables).filter(move |route| is_own(route) == own && covers(route.destination, route.prefix, POD_GATEWAY))
}

/// `RT_TABLE_DEFAULT`, `RT_TABLE_MAIN` and `RT_TABLE_LOCAL`: asked for every packet that no other rule has answered.
const RULED: [u32; 3] = [253, 254, 255];

/// A table with a route that would do, if a rule leads pods' packets there.
fn other_table(tables: &Tables) -> Option<u32> {
    covering(tables, false).find(|route| route.kind == RouteKind::Unicast).map(|route| route.table)
}

fn unasked(table: u32) -> Unread {
    let why = format!(
        "table {table} has a route that covers {POD_GATEWAY}; whether a rule leads the pods' packets there cannot be told"
    );
    Unread::new(Source::Lookup, Reason::Unsupported { why })
}

fn missing(tables: &Tables) -> Missing {
    match covering(tables, true).max_by_key(|route| route.prefix).map(|route| route.kind) {
        Some(RouteKind::Blackhole) => Missing::Blackhole,
        Some(RouteKind::Refuse) => Missing::Refuses,
        _ => Missing::None,
    }
}

/// Peers and paths to which the kernel knows no route either.
fn without_route(node: &Snapshot) -> (Vec<String>, Vec<Subject>) {
    let leads_nowhere = |address: &IpAddr| matches!(node.lookups.get(address), Some(Fact::Absent));
    let keys: Vec<_> = node.paths.keys().filter(|key| leads_nowhere(&key.address)).collect();
    let mut peers: Vec<_> = keys.iter().map(|key| key.peer.clone()).collect();
    peers.dedup();
    (peers, keys.into_iter().map(Subject::path).collect())
}

/// The link below the tunnel, else one that carries a peer.
fn to_other_nodes(node: &Snapshot) -> Option<String> {
    let below = node.topology.tunnels().iter().find_map(|tunnel| tunnel.lower_link.clone()).map(|(name, _)| name);
    let mut links = node.tables.links().iter();
    let carries = |link: &&Link| matches!(node.topology.role(link.index), Role::Bridge | Role::Underlay);
    below.or_else(|| links.find(carries).map(|link| link.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Plane;
    use crate::snapshot::example::{Example, failed, ip, no_route};

    fn judge(example: &Example) -> Judgement<Evidence> {
        DefaultRouteMissing::judge(&example.snapshot()).unwrap()
    }

    fn told(example: &Example) -> Option<String> {
        let judgement = judge(example);
        assert!(judgement.unread.is_empty(), "{judgement:?}");
        let [raised] = judgement.raised.as_slice() else { return None };
        assert_eq!((&raised.subject, raised.severity), (&Subject::Pods, Severity::Critical));
        Some(DefaultRouteMissing::summary(&raised.subject, &raised.evidence))
    }

    /// The reference node after its default route is gone.
    fn without_default() -> Example {
        let mut node = Example::reference();
        let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
        routes.retain(|route| route.prefix > 0);
        node.lookups.insert(POD_GATEWAY, Fact::Absent);
        node
    }

    /// Adds a route of another kind or table.
    fn with_route(node: Example, change: impl FnOnce(&mut Route)) -> Example {
        let mut node = node.route("0.0.0.0", 0, Some("192.168.0.1"), "vmbr0");
        let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
        change(routes.last_mut().unwrap());
        node
    }

    #[test]
    fn without_a_route_every_pod_is_cut_off() {
        assert_eq!(told(&Example::reference()), None);
        assert_eq!(
            told(&without_default()).unwrap(),
            "No route covers 169.254.1.1, the gateway of Calico's pods, so the kernel does not answer for it and all 2 \
             pods of this node can send to nobody."
        );
    }

    #[test]
    fn a_narrower_route_by_any_link_is_enough() {
        let mut node = without_default().route("169.254.0.0", 16, None, "vmbr0");
        let route = node.tables.routes.known().unwrap().last().unwrap().clone();
        node.lookups.insert(POD_GATEWAY, Fact::Known(route.clone()));
        assert_eq!(told(&node), None);
        node.lookups.insert(POD_GATEWAY, Fact::Known(Route { kind: RouteKind::Local, ..route }));
        assert_eq!(told(&node), None, "the node has the address itself");
    }

    #[test]
    fn a_route_that_drops_or_refuses_is_as_good_as_none() {
        for (kind, word) in
            [(RouteKind::Blackhole, "A blackhole route covers"), (RouteKind::Refuse, "A route that refuses")]
        {
            let node = with_route(without_default(), |route| (route.kind, route.hops) = (kind, Vec::new()));
            assert!(told(&node).unwrap().starts_with(word));
            let mut answered = node.clone();
            let route = node.tables.routes.known().unwrap().last().unwrap().clone();
            answered.lookups.insert(POD_GATEWAY, Fact::Known(route));
            assert!(told(&answered).unwrap().starts_with(word), "a kernel that answers with the route");
        }
    }

    #[test]
    fn a_route_in_a_table_that_only_a_rule_leads_to_leaves_it_open() {
        let judgement = judge(&with_route(without_default(), |route| route.table = 100));
        assert!(judgement.raised.is_empty());
        let [(Subject::Pods, why)] = judgement.unread.as_slice() else { panic!("{judgement:?}") };
        assert!(why.to_string().contains("table 100 has a route"), "{why}");
        let throw = with_route(without_default(), |route| (route.table, route.kind) = (100, RouteKind::Other));
        assert!(told(&throw).is_some());
    }

    #[test]
    fn only_pods_that_find_their_gateway_by_proxy_count() {
        let proxy = |on| {
            let set = |link: &mut Link| link.inet.as_mut().unwrap().proxy_arp = on;
            without_default().with("cali1a2b3c4d5e6", set).with("cali9f8e7d6c5b4", set)
        };
        assert!(told(&proxy(true)).is_some());
        assert_eq!(told(&proxy(false)), None, "proxy-arp is off, and another code's matter");
        let down = proxy(false).with("cali1a2b3c4d5e6", |link| (link.up, link.inet) = (false, Some(proxied())));
        assert_eq!(told(&down), None);
        let mut flannel = Example::flannel();
        flannel.lookups.insert(POD_GATEWAY, Fact::Absent);
        assert_eq!(told(&flannel), None, "pods on a bridge have the bridge for a gateway");
    }

    fn proxied() -> crate::kernel::Inet {
        crate::kernel::Inet { proxy_arp: true, ..Default::default() }
    }

    #[test]
    fn pods_with_ipv6_alone_need_no_such_route() {
        let mut node = without_default();
        let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
        routes.retain(|route| route.prefix < 32);
        assert_eq!(told(&node), None);
    }

    #[test]
    fn peers_that_lost_their_route_as_well_are_explained() {
        let mut node = without_default().verdict("master-2", Plane::Underlay, no_route());
        node.lookups.insert(ip("10.0.0.12"), Fact::Absent);
        let judgement = judge(&node);
        assert_eq!(judgement.raised[0].evidence.peers, ["master-2"]);
        assert_eq!(judgement.raised[0].breaks.len(), 1);
        assert!(told(&node).unwrap().ends_with(" There is none to master-2 either."));
    }

    #[test]
    fn what_was_not_looked_up_or_could_not_be_concludes_nothing() {
        let unread = |node: &Example| DefaultRouteMissing::judge(&node.snapshot()).unwrap_err();
        let mut node = Example::reference();
        node.lookups.remove(&POD_GATEWAY);
        assert_eq!(unread(&node).source, Source::Lookup);
        node.lookups.insert(POD_GATEWAY, Fact::Unread(failed(Source::Lookup)));
        assert_eq!(unread(&node), failed(Source::Lookup));
        let mut node = Example::flannel();
        node.tables.routes = Fact::Unread(failed(Source::Routes));
        assert_eq!(unread(&node), failed(Source::Routes));
    }
}
