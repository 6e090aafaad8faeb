//! Who has written a line of Ray Serve, when, and for which request.

use crate::Civil;
use crate::http::is_level;
use crate::time::civil;

/// A line's prefix, or the same from a JSON line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place<'a> {
    pub(super) writer: Writer<'a>,
    pub(super) time: Option<Civil>,
    pub(super) request_id: Option<&'a str>,
    pub(super) route: Option<&'a str>,
}

/// Which part of Ray Serve wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer<'a> {
    Proxy {
        application: Option<&'a str>,
    },
    Replica {
        application: &'a str,
        deployment: &'a str,
        replica: &'a str,
    },
    /// The controller: its lines are no requests.
    Other,
}

/// Prefix and message of a text line: `LEVEL time component id[ request][ route application file:line] -- message`,
/// with one dash until 2024, and `(ServeReplica:app:deployment pid=…) ` before it where the driver prints it.
pub(super) fn text(line: &str) -> Option<(Place<'_>, &str)> {
    let (actor, line) = driver(line);
    let (level, rest) = line.split_once(' ')?;
    if !is_level(level) || level.ends_with(':') {
        return None;
    }
    let (rest, time) = civil(rest).ok()?;
    let rest = rest.strip_prefix(' ')?;
    let (head, message) = match rest.split_once(" -- ") {
        Some(parts) => parts,
        None => rest.split_once(" - ").filter(|(head, _)| is_old(head))?,
    };
    let mut words = head.split(' ').filter(|word| !word.is_empty() && !is_source(word));
    let (component, id) = (words.next()?, words.next()?);
    let (mut request_id, mut route, mut application) = (None, None, None);
    for word in words {
        if word.starts_with('/') {
            route = Some(word);
        } else if request_id.is_none() && route.is_none() {
            request_id = Some(word);
        } else {
            application = Some(word);
        }
    }
    let writer = match component {
        "proxy" | "http_proxy" => Writer::Proxy { application },
        "controller" => Writer::Other,
        _ => {
            let replica = id.rsplit('#').next().unwrap_or(id);
            let known = actor.or_else(|| identity(id));
            let (application, deployment) = known.unwrap_or_else(|| self::component(component, application));
            Writer::Replica { application, deployment, replica }
        }
    };
    Some((Place { writer, time: Some(time), request_id, route }, message))
}

/// What a driver puts before the lines of its workers: application and deployment by name.
fn driver(line: &str) -> (Option<(&str, &str)>, &str) {
    let Some((actor, rest)) = line.strip_prefix('(').and_then(|rest| rest.split_once(") ")) else {
        return (None, line);
    };
    let Some((name, _)) = actor.split_once(" pid=") else { return (None, line) };
    (name.strip_prefix("ServeReplica:").and_then(|name| name.split_once(':')), rest)
}

/// Whether a prefix with one dash is Ray Serve's: it names the source file, or a part that only Serve has.
fn is_old(head: &str) -> bool {
    let mut words = head.split(' ');
    let component = words.next().unwrap_or_default();
    matches!(component, "proxy" | "http_proxy" | "controller") || words.any(is_source)
}

fn is_source(word: &str) -> bool {
    word.split_once(".py:").is_some_and(|(_, line)| line.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Application and deployment of `application#deployment#replica`.
pub(super) fn identity(text: &str) -> Option<(&str, &str)> {
    let (application, rest) = text.split_once('#')?;
    Some((application, rest.split_once('#')?.0))
}

/// Application and deployment of `application_Deployment`. Both may hold underscores; where the application is not
/// told, the deployment begins at the first underscore before a capital letter, since it is mostly a class.
pub(super) fn component<'a>(text: &'a str, application: Option<&'a str>) -> (&'a str, &'a str) {
    let after = |application: &str| text.strip_prefix(application)?.strip_prefix('_');
    if let Some((application, deployment)) = application.and_then(|name| Some((name, after(name)?))) {
        return (application, deployment);
    }
    if let Some(deployment) = after("default") {
        return ("default", deployment);
    }
    let mut places = text.match_indices('_').map(|(at, _)| (text.get(..at), text.get(at + 1..)));
    let before_class = |parts: &(Option<&str>, Option<&str>)| {
        parts.1.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    match places.find(before_class) {
        Some((Some(application), Some(deployment))) => (application, deployment),
        _ => text.split_once('_').unwrap_or(("", text)),
    }
}
