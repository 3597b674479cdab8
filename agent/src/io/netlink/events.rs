//! What the kernel tells of its own accord: multicast messages about links, addresses, routes, neighbours, policy rules
//! and settings.
//!
//! A socket of its own, so that a burst of messages never gets between a request and its answer. It is opened before the
//! first table is read: what changes in between is told twice, and nothing is missed. When messages come faster than they
//! are taken the kernel drops some and says so (`ENOBUFS`); that is told, never swallowed. A socket that fails for any
//! other reason is closed and opened again after a pause.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use netlink_proto::sys::protocols::NETLINK_ROUTE;
use netlink_proto::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use probes::fact::{Reason, Source, Unread};
use probes::kernel::RawMessage;
use tokio::time::{Instant, sleep_until};

use super::channel::{RECEIVE_BUFFER, messages};

/// `rtnetlink(7)` groups that are listened to.
const GROUPS: [u32; 10] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV4_NETCONF,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_IPV6_NETCONF,
];

/// Most datagrams taken in one turn.
const BATCH: usize = 64;

/// Room for one datagram; the kernel makes none larger than 32 KiB.
const DATAGRAM: usize = 32 << 10;

/// Pause before a socket that failed is opened again.
const PAUSE: Duration = Duration::from_secs(5);

/// What was told.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// These messages came.
    Changed(Vec<RawMessage>),
    /// Messages came that were lost.
    Overrun,
    /// Nothing is told from here on, and why.
    Deaf(Unread),
    /// Changes are told again.
    Listening,
}

/// A listening socket, or the time at which to try again.
pub struct Events {
    socket: Result<TokioSocket, Instant>,
    buffer: BytesMut,
}

impl Events {
    /// Listens in the network namespace of this thread. Needs a tokio runtime with I/O and time enabled.
    pub fn listen() -> (Self, Event) {
        let (socket, event) = match open() {
            Ok(socket) => (Ok(socket), Event::Listening),
            Err(error) => (Err(Instant::now() + PAUSE), deaf("open", &error)),
        };
        (Self { socket, buffer: BytesMut::new() }, event)
    }

    /// Waits for the next event. Can be dropped at any time.
    pub async fn next(&mut self) -> Event {
        let socket = match &self.socket {
            Ok(socket) => socket,
            Err(again) => {
                sleep_until(*again).await;
                let (events, event) = Self::listen();
                *self = events;
                return event;
            }
        };
        match take(socket, &mut self.buffer).await {
            Ok(messages) => Event::Changed(messages),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Event::Overrun,
            Err(error) => {
                self.socket = Err(Instant::now() + PAUSE);
                deaf("read", &error)
            }
        }
    }
}

fn open() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    // A larger buffer only makes losses rarer; the kernel may refuse it.
    _ = socket.socket_mut().set_rx_buf_sz(RECEIVE_BUFFER);
    for group in GROUPS {
        match socket.socket_mut().add_membership(group) {
            // A kernel without IPv6 lacks its groups.
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => return Err(error),
            _ => {}
        }
    }
    Ok(socket)
}

/// Waits for a datagram and takes what else is there. A loss among them is told at once: what was taken before is read
/// anew with everything else.
async fn take(socket: &TokioSocket, buffer: &mut BytesMut) -> io::Result<Vec<RawMessage>> {
    let mut all = Vec::new();
    let mut from = socket.recv_from(emptied(buffer)).await?;
    for _ in 0..BATCH {
        // Only the kernel has port 0; anybody else may not be believed.
        if from.port_number() == 0 {
            all.extend(messages(buffer).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOBUFS))?);
        }
        match socket.recv_from(emptied(buffer)).now_or_never() {
            Some(next) => from = next?,
            None => break,
        }
    }
    Ok(all)
}

fn emptied(buffer: &mut BytesMut) -> &mut BytesMut {
    buffer.clear();
    buffer.reserve(DATAGRAM);
    buffer
}

fn deaf(doing: &str, error: &io::Error) -> Event {
    let what = format!("{doing} an rtnetlink socket for multicast messages: {error}");
    Event::Deaf(Unread::new(Source::Events, Reason::Failed { what }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_group_can_be_joined_and_quiet_means_nothing_is_told() {
        let (mut events, event) = Events::listen();
        assert_eq!(event, Event::Listening);
        let other = tokio::time::timeout(Duration::from_millis(1), events.next()).await;
        assert!(!matches!(other, Ok(Event::Deaf(_))), "{other:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_failed_is_opened_again_after_a_pause() {
        let mut events = Events { socket: Err(Instant::now() + PAUSE), buffer: BytesMut::new() };
        let began = Instant::now();
        assert_eq!(events.next().await, Event::Listening);
        assert!(began.elapsed() >= PAUSE && events.socket.is_ok());
    }
}
