//! The runbook and README's table of codes: the catalogue as documents.
//!
//! Every entry stands under a heading that is its code and nothing else, so that the anchor is `#code` wherever Markdown
//! is shown; alerts point there. Links between entries are checked below.

use std::fmt::Write;

use agent::publish::explained::{Alerting, Explained, Incident, RUNBOOK, Step, headed};
use probes::alerts::agents::{ALL as WATCHES, Watch};
use probes::checks::Area;
use probes::report::Severity;

const HEAD: &str = "# Runbook\n\n\
    One entry for each code that mtuscope finds, and for each alert about the agents themselves. Written from the catalogue in the code \
    (`MTUSCOPE_REGENERATE=1 cargo test -p mtuscope-tests --test generate`); `mtuscope checks CODE` prints the same.\n\n\
    `mtuscope` is not installed on nodes: it is in the agent's pod. For the node's own view of NODE:\n\n\
    ```sh\n\
    POD=$(kubectl -n mtuscope get pods -l app.kubernetes.io/component=node-agent --field-selector spec.nodeName=NODE -o name)\n\
    kubectl -n mtuscope exec $POD -- /mtuscope probe ADDRESS\n\
    kubectl -n mtuscope exec $POD -- /mtuscope report --config /etc/mtuscope/config.yaml\n\
    ```\n\n\
    With `component=pod-agent`, what a pod on it sees. All other commands are for a shell on the node. With `components/tls` \
    no `http://NODE:9747` answers: use the second `exec`, or `curl --cacert ca.crt --cert tls.crt --key tls.key \
    --connect-to ::NODE: https://mtuscope:9747/report`.\n\n\
    What is true of all of them:\n\n\
    - A finding is a code and a subject (a link, a peer, a setting). `curl NODE:9747/report` has it with its evidence and a \
    remedy in which the observed values are filled in; those below are filled in for the example.\n\
    - Only loud findings alert. One that another explains is silenced: it stands in the report with `silenced_by`, and the \
    other one is as severe as the worst that it explains. So mend what is loud.\n\
    - What could not be looked at stands under `not_concluded` with the reason. It neither raises a finding nor clears one.\n\
    - Names in capitals (`LINK`, `PEER`, `ADDRESS`) are to be filled in; the finding has them. Commands are for the node \
    that found it, unless they say otherwise.\n\
    - Pods keep the MTU that they were born with until they are recreated.\n";

/// The runbook.
pub(crate) fn runbook(all: &[Explained]) -> String {
    let mut text = String::from(HEAD);
    for area in areas(all) {
        let codes: Vec<String> = of(all, area).map(|entry| format!("[{0}](#{0})", entry.code)).collect();
        _ = write!(text, "\n**{}** ({}): {}\n", capital(area.name()), area.title(), codes.join(" · "));
    }
    let agents: Vec<String> = WATCHES.iter().map(|watch| format!("[{0}](#{0})", watch.anchor)).collect();
    _ = write!(text, "\n**Agents** (alerts about the agents, which are no findings): {}\n", agents.join(" · "));
    all.iter().for_each(|one| text.push_str(&entry(one)));
    WATCHES.iter().for_each(|watch| text.push_str(&watched(watch)));
    text
}

/// The entry of an alert about agents.
fn watched(watch: &Watch) -> String {
    let Watch { name, anchor, severity, minutes, title, meaning, quiet, look, fix, .. } = watch;
    let severity = severity.name();
    let mut text = format!("\n## {anchor}\n\n**{}** ({severity}). {meaning}\n\n**Look**\n\n", capital(title));
    for look in *look {
        _ = writeln!(text, "- `{}`  \n  {}", look.run, look.see);
    }
    text.push_str("\n**Remedy**\n\n");
    fix.iter().for_each(|fix| _ = writeln!(text, "- {fix}"));
    text.push_str("\n**Facts**\n\n| | |\n|---|---|\n");
    row(&mut text, "never for", quiet);
    row(&mut text, "alert", &format!("`{name}`, after {minutes} min, {severity}"));
    text
}

/// README's table.
pub(crate) fn table(all: &[Explained]) -> String {
    let mut text = String::from("| code | severity | what it finds | alert |\n|---|---|---|---|\n");
    for area in areas(all) {
        _ = writeln!(text, "| **{}** | | {} | |", area.name(), area.title());
        for one in of(all, area) {
            let alert = one.alerting.map_or_else(|| "none".to_owned(), |alert| format!("after {} min", alert.minutes));
            let (code, title) = (one.code, cell(one.title));
            _ = writeln!(text, "| [`{code}`]({RUNBOOK}#{code}) | {} | {title} | {alert} |", names(one.severities));
        }
    }
    text
}

