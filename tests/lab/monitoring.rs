//! What watches the agents: a real Prometheus, a real Alertmanager, and somebody who is told.
//!
//! All three stand where the management network leads, as a monitoring system does: what breaks the cluster's network
//! does not blind it. They listen on that namespace's loopback, keep what they write in the lab's own `/run`, and end
//! with their values. Prometheus looks and judges every second, and Alertmanager holds nothing back, so that the time
//! from a fault to its notification is the rules' own.
//!
//! A program is Debian's, found on the search path; where one is missing, the error says which package brings it.

mod alertmanager;
mod program;
mod prometheus;
mod webhook;

pub use alertmanager::Alertmanager;
pub use prometheus::{ActiveAlert, JOB, POD_JOB, Prometheus, Rule, Sample, Setup, Target};
pub use webhook::{Alert, Notification, Status, Webhook};
