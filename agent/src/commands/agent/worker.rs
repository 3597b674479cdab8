//! A thread with an event loop of its own, which is not meant to end.

use std::future::Future;
use std::thread;

use tokio::sync::oneshot;

use crate::commands::runtime;
use crate::outcome::Failure;

/// A thread that works until the process ends.
pub(super) struct Worker {
    ended: oneshot::Receiver<String>,
}

impl Worker {
    /// Starts a thread that does `work`, which says why when it ends.
    pub(super) fn start<F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Result<Self, Failure>
    where
        F: Future<Output = String>,
    {
        let runtime = runtime()?;
        let (tell, ended) = oneshot::channel();
        let run = move || {
            let why = runtime.block_on(async { work().await });
            // Nobody listens only if the agent is ending anyway.
            _ = tell.send(why);
        };
        let thread = thread::Builder::new().name(name.into()).spawn(run);
        thread
            .map_err(|error| Failure(format!("cannot start the thread `{name}`: {error}; check the limit on tasks")))?;
        Ok(Self { ended })
    }

    /// Why it ended, when it does. Can be dropped at any time.
    pub(super) async fn ended(&mut self) -> String {
        (&mut self.ended).await.unwrap_or_else(|_| "its thread is gone".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_hears_why_a_thread_ended() {
        let why = runtime()
            .unwrap()
            .block_on(async { Worker::start("short", || async { "nothing to do".to_owned() }).unwrap().ended().await });
        assert_eq!(why, "nothing to do");
    }
}
