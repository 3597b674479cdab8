//! What a driver says of itself over ethtool netlink: which offloads are on, and how many queues there are.
//!
//! The answers are of the generic family `ethtool`: a header of four bytes, then attributes. Features come as bit sets that
//! spell out names, because the numbers of the bits are the kernel's own business and change from one to the next: `hw`
//! names every feature and says which can be switched, `active` names those that are on, `nochange` those that never
//! change. A device is `[fixed]` in a feature, as `ethtool -k` shows it, where it can not be switched.
//!
//! Two things are no failure. A driver that has no channels (bridge, VXLAN, dummy, many small NICs) refuses them with
//! EOPNOTSUPP: they are absent. A kernel that has no such command (features and channels came with Linux 5.7) refuses both
//! in the same way, or knows no such family: that cannot be told here.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_core::DecodeError;

use super::attributes::{self, Attribute, after, inside, missing, text};
use super::{LinkIndex, RawMessage};
use crate::fact::{Fact, Reason, Source, Unread};

/// `struct genlmsghdr`.
const HEADER: usize = 4;

const FEATURES_HW: u16 = 2;
const FEATURES_ACTIVE: u16 = 4;
const FEATURES_NOCHANGE: u16 = 5;

const BITSET_BITS: u16 = 3;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

const CHANNELS_RX_MAX: u16 = 2;
const CHANNELS_COMBINED_MAX: u16 = 5;
const CHANNELS_RX: u16 = 6;
const CHANNELS_COMBINED: u16 = 9;

/// Features that can break or slow down what is in a tunnel, by the names that `ethtool -k` and `-K` take.
pub const OFFLOADS: [&str; 14] = [
    "tx-checksum-ip-generic",
    "tx-checksum-ipv4",
    "tx-checksum-ipv6",
    "tx-generic-segmentation",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-udp_tnl-segmentation",
    "tx-udp_tnl-csum-segmentation",
    "rx-checksum",
    "rx-gro",
    "rx-gro-hw",
    "rx-gro-list",
    "rx-udp-gro-forwarding",
    "rx-udp_tunnel-port-offload",
];

/// What the kernel answered about one link. `None` where it says that it does not do that (EOPNOTSUPP).
#[derive(Clone, Debug)]
pub struct RawDevice {
    /// The link.
    pub link: LinkIndex,
    /// `ETHTOOL_MSG_FEATURES_GET_REPLY`.
    pub features: Result<Option<RawMessage>, Unread>,
    /// `ETHTOOL_MSG_CHANNELS_GET_REPLY`.
    pub channels: Result<Option<RawMessage>, Unread>,
}

/// What was read of the devices of a machine.
#[derive(Clone, Debug)]
pub struct RawDevices {
    /// One entry for each link that was asked about.
    pub devices: Vec<RawDevice>,
    /// `/sys/devices/system/cpu/online`: the processors of the machine, whatever share of them a container is given.
    pub processors: Result<String, Unread>,
    /// How long it took.
    pub took: std::time::Duration,
}

/// What a driver says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its offloads.
    pub features: Fact<Features>,
    /// Its queues; absent where the driver has no such thing.
    pub channels: Fact<Channels>,
}

/// The devices that matter, and the processors that serve them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// What was read of each link.
    pub links: BTreeMap<LinkIndex, Device>,
    /// How many processors the machine has.
    pub processors: Fact<u32>,
}

impl Devices {
    /// Before anything was read.
    pub const fn unread() -> Self {
        Self { links: BTreeMap::new(), processors: Fact::Unread(Unread::new(Source::Ethtool, Reason::NotYet)) }
    }

    /// Decodes one reading.
    pub fn decode(raw: &RawDevices) -> Self {
        let links = raw.devices.iter().map(|raw| (raw.link, device(raw))).collect();
        let processors = raw.processors.as_ref().map_err(Clone::clone).and_then(|text| count(text));
        Self { links, processors: processors.into() }
    }

    /// What the driver of a link says of itself.
    pub fn get(&self, link: LinkIndex) -> &Device {
        self.links.get(&link).unwrap_or(&UNREAD)
    }

    /// Sets what the driver of a link says of itself.
    pub fn set(&mut self, link: LinkIndex, device: Device) {
        self.links.insert(link, device);
    }

