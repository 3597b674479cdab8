//! The thread that hears from the Kubernetes API which agents there are.
//!
//! It runs whether peers are to come from there or not, asleep if not: a changed configuration may say so at any time.
//! Should it ever end, the last word holds.

use probes::peers::announced::Announced;
use tokio::sync::watch;

use crate::config::Kubernetes;
use crate::outcome::Failure;

/// Starts it: what it hears.
#[cfg(feature = "kubernetes")]
pub(super) fn listen(orders: watch::Receiver<Option<Kubernetes>>) -> Result<watch::Receiver<Announced>, Failure> {
    use super::worker::Worker;
    use crate::io::kubernetes::{self, Pod};

    let (tell, told) = watch::channel(Announced::default());
    Worker::start("kubernetes", move || kubernetes::watch(orders, Pod::here(), tell))?;
    Ok(told)
}

/// Without the client nothing is heard.
#[cfg(not(feature = "kubernetes"))]
pub(super) fn listen(_: watch::Receiver<Option<Kubernetes>>) -> Result<watch::Receiver<Announced>, Failure> {
    Ok(crate::driver::unannounced())
}
