//! What a container's environment and arguments set.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::declared::yaml;

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Given here.
    Text(String),
    /// Not given: kube-vip has a value of its own.
    Not,
    /// Given in a place that is not looked into.
    Elsewhere {
        /// Which.
        place: String,
    },
}

impl Given {
    /// The text, where it is given here.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Not | Self::Elsewhere { .. } => None,
        }
    }
}

/// Flags that are on or off, and so take a value only with `=`.
const SWITCHES: [&str; 8] =
    ["arp", "bgp", "table", "wireguard", "controlplane", "services", "allowInterfaceNotUp", "leaderElection"];

/// A container's settings.
pub(super) struct Settings {
    environment: BTreeMap<String, Given>,
    flags: BTreeMap<String, Given>,
    /// Where more may be set, that is not read.
    beyond: Option<String>,
}

impl Settings {
    pub(super) fn of(container: &Value) -> Self {
        let words = || ["command", "args"].into_iter().flat_map(|key| container[key].as_array().into_iter().flatten());
        let words: Vec<String> = words().filter_map(yaml::word).collect();
        let environment = environment(container);
        let mut settings = Self { beyond: beyond(container, &words), flags: flags(&words), environment };
        let file = settings.get(&["config_file"], &["config-file"]);
        if let Given::Text(file) = file {
            settings.beyond = Some(format!("{file} in the container"));
        }
        settings
    }

    /// The first of these that is given: variables, then flags. An empty variable is none.
    pub(super) fn get(&self, variables: &[&str], flags: &[&str]) -> Given {
        let variables = variables.iter().filter_map(|name| self.environment.get(*name));
        let given = variables.chain(flags.iter().filter_map(|name| self.flags.get(*name)));
        let mut given = given.filter(|given| given.text() != Some(""));
        let beyond = || self.beyond.clone().map_or(Given::Not, |place| Given::Elsewhere { place });
        given.next().cloned().unwrap_or_else(beyond)
    }

    /// Whether a switch is known to be on, by the words that kube-vip takes for it.
    pub(super) fn is_on(&self, variable: &str, flag: &str) -> bool {
        matches!(self.get(&[variable], &[flag]).text(), Some("1" | "t" | "T" | "true" | "True" | "TRUE"))
    }
}

fn environment(container: &Value) -> BTreeMap<String, Given> {
    let all = container["env"].as_array().into_iter().flatten();
    let one = |variable: &Value| {
        let name = yaml::word(&variable["name"])?;
        let given = match (&variable["valueFrom"], yaml::word(&variable["value"])) {
            (Value::Null, value) => resolved(value.unwrap_or_default()),
            _ => Given::Elsewhere { place: format!("valueFrom of {name}") },
        };
        Some((name, given))
    };
    all.filter_map(one).collect()
}

/// `$(NAME)` stands for another variable.
fn resolved(text: String) -> Given {
    if text.contains("$(") { Given::Elsewhere { place: text } } else { Given::Text(text) }
}

fn flags(words: &[String]) -> BTreeMap<String, Given> {
    let mut flags = BTreeMap::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--") else { continue };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None if SWITCHES.contains(&flag) => (flag, "true".to_owned()),
            None => (flag, words.next_if(|next| !next.starts_with("--")).cloned().unwrap_or_default()),
        };
        flags.insert(name.to_owned(), resolved(value));
    }
    flags
}

/// Where settings may come from that are not in the container's own words.
fn beyond(container: &Value, words: &[String]) -> Option<String> {
    let shell = words.iter().find(|word| word.contains("kube-vip ") || word.contains(" --"));
    let shell = shell.map(|_| "the words of a shell".to_owned());
    let from = container["envFrom"].as_array().filter(|from| !from.is_empty()).map(|_| "envFrom".to_owned());
    shell.or(from)
}
