//! The committed JSON Schemas: whatever a test reads from the agent has to be what they promise.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

use crate::{Error, Result};

/// A committed schema.
#[derive(Clone, Copy, Debug)]
pub enum Schema {
    /// `mtuscope.report/v1`.
    Report,
    /// `mtuscope.probe/v1`.
    Probe,
    /// `mtuscope.cluster/v1`.
    Cluster,
}

impl Schema {
    /// Holds a document against the schema.
    ///
    /// # Errors
    /// If it is no JSON, or breaks the schema: every place at which it does.
    pub fn check(self, text: &str) -> Result<()> {
        let doing = || format!("holding a document against {}", self.path().display());
        let document: Value = serde_json::from_str(text).map_err(|error| Error::new(doing(), error))?;
        let breaches: Vec<_> = self
            .validator()?
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if breaches.is_empty() { Ok(()) } else { Err(Error::new(doing(), breaches.join("\n"))) }
    }

    fn path(self) -> PathBuf {
        let file = match self {
            Self::Report => "report.schema.json",
            Self::Probe => "probe.schema.json",
            Self::Cluster => "cluster.schema.json",
        };
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../manifests").join(file)
    }

    fn validator(self) -> Result<&'static Validator> {
        static REPORT: OnceLock<Validator> = OnceLock::new();
        static PROBE: OnceLock<Validator> = OnceLock::new();
        static CLUSTER: OnceLock<Validator> = OnceLock::new();
        let place = match self {
            Self::Report => &REPORT,
            Self::Probe => &PROBE,
            Self::Cluster => &CLUSTER,
        };
        if let Some(validator) = place.get() {
            return Ok(validator);
        }
        let read = self.read()?;
        Ok(place.get_or_init(|| read))
    }

    fn read(self) -> Result<Validator> {
        let doing = || format!("reading {}", self.path().display());
        let text = fs::read_to_string(self.path()).map_err(|error| Error::new(doing(), error))?;
        let schema: Value = serde_json::from_str(&text).map_err(|error| Error::new(doing(), error))?;
        jsonschema::validator_for(&schema).map_err(|error| Error::new(doing(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::Schema;

    #[test]
    fn what_breaks_the_schema_is_named() {
        let told = Schema::Probe.check(r#"{"schema": "mtuscope.probe/v1", "paths": [{"peer": 1}]}"#).unwrap_err();
        assert!(told.to_string().contains("/paths/0"), "{told}");
        Schema::Probe.check(r#"{"schema": "mtuscope.probe/v1", "paths": []}"#).unwrap();
    }
}
