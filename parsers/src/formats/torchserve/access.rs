//! Lines of `access_log.log` (pytorch/serve: `…/archive/model/…`, logger `ACCESS_LOG`):
//! `/127.0.0.1:59146 "POST /predictions/resnet18 HTTP/1.1" 200 10`, the last number in milliseconds.

use crate::Access;
use crate::grammar::civil;

/// Reads a line of the file: an optional time, then the message.
pub(super) fn line(text: &str) -> Option<Access<'_>> {
    let rest = civil(text).map_or(text, |(rest, _)| rest);
    message(rest.trim_start().strip_prefix("- ").unwrap_or(rest))
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
