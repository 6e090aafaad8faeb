//! Lines about one request: its times, and its JSON.

use super::metrics;
use crate::duration;
use crate::json::{self, Json};
use crate::pairs::damaged;
use crate::report::{About, Sink};
use crate::time::civil;
use crate::{Metric, Outcome, ParseError};

/// Whether a message is a request's time line, by its name today or that of 2025.
pub(super) fn is_times(message: &str) -> bool {
    message.starts_with("ReqTimeStats(") || message.starts_with("Req Time Stats(")
}

/// `ReqTimeStats(rid=42a0…, input_len=879, …, type=unified): queue_duration=155.40ms, forward_duration=982.46ms, …`.
/// Servers that split prefill from decode write more durations; their queues are not this one.
pub(super) fn times(
    record: &str,
    message: &str,
    about: &About<'_>,
    sink: Sink<'_>,
) -> Result<Outcome, ParseError> {
    let malformed = |expected| damaged(record, message, expected);
    let Some((head, times)) = message.split_once("): ") else {
        return Err(malformed("\"): \" and durations after the request's lengths"));
    };
    let length = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| value(head, name))?;
        found.parse::<u32>().ok().map(f64::from)
    };
    let (input, output) = (length(["input_len=", "input len="]), length(["output_len=", "output len="]));
    let (Some(input), Some(output)) = (input, output) else {
        return Err(malformed("input_len=<tokens> and output_len=<tokens>"));
    };
    let duration = |name| value(times, name).and_then(duration::seconds);
    let (Some(queue), Some(forward)) = (duration("queue_duration="), duration("forward_duration=")) else {
        return Err(malformed("queue_duration=<n>ms and forward_duration=<n>ms"));
    };
    let about = About { request_id: value(head, "rid="), ..*about };
    about.tell(sink, &metrics::TIMES_QUEUE, queue);
    about.tell(sink, &metrics::TIMES_FORWARD, forward);
    about.tell(sink, &metrics::TIMES_INPUT, input);
    about.tell(sink, &metrics::TIMES_OUTPUT, output);
    Ok(Outcome::Parsed)
}

/// The text after `name`, where it begins an item, up to the item's end.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begins = |before: &str| before.is_empty() || before.ends_with([' ', '(', ',', ';']);
    let mut places = text.match_indices(name);
    let (at, _) = places.find(|(at, _)| text.get(..*at).is_some_and(begins))?;
    text.get(at + name.len()..)?.split([',', ';', ' ', ')']).next().filter(|value| !value.is_empty())
}

/// Which event a JSON line tells.
pub(super) fn event<'a>(json: &'a Json<'_>) -> Option<&'a str> {
    json.text("event").filter(|event| event.starts_with("request.") && json.text("rid").is_some())
}

/// `{"timestamp": "…", "event": "request.finished", "rid": "…", "obj": {…}, "out": {"meta_info": {…}}}`, with
/// `--log-requests --log-requests-format json`.
pub(super) fn json(
    record: &str,
    message: &str,
    about: &About<'_>,
    sink: Sink<'_>,
) -> Result<Outcome, ParseError> {
    let Ok((_, json)) = json::object(message) else {
        let is_ours = message.contains("\"event\": \"request.");
        return if is_ours {
            Err(damaged(record, message, "a whole JSON object"))
        } else {
            Ok(Outcome::Ignored)
        };
    };
    if event(&json) != Some("request.finished") {
        return Ok(Outcome::Ignored);
    }
    let time = json.text("timestamp").and_then(|text| civil(text).ok()).map(|(_, time)| time);
    let about = About { time: time.or(about.time), request_id: json.text("rid"), ..*about };
    match json.member("out") {
        // Several prompts in one request: the server counts each.
        Some(Json::List(outputs)) => {
            outputs.iter().for_each(|output| finished(output.member("meta_info"), &about, sink));
        }
        output => finished(output.and_then(|output| output.member("meta_info")), &about, sink),
    }
    Ok(Outcome::Parsed)
}

fn finished(info: Option<&Json<'_>>, about: &About<'_>, sink: Sink<'_>) {
    let number = |key: &str| {
        let text = info?.text(key)?;
        text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0)
    };
    let reason = info.and_then(|info| info.member("finish_reason")).and_then(|reason| reason.text("type"));
    if reason == Some("abort") {
        return about.tell(sink, &metrics::ABORTED, 1.0);
    }
    about.tell(sink, &metrics::REQUESTS, 1.0);
    let values: [(&str, &Metric<'_>); 6] = [
        ("prompt_tokens", &metrics::PROMPT_TOKENS),
        ("completion_tokens", &metrics::GENERATION_TOKENS),
        ("cached_tokens", &metrics::CACHED_TOKENS),
        ("e2e_latency", &metrics::E2E_LATENCY),
        ("first_token_latency", &metrics::FIRST_TOKEN),
        ("queue_time", &metrics::QUEUE_TIME),
    ];
    for (key, metric) in values {
        if let Some(value) = number(key) {
            about.tell(sink, metric, value);
        }
    }
}
