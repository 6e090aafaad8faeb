//! What an exposition shows: families, their series and values, whoever measured them.
//!
//! Lines are folded into these by `state`, the host and the GPUs are read into these by `collect`, and `expose`
//! writes them down. They are immutable once published.

mod exemplar;

pub use exemplar::{Exemplar, Exemplars};

use parsers::Kind;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The type that an exposition names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts per bucket, count and sum.
    Histogram,
    /// Count and sum, and quantiles where somebody else has computed them.
    Summary,
    /// Nobody has told.
    Untyped,
}

impl Type {
    /// The word after `# TYPE`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }
}

impl From<Option<Kind>> for Type {
    fn from(kind: Option<Kind>) -> Self {
        match kind {
            Some(Kind::Counter) => Self::Counter,
            Some(Kind::Gauge) => Self::Gauge,
            Some(Kind::Histogram) => Self::Histogram,
            Some(Kind::Summary) => Self::Summary,
            None => Self::Untyped,
        }
    }
}

/// One family as an exposition shows it.
#[derive(Clone, Debug)]
pub struct FamilyView {
    /// Family name.
    pub name: String,
    /// Text after `# HELP`, not escaped.
    pub help: String,
    /// Type.
    pub kind: Type,
    /// Upper bounds of a histogram's buckets without `+Inf`; empty for other types.
    pub bounds: Arc<[f64]>,
    /// Its series.
    pub series: Vec<SeriesView>,
    /// Exemplars of its first series, in their order; there may be fewer than series.
    pub exemplars: Vec<Option<Exemplars>>,
    /// When the first line of its first series was written, in seconds since 1970 and in their order; 0 where nobody
    /// knows. There may be fewer than series.
    pub created: Vec<u32>,
}

/// One series as an exposition shows it.
#[derive(Clone, Debug)]
pub struct SeriesView {
    /// `name="value",…`, escaped; the same text is never twice in a family.
    pub labels: Arc<str>,
    /// Its value.
    pub value: Shown,
}

impl FamilyView {
    /// A family without series.
    pub fn new(name: &str, help: &str, kind: Type) -> Self {
        Self {
            name: name.to_owned(),
            help: help.to_owned(),
            kind,
            bounds: Arc::new([]),
            series: Vec::new(),
            exemplars: Vec::new(),
            created: Vec::new(),
        }
    }

    /// The names that its samples have.
    pub fn sample_names(&self) -> impl Iterator<Item = String> {
        let suffixes: &[&str] = match self.kind {
            Type::Histogram => &["", "_bucket", "_count", "_sum"],
            Type::Summary => &["", "_count", "_sum"],
            Type::Counter | Type::Gauge | Type::Untyped => &[""],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.name))
    }

    /// Adds a series of a number.
    pub fn push(&mut self, label_pairs: &[(&str, &str)], value: f64) {
        let mut text = String::new();
        label_pairs.iter().for_each(|(name, value)| push_label(&mut text, name, value));
        self.series.push(SeriesView { labels: text.into(), value: Shown::Number(value) });
    }
}

/// An immutable copy of a series' value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shown {
    /// Counter, gauge or untyped; of a summary, a quantile.
    Number(f64),
    /// Histogram; its bounds stand in the family.
    Histogram(Histogram),
}

/// Counts of a histogram; its bounds belong to the family. A copy shares them until the original observes more,
/// so publishing costs only what has changed since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The sum's bits, 1 after a negative observation, and the counts: one allocation for all.
    cells: Arc<[u64]>,
}

impl Histogram {
    /// Cells before the counts.
    const HEAD: usize = 2;

    /// No observation yet.
    pub fn new(bounds: &[f64]) -> Self {
        Self::from_counts(bounds.iter().map(|_| 0).chain([0]), 0.0)
    }

    /// A histogram that somebody else has counted: observations per bucket, not cumulative, and their sum.
    pub fn from_counts(counts: impl Iterator<Item = u64>, sum: f64) -> Self {
        Self { cells: [sum.to_bits(), 0].into_iter().chain(counts).collect() }
    }

    /// Takes one observation; tells which bucket it fell into.
    pub fn observe(&mut self, bounds: &[f64], value: f64) -> usize {
        // The first bucket whose bound is not below the value, as in simpleclient's Histogram.Child.
        let bucket = bounds.partition_point(|bound| *bound < value);
        if let [sum, saw_negative, counts @ ..] = Arc::make_mut(&mut self.cells) {
            *sum = (f64::from_bits(*sum) + value).to_bits();
            *saw_negative |= u64::from(value < 0.0);
            if let Some(count) = counts.get_mut(bucket) {
                *count += 1;
            }
        }
        bucket
    }

    /// Observations per bucket, not cumulative; the last one is `+Inf`.
    pub fn counts(&self) -> &[u64] {
        self.cells.get(Self::HEAD..).unwrap_or_default()
    }

    /// Sum of all observations, added in the order of the lines.
    pub fn sum(&self) -> f64 {
        self.cells.first().map_or(0.0, |bits| f64::from_bits(*bits))
    }

    /// Whether a negative value was observed: then the sum is no counter.
    pub fn saw_negative(&self) -> bool {
        self.cells.get(1).is_some_and(|saw| *saw != 0)
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.counts().iter().sum()
    }

    /// The same counts with another sum: in another unit.
    #[must_use]
    pub fn with_sum(&self, sum: f64) -> Self {
        let mut other = self.clone();
        if let Some(bits) = Arc::make_mut(&mut other.cells).first_mut() {
            *bits = sum.to_bits();
        }
        other
    }
}

/// Appends `name="value"`, with a comma before it unless it is the first.
pub fn push_label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    escape_into(text, value);
    text.push('"');
}

/// Escapes a label value (text format 0.0.4 and OpenMetrics agree: `\`, `"` and line feed).
pub fn escape_into(text: &mut String, value: &str) {
    if memchr::memchr3(b'\\', b'"', b'\n', value.as_bytes()).is_none() {
        return text.push_str(value);
    }
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}
