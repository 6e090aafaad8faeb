//! KServe's Python model server: the `kserve.trace` lines on standard error.
//!
//! kserve/kserve: `python/kserve/kserve/model.py` (the stages of a request that got through, in milliseconds),
//! `python/kserve/kserve/protocol/rest/server.py` with the package `timing_asgi` (every request, in seconds, once for
//! the wall and once for the processor's clock):
//!
//! ```text
//! 2026-11-20 18:07:15.247 3600 kserve.trace requestId: req-000002, preprocess_ms: 1.244068146, explain_ms: 0, predict_ms: 24.685382843, postprocess_ms: 0.010967255
//! 2026-11-20 18:07:15.199 3600 kserve.trace kserve.io.v1.models.toy:predict: 0.03341555595397949 ['http_status:200', 'http_method:POST', 'time:wall']
//! ```
//!
//! Before the logger `kserve.trace` (2023-05) the first line was the root logger's, after `INFO [model.py:__call__():1]`.
//!
//! The stages have the server's own histograms, without its label `model_name`, which the line does not tell; they lack
//! requests that failed. The server exposes nothing for its timing lines: their families are ours. Its access lines
//! (`uvicorn.access`) say nothing that these do not.

use crate::grammar::{Civil, Fail, civil, milliseconds, whole_number};
use crate::measurement::CLIENT_SECONDS;
use crate::report::Sink;
use crate::{
    Catalog, Event, Kind, Measurement, Metric, Outcome, ParseError, Reason, Uniform, ansi, route, uniform,
};

const fn stage(
    name: &'static str,
    help: &'static str,
    uniform: &'static [Uniform<'static>],
) -> Metric<'static> {
    Metric { name, help, kind: Kind::Histogram, bounds: &CLIENT_SECONDS, uniform, ..Metric::BLANK }
}

/// The stages by what stands in front of their time.
static STAGES: [(&str, Metric<'static>); 4] = [
    (
        ", preprocess_ms: ",
        stage("request_preprocess_seconds", "Time to preprocess a request that got through.", &[]),
    ),
    (", explain_ms: ", stage("request_explain_seconds", "Time to explain a request that got through.", &[])),
    (
        ", predict_ms: ",
        stage(
            "request_predict_seconds",
            "Time of the model on a request that got through.",
            &[Uniform { metric: &uniform::INFERENCE, factor: 1.0, labels: &[] }],
        ),
    ),
    (
        ", postprocess_ms: ",
        stage("request_postprocess_seconds", "Time to postprocess a request that got through.", &[]),
    ),
];

const LABELS: &[(&str, &str)] = &[
    ("model_name", "model_name"),
    ("model_version", "model_version"),
    ("http_method", "method"),
    ("route", "route"),
    ("http_status", "code"),
];

static REQUESTS: Metric<'static> = Metric {
    name: "kserve_requests_total",
    help: "Answered requests, from the timing lines.",
    kind: Kind::Counter,
    uniform: &[Uniform { metric: &uniform::REQUESTS, factor: 1.0, labels: LABELS }],
    ..Metric::BLANK
};
static WALL: Metric<'static> = Metric {
    name: "kserve_request_duration_seconds",
    help: "Time from a request's arrival to its answer, from the timing lines.",
    kind: Kind::Histogram,
    bounds: &CLIENT_SECONDS,
    uniform: &[Uniform { metric: &uniform::REQUEST_DURATION, factor: 1.0, labels: LABELS }],
    ..Metric::BLANK
};
static CPU: Metric<'static> = Metric {
    name: "kserve_request_cpu_seconds",
    help: "Processor time of the whole server while a request was answered, from the timing lines.",
    kind: Kind::Summary,
    ..Metric::BLANK
};

/// What `timing_asgi` is told to put in front of a path.
const TIMED: &str = "kserve.io.";

