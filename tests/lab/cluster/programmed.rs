//! What somebody has programmed into a namespace and the kernel forgets when a link goes: routes, permanent neighbours,
//! and the addresses of IPv6, which go with their link where those of IPv4 stay.

use std::fmt::Write as _;

use crate::Result;
use crate::family::Family;
use crate::namespace::Namespace;

/// Lines for `ip -batch` that put it back, for one link or for all of them.
pub(crate) fn lines(namespace: &Namespace, family: Family, link: Option<&str>) -> Result<String> {
    let mut lines = if family == Family::V6 { addresses(namespace, link)? } else { String::new() };
    let shown = show(namespace, family, "route show table all", link)?;
    // Connected routes first: the others need them to resolve their gateways.
    let (connected, others): (Vec<_>, Vec<_>) = routes(&shown).into_iter().partition(|route| is_connected(route));
    let dev = link.map(|link| format!(" dev {link}")).unwrap_or_default();
    connected.iter().chain(&others).filter(|route| !route.starts_with("fe80::/64")).for_each(|route| {
        let dev = if route.contains(" nexthop ") { "" } else { &dev };
        let _ = writeln!(lines, "route replace {}{dev}", without(route, &["linkdown", "dead"]));
    });
    show(namespace, family, "neighbour show nud permanent", link)?.lines().for_each(|entry| {
        let _ = writeln!(lines, "neighbour replace {}{dev} nud permanent", without(entry, &["PERMANENT"]));
    });
    Ok(lines)
}

/// Forgets every path MTU that the kernel has learned.
pub(crate) fn forget_exceptions(namespace: &Namespace) -> Result<()> {
    namespace.sh("ip route flush cache")?;
    if speaks_six(namespace)? {
        namespace.sh("ip -6 route flush cache")?;
    }
    Ok(())
}

/// Whether a namespace speaks IPv6.
pub(crate) fn speaks_six(namespace: &Namespace) -> Result<bool> {
    Ok(namespace.setting("net/ipv6/conf/all/disable_ipv6")? == "0")
}

fn show(namespace: &Namespace, family: Family, what: &str, link: Option<&str>) -> Result<String> {
    let dev = link.map(|link| format!(" dev {link}")).unwrap_or_default();
    namespace.sh(&format!("ip {} {what}{dev}", family.flag()))
}

fn addresses(namespace: &Namespace, link: Option<&str>) -> Result<String> {
    let dev = link.map(|link| format!(" dev {link}")).unwrap_or_default();
    let shown = namespace.sh(&format!("ip -6 -o address show scope global{dev}"))?;
    let line = |shown: &str| {
        let words: Vec<_> = shown.split_whitespace().collect();
        let peer = words.get(4).filter(|word| **word == "peer").and_then(|_| words.get(5));
        let peer = peer.map(|peer| format!(" peer {peer}")).unwrap_or_default();
        format!("address replace {}{peer} dev {} nodad\n", words[3], words[1])
    };
    Ok(shown.lines().map(line).collect())
}

/// A route with several next hops is shown on several lines.
fn routes(shown: &str) -> Vec<String> {
    let mut routes: Vec<String> = Vec::new();
    for line in shown.lines() {
        match routes.last_mut() {
            Some(route) if line.starts_with(char::is_whitespace) => route.push_str(&format!(" {}", line.trim())),
            _ => routes.push(line.to_owned()),
        }
    }
    routes.retain(|route| !route.contains(" table local "));
    routes
}

fn is_connected(route: &str) -> bool {
    !route.contains(" via ")
}

fn without(line: &str, words: &[&str]) -> String {
    line.split_whitespace().filter(|word| !words.contains(word)).collect::<Vec<_>>().join(" ")
}
