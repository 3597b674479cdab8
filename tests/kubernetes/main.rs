//! Peers from the Kubernetes API, through the real client, from a server that answers as real ones do.
//!
//! What is asked is seen by the server, what is announced by whoever asked. Where time matters – silence, an hour of
//! outage – server and client share a runtime whose clock runs on whenever both have nothing to do.
#![allow(clippy::unwrap_used, reason = "what fails in a helper here fails its test")]

mod access;
mod faults;
mod lists;
mod time;
mod watches;

use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use agent::config::Kubernetes;
use agent::io::kubernetes::{self, Pod};
use lab::api::{Api, Endpoint, NODES, Slice};
use lab::wait::{self, Look};
use probes::peers::announced::Announced;
use tempfile::TempDir;
use tokio::sync::watch;

/// A client that asks, on a thread of its own as in the agent.
struct Asking {
    orders: watch::Sender<Option<Kubernetes>>,
    told: watch::Receiver<Announced>,
    scratch: TempDir,
}

impl Asking {
    /// Asks by a kubeconfig.
    fn of(api: &Api) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let kubeconfig = api.kubeconfig(scratch.path(), None).unwrap();
        Self::start(by(kubeconfig), Pod::default(), scratch)
    }

    /// Asks as a pod does, whose account is in a directory of its own.
    fn in_cluster(api: &Api, token: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        api.account(scratch.path(), token).unwrap();
        let pod = pod(api, scratch.path().to_owned());
        Self::start(Kubernetes::default(), pod, scratch)
    }

    fn start(wanted: Kubernetes, pod: Pod, scratch: TempDir) -> Self {
        let (orders, ordered) = watch::channel(Some(wanted));
        let (tell, told) = watch::channel(Announced::default());
        thread::spawn(move || runtime().block_on(kubernetes::watch(ordered, pod, tell)));
        Self { orders, told, scratch }
    }

    /// Waits until what is announced is so.
    fn until(&self, what: &str, mut holds: impl FnMut(&Announced) -> bool) -> Announced {
        wait::until(what, || {
            let announced = self.told.borrow().clone();
            Ok(if holds(&announced) { Look::There(announced) } else { Look::NotYet(format!("{announced:?}")) })
        })
        .unwrap()
    }

    /// Waits until these nodes are announced, and nothing is wrong.
    fn until_nodes(&self, nodes: &[&str]) -> Announced {
        self.until(&format!("the nodes {nodes:?}"), |announced| {
            announced.failing.is_none() && names(announced).is_some_and(|names| names == nodes)
        })
    }

    /// Waits until it fails with these words.
    fn until_failing(&self, words: &[&str]) -> Announced {
        self.until(&format!("a failure that says {words:?}"), |announced| {
            let failing = announced.failing.as_ref().map(ToString::to_string).unwrap_or_default();
            words.iter().all(|word| failing.contains(word))
        })
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn by(kubeconfig: PathBuf) -> Kubernetes {
    Kubernetes { kubeconfig: Some(kubeconfig), ..Kubernetes::default() }
}

fn pod(api: &Api, account: PathBuf) -> Pod {
    let (host, port) = (api.address().ip().to_string(), api.address().port().to_string());
    Pod { account, host: Some(host), port: Some(port), namespace: None }
}

fn names(announced: &Announced) -> Option<Vec<&str>> {
    let endpoints = announced.endpoints.as_ref()?;
    Some(endpoints.iter().map(|endpoint| endpoint.node.as_str()).collect())
}

fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn api() -> Api {
    Api::start(loopback()).unwrap()
}

/// A server with one node, and who asks it.
fn with_one() -> (Api, Asking) {
    let api = api();
    api.put(one());
    let asking = Asking::of(&api);
    asking.until_nodes(&["master-2"]);
    (api, asking)
}

fn one() -> Slice {
    Slice::new("nodes-a", NODES).with(Endpoint::new("master-2", "10.0.0.12"))
}

fn two() -> Slice {
    one().with(Endpoint::new("master-3", "10.0.0.13"))
}

/// Waits for the server to have seen something.
fn until_asked(api: &Api, what: &str, mut holds: impl FnMut(&[lab::api::Request]) -> bool) {
    wait::until(what, || {
        let requests = api.requests();
        Ok(if holds(&requests) { Look::There(()) } else { Look::NotYet(format!("{requests:?}")) })
    })
    .unwrap();
}

/// A minute, in time that passes for nobody else.
const MINUTE: Duration = Duration::from_secs(60);
