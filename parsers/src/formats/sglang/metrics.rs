//! SGLang's metrics that its log can feed (`sglang/srt/metrics/collector.py`).
//!
//! Names with `request_time_` are ours, for the line that the server feeds no metric of, and so is the prompts' rate.

use crate::pairs::Item;
use crate::uniform::{self, SECONDS};
use crate::{Kind, Metric, Uniform};

/// Ranks in a line's bracket, and the server's labels for them.
pub(super) const RANKS: [(&str, &str); 4] =
    [("DP", "dp_rank"), ("TP", "tp_rank"), ("PP", "pp_rank"), ("EP", "moe_ep_rank")];

const SAME: &[(&str, &str)] =
    &[("dp_rank", "dp_rank"), ("tp_rank", "tp_rank"), ("pp_rank", "pp_rank"), ("moe_ep_rank", "moe_ep_rank")];

const fn gauge(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, ..Metric::BLANK }
}

const fn counter(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, kind: Kind::Counter, ..Metric::BLANK }
}

const fn histogram(
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
    uniform: &'static [Uniform<'static>],
) -> Metric<'static> {
    Metric { name, help, kind: Kind::Histogram, bounds, uniform, ..Metric::BLANK }
}

const fn summary(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, kind: Kind::Summary, ..Metric::BLANK }
}

const fn shared(metric: &'static Metric<'static>) -> Uniform<'static> {
    Uniform { metric, factor: 1.0, labels: SAME }
}

static RUNNING: Metric<'static> = Metric {
    uniform: &[shared(&uniform::RUNNING)],
    ..gauge("sglang:num_running_reqs", "Requests that are being worked on.")
};
static QUEUED: Metric<'static> =
    Metric { uniform: &[shared(&uniform::WAITING)], ..gauge("sglang:num_queue_reqs", "Requests that wait.") };
static TOKEN_USAGE: Metric<'static> = Metric {
    uniform: &[shared(&uniform::KV_CACHE)],
    ..gauge("sglang:token_usage", "Used part of the key-value cache, 0 to 1.")
};
static USED_TOKENS: Metric<'static> = gauge("sglang:num_used_tokens", "Tokens in the key-value cache.");
static FULL_USAGE: Metric<'static> =
    gauge("sglang:full_token_usage", "Used part of the cache of layers with full attention, 0 to 1.");
static SWA_USAGE: Metric<'static> =
    gauge("sglang:swa_token_usage", "Used part of the cache of layers with a sliding window, 0 to 1.");
static MAMBA_USAGE: Metric<'static> =
    gauge("sglang:mamba_usage", "Used part of the cache of Mamba layers, 0 to 1.");
static GENERATION_RATE: Metric<'static> = Metric {
    uniform: &[shared(&uniform::GENERATED_RATE)],
    ..gauge("sglang:gen_throughput", "Generated tokens per second between the last two lines.")
};
static PROMPT_RATE: Metric<'static> = Metric {
    uniform: &[shared(&uniform::PROMPT_RATE)],
    ..gauge("sglang:prompt_tokens_per_second", "Prompt tokens per second between the last two lines.")
};
pub(super) static CACHE_HIT_RATE: Metric<'static> = gauge(
    "sglang:cache_hit_rate",
    "Part of the last batch's prompt tokens that the prefix cache held, 0 to 1.",
);
static ACCEPT_LENGTH: Metric<'static> =
    gauge("sglang:spec_accept_length", "Tokens that a step gave on average with speculative decoding.");
static ACCEPT_RATE: Metric<'static> =
    gauge("sglang:spec_accept_rate", "Part of the drafted tokens that the model accepted, 0 to 1.");
static RETRACTED: Metric<'static> =
    gauge("sglang:num_retracted_reqs", "Requests that had to make room for others.");
static PREALLOC: Metric<'static> = gauge(
    "sglang:num_decode_prealloc_queue_reqs",
    "Requests that wait for room on a server that only decodes.",
);
static TRANSFER: Metric<'static> = gauge(
    "sglang:num_decode_transfer_queue_reqs",
    "Requests whose cache is on its way to a server that only decodes.",
);
static INFLIGHT: Metric<'static> = gauge(
    "sglang:num_prefill_inflight_queue_reqs",
    "Requests whose cache is on its way from a server that only reads prompts.",
);
pub(super) static REALTIME_TOKENS: Metric<'static> = counter(
    "sglang:realtime_tokens_total",
    "Tokens of prompts as they are worked on, by where they came from.",
);

pub(super) static HTTP_RESPONSES: Metric<'static> = Metric {
    uniform: &[Uniform {
        metric: &uniform::REQUESTS,
        factor: 1.0,
        labels: &[("method", "method"), ("endpoint", "route"), ("status_code", "code")],
    }],
    ..counter("sglang:http_responses_total", "HTTP requests that were answered.")
};

