//! Names under which a family is exposed: as the server writes them, or by Prometheus' conventions.
//!
//! Conventions: <https://prometheus.io/docs/practices/naming/> (snake case, base units, `_total`).

use heck::ToSnakeCase;
use parsers::{Kind, Quantity, Unit};
use std::sync::Arc;

/// Which names the log families get (`--naming`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Naming {
    /// The server's own, as on its endpoint.
    #[default]
    Torchserve,
    /// TorchServe's in snake case with base units and `_total`; other servers' own.
    Prometheus,
    /// One schema for all servers; what has no place in it as with `prometheus`.
    // It is `parsers::uniform`. The comments above are the help of `--naming`.
    Uniform,
}

impl Naming {
    /// Whether TorchServe's own families get conventional names.
    pub(crate) const fn is_conventional(self) -> bool {
        matches!(self, Self::Prometheus | Self::Uniform)
    }
}

/// How a family appears in an exposition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exposed {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) labels: Vec<String>,
    /// Values are shown in this unit's base unit.
    pub(crate) convert: Option<Unit>,
}

impl Exposed {
    /// Name, help and labels of a log family.
    pub(crate) fn new(naming: Naming, kind: Option<Kind>, name: &str, unit: &str, labels: &[String]) -> Self {
        match naming {
            Naming::Torchserve => Self {
                name: name.to_owned(),
                help: torchserve_help(kind, unit),
                labels: labels.to_vec(),
                convert: None,
            },
            Naming::Prometheus | Naming::Uniform => {
                let known = Unit::parse(unit);
                Self {
                    name: conventional_name(kind, name, known),
                    help: format!("{} From {name}, unit {unit} in the log.", kind_sentence(kind)),
                    labels: labels.iter().map(|label| label.to_snake_case()).collect(),
                    convert: known,
                }
            }
        }
    }
}

impl Exposed {
    /// A value of the log as it is shown.
    pub(crate) fn shown(&self, value: f64) -> f64 {
        self.convert.map_or(value, |unit| unit.to_base(value))
    }

    /// The bounds that are shown as finite numbers of their own: two of one `le` would be one series twice. Of
    /// bounds that become one the highest stays, since whatever is below it is shown as no more than that number.
    pub(crate) fn distinct(&self, bounds: &[f64]) -> Arc<[f64]> {
        let mut kept: Vec<f64> = Vec::new();
        for bound in bounds.iter().copied().filter(|bound| self.shown(*bound).is_finite()) {
            if kept.last().is_some_and(|last| self.shown(*last) == self.shown(bound)) {
                kept.pop();
            }
            kept.push(bound);
        }
        kept.into()
    }
}

/// The text of pytorch/serve: `frontend/server/src/main/java/org/pytorch/serve/metrics/format/prometheous/`.
fn torchserve_help(kind: Option<Kind>, unit: &str) -> String {
    format!("Torchserve prometheus {} metric with unit: {unit}", kind.map_or("untyped", Kind::label))
}

fn kind_sentence(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Counter) => "Sum of the increments.",
        Some(Kind::Gauge) => "Last value.",
        Some(Kind::Summary) => "Count and sum of the observations.",
        Some(Kind::Histogram) => "Distribution of the observations.",
        None => "Last value; its type is not known.",
    }
}

fn conventional_name(kind: Option<Kind>, name: &str, unit: Option<Unit>) -> String {
    let mut result = stem(name);
    if let Some(suffix) = unit.and_then(|unit| unit.quantity.suffix()) {
        push_suffix(&mut result, suffix);
    }
    if kind == Some(Kind::Counter) {
        push_suffix(&mut result, "total");
    }
    result
}

/// The name of the histogram in seconds that is derived from a time metric.
pub(crate) fn derived_name(name: &str) -> String {
    let mut result = stem(name);
    push_suffix(&mut result, "seconds");
    result
}

/// Snake case with the prefix `ts_` and without any unit or `_total` at the end.
fn stem(name: &str) -> String {
    const UNITS: [&str; 12] = [
        "_total",
        "_nanoseconds",
        "_microseconds",
        "_milliseconds",
        "_seconds",
        "_ns",
        "_us",
        "_ms",
        "_s",
        "_bytes",
        "_ratio",
        "_percent",
    ];
    let snake = snake(name);
    let mut bare = snake.as_str();
    while let Some(shorter) =
        UNITS.iter().find_map(|unit| bare.strip_suffix(unit)).filter(|rest| !rest.is_empty())
    {
        bare = shorter;
    }
    if bare.starts_with("ts_") { bare.to_owned() } else { format!("ts_{bare}") }
}

/// Snake case that leaves classes of HTTP codes whole: `Requests2XX` → `requests_2xx`.
fn snake(name: &str) -> String {
    let class = name.char_indices().rev().nth(2).and_then(|(at, _)| name.split_at_checked(at));
    match class {
        Some((stem, class)) if class.ends_with("XX") && class.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{}_{}", stem.to_snake_case(), class.to_ascii_lowercase())
        }
        _ => name.to_snake_case(),
    }
}

fn push_suffix(name: &mut String, suffix: &str) {
    if !name.ends_with(&format!("_{suffix}")) {
        name.push('_');
        name.push_str(suffix);
    }
}

/// Whether a family of this unit feeds a histogram in seconds.
pub(crate) fn is_time(unit: &str) -> Option<Unit> {
    Unit::parse(unit).filter(|unit| unit.quantity == Quantity::Time)
}

/// A legal metric name (`[a-zA-Z_:][a-zA-Z0-9_:]*`, Prometheus' data model).
pub(crate) fn is_metric_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':'))
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

/// A legal label name that is not reserved for Prometheus itself (`__…`).
pub fn is_label_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventional_names_have_base_units_and_total() {
        for (kind, name, unit, expected) in [
            (Kind::Counter, "Requests2XX", "Count", "ts_requests_2xx_total"),
            (Kind::Counter, "ts_inference_requests_total", "Count", "ts_inference_requests_total"),
            (
                Kind::Counter,
                "ts_queue_latency_microseconds",
                "Microseconds",
                "ts_queue_latency_seconds_total",
            ),
            (Kind::Gauge, "GPUMemoryUsed", "Megabytes", "ts_gpu_memory_used_bytes"),
            (Kind::Gauge, "CPUUtilization", "Percent", "ts_cpu_utilization_ratio"),
            (Kind::Histogram, "ImageBytesHist", "kB", "ts_image_bytes_hist_bytes"),
            (Kind::Gauge, "UnitWords", "tokens per second", "ts_unit_words"),
        ] {
            let exposed = Exposed::new(Naming::Prometheus, Some(kind), name, unit, &[]);
            assert_eq!(expected, exposed.name);
        }
    }

    #[test]
    fn derived_names_end_in_seconds_once() {
        for (name, expected) in [
            ("ts_inference_latency_microseconds", "ts_inference_latency_seconds"),
            ("PredictionTime", "ts_prediction_time_seconds"),
            ("DecodeSeconds", "ts_decode_seconds"),
            ("decode_ms", "ts_decode_seconds"),
        ] {
            assert_eq!(expected, derived_name(name));
        }
    }

    #[test]
    fn names_are_those_of_prometheus_data_model() {
        assert!(
            is_metric_name("a:b_1")
                && !is_metric_name("2xx")
                && !is_metric_name("p 99")
                && !is_metric_name("")
        );
        assert!(
            is_label_name("le")
                && !is_label_name("__x")
                && !is_label_name("model-id")
                && !is_label_name("a:b")
        );
    }
}
