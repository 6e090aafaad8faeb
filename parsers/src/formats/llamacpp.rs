//! llama.cpp's server, 2024 to 2026, text and JSON (`tools/server/server-context.cpp`, `common/log.cpp`).
//!
//! ```text
//! 0.04.371.636 I slot print_timing: id  2 | task 0 | prompt eval time =      83.06 ms /    45 tokens (    1.85 ms per token,   541.74 tokens per second)
//! {"type":"log","time":3463312,"level":"info","msg":"slot print_timing: id  2 | task 0 |        eval time = …\n"}
//! prompt eval time =      83.06 ms /    45 tokens (    1.85 ms per token,   541.74 tokens per second)
//! INFO [           print_timings] generation eval time =     886.44 ms /    25 runs   ( … ) | tid="1401" …
//! ```
//!
//! The first two are of 2026, the third (under a line that names slot and task) of 2024 and 2025, the last of 2023.
//! Each line is one number of a request, and nothing here needs to know which request: totals do not care. Times are
//! elapsed since the start, not of a clock. Rates are left out: with nothing to divide by they are `nan` or `inf`.
//!
//! Against the server's own endpoint tokens and the seconds of generation are exact. Its `prompt_seconds_total` is
//! lower than the sum of what it logs and of what it tells its clients (by 4 to 9 % in the recorded runs); ours is
//! that sum.

mod metrics;

use crate::ansi;
use crate::http::Request;
use crate::json::{self, Json};
use crate::pairs::{Number, damaged};
use crate::report::{About, Sink};
use crate::route::is_code;
use crate::{Catalog, Event, Metric, Outcome, ParseError};

/// All that its lines feed.
pub(super) fn metrics() -> Vec<&'static Metric<'static>> {
    metrics::ALL.to_vec()
}

/// All that its lines feed inside of another server's.
pub(super) fn metrics_inside() -> impl Iterator<Item = &'static Metric<'static>> {
    metrics::ALL.into_iter().filter(|metric| metric.name != metrics::REQUESTS.name)
}

/// Reads a line.
pub(super) fn parse(record: &[u8], _: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    if text.starts_with('{') {
        return match json::object(&text) {
            Ok((_, json)) => parse_json(&json, sink),
            Err(_) if text.starts_with("{\"type\":\"log\"") => {
                Err(damaged(&text, &text, "a whole JSON object"))
            }
            Err(_) => Ok(Outcome::Ignored),
        };
    }
    parse_message(&text, after_prefix(&text), sink)
}

/// Reads a line that the server has written inside another one: all but what counts requests, since the other server
/// has counted them itself.
pub(super) fn parse_inside(record: &str, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    parse_message(record, after_prefix(record), &mut |event| {
        let counts = |event: &Event<'_>| matches!(event, Event::Measured(it) if it.metric.name == metrics::REQUESTS.name);
        if !counts(&event) {
            sink(event);
        }
    })
}

/// Whether a line is one that only this server writes.
pub(super) fn recognises(line: &str) -> bool {
    let line = ansi::strip(line);
    if line.starts_with('{') {
        let Ok((_, json)) = json::object(&line) else { return false };
        let message = json.text("msg").unwrap_or_default();
        let is_new = json.text("type") == Some("log") && json.text("level").is_some();
        let is_old = json.text("tid").is_some() && json.text("function").is_some();
        return !message.is_empty() && (is_new || is_old);
    }
    after_elapsed(&line).is_some() || is_own(after_prefix(&line))
}

/// Whether a message begins as this server's parts do.
fn is_own(message: &str) -> bool {
    let is_slot = message.starts_with("slot ") && message.contains(": id ") && message.contains("| task ");
    is_slot
        || message.starts_with("srv ") && message.contains(": ")
        || timing(message).is_some_and(|timing| timing.rest.contains(" ms"))
}

fn parse_json(json: &Json<'_>, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    if json.text("function") == Some("log_server_request") {
        let parts = (json.text("method"), json.text("path"), json.text("status"));
        let (Some(method), Some(path), Some(status)) = parts else { return Ok(Outcome::Ignored) };
        return Ok(tell_request(&Request::new(method, path, status), sink));
    }
    let Some(message) = json.text("msg") else { return Ok(Outcome::Ignored) };
    let message = message.trim_end();
    parse_message(message, message, sink)
}

/// Without the elapsed time and the level, or with what other programs of the family put there.
fn after_prefix(text: &str) -> &str {
    if let Some(rest) = after_elapsed(text) {
        return rest;
    }
    for prefix in ["I ", "W ", "E ", "D ", "llama_print_timings:", "llama_perf_context_print:"] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return rest;
        }
    }
    // `INFO [           print_timings] prompt eval time …`
    let old = text.strip_prefix("INFO [").and_then(|rest| rest.split_once("] "));
    old.filter(|(function, _)| function.trim_start() == "print_timings").map_or(text, |(_, rest)| rest)
}

