//! Two hundred nodes, as one real agent meets them: addresses that one far node has and answers pings at, each with an
//! agent that tells of its paths.
//!
//! The paths to them are measured and the picture of them is drawn by the agent that ships. What the agents there tell is
//! made up, for there is no room for two hundred: everybody reaches everybody, but for one node which larger packets
//! neither reach nor leave.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};

use lab::cluster::Cluster;
use lab::{Error, Result};
use nix::sys::socket;
use serde_json::json;

/// The node that has the addresses.
const HOME: usize = 1;

/// The one that stands out, by its number.
pub(crate) const SICK: u8 = 117;

/// Nodes that are there. They go with this value.
pub(crate) struct Crowd {
    count: u8,
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Gives the second node the addresses, and answers there at `port`.
    ///
    /// # Errors
    /// If the addresses cannot be added, or the port is taken.
    pub(crate) fn gather(cluster: &Cluster, count: u8, port: u16) -> Result<Self> {
        let addresses: String = (1..=count).fold(String::new(), |mut lines, number| {
            let _ = writeln!(lines, "address add {}/32 dev lo", address(number));
            lines
        });
        cluster.host(HOME).feed("ip", &["-batch", "-"], &addresses)?;
        let network = Ipv4Addr::new(10, 9, 0, 0);
        cluster.host(0).sh(&format!("ip route add {network}/24 via {}", cluster.recipe.underlay_address(HOME)))?;
        let bound = cluster.host(HOME).inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?;
        let failed = |error| Error::new("listening for a crowd", error);
        let listener = bound.map_err(failed)?;
        let accepting = listener.try_clone().map_err(failed)?;
        let thread = thread::spawn(move || {
            // It ends when the listener is shut.
            while let Ok((stream, _)) = accepting.accept() {
                thread::spawn(move || tell(stream, count));
            }
        });
        Ok(Self { count, listener, thread: Some(thread) })
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        (1..=self.count).map(name).collect()
    }

    /// What makes an agent know them.
    pub(crate) fn configuration(&self) -> String {
        let peers = (1..=self.count).fold(String::new(), |mut lines, number| {
            let _ = writeln!(lines, "    - {{ name: {}, underlay: {} }}", name(number), address(number));
            lines
        });
        format!(
            "node: master-1\npeers:\n  kernel: false\n  static:\n{peers}\
             probing: {{ interval: 2s, packets_per_second: 2000, stable_peers: {} }}\n",
            self.count
        )
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // It fails only if it is shut already.
        let _ = socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub(crate) fn name(number: u8) -> String {
    format!("node-{number:03}")
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, number)
}

/// Answers one request, as the node that was asked. Who goes early has heard enough.
fn tell(mut stream: TcpStream, count: u8) {
    let mut request = [0; 2048];
    let Ok(read) = stream.read(&mut request) else { return };
    let Ok(SocketAddr::V4(asked)) = stream.local_addr() else { return };
    let number = asked.ip().octets()[3];
    let answer = if request[..read].starts_with(b"GET /report") {
        let body = report(number, count);
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    } else {
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned()
    };
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
}

fn report(number: u8, count: u8) -> String {
    let paths = (1..=count).filter(|peer| *peer != number).map(|peer| {
        let (verdict, mtu) = if [number, peer].contains(&SICK) { ("black_hole", 1400) } else { ("clear", 1500) };
        json!({
            "peer": name(peer), "plane": "underlay", "family": "ipv4", "address": address(peer), "verdict": verdict,
            "path_mtu": mtu, "expected_mtu": 1500, "round_trip_seconds": 0.0003, "packets_sent": 2,
        })
    });
    let own: IpAddr = address(number).into();
    json!({
        "schema": "mtuscope.report/v1", "node": name(number), "vantage": "node", "version": "0.1.0",
        "generated_at": jiff::Timestamp::now(), "summary": { "status": "healthy" }, "addresses": [own],
        "paths": paths.collect::<Vec<_>>(),
    })
    .to_string()
}
