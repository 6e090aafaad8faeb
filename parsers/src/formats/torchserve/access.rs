//! Lines of `access_log.log` (pytorch/serve: `…/archive/model/…`, logger `ACCESS_LOG`):
//! `/127.0.0.1:59146 "POST /predictions/resnet18 HTTP/1.1" 200 10`, the last number in milliseconds.

use crate::grammar::civil;
use crate::{Access, ParseError, Reason};
use memchr::{memchr, memmem};

/// Whether a line's message begins like one of the access log: then it is one, whatever a client has put
/// into its request, and never a metric.
pub(super) fn is_line(text: &str) -> bool {
    memchr(b'/', text.as_bytes()).is_some() && message_of(text).starts_with('/')
}

/// Reads a line of the file: an optional time, then the message.
pub(super) fn line(text: &str) -> Result<Access<'_>, ParseError> {
    let message = message_of(text);
    let column = text.len() - message.len();
    self::message(message).ok_or(ParseError::new(Reason::Malformed, EXPECTED, column))
}

const EXPECTED: &str = "/<client> \"<method> <target> HTTP/<version>\" <code> <milliseconds>";

fn message_of(text: &str) -> &str {
    let rest = civil(text).map_or(text, |(rest, _)| rest).trim_start();
    let message = rest.strip_prefix("- ").unwrap_or(rest);
    if message.starts_with('/') {
        return message;
    }
    // Another layout's prefix may hold dashes of its own; it ends before the client. Behind a metric's
    // dimensions or a request's quote a dash is part of what a client or a worker wrote.
    let is_prefix = |before: &str| !before.contains("|#") && !before.contains('"');
    let prefix = memmem::find(rest.as_bytes(), b" - /").and_then(|at| rest.get(..at));
    match prefix {
        Some(before) if is_prefix(before) => rest.get(before.len() + 3..).unwrap_or(message),
        _ => message,
    }
}

/// Reads the logger's message. The target is the client's text, quotes and all, so the parts around it
/// are taken from both ends.
pub(super) fn message(text: &str) -> Option<Access<'_>> {
    let (client, rest) = text.split_once(" \"")?;
    let (request, numbers) = rest.rsplit_once("\" ")?;
    let (code, milliseconds) = numbers.trim_end().split_once(' ')?;
    let (method, rest) = request.split_once(' ')?;
    let (target, version) = rest.rsplit_once(' ')?;
    if !client.starts_with('/') || client.contains(' ') || !version.starts_with("HTTP/") {
        return None;
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    Some(Access { method, path, code: code.parse().ok()?, milliseconds: milliseconds.parse().ok()? })
}
