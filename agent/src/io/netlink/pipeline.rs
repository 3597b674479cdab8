//! Many questions in few system calls.
//!
//! The kernel answers a question that is no dump before the call that asked it returns, and takes many in one. So a batch
//! is sent, and what came back is read, without waiting: a thousand route look-ups cost some fifty calls instead of four
//! thousand, which is more than all else that a thousand probes cost. A batch is as large as its answers fit the smallest
//! receive buffer that is usual (208 KiB, which the kernel doubles; a route takes 4 KiB of it, a device's features 8 KiB). Whatever is not answered
//! all the same was not heard, and is asked once more by itself.
//!
//! A dump takes turns: the kernel refuses the next one until the last is read to its end. What one namespace has of a
//! table comes in one piece, so here too nothing is waited for.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recv, recvmmsg, send};
use probes::kernel::RawMessage;

use super::channel::{Fault, RECEIVE_BUFFER};

/// Questions about routes and links in one call.
pub(super) const BATCH: usize = 64;

/// Bytes of the largest answer about these that is taken whole: a route over a few dozen next hops, or a link without
/// statistics.
const LONGEST: usize = 4096;

/// `struct nlmsghdr`, and what every message is padded to.
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;

const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;

/// What the kernel said to one question.
pub(super) type Answer = Result<RawMessage, Fault>;

/// A socket for questions, used once.
pub(super) struct Pipeline {
    socket: Socket,
    buffer: Vec<u8>,
    /// Bytes of the largest answer that is taken whole.
    longest: usize,
}

impl Pipeline {
    pub(super) fn open() -> io::Result<Self> {
        Self::of(NETLINK_ROUTE, LONGEST)
    }

    /// A socket of another protocol, whose answers are `longest` bytes at most.
    pub(super) fn of(protocol: isize, longest: usize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        socket.set_non_blocking(true)?;
        // A larger buffer only makes losses rarer; the kernel may refuse it.
        _ = socket.set_rx_buf_sz(RECEIVE_BUFFER);
        Ok(Self { socket, buffer: vec![0; BATCH * LONGEST], longest })
    }

    /// Has the kernel honour every field of a request, or refuse it; says whether it does. Linux 4.20 and later do.
    pub(super) fn strict(&self) -> bool {
        self.socket.set_netlink_get_strict_chk(true).is_ok()
    }

    /// The answer to each question, in their order.
    pub(super) fn ask(&mut self, questions: &[RawMessage]) -> Vec<Answer> {
        let mut answers: Vec<Answer> = questions.iter().map(|_| Err(Fault::Lost)).collect();
        let places: Vec<usize> = (0..questions.len()).collect();
        for places in places.chunks(self.buffer.len() / self.longest) {
            self.batch(questions, places, &mut answers);
        }
        let lost: Vec<usize> = places.into_iter().filter(|&place| answers[place] == Err(Fault::Lost)).collect();
        lost.chunks(1).for_each(|place| self.batch(questions, place, &mut answers));
        answers
    }

