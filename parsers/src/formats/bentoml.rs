//! BentoML's server log (standard output): one line per answered request, HTTP and gRPC.
//!
//! bentoml/BentoML: `src/bentoml/_internal/log.py` (prefix and trace), `src/bentoml/_internal/server/http/access.py`
//! and `src/bentoml/grpc/interceptors/access.py` (message); the same since 1.0.15:
//!
//! ```text
//! 2026-11-20T17:42:44+0000 [INFO] [entry_service:sentiment:1] 127.0.0.1:57398 (scheme=http,method=POST,path=/analyze,type=application/json,length=180) (status=200,type=application/json,length=56) 84.366ms (trace=ca02…,span=0fe7…,sampled=0,service.name=sentiment)
//! 2026-11-20T18:10:36+0000 [INFO] [grpc_api_server:iris_grpc:2] ipv4:127.0.0.1:41452 (scheme=http,path=/bentoml.grpc.v1.BentoService/Call,type=application/grpc,size=21) (http_status=200,grpc_status=0,type=application/grpc,size=11) 46.610ms (trace=70cf…)
//! ```
//!
//! Names and labels are those of the server's own metrics (`…/server/http/instruments.py`). Two of its labels are not
//! in the log: `service_version`, and `service_name`, the name of the bento, for services other than the entry service,
//! after which a bento is called. gRPC lines do not tell the name of the API.
//!
//! A path or a content type may hold anything, so what the server itself writes is looked for from the line's end.

use crate::grammar::{Civil, Fail, civil, milliseconds};
use crate::measurement::CLIENT_SECONDS;
use crate::report::Sink;
use crate::{
    Catalog, Event, Kind, Measurement, Metric, Outcome, ParseError, Reason, Uniform, ansi, route, uniform,
};

/// Buckets of the servers (`DEFAULT_BUCKET` in `_internal/utils/metrics.py`).
const SECONDS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0];

type Renamed = &'static [(&'static str, &'static str)];

const OF_SERVICE: Renamed =
    &[("runner_name", "model_name"), ("endpoint", "route"), ("http_response_code", "code")];
const OF_API_SERVER: Renamed =
    &[("service_name", "model_name"), ("endpoint", "route"), ("http_response_code", "code")];

/// The families that one kind of process has.
struct Families {
    requests: Metric<'static>,
    duration: Metric<'static>,
}

const fn families(
    names: [&'static str; 2],
    bounds: &'static [f64],
    requests: &'static [Uniform<'static>],
    duration: &'static [Uniform<'static>],
) -> Families {
    let help = "Answered requests, from the access log.";
    Families {
        requests: Metric { name: names[0], help, kind: Kind::Counter, uniform: requests, ..Metric::BLANK },
        duration: Metric {
            name: names[1],
            help: "Time from a request's arrival to the last part of its answer, from the access log.",
            kind: Kind::Histogram,
            bounds,
            uniform: duration,
            ..Metric::BLANK
        },
    }
}

/// Services of BentoML 1.2 and later.
static SERVICE: Families = families(
    ["bentoml_service_request_total", "bentoml_service_request_duration_seconds"],
    &SECONDS,
    &[Uniform { metric: &uniform::REQUESTS, factor: 1.0, labels: OF_SERVICE }],
    &[Uniform { metric: &uniform::REQUEST_DURATION, factor: 1.0, labels: OF_SERVICE }],
);

/// The front of BentoML 1.0 and 1.1, and gRPC in all versions.
static API_SERVER: Families = families(
    ["bentoml_api_server_request_total", "bentoml_api_server_request_duration_seconds"],
    &SECONDS,
    &[Uniform { metric: &uniform::REQUESTS, factor: 1.0, labels: OF_API_SERVER }],
    &[Uniform { metric: &uniform::REQUEST_DURATION, factor: 1.0, labels: OF_API_SERVER }],
);

/// The model processes of BentoML 1.0 and 1.1, which only the front asks.
static RUNNER: Families = families(
    ["bentoml_runner_request_total", "bentoml_runner_request_duration_seconds"],
    &CLIENT_SECONDS,
    &[],
    &[Uniform { metric: &uniform::INFERENCE, factor: 1.0, labels: &[("runner_name", "model_name")] }],
);

/// Kinds of process that only BentoML has.
const TELLING: [&str; 5] =
    ["entry_service:", "api_server:", "dev_api_server:", "grpc_api_server:", "grpc_dev_api_server:"];

/// What websockets write in the place of a status.
const WEBSOCKET: [&str; 4] = [
    ") - Client connected",
    ") - Client disconnected",
    ") - Connection closed",
    ") - Connection established",
];

/// All that its lines feed.
pub(super) fn metrics() -> Vec<&'static Metric<'static>> {
    [&SERVICE, &API_SERVER, &RUNNER].iter().flat_map(|of| [&of.requests, &of.duration]).collect()
}

/// Reads a line; only finished requests measure something.
pub(super) fn parse(record: &[u8], _catalog: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    let Some(logged) = logged(&text) else { return Ok(Outcome::Ignored) };
    match request(logged.message) {
        None => Ok(Outcome::Ignored),
        Some(Err(fail)) => Err(fail.in_record(&text)),
        Some(Ok(request)) => Ok(measure(&logged, &request, sink)),
    }
}

/// Whether a line can only be BentoML's.
pub(super) fn recognises(line: &str) -> bool {
    let line = ansi::strip(line);
    let Some(logged) = logged(&line) else { return false };
    TELLING.iter().any(|kind| logged.component.starts_with(kind))
        || logged.component == "cli" && logged.message.contains(" BentoServer ")
        || matches!(request(logged.message), Some(Ok(_)))
}

