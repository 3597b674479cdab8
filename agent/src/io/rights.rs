//! The capabilities that the agent may hold, and raising them.
//!
//! A container that does not run as root gets no capability from being granted one: the image gives it to the program
//! as *permitted* by file capabilities, and the program makes it *effective* itself. Permitted and not effective is on
//! purpose: a program whose file capabilities are effective cannot even be started where they are not granted, while
//! this one starts and says what it lacks.
//!
//! | the file has | granted | the program |
//! |---|---|---|
//! | nothing | all | starts, holds nothing |
//! | all, `+p` | all | starts, holds all once raised |
//! | all, `+p` | some, or none | starts, holds what was granted |
//! | all, `+ep` | all | starts, holds all |
//! | all, `+ep` | some, or none | is not started: `EPERM` |
//!
//! `allowPrivilegeEscalation: false` (`no_new_privs`) changes no row: what is granted is permitted to whoever starts the
//! program, so the file adds nothing to it. The tests play every row on the kernel that they run on.
//!
//! Two of them are held from the start on, since sockets are opened anew whenever they are lost. The right to read what
//! belongs to others is another matter: it would open every file of the machine to a mistake anywhere else in the program.
//! It is raised around the readers of the host's files alone ([`reading_all`]), and nothing else runs meanwhile on that
//! thread.

use caps::{CapSet, Capability};

/// Every capability that the program makes use of where it is granted. What the image gives to the binary and what the
/// manifests grant are held against this.
pub const USED: [Capability; 3] = [Capability::CAP_NET_RAW, Capability::CAP_NET_ADMIN, Capability::CAP_DAC_READ_SEARCH];

/// What is to be said where paths are measured without `CAP_NET_RAW`.
pub const BY_PINGS: &str = "without CAP_NET_RAW paths are measured by the unprivileged socket for pings: which way packets \
                            are lost is told by UDP alone, and what happens to a tunnel's own packets is not seen";

/// Which capabilities this thread holds, effective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// `CAP_NET_RAW`: probe packets.
    pub net_raw: bool,
    /// `CAP_NET_ADMIN`: the far ends of pod links.
    pub net_admin: bool,
}

/// Makes effective what is permitted and says what is held. To be called before another thread is started: capabilities
/// belong to a thread and are inherited.
pub fn raise() -> Rights {
    Rights { net_raw: held(Capability::CAP_NET_RAW), net_admin: held(Capability::CAP_NET_ADMIN) }
}

/// Whether this thread could hold `CAP_NET_RAW` if only the program's file had it: it was granted, and is missing for want
/// of file capabilities.
pub fn file_lacks_net_raw() -> bool {
    let within = |set| caps::has_cap(None, set, Capability::CAP_NET_RAW).unwrap_or(false);
    within(CapSet::Bounding) && !within(CapSet::Permitted)
}

/// A capability that is not permitted cannot be raised, which is an answer and no error.
fn held(capability: Capability) -> bool {
    caps::raise(None, CapSet::Effective, capability).is_ok()
        && caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Runs `read` with the right to read what is others' alone (`CAP_DAC_READ_SEARCH`) where that is permitted, and lays the
/// right down again. Without it the files that it opens are denied one by one, as ever.
pub fn reading_all<T>(read: impl FnOnce() -> T) -> T {
    /// Lays down what was raised, however `read` ends.
    struct Raised(bool);
    impl Drop for Raised {
        fn drop(&mut self) {
            if self.0 && caps::drop(None, CapSet::Effective, Capability::CAP_DAC_READ_SEARCH).is_err() {
                tracing::warn!("the right to read all files could not be laid down (capset)");
            }
        }
    }
    // Who had it before, as root has, keeps it.
    let had = caps::has_cap(None, CapSet::Effective, Capability::CAP_DAC_READ_SEARCH).unwrap_or(false);
    let _raised = Raised(!had && held(Capability::CAP_DAC_READ_SEARCH));
    read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_permitted_becomes_effective_and_nothing_else() {
        // Capabilities are a thread's own, so this drops none of another test's.
        std::thread::spawn(|| {
            let permitted = |capability| caps::has_cap(None, CapSet::Permitted, capability).unwrap();
            let wanted =
                Rights { net_raw: permitted(Capability::CAP_NET_RAW), net_admin: permitted(Capability::CAP_NET_ADMIN) };
            caps::clear(None, CapSet::Effective).unwrap();
            assert_eq!(raise(), wanted);
            caps::clear(None, CapSet::Permitted).unwrap();
            assert_eq!(raise(), Rights::default());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_right_to_read_all_lasts_as_long_as_the_reading() {
        let holds = || caps::has_cap(None, CapSet::Effective, Capability::CAP_DAC_READ_SEARCH).unwrap();
        std::thread::spawn(move || {
            let permitted = caps::has_cap(None, CapSet::Permitted, Capability::CAP_DAC_READ_SEARCH).unwrap();
            caps::clear(None, CapSet::Effective).unwrap();
            assert_eq!(reading_all(holds), permitted);
            assert!(!holds(), "laid down");
            let ends = std::panic::catch_unwind(|| reading_all(|| std::panic::panic_any(())));
            assert!(ends.is_err() && !holds(), "laid down however it ends");
            caps::clear(None, CapSet::Permitted).unwrap();
            assert!(!reading_all(holds), "what is not permitted is not raised, and reading goes on");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn whoever_had_the_right_before_keeps_it() {
        std::thread::spawn(|| {
            let held = held(Capability::CAP_DAC_READ_SEARCH);
            reading_all(|| ());
            assert_eq!(caps::has_cap(None, CapSet::Effective, Capability::CAP_DAC_READ_SEARCH).unwrap(), held);
        })
        .join()
        .unwrap();
    }
}
