//! The page at `/`: one document for people, drawn by the browser from `/api/v1/status`.
//!
//! Its parts are files of their own (`page/`), put together when this is compiled. Nothing of a log is in the
//! document. The script puts names and values from outside into the page as text and never as markup, and the policy
//! lets nothing run or load but the document's own style and script, known by their hashes.

use super::negotiate::Wanted;
use super::{gzip, respond};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use std::sync::LazyLock;
use warp::http::{HeaderMap, HeaderValue, Response, StatusCode};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/app.js");
const FRAME: &str = include_str!("page/index.html");

/// The document as it is sent.
struct Document {
    plain: Bytes,
    packed: Option<Bytes>,
    policy: String,
    tag: String,
}

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let plain = FRAME.replacen("/*STYLE*/", STYLE, 1).replacen("/*SCRIPT*/", SCRIPT, 1);
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    let tag = format!("\"{}\"", hash(&plain));
    let packed = gzip::compress(plain.as_bytes()).map(Bytes::from);
    Document { plain: plain.into(), packed, policy, tag }
});

/// As a Content-Security-Policy names a source.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// The page.
pub(super) fn answer(headers: &HeaderMap) -> Response<Bytes> {
    const HTML: &str = "text/html; charset=utf-8";
    let tag = DOCUMENT.tag.as_bytes();
    let is_known = headers.get_all("if-none-match").iter().any(|value| value.as_bytes() == tag);
    let packed = DOCUMENT.packed.as_ref().filter(|_| Wanted::of(headers).gzip);
    let mut response = match (is_known, packed) {
        (true, _) => respond(StatusCode::NOT_MODIFIED, HTML, ""),
        (false, Some(packed)) => {
            let mut response = respond(StatusCode::OK, HTML, packed.clone());
            response.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
            response
        }
        (false, None) => respond(StatusCode::OK, HTML, DOCUMENT.plain.clone()),
    };
    let own = [
        ("content-security-policy", HeaderValue::from_str(&DOCUMENT.policy)),
        ("etag", HeaderValue::from_str(&DOCUMENT.tag)),
    ];
    let fixed = [
        ("cache-control", "no-cache"),
        ("referrer-policy", "no-referrer"),
        ("vary", "accept-encoding"),
        ("x-frame-options", "DENY"),
    ];
    let headers = response.headers_mut();
    for (name, value) in own {
        // Both are made of base64 and words.
        headers.extend(value.ok().map(|value| (warp::http::HeaderName::from_static(name), value)));
    }
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_whole_and_loads_nothing() {
        let text = std::str::from_utf8(&DOCUMENT.plain).unwrap();
        assert!(text.contains(STYLE) && text.contains(SCRIPT));
        assert!(!STYLE.contains("</style") && !SCRIPT.contains("</script"));
        for word in
            ["http://", "https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
        {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(word), "{word}");
        }
    }

    #[test]
    fn the_policy_names_the_documents_own_parts() {
        let text = std::str::from_utf8(&DOCUMENT.plain).unwrap();
        let between = |from: &str, to: &str| text.split_once(from).unwrap().1.split_once(to).unwrap().0;
        let headers = answer(&HeaderMap::new()).headers().clone();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        for part in [between("<style>", "</style>"), between("<script>", "</script>")] {
            assert!(policy.contains(&hash(part)), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let again = HeaderMap::from_iter([(warp::http::header::IF_NONE_MATCH, headers["etag"].clone())]);
        assert_eq!(StatusCode::NOT_MODIFIED, answer(&again).status());
    }
}
