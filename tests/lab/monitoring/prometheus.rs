//! A real Prometheus that looks every other second and judges every second.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Alertmanager;
use super::program::{Kind, Program};
use crate::cluster::Cluster;
use crate::family::Family;
use crate::namespace::Namespace;
use crate::wait::{self, Look};
use crate::{Error, Result};

const KIND: Kind = Kind { name: "prometheus", package: "prometheus", port: 9090 };

/// Seconds between two scrapes, and the most that one may take: Prometheus wants that to be no longer. What is late is lost,
/// and every alert of that agent waits anew; a scrape takes milliseconds, and a second more where the machine is crowded.
pub const SCRAPE: u32 = 2;

/// The port that agents serve by default.
const AGENT_PORT: u16 = 9747;

/// The job of the agents on nodes.
pub const JOB: &str = "mtuscope";

/// The job of their twins in pods.
pub const POD_JOB: &str = "mtuscope-pod";

/// What to scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The job.
    pub job: String,
    /// The address: label `instance`.
    pub address: SocketAddr,
    /// Label `node`, which relabelling adds in a cluster and a plain scrape does not have.
    pub node: Option<String>,
}

impl Target {
    /// The agent of a node, by its address on the management network.
    pub fn agent(cluster: &Cluster, node: usize) -> Self {
        let address = SocketAddr::new(cluster.recipe.management_of(Family::V4, node), AGENT_PORT);
        Self { job: JOB.into(), address, node: Some(cluster.recipe.nodes[node].into()) }
    }

    /// The twin of a node, in its pod.
    ///
    /// # Errors
    /// If the recipe has no pod network.
    pub fn twin(cluster: &Cluster, node: usize) -> Result<Self> {
        let address = SocketAddr::new(cluster.overlay()?.pod_address(node), AGENT_PORT);
        Ok(Self { job: POD_JOB.into(), address, node: Some(cluster.recipe.nodes[node].into()) })
    }

    /// The agents of all nodes.
    pub fn agents(cluster: &Cluster) -> Vec<Self> {
        (0..cluster.nodes.len()).map(|node| Self::agent(cluster, node)).collect()
    }

    /// As a plain scrape has it, which names no nodes.
    #[must_use]
    pub fn plain(self) -> Self {
        Self { node: None, ..self }
    }
}

/// What Prometheus is told.
#[derive(Debug, Default)]
pub struct Setup<'a, 'c> {
    /// What to scrape.
    pub targets: Vec<Target>,
    /// The texts of rule files.
    pub rules: Vec<String>,
    /// Whom to send alerts to.
    pub alertmanager: Option<&'a Alertmanager<'c>>,
}

/// A Prometheus that runs. It is killed with this value.
#[derive(Debug)]
pub struct Prometheus<'c> {
    program: Program<'c>,
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// The value of a label, empty if there is none: to Prometheus that is the same.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map(String::as_str).unwrap_or_default()
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.labels, self.value)
    }
}

/// An alert that is pending or fires, as Prometheus holds it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ActiveAlert {
    /// Its labels, `alertname` among them.
    pub labels: BTreeMap<String, String>,
    /// Its texts, as they are rendered.
    pub annotations: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: String,
}

/// Rules that are evaluated together.
#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
    /// When they began to be, last.
    #[serde(rename = "lastEvaluation")]
    last_evaluation: Timestamp,
}

/// A rule, as Prometheus has read it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Rule {
    /// The name of the alert, or of the series that is recorded.
    pub name: String,
    /// `alerting` or `recording`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `ok` once it was evaluated without an error; `unknown` before.
    pub health: String,
    /// Why it could not be evaluated.
    #[serde(default, rename = "lastError")]
    pub last_error: String,
}

impl<'c> Prometheus<'c> {
    /// Starts it, and waits until it has scraped every target, knows its Alertmanager and has evaluated every rule.
    ///
    /// # Errors
    /// If it is not installed, ends early, does not become ready, or a rule cannot be evaluated; with what it logged.
    pub fn start(place: &'c Namespace, setup: &Setup<'_, '_>) -> Result<Self> {
        let mut files = vec![("prometheus.yml".to_owned(), configuration(setup))];
        files.extend(setup.rules.iter().enumerate().map(|(number, text)| (rule_file(number), text.clone())));
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
        let program = Program::start(place, &KIND, &files, |command, directory| {
            command.arg(format!("--config.file={}", directory.join("prometheus.yml").display()));
            command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
        })?;
        let prometheus = Self { program };
        prometheus.settle(setup).map_err(|error| prometheus.program.with_log(error))?;
        Ok(prometheus)
    }

