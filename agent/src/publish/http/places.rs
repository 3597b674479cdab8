//! Which connection gets a place, and which has to wait or go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Bounds;
use super::crowd::{Crowd, Spot};

/// The places there are.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Accepted connections of others than this machine, served or waiting.
    room: Arc<Semaphore>,
    served: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    bounds: Bounds,
}

/// Who may wait for a place, and be served there until this goes.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) from: SocketAddr,
    is_local: bool,
    _spot: Spot,
    _room: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            room: semaphore(bounds.connections + bounds.waiting),
            served: semaphore(bounds.connections),
            kept: semaphore(bounds.kept),
            crowd: Arc::default(),
            bounds,
        }
    }

    /// Lets a connection wait. Of a client that has all of its places, or when too many wait, it is closed at once.
    pub(super) fn welcome(&self, stream: &TcpStream) -> Option<Guest> {
        // Who has left already is not waited for.
        let (from, to) = (stream.peer_addr().ok()?, stream.local_addr().ok()?);
        let guest = self.guest(from, is_local(from, to));
        if guest.is_none() {
            tracing::debug!(%from, "an HTTP connection too many is closed");
            // Not remembered by the kernel for a minute either.
            _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        guest
    }

    fn guest(&self, from: SocketAddr, is_local: bool) -> Option<Guest> {
        let most = self.bounds.per_client + if is_local { self.bounds.kept } else { 0 };
        let spot = self.crowd.enter(from.ip(), most)?;
        let room = if is_local { None } else { Some(Arc::clone(&self.room).try_acquire_owned().ok()?) };
        Some(Guest { from, is_local, _spot: spot, _room: room })
    }

    /// A place for a guest; `None` if there is none for too long.
    pub(super) async fn place(&self, guest: &Guest) -> Option<OwnedSemaphorePermit> {
        let at_once = Arc::clone(&self.served).try_acquire_owned();
        let kept = || Arc::clone(&self.kept).try_acquire_owned();
        let at_once = if guest.is_local { at_once.or_else(|_| kept()) } else { at_once };
        match at_once {
            Ok(place) => Some(place),
            Err(_) => timeout(self.bounds.connection_time, Arc::clone(&self.served).acquire_owned()).await.ok()?.ok(),
        }
    }
}

/// Whether a connection comes from the machine that it goes to.
fn is_local(from: SocketAddr, to: SocketAddr) -> bool {
    from.ip().to_canonical().is_loopback() || from.ip() == to.ip()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        connections: 2,
        waiting: 1,
        per_client: 2,
        kept: 1,
        handshake_time: Duration::ZERO,
        head_bytes: 0,
        headers: 0,
        head_time: Duration::ZERO,
        body_pause: Duration::ZERO,
        connection_time: Duration::from_secs(15),
    };

    fn guest(places: &Places, last: u8, is_local: bool) -> Option<Guest> {
        places.guest(SocketAddr::from(([10, 0, 0, last], 1)), is_local)
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_is_full_this_machine_is_still_served() {
        let places = Places::new(BOUNDS);
        let guests = [1, 1, 2].map(|last| guest(&places, last, false).unwrap());
        let _served = [places.place(&guests[0]).await.unwrap(), places.place(&guests[1]).await.unwrap()];
        assert!(guest(&places, 3, false).is_none(), "no room");
        let own = guest(&places, 9, true).unwrap();
        let kept = places.place(&own).await;
        assert!(kept.is_some());
        assert!(places.place(&guests[2]).await.is_none(), "who waits is not served for ever");
    }

    #[tokio::test]
    async fn who_waits_is_next() {
        let places = Places::new(BOUNDS);
        let guests = [1, 2, 3].map(|last| guest(&places, last, false).unwrap());
        let first = places.place(&guests[0]).await.unwrap();
        let _second = places.place(&guests[1]).await.unwrap();
        let mut third = Box::pin(places.place(&guests[2]));
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        drop(first);
        assert!(third.await.is_some());
    }

    #[test]
    fn this_machine_is_told_by_its_addresses() {
        for (from, to, wanted) in [
            ("127.0.0.1:1", "127.0.0.1:2", true),
            ("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:2", true),
            ("[::1]:1", "[::1]:2", true),
            ("10.0.0.12:1", "10.0.0.12:2", true),
            ("10.0.0.13:1", "10.0.0.12:2", false),
        ] {
            assert_eq!(is_local(from.parse().unwrap(), to.parse().unwrap()), wanted, "{from} {to}");
        }
    }
}