    /// All rows of a small table, one that comes in one piece.
    pub(super) fn dump(&mut self, question: &RawMessage) -> Result<Vec<RawMessage>, Fault> {
        let mut bytes = Vec::with_capacity(64);
        push(&mut bytes, REQUEST | DUMP, 0, question);
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty()).map_err(|errno| Fault::Errno(errno as i32))?;
        let mut rows = Vec::new();
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Fault::Errno(errno as i32)),
            };
            if ended(&self.buffer[..length], &mut rows)? {
                return Ok(rows);
            }
        }
    }

    fn batch(&mut self, questions: &[RawMessage], places: &[usize], answers: &mut [Answer]) {
        let mut bytes = Vec::with_capacity(places.len() * 64);
        for &place in places {
            push(&mut bytes, REQUEST, place, &questions[place]);
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
        let chunks = self.buffer.chunks_exact_mut(self.longest);
        let mut slices: Vec<_> = chunks.map(|chunk| [IoSliceMut::new(chunk)]).collect();
        let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
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

/// Takes the rows of one datagram of a dump; says whether that was the last one.
fn ended(mut datagram: &[u8], rows: &mut Vec<RawMessage>) -> Result<bool, Fault> {
    while !datagram.is_empty() {
        let (_, answer) = parse(datagram, true).ok_or(Fault::Lost)?;
        let RawMessage { kind, body } = answer?;
        datagram = datagram.get((HEADER + body.len()).next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        match (kind, body.first_chunk()) {
            (NLMSG_DONE, Some(&code)) if i32::from_ne_bytes(code) < 0 => {
                return Err(Fault::Errno(-i32::from_ne_bytes(code)));
            }
            (NLMSG_DONE, _) => return Ok(true),
            _ => rows.push(RawMessage { kind, body }),
        }
    }
    Ok(false)
}

/// Adds a request, with its place as its sequence number.
fn push(bytes: &mut Vec<u8>, flags: u16, place: usize, message: &RawMessage) {
    let length = HEADER + message.body.len();
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(message.kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
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

    use probes::kernel::Query;

    use super::super::request;
    use super::*;

    #[test]
    fn a_batch_has_a_header_and_a_place_for_each_question() {
        let mut bytes = Vec::new();
        let query = Query::from(IpAddr::from([10, 0, 0, 9]));
        push(&mut bytes, REQUEST, 7, &request::lookup(query));
        push(&mut bytes, REQUEST, 8, &request::lookup(query));
        assert_eq!(bytes.len() % 4, 0);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        assert_eq!(first.first_chunk(), Some(&(first.len() as u32).to_ne_bytes()));
        assert_eq!((first[8], second[8], &first[HEADER..]), (7, 8, &second[HEADER..]));
    }

    #[test]
    fn an_error_answers_its_question_and_a_cut_message_none() {
        let message = |kind: u16, body: &[u8]| {
            let mut bytes = Vec::new();
            push(&mut bytes, REQUEST, 3, &RawMessage { kind, body: body.to_vec() });
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
        let questions: Vec<_> = queries.iter().map(|&query| request::lookup(query)).collect();
        let answers = Pipeline::open().unwrap().ask(&questions);
        assert_eq!(answers.len(), queries.len());
        for (query, answer) in queries.iter().zip(answers) {
            let route = probes::kernel::route::lookup(&answer.unwrap()).unwrap();
            assert_eq!(route.prefix, if *query == to(1) { 32 } else { 8 }, "{query}");
        }
    }

    #[test]
    fn a_small_table_is_read_to_its_end_and_the_next_one_after_it() {
        let mut pipeline = Pipeline::open().unwrap();
        assert!(pipeline.strict());
        let own = RawMessage { kind: 22, body: vec![2, 0, 0, 0, 1, 0, 0, 0] };
        for _ in 0..3 {
            let rows = pipeline.dump(&own).unwrap();
            assert!(rows.iter().all(|row| row.kind == 20), "{rows:?}");
        }
        let stranger = RawMessage { kind: 22, body: [&own.body[..], &[8, 0, 10, 0, 0xff, 0xff, 0xff, 0x7f]].concat() };
        assert_eq!(pipeline.dump(&stranger), Err(Fault::Errno(libc::EINVAL)), "no namespace has that number");
        assert!(pipeline.dump(&own).is_ok(), "a refusal leaves nothing behind");
    }

    #[test]
    fn the_error_that_ends_a_table_counts_and_a_cut_one_is_lost() {
        let mut datagram = Vec::new();
        push(&mut datagram, REQUEST, 0, &RawMessage { kind: 20, body: vec![7; 9] });
        let row = datagram.len();
        let done = |code: i32| RawMessage { kind: NLMSG_DONE, body: code.to_ne_bytes().to_vec() };
        for (code, outcome) in [(0, Ok(true)), (-libc::ENODEV, Err(Fault::Errno(libc::ENODEV)))] {
            datagram.truncate(row);
            push(&mut datagram, REQUEST, 0, &done(code));
            let mut rows = Vec::new();
            assert_eq!(ended(&datagram, &mut rows), outcome);
            assert_eq!(rows.len(), 1);
        }
        assert_eq!(ended(&datagram[..row], &mut Vec::new()), Ok(false), "more is to come");
        assert_eq!(ended(&datagram[..row + 17], &mut Vec::new()), Err(Fault::Lost));
    }
}
