//! An API server for tests: EndpointSlices of one namespace, over real HTTP, as `kube-apiserver` serves them.
//!
//! What a client can stumble over is here, because it is what real servers do: lists in chunks with tokens that expire,
//! watches from a version with bookmarks, streamed lists that end in an annotated bookmark or are refused (422), 410 both
//! as a status and as an event, 429 from priority and fairness as bare text, 401 once a token has been rotated, `endpoints:
//! null`, and connections that end, break or say nothing any more.
//!
//! ```no_run
//! # use lab::api::{Api, Endpoint, Fault, Slice, Verb, NODES};
//! let api = Api::start(std::net::TcpListener::bind("127.0.0.1:0")?)?;
//! api.put(Slice::new("mtuscope-x7k2p", NODES).with(Endpoint::new("master-2", "10.0.0.12")));
//! api.next(Verb::Watch, Fault::status(429, "TooManyRequests").after(3));
//! api.bookmark();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! In a lab's node the listener is bound inside: `host.inside(|| TcpListener::bind("[::]:6443"))`; the server itself
//! runs on a thread outside, and its socket stays where it was made. [`Api::kubeconfig`] is a file for an agent to read,
//! [`Api::account`] the directory that a pod finds mounted.

mod answer;
mod body;
mod serve;
mod slice;
mod store;
mod tls;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use crate::{Error, Result};

pub use slice::{Endpoint, Kind, Slice};
use store::Store;
use tls::Authority;

/// The namespace whose slices it has.
pub const NAMESPACE: &str = "mtuscope";

/// The Service of the agents on nodes.
pub const NODES: &str = "mtuscope";

/// The Service of their twins in pods.
pub const PODS: &str = "mtuscope-pod";

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// A list, or a chunk of one.
    List,
    /// A watch that begins with all there is.
    Stream,
    /// A watch from a version on.
    Watch,
}

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: the fault that is planned next is for a later request.
    None,
    /// A status of the API's own form.
    Status {
        /// The HTTP code.
        code: u16,
        /// The reason, as in `Forbidden`.
        reason: String,
        /// What is said to it.
        message: String,
        /// `Retry-After` in seconds.
        retry_after: Option<u32>,
    },
    /// Bare text, as what stands before an API server answers.
    Text {
        /// The HTTP code.
        code: u16,
        /// The body.
        body: String,
        /// `Retry-After` in seconds.
        retry_after: Option<u32>,
    },
    /// The request is taken and never answered.
    Hang,
    /// 200 and the head of the answer, then nothing.
    Silence,
    /// 200 and a body like this.
    Body(String),
    /// 200, the beginning of a body, and the connection breaks.
    Broken(String),
}

impl Fault {
    /// A status with a message that names its reason.
    pub fn status(code: u16, reason: &str) -> Self {
        let message = format!("the server says {reason}");
        Self::Status { code, reason: reason.into(), message, retry_after: None }
    }

    /// What RBAC says to who lacks a verb.
    pub fn forbidden(verb: &str) -> Self {
        let message = format!(
            "endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:{NAMESPACE}:mtuscope\" cannot \
             {verb} resource \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace \"{NAMESPACE}\""
        );
        Self::Status { code: 403, reason: "Forbidden".into(), message, retry_after: None }
    }

    /// What priority and fairness says to who comes too often.
    pub fn too_many(seconds: u32) -> Self {
        let body = "Too many requests, please try again later.\n".into();
        Self::Text { code: 429, body, retry_after: Some(seconds) }
    }

    /// Asks to come back after so many seconds.
    #[must_use]
    pub fn after(mut self, seconds: u32) -> Self {
        if let Self::Status { retry_after, .. } | Self::Text { retry_after, .. } = &mut self {
            *retry_after = Some(seconds);
        }
        self
    }
}

