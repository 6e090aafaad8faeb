//! One family: its series, and which of them have room.

use super::exemplar::{Cause, FamilyExemplars};
use super::labels::{LABELS_MAX, OVERFLOW};
use super::naming::Exposed;
use super::value::Value;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parsers::{Kind, Reason, Scope};
use std::hash::BuildHasher;
use std::sync::Arc;

/// Where a family comes from; decides who yields when two want one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A metric of the log, verbatim.
    Log(Scope),
    /// A histogram made of a log metric's lines; yields to a log metric of its name.
    Derived,
    /// A metric that a format knows, under the server's own name.
    Measured,
    /// The same in the schema that all servers share.
    Uniform,
    /// A metric of the user's own rules.
    Own,
    /// The same under a name that the server had once.
    Old,
}

impl Origin {
    /// Whether a format or a rule knows the metric.
    pub(crate) const fn is_measured(self) -> bool {
        matches!(self, Self::Measured | Self::Uniform | Self::Old | Self::Own)
    }
}

/// One label set and what it has accumulated.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) labels: Arc<str>,
    pub(crate) value: Value,
    /// When its last line was read, in seconds of our own running time; four bytes, since there are many series.
    pub(crate) last_seen: u32,
    /// The server (folder) that wrote it last; its silence hides gauges.
    pub(crate) server: u32,
}

/// What a family gives its lines: how values are taken, under which names.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) origin: Origin,
    /// Name in the log.
    pub(crate) name: String,
    pub(crate) unit: String,
    /// `None` while nobody has told.
    pub(crate) kind: Option<Kind>,
    pub(crate) exposed: Exposed,
    pub(crate) bounds: Arc<[f64]>,
    /// Label names in the order of the lines' dimensions, the host last.
    pub(crate) label_names: Vec<String>,
    /// The histogram in seconds that this family's lines feed as well, or their place in the shared schema.
    pub(crate) derived: Option<Derivation>,
    /// Set when a name clash came up after the fact: shown no more, every further line refused.
    pub(crate) refused: Option<Reason>,
    pub(crate) series: Vec<Series>,
    pub(crate) overflow: Option<Series>,
    pub(crate) exemplars: FamilyExemplars,
    /// When the first line of each series was written, in seconds since 1970, if that is kept; 0 where nobody knows.
    pub(crate) created: Vec<u32>,
    /// Places in `series` by the hash of the labels.
    index: HashTable<u32>,
    hasher: RandomState,
}

/// How lines of one family become observations of another.
#[derive(Clone, Debug)]
pub(crate) struct Derivation {
    /// Index of the fed family.
    pub(crate) family: usize,
    pub(crate) unit: parsers::Unit,
    /// Which dimensions become labels, and their names.
    pub(crate) labels: Vec<(usize, String)>,
    /// The family that counts the requests of each line, where this one has a line per batch.
    pub(crate) batch: Option<usize>,
}

/// How much room there is for new series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) family: usize,
    pub(crate) total: usize,
    /// Whether a new series remembers when it came up.
    pub(crate) keeps_created: bool,
}

/// What a line's value did to its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A known series took it.
    Known,
    /// A new series was made for it.
    New,
    /// There was no room; the family's overflow series took it, or nobody did (gauges).
    NoRoom,
}

/// When and by whom a line was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: u32,
    pub(crate) server: u32,
}

impl Seen {
    /// At this second of our own running time.
    pub(crate) fn new(now: u64, server: u32) -> Self {
        Self { at: u32::try_from(now).unwrap_or(u32::MAX), server }
    }
}

