//! Peers from the Kubernetes API: the EndpointSlices of the agents' Services in one namespace, listed and watched.
//!
//! What is asked when is decided by [`Course`]; here it is asked, through the `kube` crate's client, on a thread of its
//! own: a list of ten thousand endpoints takes tens of milliseconds to read, and no probe waits for it.
//!
//! Of `kube` the client is used – addresses, TLS, tokens, kubeconfig – and its requests are sent as they are, without
//! `kube-runtime`'s watcher and without `Api::list` and `Api::watch`, for four reasons. The watcher keeps bookmarks to
//! itself, so a watch that is alive and one that is dead look the same for minutes; here each counts as a sign of life.
//! It holds on to one way of listing; here a server that refuses to stream is asked for chunks. `Api` turns an answer
//! into an error that has lost `Retry-After`, which priority and fairness sends beside bare text. And both read whole
//! `EndpointSlice`s, of which a tenth is needed; here a line is read into what is kept of it.
//!
//! A connection dies without a word where a firewall forgets it or a machine loses its power. Three things notice:
//! keep-alive of TCP, within [`server::KEEP_ALIVE`] and three tries, where the other end's kernel is gone; no byte for
//! [`exchange::SILENCE`] – bookmarks come every minute – where a proxy in between goes on acknowledging; and
//! [`exchange::PATIENCE`] for the beginning of an answer and every piece of a list.
//!
//! A token of a service account is bound to its pod and rotates within the hour. `kube` reads the file again once a
//! minute; after 401, and whenever there was no answer, the client is made anew from what the files say then, tokens,
//! certificates and kubeconfig alike.
//!
//! Nothing here ends what works: without a service account, without a right, without an answer the last endpoints stay,
//! and [`Announced::failing`] says what to check.

mod exchange;
mod server;
mod words;

use std::convert::Infallible;
use std::time::Duration;

use probes::fact::{Reason, Source, Unread};
use probes::peers::announced::Announced;
use probes::peers::announced::course::{Course, Failed, Kind, Step};
use probes::units::Mono;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::Kubernetes;
pub use server::Pod;
use server::Server;

/// While much is changing, it is told once in this time: whoever is told looks at all peers again.
const TELL: Duration = Duration::from_secs(1);

/// Asks the API as ordered, until nobody gives orders any more, and tells what it announces. No order, or its end, is
/// told as nothing announced.
pub async fn watch(
    mut orders: watch::Receiver<Option<Kubernetes>>,
    pod: Pod,
    tell: watch::Sender<Announced>,
) -> String {
    loop {
        let wanted = orders.borrow_and_update().clone();
        let asking = async {
            match &wanted {
                Some(wanted) => match Asking::new(wanted, &pod, &tell).run().await {},
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return "nobody gives orders any more".into() },
            () = asking => {}
        }
        let heard = tell.borrow().heard;
        tell.send_replace(Announced { heard, ..Announced::default() });
    }
}

/// Asks the API once: its endpoints, or why there are none within `limit`.
pub async fn once(wanted: &Kubernetes, pod: &Pod, limit: Duration) -> Announced {
    let (tell, mut told) = watch::channel(Announced::default());
    let answered = told.wait_for(|announced| announced.endpoints.is_some() || announced.failing.is_some());
    let asked = async {
        tokio::select! {
            answered = answered => answered.map(|announced| announced.clone()).unwrap_or_default(),
            never = Asking::new(wanted, pod, &tell).run() => match never {},
        }
    };
    timeout(limit, asked).await.unwrap_or_else(|_| {
        let what = format!("the API server gave no list of endpoints within {} s", limit.as_secs());
        let failing = Some(Unread::new(Source::Kubernetes, Reason::Failed { what }));
        Announced { failing, ..Announced::default() }
    })
}

/// One order, carried out for as long as it holds.
struct Asking<'a> {
    wanted: &'a Kubernetes,
    pod: &'a Pod,
    course: Course,
    /// The server that is spoken to, until it does not answer.
    server: Option<Server>,
    /// The address of the last one.
    address: Option<String>,
    epoch: Instant,
    teller: Teller<'a>,
}

impl<'a> Asking<'a> {
    fn new(wanted: &'a Kubernetes, pod: &'a Pod, tell: &'a watch::Sender<Announced>) -> Self {
        // Without chance, agents are told apart by when they start, which will do.
        let chance = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        let course = Course::new(wanted.services.clone(), chance, tell.borrow().heard);
        let teller = Teller { tell, told: None, due: None };
        Self { wanted, pod, course, server: None, address: None, epoch: Instant::now(), teller }
    }

    async fn run(mut self) -> Infallible {
        loop {
            let query = match self.course.next(self.now()) {
                Step::Ask(query) => query,
                Step::Wait(until) => {
                    sleep_until(self.epoch + until.since_start()).await;
                    continue;
                }
            };
            let asked = match self.server().await {
                Ok(server) => exchange::ask(&server, &query, &mut self).await,
                Err(unread) => Err(Failed { kind: Kind::Broken, retry_after: None, unread }),
            };
            match asked {
                Ok(exchange::Ended::List) => {}
                Ok(exchange::Ended::Watch) => self.course.on_end(self.now()),
                Err(failed) => self.fail(failed),
            }
            self.teller.tell(&mut self.course);
        }
    }

    fn fail(&mut self, failed: Failed) {
        if !matches!(failed.kind, Kind::Gone | Kind::Status(402..)) {
            self.server = None;
        }
        tracing::debug!(unread = %failed.unread, "a request to the API server failed");
        self.course.on_failed(failed, self.now());
    }

    async fn server(&mut self) -> Result<Server, Unread> {
        if let Some(server) = &self.server {
            return Ok(server.clone());
        }
        let server = Server::find(self.wanted, self.pod).await?;
        if self.address.as_ref() != Some(&server.address) {
            tracing::debug!(address = %server.address, namespace = %server.namespace, "asking the API server for peers");
            self.address = Some(server.address.clone());
            self.course.on_other_server();
        }
        Ok(self.server.insert(server).clone())
    }

    fn now(&self) -> Mono {
        Mono::new(self.epoch.elapsed())
    }
}

/// Tells what is announced, not too often.
struct Teller<'a> {
    tell: &'a watch::Sender<Announced>,
    told: Option<Instant>,
    /// When there is something to tell.
    due: Option<Instant>,
}

impl Teller<'_> {
    /// There is something new to tell: at once if nothing was told lately.
    fn news(&mut self) {
        let earliest = self.told.map_or_else(Instant::now, |told| told + TELL);
        self.due.get_or_insert(earliest);
    }

    /// Waits until there is something to tell. Can be dropped at any time.
    async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn tell(&mut self, course: &mut Course) {
        (self.told, self.due) = (Some(Instant::now()), None);
        let announced = course.announced();
        log(&self.tell.borrow(), &announced);
        self.tell.send_if_modified(|told| {
            let differs = *told != announced;
            *told = announced;
            differs
        });
    }
}

fn log(before: &Announced, now: &Announced) {
    let endpoints = |announced: &Announced| announced.endpoints.as_ref().map(|endpoints| endpoints.len());
    match (&before.failing, &now.failing) {
        (_, None) if endpoints(before) != endpoints(now) => {
            tracing::info!(endpoints = endpoints(now), "the Kubernetes API names agents");
        }
        (Some(_), None) => tracing::info!("the Kubernetes API is heard again"),
        (before, Some(unread)) if before.as_ref() != Some(unread) => {
            tracing::warn!(%unread, "the Kubernetes API is not heard; peers that it named stay");
        }
        _ => {}
    }
}
