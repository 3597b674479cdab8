//! Many questions in few system calls: route look-ups, and what drivers say of themselves.
//!
//! The kernel answers a question before the call that asked it returns, and takes many in one. So a batch is sent, and what
//! came back is read, without waiting: a thousand questions cost some fifty calls instead of four thousand, which is more
//! than all else that a thousand probes cost. A batch is as large as its answers fit the smallest receive buffer that
//! is usual (208 KiB, which the kernel doubles; a route takes 4 KiB of it, a device's features 8 KiB). Whatever is not
//! answered all the same was not heard, and is asked once more by itself.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, recvmmsg, send, socket,
};
use probes::kernel::{Query, RawMessage};

use super::channel::Fault;
use super::request;

/// Bytes of all answers to one batch.
const ROOM: usize = 64 * 4096;

/// Bytes of the largest route that is taken whole: one over a few dozen next hops.
const LONGEST_ROUTE: usize = 4096;

/// `struct nlmsghdr`, and what every message is padded to.
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;

const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;

/// What the kernel said to one question.
pub(super) type Answer = Result<RawMessage, Fault>;

/// A socket for questions that have one answer each, used once.
pub(super) struct Lookups {
    socket: OwnedFd,
    buffer: Vec<u8>,
    /// Bytes of the largest answer that is taken whole.
    longest: usize,
}

impl Lookups {
    pub(super) fn open() -> io::Result<Self> {
        Self::of(SockProtocol::NetlinkRoute, LONGEST_ROUTE)
    }

    /// A socket of another protocol, whose answers are `longest` bytes at most.
    pub(super) fn of(protocol: SockProtocol, longest: usize) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        Ok(Self { socket, buffer: vec![0; ROOM], longest })
    }

    /// The answer to each question, in their order.
    pub(super) fn ask(&mut self, queries: &[Query]) -> Vec<Answer> {
        self.ask_each(queries.len(), |place| request::lookup(queries[place]))
    }

    /// The answers to as many questions, each made when it is its turn.
    pub(super) fn ask_each(&mut self, count: usize, question: impl Fn(usize) -> RawMessage) -> Vec<Answer> {
        let mut answers: Vec<Answer> = (0..count).map(|_| Err(Fault::Lost)).collect();
        let places: Vec<usize> = (0..count).collect();
        for places in places.chunks(ROOM / self.longest) {
            self.batch(&question, places, &mut answers);
        }
        let lost: Vec<usize> = places.into_iter().filter(|&place| answers[place] == Err(Fault::Lost)).collect();
        lost.chunks(1).for_each(|place| self.batch(&question, place, &mut answers));
        answers
    }

    fn batch(&mut self, question: impl Fn(usize) -> RawMessage, places: &[usize], answers: &mut [Answer]) {
        let mut bytes = Vec::with_capacity(places.len() * 64);
        for &place in places {
            push(&mut bytes, place, &question(place));
        }
        if let Err(errno) = send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty()) {
            places.iter().for_each(|&place| answers[place] = Err(Fault::Errno(errno as i32)));
            return;
        }
        let mut heard = 0;
        // An overrun is told once, and the answers that did fit are there behind it.
        while heard < places.len() {
            match self.take(answers) {
                Ok(count) => heard += count,
                Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Reads what is there; says how many answers that were.
    fn take(&mut self, answers: &mut [Answer]) -> Result<usize, Errno> {
        let mut headers = MultiHeaders::<()>::preallocate(ROOM / self.longest, None);
        let chunks = self.buffer.chunks_exact_mut(self.longest);
        let mut slices: Vec<_> = chunks.map(|chunk| [IoSliceMut::new(chunk)]).collect();
        let received = recvmmsg(self.socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::empty(), None)?;
        let mut count = 0;
        for message in received {
            let Some(bytes) = message.iovs().next() else { continue };
            let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
            let Some((place, answer)) = parse(bytes, whole) else { continue };
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Adds a request, with its place as its sequence number.
fn push(bytes: &mut Vec<u8>, place: usize, message: &RawMessage) {
    let length = HEADER + message.body.len();
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(message.kind.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend((place as u32).to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(&message.body);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

/// An answer and the place of its question.
fn parse(bytes: &[u8], whole: bool) -> Option<(usize, Answer)> {
    let (header, body) = bytes.split_first_chunk::<HEADER>()?;
    let number = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (length, kind) = (number(0) as usize, u16::from_ne_bytes([header[4], header[5]]));
    let place = number(8) as usize;
    let body = body.get(..length.checked_sub(HEADER)?).filter(|_| whole);
    let answer = match (kind, body) {
        (_, None) => Err(Fault::Lost),
        (NLMSG_ERROR, Some(body)) => Err(Fault::Errno(-i32::from_ne_bytes(*body.first_chunk()?))),
        (kind, Some(body)) => Ok(RawMessage { kind, body: body.to_vec() }),
    };
    Some((place, answer))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_batch_has_a_header_and_a_place_for_each_question() {
        let mut bytes = Vec::new();
        let query = Query::from(IpAddr::from([10, 0, 0, 9]));
        push(&mut bytes, 7, &request::lookup(query));
        push(&mut bytes, 8, &request::lookup(query));
        assert_eq!(bytes.len() % 4, 0);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        assert_eq!(first.first_chunk(), Some(&(first.len() as u32).to_ne_bytes()));
        assert_eq!((first[8], second[8], &first[HEADER..]), (7, 8, &second[HEADER..]));
    }

    #[test]
    fn an_error_answers_its_question_and_a_cut_message_none() {
        let message = |kind: u16, body: &[u8]| {
            let mut bytes = Vec::new();
            push(&mut bytes, 3, &RawMessage { kind, body: body.to_vec() });
            bytes
        };
        let refused = message(NLMSG_ERROR, &(-libc::ENETUNREACH).to_ne_bytes());
        assert_eq!(parse(&refused, true), Some((3, Err(Fault::Errno(libc::ENETUNREACH)))));
        let route = message(24, &[2, 32, 0, 0]);
        assert_eq!(parse(&route, true), Some((3, Ok(RawMessage { kind: 24, body: vec![2, 32, 0, 0] }))));
        assert_eq!(parse(&route, false), Some((3, Err(Fault::Lost))), "the rest of it is gone");
        assert_eq!(parse(&route[..18], true), Some((3, Err(Fault::Lost))));
        assert_eq!(parse(&route[..15], true), None);
    }

    #[test]
    fn many_questions_are_answered_in_their_order() {
        let to = |last: u8| Query::from(IpAddr::from([127, 0, 0, last]));
        let queries: Vec<Query> = (0..1000).map(|number| to(1 + (number % 2) as u8)).collect();
        let answers = Lookups::open().unwrap().ask(&queries);
        assert_eq!(answers.len(), queries.len());
        for (query, answer) in queries.iter().zip(answers) {
            let route = probes::kernel::route::lookup(&answer.unwrap()).unwrap();
            assert_eq!(route.prefix, if *query == to(1) { 32 } else { 8 }, "{query}");
        }
    }
}
