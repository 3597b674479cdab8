//! The catalogue: one closed list of what can be wrong, one file a code.
//!
//! A check is a pure rule over a [`Snapshot`]. It says what is raised, and which subjects it could not look at: those
//! neither raise nor clear. The list [`ALL`] is walked by the report, the metrics, the alert rules, the documents and
//! the tests, so that none of them knows a code that another does not.
//!
//! A cause silences its consequences. Two things must hold: the cause's entry lists the consequence's code, and the
//! topology says that the cause's subject carries the consequence's ([`Snapshot::carries`]), so that trouble on one
//! network never hides trouble on another. `silences` names entries, not text: a cycle does not compile. The codes
//! about path sizes silence each other and themselves, on planes further in, and are named by constants for that.

mod class;
pub mod cluster;
pub mod declared;
#[cfg(test)]
mod golden;
pub mod itself;
pub mod kernel;
pub mod links;
pub mod overlay;
pub mod paths;
mod small;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use std::collections::BTreeSet;
use std::fmt;

pub use class::{Class, Story};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::config::Work;
use crate::fact::Unread;
use crate::remedy::Fix;
use crate::report::{Severity, Vantage};
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// One rule of the catalogue.
pub trait Check {
    /// What the catalogue says of it.
    const ENTRY: Entry;
    /// Where it is judged.
    const JUDGED: Judged = Judged::Everywhere;
    /// Whether it says something of a pod's network too. What is said of a node's own devices, settings, tables and files
    /// is said by the node's agent; from within a pod the same rule would read the pod's, and mean nothing.
    const IN_PODS: bool = false;
    /// What a finding carries as proof.
    type Evidence: Serialize + JsonSchema;

    /// Looks at one machine at one time.
    ///
    /// # Errors
    /// If the rule could not look at all; every subject of it is then held as it was.
    fn judge(node: &Snapshot) -> Result<Judgement<Self::Evidence>, Unread>;

    /// One sentence with the observed values.
    fn summary(subject: &Subject, evidence: &Self::Evidence) -> String;

    /// What must become true, in the order in which to do it.
    fn fixes(subject: &Subject, evidence: &Self::Evidence) -> Vec<Fix>;

    /// A made-up finding, for documents and golden texts.
    fn example() -> (Subject, Severity, Self::Evidence);
}

/// What the catalogue says of a code.
#[derive(Debug)]
pub struct Entry {
    /// Stable name.
    pub code: &'static str,
    /// The part of the catalogue that it belongs to.
    pub area: Area,
    /// Every severity that it can have, mildest first.
    pub severities: &'static [Severity],
    /// When it has which: a phrase for each of `severities`, in their order.
    pub when: &'static [&'static str],
    /// A few words.
    pub title: &'static str,
    /// What it means and whom it hurts.
    pub meaning: &'static str,
    /// What looks like it and is left alone on purpose: a phrase.
    pub quiet: &'static str,
    /// How to look by hand, in the order in which to do it.
    pub look: &'static [Look],
    /// What to query beside `mtuscope_finding` and `mtuscope_findings`: expressions that begin with a family's name.
    pub metrics: &'static [&'static str],
    /// The kind of incident.
    pub class: Class,
    /// Codes that are its consequences.
    pub silences: &'static [&'static str],
    /// How much evidence it takes.
    pub confirm: Confirm,
    /// Whether somebody is alerted.
    pub alert: Alert,
}

#[cfg(test)]
impl Entry {
    /// An entry for tests, in which only what is given by name matters.
    pub(crate) const fn made_up(code: &'static str) -> Self {
        Self {
            code,
            area: Area::Paths,
            severities: &[Severity::Warning],
            when: &["always"],
            title: "",
            meaning: "",
            quiet: "",
            look: &[],
            metrics: &[],
            class: Class::NoThread { why: "made up" },
            silences: &[],
            confirm: Confirm::AtOnce,
            alert: Alert::None { why: "made up" },
        }
    }
}

/// One thing to look at by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Look {
    /// A command; names to fill in stand in capitals.
    pub run: &'static str,
    /// What in its output shows the fault: a phrase.
    pub see: &'static str,
}