    /// Whether everything that can be read was read: what a kernel or driver cannot tell is no failure.
    pub fn is_whole(&self) -> bool {
        let told =
            |unread: Option<&Unread>| unread.is_none_or(|unread| matches!(unread.reason, Reason::Unsupported { .. }));
        let read = |device: &Device| {
            told(device.features.read().err().as_ref()) && told(device.channels.read().err().as_ref())
        };
        self.links.values().all(read) && told(self.processors.read().err().as_ref())
    }
}

/// A device that nobody asked about.
static UNREAD: Device = Device {
    features: Fact::Unread(Unread::new(Source::Ethtool, Reason::NotYet)),
    channels: Fact::Unread(Unread::new(Source::Ethtool, Reason::NotYet)),
};

/// The [`OFFLOADS`] that a kernel knows, and how they are on one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features(BTreeMap<&'static str, Feature>);

/// One feature of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Whether it is on.
    pub on: bool,
    /// Whether it stays as it is, whoever asks.
    pub fixed: bool,
}

impl Features {
    /// Features by name.
    pub fn new(features: impl IntoIterator<Item = (&'static str, Feature)>) -> Self {
        Self(features.into_iter().collect())
    }

    /// One of the [`OFFLOADS`]; `None` if this kernel has none of that name.
    pub fn get(&self, name: &str) -> Option<Feature> {
        self.0.get(name).copied()
    }

    /// Every one of the [`OFFLOADS`] that this kernel knows.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Feature)> + '_ {
        self.0.iter().map(|(&name, &feature)| (name, feature))
    }
}

/// How many queues a device uses, and how many it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Queues that receive, those that also send among them.
    pub receiving: u32,
    /// How many of these it has at most.
    pub most: u32,
}

/// What the kernel answered about one link.
pub fn device(raw: &RawDevice) -> Device {
    let features = match answer(&raw.features, features) {
        Fact::Absent => Fact::Unread(Unread::new(Source::Ethtool, too_old())),
        fact => fact,
    };
    let channels = match (answer(&raw.channels, channels), &features) {
        // Every device has features. Where the kernel has none to tell, it has no channels to tell either.
        (Fact::Absent, Fact::Unread(why)) => Fact::Unread(why.clone()),
        (fact, _) => fact,
    };
    Device { features, channels }
}

/// How many processors a list names, as in `0-3,6`.
fn count(list: &str) -> Result<u32, Unread> {
    let number = |text: &str| text.parse::<u32>().ok();
    let range = |range: &str| match range.split_once('-') {
        Some((first, last)) => number(last)?.checked_sub(number(first)?)?.checked_add(1),
        None => number(range).map(|_| 1),
    };
    let sum = list.trim().split(',').try_fold(0u32, |sum, part| sum.checked_add(range(part)?));
    sum.filter(|&sum| sum > 0).ok_or_else(|| {
        let what = attributes::clip(&format!("the list of processors that are online is `{list}`"));
        Unread::new(Source::Ethtool, Reason::Malformed { what })
    })
}

/// Why a kernel that knows no ethtool netlink, or not enough of it, cannot say.
pub fn too_old() -> Reason {
    Reason::Unsupported { why: "this kernel tells no features and queues by netlink; Linux 5.7 is the first".into() }
}

fn answer<T>(raw: &Result<Option<RawMessage>, Unread>, decode: impl Fn(&[u8]) -> Result<T, DecodeError>) -> Fact<T> {
    match raw {
        Err(unread) => Fact::Unread(unread.clone()),
        Ok(None) => Fact::Absent,
        Ok(Some(message)) => decode(&message.body).map_or_else(
            |error| {
                let what = attributes::line("ethtool", &message.body, &error);
                Fact::Unread(Unread::new(Source::Ethtool, Reason::Malformed { what }))
            },
            Fact::Known,
        ),
    }
}

