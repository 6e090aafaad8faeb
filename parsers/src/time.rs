//! Dates and times as model servers write them.
//!
//! None of these shapes but the one of RFC 3339 tells its zone, two leave the year out. What a line does not tell
//! stays open here: a year of 0, an offset of `None`.

use crate::Reason;
use crate::grammar::{Fail, Parsed};
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while_m_n};
use nom::character::complete::{char, one_of};
use nom::combinator::{map_res, opt, verify};
use nom::sequence::preceded;

/// A date and time of some clock, without a zone unless the text names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year, four digits; 0 where the text leaves it out.
    pub year: i16,
    /// Month, 1 to 12.
    pub month: i8,
    /// Day, 1 to 31; not checked against the month.
    pub day: i8,
    /// Hour, 0 to 23.
    pub hour: i8,
    /// Minute, 0 to 59.
    pub minute: i8,
    /// Second, 0 to 60.
    pub second: i8,
    /// Millisecond, 0 to 999.
    pub millisecond: i16,
    /// Minutes east of UTC, where the text tells (`Z`, `+02:00`).
    pub offset_minutes: Option<i16>,
}

fn digits<'a, T: std::str::FromStr + PartialOrd>(
    count: usize,
    range: std::ops::RangeInclusive<T>,
) -> impl Parser<&'a str, Output = T, Error = Fail<'a>> {
    verify(
        map_res(take_while_m_n(count, count, |c: char| c.is_ascii_digit()), str::parse),
        move |value: &T| range.contains(value),
    )
}

/// `2026-11-20T17:48:00,476`, also with a blank, a `.`, no fraction, `Z`, `+0200` or `+02:00`: the time
/// formats of log4j2's `%d` that people use.
pub(crate) fn civil(input: &str) -> Parsed<'_, Civil> {
    let separator = |input| one_of("-/").parse(input);
    let (input, (year, _, month, _, day)) =
        (digits(4, 1970..=9999), separator, digits(2, 1..=12), separator, digits(2, 1..=31)).parse(input)?;
    let (input, _) = one_of("T ").parse(input)?;
    clock(input, (year, month, day))
}

/// The time of a day, to the second or finer, with a zone or without.
fn clock(input: &str, (year, month, day): (i16, i8, i8)) -> Parsed<'_, Civil> {
    let (input, (hour, _, minute, _, second)) =
        (digits(2, 0..=23), char(':'), digits(2, 0..=59), char(':'), digits(2, 0..=60)).parse(input)?;
    let (input, millisecond) = opt(preceded(one_of(",.:"), fraction)).parse(input)?;
    let (input, offset_minutes) = opt(zone).parse(input)?;
    let millisecond = millisecond.unwrap_or(0);
    Ok((input, Civil { year, month, day, hour, minute, second, millisecond, offset_minutes }))
}

/// `20/11/2026 17:50:06:475835`: DeepSparse's, the day first, and the fraction after a colon.
pub(crate) fn day_first(input: &str) -> Parsed<'_, Civil> {
    let (input, (day, _, month, _, year, _)) =
        (digits(2, 1..=31), char('/'), digits(2, 1..=12), char('/'), digits(4, 1970..=9999), char(' '))
            .parse(input)?;
    clock(input, (year, month, day))
}

/// `11-20 20:40:20`: vLLM's, without a year.
pub(crate) fn month_first(input: &str) -> Parsed<'_, Civil> {
    let (input, (month, _, day, _)) =
        (digits(2, 1..=12), char('-'), digits(2, 1..=31), char(' ')).parse(input)?;
    clock(input, (0, month, day))
}

/// `2026/11/20 - 12:00:13`: gin's.
pub(crate) fn with_dash(input: &str) -> Parsed<'_, Civil> {
    let (input, (year, _, month, _, day, _)) =
        (digits(4, 1970..=9999), char('/'), digits(2, 1..=12), char('/'), digits(2, 1..=31), tag(" - "))
            .parse(input)?;
    clock(input, (year, month, day))
}

