//! The driver: one owner of [`probes::node::Node`], one clock.
//!
//! It drains what the node wants done, waits for the world or the node's deadline, and feeds back what happened.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use probes::config::Config;
use probes::fact::Unread;
use probes::report::Published;

/// Runs rounds until `on_round` breaks. Needs a tokio runtime with I/O and time enabled, on one thread.
///
/// # Errors
/// If the kernel's tables cannot be asked for at all. Missing rights for probing are no error: rounds go on without.
pub async fn drive(
    _config: Config,
    _host_root: &Path,
    _on_round: impl FnMut(Arc<Published>) -> ControlFlow<()>,
) -> Result<(), Unread> {
    std::future::pending().await
}
