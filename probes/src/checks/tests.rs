//! The list itself: complete, without a code twice, and judged where it means something.

use std::collections::BTreeSet;

use super::*;
use crate::snapshot::example::Example;

#[test]
fn codes_are_unique_and_silence_only_codes_of_the_list() {
    let codes: BTreeSet<_> = ALL.iter().map(|check| check.entry.code).collect();
    assert_eq!(codes.len(), ALL.len());
    for check in ALL {
        assert!(check.entry.silences.iter().all(|code| codes.contains(code)), "{}", check.entry.code);
    }
}

#[test]
fn from_within_a_pod_paths_are_judged_and_nothing_of_the_node() {
    let node = Example::reference().snapshot();
    let judged = judge_from(Vantage::Pod, &node, Work::Report);
    let areas: BTreeSet<_> = judged.iter().map(|outcome| outcome.entry.area).collect();
    assert!(!areas.contains(&Area::Declared) && !areas.contains(&Area::Cluster), "{areas:?}");
    for entry in judged.iter().map(|outcome| outcome.entry).filter(|entry| entry.area == Area::Kernel) {
        let of_its_own = ["pmtu-discovery-off", "fragmentation-failing", "udp-checksum-errors"];
        assert!(of_its_own.contains(&entry.code), "{}", entry.code);
    }
    let paths = ALL.iter().filter(|check| check.entry.area == Area::Paths);
    assert!(paths.into_iter().all(|check| check.in_pods), "what is measured is measured from anywhere");
    assert_eq!(judge_all(&node, Work::Report).len(), ALL.len());
}

#[test]
fn entries_are_complete() {
    for check in ALL {
        let entry = check.entry;
        assert!(entry.severities.is_sorted() && !entry.severities.is_empty(), "{}", entry.code);
        assert!(!entry.title.is_empty() && entry.meaning.ends_with('.') && !entry.look.is_empty(), "{}", entry.code);
        if let Alert::Named { name, .. } = entry.alert {
            assert!(name.starts_with("Mtuscope"), "{name}");
        }
    }
}

#[test]
fn entries_say_when_they_have_which_severity_and_what_to_see() {
    for check in ALL {
        let Entry { code, severities, when, quiet, look, metrics, class, .. } = check.entry;
        assert_eq!(when.len(), severities.len(), "{code}: a phrase for each severity");
        let no_thread = if let Class::NoThread { why } = class { Some(*why) } else { None };
        let seen = look.iter().flat_map(|look| [look.run, look.see]);
        for phrase in when.iter().copied().chain([*quiet]).chain(seen).chain(no_thread) {
            assert!(!phrase.is_empty() && !phrase.ends_with('.'), "{code}: a phrase: {phrase}");
        }
        assert!(metrics.iter().all(|query| query.contains("mtuscope_")), "{code}: {metrics:?}");
    }
}

#[test]
fn evidence_is_what_its_schema_says() {
    let mut generator = SchemaGenerator::default();
    for check in ALL {
        let schema = check.evidence_schema(&mut generator);
        let declared = schema.get("properties").and_then(|properties| properties.as_object()).unwrap();
        let evidence = check.example().evidence;
        let evidence = evidence.as_object().unwrap();
        let required = schema.get("required").and_then(|required| required.as_array()).unwrap();
        assert!(evidence.keys().all(|key| declared.contains_key(key)), "{}", check.entry.code);
        assert!(required.iter().all(|key| evidence.contains_key(key.as_str().unwrap())), "{}", check.entry.code);
        let described = |schema: &serde_json::Value| schema.get("description").is_some();
        assert!(declared.values().all(described), "{}: {schema:?}", check.entry.code);
    }
}

#[test]
fn examples_have_a_sentence_and_a_fix() {
    for check in ALL {
        let example = check.example();
        assert!(example.summary.len() > 20, "{}", check.entry.code);
        assert!(!example.fixes.is_empty(), "{}", check.entry.code);
    }
}
