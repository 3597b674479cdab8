//! A changed configuration, taken up while the agent runs.
//!
//! All of it or nothing: a file with a mistake, a file that is gone, or an address that cannot be listened on leaves
//! everything as it was, says every problem with its line, and sets `config_last_reload_successful` to 0 until the file
//! is good again. A new `listen` is bound before the old is let go, so there is no moment without HTTP. An address that
//! could not be had is tried again at every look: whoever holds it may go.
//!
//! The files that the configuration names, certificates and tokens, are looked at in the same way and at the same times:
//! a new one is taken up, and a broken one leaves the old in use.
//!
//! A file that says the same in other words changes nothing and counts as a success. Each reading has a number in the
//! logs, so that none is taken for the repetition of another.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::cannot_listen;
use super::secured::Secured;
use crate::config::files::Files;
use crate::config::watch::{LOOK, SETTLE, Seen, Watched};
use crate::config::{Kubernetes, Settings};
use crate::driver::Orders;
use crate::outcome::Failure;
use crate::publish::http::{self, Surface};
use crate::publish::metrics::{Reload as Outcome, Standing};

/// Sockets for HTTP, each in place of the one before.
pub(super) type Listeners = mpsc::UnboundedReceiver<TcpListener>;

/// The same, or none, for health alone.
pub(super) type HealthListeners = mpsc::UnboundedReceiver<Option<TcpListener>>;

/// Where the configuration is from.
#[derive(Debug)]
pub(super) enum Source {
    /// A file that is watched.
    File(Watched),
    /// It cannot be read again, and why.
    Fixed(&'static str),
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::File(watched) => watched.path().display().to_string(),
            Self::Fixed(_) => "files that it names".into(),
        }
    }

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
    /// The files that the settings in `source` name.
    files: Files,
    /// How often it was read again.
    number: u64,
    next_look: Instant,
    /// Why the settings in the file could not be taken up although there is nothing wrong with them.
    held_up: Option<Failure>,
}

impl Reload {
    pub(super) fn new(source: Source, terms: Terms, files: Files) -> Self {
        Self { source, terms, files, number: 0, next_look: Instant::now() + LOOK, held_up: None }
    }

    /// When to look next. Can be dropped at any time.
    pub(super) async fn due(&self) {
        match self.source {
            Source::Fixed(_) if self.files.is_empty() => std::future::pending().await,
            _ => sleep_until(self.next_look).await,
        }
    }

    /// Looks whether a file has changed.
    pub(super) fn look(&mut self) {
        let seen = match &mut self.source {
            Source::File(watched) => watched.look(),
            Source::Fixed(_) => Ok(Seen::Same),
        };
        let seen = seen.and_then(|seen| Ok([seen, self.files.look()?]));
        let unsettled = seen.as_ref().is_ok_and(|seen| seen.contains(&Seen::Unsettled));
        self.next_look = Instant::now() + if unsettled { SETTLE } else { LOOK };
        match seen {
            Ok(seen) if seen.contains(&Seen::Changed) => self.read(),
            Ok([Seen::Same, Seen::Same]) if self.held_up.is_some() => self.try_again(),
            Ok(_) => {}
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
            Source::Fixed(_) if !self.files.is_empty() => self.read(),
            Source::Fixed(why) => {
                self.number += 1;
                tracing::warn!(reload = self.number, "SIGHUP changes nothing: {why}");
            }
        }
    }

    fn read(&mut self) {
        self.number += 1;
        self.held_up = None;
        let settings: Result<_, Vec<String>> = match &self.source {
            Source::File(watched) => watched.settings().map_err(|error| error.lines().collect()),
            Source::Fixed(_) => Ok(self.terms.settings.clone()),
        };
        match settings.and_then(|settings| Ok((self.secure(&settings)?, settings))) {
            Ok((secured, settings)) => self.take_up(settings, secured),
            Err(problems) => self.refuse(&problems),
        }
    }

    /// What the files that are named hold, whose contents are watched from here on; `None` if it is what is in use.
    fn secure(&mut self, settings: &Settings) -> Result<Option<Secured>, Vec<String>> {
        let (files, secured) = Secured::read(settings);
        let secured = secured.map(|secured| (!self.terms.is_secured_by(settings, &files)).then_some(secured));
        self.files = files;
        secured
    }

    fn refuse(&self, problems: &[String]) {
        let (reload, file) = (self.number, self.source.name());
        self.terms.refused();
        for problem in problems {
            tracing::error!(reload, problem, "the configuration is wrong");
        }
        tracing::error!(reload, file, "the configuration in use stays; mend the file, it is looked at all the time");
    }

