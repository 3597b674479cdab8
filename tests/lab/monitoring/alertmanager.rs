//! A real Alertmanager that tells a webhook everything at once.
//!
//! Every alert is a group of its own and waits for nothing, so a notification is one alert that fires or has resolved.
//! Nothing is repeated while a test runs: what arrives twice was sent twice.

use std::net::SocketAddr;

use super::Webhook;
use super::program::{Kind, Program};
use crate::Result;
use crate::namespace::Namespace;

const KIND: Kind = Kind { name: "prometheus-alertmanager", package: "prometheus-alertmanager", port: 9093 };

/// An Alertmanager that runs. It is killed with this value.
#[derive(Debug)]
pub struct Alertmanager<'c> {
    program: Program<'c>,
}

impl<'c> Alertmanager<'c> {
    /// Starts it beside the webhook, and waits until it is ready.
    ///
    /// # Errors
    /// If it is not installed, ends early or does not become ready; with what it logged.
    pub fn start(place: &'c Namespace, webhook: &Webhook) -> Result<Self> {
        let config = format!(
            "route:\n  receiver: webhook\n  group_by: ['...']\n  group_wait: 0s\n  group_interval: 1s\n  \
             repeat_interval: 24h\nreceivers:\n  - name: webhook\n    webhook_configs:\n      \
             - {{ url: '{}', send_resolved: true }}\n",
            webhook.url()
        );
        let program = Program::start(place, &KIND, &[("alertmanager.yml", config)], |command, directory| {
            command.arg(format!("--config.file={}", directory.join("alertmanager.yml").display()));
            command.arg(format!("--storage.path={}", directory.join("data").display()));
            // It has no fellows, and looks for none.
            command.arg("--cluster.listen-address=");
        })?;
        Ok(Self { program })
    }

    /// Where it takes alerts, in its namespace.
    pub fn address(&self) -> SocketAddr {
        self.program.server()
    }
}
