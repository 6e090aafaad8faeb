//! TorchServe, all versions: metric files, access log, console.
//!
//! A metric line (pytorch/serve: `frontend/server/src/main/java/org/pytorch/serve/metrics/LogMetric.java`):
//!
//! ```text
//! 2026-11-20T17:48:00,476 - Requests2XX.Count:1.0|#Level:Host|#hostname:ts-node-0,timestamp:1795196880
//! ```
//!
//! The same line on the console and in `ts_log.log` (`frontend/server/src/main/resources/log4j2.xml`):
//!
//! ```text
//! 2026-11-20T17:48:00,476 [INFO ] epollEventLoopGroup-3-1 TS_METRICS - Requests2XX.Count:1.0|#Level:…
//! ```
//!
//! There a worker's own line is echoed too (`ts/metrics/caching_metric.py`). It is the only place that
//! tells a metric's type; it is never counted, since the metric line follows:
//!
//! ```text
//! … [INFO ] W-9000-m_1.0-stdout org.pytorch.serve.wlm.WorkerLifeCycle - result=[METRICS]Hits.Count:1|#…|#type:COUNTER|#hostname:…
//! ```

mod access;
mod block;
mod console;
mod identity;
mod metric;
mod prefix;

use crate::framing::{self, Frame};
use crate::grammar::{skip_colours, trim_colours};
use crate::json::{self, Json};
use crate::report::Sink;
use crate::{Catalog, Event, Outcome, ParseError, Reason};
use console::Logged;
pub(super) use identity::IDENTIFY;
use memchr::{memchr, memchr2};

/// Cuts a line, or one of the blocks that 0.7.1's JSON and QLog layouts write.
pub(super) fn frame(buffer: &[u8]) -> Frame {
    match buffer.first() {
        Some(b'{') if buffer.starts_with(b"{\n") || buffer.starts_with(b"{\r\n") => block::frame_json(buffer),
        Some(b'H') if buffer.starts_with(b"HostName=") => block::frame_qlog(buffer),
        _ => framing::line(buffer),
    }
}

/// Reads a record of `ts_metrics.log`, `model_metrics.log` or `access_log.log`.
pub(super) fn parse_metric_file(
    record: &[u8],
    catalog: &Catalog,
    sink: Sink<'_>,
) -> Result<Outcome, ParseError> {
    let text = utf8(record)?;
    if text.trim().is_empty() {
        return Ok(Outcome::Ignored);
    }
    if is_other_text(text) {
        return metric::line(text, catalog).map(|sample| tell(sink, Event::Sample(sample)));
    }
    if text.starts_with("HostName=") && text.contains('\n') {
        return block::qlog(text).map(|sample| tell(sink, Event::Sample(sample)));
    }
    if text.starts_with('{')
        && let Ok((_, json)) = json::object(text)
    {
        return parse_json(&json, catalog, sink);
    }
    if let Some(logged) = console::line(text) {
        return parse_logged(text, &logged, catalog, sink);
    }
    if access::is_line(text) {
        return access::line(text).map(|access| tell(sink, Event::Access(access)));
    }
    if memchr(b'@', text.as_bytes()).is_some() && text.contains("MutableLogEvent@") && !text.contains("|#") {
        return Err(ParseError::new(Reason::NoData, "a metric, not a MutableLogEvent's address", 0));
    }
    metric::line(text, catalog).map(|sample| tell(sink, Event::Sample(sample)))
}

/// Whether a text cannot be any of the shapes that are tried one after the other: a log full of other text is passed
/// over at the speed of reading it. Blocks and JSON have a first letter of their own, logged lines begin with a
/// time, requests have a slash, an event's address an `@`; only a metric has none of these.
fn is_other_text(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '{' | 'H'))
        && memchr2(b'/', b'@', text.as_bytes()).is_none()
}

/// Reads a line of `access_log.log`; nothing else can stand in it.
pub(super) fn parse_access_log(
    record: &[u8],
    _catalog: &Catalog,
    sink: Sink<'_>,
) -> Result<Outcome, ParseError> {
    let text = utf8(record)?;
    if text.trim().is_empty() {
        return Ok(Outcome::Ignored);
    }
    let access = match console::line(text) {
        Some(logged) if logged.logger == console::ACCESS => access::line(logged.message),
        _ => access::line(text),
    };
    access.map(|access| tell(sink, Event::Access(access)))
}

