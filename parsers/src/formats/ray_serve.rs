//! Ray Serve's proxy and replica logs, text and JSON (`python/ray/serve/_private/logging_utils.py`).
//!
//! ```text
//! INFO 2026-11-20 17:48:57,841 proxy 10.0.0.12 8f71df55-9617-486a-b370-9d209c00ecd0 -- POST /api/translate/{n} 422 80.2ms
//! INFO 2026-11-20 17:48:57,733 default_Translator lcbhf98l 47880ccb-ee37-4bd9-829a-955571132672 -- CALL __call__ OK 76.5ms
//! INFO 2023-09-05 11:20:31,423 default_Model default#Model#IeoKQE 1c62 / default replica.py:749 - __CALL__ OK 5.9ms
//! {"asctime": "…", "message": "POST /api/translate/{n} 200 370.0ms", "deployment": "default_Gateway", …}
//! ```
//!
//! A request stands in the proxy's log and again in its ingress replica's: the proxy's lines feed the metrics of HTTP
//! requests, the replicas' those of deployments, as in Ray itself. Routes are templates or prefixes that Ray matched;
//! what it matched with nothing has none, and no request id either.
//!
//! Health checks of `/-/healthz` are counted by Ray and never logged. Ray's own latency sums are made of bucket
//! midpoints; those of the log's lines are the true ones.

mod metrics;
mod place;

use crate::ansi;
use crate::json::{self, Json};
use crate::pairs::{Number, damaged};
use crate::report::{About, Sink};
use crate::route;
use crate::time::{civil, of_unix};
use crate::{Catalog, Metric, Outcome, ParseError};
use place::{Place, Writer};

/// All that its lines feed.
pub(super) fn metrics() -> Vec<&'static Metric<'static>> {
    metrics::ALL.to_vec()
}

/// Reads a line.
pub(super) fn parse(record: &[u8], _: &Catalog, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let text = ansi::text(record)?;
    if text.starts_with('{') {
        return match json::object(&text) {
            Ok((_, json)) => parse_json(&json, sink),
            Err(_) if text.contains("\"SERVE_") => Err(damaged(&text, &text, "a whole JSON object")),
            Err(_) => Ok(Outcome::Ignored),
        };
    }
    match place::text(&text) {
        Some((place, message)) => tell(&text, &place, message, sink),
        None => Ok(Outcome::Ignored),
    }
}

/// Whether a line has the prefix that only Ray Serve writes.
pub(super) fn recognises(line: &str) -> bool {
    let line = ansi::strip(line);
    if line.starts_with('{') {
        return json::object(&line).is_ok_and(|(_, json)| writer(&json).is_some());
    }
    place::text(&line).is_some()
}

/// Who wrote a JSON line; none where it is not Ray Serve.
fn writer<'a>(json: &'a Json<'_>) -> Option<Writer<'a>> {
    json.text("asctime").filter(|_| json.text("message").is_some())?;
    match (json.text("component_name")?, json.text("deployment"), json.text("replica")) {
        ("replica", Some(component), Some(replica)) => {
            let actor = json.text("actor_name").and_then(|name| name.strip_prefix("SERVE_REPLICA::"));
            let parts = actor.and_then(place::identity);
            let (application, deployment) =
                parts.unwrap_or_else(|| place::component(component, json.text("application")));
            Some(Writer::Replica { application, deployment, replica })
        }
        ("proxy" | "http_proxy", ..) => Some(Writer::Proxy { application: json.text("application") }),
        ("controller", ..) => Some(Writer::Other),
        _ => None,
    }
}

fn parse_json(json: &Json<'_>, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    let (Some(writer), Some(message)) = (writer(json), json.text("message")) else {
        return Ok(Outcome::Ignored);
    };
    // A line that the application itself has printed may look like a request.
    if json.text("filename").is_some_and(|file| !SOURCES.contains(&file)) {
        return Ok(Outcome::Ignored);
    }
    let exact = json.text("timestamp_ns").and_then(|text| text.parse().ok()).and_then(of_unix);
    let local = json.text("asctime").and_then(|text| civil(text).ok()).map(|(_, time)| time);
    let place = Place {
        writer,
        time: exact.or(local),
        request_id: json.text("request_id").filter(|id| !id.is_empty()),
        route: json.text("route"),
    };
    tell(message, &place, message, sink)
}

/// Where Ray Serve writes its access lines.
const SOURCES: [&str; 3] = ["replica.py", "proxy.py", "http_proxy.py"];