/// `I1120 18:00:00.123456`: klog's and glog's level, month and day, without a year.
pub(crate) fn klog(input: &str) -> Parsed<'_, Civil> {
    let (input, (_, month, day, _)) =
        (one_of("IWEFD"), digits(2, 1..=12), digits(2, 1..=31), char(' ')).parse(input)?;
    clock(input, (0, month, day))
}

/// `20/Nov/2026:18:00:00 +0000`: the common log format's.
pub(crate) fn common_log(input: &str) -> Parsed<'_, Civil> {
    let (input, (day, _, month, _, year, _)) =
        (digits(2, 1..=31), char('/'), month, char('/'), digits(4, 1970..=9999), char(':')).parse(input)?;
    let (input, time) = clock(input, (year, month, day))?;
    let (input, offset) = opt(preceded(char(' '), zone)).parse(input)?;
    Ok((input, Civil { offset_minutes: time.offset_minutes.or(offset), ..time }))
}

/// `Nov 20 18:00:00`: syslog's, without a year.
pub(crate) fn month_name(input: &str) -> Parsed<'_, Civil> {
    let (input, (month, _)) = (month, char(' ')).parse(input)?;
    let one = preceded(char(' '), digits(1, 1..=9));
    let (input, (day, _)) = (alt((digits(2, 1..=31), one)), char(' ')).parse(input)?;
    clock(input, (0, month, day))
}

/// `I1120 18:00:00.123456` and `I20261120 18:00:00.123456`: glog's, with the year since 0.5.
pub(crate) fn glog(input: &str) -> Parsed<'_, Civil> {
    let with_year = |input| {
        let (input, (_, year, month, day, _)) =
            (one_of("IWEFD"), digits(4, 1970..=9999), digits(2, 1..=12), digits(2, 1..=31), char(' '))
                .parse(input)?;
        clock(input, (year, month, day))
    };
    alt((klog, with_year)).parse(input)
}

fn month(input: &str) -> Parsed<'_, i8> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (rest, name) = take_while_m_n(3, 3, |c: char| c.is_ascii_alphabetic())(input)?;
    match (1..).zip(MONTHS).find(|(_, known)| *known == name) {
        Some((month, _)) => Ok((rest, month)),
        None => Err(nom::Err::Error(Fail::new(input, "a month", Reason::NotAMetric))),
    }
}

/// A time in whichever of the shapes above that stand in servers' own lines.
pub(crate) fn any(input: &str) -> Parsed<'_, Civil> {
    alt((civil, with_dash, day_first, month_first, klog)).parse(input)
}

/// The UTC time of nanoseconds since 1970.
pub(crate) fn of_unix(nanoseconds: u64) -> Option<Civil> {
    const DAY: u64 = 86_400_000;
    let milliseconds = nanoseconds / 1_000_000;
    let (year, month, day) = date(milliseconds / DAY)?;
    let narrow = |value: u64| i8::try_from(value).ok();
    Some(Civil {
        year,
        month,
        day,
        hour: narrow(milliseconds % DAY / 3_600_000)?,
        minute: narrow(milliseconds / 60_000 % 60)?,
        second: narrow(milliseconds / 1000 % 60)?,
        millisecond: i16::try_from(milliseconds % 1000).ok()?,
        offset_minutes: Some(0),
    })
}

/// The date of a day since 1970. Years are counted from March, so that a leap day is the last of its year, and from
/// the year 0, so that 400 of them always have the same days.
fn date(day: u64) -> Option<(i16, i8, i8)> {
    const DAYS_TO_1970: u64 = 719_468;
    let day = day + DAYS_TO_1970;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = i16::try_from(era * 400 + year + next_year).ok().filter(|year| *year <= 9999)?;
    Some((year, i8::try_from(month).ok()?, i8::try_from(day).ok()?))
}