    /// Targets and Alertmanagers are taken up some seconds after it says that it is ready; what fires before is told nobody.
    fn settle(&self, setup: &Setup<'_, '_>) -> Result<()> {
        let known = usize::from(setup.alertmanager.is_some());
        wait::until("Prometheus to know its Alertmanager", || {
            let data: Value = self.data("/api/v1/alertmanagers")?;
            let found = data["activeAlertmanagers"].as_array().map_or(0, Vec::len);
            Ok(if found == known { Look::There(()) } else { Look::NotYet(data.to_string()) })
        })?;
        self.until("count(up) or vector(0)", |seen| {
            seen.iter().any(|sample| sample.value.total_cmp(&(setup.targets.len() as f64)).is_eq())
        })?;
        wait::until("every rule to be evaluated", || {
            let rules = self.rules()?;
            match rules.iter().find(|rule| rule.health != "ok") {
                Some(Rule { name, health, last_error, .. }) if health == "err" => {
                    Err(Error::new(format!("evaluating {name}"), last_error))
                }
                Some(rule) => Ok(Look::NotYet(format!("{} is {}", rule.name, rule.health))),
                None => Ok(Look::There(())),
            }
        })
    }

    /// The answer to an expression, now: an instant vector. A scalar is one sample without labels.
    ///
    /// # Errors
    /// If it cannot be asked, or the expression is refused.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        let answer: Answer = self.data(&format!("/api/v1/query?query={}", encoded(expression)))?;
        answer.samples().ok_or_else(|| {
            Error::new(format!("asking Prometheus for `{expression}`"), "the answer is no vector and no scalar")
        })
    }

    /// Asks until the answer is as wanted.
    ///
    /// # Errors
    /// If it never is in time, with what was answered last.
    pub fn until(&self, expression: &str, mut there: impl FnMut(&[Sample]) -> bool) -> Result<Vec<Sample>> {
        wait::until(&format!("`{expression}` to be as wanted"), || {
            let samples = self.query(expression)?;
            Ok(if there(&samples) { Look::There(samples) } else { Look::NotYet(shown(&samples)) })
        })
    }

    /// Alerts that are pending or fire.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn alerts(&self) -> Result<Vec<ActiveAlert>> {
        #[derive(Deserialize)]
        struct Data {
            alerts: Vec<ActiveAlert>,
        }
        Ok(self.data::<Data>("/api/v1/alerts")?.alerts)
    }

    /// Every rule that it has read, of all groups in their order.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn rules(&self) -> Result<Vec<Rule>> {
        Ok(self.groups()?.into_iter().flat_map(|group| group.rules).collect())
    }

    /// Waits until every group of rules was evaluated after `since`.
    ///
    /// # Errors
    /// If one is not in time.
    pub fn evaluated_since(&self, since: Timestamp) -> Result<()> {
        wait::until("every rule to be evaluated anew", || {
            let late = self.groups()?.into_iter().find(|group| group.last_evaluation <= since);
            Ok(late.map_or(Look::There(()), |Group { name, .. }| Look::NotYet(name)))
        })
    }

    fn groups(&self) -> Result<Vec<Group>> {
        #[derive(Deserialize)]
        struct Data {
            groups: Vec<Group>,
        }
        Ok(self.data::<Data>("/api/v1/rules")?.groups)
    }

    /// Where it serves, in its namespace.
    pub fn address(&self) -> SocketAddr {
        self.program.server()
    }

    fn data<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        #[derive(Deserialize)]
        struct Envelope<T> {
            data: T,
        }
        let body = self.program.get(path)?.body;
        serde_json::from_str(&body)
            .map(|Envelope { data }| data)
            .map_err(|error| Error::new(format!("reading Prometheus's answer to {path}"), error).check(body))
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "resultType")]
    kind: String,
    result: Value,
}

