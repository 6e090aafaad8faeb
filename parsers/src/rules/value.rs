//! Numbers out of matched text, in the metric's unit.

use super::field::{Found, Text};
use crate::grammar::whole_number;
use crate::{ParseError, Quantity, Reason, Unit};

/// What servers write where they have no value: nginx, JSON, Python and Go encoders, and rates of nothing.
const NONE: [&str; 7] = ["", "-", "null", "None", "nil", "nan", "NaN"];

/// Most parts of a duration: `1h2m3.5s` has three.
const PARTS: usize = 8;

/// How a number becomes one of the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The number's unit, unless the text names one itself; it becomes the other one.
    pub unit: Option<(Unit, Unit)>,
    /// What the number is multiplied with.
    pub factor: f64,
}

impl Default for Scale {
    fn default() -> Self {
        Self { unit: None, factor: 1.0 }
    }
}

/// The value that a metric takes of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Always the same.
    Constant(f64),
    /// A number in the line.
    Text(Text, Scale),
}

impl Value {
    /// The number; `None` where the line has none.
    pub(super) fn of(&self, found: &Found<'_>, line: &str) -> Result<Option<f64>, ParseError> {
        let (text, scale) = match self {
            Self::Constant(value) => return Ok(Some(*value)),
            Self::Text(text, scale) => (text, scale),
        };
        let Some(text) = text.of(found).map(str::trim).filter(|text| !NONE.contains(text)) else {
            return Ok(None);
        };
        let wrong =
            || ParseError::new(Reason::BadValue, "a number, or one with its unit", offset(text, line));
        scale.read(text).map(Some).ok_or_else(wrong)
    }

    pub(super) const fn is_group(&self) -> bool {
        matches!(self, Self::Text(text, _) if text.is_group())
    }
}

impl Scale {
    /// A number in the metric's unit.
    pub fn of(self, number: f64) -> f64 {
        self.unit.map_or(number, |(unit, to)| unit.convert(number, to)) * self.factor
    }

    /// A number, or one with its unit (`12.5ms`, `9.4 %`), or several parts of a duration (`1m2.5s`).
    fn read(self, text: &str) -> Option<f64> {
        if let Some(bare) = whole_number(text.as_bytes()) {
            return Some(self.of(bare));
        }
        let (unit, to) = self.unit?;
        let (mut rest, mut sum) = (text, 0.0);
        for _ in 0..PARTS {
            let (part, behind) = rest.split_at_checked(number_length(rest))?;
            let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
            let (word, after) = behind.split_at_checked(end)?;
            sum += named(word.trim(), unit.quantity)?.convert(whole_number(part.as_bytes())?, to);
            if after.is_empty() {
                return Some(sum * self.factor);
            }
            rest = after;
        }
        None
    }
}

/// How much of a text is a number: digits and points, an exponent with its digits.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is_part = |at: usize, byte: u8| match byte {
        b'0'..=b'9' | b'.' => true,
        b'-' => {
            at == 0 || (is_digit(at + 1) && bytes.get(at - 1).is_some_and(|byte| matches!(byte, b'e' | b'E')))
        }
        b'e' | b'E' => is_digit(at + 1) || (bytes.get(at + 1) == Some(&b'-') && is_digit(at + 2)),
        _ => false,
    };
    bytes.iter().enumerate().position(|(at, byte)| !is_part(at, *byte)).unwrap_or(bytes.len())
}

/// A unit of this quantity. Go writes a minute as `m`.
fn named(word: &str, quantity: Quantity) -> Option<Unit> {
    let word = if word == "m" && quantity == Quantity::Time { "min" } else { word };
    Unit::parse(word).filter(|unit| unit.quantity == quantity && !word.is_empty())
}

/// Where a text begins in the line that it may be a part of.
fn offset(text: &str, line: &str) -> usize {
    let offset = (text.as_ptr() as usize).checked_sub(line.as_ptr() as usize);
    offset.filter(|offset| *offset <= line.len()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "bit-exact values are the claim")]
    use super::*;

    fn read(unit: Option<(&str, &str)>, text: &str) -> Option<f64> {
        let unit = unit.map(|(from, to)| (Unit::parse(from).unwrap(), Unit::parse(to).unwrap()));
        Scale { unit, factor: 1.0 }.read(text)
    }

    #[test]
    fn units_are_converted_to_the_nearest_double() {
        for (unit, text, expected) in [
            (None, "12.5", Some(12.5)),
            (None, "12.5ms", None),
            (Some(("ms", "s")), "3", Some(0.003)),
            (Some(("us", "ms")), "1234567", Some(1234.567)),
            (Some(("ms", "s")), "3.5s", Some(3.5)),
            (Some(("s", "s")), "1h2m3.5s", Some(3723.5)),
            (Some(("ms", "s")), "12.5 ms", Some(0.0125)),
            (Some(("percent", "percent")), "9.4%", Some(9.4)),
            (Some(("ms", "s")), "1.5e-2s", Some(0.015)),
            (Some(("ms", "s")), "-2", Some(-0.002)),
            (Some(("ms", "s")), "3 bananas", None),
            (Some(("ms", "s")), "3 MB", None),
            (Some(("ms", "s")), "3m4", None),
            (Some(("ms", "s")), "s", None),
        ] {
            assert_eq!(expected, read(unit, text), "{unit:?} {text}");
        }
    }
}
