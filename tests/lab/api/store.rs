//! Objects, their versions, and what happened to them since when.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Slice;

/// Versions begin here, as in a cluster that has been used.
const FIRST: u64 = 1_000;

/// The objects of one collection.
#[derive(Debug)]
pub(super) struct Store {
    version: u64,
    /// What was before this version is forgotten.
    floor: u64,
    objects: BTreeMap<String, Value>,
    history: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug)]
struct Change {
    version: u64,
    name: String,
    before: Option<Value>,
    after: Option<Value>,
}

/// The wanted version is not to be had any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooOld {
    /// The oldest that is.
    pub(super) floor: u64,
}

/// Which objects a request is about: those of these Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    /// All objects.
    All,
    /// Those with one of these values of the label.
    Services(Vec<String>),
}

impl Selector {
    /// Reads `kubernetes.io/service-name in (a,b)`, the only one that tests need; `None` of any other.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::All);
        }
        let list = text.strip_prefix(LABEL)?.trim_start().strip_prefix("in")?.trim_start();
        let list = list.strip_prefix('(')?.strip_suffix(')')?;
        Some(Self::Services(list.split(',').map(|service| service.trim().to_owned()).collect()))
    }

    fn takes(&self, object: &Value) -> bool {
        match self {
            Self::All => true,
            Self::Services(services) => {
                let service = object["metadata"]["labels"][LABEL].as_str();
                service.is_some_and(|service| services.iter().any(|wanted| wanted == service))
            }
        }
    }
}

/// The label that names the Service.
const LABEL: &str = "kubernetes.io/service-name";

impl Default for Store {
    fn default() -> Self {
        Self { version: FIRST, floor: FIRST, objects: BTreeMap::new(), history: Vec::new() }
    }
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn put(&mut self, slice: &Slice) {
        self.version += 1;
        let object = slice.to_json(self.version);
        let before = self.objects.insert(slice.name.clone(), object.clone());
        self.history.push(Change { version: self.version, name: slice.name.clone(), before, after: Some(object) });
    }

    pub(super) fn delete(&mut self, name: &str) {
        let Some(before) = self.objects.remove(name) else { return };
        self.version += 1;
        self.history.push(Change { version: self.version, name: name.into(), before: Some(before), after: None });
    }

    /// Forgets what was before the present version, which is a new one.
    pub(super) fn expire(&mut self) {
        self.version += 1;
        self.floor = self.version;
        self.history.clear();
    }

    /// The same objects at a version that is small again.
    pub(super) fn restore(&mut self) {
        self.version = FIRST / 2;
        self.floor = self.version;
        self.history.clear();
        for object in self.objects.values_mut() {
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
        }
    }

    /// The selected objects as they were at a version, by name.
    pub(super) fn at(&self, version: u64, selector: &Selector) -> Result<Vec<Value>, TooOld> {
        if version < self.floor {
            return Err(TooOld { floor: self.floor });
        }
        let mut objects = self.objects.clone();
        for change in self.history.iter().rev().take_while(|change| change.version > version) {
            match &change.before {
                Some(before) => _ = objects.insert(change.name.clone(), before.clone()),
                None => _ = objects.remove(&change.name),
            }
        }
        Ok(objects.into_values().filter(|object| selector.takes(object)).collect())
    }

    /// The events after a version, as a watch with this selector sees them: an object that it selects no more is gone.
    pub(super) fn since(&self, version: u64, selector: &Selector) -> Result<Vec<(&'static str, Value)>, TooOld> {
        if version < self.floor {
            return Err(TooOld { floor: self.floor });
        }
        let after = self.history.iter().filter(|change| change.version > version);
        Ok(after.filter_map(|change| change.seen_by(selector)).collect())
    }
}

impl Change {
    fn seen_by(&self, selector: &Selector) -> Option<(&'static str, Value)> {
        let taken = |object: &Option<Value>| object.clone().filter(|object| selector.takes(object));
        match (taken(&self.before), taken(&self.after)) {
            (None, Some(now)) => Some(("ADDED", now)),
            (Some(_), Some(now)) => Some(("MODIFIED", now)),
            (Some(mut before), None) => {
                before["metadata"]["resourceVersion"] = self.version.to_string().into();
                Some(("DELETED", before))
            }
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(objects: &[Value]) -> Vec<&str> {
        objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect()
    }

    fn selector() -> Selector {
        Selector::parse("kubernetes.io/service-name in (a, b)").unwrap()
    }

    #[test]
    fn a_list_is_as_of_its_version() {
        let mut store = Store::default();
        store.put(&Slice::new("one", "a"));
        let then = store.version();
        store.put(&Slice::new("two", "b"));
        store.put(&Slice::new("other", "c"));
        store.delete("one");
        assert_eq!(names(&store.at(then, &selector()).unwrap()), ["one"]);
        assert_eq!(names(&store.at(store.version(), &selector()).unwrap()), ["two"]);
        assert_eq!(store.at(store.version(), &Selector::All).unwrap().len(), 2);
    }

    #[test]
    fn events_are_those_that_the_selector_sees() {
        let mut store = Store::default();
        let then = store.version();
        store.put(&Slice::new("one", "a"));
        store.put(&Slice::new("one", "b"));
        store.put(&Slice::new("one", "c"));
        store.put(&Slice::new("two", "c"));
        let seen: Vec<_> = store.since(then, &selector()).unwrap().into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(seen, ["ADDED", "MODIFIED", "DELETED"]);
    }

    #[test]
    fn what_is_forgotten_is_told() {
        let mut store = Store::default();
        let then = store.version();
        store.put(&Slice::new("one", "a"));
        store.expire();
        assert!(store.since(then, &Selector::All).is_err() && store.at(then, &Selector::All).is_err());
        assert_eq!(store.since(store.version(), &Selector::All).unwrap(), []);
    }
}
