//! README's examples for Prometheus and Alertmanager, held against the programs that they are for; its limits of the
//! configuration, against the agent; its links, against what is there.
//!
//! Whoever is in a hurry copies them as they stand. They fail here if a key is unknown or misspelt, if a file that they
//! name is not one that ships or that the reader is told to make, if alerts of a severity do not come to whom they are
//! meant for, or if targets would get job names that the rules do not know. `.ci/manifests` renders its kustomizations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails in a helper here fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::config::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the reader has beside the example: the rules from here, credentials of his own.
const CREDENTIALS: [&str; 4] = ["ca.crt", "client.crt", "client.key", "token"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    fs::read_to_string(repository().join("README.md")).unwrap()
}

/// README's blocks of YAML whose first line names this file.
fn blocks(file: &str) -> Vec<String> {
    let readme = readme();
    let fenced =
        readme.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block));
    fenced.filter(|block| block.starts_with(&format!("# {file}"))).map(|block| format!("{block}\n")).collect()
}

/// A directory with the example and what it names.
fn beside(file: &str, example: &str) -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join(file), example).unwrap();
    let rules = repository().join("manifests/alerts/mtuscope.rules.yaml");
    fs::copy(rules, scratch.path().join("mtuscope.rules.yaml")).unwrap();
    for name in CREDENTIALS {
        fs::write(scratch.path().join(name), "").unwrap();
    }
    scratch
}

/// Runs a checker there, and gives what it printed.
fn check(scratch: &TempDir, program: &str, package: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(scratch.path()).output();
    let output = output.unwrap_or_else(|error| panic!("running {program}: {error}; Debian's package {package} has it"));
    let [printed, said] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{program} {arguments:?}: {}: {printed}{said}", output.status);
    printed
}

/// The example that finds agents by the API, with pods that the API would tell of in its place: Debian's Prometheus is
/// built without it.
fn discovered(example: &str) -> String {
    let mut config: Value = serde_saphyr::from_str(example).unwrap();
    for job in config["scrape_configs"].as_array_mut().unwrap() {
        if let Some(asked) = job.as_object_mut().unwrap().remove("kubernetes_sd_configs") {
            assert_eq!(asked, json!([{ "role": "pod", "namespaces": { "names": ["mtuscope"] } }]));
            job["static_configs"] = pods().into();
        }
    }
    config.to_string()
}

