//! LMDeploy's periodic line (`lmdeploy/metrics/loggers.py`), of 2026 and of 2025.
//!
//! ```text
//! [2026-11-20 18:00:30 DP0] Avg thr (in/out): 19380.8 / 6532.7 tokens/s, Server (succeeded/failed/routed/waiting): …
//! [2026-11-20 18:00:30 Engine 000] Avg thr (in/out): … KV cache: 9.4%, SpecDecoding metrics: Accepted: 145 tokens, …
//! 2025-08-01 12:00:00,123 - lmdeploy - INFO - loggers.py:68 - DP: 0, Avg prompt throughput: 5101.4 tokens/s, …
//! ```

use crate::ansi;
use crate::pairs::{self, Item, Number, damaged, pairs};
use crate::report::{About, Sink};
use crate::time::civil;
use crate::{Catalog, Civil, Kind, Metric, Outcome, ParseError, Uniform, uniform};

const ENGINE: &[(&str, &str)] = &[("engine", "engine")];

const fn gauge(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, ..Metric::BLANK }
}

const fn shared(metric: &'static Metric<'static>) -> Uniform<'static> {
    Uniform { metric, factor: 1.0, labels: ENGINE }
}

static PROMPT_RATE: Metric<'static> = Metric {
    uniform: &[shared(&uniform::PROMPT_RATE)],
    ..gauge("lmdeploy:prompt_tokens_per_second", "Prompt tokens per second between the last two lines.")
};
static GENERATION_RATE: Metric<'static> = Metric {
    uniform: &[shared(&uniform::GENERATED_RATE)],
    ..gauge(
        "lmdeploy:generation_tokens_per_second",
        "Generated tokens per second between the last two lines.",
    )
};
static SUCCEEDED: Metric<'static> =
    gauge("lmdeploy:num_requests_succeeded", "Requests that succeeded since the server came up.");
static FAILED: Metric<'static> =
    gauge("lmdeploy:num_requests_failed", "Requests that failed since the server came up.");
static ROUTED: Metric<'static> =
    gauge("lmdeploy:num_api_requests_routed", "Requests that were handed to the engine.");
static API_WAITING: Metric<'static> =
    gauge("lmdeploy:num_api_requests_waiting", "Requests that wait to be handed to the engine.");
static RUNNING: Metric<'static> = Metric {
    uniform: &[shared(&uniform::RUNNING)],
    ..gauge("lmdeploy:num_requests_running", "Requests that the engine works on.")
};
static WAITING: Metric<'static> = Metric {
    uniform: &[shared(&uniform::WAITING)],
    ..gauge("lmdeploy:num_requests_waiting", "Requests that wait in the engine.")
};
static KV_CACHE: Metric<'static> = Metric {
    uniform: &[shared(&uniform::KV_CACHE)],
    ..gauge("lmdeploy:gpu_cache_usage_perc", "Used part of the key-value cache, 0 to 1.")
};
static PREFIX_HITS: Metric<'static> = gauge(
    "lmdeploy:prefix_cache_hit_ratio",
    "Part of the prompts' tokens that the prefix cache held, 0 to 1.",
);
static DRAFTED: Metric<'static> =
    Metric { kind: Kind::Counter, ..gauge("lmdeploy:spec_decode_num_draft_tokens_total", "Drafted tokens.") };
static ACCEPTED: Metric<'static> = Metric {
    kind: Kind::Counter,
    ..gauge("lmdeploy:spec_decode_num_accepted_tokens_total", "Drafted tokens that the model accepted.")
};
static ACCEPT_RATE: Metric<'static> = gauge(
    "lmdeploy:spec_decode_mean_accept_rate",
    "Part of the drafted tokens that the model accepted, 0 to 1.",
);
static ACCEPT_LENGTH: Metric<'static> = gauge(
    "lmdeploy:spec_decode_mean_accept_length",
    "Tokens that a step gave on average, the model's own one among them.",
);

/// Items whose name lists what its numbers are: `Engine (running/waiting): 97 / 0`.
type Parts = (&'static str, &'static str, &'static [(&'static str, &'static Metric<'static>)]);

static SLASHED: [Parts; 3] = [
    ("Avg thr", "tokens/s", &[("in", &PROMPT_RATE), ("out", &GENERATION_RATE)]),
    (
        "Server",
        "",
        &[("succeeded", &SUCCEEDED), ("failed", &FAILED), ("routed", &ROUTED), ("waiting", &API_WAITING)],
    ),
    ("Engine", "", &[("running", &RUNNING), ("waiting", &WAITING)]),
];