/// Parts of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// Network devices.
    Links,
    /// Measured paths.
    Paths,
    /// Tunnels and what they carry.
    Overlay,
    /// Kernel settings and counters.
    Kernel,
    /// What somebody wrote down.
    Declared,
    /// What nodes have in common.
    Cluster,
    /// The agent itself: what it does not see any more.
    Itself,
}

/// Where a check is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// By agents, and in reports that somebody asks for.
    Everywhere,
    /// Only in reports that somebody asks for on the host: agents neither judge it nor list it as not concluded.
    Reports,
}

impl Judged {
    /// Whether it is judged by who works like this.
    pub const fn includes(self, work: Work) -> bool {
        matches!((self, work), (Self::Everywhere, _) | (Self::Reports, Work::Report))
    }
}

impl Area {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Paths => "paths",
            Self::Overlay => "overlay",
            Self::Kernel => "kernel",
            Self::Declared => "declared",
            Self::Cluster => "cluster",
            Self::Itself => "itself",
        }
    }

    /// What it holds, in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Links => "network devices of this node",
            Self::Paths => "what was measured to each peer",
            Self::Overlay => "tunnels and what they carry",
            Self::Kernel => "settings, tables and counters",
            Self::Declared => "what somebody wrote down",
            Self::Cluster => "what nodes have in common",
            Self::Itself => "what the agent itself does not see",
        }
    }
}

/// How much evidence a finding takes before it is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// Read from the kernel: one reading is enough.
    AtOnce,
    /// Measured: as many rounds in agreement as the operator asks for.
    Rounds,
    /// Measured by sweeps over source ports, which rounds do not wait for: as many of them in agreement.
    Sweeps,
    /// Measured by transfers, which rounds do not wait for: as many of them in agreement.
    Transfers,
}

impl Confirm {
    /// In words, for documents.
    pub const fn text(self) -> &'static str {
        match self {
            Self::AtOnce => "one reading is enough, and one that is in order clears it",
            Self::Rounds => {
                "as many rounds in agreement as `probing.confirm_rounds` says (2), and one clean round clears it"
            }
            Self::Sweeps => {
                "as many sweeps over source ports in agreement as `probing.confirm_rounds` says (2), and a clean one clears it"
            }
            Self::Transfers => {
                "as many transfers in agreement as `probing.confirm_rounds` says (2), and one that passes clears it"
            }
        }
    }
}

/// Whether somebody is alerted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// An alert of this name, once the finding has stood for `minutes`.
    Named {
        /// CamelCase, prefix `Mtuscope`.
        name: &'static str,
        /// Minutes that it must have stood.
        minutes: u32,
    },
    /// None, and why.
    None {
        /// The reason.
        why: &'static str,
    },
}

/// What a rule saw.
#[derive(Debug)]
pub struct Judgement<E> {
    /// What is wrong.
    pub raised: Vec<Raised<E>>,
    /// Subjects that could not be looked at.
    pub unread: Vec<(Subject, Unread)>,
    /// Findings that may stand on subjects which nobody can name now.
    pub kept: Vec<Kept>,
}

impl<E> Default for Judgement<E> {
    fn default() -> Self {
        Self { raised: Vec::new(), unread: Vec::new(), kept: Vec::new() }
    }
}

/// Findings of which nothing is known, told by a text in their evidence: they stay as they are.
///
/// What names a subject may be what could not be read: a file that gives a link's name, a route that is gone for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    key: &'static str,
    values: BTreeSet<String>,
    but: bool,
}

impl Kept {
    /// Those whose evidence has this under that key.
    pub fn with(key: &'static str, value: &str) -> Self {
        Self { key, values: [value.to_owned()].into(), but: false }
    }

    /// Those whose evidence has none of these under that key.
    pub fn but(key: &'static str, values: impl Iterator<Item = String>) -> Self {
        Self { key, values: values.collect(), but: true }
    }

    /// Whether it keeps a finding.
    pub fn has(&self, evidence: &serde_json::Value) -> bool {
        let has = evidence.get(self.key).and_then(serde_json::Value::as_str).map(|text| self.values.contains(text));
        has.unwrap_or(false) != self.but
    }
}

impl<E> Judgement<E> {
    /// Adds something that is wrong.
    pub fn raise(&mut self, subject: Subject, severity: Severity, evidence: E) {
        self.raised.push(Raised { subject, severity, evidence, breaks: Vec::new(), causes: Causes::All });
    }