fn features(body: &[u8]) -> Result<Features, DecodeError> {
    let attributes = after(body, HEADER)?;
    let set = |kind| attributes.iter().find(|attribute| attribute.kind() == kind);
    let known = set(FEATURES_HW).ok_or_else(|| missing("features (ETHTOOL_A_FEATURES_HW)"))?;
    let active = set(FEATURES_ACTIVE).ok_or_else(|| missing("active features (ETHTOOL_A_FEATURES_ACTIVE)"))?;
    let (known, active) = (bits(known)?, bits(active)?);
    let on: BTreeSet<_> = active.iter().map(|(name, _)| name.as_str()).collect();
    let never = set(FEATURES_NOCHANGE).map(bits).transpose()?.unwrap_or_default();
    let feature = |name: &'static str| {
        let (_, switchable) = known.iter().find(|(known, _)| known == name)?;
        let fixed = !switchable || never.iter().any(|(never, _)| never == name);
        Some((name, Feature { on: on.contains(name), fixed }))
    };
    Ok(Features(OFFLOADS.into_iter().filter_map(feature).collect()))
}

/// The bits that a set names, and their values. In a set without a mask those that are named are those that are set, and
/// carry no value.
fn bits(set: &Attribute<'_>) -> Result<Vec<(String, bool)>, DecodeError> {
    let parts = inside(set)?;
    let Some(list) = parts.iter().find(|part| part.kind() == BITSET_BITS) else {
        return Err(missing("list of names (ETHTOOL_A_BITSET_BITS)"));
    };
    let bit = |bit: &Attribute<'_>| {
        let parts = inside(bit)?;
        let name = parts.iter().find(|part| part.kind() == BIT_NAME).map(|name| text(name).into_owned());
        Ok((name.unwrap_or_default(), parts.iter().any(|part| part.kind() == BIT_VALUE)))
    };
    inside(list)?.iter().map(bit).collect()
}

