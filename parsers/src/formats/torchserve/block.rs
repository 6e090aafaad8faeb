//! The two layouts of 0.7.1 that write a metric over several lines (pytorch/serve v0.7.1:
//! `frontend/server/src/main/java/org/pytorch/serve/util/logging/{JSONPatternLayout,QLogLayout}.java`).

use super::metric::{self, Parts};
use crate::framing::{self, Frame};
use crate::json::Json;
use crate::{ParseError, Reason, Sample};

/// `{`, indented members, `}`.
pub(super) fn frame_json(buffer: &[u8]) -> Frame {
    framing::block(buffer, |line| line.first().is_some_and(u8::is_ascii_whitespace), |line| line == b"}")
}

/// `HostName=…`, more `Key=value` lines, `EOE`.
pub(super) fn frame_qlog(buffer: &[u8]) -> Frame {
    const KEYS: [&[u8]; 4] = [b"RequestId=", b"StartTime=", b"Program=", b"Metrics="];
    framing::block(buffer, |line| KEYS.iter().any(|key| line.starts_with(key)), |line| line == b"EOE")
}

/// Reads an object with `MetricName`; `None` for any other object.
pub(super) fn json<'a>(json: &'a Json<'_>) -> Option<Result<Sample<'a>, ParseError>> {
    let name = json.text("MetricName")?;
    let dimension = |item: &'a Json<'_>| Some((item.text("Name")?, item.text("Value")?));
    let parts = (|| {
        Some(Parts {
            name,
            unit: json.text("Unit")?,
            value: json.text("Value")?,
            labels: json
                .list("Dimensions")
                .unwrap_or_default()
                .iter()
                .map(dimension)
                .collect::<Option<_>>()?,
            host: json.text("HostName")?,
            request_ids: json.text("RequestId"),
            timestamp: json.text("Timestamp").unwrap_or("null"),
        })
    })();
    let expected = "Value, Unit, HostName and Dimensions in the object";
    Some(checked(parts, expected))
}

/// Reads `Metrics=<name>=<value> <unit> <dimension>|<value> …` and the lines around it.
pub(super) fn qlog(text: &str) -> Result<Sample<'_>, ParseError> {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let parts = (|| {
        let (name, rest) = line("Metrics")?.split_once('=')?;
        let (value, rest) = rest.split_once(' ')?;
        let (unit, dimensions) = rest.split_once(' ').unwrap_or((rest, ""));
        // Each dimension is followed by a blank and preceded by one, so two stand between neighbours.
        let labels = dimensions.split("  ").map(str::trim_end).filter(|text| !text.is_empty());
        Some(Parts {
            name,
            unit,
            value,
            labels: labels.map(|text| text.split_once('|')).collect::<Option<_>>()?,
            host: line("HostName")?,
            request_ids: line("RequestId"),
            timestamp: line("StartTime").unwrap_or("null"),
        })
    })();
    let expected = "HostName= and Metrics=<name>=<value> <unit> in the block";
    checked(parts, expected)
}

/// A block has no columns of its own: an error points at its start.
fn checked<'a>(parts: Option<Parts<'a>>, expected: &'static str) -> Result<Sample<'a>, ParseError> {
    let parts = parts.ok_or(ParseError::new(Reason::Malformed, expected, 0))?;
    metric::sample(parts).map_err(|fail| fail.in_record(""))
}
