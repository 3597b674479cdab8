//! Transfers: does TCP carry bulk through the tunnel, both ways, where ICMP of every size passes?
//!
//! The kernel of a peer answers ICMP whatever its tunnel does to TCP. A checksum that the tunnel's offload leaves wrong,
//! a segment that nobody cuts to size, a filter that takes long connections for invalid: pings of full size pass, and
//! uploads hang. So two agents move [`BYTES`] each way over the tunnel, more than any first window holds.
//!
//! What is concluded from which exchange, and why:
//!
//! - **First a small one** (`HEAD`). Nobody listens, a filter drops the port, another program answers, the peer does not
//!   know this node or has too much to do: all that says nothing of bulk, so nothing is concluded, and the reason is told.
//!   It is no stall either where *nothing* of TCP comes back: a host's filter looks just like that and hurts no pod.
//! - **Unless segments come in broken.** A filter does not raise the kernel's count of TCP segments with a wrong checksum.
//!   Where it rises while one connection is tried alone and nothing else of this node's, the peer did answer, and its tunnel
//!   spoils what it sends. The peer itself cannot see that; a node that its segments are sent to can.
//! - **Then both directions at once**, each on a connection of its own, so that one that hangs does not hide the other.
//! - **A stall** is a connection that stands, and [`LOOKS`] looks in a row, [`LOOK`] apart, at which the kernel knows of
//!   no byte more, sent or received; or one that is not done after [`TOTAL`]. Looks are counted, not time: a machine that
//!   was stopped for a minute has looked once.
//! - **To the peer** it is a stall only if the peer's *kernel* leaves bytes unacknowledged. If everything is acknowledged
//!   and no answer comes, or the peer's window is shut, its agent hangs and not the network.
//! - **From the peer** there is no such witness here; that the same agent answered the small exchange just before is it.
//!   If not even our request was acknowledged, bytes are lost on the way there.

pub mod admission;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::path::PathKey;

/// Bytes that are moved in each direction.
pub const BYTES: u32 = 64 * 1024;

/// Where an agent takes and gives them.
pub const PATH: &str = "/transfer";

/// How long a connection may take to be made: the first SYN and its first repetition (after 1 s) have their time.
pub const CONNECT: Duration = Duration::from_millis(2500);

/// Time between two looks at how far a connection has come.
pub const LOOK: Duration = Duration::from_millis(250);

/// Looks without progress that make a stall: three seconds. Linux repeats a lost segment after 0.2, 0.4, 0.8 and 1.6 s.
pub const LOOKS: u32 = 12;

/// The longest that one exchange may take.
pub const TOTAL: Duration = Duration::from_secs(10);

/// Segments with a wrong checksum that say that a peer answered: the answers to a SYN and to its repetition.
const SPOILT: u64 = 2;

/// A transfer to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Over this path.
    pub key: PathKey,
    /// To the peer's agent on this port.
    pub port: u16,
    /// The peer's node address, to be asked whether an agent is there at all where nothing of TCP comes back.
    pub node: Option<IpAddr>,
}

impl Transfer {
    /// Where the peer's agent is connected to.
    pub const fn to(&self) -> SocketAddr {
        SocketAddr::new(self.key.address, self.port)
    }
}

/// What came of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transferred {
    /// What was wanted.
    pub transfer: Transfer,
    /// What was seen.
    pub seen: Seen,
}

/// What the agent saw of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The small exchange.
    pub small: Exchange,
    /// Whether the peer's agent answers on its node address; asked only where nothing came back through the tunnel.
    pub node_answers: Option<bool>,
    /// The exchanges of bulk, if the small one was answered well.
    pub bulk: Option<Bulk>,
    /// TCP segments that came in with a wrong checksum meanwhile: this peer's, if nothing came back through the tunnel,
    /// because then it was tried once more with no other transfer under way. `None` where nobody counts.
    pub spoilt: Option<u64>,
}

/// Both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// Bytes come here.
    pub from_peer: Exchange,
    /// Bytes go there.
    pub to_peer: Exchange,
}

/// One request on a connection of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// How it ended.
    pub ended: Ended,
    /// Bytes of bulk that arrived: here, or there as the peer says. 0 where that is not known.
    pub arrived: u32,
    /// What the kernel knew at the end; `None` if there was no connection, or the kernel cannot tell.
    pub kernel: Option<Kernel>,
}

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Answered, the whole answer.
    Answered {
        /// HTTP status.
        status: u16,
    },
    /// Nothing answered the attempt to connect.
    Silent,
    /// The attempt to connect was refused (RST).
    Refused,
    /// No connection for another reason.
    NotConnected {
        /// The error in words.
        why: String,
    },
    /// It stood still, or took too long.
    Stalled,
    /// The connection broke, or what came back is no answer.
    Broken {
        /// The error in words.
        why: String,
    },
}

/// What the kernel knows of a connection (`TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Bytes that the peer's kernel has acknowledged.
    pub acknowledged: u64,
    /// Bytes that came in.
    pub received: u64,
    /// Segments that are sent and not acknowledged.
    pub unacknowledged: u32,
    /// Bytes that wait for the peer's window or for acknowledgements.
    pub unsent: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
    /// Payload of a full segment that leaves, in bytes.
    pub segment: u32,
}

/// What a transfer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it arrived, both ways.
    Passed,
    /// It stalled.
    Stalled(Stall),
    /// Nothing can be concluded.
    Unknown {
        /// Why, in words for people.
        why: String,
    },
}

