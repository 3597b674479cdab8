//! TCP attempts: is anybody there who answers a SYN?

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use probes::prober::Sent;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Tries to connect and closes at once. A refusal (RST) is as good an answer as a connection. An attempt that this
/// machine had no means for, no descriptor, port or address to come from, was none: it says nothing of the other side.
pub(super) async fn attempt(to: SocketAddr, from: Option<IpAddr>, limit: Duration) -> Sent {
    match timeout(limit, connect(to, from)).await {
        Ok(Ok(_)) => Sent::TcpAnswered,
        Ok(Err(error)) if is_answer(error.kind()) => Sent::TcpAnswered,
        Ok(Err(error)) => not_tried(&error).map_or(Sent::TcpSilent, Sent::Failed),
        Err(_) => Sent::TcpSilent,
    }
}

async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(to).await
}

fn not_tried(error: &io::Error) -> Option<i32> {
    use libc::{EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC};
    let errno = error.raw_os_error()?;
    [EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EADDRNOTAVAIL, EAGAIN].contains(&errno).then_some(errno)
}

fn is_answer(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_listener_and_a_closed_port_both_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        assert_eq!(runtime().block_on(attempt(open, None, LIMIT)), Sent::TcpAnswered);
        drop(listener);
        assert_eq!(runtime().block_on(attempt(open, None, LIMIT)), Sent::TcpAnswered);
    }

    #[test]
    fn it_comes_from_where_it_should_or_not_at_all() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let own = IpAddr::from([127, 0, 0, 9]);
        assert_eq!(runtime().block_on(attempt(open, Some(own), LIMIT)), Sent::TcpAnswered);
        assert_eq!(listener.accept().unwrap().1.ip(), own);
        let foreign = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(runtime().block_on(attempt(open, Some(foreign), LIMIT)), Sent::Failed(libc::EADDRNOTAVAIL));
    }

    #[test]
    fn a_host_that_cannot_be_reached_is_silent() {
        let broadcast = SocketAddr::from(([255, 255, 255, 255], 9));
        assert_eq!(runtime().block_on(attempt(broadcast, None, LIMIT)), Sent::TcpSilent);
    }

    #[test]
    fn an_attempt_without_means_says_nothing_of_the_other_side() {
        for (errno, wanted) in [(libc::EMFILE, true), (libc::EADDRNOTAVAIL, true), (libc::EHOSTUNREACH, false)] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(not_tried(&error), wanted.then_some(errno), "{error}");
        }
    }
}