/// Paths without a model, `/` written as `.`, and what they are called.
const FIXED: [(&str, &str); 17] = [
    ("", "/"),
    ("metrics", "/metrics"),
    ("docs", "/docs"),
    ("openapi.json", "/openapi.json"),
    ("v1.models", "/v1/models"),
    ("v2", "/v2"),
    ("v2.models", "/v2/models"),
    ("v2.health.live", "/v2/health/live"),
    ("v2.health.ready", "/v2/health/ready"),
    ("v2.repository.index", "/v2/repository/index"),
    ("openai.v1.models", "/openai/v1/models"),
    ("openai.v1.completions", "/openai/v1/completions"),
    ("openai.v1.chat.completions", "/openai/v1/chat/completions"),
    ("openai.v1.embeddings", "/openai/v1/embeddings"),
    ("openai.v1.rerank", "/openai/v1/rerank"),
    // Up to 2023 the timing lines named the function that answered.
    ("kserve.protocol.rest.v1_endpoints.predict", "/v1/models/{model_name}:predict"),
    ("kserve.protocol.rest.v2_endpoints.infer", "/v2/models/{model_name}/infer"),
];

/// Paths with a model: before it, after it, and what they are called.
const BY_MODEL: [(&str, &str, &str); 7] = [
    ("v1.models.", ":predict", "/v1/models/{model_name}:predict"),
    ("v1.models.", ":explain", "/v1/models/{model_name}:explain"),
    ("v2.models.", ".infer", "/v2/models/{model_name}/infer"),
    ("v2.models.", ".ready", "/v2/models/{model_name}/ready"),
    ("v2.repository.models.", ".load", "/v2/repository/models/{model_name}/load"),
    ("v2.repository.models.", ".unload", "/v2/repository/models/{model_name}/unload"),
    ("v1.models.", "", "/v1/models/{model_name}"),
];

/// All that its lines feed.
pub(super) fn metrics() -> Vec<&'static Metric<'static>> {
    STAGES.iter().map(|(_, metric)| metric).chain([&REQUESTS, &WALL, &CPU]).collect()
}

/// Reads a line; the server's other loggers measure nothing.
pub(super) fn parse(record: &[u8], _catalog: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    let Some((time, message)) = message(&text) else { return Ok(Outcome::Ignored) };
    let result = if let Some(rest) = message.strip_prefix("requestId: ") {
        stages(rest, time, sink)
    } else if let Some(rest) = message.strip_prefix(TIMED) {
        timing(rest, time, sink)
    } else {
        return Ok(Outcome::Ignored);
    };
    result.map(|()| Outcome::Parsed).map_err(|fail| fail.in_record(&text))
}

/// Whether a line can only be KServe's.
pub(super) fn recognises(line: &str) -> bool {
    let line = ansi::strip(line);
    let Some((_, logger, rest)) = logged(&line) else { return false };
    logger == "kserve.trace"
        || logger == "kserve" && rest.contains(" [")
        || message(&line)
            .is_some_and(|(_, message)| message.starts_with("requestId: ") && message.contains("_ms: "))
}

/// Time, logger and the rest of a line: `2026-11-20 18:07:15.247 3600 kserve.trace …`.
fn logged(text: &str) -> Option<(Civil, &str, &str)> {
    let (rest, time) = civil(text).ok()?;
    let (process, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    let (logger, rest) = rest.split_once(' ')?;
    process.bytes().all(|byte| byte.is_ascii_digit()).then_some((time, logger, rest))
}

/// The message of a line that may measure something.
fn message(text: &str) -> Option<(Civil, &str)> {
    let (time, logger, rest) = logged(text)?;
    match logger {
        "kserve.trace" => Some((time, rest)),
        "root" | "kserve" => Some((time, rest.split_once("] ")?.1)),
        _ => None,
    }
}

/// `req-000002, preprocess_ms: 1.244068146, explain_ms: 0, …`. The request's id is a client's: the times are looked
/// for from the end.
fn stages<'a>(rest: &'a str, time: Civil, sink: Sink<'_>) -> Result<(), Fail<'a>> {
    let mut times = [None; STAGES.len()];
    let mut start = rest.len();
    for ((key, _), slot) in STAGES.iter().zip(&mut times) {
        let Some(at) = rest.rfind(key) else { continue };
        start = start.min(at);
        let value = rest.get(at + key.len()..).and_then(|rest| rest.split(',').next()).unwrap_or_default();
        // A stage that did not run keeps the whole 0 that the server has set; all others are fractions.
        *slot = Some((value != "0").then(|| taken(value)).transpose()?);
    }
    if times.contains(&None) {
        return Err(Fail::new(rest, "the times of four stages", Reason::Malformed));
    }
    let request_id = rest.get(..start).filter(|id| !matches!(*id, "" | "N.A." | "None"));
    for ((_, metric), seconds) in STAGES.iter().zip(times) {
        let Some(value) = seconds.flatten() else { continue };
        sink(Event::Measured(Measurement { metric, value, labels: &[], request_id, time: Some(time) }));
    }
    Ok(())
}

fn taken(text: &str) -> Result<f64, Fail<'_>> {
    milliseconds(text).ok_or_else(|| Fail::new(text, "a time in milliseconds", Reason::BadValue))
}