/// A line with the server's prefix.
struct Logged<'a> {
    time: Civil,
    /// `entry_service:sentiment:1`: kind, service, worker.
    component: &'a str,
    message: &'a str,
}

fn logged(text: &str) -> Option<Logged<'_>> {
    let (rest, time) = civil(text).ok()?;
    let (level, rest) = rest.strip_prefix(" [")?.split_once("] [")?;
    let is_level = !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_uppercase());
    let (component, message) = rest.split_once("] ")?;
    is_level.then_some(Logged { time, component, message })
}

struct Request<'a> {
    method: &'a str,
    path: &'a str,
    code: &'a str,
    is_grpc: bool,
    seconds: f64,
    trace: Option<&'a str>,
}

/// Reads the message of a finished request; none where it is another message.
fn request(message: &str) -> Option<Result<Request<'_>, Fail<'_>>> {
    let (client, rest) = message.split_once(" (scheme=")?;
    if client.contains(' ') || !(client == "_" || client.contains(':')) {
        return None;
    }
    let (body, trace) = match rest.rfind(" (trace=").and_then(|at| rest.split_at_checked(at)) {
        Some((body, tail)) if tail.ends_with(')') => (body, trace_id(tail)),
        _ => (rest, None),
    };
    if WEBSOCKET.iter().any(|end| body.ends_with(end)) {
        return None;
    }
    Some(finished(body).map(|request| Request { trace, ..request }))
}

/// The trace's id as an exemplar can show it.
fn trace_id(tail: &str) -> Option<&str> {
    let id = tail.strip_prefix(" (trace=")?.split([',', ')']).next()?;
    (!id.is_empty() && id.bytes().any(|byte| byte != b'0')).then_some(id)
}

/// `http,method=GET,path=/,type=,length=) (status=200,type=,length=9) 0.391ms`.
fn finished(body: &str) -> Result<Request<'_>, Fail<'_>> {
    let malformed = |at, expected| Fail::new(at, expected, Reason::Malformed);
    let place = ["status=", "http_status="].into_iter().zip([" (status=", " (http_status="]).filter_map(
        |(key, open)| {
            let at = body.rfind(open)?;
            Some((at, key, body.get(at + 2..)?))
        },
    );
    let (at, key, answer) =
        place.max_by_key(|(at, ..)| *at).ok_or_else(|| malformed(body, "the request's status"))?;
    let asked = body.get(..at).and_then(|asked| asked.strip_suffix(')'));
    let asked = asked.ok_or_else(|| malformed(body, "\")\" before the status"))?;
    let (answer, took) =
        answer.rsplit_once(") ").ok_or_else(|| malformed(answer, "\")\" and the time after the status"))?;
    let digits = took.strip_suffix("ms").ok_or_else(|| malformed(took, "a time in milliseconds"))?;
    let seconds = milliseconds(digits).filter(|seconds| *seconds >= 0.0);
    let seconds = seconds.ok_or_else(|| Fail::new(took, "a time in milliseconds", Reason::BadValue))?;
    let code = answer.strip_prefix(key).and_then(|answer| answer.split(',').next()).unwrap_or_default();
    if !route::is_code(code) {
        return Err(malformed(answer, "an HTTP status"));
    }
    let (method, path) = target(asked).ok_or_else(|| malformed(asked, "the request's path"))?;
    let is_grpc = key == "http_status=";
    Ok(Request { method, path, code, is_grpc, seconds, trace: None })
}

/// Method and path out of `http,method=GET,path=/,type=…,length=…`; gRPC has no method.
fn target(asked: &str) -> Option<(&str, &str)> {
    let (_, rest) = asked.split_once(',')?;
    let (method, rest) = match rest.strip_prefix("method=") {
        Some(rest) => rest.split_once(',')?,
        None => ("", rest),
    };
    let path = rest.strip_prefix("path=")?;
    // The content type is the client's too: were the last one taken, it could make the path longer at will.
    let end = path.find(",type=").or_else(|| path.rfind(",length="));
    Some((method, end.and_then(|end| path.get(..end)).unwrap_or(path)))
}

fn measure(logged: &Logged<'_>, request: &Request<'_>, sink: Sink<'_>) -> Outcome {
    let mut component = logged.component.split(':');
    let kind = component.next().unwrap_or_default();
    let name = component.next().filter(|name| !name.is_empty());
    // The health service answers on the same port, and the server's own metrics leave it out.
    if request.is_grpc && !request.path.ends_with(".BentoService/Call") {
        return Outcome::Ignored;
    }
    let (families, names): (_, &[&str]) = match kind {
        _ if request.is_grpc => (&API_SERVER, &["service_name"]),
        "api_server" | "dev_api_server" => (&API_SERVER, &["service_name"]),
        "runner" => (&RUNNER, &["runner_name"]),
        "entry_service" => (&SERVICE, &["runner_name", "service_name"]),
        _ => (&SERVICE, &["runner_name"]),
    };
    let mut labels = Vec::with_capacity(4);
    if !request.is_grpc {
        labels.push(("endpoint", route::label(request.path, request.method, request.code)));
    }
    labels.push(("http_response_code", request.code));
    labels.extend(names.iter().filter_map(|label| Some((*label, name?))));
    for (metric, value) in [(&families.requests, 1.0), (&families.duration, request.seconds)] {
        let (labels, request_id, time) = (&*labels, request.trace, Some(logged.time));
        sink(Event::Measured(Measurement { metric, value, labels, request_id, time }));
    }
    Outcome::Parsed
}

#[cfg(test)]
mod tests;
