//! Access lines of Python's web servers, and labels for them that no client can multiply.
//!
//! ```text
//! INFO:     127.0.0.1:41770 - "POST /v1/chat/completions HTTP/1.1" 200 OK
//! ```
//!
//! Path and method are the client's text. A label gets the template of a path that is one of [`ROUTES`], the routes of
//! known servers' interfaces, whatever the answer. Any other path becomes a label only if the answer shows that a route
//! has it ([`route::label`]); what nothing has answered is one: `other`.

use crate::pairs::damaged;
use crate::route::{self, OTHER, is_code};
use crate::{Civil, ParseError, time};

/// Routes of the servers that this program reads, by their own documentation. A part in braces stands for any text.
const ROUTES: [&str; 86] = [
    "/",
    "/abort_request",
    "/api/blobs/{digest}",
    "/api/chat",
    "/api/copy",
    "/api/create",
    "/api/delete",
    "/api/embed",
    "/api/embeddings",
    "/api/generate",
    "/api/me",
    "/api/ps",
    "/api/pull",
    "/api/push",
    "/api/show",
    "/api/tags",
    "/api/version",
    "/apply-template",
    "/classify",
    "/completion",
    "/completions",
    "/chat/completions",
    "/detokenize",
    "/docs",
    "/embed",
    "/embedding",
    "/embeddings",
    "/encode",
    "/favicon.ico",
    "/flush_cache",
    "/generate",
    "/generate_stream",
    "/get_load",
    "/get_model_info",
    "/get_server_info",
    "/health",
    "/health_generate",
    "/healthz",
    "/infill",
    "/info",
    "/inference/v1/generate",
    "/invocations",
    "/is_sleeping",
    "/livez",
    "/load",
    "/metrics",
    "/model_info",
    "/models",
    "/openapi.json",
    "/ping",
    "/pooling",
    "/predict",
    "/predictions/{model_name}",
    "/props",
    "/readyz",
    "/redoc",
    "/rerank",
    "/score",
    "/server_info",
    "/slots",
    "/sleep",
    "/start_profile",
    "/stop_profile",
    "/tokenize",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/models",
    "/v1/models/{model_name}",
    "/v1/rerank",
    "/v1/responses",
    "/v1/score",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{model_name}",
    "/v2/models/{model_name}/infer",
    "/v2/models/{model_name}/ready",
    "/v2/models/{model_name}/versions/{model_version}/infer",
    "/v2/repository/index",
    "/version",
    "/wake_up",
];

/// A request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// One of the common methods, or `other`.
    pub(crate) method: &'static str,
    /// One of the known routes, another path that was answered, or `other`.
    pub(crate) route: &'a str,
    /// Three digits, 100 to 599, or `other`.
    pub(crate) code: &'a str,
    pub(crate) time: Option<Civil>,
}

impl<'a> Request<'a> {
    /// A request as a log has it, its label values bounded.
    pub(crate) fn new(method: &str, target: &'a str, code: &'a str) -> Self {
        let code = if is_code(code) { code } else { OTHER };
        let route = known(target).unwrap_or_else(|| route::label(target, method, code));
        Self { method: route::method(method), route, code, time: None }
    }

    /// `2xx` and the like.
    pub(crate) fn class(&self) -> &'static str {
        match self.code.as_bytes().first() {
            Some(b'1') => "1xx",
            Some(b'2') => "2xx",
            Some(b'3') => "3xx",
            Some(b'4') => "4xx",
            Some(b'5') => "5xx",
            _ => OTHER,
        }
    }
}

/// The known route that a request's target takes.
fn known(target: &str) -> Option<&'static str> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    ROUTES.iter().find(|route| takes(route, path)).copied()
}

/// Whether a path fits a template, part by part. KServe's calls (`toy:predict`) count as their model's route.
fn takes(route: &str, path: &str) -> bool {
    let (mut parts, mut wanted) = (path.split('/'), route.split('/'));
    loop {
        match (parts.next(), wanted.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if part == name || name.starts_with('{') && !part.is_empty() => {}
            _ => return false,
        }
    }
}

/// Reads an access line of uvicorn, gunicorn or a common log format, whatever prefix a logger has put before it.
/// `None` where it is no such line.
///
/// # Errors
///
/// If it begins like one and is damaged.
pub(crate) fn access_line<'a>(record: &str, line: &'a str) -> Result<Option<Request<'a>>, ParseError> {
    let Some((before, request)) = line.split_once('"') else { return Ok(None) };
    if !is_prefix(before) {
        return Ok(None);
    }
    let malformed = || damaged(record, request, "<method> <target> HTTP/<version>\" <code>");
    let (method, rest) = request.split_once(' ').ok_or_else(malformed)?;
    let (target, rest) = rest.split_once(' ').ok_or_else(malformed)?;
    let (version, rest) = rest.split_once("\" ").ok_or_else(malformed)?;
    let code = rest.split(' ').next().unwrap_or_default();
    let is_request = version.starts_with("HTTP/") && is_code(code) && !method.is_empty();
    if !is_request {
        return Err(malformed());
    }
    let time = time::any(before.trim_start_matches('[')).ok().map(|(_, time)| time);
    Ok(Some(Request { time, ..Request::new(method, target, code) }))
}

