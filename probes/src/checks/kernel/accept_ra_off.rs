//! A link whose IPv6 addresses and default route came from a router, and that no longer listens to one.
//!
//! A router advertises itself again and again, and what it advertises has a lifetime. With `accept_ra` 1, the kernel's
//! default, a link listens only as long as it does not forward; a node with pods forwards, and wants 2. Measured (Linux
//! 6.18):
//! - The link's own `accept_ra` and `forwarding` count; the values for `all` do not. To switch forwarding on for all links
//!   switches it on for each.
//! - When a link with `accept_ra` 1 starts to forward, the kernel takes its advertised default route away at once. Its
//!   addresses and their subnet's route stay until their lifetime is over.
//! - When a link that forwards goes from `accept_ra` 2 to 1 nothing is taken away, and everything runs out: IPv6 dies
//!   half an hour later, or as much as a month.
//! - In both cases nothing is renewed. Once the lifetime is over, what remains to be seen is the kernel's note that it
//!   heard a router since the link came up.
//!
//! So the finding needs a link that forwards, with `accept_ra` 1, and a trace that it once listened: a default route that
//! a router advertised and that runs out; an address that it made of a router's prefix; or that note, if there is a peer
//! to which no route leads. The last two count only where something is lost: no default route is left, or the link has no
//! other address. A node with addresses and routes of its own has lost nothing, and most nodes are like that.
//!
//! `accept_ra` 0 is nobody's mistake: systemd-networkd, NetworkManager and dhcpcd set it where they listen to routers
//! themselves, and Felix sets it on pods' links.
//!
//! A warning, because it still works or the node may do without; critical once there is no route to a peer.

use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::overlay::{OverlayUnreachable, PodUnreachable};
use crate::checks::paths::PeerUnreachable;
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Fact, Unread};
use crate::kernel::{Address, Link, LinkIndex, Route, RouteKind};
use crate::path::PathKey;
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct AcceptRaOff;

/// The links that do not listen, and what that costs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Links that forward, with `accept_ra` 1.
    pub links: Vec<Deaf>,
    /// Peers to which no route leads any more.
    pub peers: Vec<String>,
}

/// One link that does not listen to routers any more.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Deaf {
    /// The link.
    pub link: String,
    /// The default route of IPv6.
    pub default_route: DefaultRoute,
    /// Seconds until it is gone, where it is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_expires_seconds: Option<u64>,
    /// Addresses made of a router's prefix.
    pub addresses: Vec<IpAddr>,
    /// Seconds until the first of them is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_expires_seconds: Option<u64>,
    /// Whether the link has no address but these.
    pub only_these: bool,
}

/// What is left of the default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DefaultRoute {
    /// A router advertised it on this link, and it runs out.
    RunsOut,
    /// There is none.
    Gone,
    /// There is one that does not hang on this link's router.
    Stays,
}

