//! The control plane's address as the wire shows it: who answers for it.

use std::net::IpAddr;
use std::time::Duration;

use crate::fact::Fact;
use crate::kernel::Mac;

/// One address of kube-vip's on this node's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// The manifest that names it.
    pub manifest: String,
    /// The election's lease, where there is one.
    pub lease: Option<String>,
    /// This node's link on the address's network; where there is none, what the manifest names.
    pub link: String,
    /// Who answers for it; unread where it was not asked for, or what was heard does not tell.
    pub seen: Fact<Seen>,
    /// For how long it has been seen like this.
    pub stands: Duration,
    /// How often it was seen like this without a break.
    pub times: u32,
    /// How long a take-over may take: what is seen for less says nothing.
    pub patience: Duration,
}

/// Who answers for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// One machine.
    Held(Holder),
    /// Nobody, and somebody else on that network answered for an address of its own.
    Nobody {
        /// The peer that answered.
        witness: String,
        /// Peers that say that they have the address.
        claim: Vec<String>,
    },
    /// Several machines.
    Several(Vec<Holder>),
}

impl Seen {
    /// Whether two of them say the same, whoever the holder is.
    pub const fn is_like(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Held(_), Self::Held(_))
                | (Self::Nobody { .. }, Self::Nobody { .. })
                | (Self::Several(_), Self::Several(_))
        )
    }
}

/// A machine that has the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name, where it is known whose hardware address answers.
    pub node: Option<String>,
    /// The hardware addresses that answer; none of this node's own, which does not ask itself.
    pub macs: Vec<Mac>,
}

impl Vip {
    /// Whether what is seen has lasted longer than any take-over.
    pub fn is_settled(&self) -> bool {
        self.times >= TIMES && self.stands >= self.patience
    }
}

/// How often it must be seen.
pub const TIMES: u32 = 3;