const fn item(name: &'static str, unit: &'static str, power: i8, metric: &'static Metric<'static>) -> Item {
    Item { name, unit, power, metric }
}

static CACHES: [Item; 2] =
    [item("KV cache", "%", -2, &KV_CACHE), item("Prefix cache hit rate", "%", -2, &PREFIX_HITS)];

static SPECULATIVE: [Item; 4] = [
    item("Draft acceptance rate", "%", -2, &ACCEPT_RATE),
    item("Mean acceptance length", "", 0, &ACCEPT_LENGTH),
    item("Accepted", "tokens", 0, &ACCEPTED),
    item("Drafted", "tokens", 0, &DRAFTED),
];

/// The line of 2025.
static OLD: [Item; 5] = [
    item("Avg prompt throughput", "tokens/s", 0, &PROMPT_RATE),
    item("Avg generation throughput", "tokens/s", 0, &GENERATION_RATE),
    item("Running", "reqs", 0, &RUNNING),
    item("Waiting", "reqs", 0, &WAITING),
    item("* KV cache usage", "%", -2, &KV_CACHE),
];

/// A line taken apart: time, engine, list.
struct Line<'a> {
    time: Civil,
    engine: &'a str,
    list: &'a str,
    is_old: bool,
}

/// All that its lines feed.
pub(super) fn metrics() -> Vec<&'static Metric<'static>> {
    let slashed = SLASHED.iter().flat_map(|(_, _, parts)| parts.iter().map(|(_, metric)| *metric));
    slashed.chain(CACHES.iter().chain(&SPECULATIVE).map(|item| item.metric)).collect()
}

/// Reads a line.
pub(super) fn parse(record: &[u8], _: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    let Some(Line { time, engine, list, is_old }) = line(&text) else { return Ok(Outcome::Ignored) };
    let labels = [("engine", engine)];
    let about = About { labels: &labels, time: Some(time), request_id: None };
    if is_old {
        return pairs::tell(&text, list, &OLD, &about, sink).map(|()| Outcome::Parsed);
    }
    let (list, speculative) = match list.split_once("SpecDecoding metrics: ") {
        Some((list, speculative)) => (list, Some(speculative)),
        None => (list, None),
    };
    let values = slashed(&text, list)?;
    pairs::check(&text, list, &CACHES)?;
    if let Some(list) = speculative {
        pairs::tell(&text, list, &SPECULATIVE, &about, sink)?;
    }
    values.into_iter().for_each(|(metric, value)| about.tell(sink, metric, value));
    pairs::tell(&text, list, &CACHES, &about, sink).map(|()| Outcome::Parsed)
}

/// Whether a line is LMDeploy's periodic one.
pub(super) fn recognises(line: &str) -> bool {
    self::line(&ansi::strip(line)).is_some()
}

fn line(text: &str) -> Option<Line<'_>> {
    if let Some((head, list)) = text.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        let (rank, time) = civil(head).ok()?;
        let engine = number_of(rank.trim_start(), &["DP", "Engine "])?;
        return list.starts_with("Avg thr (").then_some(Line { time, engine, list, is_old: false });
    }
    let (rest, time) = civil(text).ok()?;
    let (_, message) = rest.strip_prefix(" - lmdeploy - ")?.split_once(" - DP: ")?;
    let (engine, list) = message.split_once(", ")?;
    let engine = number_of(engine, &[""])?;
    list.starts_with("Avg prompt throughput:").then_some(Line { time, engine, list, is_old: true })
}

/// The number after one of the words, without leading zeros.
fn number_of<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    let digits = words.iter().find_map(|word| text.strip_prefix(*word))?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let short = digits.trim_start_matches('0');
    is_number.then_some(if short.is_empty() { "0" } else { short })
}

