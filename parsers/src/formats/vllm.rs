//! vLLM, 2023 to 2026: its periodic line in all shapes, its speculative decoding, its access log.
//!
//! ```text
//! (APIServer pid=4242) INFO 11-20 20:40:20 [loggers.py:335] Engine 000: Avg prompt throughput: 6392.1 tokens/s, …
//! INFO 07-16 15:58:12 metrics.py:340] Avg prompt throughput: 237.0 tokens/s, … Pending: 4 reqs, …
//! {"asctime": "2026-11-20 22:40:10,007", "levelname": "INFO", "name": "vllm.v1.metrics.loggers", "message": "Engine 000: …"}
//! ```
//!
//! Sources: `vllm/v1/metrics/loggers.py`, `vllm/v1/spec_decode/metrics.py`, `vllm/engine/metrics.py` (until 0.10),
//! `vllm/logger.py`. No line tells a request's latency, so there is none here. The prompts in `Received request`
//! lines hold any text: a message counts only by its own beginning, right after the logger's prefix.

mod metrics;

use crate::ansi;
use crate::http;
use crate::json::{self, Json};
use crate::pairs::{self, Number, damaged, pairs};
use crate::report::{About, Sink};
use crate::time::{civil, month_first};
use crate::{Catalog, Civil, Metric, Outcome, ParseError};

/// All that its lines feed.
pub(super) fn metrics() -> Vec<&'static Metric<'static>> {
    metrics::all().collect()
}

/// Reads a line.
pub(super) fn parse(record: &[u8], _: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    if text.starts_with('{') {
        return match json::object(&text) {
            Ok((_, json)) => parse_json(&json, sink),
            Err(_) if text.contains("\"vllm.") => Err(damaged(&text, &text, "a whole JSON object")),
            Err(_) => Ok(Outcome::Ignored),
        };
    }
    match logged(&text) {
        Some((time, message)) => parse_message(&text, message, time, sink),
        None => parse_access(&text, after_process(&text), None, sink),
    }
}

/// Whether a line has the prefix that only vLLM's loggers write.
pub(super) fn recognises(line: &str) -> bool {
    let line = ansi::strip(line);
    if line.starts_with('{') {
        let json = json::object(&line);
        return json.is_ok_and(|(_, json)| json.text("name").is_some_and(is_logger));
    }
    logged(&line).is_some()
}

fn is_logger(name: &str) -> bool {
    name == "vllm" || name.starts_with("vllm.")
}

/// Without `(APIServer pid=4242) `, which newer versions put before a line.
fn after_process(text: &str) -> &str {
    let process = text.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    process.filter(|(process, _)| process.contains("pid=")).map_or(text, |(_, rest)| rest)
}

/// Time and message of a line with vLLM's prefix: `INFO 11-20 20:40:20 [loggers.py:335] message`, and without the
/// opening bracket until the end of 2024.
fn logged(text: &str) -> Option<(Civil, &str)> {
    let (level, rest) = after_process(text).split_once(' ')?;
    if !http::is_level(level) || level.ends_with(':') {
        return None;
    }
    let (rest, time) = month_first(rest.trim_start()).or_else(|_| civil(rest)).ok()?;
    let (place, message) = rest.strip_prefix(' ')?.split_once("] ")?;
    let (file, line) = place.strip_prefix('[').unwrap_or(place).rsplit_once(':')?;
    let is_place = file.ends_with(".py") && !file.contains([' ', '[', ']']) && line.parse::<u32>().is_ok();
    is_place.then_some((time, message))
}

fn parse_json(json: &Json<'_>, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let (Some(name), Some(message)) = (json.text("name"), json.text("message")) else {
        return Ok(Outcome::Ignored);
    };
    let time = json.text("asctime").and_then(|text| civil(text).ok()).map(|(_, time)| time);
    match (is_logger(name), time) {
        (true, Some(time)) => parse_message(message, message, time, sink),
        (false, time) if name == "uvicorn.access" => parse_access(message, message, time, sink),
        _ => Ok(Outcome::Ignored),
    }
}

fn parse_access(
    record: &str,
    line: &str,
    time: Option<Civil>,
    sink: Sink<'_>,
) -> Result<Outcome, ParseError> {
    let Some(request) = http::access_line(record, line)? else { return Ok(Outcome::Ignored) };
    // The server's own instrument has no route for what it answers with 404, and classes instead of codes.
    let handler = if request.code == "404" { "none" } else { request.route };
    let labels = [("handler", handler), ("method", request.method), ("status", request.class())];
    let about = About { labels: &labels, time: request.time.or(time), ..About::default() };
    about.tell(sink, &metrics::HTTP_REQUESTS, 1.0);
    Ok(Outcome::Parsed)
}

/// Which engine a message is about: its number without leading zeros, as the server's own label has it. All engines
/// together have no label.
fn engine(message: &str) -> (Option<&str>, &str) {
    if let Some((number, rest)) = message.strip_prefix("Engine ").and_then(|rest| rest.split_once(": "))
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !number.is_empty()
    {
        let short = number.trim_start_matches('0');
        return (Some(if short.is_empty() { "0" } else { short }), rest);
    }
    match message.split_once(" Engines Aggregated: ") {
        Some((count, rest)) if count.bytes().all(|byte| byte.is_ascii_digit()) => (None, rest),
        _ => (None, message),
    }
}