/// How a server tells that a version is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gone {
    /// By an `ERROR` event in a watch of status 200, as the watch cache does.
    #[default]
    Event,
    /// By the status 410 itself.
    Status,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it asked for.
    pub verb: Verb,
    /// Its path.
    pub path: String,
    /// Its query, decoded.
    pub query: BTreeMap<String, String>,
    /// The bearer token.
    pub token: Option<String>,
    /// The status that it was answered with; `None` of one that was left hanging.
    pub status: Option<u16>,
}

/// A server that runs. It ends with this value.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    authority: Option<Authority>,
    shared: Arc<Shared>,
}

/// What the server's thread and the test have in common.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts what connections and watches must look at.
    turn: watch::Sender<Turn>,
    /// What of it connections have been treated by.
    acted: (Mutex<Turn>, Condvar),
}

/// What was asked of the running server, each a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    changes: u64,
    bookmarks: u64,
    ends: u64,
    cuts: u64,
    closed: bool,
    over: bool,
}

#[derive(Debug)]
struct State {
    store: Store,
    streams: bool,
    gone: Gone,
    tokens: BTreeSet<String>,
    next: VecDeque<(Verb, Fault)>,
    always: Option<Fault>,
    requests: Vec<Request>,
    /// Whether it is served in the test's own runtime.
    here: bool,
}

