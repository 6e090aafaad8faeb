//! Which series a record's value goes to, remembered by the bytes that name it.
//!
//! Parsing a line and finding its series by labels takes a microsecond, and the answer is the same for every
//! line of a series. So it is kept under the bytes that do not change from line to line
//! ([`parsers::Identity`]), and only a record with new ones is parsed. What is kept is never the only way to
//! an answer: it is dropped as a whole whenever families change, or when there is too much of it.

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use parsers::{Identity, Unit};
use std::hash::{BuildHasher, Hasher};

/// The longest key that is kept, in bytes. Usual ones have some 100; a layout's prefix, a unit or a dropped label
/// can be as long as a line, and different in each.
const KEY_MAX: usize = 512;

/// A series by its family's index and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) family: u32,
    pub(crate) series: u32,
}

/// Where the value of one record goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) series: Place,
    /// The histogram in seconds that it feeds as well, if it feeds one.
    pub(crate) derived: Option<DerivedRoute>,
}

/// Where the same goes as a duration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DerivedRoute {
    pub(crate) unit: Unit,
    pub(crate) series: Place,
    /// Whether records that name requests count them, too, and where, once one has.
    pub(crate) counts_requests: bool,
    pub(crate) requests: Option<Place>,
}

/// Routes by source and identity. The hash is keyed at random, since a log's text is chosen by others.
#[derive(Clone, Debug)]
pub(crate) struct Identities {
    table: HashTable<Entry>,
    hasher: RandomState,
    max: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    source: usize,
    has_requests: bool,
    /// Where the first part of the key ends.
    split: usize,
    key: Box<[u8]>,
    route: Route,
}

impl Entry {
    fn is(&self, source: usize, identity: &Identity<'_>) -> bool {
        let [front, back] = identity.key;
        self.split == front.len()
            && self.key.split_at_checked(self.split) == Some((front, back))
            && self.source == source
            && self.has_requests == identity.has_requests
    }
}

impl Identities {
    /// Room for `max` identities; one more and all are forgotten.
    pub(crate) fn new(max: usize) -> Self {
        Self { table: HashTable::new(), hasher: RandomState::default(), max }
    }

    /// Where a record with this identity goes.
    pub(crate) fn find(&self, source: usize, identity: &Identity<'_>) -> Option<Route> {
        let hash = hash(&self.hasher, source, identity.key);
        self.table.find(hash, |entry| entry.is(source, identity)).map(|entry| entry.route)
    }

    /// Remembers it, unless it is too long.
    pub(crate) fn insert(&mut self, source: usize, identity: &Identity<'_>, route: Route) {
        if identity.key.iter().map(|part| part.len()).sum::<usize>() > KEY_MAX {
            return;
        }
        let hash = hash(&self.hasher, source, identity.key);
        if let Some(known) = self.table.find_mut(hash, |entry| entry.is(source, identity)) {
            known.route = route;
            return;
        }
        if self.table.len() >= self.max {
            self.table.clear();
        }
        let [front, back] = identity.key;
        let entry = Entry {
            source,
            has_requests: identity.has_requests,
            split: front.len(),
            key: [front, back].concat().into(),
            route,
        };
        let hasher = &self.hasher;
        self.table.insert_unique(hash, entry, |entry| {
            let (front, back) = entry.key.split_at_checked(entry.split).unwrap_or_default();
            self::hash(hasher, entry.source, [front, back])
        });
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.table.clear();
    }
}

fn hash(hasher: &RandomState, source: usize, [front, back]: [&[u8]; 2]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(front);
    hasher.write(back);
    hasher.write_usize(source);
    hasher.finish()
}
