//! A changed configuration, taken up while the agent runs.
//!
//! All of it or nothing: a file with a mistake, a file that is gone, or an address that cannot be listened on leaves
//! everything as it was, says every problem with its line, and sets `config_last_reload_successful` to 0 until the file
//! is good again. A new `listen` is bound before the old is let go, so there is no moment without HTTP. An address that
//! could not be had is tried again at every look: whoever holds it may go.
//!
//! A file that says the same in other words changes nothing and counts as a success. Each reading has a number in the
//! logs, so that none is taken for the repetition of another.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::cannot_listen;
use crate::config::watch::{LOOK, SETTLE, Seen, Watched};
use crate::config::{Kubernetes, Settings};
use crate::driver::Orders;
use crate::outcome::Failure;
use crate::publish::http;
use crate::publish::metrics::{Reload as Outcome, Standing};

/// Sockets for HTTP, each in place of the one before.
pub(super) type Listeners = mpsc::UnboundedReceiver<TcpListener>;

/// Where the configuration is from.
#[derive(Debug)]
pub(super) enum Source {
    /// A file that is watched.
    File(Watched),
    /// It cannot be read again, and why.
    Fixed(&'static str),
}

impl Source {
    /// `named`: whether the command line names a configuration at all.
    pub(super) fn new(watched: Option<Watched>, named: bool) -> Self {
        match watched {
            Some(watched) => Self::File(watched),
            None if named => Self::Fixed("the configuration came through a pipe, which gives it but once; use a file"),
            None => Self::Fixed("there is no configuration to read again; start with --config FILE"),
        }
    }
}

/// Reads the configuration again.
pub(super) struct Reload {
    source: Source,
    terms: Terms,
    /// How often it was read again.
    number: u64,
    next_look: Instant,
    /// Why the settings in the file could not be taken up although there is nothing wrong with them.
    held_up: Option<Failure>,
}

impl Reload {
    pub(super) fn new(source: Source, terms: Terms) -> Self {
        Self { source, terms, number: 0, next_look: Instant::now() + LOOK, held_up: None }
    }

    /// When to look next. Can be dropped at any time.
    pub(super) async fn due(&self) {
        match self.source {
            Source::File(_) => sleep_until(self.next_look).await,
            Source::Fixed(_) => std::future::pending().await,
        }
    }

    /// Looks whether the file has changed.
    pub(super) fn look(&mut self) {
        let Source::File(watched) = &mut self.source else { return };
        let seen = watched.look();
        self.next_look = Instant::now() + if seen == Ok(Seen::Unsettled) { SETTLE } else { LOOK };
        match seen {
            Ok(Seen::Changed) => self.read(),
            Ok(Seen::Same) if self.held_up.is_some() => self.try_again(),
            Ok(Seen::Same | Seen::Unsettled) => {}
            Err(why) => tracing::warn!(why, "the configuration in use stays; check the limit on open files and memory"),
        }
    }

    /// Takes the file as it is now: whoever asks says that it is finished.
    pub(super) fn insist(&mut self) {
        match &mut self.source {
            Source::File(watched) => match watched.insist() {
                Ok(()) => self.read(),
                Err(why) => tracing::warn!(why, "SIGHUP changes nothing; check the limit on open files and memory"),
            },
            Source::Fixed(why) => {
                self.number += 1;
                tracing::warn!(reload = self.number, "SIGHUP changes nothing: {why}");
            }
        }
    }

    fn read(&mut self) {
        let Source::File(watched) = &self.source else { return };
        self.number += 1;
        self.held_up = None;
        let (reload, file) = (self.number, watched.path().display().to_string());
        match watched.settings() {
            Ok(settings) => self.take_up(settings, &file),
            Err(error) => {
                self.terms.refused();
                for problem in error.lines() {
                    tracing::error!(reload, problem, "the configuration is wrong");
                }
                tracing::error!(
                    reload,
                    file,
                    "the configuration in use stays; mend the file, it is looked at all the time"
                );
            }
        }
    }

    fn take_up(&mut self, settings: Settings, file: &str) {
        let reload = self.number;
        match self.terms.take_up(settings) {
            Ok(changed) if changed.is_empty() => {
                tracing::info!(reload, file, "configuration read again: nothing changed")
            }
            Ok(changed) => {
                let changed = changed.join(" ");
                tracing::info!(reload, file, changed, "configuration read again: these settings changed and hold now");
            }
            Err(failure) => {
                self.terms.refused();
                let Failure(problem) = &failure;
                tracing::error!(reload, file, problem, "the configuration in use stays until that can be had");
                self.held_up = Some(failure);
            }
        }
    }