    fn take_up(&mut self, settings: Settings, secured: Option<Secured>) {
        let (reload, file) = (self.number, self.source.name());
        let files = self.files.clone();
        match self.terms.take_up(settings, secured.map(|secured| (secured, files))) {
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
        let Ok(settings) = watched.settings() else { return };
        if self.terms.can_listen(&settings) {
            self.read();
        }
    }
}

/// The settings in use, and whoever is told when they change.
pub(super) struct Terms {
    settings: Settings,
    secured: Secured,
    /// What `secured` was read from.
    files: Files,
    /// The command line's word on where to listen, which outweighs the file's.
    listen: Option<SocketAddr>,
    listener: TcpListener,
    listeners: mpsc::UnboundedSender<TcpListener>,
    health: Option<TcpListener>,
    health_listeners: mpsc::UnboundedSender<Option<TcpListener>>,
    orders: watch::Sender<Arc<Orders>>,
    kubernetes: watch::Sender<Option<Kubernetes>>,
    standing: watch::Sender<Standing>,
    surface: watch::Sender<Surface>,
}

/// What is told of settings.
pub(super) struct Told {
    /// To HTTP: where to listen.
    pub(super) listeners: Listeners,
    /// And where to serve health alone.
    pub(super) health: HealthListeners,
    /// And what to ask of clients.
    pub(super) surface: watch::Receiver<Surface>,
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
        (secured, files): (Secured, Files),
        listen: Option<SocketAddr>,
        listener: TcpListener,
    ) -> Result<(Self, Told), Failure> {
        secured.warn();
        let (orders, given_orders) = watch::channel(Arc::new(orders(&settings, &secured)));
        let (kubernetes, given_kubernetes) = watch::channel(settings.kubernetes.clone());
        let reload = Outcome { successful: true, succeeded: Some(Timestamp::now()) };
        let (standing, given_standing) = watch::channel(Standing { limits: settings.metrics, reload });
        let (surface, given_surface) = watch::channel(secured.surface.clone());
        let (listeners, given_listeners) = mpsc::unbounded_channel();
        let (health_listeners, given_health) = mpsc::unbounded_channel();
        let given = listener.try_clone().map_err(|error| cannot_listen(settings.listen, &error))?;
        _ = listeners.send(given);
        let told = Told {
            listeners: given_listeners,
            health: given_health,
            surface: given_surface,
            orders: given_orders,
            kubernetes: given_kubernetes,
            standing: given_standing,
        };
        let health = None;
        let mut terms = Self {
            settings,
            secured,
            files,
            listen,
            listener,
            listeners,
            health,
            health_listeners,
            orders,
            kubernetes,
            standing,
            surface,
        };
        let health = terms.bind_health(terms.settings.web.health_listen)?;
        terms.serve_health(health)?;
        Ok((terms, told))
    }

    /// Whether what is in use was read by such settings from such files.
    fn is_secured_by(&self, settings: &Settings, files: &Files) -> bool {
        self.settings.web == settings.web && self.settings.agents == settings.agents && self.files.hold_the_same(files)
    }

    /// Makes these settings hold and says which keys differ from those before.
    fn take_up(&mut self, mut new: Settings, secured: Option<(Secured, Files)>) -> Result<Vec<&'static str>, Failure> {
        new.listen = self.listen.unwrap_or(new.listen);
        let mut changed = self.settings.changes(&new);
        let (old, wanted) = (self.settings.web.health_listen, new.web.health_listen);
        let health = if wanted == old { None } else { Some(self.bind_health(wanted)?) };
        if new.listen != self.settings.listen {
            self.move_to(new.listen)?;
        }
        if let Some(health) = health {
            self.serve_health(health)?;
        }
        if let Some((secured, files)) = secured {
            if !self.files.hold_the_same(&files) {
                changed.push("(files that it names)");
            }
            secured.warn();
            self.surface.send_replace(secured.surface.clone());
            (self.secured, self.files) = (secured, files);
        }
        let wanted = Arc::new(orders(&new, &self.secured));
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

    fn bind_health(&self, listen: Option<SocketAddr>) -> Result<Option<TcpListener>, Failure> {
        let Some(listen) = listen else { return Ok(None) };
        let bound = match &self.health {
            Some(old) => http::bind_beside(listen, old),
            None => http::bind(listen),
        };
        bound.map(Some).map_err(|error| cannot_listen(listen, &error))
    }

    fn serve_health(&mut self, health: Option<TcpListener>) -> Result<(), Failure> {
        if health.is_none() && self.health.is_none() {
            return Ok(());
        }
        let given = health.as_ref().map(TcpListener::try_clone).transpose();
        let given = given.map_err(|error| Failure(format!("cannot listen for health: {error}")))?;
        _ = self.health_listeners.send(given);
        self.health = health;
        Ok(())
    }

    /// Whether the addresses can be had.
    fn can_listen(&self, new: &Settings) -> bool {
        let health = new.web.health_listen;
        http::bind_beside(self.listen.unwrap_or(new.listen), &self.listener).is_ok()
            && (health == self.settings.web.health_listen || self.bind_health(health).is_ok())
    }

    fn refused(&self) {
        self.standing.send_modify(|standing| standing.reload.successful = false);
    }
}