fn channels(body: &[u8]) -> Result<Channels, DecodeError> {
    let attributes = after(body, HEADER)?;
    let count = |kind| {
        let Some(attribute) = attributes.iter().find(|attribute| attribute.kind() == kind) else { return Ok(0) };
        let bytes: [u8; 4] = attribute
            .value()
            .try_into()
            .map_err(|_| DecodeError::from(format!("a count of {} bytes", attribute.value().len())))?;
        Ok::<u32, DecodeError>(u32::from_ne_bytes(bytes))
    };
    // The kernel leaves out a kind of queue that a device has none of.
    if !attributes.iter().any(|attribute| [CHANNELS_RX, CHANNELS_COMBINED].contains(&attribute.kind())) {
        return Err(missing("count of queues that receive"));
    }
    let sum = |one: u32, other: u32| one.saturating_add(other);
    Ok(Channels {
        receiving: sum(count(CHANNELS_RX)?, count(CHANNELS_COMBINED)?),
        most: sum(count(CHANNELS_RX_MAX)?, count(CHANNELS_COMBINED_MAX)?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::kernel::golden;

    fn golden(machine: &BTreeMap<String, Vec<RawMessage>>, link: &str) -> RawDevice {
        let answer = |what: &str| Ok(machine[&format!("{link} {what}")].first().cloned());
        RawDevice { link: LinkIndex(1), features: answer("features"), channels: answer("channels") }
    }

    fn refused(raw: &RawDevice) -> RawDevice {
        RawDevice { features: Ok(None), channels: Ok(None), ..raw.clone() }
    }

    fn features(device: &Device) -> &Features {
        device.features.known().unwrap()
    }

    const SWITCHABLE: Option<Feature> = Some(Feature { on: true, fixed: false });

    #[test]
    fn golden_software_devices() {
        let veth = device(&golden(&golden::software(), "enp5s0"));
        assert_eq!(veth.channels, Fact::Known(Channels { receiving: 1, most: 2 }));
        assert_eq!(features(&veth).get("tx-udp_tnl-segmentation"), SWITCHABLE);
        let vxlan = device(&golden(&golden::software(), "vxlan.calico"));
        assert_eq!(vxlan.channels, Fact::Absent);
        let features = features(&vxlan);
        assert_eq!(features.get("tx-checksum-ip-generic"), SWITCHABLE);
        assert_eq!(features.get("rx-udp-gro-forwarding"), Some(Feature { on: false, fixed: false }));
        assert_eq!(
            features.get("tx-udp_tnl-segmentation"),
            Some(Feature { on: false, fixed: true }),
            "no tunnel in it"
        );
        assert_eq!(features.iter().count(), OFFLOADS.len(), "Linux 6.18 knows all of them");
        assert_eq!(features.get("loopback"), None, "not one that is kept");
    }

    #[test]
    fn golden_nics_of_a_virtual_machine() {
        let machine = golden::virtual_machine();
        let [virtio, vmxnet] = ["eth0", "eth3"].map(|link| device(&golden(&machine, link)));
        assert_eq!(virtio.channels, Fact::Known(Channels { receiving: 1, most: 1 }));
        assert_eq!(vmxnet.channels, Fact::Known(Channels { receiving: 8, most: 8 }), "for 8 processors");
        assert_eq!(features(&virtio).get("rx-gro"), SWITCHABLE);
        assert_eq!(features(&virtio).get("tx-udp_tnl-segmentation"), Some(Feature { on: false, fixed: true }));
    }

    #[test]
    fn a_driver_that_lacks_something_is_told_from_a_kernel_that_does() {
        let vxlan = golden(&golden::software(), "vxlan.calico");
        assert_eq!(device(&vxlan).channels, Fact::Absent);
        let old = device(&refused(&vxlan));
        assert!(matches!(&old.features, Fact::Unread(why) if why.to_string().contains("5.7")), "{old:?}");
        assert!(matches!(old.channels, Fact::Unread(_)), "nobody knows whether it has any");
    }

    #[test]
    fn what_cannot_be_told_is_no_failure_and_what_failed_is_one() {
        let vxlan = golden(&golden::software(), "vxlan.calico");
        let whole = |raw: RawDevice, processors: &str| {
            let (devices, processors) = (vec![raw], Ok(processors.to_owned()));
            Devices::decode(&RawDevices { devices, processors, took: std::time::Duration::ZERO }).is_whole()
        };
        assert!(whole(vxlan.clone(), "0-7") && whole(refused(&vxlan), "0-7"));
        assert!(!whole(vxlan.clone(), "none"));
        let failed = Unread::new(Source::Ethtool, Reason::Failed { what: "ENODEV".into() });
        assert!(!whole(RawDevice { features: Err(failed), ..vxlan }, "0-7"));
    }

    #[test]
    fn processors_are_counted_over_all_ranges() {
        for (list, expected) in [("0\n", 1), ("0-7\n", 8), ("0-3,8-11,15", 9)] {
            assert_eq!(count(list), Ok(expected), "{list}");
        }
        for list in ["", "\n", "7-0", "0-", "a", "0-4294967295", "0-4294967294,1"] {
            assert!(matches!(count(list).unwrap_err().reason, Reason::Malformed { .. }), "{list}");
        }
    }

    #[test]
    fn an_answer_cut_anywhere_is_malformed_or_says_less() {
        let veth = golden(&golden::software(), "enp5s0");
        let cut = |message: &RawMessage, length| {
            Ok(Some(RawMessage { kind: message.kind, body: message.body[..length].to_vec() }))
        };
        let (features, channels) = (veth.features.clone().unwrap().unwrap(), veth.channels.clone().unwrap().unwrap());
        let whole = device(&veth);
        for length in 0..features.body.len() {
            let device = device(&RawDevice { features: cut(&features, length), ..veth.clone() });
            let on = |features: &Features| features.iter().filter(|(_, feature)| feature.on).count();
            let most = whole.features.known().map(on);
            assert!(device.features.known().map(on) <= most, "{length} bytes: {device:?}");
        }
        for length in 0..channels.body.len() {
            let device = device(&RawDevice { channels: cut(&channels, length), ..veth.clone() });
            assert!(!matches!(device.channels, Fact::Known(channels) if channels.receiving != 1), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn corrupted_answers_never_panic(edits in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8)) {
            for link in ["enp5s0", "vxlan.calico"] {
                let mut raw = golden(&golden::software(), link);
                for message in [&mut raw.features, &mut raw.channels].into_iter().filter_map(|raw| raw.as_mut().unwrap().as_mut()) {
                    edits.iter().for_each(|(at, value)| *at.get_mut(&mut message.body) = *value);
                }
                device(&raw);
            }
        }

        #[test]
        fn random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), text in any::<String>()) {
            let message = Ok(Some(RawMessage { kind: 21, body }));
            device(&RawDevice { link: LinkIndex(1), features: message.clone(), channels: message });
            let _ = count(&text);
        }
    }
}
