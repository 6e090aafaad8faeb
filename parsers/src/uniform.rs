//! The schema that all servers share (`--naming uniform`): one dashboard for every server.
//!
//! Base units, and labels with the same meaning everywhere: `model_name`, `model_version`, `method`, `route`, `code`,
//! `reason`. A server that does not tell one of them has no such label.

use crate::{Kind, Metric};

/// Bounds for times of requests and of their parts, in seconds: from a cache hit to a long generation.
pub const SECONDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];

/// Bounds for numbers of tokens.
pub const TOKENS: [f64; 16] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16_384.0,
    32_768.0,
];

/// Bounds for numbers of requests in a batch.
pub const BATCH: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

const fn counter(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, kind: Kind::Counter, ..Metric::BLANK }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, ..Metric::BLANK }
}

const fn seconds(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, kind: Kind::Histogram, bounds: &SECONDS, ..Metric::BLANK }
}

/// Requests that were answered, whatever the answer.
pub static REQUESTS: Metric<'static> = counter("model_requests_total", "Requests that were answered.");
/// Requests that failed, where a server names the kind of failure instead of a code.
pub static FAILURES: Metric<'static> =
    counter("model_request_failures_total", "Requests that failed, by the server's word for it.");
/// Time from a request's arrival to its answer.
pub static REQUEST_DURATION: Metric<'static> =
    seconds("model_request_duration_seconds", "Time from a request's arrival to its answer.");
/// Time that a request waited before it was worked on.
pub static QUEUE: Metric<'static> =
    seconds("model_queue_seconds", "Time that a request waited before it was worked on.");
/// Time that the model worked on a request.
pub static INFERENCE: Metric<'static> =
    seconds("model_inference_seconds", "Time that the model worked on a request.");
/// Time from a request's arrival to its first token.
pub static FIRST_TOKEN: Metric<'static> =
    seconds("model_time_to_first_token_seconds", "Time from a request's arrival to its first token.");
/// Mean time per generated token of a request.
pub static TOKEN_DURATION: Metric<'static> =
    seconds("model_time_per_token_seconds", "Mean time per generated token of a request.");
/// Tokens of the prompts.
pub static PROMPT_TOKENS: Metric<'static> = counter("model_prompt_tokens_total", "Tokens of the prompts.");
/// Generated tokens.
pub static GENERATED_TOKENS: Metric<'static> = counter("model_generated_tokens_total", "Generated tokens.");
/// Requests that are being worked on.
pub static RUNNING: Metric<'static> = gauge("model_requests_running", "Requests that are being worked on.");
/// Requests that wait.
pub static WAITING: Metric<'static> = gauge("model_requests_waiting", "Requests that wait.");
/// Used part of the key-value cache.
pub static KV_CACHE: Metric<'static> =
    gauge("model_kv_cache_usage_ratio", "Used part of the key-value cache, 0 to 1.");
/// Prompt tokens per second, as the server's own log has it.
pub static PROMPT_RATE: Metric<'static> =
    gauge("model_prompt_tokens_per_second", "Prompt tokens per second, as the server's log has it.");
/// Generated tokens per second, as the server's own log has it.
pub static GENERATED_RATE: Metric<'static> =
    gauge("model_generated_tokens_per_second", "Generated tokens per second, as the server's log has it.");
/// Seconds to load a model.
pub static LOAD: Metric<'static> = seconds("model_load_seconds", "Time to load a model.");
