//! What drivers say of an example's links.

use super::Example;
use crate::fact::Fact;
use crate::kernel::ethtool::{Channels, Device, Feature, Features};

impl Example {
    /// Gives a NIC queues: so many, of so many that it could have.
    pub(crate) fn queues(mut self, link: &str, receiving: u32, most: u32) -> Self {
        let link = self.index(link);
        let channels = Fact::Known(Channels { receiving, most });
        self.devices.set(link, Device { channels, ..self.devices.get(link).clone() });
        self
    }

    /// Gives the machine so many processors.
    pub(crate) fn processors(mut self, count: u32) -> Self {
        self.devices.processors = Fact::Known(count);
        self
    }

    /// Switches offloads of a link: each on or off, and whether it can be switched.
    pub(crate) fn offloads(mut self, link: &str, offloads: &[(&'static str, bool)]) -> Self {
        let link = self.index(link);
        let features = offloads.iter().map(|&(name, on)| (name, Feature { on, fixed: false }));
        let features = Fact::Known(Features::new(features));
        self.devices.set(link, Device { features, ..self.devices.get(link).clone() });
        self
    }
}
