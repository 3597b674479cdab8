//! One rtnetlink socket whose messages are left undecoded.
//!
//! netlink-proto does the sending, the sequence numbers and the matching of answers. The message type and the codec are
//! ours: any body is accepted, and a datagram that is cut short or does not parse, like a receive buffer that overran,
//! becomes an overrun message, which no request owns and which therefore fails the one that is waiting.

use std::convert::Infallible;
use std::{fmt, io};

use bytes::BytesMut;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_OVERRUN, NetlinkBuffer, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_proto::sys::{AsyncSocket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use netlink_proto::{ConnectionHandle, NetlinkCodec, NetlinkMessageCodec};
use probes::kernel::RawMessage;
use tokio::task::JoinHandle;

use super::request::Request;

/// Bytes asked of the kernel for datagrams that were not read yet; it may grant less. A dump waits for room, but
/// multicast messages do not.
pub(super) const RECEIVE_BUFFER: i32 = 1 << 20;

/// Bytes of a netlink header, and what every message is padded to.
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;

/// Why a request has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The kernel's error number.
    Errno(i32),
    /// The table changed while it was dumped.
    Interrupted,
    /// A datagram was lost or cut short.
    Lost,
    /// No answer in time.
    Late,
    /// The socket is gone.
    Closed(String),
    /// The kernel does not check requests, so it would answer another one than was asked.
    Lenient,
}

impl Fault {
    /// Whether asking again may help.
    pub(super) const fn is_passing(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Lost)
    }

    /// Whether the kernel is done with the request, so that the socket takes the next one.
    pub(super) const fn leaves_socket_usable(&self) -> bool {
        matches!(self, Self::Errno(_) | Self::Interrupted | Self::Lenient)
    }

    /// Whether the kernel says that it does not have this address family.
    pub(super) const fn is_absent_family(&self) -> bool {
        matches!(self, Self::Errno(libc::EAFNOSUPPORT | libc::EPFNOSUPPORT | libc::EOPNOTSUPP))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => io::Error::from_raw_os_error(*errno).fmt(f),
            Self::Interrupted => f.write_str("the table changed during every attempt to read it"),
            Self::Lost => f.write_str("the kernel's answer was cut short or did not fit the receive buffer"),
            Self::Late => f.write_str("no answer within 5 s"),
            Self::Closed(why) => write!(f, "the socket is gone: {why}"),
            Self::Lenient => f.write_str("this kernel does not check dump requests (NETLINK_GET_STRICT_CHK)"),
        }
    }
}

/// A message whose body nobody looks into.
#[derive(Clone, Debug)]
pub(super) struct Frame(pub(super) RawMessage);

impl NetlinkSerializable for Frame {
    fn message_type(&self) -> u16 {
        self.0.kind
    }

    fn buffer_len(&self) -> usize {
        self.0.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0.body);
    }
}

impl NetlinkDeserializable for Frame {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self(RawMessage { kind: header.message_type, body: payload.to_vec() }))
    }
}

/// An open socket. Dropping it closes it.
pub(super) struct Channel {
    handle: ConnectionHandle<Frame>,
    unclaimed: Unclaimed,
    connection: JoinHandle<()>,
    strict: bool,
}

/// Messages that no request owns.
type Unclaimed = BoxStream<'static, (NetlinkMessage<Frame>, SocketAddr)>;

impl Channel {
    /// Opens a socket in the network namespace of this thread.
    pub(super) fn open() -> Result<Self, Fault> {
        let fault =
            |error: io::Error| error.raw_os_error().map_or_else(|| Fault::Closed(error.to_string()), Fault::Errno);
        let (mut connection, handle, unclaimed) =
            netlink_proto::new_connection_with_codec::<Frame, TokioSocket, Codec>(NETLINK_ROUTE).map_err(fault)?;
        connection.set_forward_done(true);
        let socket = connection.socket_mut().socket_mut();
        socket.set_rx_buf_sz(RECEIVE_BUFFER).map_err(fault)?;
        let strict = socket.set_netlink_get_strict_chk(true).is_ok();
        Ok(Self { handle, unclaimed: unclaimed.boxed(), connection: tokio::spawn(connection), strict })
    }

