//! The nom pieces that formats share: expectations with a place, numbers, colours; times stand in `time`.

use crate::{ParseError, Reason};
use memchr::{memchr_iter, memrchr};
use nom::bytes::complete::{tag, take_while};
use nom::character::complete::char;
use nom::combinator::recognize;
use nom::error::{ErrorKind, ParseError as NomError};
use nom::{IResult, Parser};

/// A failed expectation inside a record; becomes a [`ParseError`] once the record's start is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fail<'a> {
    at: &'a str,
    expected: &'static str,
    reason: Reason,
}

impl<'a> NomError<&'a str> for Fail<'a> {
    fn from_error_kind(at: &'a str, _: ErrorKind) -> Self {
        Self { at, expected: "a metric", reason: Reason::NotAMetric }
    }

    fn append(_: &'a str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

impl<'a, E> nom::error::FromExternalError<&'a str, E> for Fail<'a> {
    fn from_external_error(at: &'a str, kind: ErrorKind, _: E) -> Self {
        Self::from_error_kind(at, kind)
    }
}

pub use crate::time::Civil;
pub(crate) use crate::time::civil;

/// What a piece of grammar returns.
pub(crate) type Parsed<'a, T> = IResult<&'a str, T, Fail<'a>>;

impl<'a> Fail<'a> {
    pub(crate) const fn new(at: &'a str, expected: &'static str, reason: Reason) -> Self {
        Self { at, expected, reason }
    }

    /// The error with its column in `record`, of which the place is a part.
    pub(crate) fn in_record(self, record: &str) -> ParseError {
        let offset = (self.at.as_ptr() as usize).checked_sub(record.as_ptr() as usize);
        let offset = offset.filter(|&offset| offset <= record.len()).unwrap_or(0);
        ParseError::new(self.reason, self.expected, offset)
    }
}

/// Runs `parser` and, where it fails, says what was expected at the place where it began.
pub(crate) fn expect<'a, T>(
    expected: &'static str,
    reason: Reason,
    mut parser: impl Parser<&'a str, Output = T, Error = Fail<'a>>,
) -> impl FnMut(&'a str) -> Parsed<'a, T> {
    move |input| parser.parse(input).map_err(|error| error.map(|_| Fail::new(input, expected, reason)))
}

/// The result of a finished parse, or the error with its column in `record`.
pub(crate) fn finish<'a, T>(record: &str, result: Parsed<'a, T>) -> Result<T, ParseError> {
    match result {
        Ok((_, value)) => Ok(value),
        Err(nom::Err::Error(fail) | nom::Err::Failure(fail)) => Err(fail.in_record(record)),
        Err(nom::Err::Incomplete(_)) => {
            Err(ParseError::new(Reason::Malformed, "a whole record", record.len()))
        }
    }
}

/// The text before the next `|#`, which ends each part of a metric line.
pub(crate) fn until_mark(input: &str) -> Parsed<'_, &str> {
    let bytes = input.as_bytes();
    let mut bars = memchr_iter(b'|', bytes).filter(|at| bytes.get(at + 1) == Some(&b'#'));
    let parts = bars.next().and_then(|at| Some((input.get(at..)?, input.get(..at)?)));
    parts.ok_or_else(|| nom::Err::Error(Fail::new(input, "\"|#\"", Reason::NotAMetric)))
}

/// A number as Java's `Double.toString` or Python prints it: `1`, `1.0`, `1.0E7`, `-0.0`, `4.9E-324`,
/// `Infinity`, `-Infinity`, `NaN`. Never hexadecimal, never with a locale's comma.
pub(crate) fn number(input: &str) -> Parsed<'_, f64> {
    let (rest, text) =
        take_while(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | ','))(input)?;
    let plain = text.strip_prefix('-').unwrap_or(text);
    let value = match plain {
        "Infinity" => Some(f64::INFINITY),
        "NaN" => Some(f64::NAN),
        // Java writes `Infinity`; digits that overflow are no number of a server.
        digits if is_decimal(digits) => digits.parse::<f64>().ok().filter(|value| value.is_finite()),
        _ => None,
    };
    match value {
        Some(value) if text.len() > plain.len() => Ok((rest, -value)),
        Some(value) => Ok((rest, value)),
        None => Err(nom::Err::Error(Fail::new(input, "a number as Java prints it", Reason::BadValue))),
    }
}

/// The number that a whole text is, as Java or Python print it.
pub fn whole_number(text: &[u8]) -> Option<f64> {
    short_number(text).or_else(|| {
        let (rest, value) = number(std::str::from_utf8(text).ok()?).ok()?;
        rest.is_empty().then_some(value)
    })
}

