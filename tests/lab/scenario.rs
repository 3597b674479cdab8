//! Scenarios: what to break, what that must raise, and what must not raise it. One file stands beside each family of
//! checks and reads as an operator would tell it.
//!
//! ```toml
//! [[scenario]]
//! code = "tunnel-no-headroom"
//! title = "the network below was given a smaller MTU afterwards"
//! fault = [{ mtu = { link = "lower", bytes = "tunnel + overhead - 1" } }]
//! expect = { subject = { link = "tunnel" }, severity = "warning" }
//!
//! [[scenario.near_miss]]
//! title = "it fits to the byte"
//! make = [{ mtu = { link = "lower", bytes = "tunnel + overhead" } }]
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::fault::Fault;
use crate::recipe::{self, Recipe, Role};
use crate::size::Size;
use crate::{Error, Result};

/// The families' files.
const FILES: [(&str, &str); 6] = [
    ("links", include_str!("../../probes/src/checks/links/lab.toml")),
    ("paths", include_str!("../../probes/src/checks/paths/lab.toml")),
    ("overlay", include_str!("../../probes/src/checks/overlay/lab.toml")),
    ("kernel", include_str!("../../probes/src/checks/kernel/lab.toml")),
    ("declared", include_str!("../../probes/src/checks/declared/lab.toml")),
    ("cluster", include_str!("../../probes/src/checks/cluster/lab.toml")),
];

/// One way to raise one code.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The code that it must raise.
    pub code: String,
    /// What happened, in a few words.
    pub title: String,
    /// What the cluster is like before anything breaks, if not as the recipe has it.
    #[serde(default)]
    pub given: Vec<Fault>,
    /// What the operator says that the underlay carries.
    pub underlay: Option<Size>,
    /// What the operator says that tunnels and pods have.
    pub overlay: Option<Size>,
    /// What the operator says that sysctls are.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// What is broken, in order.
    pub fault: Vec<Fault>,
    /// What must come of it.
    pub expect: Expect,
    /// What looks like it and must not raise the code. At least one.
    pub near_miss: Vec<NearMiss>,
    /// Whether its consequences depend on chance: on which of several paths a flow takes, on which packets get lost.
    #[serde(default)]
    pub by_chance: bool,
    /// Why more than one code is loud, where that is right: by itself one cause is one loud finding.
    pub several: Option<Several>,
    /// Where agents run.
    #[serde(default)]
    pub agents: Agents,
    /// How its remedy is proven.
    #[serde(default)]
    pub remedy: Remedy,
    /// The recipes to play it on, if not all of the usual ones that have the things named.
    pub recipes: Option<Vec<String>>,
    /// Recipes to play it on besides.
    #[serde(default)]
    pub also: Vec<String>,
}

/// The nodes that an agent runs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agents {
    /// Node 0 alone: it needs nobody else to find what is wrong.
    #[default]
    One,
    /// Every node: they make transfers with one another.
    All,
    /// Every node: they ask one another what they are, and the fault may leave no way for a transfer.
    Asking,
    /// None: `mtuscope report` is run on node 0, time and again. An agent there must not speak of the code.
    Report,
}

/// How a remedy is proven: `"applied"`; `"clears: "` and what it leaves; or `"elsewhere: "` and why the lab cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Remedy {
    /// The lab does what it says and sees that nothing is wrong any more.
    #[default]
    Applied,
    /// The lab does what it says and sees that the finding goes; another one stays, for this reason.
    Clears(String),
    /// Not by the lab, for this reason.
    Elsewhere(String),
}

impl TryFrom<String> for Remedy {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        match text.split_once(": ") {
            Some(("clears", why)) if !why.trim().is_empty() => Ok(Self::Clears(why.to_owned())),
            Some(("elsewhere", why)) if !why.trim().is_empty() => Ok(Self::Elsewhere(why.to_owned())),
            None if text == "applied" => Ok(Self::Applied),
            _ => Err(format!("`{text}` is neither `applied` nor `clears: ` or `elsewhere: ` and a reason")),
        }
    }
}

/// The finding that must appear.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// What it is about.
    pub subject: Subject,
    /// Its severity.
    pub severity: String,
    /// Whether another finding explains it.
    #[serde(default)]
    pub silenced: bool,
    /// What its evidence must hold, among other things.
    #[serde(default)]
    pub evidence: BTreeMap<String, Value>,
    /// Commands that its remedy must name.
    #[serde(default)]
    pub advises: Vec<String>,
    /// Commands that its remedy must not name.
    #[serde(default)]
    pub spares: Vec<String>,
}

impl Expect {
    /// Whether evidence holds what it must.
    pub fn is_shown_by(&self, evidence: &BTreeMap<String, Value>) -> bool {
        self.evidence.iter().all(|(key, wanted)| evidence.get(key).is_some_and(|found| holds(found, wanted)))
    }
}

