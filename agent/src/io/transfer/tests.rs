//! The client against good and bad servers on loopback.

use std::net::{IpAddr, Ipv4Addr};

use probes::path::{PathKey, Plane};
use probes::transfer::{Direction, Outcome, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// What a server does with a request.
#[derive(Clone, Copy)]
enum Does {
    /// Answers and closes.
    Answer(&'static str),
    /// Writes this, and then neither writes, reads nor closes.
    Hang(&'static str),
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A server that does so much with each method.
async fn server(head: Does, get: Does, post: Does) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, head, get, post));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, head: Does, get: Does, post: Does) {
    let mut asked = Vec::new();
    while !asked.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut asked).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let does = match asked.first() {
        Some(b'H') => head,
        Some(b'G') => get,
        _ => post,
    };
    let (Does::Answer(text) | Does::Hang(text)) = does;
    stream.write_all(text.as_bytes()).await.unwrap();
    match does {
        // Whatever is sent is read, so that closing does not reset.
        Does::Answer(_) => {
            stream.shutdown().await.unwrap();
            while stream.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {}
        }
        Does::Hang(_) => future::pending().await,
    }
}

fn transfer(to: SocketAddr, node: Option<IpAddr>) -> Transfer {
    let key = PathKey { peer: "peer".into(), plane: Plane::Overlay, address: to.ip() };
    Transfer { key, port: to.port(), node }
}

async fn ended(transfer: Transfer) -> Transferred {
    let mut transfers = Transfers::default();
    transfers.start(transfer, Terms::default());
    transfers.next().await
}

async fn made(to: SocketAddr) -> Outcome {
    ended(transfer(to, None)).await.conclude()
}

fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unknown { why } => why,
        other => panic!("concluded: {other:?}"),
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let seen = ended(transfer(free, None)).await.seen;
    assert_eq!((seen.small.ended, seen.bulk), (Ended::Refused, None));
}

#[tokio::test]
async fn where_nothing_answers_the_node_address_is_asked() {
    // An accept queue that is full drops what comes after.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 7), 0)).into()).unwrap();
    full.listen(0).unwrap();
    let silent = full.local_addr().unwrap().as_socket().unwrap();
    let _queued = TcpStream::connect(silent).await.unwrap();
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 8), silent.port())).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let refuse = Does::Answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            tokio::spawn(serve(stream, refuse, refuse, refuse));
        }
    });
    let seen = ended(transfer(silent, Some(Ipv4Addr::new(127, 0, 0, 8).into()))).await.seen;
    assert_eq!((seen.small.ended, seen.node_answers), (Ended::Silent, Some(true)), "any answer is one");
    let alone = ended(transfer(silent, Some(Ipv4Addr::new(127, 0, 0, 9).into()))).await.seen;
    assert_eq!(alone.node_answers, Some(false));
}

#[tokio::test]
async fn whoever_says_no_is_not_sent_bulk() {
    let no = Does::Answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\n");
    let bulk = Does::Answer("HTTP/1.1 500 bulk was asked for\r\n\r\n");
    let seen = ended(transfer(server(no, bulk, bulk).await, None)).await.seen;
    assert_eq!((seen.small.ended, seen.bulk), (Ended::Answered { status: 403 }, None));
}

#[tokio::test]
async fn what_is_no_agent_is_no_finding() {
    let ssh = Does::Answer("SSH-2.0-OpenSSH_9.2\r\n");
    assert!(why(made(server(ssh, ssh, ssh).await).await).contains("broke"));
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let told = why(made(server(Does::Answer(OK), Does::Answer(page), Does::Answer(page)).await).await);
    assert!(told.contains("5 of 65536 bytes"), "{told}");
    let endless = Does::Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\nabc");
    assert!(why(made(server(Does::Answer(OK), endless, Does::Answer(page)).await).await).contains("broke"));
}

#[tokio::test]
async fn a_peer_that_takes_everything_and_never_answers_hangs() {
    let hang = Does::Hang("");
    let told = why(made(server(hang, hang, hang).await).await);
    assert!(told.contains("acknowledged and never answered"), "{told}");
}

#[tokio::test]
async fn bulk_that_stops_coming_is_a_stall_with_what_came() {
    let cut = Does::Hang("HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n0123456789");
    let taken = Does::Answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n65536\n");
    let Outcome::Stalled(stall) = made(server(Does::Answer(OK), cut, taken).await).await else { panic!("a stall") };
    assert_eq!((stall.direction, stall.from_peer, stall.stage), (Direction::FromPeer, 10, Stage::Moving));
    assert!(stall.to_peer.unwrap() > u64::from(BYTES), "the kernel has seen it through: {stall:?}");
}

#[tokio::test]
async fn bulk_that_trickles_is_no_stall_until_it_takes_too_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // An answer before the question is none.
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n").await.unwrap();
        // One byte for each look keeps it going.
        while stream.write_all(b"0").await.is_ok() {
            tokio::time::sleep(LOOK).await;
        }
    });
    let exchange = exchange(address, Method::GET, &Terms::default()).await;
    assert_eq!(exchange.ended, Ended::Stalled);
    assert!(exchange.arrived > LOOKS + 1, "{exchange:?}");
}
