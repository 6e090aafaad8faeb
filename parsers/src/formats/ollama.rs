//! Ollama: gin's access lines, its own structured log, and the lines of the runner inside it.
//!
//! ```text
//! [GIN] 2026/11/20 - 12:00:13 | 200 |  3.283652505s |       127.0.0.1 | POST     "/api/generate"
//! time=2026-11-20T12:00:13.407Z level=INFO source=llama_server.go:1362 msg="llama-server started in 26.15 seconds"
//! time=… source=types.go:130 msg="inference compute" id=GPU-3c1e… library=cuda … total="23.6 GiB" available="22.1 GiB"
//! ```
//!
//! Ollama has no metrics of its own, so names are ours: `ollama_` and what other servers call it. Latencies above a
//! minute are whole seconds, since gin cuts them. Paths are the client's text: see [`http`](crate::http).

use super::llamacpp;
use crate::ansi;
use crate::duration;
use crate::http::Request;
use crate::pairs::{Number, damaged};
use crate::report::{About, Sink};
use crate::route::is_code;
use crate::time::{civil, with_dash};
use crate::uniform::{self, SECONDS};
use crate::{Catalog, Kind, Metric, Outcome, ParseError, Uniform};

const REQUEST: &[(&str, &str)] = &[("method", "method"), ("route", "route"), ("code", "code")];

static REQUESTS: Metric<'static> = Metric {
    name: "ollama_requests_total",
    help: "Requests that were answered.",
    kind: Kind::Counter,
    uniform: &[Uniform { metric: &uniform::REQUESTS, factor: 1.0, labels: REQUEST }],
    ..Metric::BLANK
};
static DURATION: Metric<'static> = Metric {
    name: "ollama_request_duration_seconds",
    help: "Time from a request's arrival to the end of its answer; whole seconds above a minute.",
    kind: Kind::Histogram,
    bounds: &SECONDS,
    uniform: &[Uniform { metric: &uniform::REQUEST_DURATION, factor: 1.0, labels: REQUEST }],
    ..Metric::BLANK
};
static LOAD: Metric<'static> = Metric {
    name: "ollama_model_load_seconds",
    help: "Time until a model's runner was ready.",
    kind: Kind::Histogram,
    bounds: &SECONDS,
    uniform: &[Uniform { metric: &uniform::LOAD, factor: 1.0, labels: &[] }],
    ..Metric::BLANK
};
static GPU_TOTAL: Metric<'static> = Metric {
    name: "ollama_gpu_memory_total_bytes",
    help: "Memory of a device that Ollama found when it came up.",
    ..Metric::BLANK
};
static GPU_AVAILABLE: Metric<'static> = Metric {
    name: "ollama_gpu_memory_available_bytes",
    help: "Memory of a device that was free when Ollama came up.",
    ..Metric::BLANK
};

/// All that its lines feed.
pub(super) fn metrics() -> Vec<&'static Metric<'static>> {
    let own = [&REQUESTS, &DURATION, &LOAD, &GPU_TOTAL, &GPU_AVAILABLE];
    own.into_iter().chain(llamacpp::metrics_inside()).collect()
}

/// Reads a line.
pub(super) fn parse(record: &[u8], _: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    if let Some(rest) = text.strip_prefix("[GIN] ") {
        return gin(&text, rest, sink);
    }
    if text.starts_with("time=") {
        return structured(&text, sink);
    }
    llamacpp::parse_inside(&text, sink)
}

/// Whether a line is gin's, or has the shape of Ollama's own log.
pub(super) fn recognises(line: &str) -> bool {
    let line = ansi::strip(line);
    let is_gin = line.strip_prefix("[GIN] ").is_some_and(|rest| with_dash(rest).is_ok());
    let is_own = || {
        let source = value(&line, "source=").is_some_and(|source| source.contains(".go:"));
        line.starts_with("time=") && source && value(&line, "msg=").is_some()
    };
    is_gin || is_own()
}

