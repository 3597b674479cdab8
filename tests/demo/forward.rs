//! Doors into the namespaces: a port on this machine's loopback for each node, relayed to the agent in it, and one for
//! what watches them.
//!
//! Nothing outside can route into a network namespace that an ordinary user made. A socket, though, belongs to the
//! network that it was opened in for as long as it lives, so one process can hold both ends.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::{self, Scope};
use std::time::Duration;

use lab::namespace::Namespace;
use lab::{Error, Result};
use nix::sys::socket;

/// What is waited when no connection can be taken, as with too many files open.
const PAUSE: Duration = Duration::from_millis(100);

/// A port that leads to a node.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// The port that it should have had, if another program has it.
    pub(crate) instead_of: Option<u16>,
}

/// Opens doors at `first` and the ports that follow, or at any other port where one is taken.
///
/// # Errors
/// If a port cannot be had for another reason than that it is taken.
pub(crate) fn open(count: usize, first: u16) -> Result<Vec<Door>> {
    let wanted = (0..count).map(|node| first.checked_add(u16::try_from(node).ok()?));
    wanted.map(|port| port.map_or_else(|| any(None), open_one)).collect()
}

fn open_one(port: u16) -> Result<Door> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(listener) => door(listener, None),
        Err(error) if error.kind() == ErrorKind::AddrInUse => any(Some(port)),
        Err(error) => Err(Error::new(format!("listening on 127.0.0.1:{port}"), error)),
    }
}

fn any(instead_of: Option<u16>) -> Result<Door> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    door(listener.map_err(|error| Error::new("listening on any port of 127.0.0.1", error))?, instead_of)
}

fn door(listener: TcpListener, instead_of: Option<u16>) -> Result<Door> {
    let address = listener.local_addr().map_err(|error| Error::new("asking for the port that was given", error))?;
    Ok(Door { listener, address, instead_of })
}

impl Door {
    /// Relays whoever comes to `server` in `place`, until the door is closed.
    pub(crate) fn lead_to<'s>(&'s self, place: &'s Namespace, server: SocketAddr, scope: &'s Scope<'s, '_>) {
        scope.spawn(move || {
            loop {
                match self.listener.accept() {
                    Ok((client, _)) => drop(scope.spawn(move || relay(&client, place, server))),
                    // What the kernel says of a listener that was shut.
                    Err(error) if error.kind() == ErrorKind::InvalidInput => return,
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        });
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        // It fails only if it is closed.
        let _ = socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both);
    }
}

/// A server that is not there ends the connection, as it would without a relay.
fn relay(client: &TcpStream, place: &Namespace, server: SocketAddr) {
    let Ok(Ok(server)) = place.inside(|| TcpStream::connect(server)) else { return };
    thread::scope(|scope| {
        scope.spawn(|| pass(client, &server, Shutdown::Write));
        // The answer's end is the end of all: a client that keeps its side open has nothing more to say.
        pass(&server, client, Shutdown::Both);
    });
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, at_end: Shutdown) {
    // An end that breaks off is an end.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(at_end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_replaced_and_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let door = open(1, port).unwrap().remove(0);
        assert_eq!(door.instead_of, Some(port));
        assert!(door.address.ip().is_loopback() && door.address.port() != port);
    }

    #[test]
    fn ports_end_at_the_last() {
        let doors = open(2, u16::MAX).unwrap();
        assert_ne!(doors[0].address, doors[1].address);
    }

    #[test]
    fn a_closed_door_ends_its_thread() {
        let door = any(None).unwrap();
        let waiting = thread::scope(|scope| {
            let waiting = scope.spawn(|| door.listener.accept().map(drop));
            // Before or after the call to accept, it has the same end.
            door.close();
            waiting.join().unwrap()
        });
        assert_eq!(waiting.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
