//! vLLM's metrics that its log can feed, and which item of which line feeds them.
//!
//! Names with `_tokens_per_second` or `_ratio` are ours: vLLM has counters there, and the log only tells a rate.

use crate::pairs::Item;
use crate::uniform::{self, SECONDS};
use crate::{Kind, Metric, Uniform};

const ENGINE: &[(&str, &str)] = &[("engine", "engine")];

const fn gauge(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, ..Metric::BLANK }
}

const fn counter(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, kind: Kind::Counter, ..Metric::BLANK }
}

/// The same number as a shared metric.
const fn shared(metric: &'static Metric<'static>) -> Uniform<'static> {
    Uniform { metric, factor: 1.0, labels: ENGINE }
}

pub(super) static HTTP_REQUESTS: Metric<'static> = Metric {
    uniform: &[Uniform {
        metric: &uniform::REQUESTS,
        factor: 1.0,
        labels: &[("method", "method"), ("handler", "route"), ("status", "code")],
    }],
    ..counter("http_requests_total", "Requests that were answered.")
};

static RUNNING: Metric<'static> = Metric {
    uniform: &[shared(&uniform::RUNNING)],
    ..gauge("vllm:num_requests_running", "Requests that are being worked on.")
};
static WAITING: Metric<'static> = Metric {
    uniform: &[shared(&uniform::WAITING)],
    ..gauge("vllm:num_requests_waiting", "Requests that wait, the deferred ones among them.")
};
pub(super) static WAITING_BY_REASON: Metric<'static> =
    gauge("vllm:num_requests_waiting_by_reason", "Requests that wait, by why they do.");
static KV_CACHE: Metric<'static> = Metric {
    uniform: &[shared(&uniform::KV_CACHE)],
    old: &[shared(&GPU_CACHE)],
    ..gauge("vllm:kv_cache_usage_perc", "Used part of the key-value cache, 0 to 1.")
};
static PROMPT_RATE: Metric<'static> = Metric {
    uniform: &[shared(&uniform::PROMPT_RATE)],
    old: &[shared(&OLD_PROMPT_RATE)],
    ..gauge("vllm:prompt_tokens_per_second", "Prompt tokens per second between the last two lines.")
};
static GENERATION_RATE: Metric<'static> = Metric {
    uniform: &[shared(&uniform::GENERATED_RATE)],
    old: &[shared(&OLD_GENERATION_RATE)],
    ..gauge("vllm:generation_tokens_per_second", "Generated tokens per second between the last two lines.")
};
static PREFIX_HITS: Metric<'static> = Metric {
    old: &[shared(&GPU_PREFIX_HITS)],
    ..gauge("vllm:prefix_cache_hit_ratio", "Part of the prompts' tokens that the prefix cache held, 0 to 1.")
};
static EXTERNAL_PREFIX_HITS: Metric<'static> = gauge(
    "vllm:external_prefix_cache_hit_ratio",
    "Part of the prompts' tokens that another instance's prefix cache held, 0 to 1.",
);
static MM_HITS: Metric<'static> =
    gauge("vllm:mm_cache_hit_ratio", "Part of the images and the like that the cache held, 0 to 1.");
static PREEMPTIONS: Metric<'static> =
    counter("vllm:num_preemptions_total", "Requests that had to make room for others.");
static CORRUPTED: Metric<'static> =
    counter("vllm:corrupted_requests_total", "Requests whose logits were no numbers.");

// Names of 2023 to 2025, which the older engine's lines still have, and dashboards of that time still query.
static SWAPPED: Metric<'static> =
    gauge("vllm:num_requests_swapped", "Requests whose cache was moved to the CPU's memory.");
static GPU_CACHE: Metric<'static> = Metric {
    uniform: &[shared(&uniform::KV_CACHE)],
    ..gauge("vllm:gpu_cache_usage_perc", "Used part of the key-value cache in the GPU's memory, 0 to 1.")
};
static CPU_CACHE: Metric<'static> =
    gauge("vllm:cpu_cache_usage_perc", "Used part of the key-value cache in the CPU's memory, 0 to 1.");
static GPU_PREFIX_HITS: Metric<'static> = gauge(
    "vllm:gpu_prefix_cache_hit_rate",
    "Part of the prompts' tokens that the prefix cache in the GPU's memory held, 0 to 1.",
);
static CPU_PREFIX_HITS: Metric<'static> = gauge(
    "vllm:cpu_prefix_cache_hit_rate",
    "Part of the prompts' tokens that the prefix cache in the CPU's memory held, 0 to 1.",
);
static OLD_PROMPT_RATE: Metric<'static> =
    gauge("vllm:avg_prompt_throughput_toks_per_s", "Prompt tokens per second between the last two lines.");
static OLD_GENERATION_RATE: Metric<'static> = gauge(
    "vllm:avg_generation_throughput_toks_per_s",
    "Generated tokens per second between the last two lines.",
);

static ACCEPTED: Metric<'static> =
    counter("vllm:spec_decode_num_accepted_tokens_total", "Drafted tokens that the model accepted.");
