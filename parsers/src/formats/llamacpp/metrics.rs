//! llama.cpp's metrics that its log can feed (`tools/server/server-context.cpp`); it has no labels.
//!
//! `request_seconds`, `requests_total`, `request_errors_total` and `http_requests_total` are ours.

use crate::uniform::{self, SECONDS};
use crate::{Kind, Metric, Uniform};

const fn counter(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, kind: Kind::Counter, ..Metric::BLANK }
}

const fn shared(metric: &'static Metric<'static>) -> Uniform<'static> {
    Uniform { metric, factor: 1.0, labels: &[] }
}

pub(super) static PROMPT_TOKENS: Metric<'static> = Metric {
    uniform: &[shared(&uniform::PROMPT_TOKENS)],
    ..counter("llamacpp:prompt_tokens_total", "Tokens of the prompts that the cache did not hold.")
};
pub(super) static PROMPT_SECONDS: Metric<'static> =
    counter("llamacpp:prompt_seconds_total", "Time that was spent on prompts.");
pub(super) static PREDICTED_TOKENS: Metric<'static> = Metric {
    uniform: &[shared(&uniform::GENERATED_TOKENS)],
    ..counter("llamacpp:tokens_predicted_total", "Generated tokens.")
};
pub(super) static PREDICTED_SECONDS: Metric<'static> =
    counter("llamacpp:tokens_predicted_seconds_total", "Time that was spent on generating tokens.");
pub(super) static DRAFTED: Metric<'static> =
    counter("llamacpp:spec_decode_num_draft_tokens_total", "Drafted tokens.");
pub(super) static ACCEPTED: Metric<'static> =
    counter("llamacpp:spec_decode_num_accepted_tokens_total", "Drafted tokens that the model accepted.");
pub(super) static REQUEST_SECONDS: Metric<'static> = Metric {
    name: "llamacpp:request_seconds",
    help: "Time that a request was worked on: prompt and generation, without waiting for a slot.",
    kind: Kind::Histogram,
    bounds: &SECONDS,
    uniform: &[shared(&uniform::INFERENCE)],
    ..Metric::BLANK
};
pub(super) static REQUESTS: Metric<'static> = Metric {
    uniform: &[shared(&uniform::REQUESTS)],
    ..counter("llamacpp:requests_total", "Requests that were worked on to their end.")
};
pub(super) static ERRORS: Metric<'static> =
    counter("llamacpp:request_errors_total", "Requests that were answered with an error.");
pub(super) static HTTP_REQUESTS: Metric<'static> =
    counter("llamacpp:http_requests_total", "HTTP requests that were answered.");

/// All of them.
pub(super) static ALL: [&Metric<'static>; 10] = [
    &REQUESTS,
    &ERRORS,
    &REQUEST_SECONDS,
    &PROMPT_TOKENS,
    &PROMPT_SECONDS,
    &PREDICTED_TOKENS,
    &PREDICTED_SECONDS,
    &DRAFTED,
    &ACCEPTED,
    &HTTP_REQUESTS,
];
