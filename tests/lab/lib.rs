//! The lab: clusters of network namespaces, faults as values, and the means to play them.
//!
//! It needs no privilege. [`harness::main`] takes the test executable into a user namespace of its own before a single
//! thread runs; nodes, pods, routers and switches are network namespaces inside it, joined by veths. Whatever the lab
//! makes has one guard that takes it away again: namespaces vanish with their last descriptor, agents are killed by
//! their process id, faults heal. A test that panics leaves nothing behind, and labs never see one another.
//!
//! - [`recipe`] says what a cluster looks like, [`cluster`] builds it in the running kernel.
//! - [`fault`] breaks it by the kernel's own means and reverses that in the running network.
//! - [`container`] starts it with no more rights than a container has.
//! - [`service`] runs the agent in a node; [`scenario`] reads what an operator can read, [`play`] plays it.
//! - [`api`] is an API server that knows EndpointSlices, for agents and tests to ask.
//! - [`control`] puts that server where every node and pod reaches it, with agents that ask it.
//! - [`browser`] looks at pages as people do.
//! - [`monitoring`] watches agents by Prometheus and Alertmanager, and tells a webhook.
//! - [`remedy`] follows what a finding advises.
//! - [`dashboards`] are Grafana's dashboards as values, with what moves each of their queries.

pub mod api;
pub mod browser;
pub mod cluster;
pub mod container;
pub mod control;
pub mod dashboards;
pub mod echo;
pub mod error;
pub mod family;
pub mod fault;
pub mod harness;
pub mod http;
pub mod interrupt;
pub mod intruder;
pub mod matrix;
pub mod monitoring;
pub mod namespace;
pub mod notes;
pub mod play;
pub mod recipe;
pub mod remedy;
pub mod report;
pub mod scenario;
pub mod schema;
pub mod service;
pub mod site;
pub mod size;
pub mod traffic;
pub mod vxlan;
pub mod wait;

pub use error::{Error, Result};