    /// Adds something that is wrong, that breaks nothing else and so silences nothing.
    pub fn raise_alone(&mut self, subject: Subject, severity: Severity, evidence: E) {
        self.raised.push(Raised { subject, severity, evidence, breaks: Vec::new(), causes: Causes::Nothing });
    }

    /// Adds something that is wrong and that is known to break these subjects, whatever the topology says.
    pub fn raise_breaking(&mut self, subject: Subject, severity: Severity, evidence: E, breaks: Vec<Subject>) {
        self.raised.push(Raised { subject, severity, evidence, breaks, causes: Causes::All });
    }

    /// Adds something that is wrong and that has only some of the consequences that its entry lists.
    pub fn raise_causing(
        &mut self,
        subject: Subject,
        severity: Severity,
        evidence: E,
        causes: Causes,
        breaks: Vec<Subject>,
    ) {
        self.raised.push(Raised { subject, severity, evidence, breaks, causes });
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Raised<E> {
    /// With what.
    pub subject: Subject,
    /// How bad.
    pub severity: Severity,
    /// The proof.
    pub evidence: E,
    /// Subjects that it is known to break beyond those that the topology tells.
    pub breaks: Vec<Subject>,
    /// What it can be the cause of.
    pub causes: Causes,
}

/// Which of the consequences that its entry lists a finding can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Causes {
    /// Every one, on the subjects that the topology tells and on those that it is known to break.
    All,
    /// Only these codes: a link that is too small breaks what one that is too large does not.
    Codes(&'static [&'static str]),
    /// Every one, but only on the subjects that it is known to break: one peer's trouble is not every peer's.
    Named,
    /// The same, and these codes on its own subject and those that the topology tells as well.
    NamedAnd(&'static [&'static str]),
    /// None: a spare that is down.
    Nothing,
}

/// A raised finding whose evidence type is erased.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The catalogue's entry.
    pub entry: &'static Entry,
    /// With what.
    pub subject: Subject,
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub summary: String,
    /// The proof.
    pub evidence: serde_json::Value,
    /// What must become true.
    pub fixes: Vec<Fix>,
    /// Subjects that it is known to break.
    pub breaks: Vec<Subject>,
    /// What it can be the cause of.
    pub causes: Causes,
}

/// What one check came to in one round.
#[derive(Debug)]
pub struct Outcome {
    /// The catalogue's entry.
    pub entry: &'static Entry,
    /// What was raised and what could not be looked at; `Err` if nothing could.
    pub result: Result<Looked, Unread>,
}

/// A check that could look.
#[derive(Debug, Default)]
pub struct Looked {
    /// What was raised.
    pub raised: Vec<Candidate>,
    /// Subjects that could not be looked at.
    pub unread: Vec<(Subject, Unread)>,
    /// Findings that may stand on subjects which nobody can name now.
    pub kept: Vec<Kept>,
}

/// A check with its types erased.
pub struct Registered {
    /// What the catalogue says of it.
    pub entry: &'static Entry,
    /// Where it is judged.
    pub judged: Judged,
    /// Whether a pod's agent judges it too.
    pub in_pods: bool,
    judge: fn(&Snapshot) -> Outcome,
    example: fn() -> Candidate,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registered").field(&self.entry.code).finish()
    }
}

impl Registered {
    /// Looks at one machine at one time.
    pub fn judge(&self, node: &Snapshot) -> Outcome {
        (self.judge)(node)
    }

    /// The made-up finding of the documents.
    pub fn example(&self) -> Candidate {
        (self.example)()
    }

    /// The JSON Schema of the evidence.
    pub fn evidence_schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.schema)(generator)
    }
}

