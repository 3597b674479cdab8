//! Bridges: ports taken out or of another MTU, guests, and what a bridge shows to filters.

use super::{Broken, link};
use crate::cluster::Cluster;
use crate::namespace::Namespace;
use crate::recipe::Role;
use crate::{Error, Result};

/// Takes a port out of its bridge. Healing puts it back.
pub(super) fn unplug<'c>(host: &'c Namespace, port: &str) -> Result<Broken<'c>> {
    let bridge = bridge_of(host, port)?;
    host.run("ip", ["link", "set", port, "nomaster"])?;
    let port = port.to_owned();
    Ok(Broken::until(move || host.run("ip", ["link", "set", &port, "master", &bridge]).map(drop)))
}

/// Gives a port another MTU. A bridge follows its ports until its MTU is set by hand, so that is done here.
pub(super) fn port_mtu<'c>(host: &'c Namespace, port: &str, bytes: u32) -> Result<Broken<'c>> {
    let bridge = bridge_of(host, port)?;
    let (of_port, of_bridge) = (link::mtu_of(host, port)?, link::mtu_of(host, &bridge)?);
    link::set_mtu(host, port, bytes)?;
    link::set_mtu(host, &bridge, of_bridge)?;
    let port = port.to_owned();
    Ok(Broken::until(move || {
        link::set_mtu(host, &port, of_port)?;
        link::set_mtu(host, &bridge, of_bridge)
    }))
}

/// Puts a guest's port on the bridge. Its other end is up and says nothing.
pub(super) fn guest(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    let (host, bridge, guest) = (cluster.host(node), cluster.link(Role::Bridge)?, cluster.link(Role::Guest)?);
    let far = format!("guest{node}");
    let (place, mtu) = (cluster.switch.path(), cluster.recipe.underlay_mtu.to_string());
    let wire = ["link", "add", guest, "mtu", &mtu, "type", "veth", "peer", "name", &far, "mtu", &mtu, "netns", &place];
    host.run("ip", wire)?;
    host.run("ip", ["link", "set", guest, "up", "master", bridge])?;
    cluster.switch.run("ip", ["link", "set", &far, "up"])?;
    Ok(Broken::until(move || host.run("ip", ["link", "del", guest]).map(drop)))
}

/// Lets one bridge show its packets to filters, whatever the setting for all of them says.
pub(super) fn filters<'c>(host: &'c Namespace, bridge: &'static str) -> Result<Broken<'c>> {
    let set =
        move |value| host.run("ip", ["link", "set", bridge, "type", "bridge", "nf_call_iptables", value]).map(drop);
    set("1")?;
    Ok(Broken::until(move || set("0")))
}

fn bridge_of(host: &Namespace, port: &str) -> Result<String> {
    let shown = host.run("ip", ["-o", "link", "show", "dev", port])?;
    let bridge = shown.split_whitespace().skip_while(|word| *word != "master").nth(1).map(str::to_owned);
    bridge.ok_or_else(|| Error::new(format!("asking for the bridge of {port} in {}", host.name()), shown))
}
