//! The metric line itself:
//! `<name>.<unit>:<value>|#<dims>|#hostname:<host>[,requestID:<ids>],timestamp:<seconds>`.

use super::prefix;
use crate::grammar::{Fail, Parsed, expect, finish, number, until_mark};
use crate::{Catalog, ParseError, Reason, Sample, Scope};
use nom::Parser;
use nom::bytes::complete::{tag, take_till1};
use nom::combinator::all_consuming;

/// The pieces of a metric, whatever the layout, before they are checked.
pub(super) struct Parts<'a> {
    pub(super) name: &'a str,
    pub(super) unit: &'a str,
    pub(super) value: &'a str,
    /// Dimensions without the host.
    pub(super) labels: Vec<(&'a str, &'a str)>,
    pub(super) host: &'a str,
    pub(super) request_ids: Option<&'a str>,
    pub(super) timestamp: &'a str,
}

/// Reads a whole line with any prefix before the metric.
pub(super) fn line<'a>(record: &'a str, catalog: &Catalog) -> Result<Sample<'a>, ParseError> {
    message(record, record, catalog)
}

/// Reads the part of `record` that holds the metric. A prefix may still stand before it.
pub(super) fn message<'a>(
    record: &'a str,
    text: &'a str,
    catalog: &Catalog,
) -> Result<Sample<'a>, ParseError> {
    let (_, parts) = parts(text, catalog).or_else(|error| finish(record, Err(error)))?;
    sample(parts).map_err(|fail| fail.in_record(record))
}

fn parts<'a>(text: &'a str, catalog: &Catalog) -> Parsed<'a, Parts<'a>> {
    let (tail, head) = expect("\"|#\" after a metric's value", Reason::NotAMetric, until_mark)(text)?;
    let Some((named, value)) = head.rsplit_once(':') else {
        return Err(nom::Err::Error(Fail::new(text, "<name>.<unit>:<value>", Reason::NotAMetric)));
    };
    let start = prefix::skip(named, catalog);
    let Some((name, unit)) = catalog.split_name(start) else {
        return Err(nom::Err::Error(Fail::new(start, "<name>.<unit> before the value", Reason::NotAMetric)));
    };
    let (tail, _) = tag("|#")(tail)?;
    let (tail, dims) = expect("\"|#hostname:\" after the dimensions", Reason::Malformed, until_mark)(tail)?;
    let labels = dimensions(dims)?;
    let (tail, _) =
        expect("\"|#hostname:\" after the dimensions", Reason::Malformed, tag("|#hostname:"))(tail)?;
    let (tail, host) = expect("a host name", Reason::Malformed, take_till1(|c| c == ','))(tail)?;
    let (request_ids, timestamp) = requests_and_time(tail)?;
    Ok(("", Parts { name, unit, value, labels, host, request_ids, timestamp }))
}

/// `Name:value,Name:value`; nothing at all where there is no dimension.
fn dimensions(text: &str) -> Result<Vec<(&str, &str)>, nom::Err<Fail<'_>>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let pair = |item| match str::split_once(item, ':') {
        Some(pair) => Ok(pair),
        None => Err(nom::Err::Error(Fail::new(item, "<dimension>:<value>", Reason::Malformed))),
    };
    text.split(',').map(pair).collect()
}

/// `[,requestID:<ids>],timestamp:<seconds>`. The ids are the worker's text: they may hold commas and
/// even `,timestamp:`, so the last one counts.
fn requests_and_time(tail: &str) -> Result<(Option<&str>, &str), nom::Err<Fail<'_>>> {
    let Some((before, timestamp)) = tail.rsplit_once(",timestamp:") else {
        return Err(nom::Err::Error(Fail::new(tail, "\",timestamp:\" after the host", Reason::Malformed)));
    };
    match before.strip_prefix(",requestID:") {
        Some(ids) => Ok((Some(ids), timestamp)),
        None if before.is_empty() => Ok((None, timestamp)),
        None => Err(nom::Err::Error(Fail::new(
            tail,
            "\",requestID:\" or \",timestamp:\" after the host",
            Reason::Malformed,
        ))),
    }
}

/// Checks the pieces and makes the sample of them.
pub(super) fn sample(parts: Parts<'_>) -> Result<Sample<'_>, Fail<'_>> {
    let number = all_consuming(number).parse(parts.value);
    let (_, value) =
        number.map_err(|_| Fail::new(parts.value, "a number as Java prints it", Reason::BadValue))?;
    let timestamp = seconds(parts.timestamp)?;
    let scope = if parts.request_ids.is_some() { Scope::Model } else { Scope::Server };
    let Parts { mut name, mut unit, mut labels, host, .. } = parts;
    if is_worker_load_time(name, unit, &labels) {
        labels.insert(0, ("WorkerName", name));
        (name, unit) = ("WorkerLoadTime", "Milliseconds");
    }
    labels.push(("Hostname", host));
    let request_ids = parts.request_ids.filter(|ids| *ids != "null" && !ids.is_empty());
    Ok(Sample { scope, name, unit, value, labels, request_ids, timestamp })
}

/// Seconds since 1970, or `null` (0.7.1 and older wrote it for want of a time). What a layout prints
/// after a blank does not matter.
fn seconds(text: &str) -> Result<Option<u64>, Fail<'_>> {
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    match word {
        "null" => Ok(None),
        digits => digits
            .parse()
            .map(Some)
            .map_err(|_| Fail::new(text, "seconds after \",timestamp:\"", Reason::Malformed)),
    }
}

/// Up to 0.7.1 the time to load a worker was named after the worker: `W-9000-resnet18_1.0.ms:6542`.
fn is_worker_load_time(name: &str, unit: &str, labels: &[(&str, &str)]) -> bool {
    let port = name.strip_prefix("W-").and_then(|rest| rest.split_once('-')).map(|(port, _)| port);
    unit == "ms"
        && labels == [("Level", "Host")]
        && port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}
