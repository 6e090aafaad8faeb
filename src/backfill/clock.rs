//! What a line's own time means: which moment, and whether it is believed.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use parsers::{Civil, Written};
use std::time::SystemTime;

/// Milliseconds since 1970.
pub(super) type Moment = i64;

const SECOND: Moment = 1000;
const HOUR: Moment = 3600 * SECOND;
const DAY: Moment = 24 * HOUR;

/// No model server wrote a log before the year 2000, and none that we read writes after 2099.
const POSSIBLE: std::ops::Range<Moment> = 946_684_800 * SECOND..4_102_444_800 * SECOND;

/// A time that is later than the one before by more than this has to be borne out by the lines that follow.
pub(super) const LEAP: Moment = HOUR;

/// How many lines with a time are asked whether they bear a leap out.
pub(super) const WITNESSES: usize = 16;

/// How the times of one file are read.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    zone: TimeZone,
    /// Its offset, if it never changes.
    fixed: Option<i16>,
    /// A moment that no line can be later than, as far as the file's own date tells; a day is for zones.
    latest: Moment,
}

impl Zone {
    /// The zone of a file that was written last at this time.
    pub(super) fn new(zone: TimeZone, modified: Option<SystemTime>) -> Self {
        let modified = modified.unwrap_or_else(SystemTime::now);
        let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let modified = Moment::try_from(since.as_millis()).unwrap_or(POSSIBLE.end);
        let fixed = zone.to_fixed_offset().ok().and_then(|offset| i16::try_from(offset.seconds() / 60).ok());
        Self { zone, fixed, latest: modified.saturating_add(DAY) }
    }

    /// Whether a moment is not after the file itself.
    pub(super) const fn is_past(&self, moment: Moment) -> bool {
        moment <= self.latest
    }

    /// The moment of a line's time; `before` is that of the line before, which tells what the line leaves open: the
    /// year, and which of the two hours when clocks are put back.
    pub(super) fn moment(&self, written: Written, before: Option<Moment>) -> Option<Moment> {
        let moment = match written {
            Written::Unix(milliseconds) => Some(milliseconds),
            Written::Date(date) if date.year == 0 => self.without_year(date, before),
            Written::Date(date) => self.dated(date, before),
        };
        moment.filter(|moment| POSSIBLE.contains(moment))
    }

    fn without_year(&self, date: Civil, before: Option<Moment>) -> Option<Moment> {
        let near = before.unwrap_or(self.latest);
        let this_year = jiff::Timestamp::from_millisecond(near).ok()?.to_zoned(self.zone.clone()).year();
        let years = (this_year.saturating_sub(1)..=this_year.saturating_add(1))
            .filter_map(|year| self.dated(Civil { year, ..date }, before));
        match before {
            Some(before) => years.min_by_key(|moment| moment.abs_diff(before)),
            None => years.filter(|moment| self.is_past(*moment)).max(),
        }
    }

    fn dated(&self, date: Civil, before: Option<Moment>) -> Option<Moment> {
        let time = civil(date)?;
        if let Some(offset) = date.offset_minutes.or(self.fixed) {
            let utc = time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond();
            return Some(utc - Moment::from(offset) * 60 * SECOND);
        }
        let ambiguous = self.zone.to_ambiguous_timestamp(time);
        let is_twice = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
        let first = ambiguous.compatible().ok()?.as_millisecond();
        match (before, ambiguous.later()) {
            (Some(before), Ok(second)) if is_twice => {
                let second = second.as_millisecond();
                Some(if second.abs_diff(before) < first.abs_diff(before) { second } else { first })
            }
            _ => Some(first),
        }
    }

    /// Minutes east of UTC at a moment.
    pub(super) fn offset_minutes(&self, moment: Moment) -> i16 {
        self.fixed.unwrap_or_else(|| {
            let offset = jiff::Timestamp::from_millisecond(moment).map(|time| self.zone.to_offset(time));
            offset.ok().and_then(|offset| i16::try_from(offset.seconds() / 60).ok()).unwrap_or(0)
        })
    }
}

fn civil(date: Civil) -> Option<DateTime> {
    // A leap second is the last one of its minute.
    let nanoseconds = i32::from(date.millisecond) * 1_000_000;
    let day = Date::new(date.year, date.month, date.day).ok()?;
    Some(day.at(date.hour, date.minute, date.second.min(59), nanoseconds))
}