impl Expect {
    /// Whether a remedy names what it must, and nothing that it must not.
    pub fn is_advised_by(&self, remedy: &[String]) -> bool {
        let names = |command: &String| remedy.iter().any(|line| line.contains(command.as_str()));
        self.advises.iter().all(names) && !self.spares.iter().any(names)
    }
}

fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| holds(found, wanted)))
        }
        _ => found == wanted,
    }
}

/// What a finding is about, by its part in the recipe.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Subject {
    /// A link of node 0.
    Link(Role),
    /// A node, by number.
    Peer(usize),
    /// Just this word.
    Name(String),
}

/// The reason for several loud codes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Several {
    /// What is wrong besides.
    pub because: String,
    /// The recipes on which it is so, if not all.
    pub on: Option<Vec<String>>,
}

/// The fault less its one decisive fact.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearMiss {
    /// What is different.
    pub title: String,
    /// What is made, in order.
    pub make: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Scenario>,
}

/// Every scenario of every family.
///
/// # Errors
/// If a file does not parse, or a scenario has no near miss or no recipe to be played on.
pub fn all() -> Result<Vec<Scenario>> {
    let mut all = Vec::new();
    for (family, text) in FILES {
        all.extend(parse(text).map_err(|error| error.while_doing(format!("checks/{family}/lab.toml")))?);
    }
    Ok(all)
}

/// Every scenario with a short name to call it by: its code, and from the second of a code on a number, as in
/// `link-down/2`.
///
/// # Errors
/// As [`all`].
pub fn named() -> Result<Vec<(String, Scenario)>> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let name = |scenario: Scenario| {
        let nth = times.entry(scenario.code.clone()).and_modify(|times| *times += 1).or_insert(1);
        let name = if *nth == 1 { scenario.code.clone() } else { format!("{}/{nth}", scenario.code) };
        (name, scenario)
    };
    Ok(all()?.into_iter().map(name).collect())
}

fn parse(text: &str) -> Result<Vec<Scenario>> {
    let File { scenario } = toml::from_str(text).map_err(|error| Error::new("parsing", error))?;
    for one in &scenario {
        let broken = |cause: &str| Error::new(format!("{} `{}`", one.code, one.title), cause);
        if one.near_miss.is_empty() || one.fault.is_empty() {
            return Err(broken("it needs a fault and a near miss"));
        }
        let known = |name: &String| recipe::every().any(|recipe| recipe.name == name);
        if !one.recipes.iter().flatten().chain(&one.also).all(known) {
            return Err(broken("it names a recipe that there is not"));
        }
        let plays = one.recipes();
        let several = one.several.iter().flat_map(|several| several.on.iter().flatten());
        if !several.into_iter().all(|name| plays.iter().any(|recipe| recipe.name == name)) {
            return Err(broken("it says why several codes are loud on a recipe that it is not played on"));
        }
        if !one.also.iter().all(|name| plays.iter().any(|recipe| recipe.name == name)) {
            return Err(broken("a recipe that it is to be played on besides lacks something that it names"));
        }
        if one.recipes().is_empty() {
            return Err(broken("no recipe has the things that it names"));
        }
        if one.agents == Agents::Report && !matches!(one.remedy, Remedy::Elsewhere(_)) {
            return Err(broken("no agent runs that could see its remedy work: `remedy` says why it is not applied"));
        }
    }
    Ok(scenario)
}

impl Scenario {
    /// The recipes to play it on.
    pub fn recipes(&self) -> Vec<Recipe> {
        recipe::every().filter(|recipe| self.is_for(recipe) && self.fits(recipe)).collect()
    }

    /// Whether the remedy is applied on this recipe: on the first one of each kind of pod network.
    pub fn is_mended_on(&self, recipe: &Recipe) -> bool {
        let kind = |recipe: &Recipe| recipe.overlay.map(|overlay| overlay.by);
        let first = self.recipes().into_iter().find(|other| kind(other) == kind(recipe));
        !matches!(self.remedy, Remedy::Elsewhere(_)) && first.as_ref() == Some(recipe)
    }

    fn is_for(&self, recipe: &Recipe) -> bool {
        let is_it = |names: &[String]| names.iter().any(|name| name == recipe.name);
        let usual = || recipe::ALL.iter().any(|usual| usual.name == recipe.name);
        is_it(&self.also) || self.recipes.as_ref().map_or_else(usual, |names| is_it(names))
    }

    /// Every fault that it makes, near misses among them.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.given.iter().chain(&self.fault).chain(self.near_miss.iter().flat_map(|near_miss| &near_miss.make))
    }

    fn fits(&self, recipe: &Recipe) -> bool {
        let named = self.underlay.iter().chain(&self.overlay).all(|size| size.fits(&recipe.sizes()));
        named && self.faults().all(|fault| fault.fits(recipe)) && self.expect.subject.on(recipe).is_some()
    }

    /// Why more than one code is loud on a recipe, where that is right.
    pub fn several_on(&self, recipe: &Recipe) -> Option<&str> {
        let there = |several: &&Several| several.on.iter().flatten().any(|name| name == recipe.name);
        let several = self.several.as_ref().filter(|several| several.on.is_none() || there(several))?;
        Some(&several.because)
    }

    /// Its name on a recipe, in test names and the matrix.
    pub fn name(&self, recipe: &Recipe) -> String {
        format!("{} on {}: {}", self.code, recipe.name, self.title)
    }
}

