//! The access log: requests become a histogram whose labels are bounded, since clients choose method, path
//! and model name freely.

use super::exemplar::Cause;
use super::value::LATENCY_BOUNDS;
use super::{Origin, State};
use crate::metric::push_label;
use parsers::Access;
use std::collections::HashSet;

pub(super) const REQUESTS: &str = "ts_http_request_duration_seconds";
const REQUESTS_HELP: &str = "Time from a request's arrival to its answer, from the access log. model_name is \
     empty unless the metrics have named the model.";

/// Names of the histogram's labels.
pub(super) const LABELS: [&str; 4] = ["method", "route", "model_name", "code"];

/// Methods that keep their name; `gRPC` is what TorchServe writes for a gRPC call.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "gRPC"];

/// Fixed routes of TorchServe's three HTTP interfaces (pytorch/serve: docs/rest_api.md).
const FIXED: [&str; 8] =
    ["/ping", "/metrics", "/models", "/workflows", "/api-description", "/invocations", "/v2", "/"];

/// Routes that name a model after the prefix.
const BY_MODEL: [(&str, &str); 8] = [
    ("/predictions/", "/predictions/{model_name}"),
    ("/explanations/", "/explanations/{model_name}"),
    ("/models/", "/models/{model_name}"),
    ("/workflows/", "/workflows/{model_name}"),
    ("/wfpredict/", "/wfpredict/{model_name}"),
    ("/v1/models/", "/v1/models/{model_name}"),
    ("/v2/models/", "/v2/models/{model_name}"),
    ("/kserve/", "/kserve/{model_name}"),
];

/// Calls of TorchServe's gRPC interfaces (pytorch/serve: frontend/server/src/main/resources/proto).
const CALLS: [&str; 10] = [
    "Predictions",
    "StreamPredictions",
    "StreamPredictions2",
    "Ping",
    "DescribeModel",
    "ListModels",
    "RegisterModel",
    "ScaleWorker",
    "SetDefault",
    "UnregisterModel",
];

/// The label values of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Labels<'a> {
    pub(crate) method: &'a str,
    pub(crate) route: &'static str,
    /// Empty unless the metrics have named this model.
    pub(crate) model_name: &'a str,
}

/// Bounds a request's labels.
pub(crate) fn labels<'a>(method: &'a str, path: &'a str, models: &HashSet<Box<str>>) -> Labels<'a> {
    let method = METHODS.iter().find(|known| **known == method).copied().unwrap_or("other");
    if method == "gRPC" {
        let call = path.rsplit(['/', '.']).next().unwrap_or_default();
        let route = CALLS.iter().find(|known| **known == call).copied().unwrap_or("other");
        return Labels { method, route, model_name: "" };
    }
    let fixed = FIXED.iter().find(|route| **route == path || path.strip_suffix('/') == Some(route));
    if let Some(route) = fixed {
        return Labels { method, route, model_name: "" };
    }
    let by_model = BY_MODEL.iter().find_map(|(prefix, route)| Some((path.strip_prefix(prefix)?, *route)));
    let Some((rest, route)) = by_model else { return Labels { method, route: "other", model_name: "" } };
    let name = rest.split(['/', ':']).next().unwrap_or_default();
    let model_name = if models.contains(name) { name } else { "" };
    Labels { method, route, model_name }
}

impl State {
    /// The histogram of requests; none where histograms are off or its name is taken.
    pub(super) fn requests_family(&mut self) -> Option<usize> {
        if self.requests.is_none() && self.rules.latency_histograms {
            self.requests = self.histogram(REQUESTS, REQUESTS_HELP, &LATENCY_BOUNDS);
        }
        self.requests
    }

    pub(super) fn apply_access(&mut self, access: &Access<'_>, origin: &Origin<'_>) {
        let Some(at) = self.requests_family() else { return };
        let bounded = labels(access.method, access.path, &self.models);
        let code = if (100..600).contains(&access.code) || bounded.method == "gRPC" && access.code <= 16 {
            access.code.to_string()
        } else {
            "other".to_owned()
        };
        self.text.clear();
        for (name, value) in
            LABELS.into_iter().zip([bounded.method, bounded.route, bounded.model_name, &code])
        {
            if !self.rules.drop_labels.contains(name) {
                push_label(&mut self.text, name, value);
            }
        }
        let milliseconds = u32::try_from(access.milliseconds).unwrap_or(u32::MAX);
        self.give(at, f64::from(milliseconds) / 1000.0, &Cause::new(None, None, origin), origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_models_that_the_metrics_named_become_a_label() {
        let models = HashSet::from(["m".into()]);
        let read = |path| {
            let labels = labels("GET", path, &models);
            (labels.route, labels.model_name)
        };
        assert_eq!(("/predictions/{model_name}", "m"), read("/predictions/m/1.0"));
        assert_eq!(("/predictions/{model_name}", ""), read("/predictions/attack-1"));
        assert_eq!(("/v1/models/{model_name}", "m"), read("/v1/models/m:predict"));
        assert_eq!(("/ping", ""), read("/ping"));
        assert_eq!(("/models", ""), read("/models/"));
        assert_eq!(("other", ""), read("/../etc"));
    }

    #[test]
    fn methods_and_calls_are_bounded() {
        let models = HashSet::new();
        assert_eq!("other", labels("BREW", "/ping", &models).method);
        let call =
            labels("gRPC", "org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions", &models);
        assert_eq!("Predictions", call.route);
    }
}
