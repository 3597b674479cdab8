//! Routers and the wires between them: narrow, mismatched, black, or without a word about it.

use super::{Broken, Manner, Way, filter, link};
use crate::Result;
use crate::cluster::Cluster;
use crate::family::Family;
use crate::recipe::{Recipe, Span};

/// A narrower wire after a router.
pub(super) fn narrow(cluster: &Cluster, after: usize, bytes: u32, way: Way, manner: Manner) -> Result<Broken<'_>> {
    let span = cluster.recipe.span_after(after)?;
    if manner == Manner::Lost {
        return lose(cluster, &span, way, |side| filter::drop_larger(side, bytes));
    }
    let narrow =
        if way == Way::Both { both_ends(cluster, &span, bytes)? } else { one_way(cluster, &span, bytes, way)? };
    if manner == Manner::Told {
        return Ok(narrow);
    }
    each_sender(way, |end| filter::too_big(&cluster.routers[span.ends[end].router])).map(|muted| narrow.and(muted))
}

/// The far end of a wire takes no more than this (and the four bytes that the kernel grants to a VLAN tag).
pub(super) fn far_end_mtu(cluster: &Cluster, after: usize, bytes: u32) -> Result<Broken<'_>> {
    let [_, far] = cluster.recipe.span_after(after)?.ends;
    link::mtu(&cluster.routers[far.router], &far.link, bytes)
}

/// A wire that loses everything.
pub(super) fn nothing_passes(cluster: &Cluster, after: usize, way: Way) -> Result<Broken<'_>> {
    let span = cluster.recipe.span_after(after)?;
    lose(cluster, &span, way, |side| format!("{side} drop"))
}

/// Routers, or one of them, keep quiet about hops that were used up.
pub(super) fn no_time_exceeded(cluster: &Cluster, router: Option<usize>) -> Result<Broken<'_>> {
    let rules = ["icmp type time-exceeded drop", "icmpv6 type time-exceeded drop"].map(str::to_owned);
    let mut chosen = cluster.routers.iter().enumerate().filter(|(at, _)| router.is_none_or(|router| router == at + 1));
    chosen.try_fold(Broken::default(), |broken, (_, router)| {
        Ok(broken.and(filter::filter(router, "inet", "output", &rules)?))
    })
}

/// A wire has one MTU, at both ends.
fn both_ends<'c>(cluster: &'c Cluster, span: &Span, bytes: u32) -> Result<Broken<'c>> {
    span.ends.iter().try_fold(Broken::default(), |broken, end| {
        Ok(broken.and(link::mtu(&cluster.routers[end.router], &end.link, bytes)?))
    })
}

/// The route over the wire has an MTU of its own, which routers keep to when they forward: of IPv6 only if it is locked.
fn one_way<'c>(cluster: &'c Cluster, span: &Span, bytes: u32, way: Way) -> Result<Broken<'c>> {
    each_sender(way, |end| {
        let (at, span) = sender(&cluster.recipe, span, end, way);
        let (router, towards) = (&cluster.routers[at], 1 - end);
        let route = |&family: &Family| {
            let to = cluster.recipe.subnet_of(family, towards);
            let next = cluster.recipe.span_address(family, span.number, towards);
            format!("route replace {to} via {next} dev {}", span.ends[end].link)
        };
        let routes: Vec<_> = cluster.recipe.families.all().iter().map(route).collect();
        let narrow: String = routes.iter().map(|route| format!("{route} mtu lock {bytes}\n")).collect();
        router.feed("ip", &["-batch", "-"], &narrow)?;
        Ok(Broken::until(move || router.feed("ip", &["-batch", "-"], &(routes.join("\n") + "\n"))))
    })
}

/// The router that finds packets too large, and the wire that it finds them too large for. Where ways part, a route has
/// several next hops and one MTU: there it is the router on the way that finds so, for its next wire.
fn sender(recipe: &Recipe, span: &Span, end: usize, way: Way) -> (usize, Span) {
    let parts = recipe.ways() > 1 && way == Way::Back;
    let before = recipe.spans().into_iter().find(|before| parts && before.ends[1].router == span.ends[0].router);
    let span = before.unwrap_or_else(|| span.clone());
    (span.ends[end].router, span)
}

/// Packets vanish in the router that would put them on the wire.
fn lose<'c>(cluster: &'c Cluster, span: &Span, way: Way, rule: impl Fn(&str) -> String) -> Result<Broken<'c>> {
    each_sender(way, |end| {
        let end = &span.ends[end];
        filter::filter(&cluster.routers[end.router], "inet", "forward", &[rule(&format!("oifname \"{}\"", end.link))])
    })
}

/// Breaks the end of a wire that sends, in each direction that is meant.
fn each_sender<'c>(way: Way, mut make: impl FnMut(usize) -> Result<Broken<'c>>) -> Result<Broken<'c>> {
    let mut ends = [(0, true), (1, false)].into_iter().filter(|(_, there)| way.is(*there));
    ends.try_fold(Broken::default(), |broken, (end, _)| Ok(broken.and(make(end)?)))
}
