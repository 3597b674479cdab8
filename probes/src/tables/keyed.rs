//! Rows that are found by what they are about.
//!
//! A node in a cluster of ten thousand has as many neighbours, forwarding entries and peers, and asks for one of each for
//! every path: looked for one after another that is minutes of a processor. Where a key stands is found out when the first
//! asks, and anew after a change. Of several rows with one key the order stays that of the kernel.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use crate::kernel::{FdbEntry, LinkIndex, Mac, Neighbour};

/// What a row can be found by.
pub trait Keyed {
    /// The key.
    type Key: Ord + Clone + std::fmt::Debug;

    /// Every key of this row.
    fn keys(&self) -> impl Iterator<Item = Self::Key>;
}

/// An entry of a link, by an address or a hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// The neighbour's address, or the far end that is forwarded to.
    Address(LinkIndex, IpAddr),
    /// The hardware address that is forwarded.
    Mac(LinkIndex, Mac),
}

impl Keyed for Neighbour {
    type Key = Entry;

    fn keys(&self) -> impl Iterator<Item = Entry> {
        std::iter::once(Entry::Address(self.link, self.address))
    }
}

impl Keyed for FdbEntry {
    type Key = Entry;

    fn keys(&self) -> impl Iterator<Item = Entry> {
        let end = self.destination.map(|end| Entry::Address(self.link, end));
        std::iter::once(Entry::Mac(self.link, self.mac)).chain(end)
    }
}

/// Rows in their order, and where each key stands.
#[derive(Clone, Debug)]
pub struct Rows<T: Keyed> {
    rows: Vec<T>,
    places: OnceLock<Vec<(T::Key, usize)>>,
}

impl<T: Keyed> Rows<T> {
    /// The rows with this key.
    pub fn at<'a>(&'a self, key: &T::Key) -> impl Iterator<Item = &'a T> + use<'a, T> {
        let places = self.places.get_or_init(|| {
            let keys = self.rows.iter().enumerate().flat_map(|(at, row)| row.keys().map(move |key| (key, at)));
            let mut places: Vec<_> = keys.collect();
            places.sort_unstable();
            places
        });
        let first = places.partition_point(|(known, _)| known < key);
        let count = places[first..].partition_point(|(known, _)| known == key);
        places[first..first + count].iter().map(|&(_, at)| &self.rows[at])
    }
}

impl<T: Keyed> Deref for Rows<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.rows
    }
}

impl<T: Keyed> DerefMut for Rows<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        self.places = OnceLock::new();
        &mut self.rows
    }
}

impl<T: Keyed> AsMut<Vec<T>> for Rows<T> {
    fn as_mut(&mut self) -> &mut Vec<T> {
        self
    }
}

impl<T: Keyed> From<Vec<T>> for Rows<T> {
    fn from(rows: Vec<T>) -> Self {
        Self { rows, places: OnceLock::new() }
    }
}

impl<T: Keyed> FromIterator<T> for Rows<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Self {
        Vec::from_iter(rows).into()
    }
}

impl<'a, T: Keyed> IntoIterator for &'a Rows<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.iter()
    }
}

impl<T: Keyed + PartialEq> PartialEq for Rows<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::ip;

    fn entry(link: u32, mac: u8, end: &str) -> FdbEntry {
        FdbEntry { link: LinkIndex(link), mac: Mac([mac; 6]), destination: Some(ip(end)), permanent: true }
    }

    fn ends(rows: &Rows<FdbEntry>, link: u32, mac: u8) -> Vec<String> {
        let found = rows.at(&Entry::Mac(LinkIndex(link), Mac([mac; 6])));
        found.map(|entry| entry.destination.unwrap().to_string()).collect()
    }

    #[test]
    fn rows_of_one_key_are_found_in_their_order() {
        let rows = Rows::from(vec![entry(2, 9, "10.0.0.3"), entry(2, 8, "10.0.0.1"), entry(2, 9, "10.0.0.2")]);
        assert_eq!(ends(&rows, 2, 9), ["10.0.0.3", "10.0.0.2"]);
        assert_eq!((ends(&rows, 3, 9).len(), ends(&rows, 2, 7).len()), (0, 0), "of another link, of nobody");
        assert_eq!(rows.at(&Entry::Address(LinkIndex(2), ip("10.0.0.1"))).count(), 1);
    }

    #[test]
    fn what_is_changed_is_found_as_it_is_then() {
        let mut rows: Rows<_> = [entry(2, 9, "10.0.0.1")].into_iter().collect();
        assert_eq!(ends(&rows, 2, 9), ["10.0.0.1"]);
        rows[0].mac = Mac([7; 6]);
        rows.push(entry(2, 7, "10.0.0.2"));
        assert_eq!(
            (ends(&rows, 2, 9).len(), ends(&rows, 2, 7).as_slice()),
            (0, &["10.0.0.1".into(), "10.0.0.2".into()][..])
        );
    }
}
