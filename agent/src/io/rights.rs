//! The capabilities that the agent may hold, and raising them.
//!
//! A container that does not run as root gets no capability from being granted one: the image gives it to the program
//! as *permitted* by file capabilities, and the program makes it *effective* itself. Permitted and not effective is on
//! purpose: a program whose file capabilities are effective cannot even be started where they are not granted, while
//! this one starts and says what it lacks.

use caps::{CapSet, Capability};

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

/// A capability that is not permitted cannot be raised, which is an answer and no error.
fn held(capability: Capability) -> bool {
    caps::raise(None, CapSet::Effective, capability).is_ok()
        && caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
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
}
