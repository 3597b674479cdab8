//! In what nodes differ that are alike in most clusters: the MTU of the links below, tunnels, the version of mtuscope.

use std::collections::BTreeMap;

use super::{DifferingRow, ValueRow};

/// Nodes that are named with one value.
const NAMED: usize = 20;

/// Values of one thing that are listed.
const VALUES: usize = 20;

/// What not all who have it have alike. Each node comes with what is known of it.
pub(super) fn rows<'n>(nodes: impl Iterator<Item = (&'n str, &'n BTreeMap<String, String>)>) -> Vec<DifferingRow> {
    let mut all: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for (node, facts) in nodes {
        for (what, value) in facts {
            all.entry(what).or_default().entry(value).or_default().push(node);
        }
    }
    all.into_iter().filter(|(_, values)| values.len() > 1).map(|(what, values)| row(what, values)).collect()
}

fn row(what: &str, values: BTreeMap<&str, Vec<&str>>) -> DifferingRow {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by_key(|(_, nodes)| usize::MAX - nodes.len());
    let value = |(value, nodes): (&str, Vec<&str>)| ValueRow {
        value: value.to_owned(),
        count: nodes.len(),
        nodes: nodes.into_iter().take(NAMED).map(str::to_owned).collect(),
    };
    DifferingRow { what: what.to_owned(), values: values.into_iter().take(VALUES).map(value).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_most_have_comes_first_and_what_all_have_not_at_all() {
        let facts = |mtu: &str| {
            let fact = |what: &str, value: &str| (what.to_owned(), value.to_owned());
            BTreeMap::from([fact("underlay link MTU", mtu), fact("vxlan MTU", "1450")])
        };
        let nodes = [("a", facts("1400")), ("b", facts("1500")), ("c", facts("1500")), ("d", BTreeMap::new())];
        let found = rows(nodes.iter().map(|(name, facts)| (*name, facts)));
        assert_eq!(found.len(), 1);
        let values: Vec<_> = found[0].values.iter().map(|one| (one.value.as_str(), one.nodes.join(" "))).collect();
        assert_eq!(values, [("1500", "b c".to_owned()), ("1400", "a".to_owned())]);
    }
}