/// Every check, in the order of the report's sections.
pub static ALL: &[Registered] = &[
    of::<links::LinkDown>(),
    of::<links::BridgeNoUplink>(),
    of::<links::BridgePortMtu>(),
    of::<links::DefaultRouteMissing>(),
    of::<links::TunnelNoHeadroom>(),
    of::<links::TunnelUndersized>(),
    of::<links::TunnelWrongUnderlay>(),
    of::<links::VethEndsDiffer>(),
    of::<links::PodMtuTooLarge>(),
    of::<links::PodMtuMixed>(),
    of::<links::NicSingleQueue>(),
    of::<paths::PeerUnreachable>(),
    of::<paths::PathEcmpMtu>(),
    of::<paths::PathBlackHole>(),
    of::<paths::PathLimited>(),
    of::<paths::PathMtuAsymmetric>(),
    of::<paths::PathLossy>(),
    of::<paths::PathMtuCacheStale>(),
    of::<overlay::TunnelPortClosed>(),
    of::<overlay::VtepIncomplete>(),
    of::<overlay::VtepMacDiffers>(),
    of::<overlay::VtepStale>(),
    of::<overlay::OverlayUnreachable>(),
    of::<overlay::OverlayMtuExceedsPath>(),
    of::<overlay::OverlayFragmented>(),
    of::<overlay::OverlayTransferStalls>(),
    of::<overlay::PodUnreachable>(),
    of::<kernel::IpForwardOff>(),
    of::<kernel::RpFilterStrict>(),
    of::<kernel::BridgeNetfilterOff>(),
    of::<kernel::PmtuDiscoveryOff>(),
    of::<kernel::SysctlDrift>(),
    of::<kernel::ProxyArpOff>(),
    of::<kernel::AcceptRaOff>(),
    of::<kernel::FragmentationFailing>(),
    of::<kernel::UdpChecksumErrors>(),
    of::<kernel::NeighbourTableFull>(),
    of::<kernel::ConntrackFull>(),
    of::<declared::CniNotConfigured>(),
    of::<declared::CniConfigInvalid>(),
    of::<declared::CniPluginMissing>(),
    of::<declared::DeclaredMtuDiffers>(),
    of::<declared::CalicoMtuAutodetectedWrong>(),
    of::<declared::PodAddressesExhausted>(),
    of::<declared::KubeletFlagRemoved>(),
    of::<cluster::NodeMtuDiffers>(),
    of::<cluster::NodeTunnelDiffers>(),
    of::<cluster::VipInterfaceMissing>(),
    of::<cluster::VipAbsent>(),
    of::<cluster::VipDuplicate>(),
    of::<itself::PeerSourceStale>(),
    of::<itself::CoverageLate>(),
];

/// The check of this code.
pub fn by_code(code: &str) -> Option<&'static Registered> {
    ALL.iter().find(|check| check.entry.code == code)
}

/// Runs every check that is judged by who works like this on a node.
#[cfg(test)]
pub(crate) fn judge_all(node: &Snapshot, work: Work) -> Vec<Outcome> {
    judge_from(Vantage::Node, node, work)
}

/// Runs every check that is judged from there by who works like this.
pub fn judge_from(vantage: Vantage, node: &Snapshot, work: Work) -> Vec<Outcome> {
    let is_judged = |check: &&Registered| check.judged.includes(work) && (check.in_pods || vantage == Vantage::Node);
    ALL.iter().filter(is_judged).map(|check| check.judge(node)).collect()
}

const fn of<C: Check>() -> Registered {
    Registered {
        entry: const { &C::ENTRY },
        judged: C::JUDGED,
        in_pods: C::IN_PODS,
        judge: judge_erased::<C>,
        example: example_erased::<C>,
        schema: <C::Evidence as JsonSchema>::json_schema,
    }
}

fn judge_erased<C: Check>(node: &Snapshot) -> Outcome {
    let result = C::judge(node).map(|judgement| Looked {
        raised: judgement.raised.into_iter().map(erase::<C>).collect(),
        unread: judgement.unread,
        kept: judgement.kept,
    });
    Outcome { entry: const { &C::ENTRY }, result }
}

fn example_erased<C: Check>() -> Candidate {
    let (subject, severity, evidence) = C::example();
    erase::<C>(Raised { subject, severity, evidence, breaks: Vec::new(), causes: Causes::All })
}

fn erase<C: Check>(raised: Raised<C::Evidence>) -> Candidate {
    let Raised { subject, severity, evidence, breaks, causes } = raised;
    Candidate {
        entry: const { &C::ENTRY },
        summary: C::summary(&subject, &evidence),
        fixes: C::fixes(&subject, &evidence),
        evidence: serde_json::to_value(&evidence).expect("evidence has string keys only"),
        subject,
        severity,
        breaks,
        causes,
    }
}
