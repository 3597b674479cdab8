//! How dashboards get into a cluster: a ConfigMap each, found by its label, small enough to be applied.
//!
//! `.ci/manifests` renders them and validates what comes out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lab::dashboards;
use lab::harness::test;
use lab::{Error, Result};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::lint::committed;

/// What annotations of an object may have in all. `kubectl apply` notes the whole object in one.
const ANNOTATIONS: usize = 256 * 1024;

/// That they are all there, and fit.
pub(crate) fn tests() -> Vec<Trial> {
    vec![test("each dashboard has a ConfigMap that the sidecar finds and kubectl can apply", delivered)]
}

fn delivered() -> Result<()> {
    let folder = read("grafana/kustomization.yaml")?;
    let maps = folder["configMapGenerator"].as_array().expect("it generates ConfigMaps");
    let files: BTreeSet<_> = maps.iter().map(|map| map["files"][0].as_str().unwrap_or_default().to_owned()).collect();
    let wanted: BTreeSet<_> = dashboards::all().iter().map(|one| format!("{}.json", one.uid)).collect();
    assert_eq!(files, wanted);
    assert!(maps.iter().all(|map| map["namespace"] == "mtuscope" && map["files"].as_array().map(Vec::len) == Some(1)));
    assert_eq!(folder["generatorOptions"]["labels"]["grafana_dashboard"], "1", "the sidecar finds them by it");
    assert_eq!(folder["generatorOptions"]["disableNameSuffixHash"], true, "an old one would stay beside the new one");
    let component = read("components/grafana-dashboards/kustomization.yaml")?;
    assert_eq!(component["resources"], json!(["../../grafana"]));
    for dashboard in dashboards::all() {
        let text = dashboards::json(&dashboard).map_err(|error| Error::new("writing a dashboard", error))?;
        let noted = json!({ "data": { dashboard.uid: text } }).to_string().len();
        assert!(noted < ANNOTATIONS - 1024, "{}: kubectl would note {noted} bytes of {ANNOTATIONS}", dashboard.uid);
        assert_eq!(committed(dashboard.uid)?["uid"], dashboard.uid);
    }
    Ok(())
}

fn read(path: &str) -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests").join(path);
    let reading = || format!("reading {}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| Error::new(reading(), error))?;
    serde_saphyr::from_str(&text).map_err(|error| Error::new(reading(), error))
}
