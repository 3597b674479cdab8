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
mod watch;
mod webhook;

pub use alertmanager::Alertmanager;
pub use prometheus::{ActiveAlert, JOB, POD_JOB, Prometheus, Rule, Sample, Setup, Target};
pub use watch::Watch;
pub use webhook::{Alert, Notification, Status, Webhook};

use probes::alerts::{self, Pace, Rule as Shipped, Span};

/// An alert waits that long at least. A cause and what follows from it are not confirmed in the same round, nor by all
/// nodes in the same one: less, and the first of them would be told of alone. The shortest `for` that ships is four
/// rounds long. A round of tests takes a second, and three where the machine is crowded: four of those.
const AGREEMENT: Span = Span(12);

/// The shipped rules at the pace of tests, as a rule file.
pub fn rules() -> String {
    let mut groups = alerts::rules(Pace::Test);
    for rule in groups.iter_mut().flat_map(|group| &mut group.rules) {
        if let Shipped::Alert(alert) = rule {
            alert.hold = alert.hold.max(AGREEMENT);
            alert.keep = alert.keep.max(alert.hold);
        }
    }
    alerts::prometheus(&groups)
}
