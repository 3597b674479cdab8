//! Incidents, from the fault to what whoever is on call reads: the network broken as it was there, agents on every node, a
//! real Prometheus with the shipped rules, and the texts that it renders.
//!
//! Each story stands in `stories.toml` and its alerts in `golden/`, to be read by people: they are what the product says at
//! night. A story fails if an alert is missing, if another one comes with it, if a word of it changes, or if it does not
//! resolve once the network is healed. `MTUSCOPE_REGENERATE=1` writes what is said now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lab::cluster::Cluster;
use lab::fault::{Fault, make_all};
use lab::harness::{self, test};
use lab::monitoring::{self, ActiveAlert, Status, Watch};
use lab::recipe::{FOUR, Overlay, ROUTED, Recipe};
use lab::{Error, Result, service};
use serde::Deserialize;

/// How many stories one cluster lives through: more save its start, fewer run side by side.
const EACH: usize = 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    story: Vec<Story>,
}

/// One incident.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    /// Of its golden file.
    name: String,
    /// The class of incidents that it stands for.
    class: String,
    /// Where the like is told in public, as `owner/repository#number`.
    threads: Vec<String>,
    /// What happened.
    what: String,
    /// Where it is played.
    cluster: Kind,
    /// What is broken, in order.
    fault: Vec<Fault>,
}

/// A cluster that stories are played on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Kind {
    /// Four nodes on two networks, Calico.
    #[serde(rename = "calico")]
    Calico,
    /// The same, where the CNI's file names the MTU.
    #[serde(rename = "size written")]
    SizeWritten,
    /// The same, where the operator says what it should be.
    #[serde(rename = "size expected")]
    SizeExpected,
    /// Two nodes behind routers, Flannel.
    #[serde(rename = "routers")]
    Routers,
}

fn main() -> ExitCode {
    let stories = match parse(include_str!("stories.toml")) {
        Ok(stories) => stories,
        Err(error) => {
            harness::report(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    harness::main(|| {
        shared(stories).into_iter().map(|(name, kind, stories)| test(name, move || play(kind, &stories))).collect()
    })
}

fn parse(text: &str) -> Result<Vec<Story>> {
    let File { story } = toml::from_str(text).map_err(|error| Error::new("parsing stories.toml", error))?;
    match story.iter().find(|story| story.threads.is_empty() || story.what.is_empty() || story.class.is_empty()) {
        Some(story) => {
            Err(Error::new(format!("reading the story {}", story.name), "it says nothing, or has no source"))
        }
        None => Ok(story),
    }
}

/// Stories by the cluster that they share, with a name for each.
fn shared(stories: Vec<Story>) -> Vec<(String, Kind, Vec<Story>)> {
    let mut by_kind: BTreeMap<Kind, Vec<Story>> = BTreeMap::new();
    for story in stories {
        by_kind.entry(story.cluster).or_default().push(story);
    }
    let chunks = by_kind.iter().flat_map(|(kind, all)| all.chunks(EACH).map(|some| (*kind, some.to_vec())));
    let named = |(kind, some): (Kind, Vec<Story>)| {
        let names: Vec<&str> = some.iter().map(|story| story.name.as_str()).collect();
        (names.join(", "), kind, some)
    };
    chunks.map(named).collect()
}

impl Kind {
    fn recipe(self) -> Recipe {
        match self {
            Self::Calico | Self::SizeExpected => FOUR,
            Self::SizeWritten => {
                let overlay = FOUR.overlay.map(|overlay| Overlay { declared: true, ..overlay });
                Recipe { overlay, ..FOUR }
            }
            Self::Routers => ROUTED,
        }
    }

    /// What the operator says besides.
    fn expects(self) -> &'static str {
        match self {
            Self::SizeExpected => "expect: { underlay_mtu: 1500, overlay_mtu: 1450 }\n",
            Self::Calico | Self::SizeWritten | Self::Routers => "",
        }
    }
}

/// Plays all, and says of each what was wrong.
fn play(kind: Kind, stories: &[Story]) -> Result<()> {
    let cluster = Cluster::build(kind.recipe())?;
    let configuration = |node| Ok(service::configuration(&cluster, node) + kind.expects());
    let mut watch = Watch::start(&cluster, monitoring::rules(), configuration)?;
    let failed = stories.iter().filter_map(|story| story.play(&cluster, &mut watch).err());
    let failed: Vec<String> = failed.map(|error| error.to_string()).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::new("playing stories", failed.join("\n"))) }
}

