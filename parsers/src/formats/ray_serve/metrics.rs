//! Ray Serve's metrics that its logs can feed (`ray/serve/_private/{proxy,replica}.py`).

use crate::uniform;
use crate::{Kind, Metric, Uniform};

/// Ray's bounds, in milliseconds.
const BOUNDS: [f64; 19] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 300.0, 400.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0,
    60_000.0, 120_000.0, 300_000.0, 600_000.0,
];

const REQUEST: &[(&str, &str)] = &[("method", "method"), ("route", "route"), ("status_code", "code")];
/// What holds a model is a deployment.
const DEPLOYMENT: &[(&str, &str)] = &[("deployment", "model_name")];

const fn counter(name: &'static str, help: &'static str) -> Metric<'static> {
    Metric { name, help, kind: Kind::Counter, ..Metric::BLANK }
}

pub(super) static HTTP_REQUESTS: Metric<'static> = Metric {
    uniform: &[Uniform { metric: &uniform::REQUESTS, factor: 1.0, labels: REQUEST }],
    ..counter("ray_serve_num_http_requests_total", "HTTP requests that the proxy has answered and logged.")
};
pub(super) static HTTP_ERRORS: Metric<'static> =
    counter("ray_serve_num_http_error_requests_total", "HTTP requests that were not answered with 2xx.");
pub(super) static HTTP_LATENCY: Metric<'static> = Metric {
    name: "ray_serve_http_request_latency_ms",
    help: "Time from a request's arrival at the proxy to its answer.",
    kind: Kind::Histogram,
    bounds: &BOUNDS,
    uniform: &[Uniform { metric: &uniform::REQUEST_DURATION, factor: 0.001, labels: REQUEST }],
    ..Metric::BLANK
};
pub(super) static QUERIES: Metric<'static> =
    counter("ray_serve_deployment_request_counter_total", "Queries that a replica has processed.");
pub(super) static ERRORS: Metric<'static> = counter(
    "ray_serve_deployment_error_counter_total",
    "Queries that ended with an exception in a replica, cancelled ones among them.",
);
pub(super) static PROCESSING_LATENCY: Metric<'static> = Metric {
    name: "ray_serve_deployment_processing_latency_ms",
    help: "Time that a replica took for a query, whatever its end.",
    kind: Kind::Histogram,
    bounds: &BOUNDS,
    uniform: &[Uniform { metric: &uniform::INFERENCE, factor: 0.001, labels: DEPLOYMENT }],
    ..Metric::BLANK
};

/// All of them.
pub(super) static ALL: [&Metric<'static>; 6] =
    [&HTTP_REQUESTS, &HTTP_ERRORS, &HTTP_LATENCY, &QUERIES, &ERRORS, &PROCESSING_LATENCY];
