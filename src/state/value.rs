//! What a series has accumulated.

use crate::metric::{Histogram, Shown};
use parsers::Kind;
use serde::{Deserialize, Serialize};

/// All that a series of unknown type keeps, so that a type told later changes only what is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Untyped {
    last: f64,
    /// What a counter would have become.
    increments: f64,
    observations: Histogram,
}

/// The value of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    Counter(f64),
    Gauge(f64),
    Histogram(Histogram),
    Untyped(Box<Untyped>),
}

impl Value {
    /// The value of a series without any line.
    pub(crate) fn new(kind: Option<Kind>, bounds: &[f64]) -> Self {
        match kind {
            Some(Kind::Counter) => Self::Counter(0.0),
            Some(Kind::Gauge) => Self::Gauge(0.0),
            Some(Kind::Histogram) => Self::Histogram(Histogram::new(bounds)),
            Some(Kind::Summary) => Self::Histogram(Histogram::new(&[])),
            None => Self::Untyped(Box::new(Untyped {
                last: 0.0,
                increments: 0.0,
                observations: Histogram::new(bounds),
            })),
        }
    }

    /// Takes one line's value. A counter takes no negative increment, but has its series from the first one on, as
    /// on TorchServe's endpoint: `labels` makes it before `inc` refuses (`io.prometheus.client.Counter`, 0.9.0).
    /// Tells which bucket an observation fell into.
    pub(crate) fn take(&mut self, bounds: &[f64], value: f64) -> Option<usize> {
        match self {
            Self::Counter(sum) => *sum += value.max(0.0),
            Self::Gauge(last) => *last = value,
            Self::Histogram(histogram) => return Some(histogram.observe(bounds, value)),
            Self::Untyped(untyped) => {
                untyped.last = value;
                untyped.increments += value.max(0.0);
                return Some(untyped.observations.observe(bounds, value));
            }
        }
        None
    }

    /// Becomes a value of this type; a value that has a type already stays as it is.
    pub(crate) fn become_typed(&mut self, kind: Kind) {
        let Self::Untyped(untyped) = self else { return };
        *self = match kind {
            Kind::Counter => Self::Counter(untyped.increments),
            Kind::Gauge => Self::Gauge(untyped.last),
            Kind::Histogram | Kind::Summary => Self::Histogram(untyped.observations.clone()),
        };
    }

    /// The value as an exposition shows it.
    pub(crate) fn shown(&self) -> Shown {
        match self {
            Self::Counter(value) | Self::Gauge(value) => Shown::Number(*value),
            Self::Untyped(untyped) => Shown::Number(untyped.last),
            Self::Histogram(histogram) => Shown::Histogram(histogram.clone()),
        }
    }
}

/// simpleclient's default bounds, which TorchServe uses for every histogram whatever its unit
/// (`io.prometheus.client.Histogram.Builder`, 0.9.0).
pub(crate) const TORCHSERVE_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Bounds of the derived latency histograms, in seconds: from a cache hit to a large generation.
pub(crate) const LATENCY_BOUNDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];

/// Bounds of `ts_batch_size`, in requests.
pub(crate) const BATCH_BOUNDS: [f64; 11] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_its_bucket() {
        let mut value = Value::new(Some(Kind::Histogram), &TORCHSERVE_BOUNDS);
        for observed in [0.005, 10.0, 10.1, -1.0] {
            value.take(&TORCHSERVE_BOUNDS, observed);
        }
        let Value::Histogram(histogram) = value else { panic!("a histogram stays one") };
        assert_eq!((2, 1, 1), (histogram.counts()[0], histogram.counts()[13], histogram.counts()[14]));
        assert_eq!(4, histogram.count());
        assert!(histogram.saw_negative());
    }

    #[test]
    fn a_late_type_gives_what_an_early_one_would_have_given() {
        for kind in [Kind::Counter, Kind::Gauge, Kind::Histogram] {
            let mut early = Value::new(Some(kind), &TORCHSERVE_BOUNDS);
            let mut late = Value::new(None, &TORCHSERVE_BOUNDS);
            for value in [0.1, 0.2, 7.0, 0.3] {
                early.take(&TORCHSERVE_BOUNDS, value);
                late.take(&TORCHSERVE_BOUNDS, value);
            }
            late.become_typed(kind);
            assert_eq!(early, late);
        }
    }
}
