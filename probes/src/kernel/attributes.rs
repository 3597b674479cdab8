//! What all netlink decoders share: one message is one row or one line, and attributes are decoded one at a time.
//!
//! netlink-packet-route decodes a whole message or nothing. A kernel that it has never seen may send one attribute in
//! a form that it does not expect, and a whole link would be lost for something that nobody asked for. So the decoders
//! walk the attributes themselves, hand the crate only those whose meaning they use, and step over the rest.

use std::borrow::Cow;
use std::fmt::Display;

use netlink_packet_core::{DecodeError, NlaBuffer, NlasIterator};

use super::{RawMessage, Table};

/// `RTM_NEWLINK`.
pub(super) const NEW_LINK: u16 = 16;
/// `RTM_NEWADDR`.
pub(super) const NEW_ADDRESS: u16 = 20;
/// `RTM_NEWROUTE`.
pub(super) const NEW_ROUTE: u16 = 24;
/// `RTM_NEWNEIGH`.
pub(super) const NEW_NEIGHBOUR: u16 = 28;

/// `RTM_NEWNEIGHTBL`.
pub(super) const NEW_NEIGHBOUR_TABLE: u16 = 64;

/// Longest line kept for a message that does not decode: decode errors quote the bytes that they stumbled over.
const LINE: usize = 160;

/// One attribute, header included.
pub(super) type Attribute<'a> = NlaBuffer<&'a [u8]>;

/// Decodes every message of `kind`. `decode` answers `None` for a message that belongs to another table.
pub(super) fn rows<T>(
    messages: &[RawMessage],
    kind: u16,
    what: &str,
    mut decode: impl FnMut(&[u8]) -> Result<Option<T>, DecodeError>,
) -> Table<T> {
    let mut table = Table::default();
    for message in messages.iter().filter(|message| message.kind == kind) {
        match decode(&message.body) {
            Ok(row) => table.rows.extend(row),
            Err(error) => table.malformed.push(line(what, &message.body, &error)),
        }
    }
    table
}

/// One line about a message that does not decode.
pub(super) fn line(what: &str, body: &[u8], error: &impl Display) -> String {
    clip(&format!("{what} message of {} bytes: {error}", body.len()))
}

/// One line of bounded length.
pub(super) fn clip(text: &str) -> String {
    let mut line = text.replace(['\n', '\r'], " ");
    if let Some((end, _)) = line.char_indices().nth(LINE) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// The attributes that follow a header of `header` bytes.
///
/// # Errors
/// If the message ends inside its header or inside an attribute.
pub(super) fn after(body: &[u8], header: usize) -> Result<Vec<Attribute<'_>>, DecodeError> {
    let attributes = body.get(header..).ok_or_else(|| DecodeError::buffer_too_small(body.len(), header))?;
    NlasIterator::new(attributes).collect()
}

/// The attributes inside an attribute.
///
/// # Errors
/// If the value ends inside an attribute.
pub(super) fn inside<'a>(attribute: &'a Attribute<'_>) -> Result<Vec<Attribute<'a>>, DecodeError> {
    NlasIterator::new(attribute.value()).collect()
}

/// A string as the kernel writes it: up to the first NUL. Link names may hold any byte; odd ones are shown replaced.
pub(super) fn text<'a>(attribute: &'a Attribute<'_>) -> Cow<'a, str> {
    let value = attribute.value();
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end])
}

/// The error for something that a message of this kind must carry.
pub(super) fn missing(name: &str) -> DecodeError {
    DecodeError::from(format!("it carries no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_body_that_ends_inside_header_or_attribute_is_an_error() {
        let body = [vec![0; 8], nla(3, b"eth0\0"), nla(4, &[1, 2, 3, 4])].concat();
        assert_eq!(after(&body, 8).unwrap().len(), 2);
        assert!(after(&body[..6], 8).is_err(), "inside the header");
        assert!(after(&body[..body.len() - 1], 8).is_err(), "inside the last value");
        assert!(after(&body[..body.len() - 6], 8).is_err(), "inside the last attribute's header");
    }

    #[test]
    fn text_ends_at_the_first_nul_and_survives_odd_bytes() {
        let bytes = nla(3, b"eth0\0junk");
        assert_eq!(text(&NlaBuffer::new(&bytes[..])), "eth0");
        let bytes = nla(3, b"e\xffh");
        assert_eq!(text(&NlaBuffer::new(&bytes[..])), "e\u{fffd}h");
    }

    #[test]
    fn a_line_is_one_line_and_bounded() {
        let line = line("link", &[0; 20], &"é\n".repeat(500));
        assert!(line.starts_with("link message of 20 bytes: é é"));
        assert!(!line.contains('\n'));
        assert_eq!(line.chars().count(), LINE + 1);
    }

    #[test]
    fn only_messages_of_the_kind_are_looked_at() {
        let messages = [16, 17, 24].map(|kind| RawMessage { kind, body: vec![7] });
        let table = rows(&messages, NEW_LINK, "link", |body| Ok(Some(body[0])));
        assert_eq!(table.rows, [7]);
        assert!(table.malformed.is_empty());
    }
}
