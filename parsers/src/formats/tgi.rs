//! Text Generation Inference: the router's lines, as the launcher prints them on standard output.
//!
//! huggingface/text-generation-inference: `router/src/logging.rs` (text with colours by default, JSON on request),
//! `router/src/server.rs` (`Success`), `router/src/infer/mod.rs` (failures); the same since 0.3:
//!
//! ```text
//! 2026-11-20T17:54:57.570722Z  INFO generate{parameters=GenerateParameters { …, stop: ["}: {"], … } total_time="1.438437543s" validation_time="863.259µs" queue_time="27.492858ms" inference_time="1.410079585s" time_per_token="25.179992ms" seed="None"}: text_generation_router::server: router/src/server.rs:432: Success
//! 2026-11-20T17:54:57.588847Z ERROR generate{parameters=…}:generate:generate_stream: text_generation_router::infer: router/src/infer/mod.rs:118: Model is overloaded
//! {"timestamp":"2026-11-20T17:54:59.893880Z","level":"INFO","message":"Success","target":"text_generation_router::server",…,"span":{…},"spans":[{"inference_time":"1.283006565s",…,"name":"generate"}]}
//! ```
//!
//! Parameters hold users' text (stop strings), so everything is looked for from the line's end, where only the
//! router writes. Prompt lengths and all `tgi_batch_*` are not in the log.

use crate::grammar::{Civil, civil};
use crate::json::{self, Json};
use crate::report::Sink;
use crate::{
    Catalog, Event, Kind, Measurement, Metric, Outcome, ParseError, Reason, Uniform, ansi, duration, uniform,
};

/// Bounds of the durations (`router/src/server.rs`): 35 steps of one and a half from 0.1 ms.
const SECONDS: [f64; 35] = geometric(0.0001, 1.5);

/// Bounds of the tokens: a hundred equal steps up to `--max-total-tokens`. The log does not tell it; this is the
/// launcher's default for models without a limit of their own, and `buckets:` in the configuration sets another.
const TOKENS: [f64; 100] = equal(4096.0);

#[expect(clippy::indexing_slicing, reason = "iterators are not const; the index is below the length")]
const fn geometric<const N: usize>(start: f64, factor: f64) -> [f64; N] {
    let (mut bounds, mut value, mut at) = ([0.0; N], start, 0);
    while at < N {
        value *= factor;
        bounds[at] = value;
        at += 1;
    }
    bounds
}

#[expect(clippy::indexing_slicing, reason = "iterators are not const; the index is below the length")]
#[allow(clippy::cast_precision_loss, reason = "a few steps")]
const fn equal<const N: usize>(last: f64) -> [f64; N] {
    let (mut bounds, mut at) = ([0.0; N], 0);
    while at < N {
        bounds[at] = last / N as f64 * (at + 1) as f64;
        at += 1;
    }
    bounds
}

const fn counter(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, kind: Kind::Counter, ..Metric::BLANK }
}

const fn seconds(
    name: &'static str,
    help: &'static str,
    uniform: &'static [Uniform<'static>],
) -> Metric<'static> {
    Metric { name, help, kind: Kind::Histogram, bounds: &SECONDS, uniform, ..Metric::BLANK }
}

const fn same(metric: &'static Metric<'static>) -> Uniform<'static> {
    Uniform { metric, factor: 1.0, labels: &[] }
}

static REQUESTS: Metric<'static> = Metric {
    uniform: &[same(&uniform::REQUESTS)],
    ..counter("tgi_request_count", "Requests that have succeeded or failed.")
};
static SUCCESS: Metric<'static> = counter("tgi_request_success", "Requests that were answered in full.");
static FAILURE: Metric<'static> = Metric {
    uniform: &[Uniform { metric: &uniform::FAILURES, factor: 1.0, labels: &[("err", "reason")] }],
    ..counter("tgi_request_failure", "Requests that failed, by the kind of failure.")
};
static GENERATED_TOKENS: Metric<'static> = Metric {
    name: "tgi_request_generated_tokens",
    help: "Generated tokens of a request, from its inference time and its time per token.",
    kind: Kind::Histogram,
    bounds: &TOKENS,
    uniform: &[same(&uniform::GENERATED_TOKENS)],
    ..Metric::BLANK
};

