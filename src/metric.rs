//! What an exposition shows: families, their series and values, whoever measured them.
//!
//! Lines are folded into these by `state`, the host and the GPUs are read into these by `collect`, and `expose`
//! writes them down. They are immutable once published.

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
        let bounds = Arc::new([]);
        Self { name: name.to_owned(), help: help.to_owned(), kind, bounds, series: Vec::new() }
    }

    /// Adds a series of a number.
    pub fn push(&mut self, label_pairs: &[(&str, &str)], value: f64) {
        let mut text = String::new();
        label_pairs.iter().for_each(|(name, value)| push_label(&mut text, name, value));
        self.series.push(SeriesView { labels: text.into(), value: Shown::Number(value) });
    }
}

/// An immutable copy of a series' value.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// Counter, gauge or untyped.
    Number(f64),
    /// Histogram; its bounds stand in the family.
    Histogram(Arc<Histogram>),
}

/// Counts of a histogram; its bounds belong to the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Observations per bucket, not cumulative; the last one is `+Inf`.
    pub counts: Box<[u64]>,
    /// Sum of all observations, added in the order of the lines.
    pub sum: f64,
    /// Whether a negative value was observed: then `sum` is no counter.
    pub saw_negative: bool,
}

impl Histogram {
    /// No observation yet.
    pub fn new(bounds: &[f64]) -> Self {
        Self { counts: vec![0; bounds.len() + 1].into(), sum: 0.0, saw_negative: false }
    }

    /// Takes one observation.
    pub fn observe(&mut self, bounds: &[f64], value: f64) {
        // The first bucket whose bound is not below the value, as in simpleclient's Histogram.Child.
        let bucket = bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += value;
        self.saw_negative |= value < 0.0;
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
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
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}
