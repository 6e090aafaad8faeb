//! Why a record could not be read, in words for people and in a word for a counter.

use std::fmt;

/// What a rejected record is counted under (`inferometer_rejected_lines_total{reason=…}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The record holds no metric at all.
    NotAMetric,
    /// The record begins like a metric and does not end like one; most often a line that was cut.
    Malformed,
    /// The value is not a number as the server writes it.
    BadValue,
    /// The record is not UTF-8.
    InvalidUtf8,
    /// The layout wrote no data, only an object's address: the numbers were never in the log.
    NoData,
    /// The record is longer than `--limit.line-bytes`.
    TooLong,
    /// The number of dimensions differs from the declared one; the server refused this event too.
    LabelCount,
    /// The metric's or a label's name is not legal in Prometheus; the server refused this event too.
    IllegalName,
    /// Another family already owns this sample name; the server refused this event too.
    NameClash,
    /// The label set names one label twice: Prometheus would refuse the whole scrape.
    DuplicateLabel,
    /// A counter cannot go down; the server refused this event too.
    NegativeCounter,
    /// The family is new and there is no room for another series.
    NoRoom,
}

impl Reason {
    /// All reasons, in the order of their labels' first use in the documentation.
    pub const ALL: [Self; 12] = [
        Self::NotAMetric,
        Self::Malformed,
        Self::BadValue,
        Self::InvalidUtf8,
        Self::NoData,
        Self::TooLong,
        Self::LabelCount,
        Self::IllegalName,
        Self::NameClash,
        Self::DuplicateLabel,
        Self::NegativeCounter,
        Self::NoRoom,
    ];

    /// The value of the `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotAMetric => "not_a_metric",
            Self::Malformed => "malformed",
            Self::BadValue => "bad_value",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NoData => "no_data",
            Self::TooLong => "too_long",
            Self::LabelCount => "label_count",
            Self::IllegalName => "illegal_name",
            Self::NameClash => "name_clash",
            Self::DuplicateLabel => "duplicate_label",
            Self::NegativeCounter => "negative_counter",
            Self::NoRoom => "no_room",
        }
    }

    /// What the reason means and what to do about it, for reports.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NotAMetric => "no metric in the line",
            Self::Malformed => "the line begins like a metric but is cut or damaged",
            Self::BadValue => "the value is not a number as the server writes it",
            Self::InvalidUtf8 => "the line is not UTF-8",
            Self::NoData => {
                "log4j wrote MutableLogEvent@… instead of the metric: JSONPatternLayout has lost the data; \
                 set the appender's layout to <PatternLayout pattern=\"%d{ISO8601} - %m%n\"/>"
            }
            Self::TooLong => "the line is longer than --limit.line-bytes",
            Self::LabelCount => "the number of dimensions is not the declared one; the server refuses it too",
            Self::IllegalName => "the name of the metric or of a label is not legal in Prometheus",
            Self::NameClash => "the name belongs to another metric already",
            Self::DuplicateLabel => "a label is named twice; Prometheus would refuse the whole scrape",
            Self::NegativeCounter => "a counter cannot go down",
            Self::NoRoom => "a new metric, and --limit.series is reached",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A record that could not be read: what was expected, and where.
///
/// ```
/// use parsers::{Catalog, FORMATS};
/// let line = "2026-11-20T17:48:00,476 - Requests2XX.Count:one|#Level:Host|#hostname:h,timestamp:1";
/// let error = (FORMATS[0].parse)(line.as_bytes(), &Catalog::default(), &mut |_| {}).unwrap_err();
/// assert_eq!(error.to_string(), "expected a number as Java prints it at column 45");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What to count the record under.
    pub reason: Reason,
    /// What stands at this place in a good record.
    pub expected: &'static str,
    /// Where it was expected: byte column in the record, from 1.
    pub column: usize,
}

impl ParseError {
    /// An error at `offset` bytes into the record.
    pub const fn new(reason: Reason, expected: &'static str, offset: usize) -> Self {
        Self { reason, expected, column: offset + 1 }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at column {}", self.expected, self.column)
    }
}

impl std::error::Error for ParseError {}