impl Story {
    fn play(&self, cluster: &Cluster, watch: &mut Watch<'_>) -> Result<()> {
        watch.webhook.forget();
        let made = make_all(&self.fault, cluster)?;
        let patience = self.fault.iter().map(|fault| fault.patience(&cluster.recipe)).max().unwrap_or_default();
        let said = self.said(watch, patience).map_err(|error| watch.with_state(error));
        made.heal()?;
        cluster.forget_path_mtus()?;
        let healed = watch.healthy().map_err(|error| watch.with_state(error));
        let said = said.and_then(|said| healed.map(|()| said));
        said.and_then(|said| self.compare(&said, watch)).map_err(|error| error.while_doing(&self.name))
    }

    /// What stands there once all is told that is going to be. Agents may wait for as long as `patience` before they find
    /// anything, and the rules after that.
    fn said(&self, watch: &mut Watch<'_>, patience: Duration) -> Result<Vec<ActiveAlert>> {
        let pause = patience + monitoring::longest_hold();
        watch.webhook.until_after(pause, "somebody to be told", |alerts| !alerts.is_empty())?;
        watch.settle()?;
        let mut active = watch.prometheus.alerts()?;
        active.retain(|alert| is_loud(&alert.labels));
        Ok(active)
    }

    /// Nothing else was told from first to last, and the words are as they were.
    fn compare(&self, said: &[ActiveAlert], watch: &Watch<'_>) -> Result<()> {
        let told: Vec<_> = watch.webhook.alerts()?.into_iter().filter(|alert| is_loud(&alert.labels)).collect();
        for status in [Status::Firing, Status::Resolved] {
            let times = told.iter().filter(|alert| alert.status == status).count();
            if times != said.len() {
                let found = format!("{status:?} {times} times: {told:#?}\nand in the end there was\n{}", text(said));
                return Err(Error::new("counting what was told", found));
            }
        }
        golden(&self.name, &text(said))
    }
}

/// Not for information alone: what is waits for an hour, shortened here, and wakes nobody even then.
fn is_loud(labels: &BTreeMap<String, String>) -> bool {
    labels.get("severity").is_none_or(|severity| severity != "info")
}

/// Alerts as whoever is on call reads them.
fn text(said: &[ActiveAlert]) -> String {
    let mut all: Vec<String> = said.iter().map(one).collect();
    all.sort();
    all.join("\n")
}

fn one(alert: &ActiveAlert) -> String {
    let labels = &alert.labels;
    let mut text = labels.get("alertname").cloned().unwrap_or_default();
    for (name, value) in labels.iter().filter(|(name, _)| *name != "alertname") {
        let _ = write!(text, " {name}={value}");
    }
    for name in ["summary", "description", "runbook_url"] {
        let value = alert.annotations.get(name).map(String::as_str).unwrap_or_default();
        let _ = write!(text, "\n\n{}", value.trim());
    }
    text + "\n"
}

fn golden(name: &str, text: &str) -> Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stories/golden").join(name).with_extension("txt");
    let doing = || format!("reading {}", path.display());
    if std::env::var_os("MTUSCOPE_REGENERATE").is_some() {
        return fs::write(&path, text).map_err(|error| Error::new(doing(), error));
    }
    let wanted = fs::read_to_string(&path).map_err(|error| Error::new(doing(), error))?;
    if wanted == text {
        return Ok(());
    }
    let advice = "MTUSCOPE_REGENERATE=1 writes it anew";
    Err(Error::new(doing(), format!("it says\n{wanted}\nand what is told is\n{text}")).check(advice))
}
