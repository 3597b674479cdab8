//! Text of `/proc/net/udp` and `/proc/net/udp6`: which ports are taken.
//!
//! The kernel's own sockets stand there like a process's. A VXLAN or Geneve device opens its port when it is set up and
//! closes it when it is set down, always for every address, whatever its `local` says: a port that somebody else has
//! bound, were it on one address, keeps the device from coming up (`EADDRINUSE`). Measured on Linux 6.18.

use std::collections::BTreeSet;

use super::BoundPort;
use crate::fact::{Reason, Source, Unread};
use crate::units::Family;

/// Reads which of the ports that are `used` are taken.
///
/// # Errors
/// If a line has no port or no user where the kernel writes them: then none of them can be trusted.
pub fn bound(family: Family, text: &str, used: &BTreeSet<u16>) -> Result<Vec<BoundPort>, Unread> {
    let rows = text.lines().skip(1).filter(|line| !line.trim().is_empty());
    let rows: Result<Vec<_>, _> = rows.map(|line| row(family, line).ok_or_else(|| malformed(line))).collect();
    Ok(rows?.into_iter().filter(|bound| used.contains(&bound.port)).collect())
}

/// `sl local rem st tx:rx tr:when retrnsmt uid …`, addresses as hexadecimal words and a port.
fn row(family: Family, line: &str) -> Option<BoundPort> {
    let mut columns = line.split_whitespace();
    let (_, port) = columns.nth(1)?.split_once(':')?;
    let uid = columns.nth(5)?.parse().ok()?;
    Some(BoundPort { family, port: u16::from_str_radix(port, 16).ok()?, uid })
}

fn malformed(line: &str) -> Unread {
    let line: String = line.chars().take(60).collect();
    Unread::new(Source::Counters, Reason::Malformed { what: format!("/proc/net/udp: {line:?}, expected a socket") })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.18, `cat /proc/net/udp`: a VXLAN device's socket, and one of a process that uid 1000 runs.
    const UDP: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            
 8807: 00000000:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 13977324 2 00000000aeb36f5a 0      
 8808: 0100000A:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 13977856 2 000000003f2bfd1e 0      
";
    /// The same of `/proc/net/udp6`.
    const UDP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 8807: 00000000000000000000000000000000:12B5 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 13977896 2 000000005bfcd72d 0
";

    fn read(family: Family, text: &str, used: &[u16]) -> Vec<(u16, u32)> {
        let bound = bound(family, text, &used.iter().copied().collect()).unwrap();
        assert!(bound.iter().all(|one| one.family == family));
        bound.into_iter().map(|one| (one.port, one.uid)).collect()
    }

    #[test]
    fn golden_sockets_of_the_kernel_and_of_a_process() {
        assert_eq!(read(Family::Ipv4, UDP, &[4789, 8472]), [(4789, 0), (8472, 1000)]);
        assert_eq!(read(Family::Ipv6, UDP6, &[4789]), [(4789, 0)]);
        assert_eq!(read(Family::Ipv4, UDP, &[53]), []);
        assert_eq!(read(Family::Ipv4, UDP.lines().next().unwrap(), &[4789]), []);
    }

    #[test]
    fn a_line_that_is_no_socket_is_malformed() {
        for line in ["8807: 00000000", "8807: 00000000:xyz a b c d e 0", "8807: 00000000:12B5 a b c d e f"] {
            let why = bound(Family::Ipv4, &format!("head\n{line}\n"), &BTreeSet::new()).unwrap_err();
            assert!(matches!(why.reason, Reason::Malformed { .. }), "{line}");
        }
    }
}