impl Api {
    /// Serves plain HTTP.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(listener: TcpListener) -> Result<Self> {
        Self::launch(listener, None)
    }

    /// Serves HTTPS with a certificate for these addresses and names, signed by an authority of its own.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_tls(listener: TcpListener, names: &[&str]) -> Result<Self> {
        Self::launch(listener, Some(Authority::new(names)?))
    }

    /// Serves plain HTTP in the caller's runtime, for tests in whose time nothing happens outside of it. There
    /// [`Self::cut`] and its like return before they have happened.
    ///
    /// # Errors
    /// If the listener cannot be taken.
    pub fn start_here(listener: TcpListener) -> Result<Self> {
        let api = Self::prepare(&listener, None)?;
        api.state().here = true;
        serve::start_here(listener, Arc::clone(&api.shared));
        Ok(api)
    }

    fn launch(listener: TcpListener, authority: Option<Authority>) -> Result<Self> {
        let api = Self::prepare(&listener, authority)?;
        let failed = |error| Error::new("starting the API server", error);
        let acceptor = api.authority.as_ref().map(Authority::acceptor);
        serve::start(listener, acceptor, Arc::clone(&api.shared)).map_err(failed)?;
        Ok(api)
    }

    fn prepare(listener: &TcpListener, authority: Option<Authority>) -> Result<Self> {
        let failed = |error| Error::new("starting the API server", error);
        let address = listener.local_addr().map_err(failed)?;
        let state = State {
            store: Store::default(),
            streams: true,
            gone: Gone::default(),
            tokens: BTreeSet::new(),
            next: VecDeque::new(),
            always: None,
            requests: Vec::new(),
            here: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            turn: watch::channel(Turn::default()).0,
            acted: Default::default(),
        });
        Ok(Self { address, authority, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a slice, or replaces the one of its name.
    pub fn put(&self, slice: Slice) {
        self.state().store.put(&slice);
        self.change(|turn| turn.changes += 1);
    }

    /// Adds many slices at once.
    pub fn put_all(&self, slices: impl IntoIterator<Item = Slice>) {
        slices.into_iter().for_each(|slice| self.state().store.put(&slice));
        self.change(|turn| turn.changes += 1);
    }

    /// Deletes a slice.
    pub fn delete(&self, name: &str) {
        self.state().store.delete(name);
        self.change(|turn| turn.changes += 1);
    }

    /// Forgets every version before the present one, and with them the tokens of lists begun.
    pub fn expire(&self) {
        self.state().store.expire();
    }

    /// Goes back to a small version, as a server does whose etcd was restored from a backup.
    pub fn restore(&self) {
        self.state().store.restore();
    }

    /// Sends every watch that takes bookmarks one of the present version.
    pub fn bookmark(&self) {
        self.change(|turn| turn.bookmarks += 1);
    }

    /// Ends every watch as a server does whose time is up.
    pub fn end_watches(&self) {
        self.change(|turn| turn.ends += 1);
    }

    /// Breaks every connection. They are broken when it returns.
    pub fn cut(&self) {
        self.change(|turn| turn.cuts += 1);
        self.await_acted();
    }

    /// Breaks every connection and refuses new ones, from when it returns.
    pub fn close(&self) {
        self.change(|turn| turn.closed = true);
        self.await_acted();
    }

    /// Takes connections again after [`Self::close`].
    pub fn open(&self) {
        self.change(|turn| turn.closed = false);
        self.await_acted();
    }

    /// Whether lists are streamed to who asks for it (`WatchList`); they are, unless told otherwise.
    pub fn stream_lists(&self, yes: bool) {
        self.state().streams = yes;
    }

    /// How it tells that a version is gone.
    pub fn tell_gone(&self, gone: Gone) {
        self.state().gone = gone;
    }

    /// Takes only requests with one of these tokens; with none of them, every request.
    pub fn accept_tokens(&self, tokens: &[&str]) {
        self.state().tokens = tokens.iter().map(|&token| token.to_owned()).collect();
    }

    /// The next request of this verb that has no fault yet goes wrong so.
    pub fn next(&self, verb: Verb, fault: Fault) {
        self.state().next.push_back((verb, fault));
    }

    /// Every request goes wrong so, until told otherwise.
    pub fn always(&self, fault: Option<Fault>) {
        self.state().always = fault;
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// How many requests of a verb there were.
    pub fn count(&self, verb: Verb) -> usize {
        self.state().requests.iter().filter(|request| request.verb == verb).count()
    }

    /// The present version.
    pub fn version(&self) -> u64 {
        self.state().store.version()
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Writes a kubeconfig for this server into a directory and gives its path. `server` is where it is reached from
    /// where the file is read, if that is not where it listens.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn kubeconfig(&self, directory: &Path, server: Option<SocketAddr>) -> Result<PathBuf> {
        let url = server
            .map_or_else(|| self.url(), |server| self.url().replace(&self.address.to_string(), &server.to_string()));
        let trust = match &self.authority {
            Some(authority) => {
                tls::write(&directory.join("ca.crt"), authority.certificate())?;
                ", certificate-authority: ca.crt"
            }
            None => "",
        };
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
             clusters: [{{ name: lab, cluster: {{ server: \"{url}\"{trust} }} }}]\n\
             contexts: [{{ name: lab, context: {{ cluster: lab, user: lab, namespace: {NAMESPACE} }} }}]\n\
             users: [{{ name: lab, user: {{ token: lab }} }}]\n"
        );
        let path = directory.join("kubeconfig");
        tls::write(&path, &text)?;
        Ok(path)
    }

    /// Writes what a pod finds at `/var/run/secrets/kubernetes.io/serviceaccount` into a directory.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn account(&self, directory: &Path, token: &str) -> Result<()> {
        tls::write(&directory.join("namespace"), NAMESPACE)?;
        tls::write(&directory.join("token"), token)?;
        match &self.authority {
            Some(authority) => tls::write(&directory.join("ca.crt"), authority.certificate()),
            None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    fn change(&self, change: impl FnOnce(&mut Turn)) {
        self.shared.turn.send_modify(change);
    }

    fn await_acted(&self) {
        if self.state().here {
            return;
        }
        let wanted = *self.shared.turn.borrow();
        let (acted, told) = &self.shared.acted;
        let acted = acted.lock().expect(LOCK);
        drop(told.wait_while(acted, |acted| acted.cuts != wanted.cuts || acted.closed != wanted.closed).expect(LOCK));
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.change(|turn| turn.over = true);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(LOCK)
    }

    /// Connections have been treated so.
    fn acted(&self, turn: Turn) {
        let (acted, told) = &self.acted;
        *acted.lock().expect(LOCK) = turn;
        told.notify_all();
    }
}

/// Why a lock can be had.
const LOCK: &str = "a test that panics holds no lock of the server's";

/// Longest time that a watch goes on if the client names none.
const WATCH: Duration = Duration::from_secs(1800);
