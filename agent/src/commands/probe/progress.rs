//! A progress bar on a terminal, for what takes longer than a second.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use probes::survey::Progress;

/// What is quicker than this needs no progress bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Letters of a target's name that are shown.
const NAME: usize = 40;

/// A bar that appears when there is something to show after [`PATIENCE`], and is gone when it is dropped.
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Default for Bar {
    fn default() -> Self {
        Self { bar: None, started: Instant::now() }
    }
}

impl Bar {
    /// So many of `count` names are looked up.
    pub(super) fn resolving(&mut self, done: usize, count: usize) {
        self.show(done, count, "looking up names");
    }

    /// The paths are measured.
    pub(super) fn measuring(&mut self, progress: Progress<'_>) {
        self.show(progress.done, progress.paths, &doing(&progress));
    }

    fn show(&mut self, done: usize, all: usize, doing: &str) {
        if self.started.elapsed() < PATIENCE || !io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {wide_msg}");
            ProgressBar::new(0).with_style(style.expect("the template is a constant"))
        });
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.set_message(doing.to_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What is under way, and of what.
fn doing(progress: &Progress<'_>) -> String {
    let Some((path, swept)) = progress.under_way else { return "probing".to_owned() };
    let name: String = path.peer.chars().take(NAME).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if swept { format!("trying source ports to {name}") } else { format!("waiting for {name}") }
}

#[cfg(test)]
mod tests {
    use probes::path::{PathKey, Plane};

    use super::*;

    #[test]
    fn what_is_under_way_is_named() {
        let key = PathKey { peer: "db\u{1b}1".into(), plane: Plane::Underlay, address: [10, 0, 0, 2].into() };
        let at = |under_way| Progress { paths: 9, done: 4, under_way };
        assert_eq!(doing(&at(None)), "probing");
        assert_eq!(doing(&at(Some((&key, false)))), "waiting for db\u{fffd}1");
        assert_eq!(doing(&at(Some((&key, true)))), "trying source ports to db\u{fffd}1");
    }
}
