//! Access lines of any server behind uvicorn, gunicorn or a common log format: MLServer, and what people build
//! themselves. Such a line tells that a request was answered and how; never how long it took.
//!
//! The shape and how labels are bounded stand in [`http`].

use crate::ansi;
use crate::http::{self, Request};
use crate::json;
use crate::report::{About, Sink};
use crate::time::civil;
use crate::{Catalog, Kind, Metric, Outcome, ParseError, Uniform, uniform};

static REQUESTS: Metric<'static> = Metric {
    name: "http_requests_total",
    help: "Requests that were answered.",
    kind: Kind::Counter,
    uniform: &[Uniform {
        metric: &uniform::REQUESTS,
        factor: 1.0,
        labels: &[("method", "method"), ("route", "route"), ("code", "code")],
    }],
    ..Metric::BLANK
};

/// All that its lines feed.
pub(super) fn metrics() -> Vec<&'static Metric<'static>> {
    vec![&REQUESTS]
}

/// Reads a line.
pub(super) fn parse(record: &[u8], _: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    if !text.starts_with('{') {
        return tell(http::access_line(&text, &text)?, sink);
    }
    let Ok((_, json)) = json::object(&text) else { return Ok(Outcome::Ignored) };
    let Some(message) = ["message", "msg"].into_iter().find_map(|key| json.text(key)) else {
        return Ok(Outcome::Ignored);
    };
    let time = ["asctime", "timestamp", "time"].into_iter().find_map(|key| json.text(key));
    let time = time.and_then(|text| civil(text).ok()).map(|(_, time)| time);
    let request = http::access_line(message, message)?;
    tell(request.map(|request| Request { time: request.time.or(time), ..request }), sink)
}

fn tell(request: Option<Request<'_>>, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let Some(Request { method, route, code, time }) = request else { return Ok(Outcome::Ignored) };
    let labels = [("method", method), ("route", route), ("code", code)];
    About { labels: &labels, time, request_id: None }.tell(sink, &REQUESTS, 1.0);
    Ok(Outcome::Parsed)
}

/// Whether a line is an access line. Other servers write such lines, too, so this is asked last.
pub(super) fn recognises(line: &str) -> bool {
    parse(line.as_bytes(), &Catalog::default(), &mut |_| {}) == Ok(Outcome::Parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{ignores, told};

    #[test]
    fn text_and_json_tell_the_same() {
        for line in [
            r#"INFO:     127.0.0.1:41770 - "POST /v2/models/toy/infer HTTP/1.1" 200 OK"#,
            r#"{"asctime": "2026-11-20 18:10:46,969", "name": "uvicorn.access", "message": "127.0.0.1:40692 - \"POST /v2/models/toy/infer HTTP/1.1\" 200"}"#,
        ] {
            let expected =
                r#"http_requests_total{method="POST",route="/v2/models/{model_name}/infer",code="200"} 1"#;
            assert_eq!([expected], *told(parse, line), "{line}");
            assert!(recognises(line));
        }
    }

    #[test]
    fn other_lines_are_passed_over() {
        for line in [
            "",
            "INFO:     Shutting down",
            "{}",
            "{",
            r#"{"message": "Started"}"#,
            "Traceback (most recent call last):",
        ] {
            assert!(ignores(parse, line) && !recognises(line), "{line}");
        }
    }
}
