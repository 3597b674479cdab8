//! Grafana's dashboards as code: one typed value each, from which `manifests/grafana/*.json` is written.
//!
//! They stand in the library of the lab, since two test targets walk them: `generate` writes the files, and `dashboards`
//! runs every query against a real Prometheus that scrapes the lab's agents. For that each query says which [`Trouble`]
//! moves it; one that does not move when its trouble is made, or that is empty in a healthy cluster without having said
//! so, fails there.
//!
//! # Rules
//! - They work without recording rules: whoever imports a dashboard has not always loaded the rule file.
//! - Three nodes and three thousand: what lists nodes is a table with the worst first and `$rows` at most; what draws
//!   them over time draws sums, or few, of no more points than Prometheus can load of 10,000 nodes. Where all agents are
//!   walked, only the end of the range is asked for.
//! - Any scrape: see [`scope`] for nodes that have a label and nodes that have none.
//! - What is not known is never shown as fine: see [`words`].
//!
//! What Grafana makes of them is not proven here: the queries, the types of the JSON and the linter's rules are.

pub mod grafana;
pub mod options;
pub mod panels;
pub mod scope;
pub mod variables;
pub mod words;

mod cluster;
mod mtu;
mod node;
mod path;

use grafana::Dashboard;

/// Address of the dashboard of all nodes.
pub const CLUSTER: &str = "mtuscope-cluster";
/// Address of the dashboard of one node.
pub const NODE: &str = "mtuscope-node";
/// Address of the dashboard of one path.
pub const PATH: &str = "mtuscope-path";
/// Address of the dashboard of MTUs by layer.
pub const MTU: &str = "mtuscope-mtu";

/// All dashboards.
pub fn all() -> Vec<Dashboard> {
    vec![cluster::dashboard(), node::dashboard(), path::dashboard(), mtu::dashboard()]
}

/// As it is committed.
///
/// # Errors
/// If a number in it is none, which JSON cannot say.
pub fn json(dashboard: &Dashboard) -> serde_json::Result<String> {
    serde_json::to_string_pretty(dashboard).map(|text| text + "\n")
}

/// The few things that a test does to the lab. All happen to node 0, or on the way between it and node 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Packets above 1,400 bytes from and to node 1 vanish. Node 0 has a pod more, of a smaller MTU.
    BlackHole,
    /// The NIC of node 0 is down.
    NicDown,
    /// Node 0 has a smaller MTU from NIC to tunnel, which does not fit any more, no forwarding, pods of two MTUs, files
    /// that cannot be read, a configuration that is refused, and gets packets with wrong checksums.
    Misconfigured,
    /// The agent of node 0 is told to measure so seldom that nothing new comes.
    Slow,
    /// The agent of node 0 has ended.
    Stopped,
    /// It was started again.
    Restarted,
}

/// How a query's answer shows its trouble.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sign {
    /// It is another one. It stood still before.
    Differs,
    /// It has fewer series that are numbers.
    Fewer,
    /// Its largest value is above this, and was not.
    Above(f64),
    /// Its largest value is below this, and was not.
    Below(f64),
}

/// What a query shows while all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Well {
    /// Something.
    Shows,
    /// Nothing: it lists what is wrong.
    Empty,
    /// Something or nothing, as the agents find worth a series.
    Either,
}

/// How a query is proven.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proof {
    /// By this.
    pub trouble: Trouble,
    /// Which shows so.
    pub sign: Sign,
    /// What it shows while all is well.
    pub well: Well,
    /// Whether it needs targets that have a label `node`.
    pub needs_node: bool,
}

impl Proof {
    const fn new(trouble: Trouble, sign: Sign) -> Self {
        Self { trouble, sign, well: Well::Shows, needs_node: false }
    }

    /// Another answer.
    pub const fn differs(trouble: Trouble) -> Self {
        Self::new(trouble, Sign::Differs)
    }

    /// An answer where there was none.
    pub const fn appears(trouble: Trouble) -> Self {
        Self { well: Well::Empty, ..Self::differs(trouble) }
    }

    /// Fewer series.
    pub const fn fewer(trouble: Trouble) -> Self {
        Self::new(trouble, Sign::Fewer)
    }

    /// More than `limit`.
    pub const fn above(trouble: Trouble, limit: f64) -> Self {
        Self::new(trouble, Sign::Above(limit))
    }

    /// Less than `limit`.
    pub const fn below(trouble: Trouble, limit: f64) -> Self {
        Self::new(trouble, Sign::Below(limit))
    }

    /// Whether or not it shows something while all is well.
    #[must_use]
    pub const fn either(self) -> Self {
        Self { well: Well::Either, ..self }
    }

    /// Only where targets have a label `node`.
    #[must_use]
    pub const fn by_node(self) -> Self {
        Self { needs_node: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn addresses_and_titles_are_their_own() {
        let all = all();
        let titles: BTreeSet<_> = all.iter().map(|dashboard| dashboard.title.as_str()).collect();
        let addresses: Vec<_> = all.iter().map(|dashboard| dashboard.uid).collect();
        assert_eq!((titles.len(), addresses), (4, vec![CLUSTER, NODE, PATH, MTU]));
    }

    #[test]
    fn panels_have_places_and_numbers_of_their_own() {
        for dashboard in all() {
            let mut cells = BTreeSet::new();
            let mut numbers = BTreeSet::new();
            for panel in &dashboard.panels {
                assert!(numbers.insert(panel.id), "{}: {} has a number twice", dashboard.uid, panel.title);
                let place = panel.grid_pos;
                for (x, y) in
                    (place.x..place.x + place.w).flat_map(|x| (place.y..place.y + place.h).map(move |y| (x, y)))
                {
                    assert!(x < 24 && cells.insert((x, y)), "{}: {} lies on another", dashboard.uid, panel.title);
                }
            }
        }
    }
}
