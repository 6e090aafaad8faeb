//! What a record says, in one line of text, for the tests of formats.

use super::Parse;
use crate::{Catalog, Civil, Event, Outcome};

/// Each measurement as `name{label=value,…} value`, followed by `@time` and `#request` of the record; `ignored`; or
/// the error.
pub(crate) fn told(parse: Parse, record: &str) -> String {
    let mut told = Vec::new();
    let mut origin = String::new();
    let outcome = parse(record.as_bytes(), &Catalog::default(), &mut |event| {
        let Event::Measured(measured) = event else { panic!("{event:?}") };
        let labels: Vec<String> =
            measured.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        told.push(format!("{}{{{}}} {}", measured.metric.name, labels.join(","), measured.value));
        let time = measured.time.map(|time| format!(" @{}", clock(time))).unwrap_or_default();
        let request = measured.request_id.map(|id| format!(" #{id}")).unwrap_or_default();
        origin = format!("{time}{request}");
    });
    match outcome {
        Ok(Outcome::Parsed) => told.join("; ") + &origin,
        Ok(Outcome::Ignored) => {
            assert!(told.is_empty(), "ignored, yet {told:?}");
            "ignored".to_owned()
        }
        Err(error) => {
            assert!(told.is_empty(), "refused, yet {told:?}");
            assert!(error.column <= record.len() + 1, "{error}");
            format!("{}: {error}", error.reason)
        }
    }
}

fn clock(time: Civil) -> String {
    let Civil { year, month, day, hour, minute, second, millisecond, offset_minutes } = time;
    let zone = offset_minutes.map(|minutes| format!("{minutes:+}")).unwrap_or_default();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}{zone}")
}
