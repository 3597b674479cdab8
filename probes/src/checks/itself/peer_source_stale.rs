//! The Kubernetes API has not been heard for long: what it would say by now of the other nodes is not known.
//!
//! The nodes that it announced last stay peers, and every rule goes on with them. A node that came meanwhile is not
//! watched unless the kernel's tables name it, and one that was deleted is missed: it may be called unreachable. So this
//! is a **warning** and the only one: no path is worse for it, and it silences nothing, since a peer that does not answer
//! may be the very reason why the API does not either.
//!
//! It is raised once nothing was heard for [`STALE`], or nothing since the agent started; [`crate::peers::hearing`] argues
//! the time and what counts as heard. Until an API was heard for the first time that is not concluded, with the reason, so
//! that whoever installs the agent need not wait for the finding. A watch that is asked anew, a control plane that is
//! upgraded and a token that is renewed are over long before.
//!
//! Where the API is not asked there is nothing to hear.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look};
use crate::fact::{Reason, Source, Unread};
use crate::peers::KUBERNETES;
use crate::peers::hearing::{Hearing, STALE};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct PeerSourceStale;

/// How the source stands.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Evidence {
    /// The source.
    pub source: &'static str,
    /// How long nothing was heard, in seconds: since the last word, else since the agent started to listen.
    pub silent_seconds: u64,
    /// When something was heard last; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heard: Option<Timestamp>,
    /// Why nothing is heard, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Peers that are still known from it.
    pub peers: usize,
}

impl Check for PeerSourceStale {
    const ENTRY: Entry = Entry {
        code: "peer-source-stale",
        area: Area::Itself,
        severities: &[Severity::Warning],
        when: &["always: no path is worse for it"],
        title: "the Kubernetes API is not heard",
        meaning: "The agent takes its peers from the Kubernetes API, and has heard nothing of it for ten minutes. Those it \
                  knew are still watched; nodes that came since may not be, and nodes that were deleted are missed.",
        quiet: "a watch that is asked anew, a control plane that restarts, a node that is not ready; `peers.kubernetes` \
                switched off",
        look: &[
            Look {
                run: "kubectl -n mtuscope get endpointslices",
                see: "every node's address, for the agents' Service and for that of their twins",
            },
            Look {
                run: "kubectl auth can-i watch endpointslices.discovery.k8s.io -n mtuscope --as \
                      system:serviceaccount:mtuscope:mtuscope",
                see: "`no`: the Role or its RoleBinding is missing",
            },
            Look {
                run: "kubectl -n mtuscope logs -l app.kubernetes.io/name=mtuscope --prefix --tail 20",
                see: "what the API answered, or that nothing did",
            },
        ],
        metrics: &["mtuscope_peer_source_last_success_timestamp_seconds{source=\"kubernetes\"}"],
        class: Class::NoThread { why: "it is about this agent, and nobody has told of it yet" },
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopePeerSourceStale", minutes: 5 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        let Some(hearing) = &node.hearing else { return Ok(judgement) };
        let subject = Subject::Source(KUBERNETES);
        if hearing.silent >= STALE {
            judgement.raise(subject, Severity::Warning, evidence(hearing));
        } else if hearing.last.is_none() {
            let not_yet = Unread::new(Source::Kubernetes, Reason::NotYet);
            judgement.unread.push((subject, hearing.why.clone().unwrap_or(not_yet)));
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { silent_seconds, last_heard, why, peers, .. } = evidence;
        let minutes = silent_seconds / 60;
        let since = if last_heard.is_some() { "" } else { ", and not once since the agent started" };
        let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let kept = match peers {
            0 => "no peer is known from it".to_owned(),
            1 => "the one peer that it named last is still watched".to_owned(),
            peers => format!("the {peers} peers that it named last are still watched"),
        };
        format!("The Kubernetes API has not been heard for {minutes} minutes{since}{why}; {kept}.")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        vec![Fix::ApiHeard { why: evidence.why.clone() }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            source: KUBERNETES,
            silent_seconds: 720,
            last_heard: Timestamp::from_second(1_795_305_600).ok(),
            why: Some("EndpointSlices of namespace mtuscope: connection refused".into()),
            peers: 4,
        };
        (Subject::Source(KUBERNETES), Severity::Warning, evidence)
    }
}

fn evidence(hearing: &Hearing) -> Evidence {
    Evidence {
        source: KUBERNETES,
        silent_seconds: hearing.silent.as_secs(),
        last_heard: hearing.last,
        why: hearing.why.as_ref().map(|unread| unread.reason.to_string()),
        peers: hearing.nodes,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::snapshot::example::Example;

    fn refused() -> Unread {
        Unread::new(Source::Kubernetes, Reason::Failed { what: "connection refused".into() })
    }

    fn judge(silent: Duration, last: Option<i64>, why: Option<Unread>) -> Judgement<Evidence> {
        let last = last.and_then(|second| Timestamp::from_second(second).ok());
        let mut node = Example::reference();
        node.hearing = Some(Hearing { silent, last, why, nodes: 2 });
        PeerSourceStale::judge(&node.snapshot()).unwrap()
    }

    fn told(judgement: &Judgement<Evidence>) -> String {
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        PeerSourceStale::summary(&raised.subject, &raised.evidence)
    }

    #[test]
    fn ten_minutes_of_silence_are_a_warning_and_a_second_less_is_none() {
        let judgement = judge(STALE, Some(1000), Some(refused()));
        assert_eq!(judgement.raised[0].severity, Severity::Warning);
        assert_eq!(
            told(&judgement),
            "The Kubernetes API has not been heard for 10 minutes: connection refused; the 2 peers that it named last are \
             still watched."
        );
        let less = judge(STALE - Duration::from_secs(1), Some(1000), Some(refused()));
        assert!(less.raised.is_empty() && less.unread.is_empty(), "it fails now and was heard: {less:?}");
    }

    #[test]
    fn an_api_that_was_never_heard_is_not_concluded_and_then_a_warning() {
        let early = judge(Duration::from_secs(30), None, Some(refused()));
        assert!(early.raised.is_empty());
        assert_eq!(early.unread, [(Subject::Source(KUBERNETES), refused())], "the reason is there at once");
        let first = judge(Duration::ZERO, None, None);
        assert_eq!(first.unread[0].1.reason, Reason::NotYet);
        let late = told(&judge(STALE, None, None));
        assert!(late.contains("10 minutes, and not once since the agent started; the 2 peers"), "{late}");
    }

    #[test]
    fn where_the_api_is_not_asked_nothing_is_stale() {
        let judgement = PeerSourceStale::judge(&Example::reference().snapshot()).unwrap();
        assert!(judgement.raised.is_empty() && judgement.unread.is_empty());
    }

    #[test]
    fn no_path_is_blamed_on_it_and_none_silences_it() {
        let node = Example::reference().snapshot();
        let source = Subject::Source(KUBERNETES);
        for key in node.paths.keys() {
            assert!(!node.carries(&source, &Subject::path(key)) && !node.carries(&Subject::path(key), &source));
        }
        assert!(PeerSourceStale::ENTRY.silences.is_empty());
    }
}