/// A finished request or call.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Finished<'a> {
    /// Of a request over HTTP.
    method: Option<&'static str>,
    /// Empty where Ray has matched none, or the line has it elsewhere.
    route: &'a str,
    /// A status code, or `OK`, `ERROR`, `CANCELLED`.
    status: &'a str,
    milliseconds: f64,
}

/// Reads `[client ]<method> <route> <status> <n>ms`. `None` where the message is another one.
fn finished<'a>(record: &str, message: &'a str) -> Result<Option<Finished<'a>>, ParseError> {
    let (first, rest) = message.split_once(' ').unwrap_or((message, ""));
    let (first, rest) = match rest.split_once(' ') {
        // Who has asked, with RAY_SERVE_LOG_CLIENT_ADDRESS.
        Some((second, rest)) if first.contains(':') && route::method(second) != route::OTHER => {
            (second, rest)
        }
        _ => (first, rest),
    };
    let is_call = first == "CALL" || (first.starts_with("__") && first.ends_with("__"));
    let method = route::method(first);
    if !is_call && method == route::OTHER {
        return Ok(None);
    }
    let mut words = rest.rsplitn(3, ' ');
    let (time, status, middle) = (words.next(), words.next(), words.next().unwrap_or_default());
    let time = time.and_then(Number::read).filter(|number| number.unit == "ms");
    let milliseconds = time.and_then(|number| number.shifted(0));
    let status =
        status.filter(|status| route::is_code(status) || matches!(*status, "OK" | "ERROR" | "CANCELLED"));
    match (status, milliseconds) {
        (Some(status), Some(milliseconds)) => {
            let method = (!is_call).then_some(method);
            let route = if is_call { "" } else { middle.trim() };
            Ok(Some(Finished { method, route, status, milliseconds }))
        }
        // An application's own message may begin with the name of a method.
        _ if is_call || rest.starts_with('/') || rest.starts_with(' ') => {
            Err(damaged(record, rest, "<route> <status> <milliseconds>ms"))
        }
        _ => Ok(None),
    }
}

fn tell(record: &str, place: &Place<'_>, message: &str, sink: Sink<'_>) -> Result<Outcome, ParseError> {
    if matches!(place.writer, Writer::Other) {
        return Ok(Outcome::Ignored);
    }
    let Some(finished) = finished(record, message)? else { return Ok(Outcome::Ignored) };
    let about = About { request_id: place.request_id, time: place.time, labels: &[] };
    // Until 2023 the route stood in the prefix; a call has it only in JSON.
    let route = if finished.route.is_empty() { place.route.unwrap_or_default() } else { finished.route };
    match place.writer {
        Writer::Proxy { application } => tell_request(&finished, application, route, &about, sink),
        Writer::Replica { application, deployment, replica } => {
            let mut labels =
                vec![("application", application), ("deployment", deployment), ("replica", replica)];
            // A replica that is called by another one logs no route in text.
            if finished.method.is_some() || !route.is_empty() {
                labels.push(("route", route));
            }
            let about = About { labels: &labels, ..about };
            about.tell(sink, &metrics::PROCESSING_LATENCY, finished.milliseconds);
            // What raises an exception is no processed query for Ray; over HTTP it becomes a 500.
            let failed = matches!(finished.status, "ERROR" | "CANCELLED" | "500");
            about.tell(sink, if failed { &metrics::ERRORS } else { &metrics::QUERIES }, 1.0);
        }
        Writer::Other => return Ok(Outcome::Ignored),
    }
    Ok(Outcome::Parsed)
}

fn tell_request(
    finished: &Finished<'_>,
    application: Option<&str>,
    route: &str,
    about: &About<'_>,
    sink: Sink<'_>,
) {
    let Some(method) = finished.method else { return };
    // A path that nothing matched is the client's text. Ray leaves it out, and its request id with it.
    let route = if finished.status == "404" && about.request_id.is_none() { "" } else { route };
    let application: Vec<_> = application.map(|name| ("application", name)).into_iter().collect();
    let labels = |code| {
        let rest = [("method", method), ("route", route), (code, finished.status)];
        application.iter().copied().chain(rest).collect::<Vec<_>>()
    };
    let by_status = labels("status_code");
    let about = About { labels: &by_status, ..*about };
    about.tell(sink, &metrics::HTTP_REQUESTS, 1.0);
    about.tell(sink, &metrics::HTTP_LATENCY, finished.milliseconds);
    if !finished.status.starts_with('2') && finished.status != "OK" {
        let by_error = labels("error_code");
        About { labels: &by_error, ..about }.tell(sink, &metrics::HTTP_ERRORS, 1.0);
    }
}

#[cfg(test)]
mod tests;
