//! What the other model servers' lines measure, under the names of those servers' own metrics.
//!
//! TorchServe's lines name their metric themselves ([`Sample`](crate::Sample)); the lines of all other servers are
//! text for people, and what they measure is known from the server's source code. So a format holds a table of
//! [`Metric`]s and hands out [`Measurement`]s of them.

use crate::{Civil, Kind};

/// Bounds of a histogram of Python's client library that names none (`prometheus_client.Histogram.DEFAULT_BUCKETS`).
pub(crate) const CLIENT_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// A family that log lines feed. Name, type and buckets are those of the server's own metric, so that its dashboards
/// work; what a log does not hold has no metric here, and is absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric<'a> {
    /// Sample name; of a counter with its `_total`, if the server writes one.
    pub name: &'a str,
    /// Text after `# HELP`.
    pub help: &'a str,
    /// How values are accumulated.
    pub kind: Kind,
    /// Upper bounds of a histogram's buckets, ascending, without `+Inf`; empty for other kinds.
    pub bounds: &'a [f64],
    /// The same measurement in the schema that all servers share (`--naming uniform`).
    pub uniform: &'a [Uniform<'a>],
    /// The same measurement under names that the server had once and that dashboards still query (`--compat`).
    pub old: &'a [Uniform<'a>],
}

impl Metric<'_> {
    /// A metric without buckets and without a place in the shared schema; for `..Metric::BLANK`.
    pub const BLANK: Self =
        Self { name: "", help: "", kind: Kind::Gauge, bounds: &[], uniform: &[], old: &[] };
}

/// A metric's place in the shared schema, or another name for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uniform<'a> {
    /// The shared metric ([`uniform`](crate::uniform)), or the one of old.
    pub metric: &'a Metric<'a>,
    /// What a value is multiplied with to be in the shared metric's base unit.
    pub factor: f64,
    /// Which labels stay, by their names here, and what they are called there.
    pub labels: &'a [(&'a str, &'a str)],
}

/// One value that a line tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement<'a> {
    /// The family that takes it.
    pub metric: &'a Metric<'a>,
    /// The increment of a counter, the value of a gauge, an observation of a histogram or summary.
    pub value: f64,
    /// Label names and values, each name once. Values are log text: whatever a client can choose without end (paths
    /// that no route matches, request ids) has no place among them.
    pub labels: &'a [(&'a str, &'a str)],
    /// The id of the request that caused it, for exemplars.
    pub request_id: Option<&'a str>,
    /// When it happened by the server's clock, where the line tells it. A year of 0 stands for one that the line
    /// leaves out.
    pub time: Option<Civil>,
}
