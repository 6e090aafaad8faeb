//! The one value between the parsers and the fold.

/// How a family's values are accumulated and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Each line holds an increment.
    Counter,
    /// Each line holds the value.
    Gauge,
    /// Each line holds one observation.
    Histogram,
    /// The same, of which only count and sum are kept.
    Summary,
}

impl Kind {
    /// The word after `# TYPE` in an exposition, and in a `metrics.yaml`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }

    /// Reads the word of a `metrics.yaml`, a configuration or a worker's `|#type:`, in any case; TorchServe has no
    /// summaries.
    pub fn from_label(word: &str) -> Option<Self> {
        [Self::Counter, Self::Gauge, Self::Histogram]
            .into_iter()
            .find(|kind| kind.label().eq_ignore_ascii_case(word))
    }
}

/// Who measured: the two halves of a `metrics.yaml`, each a name space of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The server's frontend (`ts_metrics`): the line names no request.
    Server,
    /// A model's handler (`model_metrics`): the line carries `,requestID:`.
    Model,
}

/// One observation read from a log record; all text borrows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Which half of the server's metrics it belongs to.
    pub scope: Scope,
    /// The metric's name as the server wrote it.
    pub name: &'a str,
    /// The unit as the server wrote it (`Milliseconds`, `ms`, `Count`, `tokens per second`).
    pub unit: &'a str,
    /// The increment, value or observation. `NaN` only where the server wrote `NaN`.
    pub value: f64,
    /// Label names and values in the order of the line, the host last.
    pub labels: Vec<(&'a str, &'a str)>,
    /// The ids of the requests that caused it, joined by commas; none where the line says `null`.
    pub request_ids: Option<&'a str>,
    /// Seconds since 1970 by the server's clock, where the line tells it.
    pub timestamp: Option<u64>,
}
