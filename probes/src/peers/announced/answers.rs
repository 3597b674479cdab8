//! What an API server answers, as far as it is needed.
//!
//! Of an EndpointSlice a tenth is of use here; the rest – managed fields, ports, hints – is skipped while it is read and
//! never held. Servers written in Go say `null` for an empty list, so every list may be that. A field that a later
//! version adds is passed over; one that has become something else makes the answer unreadable, which is told.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A list, or a chunk of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Page {
    /// About the list.
    pub metadata: Meta,
    /// What is in it.
    pub items: Option<Vec<Object>>,
}

impl Page {
    /// Reads an answer to a list.
    ///
    /// # Errors
    /// If it is no list, with where it goes wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let page: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if page.metadata.resource_version.is_empty() {
            return Err("a list without metadata.resourceVersion".into());
        }
        Ok(page)
    }
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
pub enum Event {
    /// An object is there.
    Added(Object),
    /// It has changed.
    Modified(Object),
    /// It is gone.
    Deleted(Object),
    /// Nothing changed up to this version.
    Bookmark(Object),
    /// The watch cannot go on.
    Error(Status),
}

impl Event {
    /// Reads a line. A status that stands there in place of an event is an error too.
    ///
    /// # Errors
    /// If it is no event, with where it goes wrong.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).or_else(|error| match serde_json::from_slice::<Status>(line) {
            Ok(status) if status.code != 0 => Ok(Self::Error(status)),
            _ => Err(error.to_string()),
        })
    }
}

/// An EndpointSlice.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Object {
    /// What every object has.
    pub metadata: Meta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// Its endpoints.
    pub endpoints: Option<Vec<Listed>>,
}

/// `metadata`, of an object or a list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Name of the object.
    pub name: String,
    /// Version, opaque.
    pub resource_version: String,
    /// Where a list goes on.
    #[serde(rename = "continue")]
    pub go_on: Option<String>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Meta {
    /// Whether this bookmark ends the events that a streamed list begins with.
    pub fn ends_initial_events(&self) -> bool {
        let annotations = self.annotations.as_ref();
        annotations.and_then(|all| all.get("k8s.io/initial-events-end")).is_some_and(|value| value == "true")
    }
}

/// An endpoint as a slice lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listed {
    /// Its addresses.
    pub addresses: Option<Vec<String>>,
    /// What is said of its state.
    pub conditions: Conditions,
    /// What it stands for.
    pub target_ref: Option<Target>,
    /// The node that it is on.
    pub node_name: Option<String>,
    /// That node's zone.
    pub zone: Option<String>,
}

/// `conditions`. What is not said is left to the reader: `ready` is then to be taken for true.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// Whether it is ready.
    pub ready: Option<bool>,
    /// Whether it is about to end; it may still be serving.
    pub terminating: Option<bool>,
}

/// `targetRef`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Target {
    /// The pod's name.
    pub name: String,
    /// Its identity, which a pod of the same name after it does not have.
    pub uid: String,
}

/// What the API says in place of an answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The HTTP status that it has or would have.
    pub code: u16,
    /// One word for it, as in `Forbidden`.
    pub reason: String,
    /// What happened.
    pub message: String,
    /// More of it.
    pub details: Option<Details>,
}

/// `details` of a status.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// Seconds to wait.
    pub retry_after_seconds: u32,
    /// What led to it.
    pub causes: Option<Vec<Cause>>,
}

/// One of `details.causes`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Cause {
    /// One word for it.
    pub reason: String,
}

impl Status {
    /// Whether the version asked for is one that this server has not come to: one of its fellows is ahead of it, or its
    /// store was restored from a backup and never will.
    pub fn is_ahead(&self) -> bool {
        let causes = self.details.iter().filter_map(|details| details.causes.as_ref()).flatten();
        let named = causes.into_iter().any(|cause| cause.reason == "ResourceVersionTooLarge");
        self.code == 504 && (named || self.message.contains("Too large resource version"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_for_what_is_needed() {
        let page = Page::parse(
            br#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"71","continue":"abc","remainingItemCount":3},
                "items":[{"metadata":{"name":"a","labels":{"kubernetes.io/service-name":"mtuscope"},"managedFields":[{}]},
                "addressType":"IPv4","endpoints":[{"addresses":["10.0.0.12"],"conditions":{},"nodeName":"m","hints":{}}],
                "ports":null}]}"#,
        )
        .unwrap();
        assert_eq!((page.metadata.resource_version.as_str(), page.metadata.go_on.as_deref()), ("71", Some("abc")));
        let items = page.items.unwrap();
        assert_eq!(items[0].endpoints.as_ref().unwrap()[0].node_name.as_deref(), Some("m"));
    }

    #[test]
    fn null_is_an_empty_list() {
        let page = Page::parse(br#"{"metadata":{"resourceVersion":"1"},"items":null}"#).unwrap();
        assert!(page.items.is_none());
        let event = br#"{"type":"ADDED","object":{"metadata":{"name":"a","annotations":null},"endpoints":null}}"#;
        assert!(matches!(Event::parse(event), Ok(Event::Added(Object { endpoints: None, .. }))));
    }

    #[test]
    fn what_is_no_list_is_told() {
        for text in ["", "[]", "{}", "<html>", r#"{"kind":"Status","code":500}"#, r#"{"metadata":{},"items":3}"#] {
            assert!(Page::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn every_kind_of_event_is_known() {
        for kind in ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"] {
            let line = format!(r#"{{"type":"{kind}","object":{{"kind":"EndpointSlice","metadata":{{"name":"a"}}}}}}"#);
            assert!(Event::parse(line.as_bytes()).is_ok(), "{kind}");
        }
        let gone = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
        assert!(matches!(Event::parse(gone), Ok(Event::Error(Status { code: 410, .. }))));
        let bare = br#"{"kind":"Status","metadata":{},"code":500,"reason":"InternalError"}"#;
        assert!(matches!(Event::parse(bare), Ok(Event::Error(Status { code: 500, .. }))));
        assert!(Event::parse(br#"{"type":"RENAMED","object":{}}"#).is_err());
        assert!(Event::parse(br#"{"type":"ADDED","obj"#).is_err());
    }

    #[test]
    fn only_the_annotated_bookmark_ends_the_beginning() {
        let meta = |text: &str| serde_json::from_str::<Meta>(text).unwrap().ends_initial_events();
        assert!(meta(r#"{"annotations":{"k8s.io/initial-events-end":"true"}}"#));
        assert!(!meta(r#"{"annotations":{"k8s.io/initial-events-end":"false"}}"#) && !meta("{}"));
    }

    #[test]
    fn a_version_that_a_server_has_not_come_to_is_told_from_other_delays() {
        let status = |text: &str| serde_json::from_str::<Status>(text).unwrap().is_ahead();
        assert!(status(r#"{"code":504,"details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#));
        assert!(status(r#"{"code":504,"message":"Timeout: Too large resource version: 9, current: 1"}"#));
        assert!(!status(r#"{"code":504,"message":"request did not complete"}"#));
    }
}