impl Check for AcceptRaOff {
    const ENTRY: Entry = Entry {
        code: "accept-ra-off",
        area: Area::Kernel,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["addresses or default route will run out", "there is no IPv6 route to a peer any more"],
        title: "a link that forwards no longer listens to its router",
        meaning: "IPv6 addresses and default route of a link came from router advertisements, which the kernel leaves \
                  aside on a link that forwards unless accept_ra is 2. They run out and IPv6 stops working.",
        quiet: "0 is set on purpose, by whatever listens in the kernel's stead; a node with addresses and routes of \
                its own has lost nothing",
        look: &[
            Look {
                run: "sysctl net.ipv6.conf.LINK.accept_ra net.ipv6.conf.LINK.forwarding",
                see: "accept_ra 1 with forwarding 1; 2 listens",
            },
            Look {
                run: "ip -6 route show default",
                see: "`proto ra` with `expires`, which is not renewed; or no line",
            },
            Look { run: "ip -6 address show dev LINK", see: "`dynamic` with a `valid_lft` that runs down" },
        ],
        metrics: &["mtuscope_setting{name=\"ipv6.accept_ra\"}"],
        class: Class::NoThread { why: "no public thread known: it takes half an hour to a month to show" },
        silences: &[PeerUnreachable::ENTRY.code, OverlayUnreachable::ENTRY.code, PodUnreachable::ENTRY.code],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeAcceptRaOff", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        node.tables.links.read()?;
        let closed: Vec<_> = node.tables.links().iter().filter(|link| may_be_deaf(node, link)).collect();
        if closed.is_empty() {
            return Ok(judgement);
        }
        node.tables.addresses.read()?;
        node.tables.routes.read()?;
        let cut = without_route(node);
        let looked = Looked { defaults: defaults(node), closed: closed.iter().map(|link| link.index).collect() };
        let links: Vec<_> = closed.iter().filter_map(|link| looked.at(node, link, !cut.is_empty())).collect();
        if links.is_empty() {
            return Ok(judgement);
        }
        let lost = links.iter().any(|link| link.default_route == DefaultRoute::Gone);
        let cut = if lost { cut } else { Vec::new() };
        let mut peers: Vec<_> = cut.iter().map(|key| key.peer.clone()).collect();
        peers.dedup();
        let severity = if peers.is_empty() { Severity::Warning } else { Severity::Critical };
        let breaks = cut.into_iter().map(Subject::path).collect();
        judgement.raise_breaking(SUBJECT, severity, Evidence { links, peers }, breaks);
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let names: Vec<_> = evidence.links.iter().map(|deaf| deaf.link.as_str()).collect();
        let has = |state| evidence.links.iter().any(|deaf| deaf.default_route == state);
        let route = match () {
            () if has(DefaultRoute::Gone) => "the IPv6 default route is gone",
            () if has(DefaultRoute::RunsOut) => "the IPv6 default route runs out",
            () => "the IPv6 addresses run out",
        };
        let peers = match evidence.peers.as_slice() {
            [] => String::new(),
            peers => format!(", and none leads to {}", words::list(peers)),
        };
        format!(
            "{} forwards with accept_ra 1, so the kernel leaves router advertisements aside: {route}{peers}.",
            words::list(&names)
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let listen = |deaf: &Deaf| {
            let key = words::link_setting("ipv6", &deaf.link, "accept_ra");
            Fix::Sysctl { key, value: "2".into() }
        };
        evidence.links.iter().map(listen).collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let deaf = Deaf {
            link: "vmbr1".into(),
            default_route: DefaultRoute::RunsOut,
            route_expires_seconds: Some(1512),
            addresses: vec!["2001:db8:9::11".parse().expect("an address")],
            address_expires_seconds: Some(86_112),
            only_these: true,
        };
        (SUBJECT, Severity::Warning, Evidence { links: vec![deaf], peers: Vec::new() })
    }
}

const SUBJECT: Subject = Subject::Setting("ipv6.accept_ra");

/// `RTPROT_RA`.
const ADVERTISED: u8 = 9;

/// A link that forwards and would listen if it did not. Pods' links and tunnels have no router.
fn may_be_deaf(node: &Snapshot, link: &Link) -> bool {
    let role = node.topology.role(link.index);
    let closed = link.inet6.is_some_and(|inet6| inet6.forwarding && inet6.accept_ra == 1);
    closed && link.up && !link.is_loopback() && !matches!(role, Role::Pod | Role::Tunnel)
}

/// IPv6 default routes that packets take.
fn defaults(node: &Snapshot) -> Vec<&Route> {
    let routes = node.tables.routes.known().into_iter().flatten();
    let live = |route: &&Route| route.kind == RouteKind::Unicast && route.expires != Some(Duration::ZERO);
    routes.filter(|route| route.prefix == 0 && route.destination.is_ipv6()).filter(live).collect()
}

/// Paths of IPv6 to which the kernel knows no route.
fn without_route(node: &Snapshot) -> Vec<&PathKey> {
    let nowhere = |key: &&PathKey| matches!(node.lookups.get(&key.address), Some(Fact::Absent));
    node.paths.keys().filter(|key| key.address.is_ipv6()).filter(nowhere).collect()
}

/// What holds for all links.
struct Looked<'n> {
    defaults: Vec<&'n Route>,
    closed: Vec<LinkIndex>,
}

impl Looked<'_> {
    /// What a link that does not listen costs; `None` if nothing.
    fn at(&self, node: &Snapshot, link: &Link, peers_are_cut: bool) -> Option<Deaf> {
        let (made, own): (Vec<_>, Vec<_>) = node
            .tables
            .addresses_of(link.index)
            .filter(|own| own.global && own.address.is_ipv6())
            .partition(|own| own.autoconfigured && own.valid.is_some());
        let learned = self.defaults.iter().find(|route| runs_out(route, link.index));
        let heard = peers_are_cut && link.inet6.is_some_and(|inet6| inet6.heard_router);
        let default_route = match learned {
            _ if self.has_other_default() => DefaultRoute::Stays,
            Some(_) => DefaultRoute::RunsOut,
            None if self.defaults.is_empty() => DefaultRoute::Gone,
            None => DefaultRoute::Stays,
        };
        let only_these = !made.is_empty() && own.is_empty();
        let costs = match default_route {
            DefaultRoute::RunsOut => true,
            DefaultRoute::Gone => !made.is_empty() || heard,
            DefaultRoute::Stays => only_these,
        };
        costs.then(|| Deaf {
            link: link.name.clone(),
            default_route,
            route_expires_seconds: learned.and_then(|route| route.expires).map(|left| left.as_secs()),
            address_expires_seconds: made.iter().filter_map(|own| own.valid).min().map(|left| left.as_secs()),
            addresses: made.iter().map(|own: &&Address| own.address).collect(),
            only_these,
        })
    }

    /// Whether there is a default route that no link loses in this way.
    fn has_other_default(&self) -> bool {
        self.defaults.iter().any(|route| !self.closed.iter().any(|&link| runs_out(route, link)))
    }
}

fn runs_out(route: &Route, link: LinkIndex) -> bool {
    let by = route.hops.iter().any(|hop| hop.link == link);
    route.protocol == ADVERTISED && route.expires.is_some() && by
}

#[cfg(test)]
mod tests;
