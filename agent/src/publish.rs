//! The one way out: metrics, HTTP and text, all made from the latest published report.

pub mod explained;
pub mod exposition;
pub mod http;
pub mod metrics;
pub mod page;
pub mod text;

#[cfg(test)]
pub(crate) mod example;

use probes::card::Card;
use probes::cluster::Matrix;
use probes::report::{ProbeReport, Report};

/// Version and origin of this binary.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the binary was built from, `unknown` if the build was not told (`MTUSCOPE_REVISION`).
pub const REVISION: &str = match option_env!("MTUSCOPE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// The name and version of what `mtuscope probe --output json` prints.
pub const PROBE_SCHEMA: &str = "mtuscope.probe/v1";

/// The JSON Schema of the report (`mtuscope.report/v1`).
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Report).to_value()
}

/// The JSON Schema of what `/cluster` serves (`mtuscope.cluster/v1`).
pub fn cluster_schema() -> serde_json::Value {
    schemars::schema_for!(Matrix).to_value()
}

/// The JSON Schema of what `mtuscope probe` prints (`mtuscope.probe/v1`).
pub fn probe_schema() -> serde_json::Value {
    schemars::schema_for!(ProbeReport).to_value()
}

/// The JSON Schema of what a node says of itself (`mtuscope.node/v1`).
pub fn node_schema() -> serde_json::Value {
    schemars::schema_for!(Card).to_value()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_asks_for_what_every_report_has() {
        let schema = super::schema();
        let required = schema["required"].as_array().unwrap();
        for field in ["schema", "node", "summary", "paths", "findings", "not_concluded"] {
            assert!(required.iter().any(|name| name == field), "{field}");
        }
    }
}