pub(super) static REQUESTS: Metric<'static> =
    counter("sglang:num_requests_total", "Requests that were worked on to their end.");
pub(super) static ABORTED: Metric<'static> =
    counter("sglang:num_aborted_requests_total", "Requests that were given up.");
pub(super) static PROMPT_TOKENS: Metric<'static> = Metric {
    uniform: &[shared(&uniform::PROMPT_TOKENS)],
    ..counter("sglang:prompt_tokens_total", "Tokens of the prompts.")
};
pub(super) static GENERATION_TOKENS: Metric<'static> = Metric {
    uniform: &[shared(&uniform::GENERATED_TOKENS)],
    ..counter("sglang:generation_tokens_total", "Generated tokens.")
};
pub(super) static CACHED_TOKENS: Metric<'static> =
    counter("sglang:cached_tokens_total", "Tokens of the prompts that the prefix cache held.");

const LATENCY: [f64; 22] = [
    0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0,
    600.0, 1200.0, 1800.0, 2400.0,
];
const FIRST: [f64; 18] =
    [0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0];
const QUEUE: [f64; 36] = [
    0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0,
    100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 1200.0, 1400.0, 1600.0, 1800.0,
    2000.0, 2500.0, 3000.0,
];

pub(super) static E2E_LATENCY: Metric<'static> = histogram(
    "sglang:e2e_request_latency_seconds",
    "Time from a request's arrival to its answer.",
    &LATENCY,
    &[shared(&uniform::REQUEST_DURATION)],
);
pub(super) static FIRST_TOKEN: Metric<'static> = histogram(
    "sglang:time_to_first_token_seconds",
    "Time from a request's arrival to its first token.",
    &FIRST,
    &[shared(&uniform::FIRST_TOKEN)],
);
pub(super) static QUEUE_TIME: Metric<'static> = histogram(
    "sglang:queue_time_seconds",
    "Time that a request waited before it was worked on.",
    &QUEUE,
    &[shared(&uniform::QUEUE)],
);

pub(super) static TIMES_QUEUE: Metric<'static> = histogram(
    "sglang:request_time_queue_seconds",
    "Time that a request waited before it was worked on, from its time line.",
    &SECONDS,
    &[],
);
pub(super) static TIMES_FORWARD: Metric<'static> = histogram(
    "sglang:request_time_forward_seconds",
    "Time that the model worked on a request, from its time line.",
    &SECONDS,
    &[shared(&uniform::INFERENCE)],
);
pub(super) static TIMES_INPUT: Metric<'static> =
    summary("sglang:request_time_input_tokens", "Tokens of a request's prompt, from its time line.");
pub(super) static TIMES_OUTPUT: Metric<'static> =
    summary("sglang:request_time_output_tokens", "Generated tokens of a request, from its time line.");

const fn item(name: &'static str, unit: &'static str, metric: &'static Metric<'static>) -> Item {
    Item { name, unit, power: 0, metric }
}

/// The rate as lines of 2024 have it, in percent.
pub(super) const HIT_RATE_2024: &str = "cache hit rate";

/// What both kinds of batch lines may hold.
pub(super) static BATCH: [Item; 16] = [
    item("#running-req", "", &RUNNING),
    item("#queue-req", "", &QUEUED),
    item("#token", "", &USED_TOKENS),
    item("token usage", "", &TOKEN_USAGE),
    item("full token usage", "", &FULL_USAGE),
    item("swa token usage", "", &SWA_USAGE),
    item("mamba usage", "", &MAMBA_USAGE),
    item("gen throughput (token/s)", "", &GENERATION_RATE),
    item("input throughput (token/s)", "", &PROMPT_RATE),
    Item { name: HIT_RATE_2024, unit: "%", power: -2, metric: &CACHE_HIT_RATE },
    item("accept len", "", &ACCEPT_LENGTH),
    item("accept rate", "", &ACCEPT_RATE),
    item("#retracted-req", "", &RETRACTED),
    item("#prealloc-req", "", &PREALLOC),
    item("#transfer-req", "", &TRANSFER),
    item("#inflight-req", "", &INFLIGHT),
];

/// What no batch line feeds.
pub(super) static OTHERS: [&Metric<'static>; 14] = [
    &REALTIME_TOKENS,
    &HTTP_RESPONSES,
    &REQUESTS,
    &ABORTED,
    &PROMPT_TOKENS,
    &GENERATION_TOKENS,
    &CACHED_TOKENS,
    &E2E_LATENCY,
    &FIRST_TOKEN,
    &QUEUE_TIME,
    &TIMES_QUEUE,
    &TIMES_FORWARD,
    &TIMES_INPUT,
    &TIMES_OUTPUT,
];