static DRAFTED: Metric<'static> = counter("vllm:spec_decode_num_draft_tokens_total", "Drafted tokens.");
static ACCEPTED_RATE: Metric<'static> = gauge(
    "vllm:spec_decode_accepted_tokens_per_second",
    "Drafted tokens that the model accepted, per second between the last two lines.",
);
static DRAFTED_RATE: Metric<'static> = gauge(
    "vllm:spec_decode_draft_tokens_per_second",
    "Drafted tokens per second between the last two lines.",
);
static ACCEPTANCE_LENGTH: Metric<'static> = gauge(
    "vllm:spec_decode_mean_acceptance_length",
    "Tokens that a step gave on average, the model's own one among them.",
);
static ACCEPTANCE: Metric<'static> = gauge(
    "vllm:spec_decode_draft_acceptance_rate",
    "Part of the drafted tokens that the model accepted, 0 to 1.",
);
static EFFICIENCY: Metric<'static> = gauge(
    "vllm:spec_decode_efficiency",
    "Generated tokens as a part of those that perfect drafts would have given, 0 to 1.",
);
pub(super) static POSITION_RATE: Metric<'static> = gauge(
    "vllm:spec_decode_position_acceptance_ratio",
    "Part of the drafts whose token at this position was accepted, 0 to 1.",
);

pub(super) static ITERATION_TOKENS: Metric<'static> = Metric {
    kind: Kind::Histogram,
    bounds: &[1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16_384.0],
    ..gauge("vllm:iteration_tokens_total", "Tokens per step of the engine.")
};
static ITERATION_TIME: Metric<'static> = Metric {
    kind: Kind::Histogram,
    bounds: &SECONDS,
    ..gauge("vllm:iteration_duration_seconds", "Time per step of the engine.")
};

const fn item(name: &'static str, unit: &'static str, power: i8, metric: &'static Metric<'static>) -> Item {
    Item { name, unit, power, metric }
}

const PROMPTS: Item = item("Avg prompt throughput", "tokens/s", 0, &PROMPT_RATE);
const GENERATION: Item = item("Avg generation throughput", "tokens/s", 0, &GENERATION_RATE);
const RUNS: Item = item("Running", "reqs", 0, &RUNNING);

/// The current engine's line.
pub(super) static V1: [Item; 10] = [
    PROMPTS,
    GENERATION,
    RUNS,
    item("Waiting", "reqs", 0, &WAITING),
    item("* KV cache usage", "%", -2, &KV_CACHE),
    item("Prefix cache hit rate", "%", -2, &PREFIX_HITS),
    item("External prefix cache hit rate", "%", -2, &EXTERNAL_PREFIX_HITS),
    item("MM cache hit rate", "%", -2, &MM_HITS),
    item("Preemptions", "", 0, &PREEMPTIONS),
    item("Corrupted", "reqs", 0, &CORRUPTED),
];

/// The older engine's line.
pub(super) static V0: [Item; 7] = [
    PROMPTS,
    GENERATION,
    RUNS,
    item("Swapped", "reqs", 0, &SWAPPED),
    item("Pending", "reqs", 0, &WAITING),
    item("GPU KV cache usage", "%", -2, &GPU_CACHE),
    item("CPU KV cache usage", "%", -2, &CPU_CACHE),
];

/// The older engine's second line.
pub(super) static V0_PREFIX: [Item; 2] =
    [item("GPU", "%", -2, &GPU_PREFIX_HITS), item("CPU", "%", -2, &CPU_PREFIX_HITS)];

/// The older engine's line about drafts; its counts are totals since the start, so they are no increments.
pub(super) static V0_SPECULATIVE: [Item; 2] =
    [item("Draft acceptance rate", "", 0, &ACCEPTANCE), item("System efficiency", "", 0, &EFFICIENCY)];

pub(super) static SPECULATIVE: [Item; 6] = [
    item("Mean acceptance length", "", 0, &ACCEPTANCE_LENGTH),
    item("Accepted throughput", "tokens/s", 0, &ACCEPTED_RATE),
    item("Drafted throughput", "tokens/s", 0, &DRAFTED_RATE),
    item("Accepted", "tokens", 0, &ACCEPTED),
    item("Drafted", "tokens", 0, &DRAFTED),
    item("Avg Draft acceptance rate", "%", -2, &ACCEPTANCE),
];

pub(super) static ITERATION: [Item; 2] =
    [item("iteration elapsed time", "ms", -3, &ITERATION_TIME), item("* KV cache usage", "%", -2, &KV_CACHE)];

/// All metrics of the tables, and the others; a metric of several lines is there several times.
pub(super) fn all() -> impl Iterator<Item = &'static Metric<'static>> {
    let tables: [&[Item]; 6] = [&V1, &SPECULATIVE, &ITERATION, &V0, &V0_PREFIX, &V0_SPECULATIVE];
    let items = tables.into_iter().flatten().map(|item| item.metric);
    items.chain([&WAITING_BY_REASON, &POSITION_RATE, &ITERATION_TOKENS, &HTTP_REQUESTS])
}
