//! What a monitoring system makes of it: a real Prometheus with the rules that ship.
//!
//! Their expressions and texts are those of the rule file; the time that something must hold is not, for nobody who tries
//! this wants to wait for minutes. It stands in a namespace of its own with a door to every agent, each at the port that
//! leads there from this machine as well: the `instance` of an alert can be opened in a browser.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use lab::monitoring::{ActiveAlert, JOB, Prometheus, Setup, Target};
use lab::namespace::Namespace;
use lab::{Result, http};
use probes::alerts::{self, Pace};

use crate::forward::{self, Door};

/// What is started.
pub(crate) const PROGRAM: &str = "prometheus";

/// Where it serves, in its namespace.
pub(crate) const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// Where it stands.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) namespace: Namespace,
    /// Where people find it.
    pub(crate) address: SocketAddr,
    /// From there to each node's agent.
    pub(crate) doors: Vec<Door>,
}

impl Place {
    /// With doors at the ports of these, to be found by people at `address`.
    ///
    /// # Errors
    /// If the kernel gives no namespace or no port.
    pub(crate) fn beside(doors: &[Door], address: SocketAddr) -> Result<Self> {
        let namespace = Namespace::new("monitoring")?;
        let open = |door: &Door| forward::open(1, door.address.port());
        let opened = namespace.inside(|| doors.iter().map(open).collect::<Result<Vec<_>>>())??;
        Ok(Self { namespace, address, doors: opened.into_iter().flatten().collect() })
    }
}

/// An alert, by its labels: one that changes a label is another.
type Key = BTreeMap<String, String>;

/// A Prometheus that runs, and which alerts were told.
#[derive(Debug)]
pub(crate) struct Alerts<'c> {
    prometheus: Prometheus<'c>,
    firing: BTreeMap<Key, Told>,
}

/// An alert as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    name: String,
    severity: String,
    summary: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, severity, summary } = self;
        write!(f, "{severity} {name}: {summary}")
    }
}

/// What became of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Fires(Told),
    Resolved(Told),
}

impl<'c> Alerts<'c> {
    /// Starts it, and waits until it has looked at every agent.
    ///
    /// # Errors
    /// If it does not start, or refuses a rule.
    pub(crate) fn start(place: &'c Place, nodes: &[&str]) -> Result<Self> {
        let target = |(name, door): (&&str, &Door)| Target {
            job: JOB.into(),
            address: door.address,
            node: Some((*name).to_owned()),
        };
        let targets = nodes.iter().zip(&place.doors).map(target).collect();
        let rules = vec![alerts::prometheus(&alerts::rules(Pace::Test))];
        let setup = Setup { targets, rules, alertmanager: None };
        Ok(Self { prometheus: Prometheus::start(&place.namespace, &setup)?, firing: BTreeMap::new() })
    }

    /// The path of the page that lists alerts. Debian's package has it at a place of its own, or has none.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) fn page(place: &Place) -> Result<&'static str> {
        for path in ["/alerts", "/classic/alerts"] {
            if http::get(&place.namespace, SERVER, path, "text/html")?.status == 200 {
                return Ok(path);
            }
        }
        Ok("/api/v1/alerts")
    }

    /// What is new since it was looked at last.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub(crate) fn look(&mut self) -> Result<Vec<Turn>> {
        Ok(take(&mut self.firing, self.prometheus.alerts()?))
    }

    /// Whether nothing fires.
    pub(crate) fn none_fires(&self) -> bool {
        self.firing.is_empty()
    }
}

fn take(firing: &mut BTreeMap<Key, Told>, active: Vec<ActiveAlert>) -> Vec<Turn> {
    let fires = active.into_iter().filter(|alert| alert.state == "firing");
    // What it said first is what it is known by: as a fault heals its words change.
    let known = |alert: &ActiveAlert| firing.get(&alert.labels).cloned().unwrap_or_else(|| told(alert));
    let now: BTreeMap<Key, Told> = fires.map(|alert| (alert.labels.clone(), known(&alert))).collect();
    let before = std::mem::replace(firing, now.clone());
    let gone = before.iter().filter(|(key, _)| !now.contains_key(*key)).map(|(_, told)| Turn::Resolved(told.clone()));
    let come = now.iter().filter(|(key, _)| !before.contains_key(*key)).map(|(_, told)| Turn::Fires(told.clone()));
    gone.chain(come).collect()
}

fn told(alert: &ActiveAlert) -> Told {
    let of = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned().unwrap_or_default();
    Told {
        name: of(&alert.labels, "alertname"),
        severity: of(&alert.labels, "severity"),
        summary: of(&alert.annotations, "summary"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(state: &str, node: &str, summary: &str) -> ActiveAlert {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        let labels = map(&[("alertname", "MtuscopeX"), ("severity", "critical"), ("node", node)]);
        ActiveAlert { labels, annotations: map(&[("summary", summary)]), state: state.into() }
    }

    fn lines(turns: &[Turn]) -> Vec<String> {
        let line = |turn: &Turn| match turn {
            Turn::Fires(told) => format!("+ {told}"),
            Turn::Resolved(told) => format!("- {told}"),
        };
        turns.iter().map(line).collect()
    }

    #[test]
    fn each_alert_is_told_when_it_fires_and_when_it_does_not() {
        let mut firing = BTreeMap::new();
        assert!(take(&mut firing, vec![alert("pending", "a", "one")]).is_empty(), "it may yet be nothing");
        let fires = take(&mut firing, vec![alert("firing", "a", "one"), alert("pending", "b", "two")]);
        assert_eq!(lines(&fires), ["+ critical MtuscopeX: one"]);
        assert!(take(&mut firing, vec![alert("firing", "a", "one, and more")]).is_empty(), "its words may change");
        let turns = take(&mut firing, vec![alert("firing", "b", "two")]);
        assert_eq!(lines(&turns), ["- critical MtuscopeX: one", "+ critical MtuscopeX: two"]);
    }
}
