//! How the server is found and trusted, and who asks.

use std::fs;

use lab::api::Slice;

use super::*;

fn secure() -> Api {
    let api = Api::start_tls(loopback(), &["127.0.0.1"]).unwrap();
    api.put(one());
    api
}

#[test]
fn a_pod_finds_the_server_by_its_environment_and_account() {
    let api = secure();
    let asking = Asking::in_cluster(&api, "t0");
    asking.until_nodes(&["master-2"]);
    let first = api.requests().remove(0);
    assert_eq!(first.token.as_deref(), Some("t0"));
    assert_eq!(first.path, "/apis/discovery.k8s.io/v1/namespaces/mtuscope/endpointslices");
}

#[test]
fn a_kubeconfig_leads_there_too() {
    let api = secure();
    let asking = Asking::of(&api);
    asking.until_nodes(&["master-2"]);
    assert_eq!(api.requests()[0].token.as_deref(), Some("lab"));
}

#[test]
fn a_token_that_was_rotated_is_read_again() {
    let api = secure();
    api.accept_tokens(&["t0"]);
    let asking = Asking::in_cluster(&api, "t0");
    asking.until_nodes(&["master-2"]);
    api.accept_tokens(&["t1"]);
    api.cut();
    api.put(two());
    let failing = asking.until_failing(&["401", "check that the token"]);
    assert_eq!(names(&failing), Some(vec!["master-2"]));
    api.account(asking.scratch.path(), "t1").unwrap();
    asking.until_nodes(&["master-2", "master-3"]);
    assert_eq!(api.requests().pop().unwrap().token.as_deref(), Some("t1"));
}

#[test]
fn who_shows_a_certificate_of_another_authority_is_not_believed() {
    let (api, other) = (secure(), secure());
    let asking = Asking::in_cluster(&other, "t0");
    let scratch = tempfile::tempdir().unwrap();
    other.account(scratch.path(), "t0").unwrap();
    let deceived = Asking::start(Kubernetes::default(), pod(&api, scratch.path().to_owned()), scratch);
    deceived.until_failing(&["certificate", "check that the certificate authority"]);
    assert_eq!(api.requests().len(), 0);
    api.account(deceived.scratch.path(), "t0").unwrap();
    deceived.until_nodes(&["master-2"]);
    drop(asking);
}

#[test]
fn a_missing_account_is_a_failing_source_until_it_is_there() {
    let api = secure();
    let scratch = tempfile::tempdir().unwrap();
    let asking = Asking::start(Kubernetes::default(), pod(&api, scratch.path().to_owned()), scratch);
    asking.until_failing(&["reading", "/token: No such file", "automountServiceAccountToken"]);
    api.account(asking.scratch.path(), "t0").unwrap();
    asking.until_nodes(&["master-2"]);
}

#[test]
fn outside_of_a_pod_a_kubeconfig_is_asked_for() {
    let asking = Asking::start(Kubernetes::default(), Pod::default(), tempfile::tempdir().unwrap());
    asking.until_failing(&["KUBERNETES_SERVICE_HOST is not set", "peers.kubernetes.kubeconfig"]);
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("kubeconfig");
    let asking = Asking::start(by(path.clone()), Pod::default(), scratch);
    asking.until_failing(&["reading the kubeconfig", path.to_str().unwrap()]);
    fs::write(&path, "kind: Config\nclusters: 7\n").unwrap();
    asking.until_failing(&["reading the kubeconfig", "clusters"]);
}

#[test]
fn the_namespace_is_the_operators_else_the_pods() {
    for (namespace, variable, asked) in [
        (None, None, "mtuscope"),
        (None, Some("variable"), "variable"),
        (Some("operator"), Some("variable"), "operator"),
    ] {
        // A server each: who asked before may ask once more.
        let api = secure();
        let scratch = tempfile::tempdir().unwrap();
        api.account(scratch.path(), "t0").unwrap();
        let wanted = Kubernetes { namespace: namespace.map(Into::into), ..Kubernetes::default() };
        let pod = Pod { namespace: variable.map(Into::into), ..pod(&api, scratch.path().to_owned()) };
        let _asking = Asking::start(wanted, pod, scratch);
        until_asked(&api, "a request", |requests| !requests.is_empty());
        assert!(api.requests()[0].path.contains(&format!("/namespaces/{asked}/")));
    }
}

#[test]
fn slices_of_ipv6_are_reached_by_ipv6() {
    let api = Api::start_tls(TcpListener::bind("[::1]:0").unwrap(), &["::1"]).unwrap();
    api.put(Slice::new("six", NODES).of(lab::api::Kind::Ipv6).with(Endpoint::new("six", "fd00::6")));
    Asking::in_cluster(&api, "t0").until_nodes(&["six"]);
}