/// A connection that was made and then carried no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The port that was connected to.
    pub port: u16,
    /// Which way bytes are lost.
    pub direction: Direction,
    /// Bytes of bulk that came here.
    pub from_peer: u32,
    /// Bytes that the peer's kernel acknowledged, the request's head included; `None` where nobody can tell.
    pub to_peer: Option<u64>,
    /// Segments that were sent again from here.
    pub retransmits: Option<u32>,
    /// Payload of a full segment that left, in bytes.
    pub segment: Option<u32>,
    /// How far it came.
    pub stage: Stage,
    /// TCP segments that came in with a wrong checksum meanwhile.
    pub spoilt: Option<u64>,
}

/// How far a transfer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Not even a connection was made.
    Connecting,
    /// The connection stood, and a small request was not answered.
    Asking,
    /// Small exchanges pass.
    Moving,
}

/// Which way bytes are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From here to the peer.
    ToPeer,
    /// From the peer to here.
    FromPeer,
    /// Both ways.
    Both,
}

/// A transfer that said something of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The stall, `None` if all arrived.
    pub stall: Option<Stall>,
    /// When it ended.
    pub at: Timestamp,
    /// Whether it has been judged: it is one piece of evidence, however often it is looked at.
    pub judged: bool,
}

impl Transferred {
    /// What it comes to.
    pub fn conclude(&self) -> Outcome {
        let Seen { small, bulk, spoilt, .. } = &self.seen;
        let lost = match (&small.ended, bulk) {
            (Ended::Answered { status: 200 }, Some(bulk)) => match bulk.direction() {
                Some(direction) => Some((Stage::Moving, direction)),
                None => return bulk.unless_stalled(),
            },
            (Ended::Stalled, _) if small.is_lost() => Some((Stage::Asking, Direction::ToPeer)),
            (Ended::Silent, _) if spoilt.is_some_and(|count| count >= SPOILT) => {
                Some((Stage::Connecting, Direction::FromPeer))
            }
            _ => None,
        };
        match lost {
            Some((stage, direction)) => Outcome::Stalled(self.stall(stage, direction)),
            None => Outcome::Unknown { why: self.seen.why_not() },
        }
    }

    fn stall(&self, stage: Stage, direction: Direction) -> Stall {
        let Seen { small, bulk, spoilt, .. } = &self.seen;
        let up = bulk.as_ref().map_or(small, |bulk| &bulk.to_peer).kernel;
        Stall {
            port: self.transfer.port,
            direction,
            from_peer: bulk.as_ref().map_or(0, |bulk| bulk.from_peer.arrived),
            to_peer: up.map(|kernel| kernel.acknowledged),
            retransmits: up.map(|kernel| kernel.retransmits),
            segment: up.map(|kernel| kernel.segment),
            stage,
            spoilt: *spoilt,
        }
    }
}

impl Seen {
    fn why_not(&self) -> String {
        match (&self.small.ended, self.node_answers) {
            (Ended::Silent, Some(true)) => "its agent answers TCP on the node address and nothing does through the \
                tunnel: TCP to its port is filtered there, or this node's tunnel spoils what it sends, which the peer's \
                own report tells"
                .into(),
            (ended, _) => ended.why_not(),
        }
    }
}

impl Bulk {
    /// Which way bytes are lost, if they are.
    fn direction(&self) -> Option<Direction> {
        let Self { from_peer: down, to_peer: up } = self;
        let to_peer = up.is_lost() || down.is_lost();
        let from_peer = down.ended == Ended::Stalled && !down.is_lost();
        match (to_peer, from_peer) {
            (true, true) => Some(Direction::Both),
            (true, false) => Some(Direction::ToPeer),
            (false, true) => Some(Direction::FromPeer),
            (false, false) => None,
        }
    }

    fn unless_stalled(&self) -> Outcome {
        let both = [("from it", &self.from_peer), ("to it", &self.to_peer)];
        match both.iter().find(|(_, exchange)| !exchange.is_whole()) {
            None => Outcome::Passed,
            Some((way, exchange)) => {
                let why = match &exchange.ended {
                    Ended::Answered { status: 200 } => format!("{} of {BYTES} bytes arrived", exchange.arrived),
                    ended => ended.why_not(),
                };
                Outcome::Unknown { why: format!("the transfer {way}: {why}") }
            }
        }
    }
}

impl Exchange {
    fn is_whole(&self) -> bool {
        self.ended == Ended::Answered { status: 200 } && self.arrived == BYTES
    }

    /// Whether it stands still because what was sent from here does not arrive.
    fn is_lost(&self) -> bool {
        self.ended == Ended::Stalled && self.kernel.is_some_and(|kernel| kernel.unacknowledged > 0)
    }
}

impl Ended {
    /// Why nothing is concluded from an exchange that ended like this.
    fn why_not(&self) -> String {
        match self {
            Self::Answered { status: 403 } => "its agent does not know this node as a peer, or has transfers switched \
                off (403)"
                .into(),
            Self::Answered { status: 404 | 405 } => "its agent knows no transfers: it is older than this one".into(),
            Self::Answered { status: 429 } => "its agent has too many transfers to make (429)".into(),
            Self::Answered { status: 503 } => "its agent has only just started (503)".into(),
            Self::Answered { status } => format!("what listens there answers with HTTP status {status}"),
            Self::Silent => "nothing answers TCP there: no agent runs there, or a filter drops its port".into(),
            Self::Refused => "nobody listens there: no agent runs there, or it listens elsewhere".into(),
            Self::NotConnected { why } => format!("no connection: {why}"),
            Self::Stalled => "what was sent was acknowledged and never answered: what listens there hangs".into(),
            Self::Broken { why } => format!("the connection broke: {why}"),
        }
    }
}

#[cfg(test)]
mod tests;