#[derive(Deserialize)]
struct Element {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Answer {
    fn samples(self) -> Option<Vec<Sample>> {
        let elements = match self.kind.as_str() {
            "vector" => serde_json::from_value(self.result).ok()?,
            "scalar" => {
                vec![Element { metric: BTreeMap::new(), value: serde_json::from_value(self.result).ok()? }]
            }
            _ => return None,
        };
        let sample = |Element { metric, value }| Some(Sample { labels: metric, value: number(&value.1)? });
        elements.into_iter().map(sample).collect()
    }
}

/// Prometheus writes `+Inf`, `-Inf` and `NaN`, which Rust reads as well.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn shown(samples: &[Sample]) -> String {
    if samples.is_empty() { "nothing".into() } else { samples.iter().map(|sample| format!("\n  {sample}")).collect() }
}

fn rule_file(number: usize) -> String {
    format!("{number}.rules.yml")
}

fn configuration(setup: &Setup<'_, '_>) -> String {
    let mut text = format!(
        "global: {{ scrape_interval: {SCRAPE}s, scrape_timeout: {SCRAPE}s, evaluation_interval: 1s }}\nrule_files:\n"
    );
    for number in 0..setup.rules.len() {
        let _ = writeln!(text, "  - {}", rule_file(number));
    }
    if let Some(alertmanager) = setup.alertmanager {
        let address = alertmanager.address();
        let _ = writeln!(text, "alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ['{address}'] }}] }}] }}");
    }
    text += "scrape_configs:\n";
    let mut jobs: BTreeMap<&str, Vec<&Target>> = BTreeMap::new();
    for target in &setup.targets {
        jobs.entry(&target.job).or_default().push(target);
    }
    for (job, targets) in jobs {
        let _ = writeln!(text, "  - job_name: {job}\n    static_configs:");
        for Target { address, node, .. } in targets {
            let labels = node.as_ref().map(|node| format!(", labels: {{ node: '{node}' }}")).unwrap_or_default();
            let _ = writeln!(text, "      - {{ targets: ['{address}']{labels} }}");
        }
    }
    text
}

/// An expression as part of a query string.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_vectors_and_scalars_and_nothing_else() {
        let read = |text| serde_json::from_str::<Answer>(text).unwrap().samples();
        let vector = r#"{"resultType":"vector","result":[{"metric":{"job":"mtuscope"},"value":[1.5,"+Inf"]}]}"#;
        let [sample] = &read(vector).unwrap()[..] else { panic!("one sample") };
        assert_eq!((sample.label("job"), sample.label("node"), sample.value), ("mtuscope", "", f64::INFINITY));
        let scalar = read(r#"{"resultType":"scalar","result":[1.5,"2"]}"#).unwrap();
        assert_eq!(scalar, [Sample { labels: BTreeMap::new(), value: 2.0 }]);
        assert_eq!(read(r#"{"resultType":"matrix","result":[]}"#), None);
    }

    #[test]
    fn an_expression_survives_the_query_string() {
        assert_eq!(encoded(r#"up{a="b"}+1"#), "up%7Ba%3D%22b%22%7D%2B1");
    }

    #[test]
    fn jobs_are_told_apart_and_a_plain_target_has_no_node() {
        let target = |job: &str, last: u8, node: Option<&str>| Target {
            job: job.into(),
            address: SocketAddr::from(([192, 0, 2, last], 9747)),
            node: node.map(Into::into),
        };
        let targets = vec![target(JOB, 1, Some("a")), target(POD_JOB, 2, Some("a")), target(JOB, 3, None)];
        let text = configuration(&Setup { targets, rules: vec!["groups: []".into()], alertmanager: None });
        let [nodes, pods] = ["mtuscope", "mtuscope-pod"].map(|job| text.find(&format!("job_name: {job}\n")).unwrap());
        assert!(nodes < pods && text.contains("  - 0.rules.yml\n"), "{text}");
        assert!(text.contains("{ targets: ['192.0.2.1:9747'], labels: { node: 'a' } }"), "{text}");
        assert!(text.contains("{ targets: ['192.0.2.3:9747'] }"), "{text}");
        serde_saphyr::from_str::<Value>(&text).unwrap();
    }
}
