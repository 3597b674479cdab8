//! Calico's own note of the MTU that it found: `/var/lib/calico/mtu`, which Felix writes and its CNI plugin reads where
//! the CNI file says `"mtu": 0` or nothing.

use super::host::{Ask, RawHost};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::units::IpSize;

/// Where it stands.
pub const MTU: &str = "/var/lib/calico/mtu";

pub(super) fn asks() -> Vec<Ask> {
    vec![Ask::text(MTU)]
}

/// The size in it. Felix writes the number and nothing else.
pub fn mtu(read: &RawHost) -> Fact<IpSize> {
    let text = match read.text(MTU) {
        Ok(Some(text)) => text,
        Ok(None) => return Fact::Absent,
        Err(unread) => return Fact::Unread(unread),
    };
    match text.trim().parse::<u32>() {
        Ok(mtu) => Fact::Known(IpSize::new(mtu)),
        Err(_) => {
            let what = format!("{MTU}: {:?} is no MTU", text.trim().chars().take(40).collect::<String>());
            Fact::Unread(Unread::new(Source::HostFiles, Reason::Malformed { what }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::host::Found;

    fn of(text: &str) -> Fact<IpSize> {
        let mut read = RawHost::new();
        read.take(MTU.into(), Ok(Some(Found::Text(text.into()))));
        mtu(&read)
    }

    #[test]
    fn the_number_is_read_and_anything_else_is_named() {
        assert_eq!([of("1450"), of("1450\n")], [Fact::Known(IpSize::new(1450)), Fact::Known(IpSize::new(1450))]);
        for text in ["", "-1", "14 50", "99999999999", "\u{fffd}"] {
            assert!(matches!(of(text), Fact::Unread(_)), "{text:?}");
        }
        let mut none = RawHost::new();
        none.take(MTU.into(), Ok(None));
        assert_eq!(mtu(&none), Fact::Absent);
    }
}