    /// Whether the kernel checks requests and honours every field of them. Linux 4.20 and later do.
    pub(super) const fn strict(&self) -> bool {
        self.strict
    }

    /// Asks for a whole table.
    pub(super) async fn dump(&mut self, request: &Request) -> Result<Vec<RawMessage>, Fault> {
        let mut answers = self.send(&request.message, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut rows = Vec::new();
        let mut interrupted = false;
        loop {
            let (header, payload) = self.next(&mut answers).await?.into_parts();
            interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
            match payload {
                NetlinkPayload::InnerMessage(frame) => rows.push(frame.0),
                payload => break ended(&payload)?,
            }
        }
        if interrupted { Err(Fault::Interrupted) } else { Ok(rows) }
    }

    fn send(
        &self,
        message: &RawMessage,
        flags: u16,
    ) -> Result<impl Stream<Item = NetlinkMessage<Frame>> + Unpin + use<>, Fault> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(Frame(message.clone())));
        self.handle.request(message, SocketAddr::new(0, 0)).map_err(|error| Fault::Closed(error.to_string()))
    }

    async fn next(
        &mut self,
        answers: &mut (impl Stream<Item = NetlinkMessage<Frame>> + Unpin),
    ) -> Result<NetlinkMessage<Frame>, Fault> {
        tokio::select! {
            // A loss is told before whatever came after it.
            biased;
            Some(_) = self.unclaimed.next() => Err(Fault::Lost),
            answer = answers.next() => answer.ok_or_else(|| Fault::Closed("it ended without an answer".into())),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What a message that is no row says about the request: its end, or the error that ended it.
fn ended(payload: &NetlinkPayload<Frame>) -> Result<(), Fault> {
    match payload {
        NetlinkPayload::Done(done) if done.code != 0 => Err(Fault::Errno(done.code.saturating_abs())),
        NetlinkPayload::Error(error) => match error.code {
            Some(code) => Err(Fault::Errno(code.get().saturating_abs())),
            None => Ok(()),
        },
        NetlinkPayload::Overrun(_) => Err(Fault::Lost),
        _ => Ok(()),
    }
}

/// Cuts a datagram into messages.
struct Codec;

impl NetlinkMessageCodec for Codec {
    fn decode<T>(datagram: &mut BytesMut) -> io::Result<Option<NetlinkMessage<T>>>
    where
        T: NetlinkDeserializable + fmt::Debug,
    {
        if datagram.is_empty() {
            return Ok(None);
        }
        let Some(length) = whole(datagram) else {
            datagram.clear();
            return Ok(Some(overrun()));
        };
        let message = datagram.split_to(length.next_multiple_of(ALIGNMENT).min(datagram.len()));
        Ok(Some(NetlinkMessage::deserialize(&message[..length]).unwrap_or_else(|_| overrun())))
    }

    fn encode<T>(message: NetlinkMessage<T>, buffer: &mut BytesMut) -> io::Result<()>
    where
        T: NetlinkSerializable + fmt::Debug,
    {
        NetlinkCodec::encode(message, buffer)
    }
}

/// Every message of a datagram; `None` if it is cut short.
pub(super) fn messages(datagram: &mut BytesMut) -> Option<Vec<RawMessage>> {
    let mut all = Vec::new();
    while !datagram.is_empty() {
        let length = whole(datagram)?;
        let message = datagram.split_to(length.next_multiple_of(ALIGNMENT).min(datagram.len()));
        let kind = NetlinkBuffer::new_checked(&message[..length]).ok()?.message_type();
        all.push(RawMessage { kind, body: message[HEADER..length].to_vec() });
    }
    Some(all)
}

/// The length of the first message, if it is there to its end.
fn whole(datagram: &[u8]) -> Option<usize> {
    let length = NetlinkBuffer::new_checked(datagram).ok()?.length();
    usize::try_from(length).ok().filter(|length| (HEADER..=datagram.len()).contains(length))
}

fn overrun<T>() -> NetlinkMessage<T> {
    let mut header = NetlinkHeader::default();
    header.message_type = NLMSG_OVERRUN;
    NetlinkMessage::new(header, NetlinkPayload::Overrun(Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    fn payloads(datagram: &[u8]) -> Vec<NetlinkPayload<Frame>> {
        let mut datagram = BytesMut::from(datagram);
        std::iter::from_fn(|| Codec::decode(&mut datagram).unwrap()).map(|message| message.payload).collect()
    }

    #[test]
    fn a_datagram_is_cut_into_its_messages_padding_and_all() {
        let payloads = payloads(&[message(16, b"odd"), message(200, b"")].concat());
        let bodies: Vec<_> = payloads
            .iter()
            .map(|payload| match payload {
                NetlinkPayload::InnerMessage(frame) => (frame.0.kind, frame.0.body.as_slice()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(bodies, [(16, &b"odd"[..]), (200, &b""[..])]);
    }

    #[test]
    fn a_message_that_is_cut_short_is_a_loss_and_no_silence() {
        let whole = [message(16, &[1; 32]), message(16, &[2; 32])].concat();
        for length in message(16, &[1; 32]).len() + 1..whole.len() {
            let payloads = payloads(&whole[..length]);
            assert_eq!(payloads.len(), 2, "{length} bytes");
            assert!(matches!(payloads[1], NetlinkPayload::Overrun(_)), "{length} bytes");
        }
    }

    #[test]
    fn a_datagram_of_events_is_whole_or_nothing() {
        let whole = [message(16, &[1; 32]), message(28, b"odd")].concat();
        let told = messages(&mut BytesMut::from(&whole[..])).unwrap();
        assert_eq!(told.iter().map(|raw| (raw.kind, raw.body.len())).collect::<Vec<_>>(), [(16, 32), (28, 3)]);
        assert_eq!(messages(&mut BytesMut::from(&whole[..whole.len() - 4])), None);
    }

    #[test]
    fn a_length_below_the_header_is_a_loss() {
        let mut bytes = message(16, &[0; 8]);
        bytes[0] = 4;
        assert!(matches!(payloads(&bytes)[..], [NetlinkPayload::Overrun(_)]));
    }

    #[test]
    fn the_error_that_ends_a_dump_counts() {
        let code = (-libc::EACCES).to_ne_bytes();
        let refused =
            payloads(&[message(3, &[0; 4]), message(3, &code), message(2, &[&code[..], &[0; 16]].concat())].concat());
        assert_eq!(
            refused.iter().map(ended).collect::<Vec<_>>(),
            [Ok(()), Err(Fault::Errno(libc::EACCES)), Err(Fault::Errno(libc::EACCES)),]
        );
    }

    #[tokio::test]
    async fn the_kernels_refusal_is_a_fault_and_leaves_the_socket_usable() {
        let mut channel = Channel::open().unwrap();
        let unknown = Request {
            name: "an unknown type",
            message: RawMessage { kind: 0x7ffe, body: vec![0; 16] },
            family: None,
            optional: false,
            needs_strict: false,
        };
        let fault = channel.dump(&unknown).await.unwrap_err();
        assert!(matches!(fault, Fault::Errno(_)), "{fault:?}");
        assert!(fault.leaves_socket_usable());
        let links = super::super::request::dumps(probes::fact::Source::Links);
        assert!(!channel.dump(&links[0]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_strict_kernel_refuses_what_it_does_not_understand() {
        let mut channel = Channel::open().unwrap();
        assert!(channel.strict());
        let mut request = super::super::request::dumps(probes::fact::Source::Neighbours).remove(0);
        request.message.body[8] = 0xff;
        assert_eq!(channel.dump(&request).await, Err(Fault::Errno(libc::EINVAL)));
    }
}