impl Subject {
    /// The subject's name on a recipe.
    pub fn on(&self, recipe: &Recipe) -> Option<String> {
        match self {
            Self::Link(role) => recipe.link(*role).map(str::to_owned),
            Self::Peer(node) => recipe.nodes.get(*node).map(|&name| name.to_owned()),
            Self::Name(name) => Some(name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"
        [[scenario]]
        code = "link-down"
        title = "the NIC under the bridge is down"
        fault = [{ link_down = { link = "bridge" } }]
        expect = { subject = { link = "bridge" }, severity = "critical" }
        near_miss = [{ title = "another one", make = [{ link_down = { link = "spare" } }] }]
    "#;

    #[test]
    fn is_played_wherever_its_links_exist() {
        let scenarios = parse(ONE).unwrap();
        let names: Vec<_> = scenarios[0].recipes().iter().map(|recipe| recipe.name).collect();
        assert_eq!(names, ["reference", "jumbo", "bridged"]);
        assert_eq!(scenarios[0].expect.subject.on(&recipe::JUMBO).as_deref(), Some("br-storage"));
    }

    #[test]
    fn a_reason_for_several_loud_codes_may_be_for_some_recipes() {
        let on = |several: &str| {
            let scenario = parse(&ONE.replace("code =", &format!("{several}\ncode ="))).unwrap().remove(0);
            [recipe::REFERENCE, recipe::JUMBO].map(|recipe| scenario.several_on(&recipe).map(str::to_owned))
        };
        assert_eq!(on(""), [None, None]);
        assert_eq!(on("several = { because = 'x' }"), [Some("x".into()), Some("x".into())]);
        assert_eq!(on("several = { because = 'x', on = ['jumbo'] }"), [None, Some("x".into())]);
    }

    #[test]
    fn evidence_may_hold_more_than_it_must() {
        let expect =
            "expect = { subject = { link = \"bridge\" }, severity = \"critical\", evidence = { at = { ttl = 1 } } }";
        let old = "expect = { subject = { link = \"bridge\" }, severity = \"critical\" }";
        let scenarios = parse(&ONE.replace(old, expect)).unwrap();
        let shown = |text: &str| scenarios[0].expect.is_shown_by(&serde_json::from_str(text).unwrap());
        assert!(shown(r#"{"at": {"ttl": 1, "address": "10.9.0.1"}, "peer": "b"}"#));
        assert!(!shown(r#"{"at": {"ttl": 2}}"#) && !shown(r#"{"peer": "b"}"#));
    }

    #[test]
    fn a_remedy_is_applied_once_for_each_kind_of_pod_network_unless_there_is_a_reason() {
        let on = |text: &str| {
            let scenario = parse(text).unwrap().remove(0);
            let mended = scenario.recipes().into_iter().filter(|recipe| scenario.is_mended_on(recipe));
            mended.map(|recipe| recipe.name).collect::<Vec<_>>()
        };
        assert_eq!(on(ONE), ["reference", "bridged"], "jumbo is Calico's too");
        assert_eq!(on(&ONE.replace("code =", "remedy = 'clears: another stays'\ncode =")), ["reference", "bridged"]);
        assert!(on(&ONE.replace("code =", "remedy = 'elsewhere: nothing to run'\ncode =")).is_empty());
    }

    #[test]
    fn a_scenario_that_would_prove_nothing_is_refused() {
        for (from, to, says) in [
            (
                r#"near_miss = [{ title = "another one", make = [{ link_down = { link = "spare" } }] }]"#,
                "near_miss = []",
                "near miss",
            ),
            (r#"code ="#, "recipes = ['refrence']\ncode =", "names a recipe"),
            (r#"code ="#, "recipes = ['routed']\ncode =", "no recipe has"),
            (r#"link = "spare""#, r#"link = "spar""#, "unknown variant"),
            (r#"code ="#, "remedy = 'elsewhere:'\ncode =", "and a reason"),
            (r#"code ="#, "several = { because = 'x', on = ['routed'] }\ncode =", "not played on"),
        ] {
            let error = parse(&ONE.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
    }

    #[test]
    fn the_families_files_hold() {
        assert!(all().unwrap().len() >= 10);
    }

    #[test]
    fn every_scenario_has_a_name_of_its_own() {
        let names: Vec<_> = named().unwrap().into_iter().map(|(name, _)| name).collect();
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
        assert!(names.contains(&"path-black-hole".to_owned()) && names.contains(&"path-black-hole/2".to_owned()));
    }
}
