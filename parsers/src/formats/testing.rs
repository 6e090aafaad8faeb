//! What a line tells, as text: for the formats' tests.

use super::Parse;
use crate::{Catalog, Civil, Event, Measurement, Outcome, ParseError, Reason};

/// Reads a line and keeps what `take` makes of each measurement.
fn read<T>(
    parse: Parse,
    line: &str,
    take: impl Fn(&Measurement<'_>) -> T,
) -> (Result<Outcome, ParseError>, Vec<T>) {
    let mut taken = Vec::new();
    let outcome = parse(line.as_bytes(), &Catalog::default(), &mut |event| {
        let Event::Measured(measured) = event else { panic!("{line}: {event:?}") };
        taken.push(take(&measured));
    });
    (outcome, taken)
}

/// What a line tells, each value as `name{label="value"} value`.
pub(crate) fn told(parse: Parse, line: &str) -> Vec<String> {
    let (outcome, told) = read(parse, line, |measured| {
        let labels: Vec<_> =
            measured.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        format!("{}{labels} {}", measured.metric.name, measured.value)
    });
    let expected = if told.is_empty() { Outcome::Ignored } else { Outcome::Parsed };
    assert_eq!(Ok(expected), outcome, "{line}");
    told
}

/// What a line comes to, in one text: each value as `name{label=value} value`, followed by `@time` and `#request` of
/// the line; `ignored`; or the error.
pub(crate) fn summed_up(parse: Parse, line: &str) -> String {
    let (outcome, told) = read(parse, line, |measured| {
        let labels: Vec<_> = measured.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let time = measured.time.map(|time| format!(" @{}", clock(time))).unwrap_or_default();
        let request = measured.request_id.map(|id| format!(" #{id}")).unwrap_or_default();
        let value = format!("{}{{{}}} {}", measured.metric.name, labels.join(","), measured.value);
        (value, format!("{time}{request}"))
    });
    let (values, origins): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    match outcome {
        Ok(Outcome::Parsed) => values.join("; ") + &origins.last().cloned().unwrap_or_default(),
        Ok(Outcome::Ignored) => {
            assert!(values.is_empty(), "ignored, yet {values:?}");
            "ignored".to_owned()
        }
        Err(error) => {
            assert!(values.is_empty(), "refused, yet {values:?}");
            assert!(error.column <= line.len() + 1, "{error}");
            format!("{}: {error}", error.reason)
        }
    }
}

fn clock(time: Civil) -> String {
    let Civil { year, month, day, hour, minute, second, millisecond, offset_minutes } = time;
    let zone = offset_minutes.map(|minutes| format!("{minutes:+}")).unwrap_or_default();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}{zone}")
}

/// Time and request id of all that a line tells.
pub(crate) fn told_about(parse: Parse, line: &str) -> Vec<(Option<Civil>, Option<String>)> {
    read(parse, line, |measured| (measured.time, measured.request_id.map(str::to_owned))).1
}

/// Whether a line is another logger's.
pub(crate) fn ignores(parse: Parse, line: &str) -> bool {
    read(parse, line, |measured| panic!("{line}: {measured:?}")) == (Ok(Outcome::Ignored), Vec::<()>::new())
}

/// Whether a line is refused as damaged, and nothing of it counts.
pub(crate) fn refuses(parse: Parse, line: &str) -> bool {
    let (outcome, _) = read(parse, line, |measured| panic!("{line}: {measured:?}"));
    outcome.is_err_and(|error| error.reason == Reason::Malformed && error.column <= line.len() + 1)
}

/// The first bytes of a line.
pub(crate) fn cut(line: &str, length: usize) -> &str {
    line.get(..length).unwrap_or_else(|| panic!("{length} of {line}"))
}
