//! Which fault can be made on which cluster: a recipe has the links, routers, tunnels and families that it names, or not.

use std::time::Duration;

use super::{Fault, Manner, Plane, Sent, blocks, files, words};
use crate::family::Family;
use crate::recipe::{Recipe, Role};

impl Fault {
    /// Whether a recipe has everything that this fault names.
    pub fn fits(&self, recipe: &Recipe) -> bool {
        let names = recipe.sizes();
        match self {
            Self::LinkDown { link, .. } | Self::BridgeFilters { link, .. } | Self::ChecksumOffload { link, .. } => {
                recipe.link(*link).is_some()
            }
            Self::Unplug { link, .. } => recipe.bridge_of(*link).is_some(),
            Self::PortMtu { link, bytes, .. } => recipe.bridge_of(*link).is_some() && bytes.fits(&names),
            Self::Guest { .. } => recipe.bridge.is_some(),
            Self::Mtu { link, bytes, .. } => recipe.link(*link).is_some() && bytes.fits(&names),
            Self::HopMtu { bytes } | Self::StaleException { bytes, .. } => recipe.is_routed() && bytes.fits(&names),
            Self::RouteMtu { bytes, .. } => bytes.fits(&names),
            Self::DropFragNeeded {} => recipe.is_routed(),
            Self::NarrowHop { after, bytes, .. } | Self::FarEndMtu { after, bytes } => {
                recipe.span_after(*after).is_ok() && bytes.fits(&names)
            }
            Self::DropHop { after, .. } => recipe.span_after(*after).is_ok(),
            Self::DropTimeExceeded { router } => (1..=recipe.routers()).contains(&router.unwrap_or(1)),
            Self::DropLarger { than: size, .. }
            | Self::DropLargerOneWay { than: size, .. }
            | Self::RejectUdp { port: size, .. }
            | Self::DropUdp { port: size, .. } => size.fits(&names),
            Self::HoldPort { port, .. } => recipe.is_tunnelled() && port.fits(&names),
            Self::FdbTo { of, to, .. } | Self::SecondRoute { to: of, by: to, .. } => {
                recipe.is_tunnelled() && *of.max(to) < recipe.nodes.len()
            }
            Self::NeighbourMac { is, .. } => recipe.is_tunnelled() && is.unwrap_or(0) < recipe.nodes.len(),
            Self::StallTransfers { than, .. } => recipe.is_tunnelled() && than.fits(&names),
            // Every router leaves packets of IPv6 whole, DF or not.
            Self::OuterDf { .. } => {
                recipe.is_tunnelled() && recipe.overlay.is_some_and(|overlay| overlay.over == Family::V4)
            }
            Self::MissingFdb { .. }
            | Self::FdbElsewhere { .. }
            | Self::Leftover { .. }
            | Self::NewMac { .. }
            | Self::TunnelOn { .. }
            | Self::TunnelMade { .. }
            | Self::DynamicFdb { .. }
            | Self::MissingNeighbour { .. }
            | Self::PodRoute { .. }
            | Self::MuteTunnel { .. }
            | Self::CorruptTcp { .. }
            | Self::ReachableNeighbour { .. } => recipe.is_tunnelled(),
            Self::ForgedFragNeeded { plane, bytes, .. } => {
                let first = recipe.overlay.map(|overlay| overlay.families.first());
                let there = first == Some(recipe.families.first()) && (*plane == Plane::Pod || recipe.is_tunnelled());
                (*plane == Plane::Underlay || there) && bytes.fits(&names)
            }
            Self::AnotherPod { bytes, .. } | Self::PodEndMtu { bytes, .. } | Self::PodRouteMtu { bytes, .. } => {
                recipe.overlay.is_some() && bytes.fits(&names)
            }
            Self::Sends { what: Sent::FullSizeToPod | Sent::FullSizeOut, .. } => recipe.overlay.is_some(),
            Self::Sysctl { node, key, .. } => words::filled(key, recipe, *node).is_ok(),
            Self::HostFile(file) => file.fits(recipe),
            Self::EditedFile(file) => file.fits(recipe),
            Self::NoFile(file) => file.fits(recipe),
            Self::LinkedFile(file) => file.fits(recipe),
            Self::OddFile(file) => file.fits(recipe),
            Self::TakenAddresses(taken) => taken.fits(recipe),
            Self::TakenBlock { .. } | Self::BorrowedAddress { .. } => blocks::are_in(recipe),
            Self::PortDown { .. }
            | Self::DropEcho { .. }
            | Self::DropAll { .. }
            | Self::DropTimestamp { .. }
            | Self::DropInvalid { .. }
            | Self::Loss { .. }
            | Self::AsymmetricRoute { .. }
            | Self::DefaultRoute { .. }
            | Self::Sends { .. } => true,
            Self::VipOn { nodes } => recipe.vip().is_some() && nodes.iter().all(|node| *node < recipe.nodes.len()),
            Self::RouterAdvertised { .. } => recipe.families.has(Family::V6),
        }
    }

    /// Whether the kernel is told of it in several steps, so that an agent may see it half made.
    pub const fn has_steps(&self) -> bool {
        match self {
            // Both ends of a wire, and the routers' silence.
            Self::HopMtu { .. } | Self::StaleException { .. } | Self::Mtu { link: Role::Pod, .. } => true,
            Self::NarrowHop { manner, .. } => !matches!(manner, Manner::Lost),
            // A bridge's MTU goes with its port's and is put back; a device is deleted and made again.
            Self::PortMtu { .. } | Self::TunnelOn { .. } | Self::TunnelMade { .. } => true,
            // The right entry goes before the wrong one comes, and the old holder before the new one.
            Self::FdbElsewhere { .. } | Self::FdbTo { .. } | Self::NewMac { .. } | Self::VipOn { .. } => true,
            Self::HoldPort { .. } | Self::RouterAdvertised { .. } => true,
            // A link comes before what is set on it.
            Self::AnotherPod { .. } | Self::BorrowedAddress { .. } | Self::Guest { .. } => true,
            _ => false,
        }
    }

    /// How long what it breaks may rightly stand before anybody speaks of it, beyond the rounds that confirm it.
    pub fn patience(&self, recipe: &Recipe) -> Duration {
        match self {
            Self::VipOn { .. } => recipe.take_over(),
            _ => Duration::ZERO,
        }
    }

    /// Whether it makes a counter of the kernel rise, as far as the agent can see.
    pub fn moves_counters(&self) -> bool {
        match self {
            Self::Sends { .. } => true,
            Self::HostFile(file) => file.text.contains(files::GROWING),
            _ => false,
        }
    }
}
