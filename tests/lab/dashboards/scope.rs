//! What queries have in common: whom they ask, by what they tell nodes apart, and the worst path as one number.
//!
//! # Which label is the node?
//! The manifests' monitors give every target a label `node`; a plain scrape has `instance` alone. A selector cannot say
//! "one or the other", so every selector has both: `node=~"$node", instance=~"$instance"`. The value of All of `node` is
//! `.*`, which also matches where the label is missing, so a plain scrape is read by `instance` and nothing is lost. Rows
//! are told apart by all of [`WHO`], and links hand all of it on: an empty `node` is handed on as empty, which again
//! matches where the label is missing. `cluster`, for a Prometheus of several clusters, is done likewise.
//!
//! # Whose are `up` and `process_*`?
//! Everybody's. All of `job` is `.+`, so such a metric is taken only from the jobs, or targets, that `mtuscope_build_info`
//! is known of: [`OUR_JOBS`], [`OUR_TARGETS`].

/// Written for what is chosen.
pub const SCOPE: &str = r#"cluster=~"$cluster", job=~"$job", node=~"$node", instance=~"$instance""#;

/// Written for the labels that tell agents apart.
pub const WHO: &str = "cluster, job, node, instance";

/// Written for the choice of a path.
pub const PATH: &str = r#"peer=~"$peer", plane=~"$plane", family=~"$family""#;

/// Written for all agents that are chosen by job, whatever node is: counting who is missing needs all.
pub const JOBS: &str = r#"cluster=~"$cluster", job=~"$job""#;

/// The worst path of an agent by plane. The words for its numbers are [`super::words::states`]. Unknown stands above clear:
/// a plane of which a part is not known is not clear.
pub const STATE: &str = "max by (WHO, plane) (\
     5 * (mtuscope_paths{SCOPE, verdict=\"unreachable\"} > bool 0) \
     or 4 * (mtuscope_paths{SCOPE, verdict=\"black_hole\"} > bool 0) \
     or 3 * (mtuscope_paths{SCOPE, verdict=\"limited\"} > bool 0) \
     or 2 * (mtuscope_paths{SCOPE, verdict=\"unknown\"} > bool 0) \
     or 1 * (mtuscope_paths{SCOPE, verdict=\"clear\"} > bool 0))";

/// [`STATE`] of one plane.
pub fn state_of(plane: &str) -> String {
    STATE.replace("SCOPE", &format!("SCOPE, plane=\"{plane}\""))
}

/// Not more than a few agents: a dashboard of one node is bounded, whatever was chosen.
pub const FEW: &str = "and on (WHO) topk(5, max by (WHO) (process_start_time_seconds{SCOPE} OUR_TARGETS))";

/// The worst finding of an agent as a number, 0 where it has none, a half where it has not ended a round and nothing is
/// known, absent where it is not heard. The end of a round is one series; the counts of findings, which say as much, are a
/// hundred, too many to be drawn over time of all agents.
pub const SEVERITY: &str = "max by (WHO) (\
     3 * max by (WHO) (mtuscope_finding{SCOPE, severity=\"critical\"}) \
     or 2 * max by (WHO) (mtuscope_finding{SCOPE, severity=\"warning\"}) \
     or 1 * max by (WHO) (mtuscope_finding{SCOPE, severity=\"info\"}) \
     or 0 * max by (WHO) (mtuscope_last_round_timestamp_seconds{SCOPE}) \
     or 0.5 * max by (WHO) (mtuscope_build_info{SCOPE}))";

/// Only of the jobs that have agents, or had some in the time that is shown.
pub const OUR_JOBS: &str =
    "and on (cluster, job) max by (cluster, job) (max_over_time(mtuscope_build_info{JOBS}[$__range]))";

/// Only of targets that are agents.
pub const OUR_TARGETS: &str = "and on (WHO) mtuscope_build_info{SCOPE}";

/// The agents that a table shows, worst first. When all are equal, those that started last: a tie has to end the same way
/// in each column of a table, or rows would be torn.
pub const WORST: &str = "topk($rows, 1e11 * SEVERITY + 1e10 * max by (WHO) (STATE) \
     + max by (WHO) (process_start_time_seconds{SCOPE} OUR_TARGETS))";

/// A query with what these names stand for.
pub fn expand(query: &str) -> String {
    // Those that stand in others come after them.
    let names = [
        ("FEW", FEW),
        ("OUR_JOBS", OUR_JOBS),
        ("WORST", WORST),
        ("OUR_TARGETS", OUR_TARGETS),
        ("SEVERITY", SEVERITY),
        ("STATE", STATE),
        ("SCOPE", SCOPE),
        ("JOBS", JOBS),
        ("WHO", WHO),
        ("PATH", PATH),
    ];
    names.into_iter().fold(query.to_owned(), |text, (name, stands_for)| replace(&text, name, stands_for))
}

/// Replaces a name where it stands by itself, not within a longer one.
fn replace(text: &str, name: &str, by: &str) -> String {
    let letter = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let (mut done, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let before_it = before.bytes().last().or_else(|| done.bytes().last());
        let whole = !letter(before_it) && !letter(after.bytes().next());
        done += before;
        done += if whole { by } else { name };
        rest = after;
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_as_wholes() {
        assert_eq!(replace("WHO, WHOLE, a_WHO (WHO)", "WHO", "x"), "x, WHOLE, a_WHO (x)");
    }

    #[test]
    fn nothing_is_left_of_the_names() {
        for query in ["WORST", "up{job=~\"$job\"} OUR_JOBS", "x OUR_TARGETS", "mtuscope_path_up{SCOPE, PATH}"] {
            let text = expand(query);
            for name in ["WORST", "STATE", "SEVERITY", "SCOPE", "WHO", "OUR_"] {
                assert!(!text.contains(name), "{name} in {text}");
            }
        }
    }
}