/// The text after `0.04.371.636 I `: minutes, seconds, milliseconds, microseconds.
fn after_elapsed(text: &str) -> Option<&str> {
    let (elapsed, rest) = text.split_once(' ')?;
    let mut parts = elapsed.split('.');
    let mut is_number = |length: Option<usize>| {
        parts.next().is_some_and(|part| {
            let fits = length.map_or(!part.is_empty(), |length| part.len() == length);
            fits && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let is_elapsed = is_number(None) && is_number(Some(2)) && is_number(Some(3)) && is_number(Some(3));
    let rest = rest.strip_prefix(['I', 'W', 'E', 'D']).and_then(|rest| rest.strip_prefix(' '));
    rest.filter(|_| is_elapsed && parts.next().is_none())
}

/// A time, named.
struct Timing<'a> {
    name: &'a str,
    rest: &'a str,
}

/// `prompt eval time = <rest>` and its kin.
fn timing(message: &str) -> Option<Timing<'_>> {
    let (name, rest) = message.split_once('=')?;
    let name = name.trim();
    ["prompt eval time", "eval time", "generation eval time", "total time"]
        .contains(&name)
        .then_some(Timing { name, rest })
}

fn parse_message(record: &str, message: &str, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    if let Some(rest) = message.strip_prefix("srv ") {
        return server(record, rest.trim_start(), sink);
    }
    let message = match message.strip_prefix("slot ") {
        Some(rest) => {
            let parts = rest.trim_start().strip_prefix("print_timing: id ").map(|rest| rest.splitn(3, '|'));
            match parts.and_then(|mut parts| parts.nth(2)) {
                Some(message) => message,
                None => return Ok(Outcome::Ignored),
            }
        }
        None => message,
    };
    if let Some(rest) = message.trim_start().strip_prefix("draft acceptance ") {
        return draft(record, rest, sink);
    }
    let Some(Timing { name, rest }) = timing(message) else { return Ok(Outcome::Ignored) };
    let about = About::default();
    if name == "total time" {
        let malformed = || damaged(record, rest, "<n> ms, or <n> ms / <n> tokens");
        let seconds = total(rest).ok_or_else(malformed)?;
        about.tell(sink, &metrics::REQUEST_SECONDS, seconds);
        about.tell(sink, &metrics::REQUESTS, 1.0);
        return Ok(Outcome::Parsed);
    }
    let malformed = || damaged(record, rest, "<n> ms / <n> tokens ( … tokens per second)");
    let (seconds, tokens) = evaluation(rest).ok_or_else(malformed)?;
    let (time, count) = match name {
        "prompt eval time" => (&metrics::PROMPT_SECONDS, &metrics::PROMPT_TOKENS),
        _ => (&metrics::PREDICTED_SECONDS, &metrics::PREDICTED_TOKENS),
    };
    about.tell(sink, time, seconds);
    about.tell(sink, count, tokens);
    Ok(Outcome::Parsed)
}

/// Seconds and tokens of `83.06 ms /    45 tokens (    1.85 ms per token,   541.74 tokens per second)`. The rates are
/// not read, but they tell that the line is whole.
fn evaluation(text: &str) -> Option<(f64, f64)> {
    let (time, rest) = text.split_once('/')?;
    let (count, rates) = rest.split_once('(')?;
    rates.contains("per second)").then_some(())?;
    let tokens = Number::read(count).filter(|number| ["tokens", "runs"].contains(&number.unit))?;
    Some((milliseconds(time)?, tokens.shifted(0).filter(|tokens| *tokens >= 0.0)?))
}

/// Seconds of `100.73 ms /    56 tokens`, or of `100.73 ms` in 2023. A blank and more may follow.
fn total(text: &str) -> Option<f64> {
    let text = text.split('|').next().unwrap_or_default();
    match text.split_once('/') {
        Some((time, rest)) => {
            Number::read(rest).filter(|number| number.unit == "tokens")?;
            milliseconds(time)
        }
        None => milliseconds(text),
    }
}

fn milliseconds(text: &str) -> Option<f64> {
    let number = Number::read(text).filter(|number| number.unit == "ms")?;
    number.shifted(-3).filter(|seconds| *seconds >= 0.0)
}

/// `= 0.57576 (   19 accepted /    33 generated), mean len = 2.58`; `rate = …` in 2025.
fn draft(record: &str, text: &str, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let inner = text.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let counts = inner.and_then(|(inner, _)| {
        let (accepted, generated) = inner.split_once('/')?;
        let read = |text, unit| Number::read(text).filter(|number| number.unit == unit)?.shifted(0);
        Some((read(accepted, "accepted")?, read(generated, "generated")?))
    });
    let Some((accepted, generated)) = counts.filter(|(accepted, _)| *accepted >= 0.0) else {
        return Err(damaged(record, text, "(<n> accepted / <n> generated)"));
    };
    let about = About::default();
    about.tell(sink, &metrics::ACCEPTED, accepted);
    about.tell(sink, &metrics::DRAFTED, generated);
    Ok(Outcome::Parsed)
}

/// Lines of the server as a whole: `send_error: task id = 289, error: …`, and until 2025 `log_server_r: request: POST
/// /completion 127.0.0.1 200`.
fn server(record: &str, text: &str, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    if text.strip_prefix("send_error: task id = ").is_some_and(|rest| rest.contains(", error: ")) {
        About::default().tell(sink, &metrics::ERRORS, 1.0);
        return Ok(Outcome::Parsed);
    }
    let Some(rest) = text.strip_prefix("log_server_r: ") else { return Ok(Outcome::Ignored) };
    let Some(request) = rest.strip_prefix("done ").unwrap_or(rest).strip_prefix("request: ") else {
        return Ok(Outcome::Ignored);
    };
    let words: Vec<&str> = request.split(' ').filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [method, path, .., status] if words.len() >= 4 && is_code(status) => {
            Ok(tell_request(&Request::new(method, path, status), sink))
        }
        _ => Err(damaged(record, request, "<method> <path> <client> <status>")),
    }
}

fn tell_request(request: &Request<'_>, sink: Sink<'_>) -> Outcome {
    let labels = [("method", request.method), ("route", request.route), ("code", request.code)];
    About { labels: &labels, ..About::default() }.tell(sink, &metrics::HTTP_REQUESTS, 1.0);
    Outcome::Parsed
}

#[cfg(test)]
mod tests;