/// A target for each port of each DaemonSet's pod on a node, as Prometheus makes them. With TLS, health has a port too.
fn pods() -> Vec<Value> {
    let rendered = fs::read_to_string(repository().join("manifests/rendered/tls.yaml")).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    let target = |set: &Value, port: &Value| {
        json!({ "targets": [format!("10.0.0.11:{}", port["containerPort"])], "labels": {
            "__meta_kubernetes_namespace": set["metadata"]["namespace"],
            "__meta_kubernetes_pod_name": format!("{}-x7k2p", set["metadata"]["name"].as_str().unwrap()),
            "__meta_kubernetes_pod_node_name": "master-1",
            "__meta_kubernetes_pod_controller_name": set["metadata"]["name"],
            "__meta_kubernetes_pod_container_port_name": port["name"],
            "__meta_kubernetes_pod_label_app_kubernetes_io_name":
                set["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"],
        } })
    };
    let sets = objects.iter().filter(|object| object["kind"] == "DaemonSet");
    let targets = sets.flat_map(|set| {
        let ports = set["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().unwrap();
        ports.iter().map(move |port| target(set, port))
    });
    targets.collect()
}

#[test]
fn prometheus_takes_the_scrape_examples() {
    let examples = blocks("prometheus.yml");
    assert_eq!(examples.len(), 3, "with credentials, by the API, and from a list");
    for example in examples {
        let config = if example.contains("kubernetes_sd_configs") { discovered(&example) } else { example };
        check(&beside("prometheus.yml", &config), "promtool", "prometheus", &["check", "config", "prometheus.yml"]);
    }
}

/// The rules know agents that are down by their job: `mtuscope` or `mtuscope-pod`. Fails where a target gets another name,
/// has no node, or is a port that serves no metrics.
#[test]
fn pods_become_targets_that_rules_know() {
    let examples = blocks("prometheus.yml");
    let by_api = examples.iter().find(|example| example.contains("kubernetes_sd_configs")).unwrap();
    // It looks for as long as it is told to, and prints what it has by then.
    let arguments = ["check", "service-discovery", "--timeout=3s", "prometheus.yml", "mtuscope"];
    let printed = check(&beside("prometheus.yml", &discovered(by_api)), "promtool", "prometheus", &arguments);
    let targets: Vec<Value> = serde_json::from_str(&printed).unwrap();
    assert_eq!(targets.len(), pods().len(), "{printed}");
    let kept = targets.iter().map(|target| &target["labels"]).filter(|labels| labels["__address__"].is_string());
    let of = |labels: &Value, name: &str| labels[name].as_str().unwrap_or_default().to_owned();
    let mut named: Vec<_> =
        kept.map(|kept| ["job", "node", "namespace", "pod", "instance"].map(|name| of(kept, name))).collect();
    named.sort_unstable();
    let wanted = [
        ["mtuscope", "master-1", "mtuscope", "mtuscope-x7k2p", "10.0.0.11:9747"],
        ["mtuscope-pod", "master-1", "mtuscope", "mtuscope-pod-x7k2p", "10.0.0.11:9747"],
    ];
    assert_eq!(named, wanted);
}

/// Every target of the list has its node, and the job that rules go by.
#[test]
fn machines_become_targets_that_rules_know() {
    for example in blocks("prometheus.yml") {
        let config: Value = serde_saphyr::from_str(&example).unwrap();
        for job in config["scrape_configs"].as_array().unwrap() {
            assert_eq!(job["job_name"], "mtuscope");
            let groups = job["static_configs"].as_array().into_iter().flatten();
            assert!(groups.into_iter().all(|group| group["labels"]["node"].is_string()), "{job}");
        }
    }
}

#[test]
fn alertmanager_takes_the_example_and_sends_each_severity_where_it_belongs() {
    let [example] = &blocks("alertmanager.yml")[..] else { panic!("one example") };
    let scratch = beside("alertmanager.yml", example);
    let amtool = |arguments: &[&str]| check(&scratch, "amtool", "prometheus-alertmanager", arguments);
    amtool(&["check-config", "alertmanager.yml"]);
    let alerts = [
        ("pager", "MtuscopePathBlackHole", "critical"),
        ("chat", "MtuscopePathBlackHole", "warning"),
        ("nobody", "MtuscopeSeriesSuppressed", "info"),
        ("chat", "SomebodyElses", "critical"),
    ];
    for (receiver, name, severity) in alerts {
        let verify = format!("--verify.receivers={receiver}");
        let (name, severity) = (format!("alertname={name}"), format!("severity={severity}"));
        amtool(&["config", "routes", "test", "--config.file=alertmanager.yml", &verify, &name, &severity]);
    }
}

/// The rows of README's table of the configuration whose last column is a range: the key, and both ends.
fn ranges(readme: &str) -> Vec<(&str, &str, &str)> {
    let (_, rest) = readme.split_once("\n| key | meaning | default | allowed |\n").unwrap();
    let rows = rest.lines().take_while(|line| line.starts_with('|')).filter(|line| line.starts_with("| `"));
    let range = |row| {
        let cells: Vec<&str> = str::trim_end_matches(row, " |").split(" | ").collect();
        let (least, most) = cells.last()?.split_once(" to ")?;
        let is_end = |end: &&str| end.chars().all(|c| c.is_ascii_alphanumeric() || "`_,".contains(c));
        Some((cells[0].trim_matches(['|', ' ', '`']), least, most))
            .filter(|(_, least, most)| is_end(least) && is_end(most))
    };
    rows.filter_map(range).collect()
}

/// A value as the agent takes it, and the one that is so much larger: `1h` and `1,000` as they stand, a key's name as the
/// value that this key has here.
fn value(end: &str, more: i64) -> String {
    let bare = end.trim_matches('`');
    let seconds =
        [("s", 1), ("h", 3600)].iter().find_map(|(unit, of)| Some((bare.strip_suffix(unit)?.parse::<i64>().ok()?, of)));
    match (end, seconds) {
        ("`underlay_mtu`", _) => (1400 + more).to_string(),
        (_, Some((count, of))) => format!("{}s", count * of + more),
        _ => (bare.replace(',', "").parse::<i64>().unwrap() + more).to_string(),
    }
}

/// Both ends are taken and one beyond either is refused. Fails where the agent's limits move and README does not say so.
#[test]
fn limits_of_the_configuration_are_those_of_the_agent() {
    let readme = readme();
    let ranges = ranges(&readme);
    let keys: Vec<&str> = ranges.iter().map(|(key, ..)| *key).collect();
    assert_eq!(keys.len(), 9, "every row with a range is tried: {keys:?}");
    for (key, least, most) in ranges {
        let takes = |value: &str| {
            let (section, own) = key.split_once('.').unwrap();
            let beside = if key == "expect.overlay_mtu" { "underlay_mtu: 1400, " } else { "" };
            Settings::parse(&format!("{section}: {{ {beside}{own}: {value} }}\n"), "n".into()).is_ok()
        };
        for (end, beyond) in [(least, -1), (most, 1)] {
            let (end, beyond) = (value(end, 0), value(end, beyond));
            assert!(takes(&end), "README allows {key}: {end}, and the agent refuses it");
            assert!(!takes(&beyond), "README does not allow {key}: {beyond}, and the agent takes it");
        }
    }
}

/// The anchor that a heading gets where Markdown is shown.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Headings and links outside of blocks.
fn prose(markdown: &str) -> String {
    markdown.split("\n```").step_by(2).collect()
}

#[test]
fn links_lead_somewhere() {
    let readme = prose(&readme());
    let headings = |text: &str| -> BTreeSet<String> {
        let heads = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
        heads.map(anchor).collect()
    };
    let links: BTreeSet<&str> = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let links: Vec<&str> = links.into_iter().filter(|link| !link.starts_with("https://")).collect();
    assert!(links.len() > 50, "{links:?}");
    for link in links {
        let (file, to) = link.split_once('#').unwrap_or((link, ""));
        let text = match file {
            "" => readme.clone(),
            file if to.is_empty() => {
                assert!(repository().join(file).exists(), "{link} is not there");
                continue;
            }
            file => prose(&fs::read_to_string(repository().join(file)).unwrap()),
        };
        assert!(headings(&text).contains(to), "{link} leads nowhere");
    }
}
