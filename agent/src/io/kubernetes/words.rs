//! What went wrong, in words: the operation, its object, the cause, and what to check.

use std::error::Error;

use probes::fact::{Reason, Source, Unread};
use probes::peers::announced::answers::Status;
use probes::peers::announced::course::Query;

use super::server::Server;

/// Longest word of a server that is passed on.
const SAID: usize = 300;

/// An error with all that is behind it, each thing said once, without the client's names for it and links to its manual.
pub(super) fn chain(error: &dyn Error) -> String {
    let text = whole(error);
    let text = text.strip_prefix("ServiceError: ").unwrap_or(&text);
    text.split(": https://").next().unwrap_or(text).to_owned()
}

fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        behind = cause.source();
    }
    text
}

/// There was no answer, or no whole one.
pub(super) fn broken(server: &Server, query: &Query, why: &str) -> Unread {
    let check = if why.contains("certificate") {
        "check that the certificate authority of the service account or kubeconfig is the server's"
    } else {
        "check that the API server (KUBERNETES_SERVICE_HOST) can be reached from here: kube-proxy, firewalls, \
         NetworkPolicies"
    };
    failed(format!("{}: {why}; {check}", doing(server, query)))
}

/// The answer meant nothing.
pub(super) fn malformed(server: &Server, query: &Query, why: &str) -> Unread {
    let what = format!("{}: {why}; check what stands between this node and the API server", doing(server, query));
    Unread::new(Source::Kubernetes, Reason::Malformed { what })
}

/// The server said no.
pub(super) fn refused(server: &Server, query: &Query, status: &Status) -> Unread {
    let (doing, code, said) = (doing(server, query), status.code, said(&status.message));
    let namespace = &server.namespace;
    match code {
        401 => failed(format!("{doing}: 401 {said}; check that the token is this cluster's and has not expired")),
        403 => Unread::new(
            Source::Kubernetes,
            Reason::Denied {
                needs: format!(
                    "a Role in namespace {namespace} with the verb {} on endpointslices of discovery.k8s.io, bound to the \
                     agent's service account ({said})",
                    query.verb()
                ),
            },
        ),
        404 => failed(format!("{doing}: 404 {said}; Kubernetes has discovery.k8s.io/v1 since 1.21")),
        429 => failed(format!("{doing}: 429 {said}; the API server limits requests (priority and fairness)")),
        500.. => failed(format!("{doing}: {code} {said}; check the API server and its store")),
        _ => failed(format!("{doing}: {code} {said}")),
    }
}

fn doing(server: &Server, query: &Query) -> String {
    format!("{} of endpointslices in namespace {} at {}", query.verb(), server.namespace, server.address)
}

fn said(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(SAID).collect()
}

fn failed(what: String) -> Unread {
    Unread::new(Source::Kubernetes, Reason::Failed { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_the_words_of_its_cause() {
        let cause = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/unexpected-eof";
        let error = kube::Error::Service(std::io::Error::other(cause).into());
        assert_eq!(chain(&error), "peer closed connection without sending TLS close_notify");
    }
}
