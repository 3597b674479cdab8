//! What mtuscope decides.
//!
//! This crate does **not** touch the world: no socket, file, clock, thread or async. Everything comes in as
//! [`node::Input`], everything leaves as [`node::Output`], and time is an argument. A lint configuration of its own
//! bans the rest, and the gate fails if an I/O crate turns up among its dependencies.
//!
//! The way of a packet: [`kernel`] turns messages into facts, [`path`] decides which size to try next, [`prober`]
//! sends for all paths, [`node`] owns them all, the catalogue judges, and [`report`] is what leaves. [`survey`] measures
//! paths that somebody named, once, and judges nothing.
#![forbid(unsafe_code)]

pub mod alerts;
mod bucket;
pub mod card;
pub mod checks;
pub mod cluster;
pub mod config;
pub mod declared;
pub mod fact;
pub mod history;
pub mod kernel;
pub mod loss;
pub mod node;
pub mod overhead;
pub mod path;
pub mod peers;
pub mod prober;
pub mod remedy;
pub mod report;
pub mod schedule;
pub mod silence;
pub mod snapshot;
pub mod subject;
pub mod survey;
pub mod tables;
pub mod telemetry;
pub mod transfer;
pub mod units;
pub mod windows;
pub mod wire;