/// `v1.models.toy:predict: 0.0334 ['http_status:200', 'http_method:POST', 'time:wall']`. The path may hold anything,
/// so the line is read from its end.
fn timing<'a>(rest: &'a str, time: Civil, sink: Sink<'_>) -> Result<(), Fail<'a>> {
    let malformed = |at, expected| Fail::new(at, expected, Reason::Malformed);
    let parts =
        rest.rfind(" ['").and_then(|at| Some((rest.get(..at)?, rest.get(at + 3..)?.strip_suffix("']")?)));
    let (named, tags) = parts.ok_or_else(|| malformed(rest, "a list of tags at the end"))?;
    let (path, value) = named.rsplit_once(": ").ok_or_else(|| malformed(named, "a time after the path"))?;
    let seconds = whole_number(value.as_bytes()).filter(|value| value.is_finite());
    let seconds = seconds.ok_or_else(|| Fail::new(value, "a time in seconds", Reason::BadValue))?;
    let tag = |key: &str| tags.split("', '").find_map(|tag| tag.strip_prefix(key)?.strip_prefix(':'));
    let code = tag("http_status").filter(|code| route::is_code(code));
    let code = code.ok_or_else(|| malformed(tags, "an HTTP status"))?;
    let method = tag("http_method").unwrap_or_default();
    let target = target(path, method, code);
    let mut labels = Vec::with_capacity(5);
    labels.extend(target.model.map(|model| ("model_name", model)));
    labels.extend(target.version.map(|version| ("model_version", version)));
    labels.extend([("route", target.route), ("http_method", route::method(method)), ("http_status", code)]);
    let mut tell = |metric: &Metric<'_>, value: f64| {
        let labels = labels.as_slice();
        sink(Event::Measured(Measurement { metric, value, labels, request_id: None, time: Some(time) }));
    };
    match tag("time") {
        Some("wall") => {
            tell(&REQUESTS, 1.0);
            tell(&WALL, seconds);
        }
        Some("cpu") => tell(&CPU, seconds),
        _ => return Err(malformed(tags, "'time:wall' or 'time:cpu'")),
    }
    Ok(())
}

/// Where a request went, as labels.
#[derive(Clone, Copy)]
struct Target<'a> {
    route: &'static str,
    model: Option<&'a str>,
    version: Option<&'a str>,
}

fn target<'a>(path: &'a str, method: &str, code: &str) -> Target<'a> {
    let other = Target { route: route::OTHER, model: None, version: None };
    // The rules for paths hold for names of models too: a model that is not there is a 404.
    if route::label("/", method, code) == route::OTHER {
        return other;
    }
    if let Some((_, route)) = FIXED.iter().find(|(fixed, _)| *fixed == path) {
        return Target { route, ..other };
    }
    let named = BY_MODEL.iter().find_map(|(before, after, route)| {
        let name = path.strip_prefix(before)?.strip_suffix(after)?;
        let is_name = !name.is_empty()
            && name.len() <= 200
            && !name.contains([':', '\'', '"'])
            && !name.contains(char::is_control);
        is_name.then_some((name, *route))
    });
    let Some((name, route)) = named else { return other };
    match name.rsplit_once(".versions.") {
        Some((model, version)) => Target { route, model: Some(model), version: Some(version) },
        None => Target { route, model: Some(name), version: None },
    }
}

#[cfg(test)]
mod tests;
