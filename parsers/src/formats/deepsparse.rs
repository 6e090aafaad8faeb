//! DeepSparse's loggers on standard output.
//!
//! neuralmagic/deepsparse: `src/deepsparse/legacy/loggers/python_logger.py` (the part after the data since 1.6), and
//! `src/deepsparse/loggers/registry/loggers/python_logger.py` (since 1.6, through Python's root logger, with whatever
//! prefix the program gives it):
//!
//! ```text
//! 20/11/2026 17:50:06:475835 Identifier: toy_classifier/prediction_latency/total_inference_seconds | Category: system | Logged Data: 0.17817116700007318 | Additional Info: {'pipeline_name': 'toy_classifier'}
//! INFO:root:[system.latency_seconds.identity]: 0.009779767000054562
//! ```
//!
//! Names and types are those of the loggers' siblings for Prometheus (`prometheus_logger.py` beside each): the name is
//! the identifier, and the type follows from it. What these cannot expose for lack of a type is passed over, except
//! the second logger's times (`…_seconds`), which are histograms here. Identifiers are written in the server's
//! configuration, never by clients.

mod python;

use crate::grammar::{Civil, Fail, whole_number};
use crate::measurement::CLIENT_SECONDS;
use crate::report::Sink;
use crate::time::day_first;
use crate::{Catalog, Event, Kind, Measurement, Metric, Outcome, ParseError, Reason, Uniform, ansi, uniform};
use memchr::memmem;

const IDENTIFIER: &str = " Identifier: ";
const CATEGORY: &str = " | Category: ";
const DATA: &str = " | Logged Data: ";
const INFO: &str = " | Additional Info: {";

const LABELS: &[(&str, &str)] = &[("pipeline_name", "model_name")];
static WHOLE: [Uniform<'static>; 1] =
    [Uniform { metric: &uniform::REQUEST_DURATION, factor: 1.0, labels: LABELS }];
static ENGINE: [Uniform<'static>; 1] = [Uniform { metric: &uniform::INFERENCE, factor: 1.0, labels: LABELS }];

/// Reads a line of either logger.
pub(super) fn parse(record: &[u8], _catalog: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    let result = match (identified(&text), tagged(&text)) {
        (Some((time, rest)), _) => entry(rest).and_then(|entry| tell(&entry, time, sink)),
        (None, Some(entry)) => tell(&entry, None, sink),
        (None, None) => Ok(Outcome::Ignored),
    };
    result.map_err(|fail| fail.in_record(&text))
}

/// Whether a line can only be DeepSparse's.
pub(super) fn recognises(line: &str) -> bool {
    let line = ansi::strip(line);
    let is_entry = identified(&line).is_some_and(|(_, rest)| entry(rest).is_ok());
    let of_logger = ["INFO", "WARNING"].iter().any(|level| {
        let rest = line.strip_prefix(level).and_then(|rest| rest.strip_prefix(':'));
        rest.is_some_and(|rest| {
            rest.starts_with("deepsparse.")
                || rest.starts_with("root:[system.") && tagged(&line).is_some_and(|entry| entry.is_number())
        })
    });
    is_entry || of_logger || line.starts_with("DeepSparse, Copyright ")
}

/// One logged value.
struct Entry<'a> {
    identifier: &'a str,
    category: &'a str,
    data: &'a str,
    pipeline: Option<&'a str>,
    /// Whether it is the second logger's, whose tags make names in a slightly other way.
    is_tag: bool,
}

impl Entry<'_> {
    fn is_number(&self) -> bool {
        whole_number(self.data.as_bytes()).is_some()
    }
}

/// The time and what follows `Identifier: `; the time is none where it cannot be read.
fn identified(text: &str) -> Option<(Option<Civil>, &str)> {
    let (stamp, rest) = text.split_at_checked(26)?;
    let rest = rest.strip_prefix(IDENTIFIER)?;
    let is_dated = stamp.get(2..3) == Some("/") && stamp.get(5..6) == Some("/");
    let time = day_first(stamp).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, time)| time);
    is_dated.then_some((time, rest))
}

/// `<identifier> | Category: system | Logged Data: 0.1 | Additional Info: {…}`.
fn entry(rest: &str) -> Result<Entry<'_>, Fail<'_>> {
    let malformed = |at, expected| Fail::new(at, expected, Reason::Malformed);
    let (identifier, rest) =
        rest.split_once(CATEGORY).ok_or_else(|| malformed(rest, "\" | Category: \" after the identifier"))?;
    let (category, rest) =
        rest.split_once(DATA).ok_or_else(|| malformed(rest, "\" | Logged Data: \" after the category"))?;
    let (data, info) =
        match memmem::rfind(rest.as_bytes(), INFO.as_bytes()).and_then(|at| rest.split_at_checked(at)) {
            Some((data, info)) => (data, Some(info)),
            None => (rest, None),
        };
    let pipeline = info.and_then(|info| python::text_of(info, "pipeline_name"));
    Ok(Entry { identifier, category, data, pipeline, is_tag: false })
}

