//! The agent: everything that touches the world.
//!
//! Raw facts come in at [`io`], [`probes::node::Node`] decides, and [`publish`] is the only way out. This library holds
//! it all so that the lab can start exactly what ships; the binary parses nothing and only passes [`run`]'s status on.

pub mod app;
pub mod commands;
pub mod config;
pub mod driver;
pub mod io;
mod logs;
pub mod outcome;
pub mod publish;
pub mod survey;

pub use app::run;