/// Whether the lines that follow bear out a time that lies more than a [`LEAP`] after the line before. `later` are
/// their times, of which [`WITNESSES`] at most are asked.
///
/// Whoever goes on where the line before stood speaks against it. At a file's start nothing stood yet: there the
/// majority decides.
pub(super) fn is_borne_out(
    moment: Moment,
    clock: Option<Moment>,
    later: impl Iterator<Item = Moment>,
) -> bool {
    let mut later = later.take(WITNESSES);
    let back = moment - LEAP;
    match clock {
        Some(clock) => !later.any(|later| (clock - LEAP..back).contains(&later)),
        None => {
            let (with, against): (Vec<Moment>, Vec<Moment>) = later.partition(|later| *later >= back);
            with.len() >= against.len()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A date and time, and the zone if it tells one.
    fn date(text: &str, offset_minutes: Option<i16>) -> Written {
        let time: DateTime = text.parse().unwrap();
        Written::Date(Civil {
            year: if time.year() == 1970 { 0 } else { time.year() },
            month: time.month(),
            day: time.day(),
            hour: time.hour(),
            minute: time.minute(),
            second: time.second(),
            millisecond: time.millisecond(),
            offset_minutes,
        })
    }

    fn zone(name: TimeZone, modified: &str) -> Zone {
        let modified: jiff::Timestamp = modified.parse().unwrap();
        let since = Duration::from_millis(modified.as_millisecond().try_into().unwrap());
        Zone::new(name, Some(SystemTime::UNIX_EPOCH + since))
    }

    fn moment(zone: &Zone, written: Written, before: Option<&str>) -> String {
        let before = before.map(|text| text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        zone.moment(written, before).map_or_else(
            || "-".to_owned(),
            |moment| jiff::Timestamp::from_millisecond(moment).unwrap().to_string(),
        )
    }

    #[test]
    fn a_time_is_that_of_its_zone_unless_it_says_so_itself() {
        let india = zone(
            TimeZone::fixed(jiff::tz::offset(5).saturating_add(jiff::Span::new().minutes(30))),
            "2026-11-20T00:00:00Z",
        );
        let utc = zone(TimeZone::UTC, "2026-11-20T00:00:00Z");
        for (zone, written, expected) in [
            (&utc, date("2026-11-20T17:48:00.476", None), "2026-11-20T17:48:00.476Z"),
            (&india, date("2026-11-20T17:48:00", None), "2026-11-20T12:18:00Z"),
            (&india, date("2026-11-20T17:48:00", Some(-60)), "2026-11-20T18:48:00Z"),
            (&india, Written::Unix(1_795_196_880_000), "2026-11-20T17:48:00Z"),
            (&utc, date("9999-11-20T17:48:00", None), "-"),
            (&utc, Written::Unix(-1), "-"),
            (&utc, Written::Unix(0), "-"),
            (&utc, Written::Unix(i64::MAX), "-"),
            (&utc, Written::Unix(i64::MIN), "-"),
        ] {
            assert_eq!(expected, moment(zone, written, None), "{written:?}");
        }
        assert_eq!((330, 0), (india.offset_minutes(0), utc.offset_minutes(0)));
    }

    #[test]
    fn a_year_that_is_left_out_is_that_of_the_lines_around() {
        let utc = zone(TimeZone::UTC, "2026-03-01T00:00:00Z");
        for (written, before, expected) in [
            ("1970-02-20T10:00:00", None, "2026-02-20T10:00:00Z"),
            ("1970-11-20T10:00:00", None, "2025-11-20T10:00:00Z"),
            ("1970-12-31T23:59:59", Some("2025-12-31T23:59:58Z"), "2025-12-31T23:59:59Z"),
            ("1970-01-01T00:00:01", Some("2025-12-31T23:59:59Z"), "2026-01-01T00:00:01Z"),
            ("1970-12-31T23:59:59", Some("2026-01-01T00:00:01Z"), "2025-12-31T23:59:59Z"),
        ] {
            assert_eq!(expected, moment(&utc, date(written, None), before), "{written} after {before:?}");
        }
        let leap = Written::Date(Civil {
            day: 29,
            month: 2,
            ..match date("1970-01-01T10:00:00", None) {
                Written::Date(date) => date,
                Written::Unix(_) => panic!("a date"),
            }
        });
        assert_eq!("-", moment(&utc, leap, None), "neither 2025 nor 2026 has this day");
        assert_eq!("2024-02-29T10:00:00Z", moment(&utc, leap, Some("2024-02-29T09:00:00Z")));
    }

    #[test]
    fn the_hour_that_comes_twice_goes_on() {
        let zone = zone(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(), "2026-11-20T00:00:00Z");
        for (written, before, expected) in [
            ("2026-07-01T12:00:00", None, "2026-07-01T10:00:00Z"),
            ("2026-12-01T12:00:00", None, "2026-12-01T11:00:00Z"),
            ("2026-10-25T02:30:00", None, "2026-10-25T00:30:00Z"),
            ("2026-10-25T02:30:00", Some("2026-10-25T00:29:59Z"), "2026-10-25T00:30:00Z"),
            ("2026-10-25T02:30:00", Some("2026-10-25T00:30:02Z"), "2026-10-25T00:30:00Z"),
            ("2026-10-25T02:00:00", Some("2026-10-25T00:59:59Z"), "2026-10-25T01:00:00Z"),
            ("2026-10-25T02:59:59", Some("2026-10-25T01:59:58Z"), "2026-10-25T01:59:59Z"),
            ("2026-03-29T02:30:00", None, "2026-03-29T01:30:00Z"),
        ] {
            assert_eq!(expected, moment(&zone, date(written, None), before), "{written} after {before:?}");
        }
        assert_eq!(
            (120, 60),
            (zone.offset_minutes(1_782_900_000_000), zone.offset_minutes(1_796_122_800_000))
        );
    }

    #[test]
    fn a_leap_needs_witnesses() {
        let many = |moment| std::iter::repeat_n(moment, WITNESSES);
        for (clock, later, expected) in [
            (Some(HOUR), vec![10 * HOUR, 9 * HOUR, 11 * HOUR], true),
            (Some(HOUR), vec![10 * HOUR, 9 * HOUR - 1], false),
            (Some(HOUR), vec![-HOUR, 10 * HOUR], true),
            (Some(HOUR), many(10 * HOUR).chain([HOUR]).collect(), true),
            (None, vec![10 * HOUR, 0, 10 * HOUR], true),
            (None, vec![10 * HOUR, 0, 0], false),
            (None, vec![], true),
        ] {
            assert_eq!(expected, is_borne_out(10 * HOUR, clock, later.iter().copied()), "{later:?}");
        }
    }
}