/// Whether a line can only stand in an access log.
pub(super) fn recognises_access_log(line: &str) -> bool {
    parse_access_log(line.as_bytes(), &Catalog::default(), &mut |_| {}) == Ok(Outcome::Parsed)
}

/// Reads a line of the console or of `ts_log.log`, where lines of all loggers stand and only those of
/// the metric loggers and the access log count.
pub(super) fn parse_console(record: &[u8], catalog: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = utf8(record)?;
    if text.starts_with('{')
        && let Ok((_, json)) = json::object(text)
    {
        return match parse_json(&json, catalog, sink) {
            Err(error) if error.reason == Reason::NotAMetric => Ok(Outcome::Ignored),
            other => other,
        };
    }
    match console::line(text) {
        Some(logged) => parse_logged(text, &logged, catalog, sink),
        None => Ok(match console::banner(text) {
            Some(fact) => tell(sink, Event::Server(fact)),
            None => Outcome::Ignored,
        }),
    }
}

/// Whether a line can only stand in a metric file.
pub(super) fn recognises_metric_file(line: &str) -> bool {
    let bare = trim_colours(skip_colours(line));
    if let Some(logged) = console::line(bare) {
        return logged.is_metric() && metric::line(logged.message, &Catalog::default()).is_ok();
    }
    let mut has_sample = false;
    let mut note = |event: Event<'_>| has_sample |= matches!(event, Event::Sample(_));
    match parse_metric_file(line.as_bytes(), &Catalog::default(), &mut note) {
        Ok(_) => has_sample,
        Err(error) => error.reason == Reason::NoData,
    }
}

/// Whether a line can only stand on the console or in `ts_log.log`.
pub(super) fn recognises_console(line: &str) -> bool {
    let bare = trim_colours(skip_colours(line));
    let is_other = |logged: Logged<'_>| !logged.is_metric() && logged.logger != console::ACCESS;
    console::line(bare).is_some_and(|logged| logged.has_level() && is_other(logged))
        || console::banner(bare).is_some()
}

fn parse_logged(
    record: &str,
    logged: &Logged<'_>,
    catalog: &Catalog,
    sink: Sink<'_>,
) -> Result<Outcome, ParseError> {
    if logged.is_metric() {
        let sample = metric::message(record, logged.message, catalog)?;
        return Ok(tell(sink, Event::Sample(sample)));
    }
    Ok(match logged.event() {
        Some(event) => tell(sink, event),
        None => Outcome::Ignored,
    })
}

/// One JSON object: a metric as 0.7.1's JSON layout prints it, or a layout such as
/// `{"logger":"%c","message":"%enc{%m}{JSON}"}` around a line.
fn parse_json(json: &Json<'_>, catalog: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    if let Some(sample) = block::json(json) {
        return sample.map(|sample| tell(sink, Event::Sample(sample)));
    }
    let logger = ["logger", "loggerName", "logger_name"].into_iter().find_map(|key| json.text(key));
    if let Some(logger) = logger.filter(|logger| !console::METRIC.contains(logger)) {
        let messages = json.texts();
        let event =
            messages.iter().find_map(|message| Logged { time: None, level: "", logger, message }.event());
        return Ok(event.map_or(Outcome::Ignored, |event| tell(sink, event)));
    }
    let texts = json.texts();
    let Some(message) = texts.iter().find(|text| text.contains("|#")) else {
        return Err(ParseError::new(Reason::NotAMetric, "a metric in one of the object's strings", 0));
    };
    metric::line(message, catalog).map(|sample| tell(sink, Event::Sample(sample)))
}

fn tell(sink: Sink<'_>, event: Event<'_>) -> Outcome {
    sink(event);
    Outcome::Parsed
}

/// The record's text without its line end and without the colours around it.
fn utf8(record: &[u8]) -> Result<&str, ParseError> {
    match std::str::from_utf8(framing::trim_end(record)) {
        Ok(text) => Ok(trim_colours(skip_colours(text))),
        Err(error) => Err(ParseError::new(Reason::InvalidUtf8, "UTF-8 text", error.valid_up_to())),
    }
}

#[cfg(test)]
mod tests;
