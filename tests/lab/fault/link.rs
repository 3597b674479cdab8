//! Links: down, or of another MTU.

use super::Broken;
use crate::cluster::{BACKBONE, Cluster};
use crate::namespace::Namespace;
use crate::{Error, Result};

/// Takes a link down. Healing brings back its routes and permanent neighbours too, which the kernel forgets.
pub(super) fn down<'c>(namespace: &'c Namespace, link: &str) -> Result<Broken<'c>> {
    let mut programmed = routes(namespace, link)?;
    programmed += &neighbours(namespace, link)?;
    namespace.run("ip", ["link", "set", link, "down"])?;
    let link = link.to_owned();
    Ok(Broken::until(move || {
        namespace.run("ip", ["link", "set", &link, "up"])?;
        namespace.feed("ip", &["-batch", "-"], &programmed)
    }))
}

/// Connected routes first: the others need them to resolve their gateways.
fn routes(namespace: &Namespace, link: &str) -> Result<String> {
    let shown = namespace.run("ip", ["-4", "route", "show", "table", "main", "dev", link])?;
    let (connected, others): (Vec<_>, Vec<_>) = shown.lines().partition(|line| line.contains("scope link"));
    let line = |route: &str| {
        let words: Vec<_> = route.split_whitespace().filter(|word| !["linkdown", "dead"].contains(word)).collect();
        format!("route replace {} dev {link}\n", words.join(" "))
    };
    Ok(connected.into_iter().chain(others).map(line).collect())
}

fn neighbours(namespace: &Namespace, link: &str) -> Result<String> {
    let shown = namespace.run("ip", ["-4", "neighbour", "show", "dev", link, "nud", "permanent"])?;
    let line =
        |entry: &str| format!("neighbour replace {} dev {link} nud permanent\n", entry.replace(" PERMANENT", ""));
    Ok(shown.lines().map(line).collect())
}

/// Gives a link another MTU.
pub(super) fn mtu<'c>(namespace: &'c Namespace, link: &str, bytes: u32) -> Result<Broken<'c>> {
    let before = mtu_of(namespace, link)?;
    set_mtu(namespace, link, bytes)?;
    let link = link.to_owned();
    Ok(Broken::until(move || set_mtu(namespace, &link, before)))
}

/// Gives the wire between the routers another MTU, at both ends: a wire has one.
pub(super) fn hop_mtu(cluster: &Cluster, bytes: u32) -> Result<Broken<'_>> {
    cluster.routers.iter().try_fold(Broken::default(), |broken, router| Ok(broken.and(mtu(router, BACKBONE, bytes)?)))
}

pub(super) fn set_mtu(namespace: &Namespace, link: &str, bytes: u32) -> Result<()> {
    namespace.run("ip", ["link", "set", link, "mtu", &bytes.to_string()]).map(drop)
}

pub(super) fn mtu_of(namespace: &Namespace, link: &str) -> Result<u32> {
    let shown = namespace.run("ip", ["-o", "link", "show", "dev", link])?;
    let after = shown.split_whitespace().skip_while(|word| *word != "mtu").nth(1);
    after
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| Error::new(format!("reading the MTU of {link} in {}", namespace.name()), shown))
}
