//! Whether the agent runs with the configuration that its file holds.
//!
//! Both series are there from the start: an agent that runs has read a good configuration, or needs none.

use jiff::Timestamp;

use super::{Family, glossary};

/// How reading the configuration went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Whether it was good the last time.
    pub successful: bool,
    /// When it was good last. The start counts.
    pub succeeded: Option<Timestamp>,
}

impl Default for Reload {
    fn default() -> Self {
        Self { successful: true, succeeded: None }
    }
}

pub(super) fn families(reload: Reload) -> [Family; 2] {
    let succeeded = reload.succeeded.map(|at| at.as_duration().as_secs_f64());
    [
        Family::of(glossary::CONFIG_SUCCESSFUL).with([], reload.successful),
        Family::of(glossary::CONFIG_SUCCESS).with_known(succeeded),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn a_failure_leaves_the_time_of_the_last_success() {
        let succeeded = Some(Timestamp::from_second(1_700_000_000).unwrap());
        let shown = families(Reload { successful: false, succeeded });
        assert_eq!(shown.iter().flat_map(lines).collect::<Vec<_>>(), [" 0", " 1700000000"]);
    }
}