/// The values of items with slashes; a part of the name that the table lacks is passed over.
fn slashed(record: &str, list: &str) -> Result<Vec<(&'static Metric<'static>, f64)>, ParseError> {
    let mut values = Vec::new();
    for pair in pairs(list) {
        let Some((name, parts)) = pair.name.strip_suffix(')').and_then(|name| name.split_once(" (")) else {
            continue;
        };
        let Some((_, unit, table)) = SLASHED.iter().find(|(known, ..)| *known == name) else { continue };
        let mut numbers = pair.value.split('/').collect::<Vec<_>>();
        // The unit itself has a slash: `5101.4 / 4458.9 tokens/s`.
        let bare = pair.value.strip_suffix(unit).filter(|_| !unit.is_empty());
        if let Some(bare) = bare {
            numbers = bare.split('/').collect();
        }
        let is_whole = unit.is_empty() || bare.is_some();
        if !is_whole || numbers.len() != parts.split('/').count() {
            return Err(damaged(record, pair.value, "a number for each part of the name"));
        }
        for (part, text) in parts.split('/').zip(numbers) {
            let number = Number::read(text).filter(|number| number.unit.is_empty());
            let value = number.and_then(|number| number.shifted(0));
            let metric = table.iter().find(|(known, _)| *known == part).map(|(_, metric)| *metric);
            match (metric, value) {
                (Some(metric), Some(value)) => values.push((metric, value)),
                (Some(_), None) if !pairs::is_nothing(text.trim()) => {
                    return Err(damaged(record, text, "a number"));
                }
                _ => {}
            }
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{cut, ignores, refuses, told};

    const LINE: &str = "[2026-11-20 18:00:30 DP1] Avg thr (in/out): 19380.8 / 6532.7 tokens/s, Server (succeeded/failed/routed/waiting): 59 / 0 / 56 / 9, Engine (running/waiting): 126 / 4, KV cache: 23.3%, Prefix cache hit rate: 23.1%, ";

    #[test]
    fn a_line_tells_all_its_numbers() {
        let expected = [
            r#"lmdeploy:prompt_tokens_per_second{engine="1"} 19380.8"#,
            r#"lmdeploy:generation_tokens_per_second{engine="1"} 6532.7"#,
            r#"lmdeploy:num_requests_succeeded{engine="1"} 59"#,
            r#"lmdeploy:num_requests_failed{engine="1"} 0"#,
            r#"lmdeploy:num_api_requests_routed{engine="1"} 56"#,
            r#"lmdeploy:num_api_requests_waiting{engine="1"} 9"#,
            r#"lmdeploy:num_requests_running{engine="1"} 126"#,
            r#"lmdeploy:num_requests_waiting{engine="1"} 4"#,
            r#"lmdeploy:gpu_cache_usage_perc{engine="1"} 0.233"#,
            r#"lmdeploy:prefix_cache_hit_ratio{engine="1"} 0.231"#,
        ];
        assert_eq!(expected, *told(parse, LINE));
        assert_eq!(expected, *told(parse, &LINE.replace("DP1", "Engine 001")));
        assert!(recognises(LINE));
    }

    #[test]
    fn what_newer_versions_append_is_read_and_what_nobody_knows_is_passed_over() {
        let line = format!(
            "{LINE}Avg MM preprocess: 0.120 s/req, SpecDecoding metrics: Draft acceptance rate: 49.30%, Mean acceptance length: 2.48, Accepted: 145 tokens, Drafted: 294 tokens, Per-position acceptance rate: 0.765, 0.490"
        );
        let told = told(parse, &line);
        assert_eq!(14, told.len());
        assert!(
            told.contains(&r#"lmdeploy:spec_decode_num_accepted_tokens_total{engine="1"} 145"#.to_owned())
        );
        let other = LINE.replace("Engine (running/waiting): 126 / 4", "Engine (paused/running): 3 / 126");
        assert_eq!(9, crate::formats::testing::told(parse, &other).len());
    }

    #[test]
    fn the_line_of_2025_is_read() {
        let line = "2025-08-01 12:00:00,123 - lmdeploy - INFO - loggers.py:68 - DP: 0, Avg prompt throughput: 51.4 tokens/s, Avg generation throughput: 44.9 tokens/s, Running: 3 reqs, Waiting: 1 reqs, GPU KV cache usage: 9.4%, ";
        assert_eq!(5, told(parse, line).len());
        assert!(recognises(line));
    }

    #[test]
    fn damaged_lines_are_refused_and_others_passed_over() {
        for end in [60, 70, 85, 130] {
            assert!(refuses(parse, cut(LINE, end)), "{}", cut(LINE, end));
        }
        for line in ["", "[2026-11-20 18:00:30] x", "[2026-11-20 19:00:00] Decode batch, #running-req: 1"] {
            assert!(ignores(parse, line), "{line}");
        }
    }
}
