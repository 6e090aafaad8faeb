//! Which series a record's value goes to, remembered by the bytes that name it.
//!
//! Parsing a line and finding its series by labels takes a microsecond, and the answer is the same for every
//! line of a series. So it is kept under the bytes that do not change from line to line
//! ([`parsers::Identity`]), and only a record with new ones is parsed. What is kept is never the only way to
//! an answer: it is dropped as a whole whenever families change, or when there is too much of it.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parsers::{Identify, Identity, Unit};
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
    entries: Vec<Entry>,
    /// The keys of all entries, one after the other.
    keys: Vec<u8>,
    derived: Vec<DerivedRoute>,
    /// Indices of entries by their hash.
    table: HashTable<u32>,
    hasher: RandomState,
    max: usize,
    /// The entry of the last record.
    latest: u32,
}

/// Small, since there is one for each series.
#[derive(Clone, Debug)]
struct Entry {
    /// Where its key begins in all keys, and how long its parts are.
    key: u32,
    front: u16,
    back: u16,
    source: u32,
    series: Place,
    /// Index of the route as a duration; [`NONE`] without one.
    derived: u32,
    /// The entry of the record that came after the last one of this entry; itself at first.
    next: u32,
    /// Length of the host's name at the key's end.
    host: u16,
    has_requests: bool,
}

const NONE: u32 = u32::MAX;

impl Entry {
    fn key<'a>(&self, keys: &'a [u8]) -> [&'a [u8]; 2] {
        let rest = keys.get(self.key as usize..).unwrap_or_default();
        let (front, rest) = rest.split_at_checked(self.front.into()).unwrap_or_default();
        [front, rest.get(..self.back.into()).unwrap_or_default()]
    }
}

impl Identities {
    /// Room for `max` identities; one more and all are forgotten.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            entries: Vec::new(),
            keys: Vec::new(),
            derived: Vec::new(),
            table: HashTable::new(),
            hasher: RandomState::default(),
            max,
            latest: NONE,
        }
    }

    /// Takes a record apart, and finds where it goes, if records of its identity have been parsed.
    pub(crate) fn find<'a>(
        &mut self,
        source: u32,
        record: &'a [u8],
        identify: &Identify,
    ) -> Option<(Identity<'a>, Option<Route>)> {
        let latest = self.entries.get(self.latest as usize);
        let next = latest.and_then(|latest| Some((latest.next, self.entries.get(latest.next as usize)?)));
        if let Some((at, entry)) = next.filter(|(_, entry)| entry.source == source)
            && let Some(identity) = (identify.identify_as)(record, entry.key(&self.keys), entry.host.into())
            && identity.has_requests == entry.has_requests
        {
            let route = self.route(entry);
            self.latest = at;
            return Some((identity, Some(route)));
        }
        let identity = (identify.identify)(record)?;
        let hash = hash(&self.hasher, source, identity.key);
        let found = self.table.find(hash, |at| self.is(*at, source, &identity)).copied();
        if let (Some(at), Some(latest)) = (found, self.entries.get_mut(self.latest as usize)) {
            latest.next = at;
        }
        self.latest = found.unwrap_or(NONE);
        let entry = found.and_then(|at| self.entries.get(at as usize));
        Some((identity, entry.map(|entry| self.route(entry))))
    }

    fn is(&self, at: u32, source: u32, identity: &Identity<'_>) -> bool {
        self.entries.get(at as usize).is_some_and(|entry| {
            entry.key(&self.keys) == identity.key
                && entry.source == source
                && entry.has_requests == identity.has_requests
        })
    }

    fn route(&self, entry: &Entry) -> Route {
        Route { series: entry.series, derived: self.derived.get(entry.derived as usize).copied() }
    }

    /// Remembers it, unless it is too long.
    pub(crate) fn insert(&mut self, source: u32, identity: &Identity<'_>, route: Route) {
        let [front, back] = identity.key;
        if front.len() + back.len() > KEY_MAX {
            return;
        }
        let hash = hash(&self.hasher, source, identity.key);
        let known = self.table.find(hash, |at| self.is(*at, source, identity)).copied();
        if known.is_none() && self.entries.len() >= self.max {
            self.clear();
        }
        let lengths = [front.len(), back.len(), identity.host.len()].map(u16::try_from);
        let places = [self.entries.len(), self.keys.len(), self.derived.len()].map(u32::try_from);
        let ([Ok(front_length), Ok(back_length), Ok(host)], [Ok(new), Ok(start), Ok(new_derived)]) =
            (lengths, places)
        else {
            return;
        };
        let known = known.and_then(|at| self.entries.get_mut(at as usize));
        let mut derived = known.as_ref().map_or(NONE, |known| known.derived);
        match (route.derived, self.derived.get_mut(derived as usize)) {
            (Some(route), Some(known)) => *known = route,
            (Some(route), None) => {
                derived = new_derived;
                self.derived.push(route);
            }
            (None, _) => derived = NONE,
        }
        if let Some(known) = known {
            (known.series, known.derived) = (route.series, derived);
            return;
        }
        self.keys.extend_from_slice(front);
        self.keys.extend_from_slice(back);
        self.entries.push(Entry {
            key: start,
            front: front_length,
            back: back_length,
            source,
            series: route.series,
            derived,
            next: new,
            host,
            has_requests: identity.has_requests,
        });
        let (entries, keys, hasher) = (&self.entries, &self.keys, &self.hasher);
        self.table.insert_unique(hash, new, |at| {
            entries.get(*at as usize).map_or(0, |entry| self::hash(hasher, entry.source, entry.key(keys)))
        });
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self { hasher: self.hasher.clone(), ..Self::new(self.max) };
    }
}

fn hash(hasher: &RandomState, source: u32, [front, back]: [&[u8]; 2]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(front);
    hasher.write(back);
    hasher.write_u32(source);
    hasher.finish()
}
