//! Values in the place of variables, as Grafana's data source for Prometheus puts them there.
//!
//! - A variable that can have several values, or All, stands in a regular expression: one value has its special characters
//!   escaped, and again for the string of PromQL around it; several stand in brackets with bars between.
//! - All is the variable's own value for it, as it is; without one, it is every choice.
//! - `$__rate_interval` is the larger of four scrapes and a step with a scrape. How far apart scrapes are is what the query
//!   says, or else the data source, which nobody has told. What README lets others scrape every minute
//!   the lab scrapes every [`SCRAPE`] seconds: its seconds are [`HURRY`] here.

use std::collections::BTreeMap;

use lab::Result;
use lab::dashboards::grafana::{Dashboard, Target, Variable};
use lab::harness::test;
use lab::monitoring::SCRAPE;
use libtest_mimic::Trial;

use crate::promql::selectors;

/// The time range that is shown, in seconds.
pub(crate) const RANGE: u32 = 60;
/// The step of its graphs, in seconds.
pub(crate) const STEP: u32 = 1;
/// Seconds that a second of the lab stands for.
const HURRY: u32 = 60 / SCRAPE;
/// What a data source takes for the time between scrapes if nobody tells it, in seconds.
const UNTOLD: u32 = 15;

/// What somebody chose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice(BTreeMap<&'static str, Vec<String>>);

impl Choice {
    /// All of everything.
    pub(crate) fn all() -> Self {
        Self::default()
    }

    /// These values of a variable.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, values: &[&str]) -> Self {
        self.0.insert(name, values.iter().map(|&value| value.to_owned()).collect());
        self
    }
}

/// A text with values in the place of the dashboard's variables, and of those of Grafana's that do not hang on the query.
pub(crate) fn interpolate(text: &str, dashboard: &Dashboard, choice: &Choice) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        done += &rest[..at];
        let (name, after) = name(&rest[at + 1..]);
        match value(name, dashboard, choice) {
            Some(value) => done += &value,
            None => done += &rest[at..rest.len() - after.len()],
        }
        rest = after;
    }
    done + rest
}

/// A query with values, which says itself how often is scraped or leaves it to the data source.
pub(crate) fn interpolate_query(target: &Target, dashboard: &Dashboard, choice: &Choice) -> String {
    interpolate(&target.expr.replace("$__rate_interval", &rate_interval(target.interval)), dashboard, choice)
}

/// What Grafana makes rates of.
fn rate_interval(least: Option<&str>) -> String {
    let minutes = |text: &str| text.strip_suffix('m').and_then(|number| number.parse::<u32>().ok());
    let scrape = least.map_or(UNTOLD, |text| 60 * minutes(text).expect("steps are said in minutes"));
    let step = (STEP * HURRY).max(scrape);
    format!("{}ms", (step + scrape).max(4 * scrape) * 1000 / HURRY)
}

/// The name behind a dollar sign, in braces or bare, and what follows.
fn name(text: &str) -> (&str, &str) {
    if let Some((name, after)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (name, after);
    }
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
    text.split_at(end)
}

fn value(name: &str, dashboard: &Dashboard, choice: &Choice) -> Option<String> {
    match name {
        "__range" => return Some(format!("{RANGE}s")),
        "__range_s" => return Some(RANGE.to_string()),
        _ => {}
    }
    let variable = dashboard.templating.list.iter().find(|variable| variable.name == name)?;
    Some(match choice.0.get(name) {
        Some(values) => chosen(variable, values),
        None if variable.include_all => variable.all_value.expect("All has a value of its own").into(),
        None => variable.current.as_ref().map(|current| current.value.clone()).unwrap_or_default(),
    })
}

fn chosen(variable: &Variable, values: &[String]) -> String {
    if !variable.multi {
        return values.join(",");
    }
    let escaped: Vec<_> = values.iter().map(|value| escaped(value)).collect();
    if let [only] = escaped.as_slice() { only.clone() } else { format!("({})", escaped.join("|")) }
}

fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for letter in value.chars() {
        match letter {
            '\\' => escaped += r"\\\\",
            '$' | '^' | '*' | '{' | '}' | '[' | ']' | '\'' | '+' | '?' | '.' | '(' | ')' | '|' => {
                escaped += r"\\";
                escaped.push(letter);
            }
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// That values are put in as Grafana puts them in.
pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("values stand in queries as Grafana puts them there", values),
        test("every rate is of four scrapes, also where they are a minute apart", rates),
    ]
}

fn rates() -> Result<()> {
    // By itself the data source would look for two scrapes in the time of one.
    assert_eq!([rate_interval(None), rate_interval(Some("1m"))], ["2000ms", "8000ms"]);
    let mut of_four = 0;
    for dashboard in lab::dashboards::all() {
        for target in dashboard.panels.iter().flat_map(|panel| &panel.targets) {
            let query = interpolate_query(target, &dashboard, &Choice::all());
            for selector in selectors(&query).iter().filter(|selector| selector.within == "rate") {
                assert_eq!(selector.range.as_deref(), Some("8000ms"), "{}: {query}", dashboard.uid);
                of_four += 1;
            }
        }
    }
    assert!(of_four > 10, "only {of_four} rates were found");
    Ok(())
}

fn values() -> Result<()> {
    let [cluster, node, ..] = &lab::dashboards::all()[..] else { panic!("dashboards") };
    let text = r#"x{job=~"$job", node=~"${node}", instance=~"$instance"}[$__range] > $rows $other"#;
    let all = interpolate(text, cluster, &Choice::all());
    assert_eq!(all, r#"x{job=~".+", node=~".*", instance=~".+"}[60s] > 50 $other"#);
    let some = Choice::all().with("node", &["a.b", "c"]).with("instance", &["10.0.0.1:9747"]).with("rows", &["20"]);
    let some = interpolate(text, cluster, &some);
    assert_eq!(some, r#"x{job=~".+", node=~"(a\\.b|c)", instance=~"10\\.0\\.0\\.1:9747"}[60s] > 20 $other"#);
    // A plain scrape: no choices of `node`, and no All either.
    assert!(interpolate(text, node, &Choice::all()).contains(r#"node=~"""#));
    Ok(())
}