/// `…[system.latency_seconds.identity]: 0.1`, with a time of its own behind the bracket if it is so configured.
fn tagged(text: &str) -> Option<Entry<'_>> {
    let at = ["[system.", "[performance.", "[metric."].iter().filter_map(|begin| text.find(begin)).min()?;
    // In front of it stands what a layout of Python's loggers writes, no sentence.
    let is_prefixed = text.get(..at)?.ends_with([':', ' ', ']', '-', '|']) || at == 0;
    let (placeholder, rest) = text.get(at + 1..)?.split_once(']')?;
    let (category, rest_of_tag) = placeholder.split_once('.')?;
    let (tag, _function) = rest_of_tag.rsplit_once('.')?;
    let (_, data) =
        rest.split_once(": ").filter(|(run_time, _)| run_time.is_empty() || run_time.starts_with('['))?;
    let is_tag = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_graphic());
    (is_prefixed && is_tag).then_some(Entry { identifier: tag, category, data, pipeline: Some(tag), is_tag })
}

/// Gives the numbers of an entry to their families: one, or one for each key where a dictionary was logged.
fn tell<'a>(entry: &Entry<'a>, time: Option<Civil>, sink: Sink<'_>) -> Result<Outcome, Fail<'a>> {
    let mut outcome = Outcome::Ignored;
    let mut one = |identifier: &str, value: f64| {
        if let Some(kind) = kind(identifier, entry) {
            observe(identifier, value, kind, entry, time, sink);
            outcome = Outcome::Parsed;
        }
    };
    match python::value(entry.data) {
        Some(python::Value::Number(value)) => one(entry.identifier, value),
        Some(python::Value::Dictionary(items)) => python::leaves(&items, entry.identifier, &mut one),
        Some(python::Value::Other) => {}
        // A number with something behind it was cut, or is two lines in one.
        None if entry.data.starts_with(|c: char| c.is_ascii_digit()) => {
            return Err(Fail::new(entry.data, "a number as Python prints it", Reason::BadValue));
        }
        None => {}
    }
    Ok(outcome)
}

/// The type that the server's own logger for Prometheus gives an identifier.
fn kind(identifier: &str, entry: &Entry<'_>) -> Option<Kind> {
    let has = |part: &str| identifier.contains(part);
    match entry.category {
        "system" if has("prediction_latency") => Some(Kind::Histogram),
        "system" if has("resource_utilization") => Some(Kind::Gauge),
        "system" if has("request_details/successful_request") => Some(Kind::Counter),
        "system" if has("request_details/input_batch_size") => Some(Kind::Histogram),
        "system" if entry.is_tag && identifier.ends_with("_seconds") => Some(Kind::Histogram),
        "system" => None,
        _ => Some(Kind::Summary),
    }
}

fn observe(
    identifier: &str,
    value: f64,
    kind: Kind,
    entry: &Entry<'_>,
    time: Option<Civil>,
    sink: &mut dyn FnMut(Event<'_>),
) {
    let name = name(identifier, kind, entry.is_tag);
    let help = match kind {
        Kind::Histogram if identifier.ends_with("_seconds") => "Time of a stage of a pipeline, from the log.",
        Kind::Histogram => "Sizes of batches, from the log.",
        Kind::Counter => "Requests that succeeded, from the log.",
        Kind::Gauge => "Use of the machine, as the server logged it last.",
        _ => "What a function of the data logging made of a pipeline's data, from the log.",
    };
    let uniform: &[Uniform<'_>] = match () {
        () if kind != Kind::Histogram => &[],
        () if identifier.ends_with("prediction_latency/total_inference_seconds") => &WHOLE,
        () if identifier.ends_with("prediction_latency/engine_forward_seconds") => &ENGINE,
        () => &[],
    };
    let bounds: &[f64] = if kind == Kind::Histogram { &CLIENT_SECONDS } else { &[] };
    let metric = Metric { name: &name, help, kind, bounds, uniform, old: &[] };
    let label = entry.pipeline.map(|pipeline| [("pipeline_name", pipeline)]);
    let labels = label.as_ref().map_or(&[][..], |label| label);
    sink(Event::Measured(Measurement { metric: &metric, value, labels, request_id: None, time }));
}

/// `deepsparse_` and the identifier in lower case, each character that no name may have as `__`; of tags, each run of
/// such characters. The client library adds `_total` to counters.
fn name(identifier: &str, kind: Kind, is_tag: bool) -> String {
    let mut name = String::with_capacity(identifier.len() + 24);
    name.push_str("deepsparse_");
    let mut was_legal = true;
    for c in identifier.chars() {
        let is_legal = c.is_ascii_alphanumeric() || c == '_';
        if is_legal {
            name.push(c.to_ascii_lowercase());
        } else if was_legal || !is_tag {
            name.push_str("__");
        }
        was_legal = is_legal;
    }
    if kind == Kind::Counter && !name.ends_with("_total") {
        name.push_str("_total");
    }
    name
}

#[cfg(test)]
mod tests;
