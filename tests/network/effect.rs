//! What a fault does to packets: which it breaks, which it spares, and that healing brings them back.

use lab::cluster::Cluster;
use lab::echo::{ping, ping_by_memory};
use lab::family::Family;
use lab::fault::Fault;
use lab::harness::test;
use lab::recipe::Recipe;
use lab::wait::{self, Look};
use lab::{Error, Result};

/// What a fault does to packets from node 0 to its peer.
pub(crate) struct Effect {
    pub(crate) recipe: Recipe,
    /// The family of the packets, if not the first that is spoken.
    pub(crate) family: Option<Family>,
    pub(crate) fault: Fault,
    pub(crate) breaks: &'static [Trip],
    pub(crate) spares: &'static [Trip],
}

/// One kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trip {
    /// A small packet between node addresses.
    Small,
    /// A full-size packet between node addresses.
    Full,
    /// A packet of exactly this size between node addresses.
    Sized(u32),
    /// A full-size packet between node addresses, if the kernel's memory allows it.
    Remembered,
    /// A small packet to the peer's tunnel address.
    Tunnel,
    /// A full-size packet from pod to pod.
    Pod,
    /// A full-size packet between node 0 and the third node.
    Other,
}

impl Effect {
    pub(crate) fn into_test(self) -> libtest_mimic::Trial {
        let family = self.family.map(|family| format!(" {family:?}")).unwrap_or_default();
        test(format!("{}{family} {:?}", self.recipe.name, self.fault), move || self.play())
    }

    fn play(&self) -> Result<()> {
        let cluster = Cluster::build(self.recipe)?;
        let broken = self.fault.make(&cluster)?;
        for &trip in self.breaks {
            wait::until(&format!("{trip:?} to break"), || Ok(look(send(&cluster, self.family, trip).is_err())))?;
        }
        self.spares.iter().try_for_each(|&trip| send(&cluster, self.family, trip))?;
        broken.heal()?;
        for &trip in self.breaks.iter().chain(self.spares) {
            wait::until(&format!("{trip:?} to heal"), || Ok(look(send(&cluster, self.family, trip).is_ok())))?;
        }
        Ok(())
    }
}

fn look(holds: bool) -> Look<()> {
    if holds { Look::There(()) } else { Look::NotYet("not so".into()) }
}

/// Sends a packet of the family, or of the first that is spoken where it goes.
pub(crate) fn send(cluster: &Cluster, family: Option<Family>, trip: Trip) -> Result<()> {
    let recipe = cluster.recipe;
    let underlay = |peer| recipe.underlay_in(family.unwrap_or(recipe.families.first()), peer).ok_or_else(not_spoken);
    let host = cluster.host(0);
    match trip {
        Trip::Small => ping(host, underlay(1)?, 84),
        Trip::Full => ping(host, underlay(1)?, recipe.underlay_mtu),
        Trip::Sized(size) => ping(host, underlay(1)?, size),
        Trip::Remembered => ping_by_memory(host, underlay(1)?, recipe.underlay_mtu),
        Trip::Other => ping(host, underlay(2)?, recipe.underlay_mtu),
        Trip::Tunnel => {
            let overlay = cluster.overlay()?;
            let address = overlay.tunnel_in(family.unwrap_or(overlay.families.first()), 1);
            ping(host, address.ok_or_else(not_spoken)?, 84)
        }
        Trip::Pod => {
            let (overlay, pod) = (cluster.overlay()?, cluster.nodes[0].pod.as_ref());
            let pod = pod.ok_or_else(|| Error::new("pinging from a pod", "there is none"))?;
            let address = overlay.pod_in(family.unwrap_or(overlay.families.first()), 1);
            ping(pod, address.ok_or_else(not_spoken)?, overlay.pod_mtu())
        }
    }
}

fn not_spoken() -> Error {
    Error::new("choosing an address", "this recipe does not speak that family there")
}
