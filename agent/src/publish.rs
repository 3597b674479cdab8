//! The one way out: metrics, HTTP and text, all made from the latest published report.

pub mod exposition;
pub mod http;
pub mod metrics;
pub mod text;
