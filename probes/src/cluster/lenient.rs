//! JSON from strangers: nothing but broken syntax is an error.
//!
//! A report is another program's word, perhaps of another version, perhaps of somebody who means harm. A value of a type
//! that is not expected is a value that is not known; a row that is no object is no row; what is too long is cut while it
//! is read, so that no document costs more than its own bytes.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

/// Longest text that is kept, in characters: a DNS name is no longer (RFC 1035 §2.3.4).
pub(super) const LONGEST: usize = 253;

/// A value that is no list and no object, or none that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Scalar {
    Text(String),
    Whole(u64),
    Fraction(f64),
    Truth(bool),
    #[default]
    Other,
}

impl Scalar {
    /// The text, made safe to show.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A size of an IP packet, which is never zero.
    pub(super) fn size(&self) -> Option<u16> {
        match self {
            Self::Whole(bytes) => u16::try_from(*bytes).ok().filter(|bytes| *bytes > 0),
            _ => None,
        }
    }

    pub(super) const fn whole(&self) -> Option<u64> {
        match self {
            Self::Whole(number) => Some(*number),
            _ => None,
        }
    }

    /// A share, from 0 to 1.
    pub(super) fn share(&self) -> Option<f64> {
        match self {
            Self::Fraction(share) => Some(*share).filter(|share| (0.0..=1.0).contains(share)),
            Self::Whole(0) => Some(0.0),
            Self::Whole(1) => Some(1.0),
            _ => None,
        }
    }

    /// A time in seconds as microseconds, as far as one is told that a round trip can take.
    pub(super) fn micros(&self) -> Option<u32> {
        let seconds = match self {
            Self::Fraction(seconds) => *seconds,
            #[expect(clippy::cast_precision_loss, reason = "more than 2^52 seconds are refused below")]
            Self::Whole(seconds) => *seconds as f64,
            _ => return None,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the filter")]
        (0.0..4_000.0).contains(&seconds).then(|| (seconds * 1e6).round() as u32)
    }
}

/// Text without what moves a cursor, hides, or turns the reading direction round, and no longer than [`LONGEST`].
pub(super) fn clean(text: &str) -> String {
    let safe = |c: char| if moves(c) { '\u{fffd}' } else { c };
    text.trim().chars().take(LONGEST).map(safe).collect()
}

/// Control characters, line separators, marks without width and those of the bidirectional algorithm (UAX #9).
fn moves(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyScalar)
    }
}

struct AnyScalar;

impl<'de> Visitor<'de> for AnyScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(clean(text)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(number))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Fraction(number))
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar::Truth(truth))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Scalar, A::Error> {
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Scalar, A::Error> {
        while all.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// An object, or whatever stands in its place.
#[derive(Clone, Debug)]
pub(super) struct Object<T>(pub(super) Option<T>);

/// A list, of which the first `MOST` elements are kept; empty if something else stands in its place.
#[derive(Clone, Debug)]
pub(super) struct List<T, const MOST: usize>(pub(super) Vec<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T, const MOST: usize> Default for List<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Composite(AsObject(PhantomData)))
    }
}

impl<'de, T: DeserializeOwned, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Composite(AsList::<T, MOST>(PhantomData)))
    }
}

/// What is made of an object or a list; by default, nothing.
trait Made<'de>: Sized {
    type Value: Default;

    fn object<A: MapAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        while all.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::Value::default())
    }

    fn list<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::Value::default())
    }
}

struct AsObject<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Made<'de> for AsObject<T> {
    type Value = Object<T>;

    fn object<A: MapAccess<'de>>(self, all: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(all)).map(|made| Object(Some(made)))
    }
}

struct AsList<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: DeserializeOwned, const MOST: usize> Made<'de> for AsList<T, MOST> {
    type Value = List<T, MOST>;

    fn list<A: SeqAccess<'de>>(self, mut all: A) -> Result<List<T, MOST>, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MOST {
            match all.next_element()? {
                Some(one) => kept.push(one),
                None => return Ok(List(kept)),
            }
        }
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(List(kept))
    }
}

/// Takes anything: what is made of objects and lists, and nothing of everything else.
struct Composite<M>(M);

impl<'de, M: Made<'de>> Visitor<'de> for Composite<M> {
    type Value = M::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<M::Value, E> {
        Ok(M::Value::default())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<M::Value, E> {
        Ok(M::Value::default())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<M::Value, E> {
        Ok(M::Value::default())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<M::Value, E> {
        Ok(M::Value::default())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<M::Value, E> {
        Ok(M::Value::default())
    }

    fn visit_unit<E: de::Error>(self) -> Result<M::Value, E> {
        Ok(M::Value::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, all: A) -> Result<M::Value, A::Error> {
        self.0.object(all)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, all: A) -> Result<M::Value, A::Error> {
        self.0.list(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, Deserialize)]
    #[serde(default)]
    struct Row {
        name: Scalar,
        mtu: Scalar,
        inner: Object<Box<Row>>,
        list: List<Scalar, 2>,
    }

    fn row(text: &str) -> Row {
        serde_json::from_str::<Object<Row>>(text).unwrap().0.unwrap_or_default()
    }

    #[test]
    fn a_value_of_another_type_is_not_known() {
        for wrong in ["null", "true", "-1", "1.5", "\"1500\"", "[1500]", "{\"mtu\": 1500}", "0", "65536", "1e99"] {
            assert_eq!(row(&format!("{{\"mtu\": {wrong}}}")).mtu.size(), None, "{wrong}");
        }
        assert_eq!(row("{\"mtu\": 1500, \"more\": [[{}]]}").mtu.size(), Some(1500));
    }

    #[test]
    fn what_is_no_object_is_none() {
        for wrong in ["null", "1", "-1", "0.5", "true", "\"x\"", "[]", "[{}]"] {
            assert!(serde_json::from_str::<Object<Row>>(wrong).unwrap().0.is_none(), "{wrong}");
        }
        assert!(row("{\"inner\": {\"inner\": 5}}").inner.0.is_some());
    }

    #[test]
    fn lists_are_cut_and_what_follows_them_is_read() {
        let read = row("{\"list\": [1, [2], 3, {\"x\": 4}], \"name\": \"a\"}");
        assert_eq!((read.list.0, read.name.text()), (vec![Scalar::Whole(1), Scalar::Other], Some("a")));
        assert!(row("{\"list\": {\"0\": 1}}").list.0.is_empty());
    }

    #[test]
    fn text_cannot_move_the_cursor_or_fill_the_screen() {
        let read = row("{\"name\": \"a\\u001b[2J\\u202eb\\n\"}");
        assert_eq!(read.name.text(), Some("a\u{fffd}[2J\u{fffd}b"));
        let long = row(&format!("{{\"name\": \"{}\"}}", "ä".repeat(5_000)));
        assert_eq!(long.name.text().unwrap().chars().count(), LONGEST);
    }

    #[test]
    fn times_that_cannot_be_are_not_known() {
        let time = |text: &str| row(&format!("{{\"mtu\": {text}}}")).mtu.micros();
        assert_eq!((time("0.000312"), time("1"), time("0")), (Some(312), Some(1_000_000), Some(0)));
        assert_eq!((time("-0.1"), time("1e9"), time("18446744073709551615")), (None, None, None));
    }
}
