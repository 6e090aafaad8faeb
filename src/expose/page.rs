//! The landing page: what is followed, what is wrong, where the metrics are.

use super::respond;
use crate::publish::{Board, Status};
use bytes::Bytes;
use std::fmt::Write;
use warp::http::{HeaderValue, Response, StatusCode};

/// Nothing but the page's own style may load or run, whatever a log manages to put on it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #8884}\
td.n{text-align:right;font-variant-numeric:tabular-nums}:root{color-scheme:light dark}";

/// The page at `/`.
pub(crate) fn landing(board: &Board, telemetry_path: &str) -> Response<Bytes> {
    let mut response = respond(
        StatusCode::OK,
        "text/html; charset=utf-8",
        html(&board.status.get(), &board.readings.hints(), telemetry_path),
    );
    response.headers_mut().insert("content-security-policy", HeaderValue::from_static(POLICY));
    response
}

fn html(status: &Status, collectors_hints: &[String], telemetry_path: &str) -> String {
    let mut sources = String::new();
    for source in &status.sources {
        let name = escape(&source.name);
        let format = source.dialect.map_or("not recognised yet".to_owned(), |dialect| dialect.to_string());
        let active = if source.is_active { "yes" } else { "no" };
        let lag = source.lag_bytes;
        append(&mut sources, format_args!("<tr><td>{name}<td>{format}<td>{active}<td class=n>{lag}</tr>\n"));
    }
    let mut notes = String::new();
    for problem in &status.problems {
        append(&mut notes, format_args!("<li>{}: {}</li>\n", escape(&problem.path), problem.problem));
    }
    for hint in status.hints.iter().chain(collectors_hints) {
        append(&mut notes, format_args!("<li>{}</li>\n", escape(hint)));
    }
    if notes.is_empty() {
        notes.push_str("<li>Nothing to report.</li>\n");
    }
    let state = if status.is_ready { "following" } else { "catching up" };
    let path = escape(telemetry_path);
    format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>inferometer</title><style>{STYLE}</style>\n\
         <h1>inferometer {version}</h1>\n<p>State: {state}. Metrics: <a href=\"{path}\">{path}</a>.</p>\n\
         <h2>Sources</h2>\n<table><tr><th>file<th>format<th>open<th>unread bytes</tr>\n{sources}</table>\n\
         <h2>Notes</h2>\n<ul>\n{notes}</ul></html>\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn append(text: &mut String, what: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(what);
    debug_assert!(written.is_ok(), "a String takes everything");
}

/// Text as HTML shows it, in content and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::SourceStatus;

    #[test]
    fn names_from_outside_are_text_and_never_markup() {
        let sources = vec![SourceStatus { name: "<script>\"'".to_owned(), ..SourceStatus::default() }];
        let page = html(&Status { sources, ..Status::default() }, &[], "/metrics");
        assert!(page.contains("<td>&lt;script&gt;&quot;&#39;<td>") && !page.contains("<script>"), "{page}");
    }
}