/// `2026/11/20 - 12:00:13 | 200 |  3.283652505s |       127.0.0.1 | POST     "/api/generate"`.
fn gin(record: &str, text: &str, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    // gin says other things under its name, too, without a time.
    let Ok((rest, time)) = with_dash(text) else { return Ok(Outcome::Ignored) };
    let malformed = || damaged(record, rest, "| <code> | <duration> | <client> | <method> \"<path>\"");
    let mut parts = rest.splitn(5, '|').map(str::trim);
    let (_, code, duration) = (parts.next(), parts.next(), parts.next());
    let (_client, request) = (parts.next(), parts.next().ok_or_else(malformed)?);
    let code = code.filter(|code| is_code(code)).ok_or_else(malformed)?;
    let seconds = duration.and_then(duration::seconds).ok_or_else(malformed)?;
    let (method, path) = request.split_once(' ').ok_or_else(malformed)?;
    let path = path.trim_start().strip_prefix('"').and_then(|path| path.strip_suffix('"'));
    let request = Request::new(method, path.ok_or_else(malformed)?, code);
    let labels = [("method", request.method), ("route", request.route), ("code", request.code)];
    let about = About { labels: &labels, time: Some(time), request_id: None };
    about.tell(sink, &REQUESTS, 1.0);
    about.tell(sink, &DURATION, seconds);
    Ok(Outcome::Parsed)
}

/// A line of Go's `slog`: `time=… level=… source=… msg="…" key=value …`.
fn structured(text: &str, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let time = text.strip_prefix("time=").and_then(|rest| civil(rest).ok()).map(|(_, time)| time);
    let message = value(text, "msg=").unwrap_or_default();
    let started = ["llama-server started in ", "llama runner started in "]
        .into_iter()
        .find_map(|words| message.strip_prefix(words));
    if let Some(rest) = started {
        let number = Number::read(rest).filter(|number| number.unit == "seconds");
        let seconds = number.and_then(|number| number.shifted(0)).filter(|seconds| *seconds >= 0.0);
        let seconds = seconds.ok_or_else(|| damaged(text, rest, "<n> seconds"))?;
        About { time, ..About::default() }.tell(sink, &LOAD, seconds);
        return Ok(Outcome::Parsed);
    }
    if message != "inference compute" {
        return Ok(Outcome::Ignored);
    }
    let size = |key| match value(text, key) {
        Some(size) => bytes(size).map(Some).ok_or_else(|| damaged(text, size, "<n> GiB")),
        None => Ok(None),
    };
    let (total, available) = (size("total=")?, size("available=")?);
    let labels: Vec<_> = [("id", "id="), ("library", "library="), ("name", "name=")]
        .into_iter()
        .filter_map(|(label, key)| Some((label, value(text, key)?)))
        .collect();
    let about = About { labels: &labels, time, request_id: None };
    for (metric, bytes) in [(&GPU_TOTAL, total), (&GPU_AVAILABLE, available)] {
        if let Some(bytes) = bytes {
            about.tell(sink, metric, bytes);
        }
    }
    Ok(if total.or(available).is_some() { Outcome::Parsed } else { Outcome::Ignored })
}

/// The value of a key, without its quotes. Keys are looked for outside of quotes, so no message can pretend one.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let (name, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_at_checked(closing(quoted)?)?,
            None => after.split_at_checked(after.find(' ').unwrap_or(after.len()))?,
        };
        if Some(name) == key.strip_suffix('=') {
            return Some(value);
        }
        rest = next.strip_prefix('"').unwrap_or(next);
        if rest.is_empty() {
            return None;
        }
    }
}