impl Family {
    pub(crate) fn new(origin: Origin, name: &str, unit: &str, kind: Option<Kind>, exposed: Exposed) -> Self {
        Self {
            origin,
            name: name.to_owned(),
            unit: unit.to_owned(),
            kind,
            exposed,
            bounds: Arc::new(super::value::TORCHSERVE_BOUNDS),
            label_names: Vec::new(),
            derived: None,
            refused: None,
            series: Vec::new(),
            overflow: None,
            exemplars: FamilyExemplars::default(),
            created: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    /// Gives a value to the series with this index; tells which bucket it fell into.
    pub(crate) fn update(&mut self, at: usize, value: f64, seen: Seen) -> Option<usize> {
        self.series.get_mut(at)?.update(&self.bounds, value, seen)
    }

    /// Whether its series keep the requests that fell into their buckets.
    pub(crate) const fn has_exemplars(&self) -> bool {
        // A type that comes late may turn out to be this one.
        matches!(self.kind, None | Some(Kind::Histogram))
    }

    /// Keeps the request that fell into a bucket of this series; tells by how many bytes exemplars grew.
    pub(crate) fn exemplify(
        &mut self,
        series: usize,
        bucket: Option<usize>,
        value: f64,
        cause: &Cause<'_>,
    ) -> usize {
        match bucket.map(u16::try_from) {
            Some(Ok(bucket)) if self.has_exemplars() => self.exemplars.offer(series, bucket, value, cause),
            _ => 0,
        }
    }

    /// Gives a value to the series with these labels; tells its index, unless it had no room, and by how many bytes
    /// exemplars grew.
    pub(crate) fn take(
        &mut self,
        labels: &str,
        value: f64,
        seen: Seen,
        cause: &Cause<'_>,
        room: Room,
    ) -> (Taken, Option<usize>, usize) {
        let hash = self.hasher.hash_one(labels);
        let is_it = |at: &u32| self.series.get(*at as usize).is_some_and(|series| *series.labels == *labels);
        let known = self.index.find(hash, is_it).map(|at| *at as usize);
        if let Some(at) = known {
            let bucket = self.update(at, value, seen);
            return (Taken::Known, Some(at), self.exemplify(at, bucket, value, cause));
        }
        // A line's own label set may look like the overflow series: then it is that one.
        let is_overflow = labels == OVERFLOW && self.kind != Some(Kind::Gauge);
        let has_room =
            !is_overflow && self.series.len() < room.family && room.total > 0 && labels.len() <= LABELS_MAX;
        if has_room {
            let at = self.series.len();
            self.insert(Series::new(labels, Value::new(self.kind, &self.bounds), seen));
            if room.keeps_created {
                self.created.resize(at, 0);
                self.created.push(cause.at);
            }
            let bucket = self.update(at, value, seen);
            return (Taken::New, Some(at), self.exemplify(at, bucket, value, cause));
        }
        // A gauge of many series has no meaningful overflow: the last of unrelated values.
        if self.kind != Some(Kind::Gauge) {
            let (kind, bounds) = (self.kind, &self.bounds);
            let overflow =
                self.overflow.get_or_insert_with(|| Series::new(OVERFLOW, Value::new(kind, bounds), seen));
            overflow.update(bounds, value, seen);
        }
        (Taken::NoRoom, None, 0)
    }

    /// Whether it holds no line's value.
    pub(crate) const fn is_empty(&self) -> bool {
        self.series.is_empty() && self.overflow.is_none()
    }

    /// Takes a series as it was saved.
    pub(crate) fn insert(&mut self, series: Series) {
        let hash = self.hasher.hash_one(&*series.labels);
        let Ok(at) = u32::try_from(self.series.len()) else { return };
        self.series.push(series);
        self.index.insert_unique(hash, at, |at| hash_at(&self.hasher, &self.series, *at));
    }

    /// Gives the family its type; values are kept as if it had been known from the first line.
    pub(crate) fn become_typed(&mut self, kind: Kind) {
        self.kind = Some(kind);
        self.overflow = self.overflow.take().filter(|_| kind != Kind::Gauge);
        self.series.iter_mut().chain(&mut self.overflow).for_each(|series| series.value.become_typed(kind));
        if !self.has_exemplars() {
            self.exemplars.clear();
        }
    }

    /// Drops the series whose last line is older than `oldest`; tells how many.
    pub(crate) fn expire(&mut self, oldest: u64) -> usize {
        self.retain(|series| u64::from(series.last_seen) >= oldest)
    }

    /// Drops the series that are not to be kept; tells how many.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Series) -> bool) -> usize {
        let before = self.series.len();
        if self.series.iter().all(&keep) {
            return 0;
        }
        self.exemplars.retain(self.series.iter().map(&keep));
        let mut each_stays = self.series.iter().map(&keep);
        self.created.retain(|_| each_stays.next().unwrap_or(false));
        self.series.retain(keep);
        self.index.clear();
        for (series, at) in self.series.iter().zip(0..) {
            let hash = self.hasher.hash_one(&*series.labels);
            self.index.insert_unique(hash, at, |at| hash_at(&self.hasher, &self.series, *at));
        }
        before - self.series.len()
    }

    /// Drops everything the family holds.
    pub(crate) fn refuse(&mut self, reason: Reason) -> usize {
        self.refused = Some(reason);
        self.index.clear();
        self.overflow = None;
        self.exemplars.clear();
        self.created = Vec::new();
        std::mem::take(&mut self.series).len()
    }
}

fn hash_at(hasher: &RandomState, series: &[Series], at: u32) -> u64 {
    series.get(at as usize).map_or(0, |series| hasher.hash_one(&*series.labels))
}

impl Series {
    fn new(labels: &str, value: Value, seen: Seen) -> Self {
        Self { labels: labels.into(), value, last_seen: seen.at, server: seen.server }
    }

    /// A series as it was saved.
    pub(crate) fn restored(labels: &str, value: Value, last_seen: u32, server: u32) -> Self {
        Self { labels: labels.into(), value, last_seen, server }
    }

    fn update(&mut self, bounds: &[f64], value: f64, seen: Seen) -> Option<usize> {
        self.last_seen = seen.at;
        self.server = seen.server;
        self.value.take(bounds, value)
    }
}
