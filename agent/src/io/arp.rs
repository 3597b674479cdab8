//! Frames of ARP: sent on one link, and what comes in meanwhile.
//!
//! A packet socket of one link and of ARP alone is opened for a question and closed after it, so that nothing is woken by
//! other machines' ARP in between. What is asked and what answers mean is [`probes::node::vips`]'s.

use std::future;
use std::io::{self, Read};

use probes::fact::{Reason, Source, Unread};
use probes::kernel::LinkIndex;
use probes::node::vips::{Ask, Heard};
use probes::wire::arp;
use socket2::{Domain, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::packets::{bind_packets, watch};

/// Most frames that are kept of one question: whoever floods the link does not fill the memory.
const MOST: usize = 512;

/// Questions under way.
#[derive(Debug, Default)]
pub struct Questions {
    tasks: JoinSet<Heard>,
}

impl Questions {
    /// Asks one link.
    pub fn ask(&mut self, ask: Ask) {
        self.tasks.spawn(answers(ask));
    }

    /// The next question that is over; never, while none is under way. Can be dropped at any time.
    pub async fn next(&mut self) -> Heard {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(heard)) => return heard,
                Some(Err(error)) => tracing::error!(%error, "a question by ARP is lost"),
                None => future::pending().await,
            }
        }
    }
}

async fn answers(ask: Ask) -> Heard {
    let frames = exchange(&ask).await.map_err(|error| unread(&error));
    Heard { ask, frames }
}

async fn exchange(ask: &Ask) -> io::Result<Vec<Vec<u8>>> {
    let socket = open(ask.link)?;
    let mut heard = Vec::new();
    for _ in 0..ask.rows {
        for frame in &ask.frames {
            socket.get_ref().send(frame)?;
        }
        let end = Instant::now() + ask.wait;
        while heard.len() < MOST {
            let Ok(ready) = timeout_at(end, socket.readable()).await else { break };
            match ready?.try_io(|socket| receive(socket.get_ref())) {
                Ok(frame) => heard.push(frame?),
                Err(_empty) => {}
            }
        }
    }
    Ok(heard)
}

fn receive(mut socket: &Socket) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; arp::LENGTH];
    let length = socket.read(&mut frame)?;
    frame.truncate(length);
    Ok(frame)
}

/// Nothing is handed to the socket before it is bound: it has no protocol until then.
fn open(link: LinkIndex) -> io::Result<AsyncFd<Socket>> {
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
    bind_packets(&socket, link, arp::ETHERTYPE)?;
    watch(socket).map_err(|unread| io::Error::other(unread.to_string()))
}

fn unread(error: &io::Error) -> Unread {
    let reason = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Reason::Denied { needs: "CAP_NET_RAW".into() },
        _ => Reason::Failed { what: format!("ask by ARP who has an address: {error}") },
    };
    Unread::new(Source::Probes, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_named() {
        let denied = unread(&io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(denied.to_string(), "probes: denied, needs CAP_NET_RAW");
        let gone = unread(&io::Error::from_raw_os_error(libc::ENXIO));
        assert!(gone.to_string().contains("ask by ARP"), "{gone}");
    }
}
