//! SGLang: its scheduler's batch lines, a request's time line, its JSON line per request, its access log.
//!
//! ```text
//! [2026-11-20 19:00:05 DP0 TP0] Decode batch, #running-req: 154, #token: 656115, token usage: 0.67, …
//! [2026-11-20 22:00:01] ReqTimeStats(rid=42a0…, input_len=879, …): queue_duration=155.40ms, forward_duration=982.46ms, …
//! [2026-11-20 22:00:01] {"timestamp": "2026-11-20T22:00:01.922800", "event": "request.finished", "rid": "d939…", …}
//! [2026-11-20 21:00:19] INFO:     127.0.0.1:41035 - "POST /generate HTTP/1.1" 200 OK
//! ```
//!
//! Sources: `sglang/srt/managers/scheduler_components/metrics_reporter.py`, `sglang/srt/metrics/collector.py`,
//! `sglang/srt/managers/request_metrics_exporter.py`. A server may write a request's numbers in a time line and in
//! a JSON line; they feed different metrics, so that nothing counts twice.

mod metrics;
mod request;

use crate::ansi;
use crate::http;
use crate::json;
use crate::pairs::{self, Number, damaged, pairs};
use crate::report::{About, Sink};
use crate::time::civil;
use crate::{Catalog, Civil, Metric, Outcome, ParseError};

/// Most ranks of a line.
const RANKS: usize = 8;

/// All that its lines feed.
pub(super) fn metrics() -> Vec<&'static Metric<'static>> {
    metrics::BATCH.iter().map(|item| item.metric).chain(metrics::OTHERS).collect()
}

/// Reads a line.
pub(super) fn parse(record: &[u8], _: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    // A folder of request logs has the JSON alone.
    let (time, labels, message) = match bracket(&text) {
        Some((time, labels, message)) => (Some(time), labels, message),
        None => (None, Vec::new(), &*text),
    };
    let about = About { labels: &labels, time, request_id: None };
    if message.starts_with('{') {
        return request::json(&text, message, &about, sink);
    }
    if time.is_none() {
        return access(&text, message, time, sink);
    }
    if let Some(list) = batch(message, "Prefill batch") {
        return prefill(&text, list, &about, sink);
    }
    if let Some(list) = batch(message, "Decode batch") {
        return pairs::tell(&text, list, &metrics::BATCH, &about, sink).map(|()| Outcome::Parsed);
    }
    if request::is_times(message) {
        return request::times(&text, message, &about, sink);
    }
    access(&text, message, time, sink)
}

/// Whether a line is one of those that only SGLang writes.
pub(super) fn recognises(line: &str) -> bool {
    let line = ansi::strip(line);
    let message = bracket(&line).map_or(&*line, |(.., message)| message);
    if message.starts_with('{') {
        return json::object(message).is_ok_and(|(_, json)| request::event(&json).is_some());
    }
    if bracket(&line).is_none() {
        return false;
    }
    batch(message, "Prefill batch").is_some()
        || batch(message, "Decode batch").is_some()
        || request::is_times(message)
        || message.starts_with("server_args=ServerArgs(")
}

/// The list of a batch line. What stands between the words and the first item is the step's number, or a dot of 2024.
fn batch<'a>(message: &'a str, words: &str) -> Option<&'a str> {
    let rest = message.strip_prefix(words)?;
    rest.starts_with([',', '.', ' ', '[']).then(|| rest.split_once('#')).flatten()?;
    rest.find('#').and_then(|at| rest.get(at..))
}

/// Time, ranks as labels, and message: `[2026-11-20 19:00:05.123 DP0 TP0] message`.
#[expect(clippy::type_complexity, reason = "three parts of a line, taken apart at once")]
fn bracket(text: &str) -> Option<(Civil, Vec<(&'static str, &str)>, &str)> {
    let (head, message) = text.strip_prefix('[')?.split_once("] ")?;
    let (ranks, time) = civil(head).ok()?;
    let mut labels: Vec<(&'static str, &str)> = Vec::new();
    for word in ranks.split_whitespace().take(RANKS) {
        let parts = word.find(|c: char| c.is_ascii_digit()).and_then(|at| word.split_at_checked(at));
        let Some((kind, rank)) = parts.filter(|(_, rank)| rank.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        let label = metrics::RANKS.iter().find(|(known, _)| *known == kind);
        if let Some((_, label)) = label.filter(|(_, label)| labels.iter().all(|(known, _)| known != label)) {
            labels.push((label, rank));
        }
    }
    Some((time, labels, message))
}

fn prefill(record: &str, list: &str, about: &About<'_>, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let count = |name: &str| match pairs(list).find(|pair| pair.name == name) {
        Some(pair) => Number::read(pair.value)
            .filter(|number| number.unit.is_empty())
            .and_then(|number| number.shifted(0))
            .filter(|count| *count >= 0.0)
            .map(Some)
            .ok_or_else(|| damaged(record, pair.value, "a number of tokens")),
        None => Ok(None),
    };
    let (computed, cached) = (count("#new-token")?, count("#cached-token")?);
    pairs::tell(record, list, &metrics::BATCH, about, sink)?;
    for (mode, tokens) in [("prefill_compute", computed), ("prefill_cache", cached)] {
        if let Some(tokens) = tokens {
            let labels: Vec<_> = about.labels.iter().copied().chain([("mode", mode)]).collect();
            About { labels: &labels, ..*about }.tell(sink, &metrics::REALTIME_TOKENS, tokens);
        }
    }
    // The server computes its gauge of the same two numbers; in 2024 the line had the rate itself.
    if let (Some(computed), Some(cached)) = (computed, cached)
        && computed + cached > 0.0
        && pairs(list).all(|pair| pair.name != metrics::HIT_RATE_2024)
    {
        about.tell(sink, &metrics::CACHE_HIT_RATE, cached / (computed + cached));
    }
    Ok(Outcome::Parsed)
}

fn access(record: &str, message: &str, time: Option<Civil>, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let Some(request) = http::access_line(record, message)? else { return Ok(Outcome::Ignored) };
    let labels = [("endpoint", request.route), ("status_code", request.code), ("method", request.method)];
    let about = About { labels: &labels, time, request_id: None };
    about.tell(sink, &metrics::HTTP_RESPONSES, 1.0);
    Ok(Outcome::Parsed)
}

#[cfg(test)]
mod tests;