fn areas(all: &[Explained]) -> Vec<Area> {
    let mut areas: Vec<Area> = all.iter().map(|one| one.area).collect();
    areas.dedup();
    areas
}

fn of(all: &[Explained], area: Area) -> impl Iterator<Item = &Explained> {
    all.iter().filter(move |one| one.area == area)
}

fn entry(one: &Explained) -> String {
    let mut text =
        format!("\n## {}\n\n**{}** ({}). {}\n", one.code, capital(one.title), names(one.severities), one.meaning);
    text.push_str("\n**Look**\n\n");
    for look in one.steps {
        _ = writeln!(text, "- `{}`  \n  {}", look.run, look.see);
    }
    _ = write!(text, "\n**Example and remedy**\n\n> {}\n", one.example);
    text.push_str(&remedy(&one.remedies));
    text.push_str("\n**Facts**\n\n| | |\n|---|---|\n");
    for when in &one.when {
        row(&mut text, when.severity.name(), when.when);
    }
    row(&mut text, "never for", one.quiet);
    row(&mut text, "proof", one.evidence);
    row(&mut text, "explains", &links(one.silences));
    row(&mut text, "explained by", &links(&one.silenced_by));
    let queries: Vec<String> = one.metrics.iter().map(|query| format!("`{query}`")).collect();
    row(&mut text, "metrics", &queries.join("<br>"));
    row(&mut text, "alert", &alert(one));
    row(&mut text, "incidents", &incident(one.incident));
    text
}

fn remedy(steps: &[Step]) -> String {
    let mut text = String::new();
    for (setup, lines) in headed(steps) {
        if let Some(setup) = setup {
            _ = write!(text, "\n*{setup}*\n");
        }
        let alike = |a: &String, b: &String| a.starts_with("$ ") && b.starts_with("$ ");
        for (nth, lines) in lines.chunk_by(alike).enumerate() {
            text.push_str(&item(lines, nth > 0));
        }
    }
    text
}

/// A sentence is an item of the list; commands stand together, below the item before them, to be copied.
fn item(lines: &[String], below: bool) -> String {
    let commands: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("$ ")).collect();
    let indent = if below { "  " } else { "" };
    let code: Vec<String> = commands.iter().map(|command| format!("{indent}{command}\n")).collect();
    match lines {
        [sentence] if commands.is_empty() => format!("\n- {sentence}\n"),
        _ => format!("\n{indent}```sh\n{}{indent}```\n", code.concat()),
    }
}

fn row(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        _ = writeln!(text, "| {name} | {} |", cell(value));
    }
}

fn alert(one: &Explained) -> String {
    match one.alerting {
        Some(Alerting { name, minutes, severities: [only] }) => {
            format!("`{name}`, after {minutes} min, {}", only.name())
        }
        Some(Alerting { name, minutes, .. }) => format!("`{name}`, after {minutes} min, as severe as the finding"),
        None => one.alert.clone(),
    }
}

fn incident(incident: Incident) -> String {
    match incident {
        Incident::Known { title, text, threads } => {
            let threads: Vec<String> = threads.iter().map(|thread| thread_link(thread)).collect();
            format!("{title}. {text}<br>{}", threads.join(", "))
        }
        Incident::NoThread { why } => why.to_owned(),
    }
}

fn thread_link(thread: &str) -> String {
    let (repository, number) = thread.split_once('#').expect("a thread is owner/repository#number");
    format!("[{thread}](https://github.com/{repository}/issues/{number})")
}

fn links(codes: &[&str]) -> String {
    codes.iter().map(|code| format!("[{code}](#{code})")).collect::<Vec<_>>().join(", ")
}

fn names(severities: &[Severity]) -> String {
    severities.iter().map(|severity| severity.name()).collect::<Vec<_>>().join(", ")
}

/// Text for a cell: a bar would end it, in code too.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_has_one_anchor_and_every_link_leads_to_one() {
        let text = runbook(&Explained::all());
        let anchors: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let codes = probes::checks::ALL.iter().map(|check| check.entry.code);
        let codes: Vec<&str> = codes.chain(WATCHES.iter().map(|watch| watch.anchor)).collect();
        assert_eq!(anchors, codes);
        let linked: BTreeSet<&str> = text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(linked.iter().all(|anchor| codes.contains(anchor)), "{linked:?}");
        assert_eq!(linked.len(), codes.len(), "the contents name each");
    }

    #[test]
    fn the_table_leads_to_the_runbook() {
        let all = Explained::all();
        let table = table(&all);
        assert!(all.iter().all(|one| table.contains(&format!("]({})", one.runbook))));
        assert!(table.lines().all(|line| line.matches(" | ").count() <= 3), "a bar within a cell");
    }
}