/// The fields of a span that hold a time, the first of which every answered request has.
static TIMES: [(&str, Metric<'static>); 5] = [
    (
        "total_time",
        seconds(
            "tgi_request_duration",
            "Time from a request's arrival to its last token, in seconds.",
            &[same(&uniform::REQUEST_DURATION)],
        ),
    ),
    (
        "validation_time",
        seconds("tgi_request_validation_duration", "Time to check and tokenize a request, in seconds.", &[]),
    ),
    (
        "queue_time",
        seconds(
            "tgi_request_queue_duration",
            "Time that a request waited for a batch, in seconds.",
            &[same(&uniform::QUEUE)],
        ),
    ),
    (
        "inference_time",
        seconds(
            "tgi_request_inference_duration",
            "Time that the model worked on a request, in seconds.",
            &[same(&uniform::INFERENCE)],
        ),
    ),
    (
        "time_per_token",
        seconds(
            "tgi_request_mean_time_per_token_duration",
            "Mean time per generated token of a request, in seconds.",
            &[same(&uniform::TOKEN_DURATION)],
        ),
    ),
];

/// How messages of failures begin, and the server's word for them.
const FAILURES: [(&str, &str); 7] = [
    ("Model is overloaded", "overloaded"),
    ("Input validation error", "validation"),
    ("Request failed during generation", "generation"),
    ("Incomplete generation", "incomplete"),
    ("Template error", "template"),
    // Spelled so in the server's source.
    ("Missing template vatiable", "template"),
    ("Missing template variable", "template"),
];

const ROUTER: &str = "text_generation_router";
const LAUNCHER: &str = "text_generation_launcher";

/// All that its lines feed.
pub(super) fn metrics() -> Vec<&'static Metric<'static>> {
    let times = TIMES.iter().map(|(_, metric)| metric);
    [&REQUESTS, &SUCCESS, &FAILURE].into_iter().chain(times).chain([&GENERATED_TOKENS]).collect()
}

/// Reads a line; only the end of a request measures something.
pub(super) fn parse(record: &[u8], _catalog: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    if text.starts_with('{') {
        return match json::line(&text) {
            Some(json) => parse_json(&json, sink),
            None if text.starts_with("{\"timestamp\":") && text.contains(ROUTER) => {
                Err(ParseError::new(Reason::Malformed, "a whole JSON object", 0))
            }
            None => Ok(Outcome::Ignored),
        };
    }
    let Some((time, level, said)) = logged(&text) else { return Ok(Outcome::Ignored) };
    let end = || text.len() - said.len();
    match level {
        "INFO" => match said.strip_suffix(": Success").and_then(spans) {
            Some(spans) => succeed(time, &|key| field(spans, key), end(), sink),
            // Nothing else that the router says at this level is about one request.
            None if is_cut(said) => Err(ParseError::new(Reason::Malformed, "a whole line", text.len())),
            None => Ok(Outcome::Ignored),
        },
        "ERROR" => match failure(said) {
            Some(kind) => Ok(fail(time, kind, sink)),
            None if is_cut(said) => Err(ParseError::new(Reason::Malformed, "a whole line", text.len())),
            None => Ok(Outcome::Ignored),
        },
        _ => Ok(Outcome::Ignored),
    }
}

/// Whether a line can only be written by the router or the launcher.
pub(super) fn recognises(line: &str) -> bool {
    let is_ours = |target: &str| target.starts_with(ROUTER) || target.starts_with(LAUNCHER);
    let line = ansi::strip(line);
    if line.starts_with('{') {
        return json::line(&line).is_some_and(|json| json.text("target").is_some_and(is_ours));
    }
    let Some((_, _, said)) = logged(&line) else { return false };
    is_ours(said) || said.rmatch_indices(": text_generation_router").any(|(at, _)| place(said, at).is_some())
}

/// Time, level and the rest of a line in the layout of `tracing`.
fn logged(text: &str) -> Option<(Civil, &str, &str)> {
    let (rest, time) = civil(text).ok()?;
    time.offset_minutes?;
    let (level, said) = rest.trim_start().split_once(' ')?;
    matches!(level, "TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR").then_some((time, level, said))
}

/// The spans in front of `: text_generation_router::server: router/src/server.rs:432`.
fn spans(said: &str) -> Option<&str> {
    let at = said.rfind(": text_generation_router")?;
    let tail = said.get(at + 2..)?;
    let is_place = tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:/.- ".contains(&byte));
    is_place.then(|| said.get(..at))?
}

/// The message behind the target and the source line that begin at `at`; older routers write no source line.
fn place(said: &str, at: usize) -> Option<&str> {
    let (target, rest) = said.get(at + 2..)?.split_once(": ")?;
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    let message = match rest.split_once(": ") {
        Some((file, message)) if is_word(file) && file.contains(".rs:") => message,
        _ => rest,
    };
    is_word(target).then_some(message)
}

/// The kind of failure that a line tells. Users' text may stand on both sides of the place, but can only make one kind
/// look like another.
fn failure(said: &str) -> Option<&'static str> {
    let mut places = said.rmatch_indices(": text_generation_router");
    places.find_map(|(at, _)| kind(place(said, at)?))
}

