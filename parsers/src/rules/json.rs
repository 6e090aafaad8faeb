//! Members of a JSON line by dotted paths.

use crate::json::Json;

/// The text of a member: a string's, a number's as it is written, `true` or `false`. A key may hold dots itself: the
/// longest one that is there is taken. `0`, `1`, … are the items of a list.
pub(super) fn text<'a>(json: &'a Json<'_>, path: &str) -> Option<&'a str> {
    match member(json, path)? {
        Json::Text(text) => Some(text),
        Json::Number(text) => Some(text),
        Json::Bool(true) => Some("true"),
        Json::Bool(false) => Some("false"),
        Json::Null | Json::List(_) | Json::Object(_) => None,
    }
}

/// The depth of a parsed value bounds the calls.
fn member<'a, 'l>(json: &'a Json<'l>, path: &str) -> Option<&'a Json<'l>> {
    let child = |key: &str| match json {
        Json::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
        Json::List(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    };
    if let Some(whole) = child(path) {
        return Some(whole);
    }
    path.rmatch_indices('.').find_map(|(at, _)| member(child(path.get(..at)?)?, path.get(at + 1..)?))
}
