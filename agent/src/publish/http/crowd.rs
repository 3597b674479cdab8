//! How many places each client has.
//!
//! A client is an IPv4 address or an IPv6 /64, of which one host commonly has all. Its places are counted, and whoever has
//! all of its own is turned away while others are served.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Clients with places.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<HashMap<IpAddr, usize>>);

/// A client's place, given back when this goes.
#[derive(Debug)]
pub(super) struct Spot {
    crowd: Arc<Crowd>,
    client: IpAddr,
}

impl Crowd {
    /// One more place for a client, if it has fewer than `most`.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr, most: usize) -> Option<Spot> {
        let client = client(from);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Spot { crowd: Arc::clone(self), client })
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

fn client(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_places_and_they_come_back() {
        let crowd = Arc::new(Crowd::default());
        let enter = |from: &str| crowd.enter(from.parse().unwrap(), 2);
        let (one, _two) = (enter("10.0.0.1").unwrap(), enter("::ffff:10.0.0.1").unwrap());
        assert!(enter("10.0.0.1").is_none());
        let (_other, _v6) = (enter("10.0.0.2").unwrap(), [enter("fd00::1").unwrap(), enter("fd00::2").unwrap()]);
        assert!(enter("fd00::3").is_none() && enter("fd00:0:0:1::3").is_some());
        drop(one);
        assert!(enter("10.0.0.1").is_some());
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let crowd = Arc::new(Crowd::default());
        drop((crowd.enter([10, 0, 0, 1].into(), 1), crowd.enter([10, 0, 0, 2].into(), 1)));
        assert!(crowd.0.lock().unwrap().is_empty());
        assert!(crowd.enter([10, 0, 0, 1].into(), 0).is_none());
    }
}
