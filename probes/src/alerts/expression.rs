//! Pieces of PromQL that rules share.
//!
//! Vectors are joined with set operators, or with one side aggregated down to the labels of the join: never many-to-many.

/// What tells one installation from another, where the scrape sets it. External labels are not seen by rules.
pub(super) const PLACE: &str = "cluster, namespace";

/// A node of it.
pub(super) const NODE: &str = "cluster, namespace, node";

/// `inner` with a label `node` on each series: the target's, or else its instance.
pub(super) fn named(inner: &str) -> String {
    format!(
        r#"label_replace(label_join({inner}, "node", ";", "node", "instance"), "node", "$1$2", "node", "([^;]+);.*|;(.+)")"#
    )
}

/// `inner` by node and `labels`; of several series of one node the largest.
pub(super) fn by_node(labels: &str, inner: &str) -> String {
    let labels = if labels.is_empty() { NODE.to_owned() } else { format!("{NODE}, {labels}") };
    format!("max by ({labels}) ({})", named(inner))
}

/// A regular expression that matches exactly these names; none of them has a special character.
pub(super) fn any_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join("|")
}