fn kind(message: &str) -> Option<&'static str> {
    FAILURES.iter().find(|(begin, _)| message.starts_with(begin)).map(|(_, kind)| *kind)
}

/// Whether a line begins with the spans of a request and ends before it says who has written it.
fn is_cut(said: &str) -> bool {
    let is_request = said.contains("{parameters=") || said.contains("total_time=\"");
    is_request && !said.starts_with(ROUTER) && !said.contains(": text_generation_router")
}

/// The text of a field of the innermost span that has it.
fn field<'a>(spans: &'a str, key: &str) -> Option<&'a str> {
    let is_whole =
        |at: usize| matches!(spans.get(..at).and_then(|before| before.chars().last()), Some(' ' | '{'));
    let (at, _) = spans.rmatch_indices(key).find(|(at, _)| {
        is_whole(*at) && spans.get(at + key.len()..).is_some_and(|rest| rest.starts_with("=\""))
    })?;
    spans.get(at + key.len() + 2..)?.split('"').next()
}

fn parse_json(json: &Json<'_>, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    // Without the option `flatten_event` the message is one of the event's fields.
    let message = json.text("message").or_else(|| json.member("fields")?.text("message"));
    let is_router = json.text("target").is_some_and(|target| target.starts_with(ROUTER));
    let time = json.text("timestamp").and_then(|text| civil(text).ok()).map(|(_, time)| time);
    let (true, Some(message), Some(time)) = (is_router, message, time) else { return Ok(Outcome::Ignored) };
    match json.text("level") {
        Some("INFO") if message == "Success" => {
            let outer = json.list("spans").unwrap_or_default().iter().rev();
            let timed =
                json.member("span").into_iter().chain(outer).find(|span| span.text("total_time").is_some());
            succeed(time, &|key| timed?.text(key), 0, sink)
        }
        Some("ERROR") => Ok(kind(message).map_or(Outcome::Ignored, |kind| fail(time, kind, sink))),
        _ => Ok(Outcome::Ignored),
    }
}

fn succeed<'a>(
    time: Civil,
    field: &dyn Fn(&str) -> Option<&'a str>,
    column: usize,
    sink: Sink<'_>,
) -> Result<Outcome, ParseError> {
    let mut times = [None; TIMES.len()];
    for ((key, _), seconds) in TIMES.iter().zip(&mut times) {
        let Some(text) = field(key) else { continue };
        let bad = || ParseError::new(Reason::BadValue, "a time as Rust prints it", column);
        *seconds = Some(duration::seconds(text).ok_or_else(bad)?);
    }
    let [Some(_), .., inference, per_token] = times else {
        return Err(ParseError::new(Reason::Malformed, "total_time in a span", column));
    };
    let mut tell = |metric: &Metric<'_>, value: f64| {
        sink(Event::Measured(Measurement { metric, value, labels: &[], request_id: None, time: Some(time) }));
    };
    tell(&REQUESTS, 1.0);
    tell(&SUCCESS, 1.0);
    for ((_, metric), seconds) in TIMES.iter().zip(times) {
        seconds.into_iter().for_each(|seconds| tell(metric, seconds));
    }
    // The router divides one by the number to get the other, so the number comes out whole but for rounding.
    if let (Some(inference), Some(per_token)) = (inference, per_token.filter(|seconds| *seconds > 0.0)) {
        tell(&GENERATED_TOKENS, (inference / per_token).round());
    }
    Ok(Outcome::Parsed)
}

fn fail(time: Civil, kind: &str, sink: Sink<'_>) -> Outcome {
    for (metric, labels) in [(&REQUESTS, &[][..]), (&FAILURE, &[("err", kind)][..])] {
        sink(Event::Measured(Measurement { metric, value: 1.0, labels, request_id: None, time: Some(time) }));
    }
    Outcome::Parsed
}

#[cfg(test)]
mod tests;