    /// Says something only if something else happens than the last time.
    fn try_again(&mut self) {
        let Source::File(watched) = &self.source else { return };
        let (Ok(settings), file) = (watched.settings(), watched.path().display().to_string()) else { return };
        if self.terms.can_listen(settings.listen) {
            self.held_up = None;
            self.number += 1;
            self.take_up(settings, &file);
        }
    }
}

/// The settings in use, and whoever is told when they change.
pub(super) struct Terms {
    settings: Settings,
    /// The command line's word on where to listen, which outweighs the file's.
    listen: Option<SocketAddr>,
    listener: TcpListener,
    listeners: mpsc::UnboundedSender<TcpListener>,
    orders: watch::Sender<Arc<Orders>>,
    kubernetes: watch::Sender<Option<Kubernetes>>,
    standing: watch::Sender<Standing>,
}

/// What is told of settings.
pub(super) struct Told {
    /// To HTTP: where to listen.
    pub(super) listeners: Listeners,
    /// To the rounds: everything else but limits.
    pub(super) orders: watch::Receiver<Arc<Orders>>,
    /// To who asks the Kubernetes API: which one.
    pub(super) kubernetes: watch::Receiver<Option<Kubernetes>>,
    /// To the metrics: limits, and how reading the configuration went.
    pub(super) standing: watch::Receiver<Standing>,
}

impl Terms {
    /// Settings that hold from the start, and the socket bound to their address.
    pub(super) fn new(
        settings: Settings,
        listen: Option<SocketAddr>,
        listener: TcpListener,
    ) -> Result<(Self, Told), Failure> {
        let (orders, given_orders) = watch::channel(Arc::new(orders(&settings)));
        let (kubernetes, given_kubernetes) = watch::channel(settings.kubernetes.clone());
        let reload = Outcome { successful: true, succeeded: Some(Timestamp::now()) };
        let (standing, given_standing) = watch::channel(Standing { limits: settings.metrics, reload });
        let (listeners, given_listeners) = mpsc::unbounded_channel();
        let given = listener.try_clone().map_err(|error| cannot_listen(settings.listen, &error))?;
        _ = listeners.send(given);
        let told = Told {
            listeners: given_listeners,
            orders: given_orders,
            kubernetes: given_kubernetes,
            standing: given_standing,
        };
        Ok((Self { settings, listen, listener, listeners, orders, kubernetes, standing }, told))
    }

    /// Makes these settings hold and says which keys differ from those before.
    fn take_up(&mut self, mut new: Settings) -> Result<Vec<&'static str>, Failure> {
        new.listen = self.listen.unwrap_or(new.listen);
        let changed = self.settings.changes(&new);
        if new.listen != self.settings.listen {
            self.move_to(new.listen)?;
        }
        let wanted = Arc::new(orders(&new));
        self.orders.send_if_modified(|orders| {
            let differs = *orders != wanted;
            *orders = wanted;
            differs
        });
        self.kubernetes.send_if_modified(|kubernetes| {
            let differs = *kubernetes != new.kubernetes;
            kubernetes.clone_from(&new.kubernetes);
            differs
        });
        let reload = Outcome { successful: true, succeeded: Some(Timestamp::now()) };
        self.standing.send_replace(Standing { limits: new.metrics, reload });
        self.settings = new;
        Ok(changed)
    }

    fn move_to(&mut self, listen: SocketAddr) -> Result<(), Failure> {
        let failure = |error| cannot_listen(listen, &error);
        let bound = http::bind_beside(listen, &self.listener).map_err(failure)?;
        // A receiver that is gone is a thread that has ended, which ends the agent.
        _ = self.listeners.send(bound.try_clone().map_err(failure)?);
        self.listener = bound;
        Ok(())
    }

    /// Whether that address can be had.
    fn can_listen(&self, listen: SocketAddr) -> bool {
        http::bind_beside(self.listen.unwrap_or(listen), &self.listener).is_ok()
    }

    fn refused(&self) {
        self.standing.send_modify(|standing| standing.reload.successful = false);
    }
}

