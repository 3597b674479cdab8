//! A size that something imposes on whatever stands on it.

use crate::report::LinkRow;
use crate::units::IpSize;

/// A size that something below imposes.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) size: IpSize,
    /// Who imposes it and how, as in `vmbr1 takes`.
    pub(super) who: String,
    /// Whether packets above it are certain to meet it. A route's MTU is not: what sends them may know it.
    pub(super) firm: bool,
}

impl Bound {
    pub(super) fn new(size: IpSize, who: String) -> Self {
        Self { size, who, firm: true }
    }

    pub(super) fn of(link: &LinkRow) -> Self {
        Self::new(link.mtu.carries(), format!("{} takes", link.name))
    }
}
