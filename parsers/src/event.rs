//! What a record can tell.

use crate::{Civil, Kind, Measurement, Sample};

/// One thing that a record says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A metric's increment, value or observation.
    Sample(Sample<'a>),
    /// A value of a metric that the format knows.
    Measured(Measurement<'a>),
    /// The type of a metric, told by a worker's own line; it is not counted as a sample.
    Type {
        /// The metric's name.
        name: &'a str,
        /// How its values are meant.
        kind: Kind,
    },
    /// An HTTP or gRPC request that the server has answered.
    Access(Access<'a>),
    /// A fact about the server process, from its start-up banner.
    Server(ServerFact<'a>),
}

/// A line of an access log; its parts are chosen by clients and are not bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// `GET`, `POST`, …, or `gRPC`.
    pub method: &'a str,
    /// The request target without its query string.
    pub path: &'a str,
    /// The HTTP status code, or the gRPC one.
    pub code: u16,
    /// How long the server took, in milliseconds.
    pub milliseconds: u64,
}

/// A line of the start-up banner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerFact<'a> {
    /// The server came up at this time of its own clock.
    Started(Civil),
    /// Its version.
    Version(&'a str),
    /// `log`, `prometheus` or `legacy`, in any case.
    MetricsMode(&'a str),
    /// The `metrics.yaml` in force, as the server names it.
    MetricsConfig(&'a str),
}

/// What became of a record that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It held at least one event.
    Parsed,
    /// It is a good record without a metric: another logger's line, a blank line.
    Ignored,
}
