//! What the Kubernetes API says of the other agents, as the watch of it has come to stand.
//!
//! Two Services name them: the one of the agents on nodes, whose endpoints are node addresses, and that of their twins in
//! pods, whose endpoints are pod addresses. An endpoint that is not ready is named all the same: a node whose NIC is dead
//! is not ready, and that is the incident. One that is terminating is not.
//!
//! [`answers`] reads what the API says, [`slices`] makes endpoints of it, and [`course`] decides what to ask it when.

pub mod answers;
pub mod course;
pub mod pace;
pub mod slices;

use std::net::IpAddr;
use std::sync::Arc;

use crate::fact::Unread;
use crate::report::Vantage;

/// The API's word, and whether it is still heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Every endpoint, as it was when the API was heard last; `None` until a whole list came.
    pub endpoints: Option<Arc<[Endpoint]>>,
    /// How often it was heard: a list, a change, or a sign of life.
    pub heard: u64,
    /// Why it is not heard now.
    pub failing: Option<Unread>,
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The node that it runs on.
    pub node: String,
    /// Whether it is the node's agent or its twin in a pod.
    pub vantage: Vantage,
    /// Its addresses: the node's of an agent on a node, the pod's of a twin.
    pub addresses: Vec<IpAddr>,
    /// The node's zone, where one is known.
    pub zone: Option<String>,
    /// Whether it says that it is ready.
    pub ready: bool,
}

/// An agent that can be asked over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Agent {
    /// The peer that it runs on, by its name here.
    pub peer: String,
    /// Whether it is the node's agent or its twin in a pod.
    pub vantage: Vantage,
    /// Where it listens, the likeliest first.
    pub addresses: Vec<IpAddr>,
    /// The peer's zone, where one is known.
    pub zone: Option<String>,
}
