//! Pieces of PromQL that rules share.
//!
//! Vectors are joined with set operators, or with one side aggregated down to the labels of the join: never many-to-many.

use super::FEW;

/// What tells one installation from another, where the scrape sets it. External labels are not seen by rules.
pub(super) const PLACE: &str = "cluster, namespace";

/// A node of it.
pub(super) const NODE: &str = "cluster, namespace, node";

/// What is scraped.
pub(super) const TARGET: &str = "cluster, namespace, job, instance";

/// Targets that are agents, whether they answer or not. Where the job is named otherwise, the pod's labels tell.
pub(super) const UP: &str = "up{job=~\"(.+/)?mtuscope(-pod)?\"} or up{app_kubernetes_io_name=\"mtuscope\"}";

/// `inner` with a label `node` on each series: the target's, or else its instance.
pub(super) fn named(inner: &str) -> String {
    format!(
        "label_replace(label_join(\n  {inner},\n  \"node\", \";\", \"node\", \"instance\"), \
         \"node\", \"$1$2\", \"node\", \"([^;]+);.*|;(.+)\")"
    )
}

/// `inner` by node and `labels`, put together by `operator`.
pub(super) fn by_node(operator: &str, labels: &str, inner: &str) -> String {
    format!("{operator} by ({}) ({})", and(NODE, labels), named(inner))
}

/// Labels and more of them.
pub(super) fn and(labels: &str, more: &str) -> String {
    if more.is_empty() { labels.to_owned() } else { format!("{labels}, {more}") }
}

/// Each of the nodes with this series, or their number where there are more than a few.
pub(super) fn each_or_many(series: &str, labels: &str) -> String {
    let by = and(PLACE, labels);
    let many = format!("count by ({by}) ({series}) > {FEW}");
    format!("{series}\n  unless on ({by}) {many}\nor {many}")
}

/// A regular expression that matches exactly these names; none of them has a special character.
pub(super) fn any_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_a_list() {
        assert_eq!(and("a", ""), "a");
        assert_eq!(and("a", "b"), "a, b");
        assert_eq!(any_of(["a", "b"]), "a|b");
    }

    #[test]
    fn what_many_have_is_counted_where_each_is_left_out() {
        let text = each_or_many("x", "source");
        assert_eq!(text.matches("count by (cluster, namespace, source) (x) > 3").count(), 2, "{text}");
    }
}
