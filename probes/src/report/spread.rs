//! A sweep over equal-cost paths in numbers: how many source ports of each fate, with a few of them by name.
//!
//! A port whose fate is unknown is neither good nor bad: it is in no share.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::path::spread::{Fate, Swept};
use crate::units::IpSize;

/// Ports of a kind that are named: enough to try it by hand.
const SAMPLE: usize = 5;

/// What became of a size over equal-cost paths.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SpreadRow {
    /// The size that every path should carry; below a tunnel that of the outer packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<IpSize>,
    /// Source ports that were tried.
    pub ports: usize,
    /// The share, 0 to 1, of the ports that do not carry the size among those whose fate is known; absent if none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_bad: Option<f64>,
    /// The ports by fate, those that carry the size first.
    pub kinds: Vec<SpreadKind>,
    /// Packets sent for it.
    pub packets_sent: u32,
}

/// Source ports with one fate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SpreadKind {
    /// What became of the size.
    pub fate: FateName,
    /// How many ports.
    pub ports: usize,
    /// The first few of them.
    pub sample: Vec<u16>,
    /// The hop that limits them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The MTU that it reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_mtu: Option<IpSize>,
    /// The largest size that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carries: Option<IpSize>,
}

/// What became of the expected size from one source port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FateName {
    /// It was answered.
    Carried,
    /// A hop says that it is too big.
    Limited,
    /// Small packets are answered, and the size never was.
    Swallowed,
    /// Not even small packets are answered, while other ports are.
    Dead,
    /// Nothing could be concluded.
    Unknown,
}

impl SpreadRow {
    /// The ports that do not carry the size.
    pub fn bad(&self) -> usize {
        self.kinds.iter().filter(|kind| kind.fate.is_bad()).map(|kind| kind.ports).sum()
    }

    /// The ports whose fate is known.
    pub fn settled(&self) -> usize {
        self.kinds.iter().filter(|kind| kind.fate != FateName::Unknown).map(|kind| kind.ports).sum()
    }
}

impl SpreadKind {
    /// No port of this fate so far.
    pub const fn new(fate: FateName) -> Self {
        Self { fate, ports: 0, sample: Vec::new(), address: None, reported_mtu: None, carries: None }
    }
}

impl FateName {
    /// Whether the size does not arrive from such a port.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Limited | Self::Swallowed | Self::Dead)
    }
}

impl From<&Swept> for SpreadRow {
    fn from(swept: &Swept) -> Self {
        let mut kinds: BTreeMap<_, SpreadKind> = BTreeMap::new();
        for &(port, fate) in &swept.ports {
            let fresh = kind(fate);
            let key = (fresh.fate, fresh.address, fresh.reported_mtu, fresh.carries);
            let kind = kinds.entry(key).or_insert(fresh);
            kind.ports += 1;
            if kind.sample.len() < SAMPLE {
                kind.sample.push(port);
            }
        }
        let row = Self {
            expected: swept.expected,
            ports: swept.ports.len(),
            share_bad: None,
            kinds: kinds.into_values().collect(),
            packets_sent: swept.sent,
        };
        let share = (row.settled() > 0).then(|| row.bad() as f64 / row.settled() as f64);
        Self { share_bad: share, ..row }
    }
}

fn kind(fate: Fate) -> SpreadKind {
    match fate {
        Fate::Carried => SpreadKind::new(FateName::Carried),
        Fate::Limited { carries, by, reported } => {
            SpreadKind { address: Some(by), reported_mtu: reported, carries, ..SpreadKind::new(FateName::Limited) }
        }
        Fate::Swallowed => SpreadKind::new(FateName::Swallowed),
        Fate::Dead => SpreadKind::new(FateName::Dead),
        Fate::Unknown => SpreadKind::new(FateName::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Mono;

    fn by(hop: u8, mtu: u32) -> Fate {
        let mtu = Some(IpSize::new(mtu));
        Fate::Limited { carries: mtu, by: IpAddr::from([10, 0, 9, hop]), reported: mtu }
    }

    fn row(fates: &[Fate]) -> SpreadRow {
        let ports = (61_440..).zip(fates.iter().copied()).collect();
        (&Swept { expected: Some(IpSize::new(1500)), ports, sent: 40, at: Mono::default(), ..Swept::default() }).into()
    }

    #[test]
    fn every_kind_is_counted_and_a_few_ports_are_named() {
        let mut fates = vec![Fate::Carried; 7];
        fates.extend([by(1, 1400), by(1, 1400), by(2, 1300), Fate::Swallowed, Fate::Dead, Fate::Unknown]);
        let row = row(&fates);
        let kinds: Vec<_> = row.kinds.iter().map(|kind| (kind.fate, kind.ports, kind.carries)).collect();
        let size = |bytes| Some(IpSize::new(bytes));
        assert_eq!(
            kinds,
            [
                (FateName::Carried, 7, None),
                (FateName::Limited, 2, size(1400)),
                (FateName::Limited, 1, size(1300)),
                (FateName::Swallowed, 1, None),
                (FateName::Dead, 1, None),
                (FateName::Unknown, 1, None),
            ]
        );
        assert_eq!(row.kinds[0].sample, [61_440, 61_441, 61_442, 61_443, 61_444]);
        assert_eq!((row.ports, row.bad(), row.settled(), row.share_bad), (13, 5, 12, Some(5.0 / 12.0)));
    }

    #[test]
    fn of_nothing_settled_there_is_no_share() {
        assert_eq!(row(&[Fate::Unknown]).share_bad, None, "an unknown port is neither good nor bad");
        assert_eq!(row(&[Fate::Carried]).share_bad, Some(0.0));
        assert_eq!(row(&[]).share_bad, None);
    }
}