fn orders(settings: &Settings, secured: &Secured) -> Orders {
    let (host_root, terms) = (settings.host_root.clone(), secured.terms.clone());
    Orders { config: settings.for_probes(), host_root, terms }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::io::pki::Authority;

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
        let (files, secured) = Secured::read(&settings);
        let secured = (secured.unwrap(), files.clone());
        let (terms, mut told) = Terms::new(settings, secured, None, listener).unwrap();
        told.listeners.try_recv().unwrap();
        Agent { reload: Reload::new(Source::new(watched, true), terms, files), told, path, _directory: directory }
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
        let mut reload = Reload::new(Source::new(None, false), reload.terms, Files::default());
        reload.insist();
        reload.look();
        assert!(told.standing.borrow().reload.successful && !told.orders.has_changed().unwrap());
    }

    /// Certificates as the kubelet mounts them: a link that is turned.
    struct Mounted {
        directory: tempfile::TempDir,
        authority: Authority,
        versions: u32,
    }

    impl Mounted {
        fn new() -> Self {
            let mut mounted =
                Self { directory: tempfile::tempdir().unwrap(), authority: Authority::new(), versions: 0 };
            let web = "tls_server_config: { cert_file: ..data/tls.crt, key_file: ..data/tls.key }\n";
            fs::write(mounted.path("web.yaml"), web).unwrap();
            mounted.turn(|_| ());
            mounted
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// A new certificate, spoilt as is wanted before anybody sees it.
        fn turn(&mut self, spoil: impl FnOnce(&std::path::Path)) {
            self.versions += 1;
            let version = self.path(&format!("..{}", self.versions));
            fs::create_dir(&version).unwrap();
            self.authority.issue("mtuscope.test").write(&version, "tls");
            fs::write(version.join("ca.crt"), self.authority.pem()).unwrap();
            spoil(&version);
            std::os::unix::fs::symlink(&version, self.path("..new")).unwrap();
            fs::rename(self.path("..new"), self.path("..data")).unwrap();
        }

        fn configuration(&self) -> String {
            let [web, ca] = ["web.yaml", "..data/ca.crt"].map(|name| self.path(name).display().to_string());
            format!("web: {{ config_file: {web} }}\nagents: {{ tls: {{ ca_file: {ca} }} }}\n")
        }
    }

    impl Agent {
        /// Two looks, and whether the last reading was good.
        fn looks(&mut self) -> bool {
            self.reload.look();
            self.reload.look();
            self.told.standing.borrow().reload.successful
        }
    }

    #[tokio::test]
    async fn certificates_that_are_swapped_are_taken_up_by_both_sides() {
        let mut mounted = Mounted::new();
        let mut agent = agent(&mounted.configuration());
        let terms = |agent: &Agent| agent.told.orders.borrow().terms.clone();
        let before = terms(&agent);
        assert!(before.is_tls() && agent.looks());
        assert!(!agent.told.surface.has_changed().unwrap() && terms(&agent) == before, "nothing was swapped");
        mounted.turn(|_| ());
        assert!(agent.looks() && agent.told.surface.has_changed().unwrap());
        assert_ne!(terms(&agent), before);
    }

    #[tokio::test]
    async fn a_broken_certificate_leaves_the_old_in_use_until_it_is_mended() {
        let mut mounted = Mounted::new();
        let mut agent = agent(&mounted.configuration());
        let before = agent.told.orders.borrow().terms.clone();
        let spoilers: [fn(&std::path::Path); 3] = [
            |version| fs::write(version.join("tls.key"), "").unwrap(),
            |version| fs::remove_file(version.join("tls.crt")).unwrap(),
            |version| fs::write(version.join("ca.crt"), "half a certifi").unwrap(),
        ];
        for spoil in spoilers {
            mounted.turn(spoil);
            assert!(!agent.looks());
            assert!(!agent.looks(), "and it is not forgotten");
            assert!(!agent.told.surface.has_changed().unwrap() && agent.told.orders.borrow().terms == before);
        }
        fs::write(&agent.path, format!("listen: 127.0.0.1:0\nnode: two\n{}", mounted.configuration())).unwrap();
        assert!(!agent.looks(), "nor does another change come through without it");
        assert_ne!(agent.node(), "two");
        mounted.turn(|_| ());
        assert!(agent.looks() && agent.told.surface.has_changed().unwrap());
        assert_eq!(agent.node(), "two");
    }

    #[tokio::test]
    async fn an_address_for_health_comes_and_goes() {
        let mut agent = agent("node: one\n");
        assert!(agent.told.health.try_recv().is_err());
        assert!(agent.holds("listen: 127.0.0.1:0\nweb: { health_listen: 127.0.0.1:0 }\n"));
        let open = agent.told.health.try_recv().unwrap().unwrap().local_addr().unwrap();
        assert!(agent.holds(&format!("listen: 127.0.0.1:0\nweb: {{ health_listen: {} }}\n", "127.0.0.1:0")));
        assert!(agent.told.health.try_recv().is_err(), "the same is not opened twice");
        assert!(agent.holds("listen: 127.0.0.1:0\n"));
        assert!(agent.told.health.try_recv().unwrap().is_none());
        assert!(!agent.holds(&format!("listen: {open}\nweb: {{ health_listen: \"192.0.2.1:9748\" }}\n")));
        assert!(agent.told.health.try_recv().is_err() && agent.told.listeners.try_recv().is_err(), "all or nothing");
    }
}
