//! What a server's start-up banner and its silence tell.

use super::Origin;
use parsers::{Civil, ServerFact};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One server: the sources of a folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Server {
    /// It is gone, and its place is free.
    pub(crate) is_free: bool,
    /// When one of its sources had a line last, in seconds since 1970.
    pub(crate) last_line: u64,
    pub(crate) version: Option<String>,
    /// In lower case.
    pub(crate) metrics_mode: Option<String>,
    /// The `metrics.yaml` in force, as the server names it.
    pub(crate) metrics_config: Option<String>,
    /// Seconds since 1970.
    pub(crate) started: Option<f64>,
    /// The source's configured labels.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Server {
    /// Takes a fact of the banner; a new start forgets the last one's.
    pub(crate) fn note(&mut self, fact: &ServerFact<'_>, origin: &Origin<'_>) {
        const TEXT_MAX: usize = 256;
        let bounded = |text: &str| text.trim().chars().take(TEXT_MAX).collect::<String>();
        self.labels.clone_from(origin.labels);
        match fact {
            ServerFact::Started(time) => self.started = seconds(*time, origin.offset_minutes),
            ServerFact::Version(version) => {
                self.version = Some(bounded(version));
                self.metrics_mode = None;
            }
            ServerFact::MetricsMode(mode) => self.metrics_mode = Some(bounded(mode).to_ascii_lowercase()),
            ServerFact::MetricsConfig(path) => self.metrics_config = Some(bounded(path)),
            _ => {}
        }
    }
}

/// Seconds since 1970 of a server's clock.
pub(super) fn seconds(time: Civil, offset_minutes: i16) -> Option<f64> {
    let date =
        jiff::civil::date(1970, 1, 1).with().year(time.year).month(time.month).day(time.day).build().ok()?;
    let clock = date.at(time.hour, time.minute, time.second.min(59), i32::from(time.millisecond) * 1_000_000);
    let utc = clock.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
    let offset = i64::from(time.offset_minutes.unwrap_or(offset_minutes)) * 60_000;
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 fit a double until the year 287396"
    )]
    let milliseconds = (utc - offset) as f64;
    Some(milliseconds / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_time_is_shifted_by_its_offset() {
        let time = |offset_minutes| Civil {
            year: 2026,
            month: 11,
            day: 20,
            hour: 17,
            minute: 44,
            second: 48,
            millisecond: 864,
            offset_minutes,
        };
        assert_eq!(Some(1_795_196_688.864), seconds(time(None), 0));
        assert_eq!(Some(1_795_196_688.864 - 7200.0), seconds(time(None), 120));
        assert_eq!(Some(1_795_196_688.864), seconds(time(Some(0)), 120));
    }
}