fn parse_message(record: &str, message: &str, time: Civil, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let (engine, list) = engine(message);
    let label = engine.map(|engine| [("engine", engine)]);
    let labels = label.as_ref().map_or(&[][..], |label| &label[..]);
    let about = About { labels, time: Some(time), request_id: None };
    if list.starts_with("Avg prompt throughput:") {
        return periodic(record, list, engine.is_some() || list.len() < message.len(), &about, sink);
    }
    if let Some(list) = list.strip_prefix("SpecDecoding metrics: ") {
        return speculative(record, list, &about, sink);
    }
    if let Some(list) = list.strip_prefix("Speculative metrics: ") {
        return pairs::tell(record, list, &metrics::V0_SPECULATIVE, &about, sink).map(|()| Outcome::Parsed);
    }
    if let Some(rest) = list.strip_prefix("Iteration(") {
        return iteration(record, rest, &about, sink);
    }
    if let Some(list) = list.strip_prefix("Prefix cache hit rate: ").filter(|list| list.starts_with("GPU:")) {
        return pairs::tell(record, list, &metrics::V0_PREFIX, &about, sink).map(|()| Outcome::Parsed);
    }
    Ok(Outcome::Ignored)
}

fn periodic(
    record: &str,
    list: &str,
    names_engine: bool,
    about: &About<'_>,
    sink: Sink<'_>,
) -> Result<Outcome, ParseError> {
    let is_v0 = pairs(list).any(|pair| matches!(pair.name, "Pending" | "Swapped"));
    if is_v0 {
        return pairs::tell(record, list, &metrics::V0, about, sink).map(|()| Outcome::Parsed);
    }
    let deferred = pairs(list).find(|pair| pair.name == "Deferred");
    let deferred = match deferred {
        Some(pair) => Number::read(pair.value)
            .filter(|number| number.unit == "reqs")
            .and_then(|number| number.shifted(0))
            .ok_or_else(|| damaged(record, pair.value, "<number> reqs"))?,
        None => 0.0,
    };
    pairs::tell(record, list, &metrics::V1, about, sink)?;
    // The item is left out when it is 0, and a gauge that is not told would go on showing its last value. Lines
    // without an engine are of versions that deferred nothing.
    if names_engine {
        let labels: Vec<_> = about.labels.iter().copied().chain([("reason", "deferred")]).collect();
        About { labels: &labels, ..*about }.tell(sink, &metrics::WAITING_BY_REASON, deferred);
    }
    Ok(Outcome::Parsed)
}

/// Tokens since the line before this one, so they are increments; and rates, one of them per position.
fn speculative(record: &str, list: &str, about: &About<'_>, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let mut positions = Vec::new();
    if let Some(pair) = pairs(list).find(|pair| pair.name == "Per-position acceptance rate") {
        for text in
            pair.value.split(',').filter(|text| !text.trim().is_empty() && !pairs::is_nothing(text.trim()))
        {
            let number = Number::read(text).filter(|number| number.unit.is_empty());
            let value = number.and_then(|number| number.shifted(0));
            positions.push(value.ok_or_else(|| damaged(record, text, "a rate per position"))?);
        }
    }
    pairs::tell(record, list, &metrics::SPECULATIVE, about, sink)?;
    for (position, value) in positions.into_iter().enumerate() {
        let position = position.to_string();
        let labels: Vec<_> = about.labels.iter().copied().chain([("position", &*position)]).collect();
        About { labels: &labels, ..*about }.tell(sink, &metrics::POSITION_RATE, value);
    }
    Ok(Outcome::Parsed)
}

/// `5): 4 context requests, 926 context tokens, 37 generation requests, 37 generation tokens, iteration elapsed
/// time: 35.65 ms, GPU KV cache usage: 73.6%`: a line for each step, with `--enable-logging-iteration-details`.
fn iteration(record: &str, rest: &str, about: &About<'_>, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let (_, list) = rest
        .split_once("): ")
        .ok_or_else(|| damaged(record, rest, "\"): \" after the iteration's number"))?;
    let tokens = |what: &str| {
        let part = list.split(", ").find(|part| part.ends_with(what))?;
        Number::read(part).filter(|number| number.unit == what)?.shifted(0)
    };
    pairs::check(record, list, &metrics::ITERATION)?;
    let counts = (tokens("context tokens"), tokens("generation tokens"));
    let (Some(context), Some(generation)) = counts else {
        return Err(damaged(record, list, "<number> context tokens, …, <number> generation tokens"));
    };
    about.tell(sink, &metrics::ITERATION_TOKENS, context + generation);
    pairs::tell(record, list, &metrics::ITERATION, about, sink).map(|()| Outcome::Parsed)
}

#[cfg(test)]
mod tests;
