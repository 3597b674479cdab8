//! What the kernel knows of a TCP connection, beside whoever uses it.

use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::AsRawFd;
use std::time::Duration;

use probes::transfer::Kernel;
use socket2::{SockRef, Socket};
use tokio::net::TcpStream;

/// The last field that is looked at. Linux has it since 4.6 and only ever appends others.
const NEEDED: usize = offset_of!(libc::tcp_info, tcpi_notsent_bytes) + size_of::<u32>();

/// A descriptor of its own for a connection.
#[derive(Debug)]
pub(super) struct Witness(Socket);

impl Witness {
    pub(super) fn of(stream: &TcpStream) -> io::Result<Self> {
        SockRef::from(stream).try_clone().map(Self)
    }

    /// What is known now; `None` where the kernel is too old to tell.
    pub(super) fn look(&self) -> Option<Kernel> {
        let info = self.info()?;
        Some(Kernel {
            // The kernel counts the SYN as a byte.
            acknowledged: info.tcpi_bytes_acked.saturating_sub(1),
            received: info.tcpi_bytes_received,
            unacknowledged: info.tcpi_unacked,
            unsent: info.tcpi_notsent_bytes,
            retransmits: info.tcpi_total_retrans,
            segment: info.tcpi_snd_mss,
        })
    }

    /// When the connection is closed from here on, what is not sent yet is thrown away and the other side is told (RST).
    pub(super) fn reset_on_close(&self) {
        if let Err(error) = self.0.set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a stalled connection is closed the slow way");
        }
    }

    fn info(&self) -> Option<libc::tcp_info> {
        let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
        let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
        // SAFETY: the descriptor is this value's own and open; `info` has room for the `length` bytes that the kernel
        // may write at most, and it writes how many it did into `length`. Both outlive the call.
        let status = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let whole = status == 0 && usize::try_from(length).is_ok_and(|length| length >= NEEDED);
        // SAFETY: it is made of integers alone, and all its bytes were zero before the kernel wrote any.
        whole.then(|| unsafe { info.assume_init() })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_kernel_tells_what_was_acknowledged_and_what_came() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut there, _) = listener.accept().await.unwrap();
        let witness = Witness::of(&here).unwrap();
        let fresh = witness.look().unwrap();
        assert_eq!((fresh.acknowledged, fresh.received, fresh.unacknowledged), (0, 0, 0));
        here.write_all(&[0; 1000]).await.unwrap();
        there.read_exact(&mut [0; 1000]).await.unwrap();
        there.write_all(&[0; 300]).await.unwrap();
        here.read_exact(&mut [0; 300]).await.unwrap();
        let after = witness.look().unwrap();
        assert_eq!((after.acknowledged, after.received, after.retransmits), (1000, 300, 0));
        assert!(after.segment > 500);
    }

    #[tokio::test]
    async fn what_was_not_sent_goes_with_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut there, _) = listener.accept().await.unwrap();
        let witness = Witness::of(&here).unwrap();
        witness.reset_on_close();
        drop((here, witness));
        let error = there.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