/// Most words of a logger's prefix.
const WORDS: usize = 10;

/// Whether a text is what loggers write before a request: client, time, level, logger, process. A prompt or another
/// message is not, since it begins otherwise.
fn is_prefix(before: &str) -> bool {
    let Some(rest) = before.strip_suffix(" - ").or_else(|| before.strip_suffix("] ")) else { return false };
    let mut words = rest.split_whitespace();
    let first = words.next().unwrap_or_default();
    let is_client = |word: &str| word.contains(['.', ':']) && word.bytes().any(|byte| byte.is_ascii_digit());
    let is_first = is_level(first)
        || is_client(first)
        || first.starts_with(['[', '('])
        || first.contains("access")
        || first.starts_with(|c: char| c.is_ascii_digit());
    let is_word = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.,:+/[]()=%*|".contains(&byte))
    };
    let mut has_client = is_client(first) && !is_level(first);
    let mut count = 1;
    for word in words {
        count += 1;
        has_client |= is_client(word);
        if count > WORDS || !is_word(word) {
            return false;
        }
    }
    is_first && has_client
}

/// Whether a word is a Python logger's level, with uvicorn's colon or without.
pub(crate) fn is_level(word: &str) -> bool {
    let word = word.strip_suffix(':').unwrap_or(word);
    ["TRACE", "DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL"].contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(&'static str, &str, &str)> {
        let request = access_line(line, line).unwrap_or_else(|error| panic!("{line}: {error}"));
        request.map(|request| (request.method, request.route, request.code))
    }

    #[test]
    fn every_servers_access_line_is_read() {
        for line in [
            r#"INFO:     127.0.0.1:41770 - "POST /v1/completions HTTP/1.1" 200 OK"#,
            r#"INFO:     2001:db8::1f:41770 - "POST /v1/completions HTTP/1.1" 200"#,
            r#"127.0.0.1:41770 - "POST /v1/completions HTTP/1.1" 200"#,
            r#"[2026-11-20 21:00:19] INFO:     127.0.0.1:41035 - "POST /v1/completions HTTP/1.1" 200 OK"#,
            r#"2026-11-20 18:07:15.198 uvicorn.access INFO:     127.0.0.1:36376 3600 - "POST /v1/completions HTTP/1.1" 200 OK"#,
            r#"2026-11-20 18:07:15,198 - uvicorn.access - INFO - 127.0.0.1:36376 - "POST /v1/completions HTTP/1.1" 200"#,
            r#"(APIServer pid=4242) INFO:     10.0.0.63:30553 - "POST /v1/completions?x=1 HTTP/1.1" 200 OK"#,
            r#"10.0.0.63 - - [20/Nov/2026:17:48:00 +0000] "POST /v1/completions/ HTTP/1.1" 200 12 "-" "curl/8 - \"GET / HTTP/1.1\" 500""#,
        ] {
            assert_eq!(Some(("POST", "/v1/completions", "200")), read(line), "{line}");
        }
    }

    #[test]
    fn clients_cannot_make_labels() {
        let route = |target, code| Request::new("GET", target, code).route;
        assert_eq!("other", route("/nope%20x?q=1", "404"));
        assert_eq!("/v2/models/{model_name}/infer", route("/v2/models/attack-1/infer", "404"));
        assert_eq!("/v1/models/{model_name}", route("/v1/models/toy%3Apredict", "200"));
        assert_eq!("/", route("/?x", "200"));
        assert_eq!("other", route("", "200"));
        assert_eq!("other", route("/v1/models//x", "404"));
        assert_eq!("/translate", route("/translate?q=1", "200"), "a server of one's own");
        assert_eq!("other", Request::new("BREW", "/", "200").method);
        let code = |text| Request::new("GET", "/", text).code;
        assert_eq!(["200", "other", "other"], ["200", "2000", "777"].map(code));
    }

    #[test]
    fn text_that_looks_like_a_request_is_none() {
        for line in [
            r#"Received request x: prompt: 'INFO: 1.1.1.1:1 - "GET / HTTP/1.1" 200'"#,
            r#"INFO 07-16 15:58:05 logger.py:36] Received request x: prompt: '1.1.1.1:1 - "GET / HTTP/1.1" 200 OK'"#,
            r#"ValueError: bad - "GET / HTTP/1.1" 200 OK"#,
            r#"INFO:     Started server process - "x""#,
            "",
        ] {
            assert_eq!(None, read(line), "{line}");
        }
    }

    #[test]
    fn a_cut_line_is_an_error() {
        let line = r#"INFO:     127.0.0.1:41770 - "POST /v1/completions HTTP/1.1" 200 OK"#;
        for end in 29..line.len() - 3 {
            let cut = line.get(..end).unwrap();
            assert!(access_line(line, cut).is_err(), "{cut}");
        }
    }

    #[test]
    fn routes_are_written_once() {
        let mut routes = ROUTES.to_vec();
        routes.sort_unstable();
        routes.dedup();
        assert_eq!(ROUTES.len(), routes.len());
    }
}