/// The digits after the seconds, cut to milliseconds (log4j2 can print nanoseconds).
fn fraction(input: &str) -> Parsed<'_, i16> {
    let (rest, text) = take_while_m_n(1, 9, |c: char| c.is_ascii_digit())(input)?;
    let mut value = 0;
    for place in 0..3 {
        let digit = text.as_bytes().get(place).map_or(0, |byte| i16::from(byte - b'0'));
        value = value * 10 + digit;
    }
    Ok((rest, value))
}

fn zone(input: &str) -> Parsed<'_, i16> {
    let numeric = |input| {
        let (input, (sign, hours, _, minutes)) =
            (one_of("+-"), digits(2, 0i16..=18), opt(char(':')), opt(digits(2, 0i16..=59))).parse(input)?;
        let offset = hours * 60 + minutes.unwrap_or(0);
        Ok((input, if sign == '-' { -offset } else { offset }))
    };
    alt((char('Z').map(|_| 0), numeric)).parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_all_their_shapes() {
        let plain = civil("2026-11-20T17:48:00,476 - x").map(|(rest, time)| (rest, time.millisecond));
        assert_eq!(Ok((" - x", 476)), plain);
        for (text, offset) in [
            ("2026-11-20 17:56:26.887", None),
            ("2026-11-20T17:56:46.204Z", Some(0)),
            ("2026-11-20T17:56:46,204+02:00", Some(120)),
            ("2026-11-20T17:56:46.204123-0330", Some(-210)),
            ("2026/11/20 17:56:46", None),
        ] {
            assert_eq!(
                Ok(("", offset)),
                civil(text).map(|(rest, time)| (rest, time.offset_minutes)),
                "{text}"
            );
        }
        assert!(civil("2026-13-20T17:48:00").is_err());
    }

    #[test]
    fn nanoseconds_since_1970_are_a_date() {
        let read = |nanoseconds| {
            of_unix(nanoseconds).map(|time| (time.year, time.month, time.day, time.hour, time.second))
        };
        assert_eq!(Some((1970, 1, 1, 0, 0)), read(0));
        assert_eq!(Some((2000, 2, 29, 23, 59)), read(951_868_799_000_000_000));
        assert_eq!(Some((2024, 3, 1, 0, 1)), read(1_709_251_201_999_999_999));
        assert_eq!(Some((2026, 11, 20, 17, 48)), read(1_795_197_048_736_428_172));
        assert!(read(u64::MAX).is_some());
    }

    #[test]
    fn every_servers_shape_is_read() {
        let (whole, half) = ((2026, 11, 20), (0, 11, 20));
        for (text, date, clock) in [
            ("2026-11-20T17:42:44+0000", whole, (17, 42, 44, 0)),
            ("2026-11-20T17:54:57.570722Z", whole, (17, 54, 57, 570)),
            ("2026-11-20T12:00:13.407Z", whole, (12, 0, 13, 407)),
            ("20/11/2026 17:50:06:475835", whole, (17, 50, 6, 475)),
            ("11-20 20:40:20", half, (20, 40, 20, 0)),
            ("2026-11-20 18:07:15.247", whole, (18, 7, 15, 247)),
            ("2026-11-20 17:48:57,841", whole, (17, 48, 57, 841)),
            ("2026-11-20 19:00:05", whole, (19, 0, 5, 0)),
            ("2026/11/20 - 12:00:13", whole, (12, 0, 13, 0)),
            ("I1120 18:00:00.123456", half, (18, 0, 0, 123)),
        ] {
            let (rest, time) = any(text).unwrap();
            assert_eq!("", rest, "{text}");
            assert_eq!(date, (time.year, time.month, time.day), "{text}");
            assert_eq!(clock, (time.hour, time.minute, time.second, time.millisecond), "{text}");
        }
        for text in ["31-12 25:00:00", "20/13/2026 17:50:06", "1120 18:00:00", "12:00:13", ""] {
            assert!(any(text).is_err(), "{text}");
        }
    }
}
