//! The limit on open files.
//!
//! Each TCP attempt takes a descriptor for up to two seconds, so a cluster whose peers have all gone silent takes as many
//! as it has peers. The usual soft limit of 1,024 is there for programs that use select(2), which none of this does; the
//! hard limit is what the operator means.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows as many open files as the hard limit does.
pub fn allow_many() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(?current, ?maximum, "more open files are allowed"),
        // It is no more than a chance of running out later, which is then said where it happens.
        Err(error) => tracing::debug!(%error, ?current, ?maximum, "the limit on open files stays"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        allow_many();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
