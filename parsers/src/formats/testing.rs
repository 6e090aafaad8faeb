//! What a line tells, as text: for the formats' tests.

use crate::{Catalog, Civil, Event, Outcome, ParseError, Reason};

/// Reads a line.
type Parse = fn(&[u8], &Catalog, &mut dyn FnMut(Event<'_>)) -> Result<Outcome, ParseError>;

/// What a line tells, each value as `name{label="value"} value`.
pub(crate) fn told(parse: Parse, line: &str) -> Vec<String> {
    let mut told = Vec::new();
    let outcome = parse(line.as_bytes(), &Catalog::default(), &mut |event| {
        let Event::Measured(measured) = event else { return };
        let labels: Vec<_> =
            measured.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        told.push(format!("{}{labels} {}", measured.metric.name, measured.value));
    });
    let expected = if told.is_empty() { Outcome::Ignored } else { Outcome::Parsed };
    assert_eq!(Ok(expected), outcome, "{line}");
    told
}

/// Time and request id of all that a line tells.
pub(crate) fn told_about(parse: Parse, line: &str) -> Vec<(Option<Civil>, Option<String>)> {
    let mut told = Vec::new();
    let _outcome = parse(line.as_bytes(), &Catalog::default(), &mut |event| {
        if let Event::Measured(measured) = event {
            told.push((measured.time, measured.request_id.map(str::to_owned)));
        }
    });
    told
}

/// Whether a line is another logger's.
pub(crate) fn ignores(parse: Parse, line: &str) -> bool {
    let outcome = parse(line.as_bytes(), &Catalog::default(), &mut |event| panic!("{line}: {event:?}"));
    outcome == Ok(Outcome::Ignored)
}

/// Whether a line is refused as damaged, and nothing of it counts.
pub(crate) fn refuses(parse: Parse, line: &str) -> bool {
    let outcome = parse(line.as_bytes(), &Catalog::default(), &mut |event| panic!("{line}: {event:?}"));
    outcome.is_err_and(|error| error.reason == Reason::Malformed && error.column <= line.len() + 1)
}

/// The first bytes of a line.
pub(crate) fn cut(line: &str, length: usize) -> &str {
    line.get(..length).unwrap_or_else(|| panic!("{length} of {line}"))
}