/// A number of at most 15 digits, perhaps with a dot between them: both the digits and the power of ten are
/// whole doubles then, so one division rounds as the format demands (Clinger, 1990).
fn short_number(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let mut digits = 0_u32;
    let mut whole = 0_u64;
    let mut dot = None;
    for byte in text.get(..text.len().min(17))? {
        match byte {
            b'0'..=b'9' => {
                whole = whole * 10 + u64::from(byte - b'0');
                digits += 1;
            }
            b'.' if dot.is_none() && digits > 0 => dot = Some(digits),
            _ => return None,
        }
    }
    let fraction = digits - dot.unwrap_or(digits);
    let is_short = text.len() <= 16 && (1..=15).contains(&digits) && (dot.is_none() || fraction > 0);
    #[allow(clippy::cast_precision_loss, reason = "below 10^15, a double holds it")]
    is_short.then(|| Some(whole as f64 / POWERS.get(fraction as usize)?))?
}

/// The seconds of a number of milliseconds. The decimal point moves before the number is read: a double that was
/// rounded once is not always the nearest one after a division.
pub(crate) fn milliseconds(text: &str) -> Option<f64> {
    let seconds = if text.contains(['e', 'E']) {
        whole_number(text.as_bytes())? / 1000.0
    } else {
        whole_number(format!("{text}e-3").as_bytes())?
    };
    seconds.is_finite().then_some(seconds)
}

/// Rust's own float reader also knows `inf`, `infinity` and a leading `+`; these are not in a log.
fn is_decimal(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+'))
}

/// One ANSI colour sequence (`ESC [ … m`), as log4j2's `%highlight` and `%style` put around a line.
fn colour(input: &str) -> Parsed<'_, &str> {
    recognize((tag("\x1b["), take_while(|c: char| c.is_ascii_digit() || c == ';'), char('m'))).parse(input)
}

/// The text after any colours at its front.
pub(crate) fn skip_colours(mut input: &str) -> &str {
    while let Ok((rest, _)) = colour(input) {
        input = rest;
    }
    input
}

/// The text without any colours at its end.
pub(crate) fn trim_colours(mut input: &str) -> &str {
    while let Some(at) = memrchr(b'\x1b', input.as_bytes()) {
        match input.get(at..).map(colour) {
            Some(Ok(("", _))) => input = input.get(..at).unwrap_or_default(),
            _ => break,
        }
    }
    input
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "bit-exact values are the claim")]
    use super::*;

    #[test]
    fn numbers_are_those_of_java_and_python() {
        for (text, expected) in [
            ("1", 1.0),
            ("0.30000000000000004", 0.300_000_000_000_000_04),
            ("1.0E7", 1e7),
            ("9.9E-4", 9.9e-4),
            ("4.9E-324", 5e-324),
            ("1e-05", 1e-5),
            ("-3.5", -3.5),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(Ok(("", expected)), number(text), "{text}");
        }
        assert!(number("-0.0").is_ok_and(|(_, value)| value.is_sign_negative()));
        assert!(number("NaN").is_ok_and(|(_, value)| value.is_nan()));
    }

    #[test]
    fn short_numbers_are_read_as_all_others() {
        for text in [
            "0",
            "1",
            "1.0",
            "0.1",
            "123456789012345",
            "1234567.12345678",
            "999999999999999",
            "0.000000000000001",
            "12345678901234567",
            "1.",
            ".5",
            "1..2",
            "",
            "-1",
            "1e3",
            "00012.50",
        ] {
            let expected =
                number(text).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, value)| value.to_bits());
            assert_eq!(expected, whole_number(text.as_bytes()).map(f64::to_bits), "{text}");
        }
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let places = (seed >> 60) as usize;
            let text = format!("{:.places$}", (seed >> 20) as f64 / 1e9);
            assert_eq!(text.parse::<f64>().ok(), whole_number(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn milliseconds_are_the_nearest_seconds() {
        for (text, seconds) in [
            ("4.317", Some(0.004_317)),
            ("7.595", Some(0.007_595)),
            ("0", Some(0.0)),
            ("-1.5", Some(-0.0015)),
            ("1e-05", Some(1e-8)),
            ("NaN", None),
            ("Infinity", None),
            ("", None),
            ("1ms", None),
        ] {
            assert_eq!(seconds, milliseconds(text), "{text}");
        }
        assert_ne!(0.004_317, 4.317 / 1000.0);
    }

    #[test]
    fn what_java_never_prints_is_no_number() {
        for text in [
            "", "-", "+7", "1,234", "inf", "nan", "infinity", "0x10", "1.2.3", "1e", "None", " 5", "--1",
            "e5",
        ] {
            assert!(number(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn colours_are_cut_at_both_ends_and_nowhere_else() {
        assert_eq!("a\x1b[1mb", trim_colours(skip_colours("\x1b[32m\x1b[1ma\x1b[1mb\x1b[m")));
    }
}