/// Where the quote ends that a text stands in.
fn closing(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

/// Whole bytes of `23.6 GiB` or `24 GB`.
fn bytes(text: &str) -> Option<f64> {
    let number = Number::read(text)?;
    let factor = match number.unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "TiB" => 1_099_511_627_776.0,
        "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return None,
    };
    number.shifted(0).map(|value| (value * factor).round())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{cut, ignores, refuses, told, told_about};

    fn line(duration: &str) -> String {
        format!(
            "[GIN] 2026/11/20 - 12:00:13 | 200 | {duration} |       127.0.0.1 | POST     \"/api/generate?x=1\""
        )
    }

    #[test]
    fn a_request_is_told_with_its_duration() {
        for (duration, seconds) in [
            ("        1m25s", "85"),
            (" 3.283652505s", "3.283652505"),
            ("     25.702\u{b5}s", "0.000025702"),
            ("     25.702\u{3bc}s", "0.000025702"),
            ("        1h2m3s", "3723"),
        ] {
            let labels = r#"{method="POST",route="/api/generate",code="200"}"#;
            let expected = [
                format!("ollama_requests_total{labels} 1"),
                format!("ollama_request_duration_seconds{labels} {seconds}"),
            ];
            assert_eq!(expected, *told(parse, &line(duration)));
        }
        let coloured = line("  1.5s").replace("| 200 |", "|\x1b[97;42m 200 \x1b[0m|");
        assert_eq!(2, told(parse, &coloured).len());
        assert!(recognises(&coloured));
        assert!(
            told_about(parse, &coloured).iter().all(|(time, _)| time.is_some_and(|time| time.second == 13))
        );
    }

    #[test]
    fn clients_cannot_make_labels() {
        let hostile =
            line("  1.5s").replace("/api/generate?x=1", "/a|b\" | 500 |\\\"").replace("| 200 |", "| 404 |");
        let labels = r#"{method="POST",route="other",code="404"}"#;
        assert_eq!(format!("ollama_requests_total{labels} 1"), told(parse, &hostile)[0]);
    }

    #[test]
    fn the_own_log_tells_loads_and_devices() {
        for words in ["llama-server", "llama runner"] {
            let line = format!(
                "time=2026-11-20T12:00:13.407Z level=INFO source=llama_server.go:1362 msg=\"{words} started in 26.15 seconds\""
            );
            assert_eq!(["ollama_model_load_seconds 26.15"], *told(parse, &line));
            assert!(recognises(&line));
        }
        let line = r#"time=2026-11-20T12:00:00.000Z level=INFO source=types.go:130 msg="inference compute" id=GPU-3c library=cuda variant=v12 name="NVIDIA \"X\" total=1" total="23.5 GiB" available="22.0 GiB""#;
        let expected = [
            r#"ollama_gpu_memory_total_bytes{id="GPU-3c",library="cuda",name="NVIDIA \\\"X\\\" total=1"} 25232932864"#,
            r#"ollama_gpu_memory_available_bytes{id="GPU-3c",library="cuda",name="NVIDIA \\\"X\\\" total=1"} 23622320128"#,
        ];
        assert_eq!(expected, *told(parse, line));
    }

    #[test]
    fn the_runners_lines_count_but_no_request_twice() {
        let prompt = "slot print_timing: id  2 | task 0 | prompt eval time =      83.06 ms /    45 tokens (    1.85 ms per token,   541.74 tokens per second)";
        assert_eq!(2, told(parse, prompt).len());
        let total = "slot print_timing: id  2 | task 0 |       total time =     100.73 ms /    56 tokens";
        assert_eq!(["llamacpp:request_seconds 0.10073"], *told(parse, total));
    }

    #[test]
    fn damaged_lines_are_refused_and_others_passed_over() {
        let whole = line(" 3.283652505s");
        for end in 30..whole.len() {
            assert!(refuses(parse, cut(&whole, end)), "{}", cut(&whole, end));
        }
        let load = "time=2026-11-20T12:00:13.407Z level=INFO source=x.go:1 msg=\"llama-server started in 26.15 sec\"";
        assert!(refuses(parse, load));
        for line in [
            "",
            "Error #01: runner process has terminated: exit status 2",
            "[GIN-debug] GET    /api/tags --> x (5 handlers)",
            "[GIN] Listening",
            "time=2026-11-20T12:00:00.000Z level=INFO source=routes.go:1944 msg=\"Listening on 127.0.0.1:11434 (version 0.33.0)\"",
            "time=2026 level=INFO msg=\"x\" note=\"llama-server started in 1.0 seconds\"",
            "time=",
            "time=2026 msg=\"open",
        ] {
            assert!(ignores(parse, line), "{line}");
        }
    }
}