fn orders(settings: &Settings) -> Orders {
    Orders { config: settings.for_probes(), host_root: settings.host_root.clone() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A reload over a file, without the threads that it tells.
    struct Agent {
        reload: Reload,
        told: Told,
        path: PathBuf,
        _directory: tempfile::TempDir,
    }

    fn agent(text: &str) -> Agent {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, format!("listen: 127.0.0.1:0\n{text}")).unwrap();
        let (settings, watched) = Watched::open(&path).unwrap();
        let listener = http::bind(settings.listen).unwrap();
        let (terms, mut told) = Terms::new(settings, None, listener).unwrap();
        told.listeners.try_recv().unwrap();
        Agent { reload: Reload::new(Source::new(watched, true), terms), told, path, _directory: directory }
    }

    impl Agent {
        fn holds(&mut self, text: &str) -> bool {
            fs::write(&self.path, text).unwrap();
            self.reload.insist();
            self.told.standing.borrow().reload.successful
        }

        fn node(&self) -> String {
            self.told.orders.borrow().config.node.clone()
        }
    }

    #[tokio::test]
    async fn good_settings_reach_those_they_concern() {
        let mut agent = agent("node: one\n");
        assert!(agent.holds("listen: 127.0.0.1:0\nnode: two\nmetrics: { findings: 7 }\n"));
        assert!(agent.told.orders.has_changed().unwrap());
        assert_eq!(agent.node(), "two");
        assert_eq!(agent.told.standing.borrow().limits.findings, 7);
        assert!(agent.told.listeners.try_recv().is_err(), "the address is the same");
    }

    #[cfg(feature = "kubernetes")]
    #[tokio::test]
    async fn the_kubernetes_api_is_turned_on_changed_and_turned_off_while_running() {
        let mut agent = agent("node: one\n");
        assert_eq!(*agent.told.kubernetes.borrow_and_update(), None);
        assert!(agent.holds("listen: 127.0.0.1:0\nnode: one\npeers: { kubernetes: true }\n"));
        assert_eq!(*agent.told.kubernetes.borrow_and_update(), Some(Kubernetes::default()));
        assert!(agent.told.orders.borrow().config.peers.kubernetes);
        assert!(agent.holds("listen: 127.0.0.1:0\nnode: two\npeers: { kubernetes: {} }\n"));
        assert!(!agent.told.kubernetes.has_changed().unwrap(), "it says the same, and the watch goes on");
        assert!(agent.holds("listen: 127.0.0.1:0\npeers: { kubernetes: { namespace: net } }\n"));
        assert_eq!(agent.told.kubernetes.borrow_and_update().clone().unwrap().namespace.as_deref(), Some("net"));
        assert!(!agent.holds("listen: 127.0.0.1:0\npeers: { kubernetes: maybe }\n"));
        assert!(!agent.told.kubernetes.has_changed().unwrap());
        assert!(agent.holds("listen: 127.0.0.1:0\n"));
        assert_eq!(*agent.told.kubernetes.borrow_and_update(), None);
    }

    #[tokio::test]
    async fn what_says_the_same_is_a_success_and_disturbs_nobody() {
        let mut agent = agent("node: one\n");
        let started = agent.told.standing.borrow().reload.succeeded;
        assert!(agent.holds("# the same\nnode: one\nlisten: 127.0.0.1:0\n"));
        assert!(!agent.told.orders.has_changed().unwrap());
        assert!(agent.told.standing.borrow().reload.succeeded >= started);
    }

    #[tokio::test]
    async fn a_broken_file_changes_nothing_until_it_is_mended() {
        let mut agent = agent("node: one\n");
        let started = agent.told.standing.borrow().reload.succeeded;
        assert!(!agent.holds("node: two\nprobing: { interval: never }\n"));
        assert_eq!(agent.node(), "one");
        assert_eq!(agent.told.standing.borrow().reload.succeeded, started);
        fs::remove_file(&agent.path).unwrap();
        agent.reload.insist();
        assert!(!agent.told.standing.borrow().reload.successful, "nor does one that is gone");
        assert!(agent.holds("listen: 127.0.0.1:0\nnode: two\n"));
        assert_eq!(agent.node(), "two");
    }

    #[tokio::test]
    async fn a_change_is_found_without_a_signal() {
        let mut agent = agent("node: one\n");
        fs::write(&agent.path, "listen: 127.0.0.1:0\nnode: two\n").unwrap();
        agent.reload.look();
        assert_eq!(agent.node(), "one", "it may not be finished");
        agent.reload.look();
        assert_eq!(agent.node(), "two");
    }

    #[tokio::test]
    async fn a_new_address_is_had_or_all_is_refused_until_it_is_free() {
        let mut agent = agent("node: one\n");
        let taken = http::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let wanted = taken.local_addr().unwrap();
        assert!(!agent.holds(&format!("listen: {wanted}\nnode: two\n")));
        assert_eq!(agent.node(), "one");
        agent.reload.look();
        assert!(!agent.told.standing.borrow().reload.successful);
        assert!(agent.told.listeners.try_recv().is_err());
        drop(taken);
        agent.reload.look();
        assert!(agent.told.standing.borrow().reload.successful);
        assert_eq!(agent.node(), "two");
        assert_eq!(agent.told.listeners.try_recv().unwrap().local_addr().unwrap(), wanted);
    }

    #[tokio::test]
    async fn the_command_line_outweighs_the_file() {
        let mut agent = agent("node: one\n");
        agent.reload.terms.listen = Some("127.0.0.1:0".parse().unwrap());
        assert!(agent.holds("listen: 192.0.2.1:1\nnode: two\n"), "an address that nobody here has");
        assert!(agent.told.listeners.try_recv().is_err());
    }

    #[tokio::test]
    async fn without_a_file_a_signal_changes_nothing() {
        let Agent { reload, told, .. } = agent("node: one\n");
        let mut reload = Reload::new(Source::new(None, false), reload.terms);
        reload.insist();
        reload.look();
        assert!(told.standing.borrow().reload.successful && !told.orders.has_changed().unwrap());
    }
}
