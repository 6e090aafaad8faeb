//! Lists for people, `name: value unit, name: value unit, …`, as LLM servers print them.
//!
//! Items come, go and change places from version to version, so a list is read by the names in it. What the reader
//! does not know it passes over; what it knows but finds damaged it refuses, and then nothing of the line counts.

use crate::report::{About, Sink};
use crate::{Metric, ParseError, Reason};

/// A name with all that stands before the next name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    pub(crate) name: &'a str,
    /// `6392.1 tokens/s`, `76.2%`; commas and all where it is itself a list.
    pub(crate) value: &'a str,
}

/// The pairs of a list. A part without a colon belongs to the value before it.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = Pair<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // What stands before the first name is no pair.
        let (name, mut end, after) = loop {
            let (part, after) = rest.split_once(',').unwrap_or((rest, ""));
            if let Some(colon) = colon(part) {
                break (part.get(..colon)?, part.len(), part.get(colon + 1..)?);
            }
            if after.is_empty() {
                return None;
            }
            rest = after;
        };
        let whole = rest;
        let start = end - after.len();
        while let Some(next) = whole.get(end + 1..).filter(|next| !next.is_empty()) {
            let part = next.split_once(',').map_or(next, |(part, _)| part);
            if colon(part).is_some() {
                break;
            }
            end += 1 + part.len();
        }
        rest = whole.get(end + 1..).unwrap_or_default();
        Some(Pair { name: name.trim(), value: trim(whole.get(start..end)?) })
    })
}

/// Where the name of a part ends. Only a colon with a blank after it ends one.
fn colon(part: &str) -> Option<usize> {
    part.find(": ").or_else(|| part.strip_suffix(':').map(str::len))
}

/// Blanks, a dangling comma, and the full stop after a unit; the one after a digit is a sign of a cut number.
fn trim(value: &str) -> &str {
    let value = value.trim().trim_end_matches([',', ' ']);
    match value.strip_suffix('.') {
        Some(before) if !before.ends_with(|c: char| c.is_ascii_digit()) => before,
        _ => value,
    }
}

/// A number's text and what stands after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number<'a> {
    pub(crate) digits: &'a str,
    pub(crate) unit: &'a str,
}

impl<'a> Number<'a> {
    /// The number at the front of a text.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let text = text.trim_start();
        let bytes = text.as_bytes();
        let count = |from: usize| {
            bytes.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        let mut end = usize::from(bytes.first() == Some(&b'-'));
        let whole = count(end);
        end += whole;
        if whole == 0 {
            return None;
        }
        if bytes.get(end) == Some(&b'.') {
            let fraction = count(end + 1);
            if fraction == 0 {
                return None;
            }
            end += 1 + fraction;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = count(end + 1 + sign);
            end += if exponent > 0 { 1 + sign + exponent } else { 0 };
        }
        let (digits, unit) = text.split_at_checked(end)?;
        Some(Self { digits, unit: unit.trim() })
    }

    /// The number times ten to `power`: the double next to it, where a multiplication would round twice.
    pub(crate) fn shifted(self, power: i8) -> Option<f64> {
        let value = if power == 0 {
            self.digits.parse()
        } else if self.digits.contains(['e', 'E']) {
            self.digits.parse().map(|value: f64| value * 10_f64.powi(power.into()))
        } else {
            format!("{}e{power}", self.digits).parse()
        };
        value.ok().filter(|value: &f64| value.is_finite())
    }
}

/// What a server's list may hold: which name feeds which metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    /// The name in the list; after `* ` any first word is the name of a device.
    pub(crate) name: &'static str,
    /// What stands after the number; without it the number may be a cut one.
    pub(crate) unit: &'static str,
    /// The value is the number times ten to this power.
    pub(crate) power: i8,
    pub(crate) metric: &'static Metric<'static>,
}

impl Item {
    fn is(&self, name: &str) -> bool {
        match self.name.strip_prefix("* ") {
            Some(rest) => name.split_once(' ').map_or(name, |(_, after)| after) == rest,
            None => self.name == name,
        }
    }

    /// The value; none where the server had nothing to divide by (`nan`).
    fn value(&self, record: &str, text: &str) -> Result<Option<f64>, ParseError> {
        if is_nothing(text) {
            return Ok(None);
        }
        let number = Number::read(text).filter(|number| number.unit == self.unit);
        match number.and_then(|number| number.shifted(self.power)) {
            Some(value) => Ok(Some(value)),
            None => Err(damaged(record, text, "a number with the unit of its name")),
        }
    }
}

/// Whether a value says that there is none.
pub(crate) fn is_nothing(text: &str) -> bool {
    let word = text.split([' ', '%']).next().unwrap_or_default();
    let word = word.trim_start_matches('-');
    ["nan", "inf", "none", "n/a"].iter().any(|nothing| word.eq_ignore_ascii_case(nothing))
}

/// An error at a part of the record.
pub(crate) fn damaged(record: &str, part: &str, expected: &'static str) -> ParseError {
    let offset = (part.as_ptr() as usize).checked_sub(record.as_ptr() as usize);
    ParseError::new(Reason::Malformed, expected, offset.filter(|at| *at <= record.len()).unwrap_or(0))
}

/// Tells the values of all items that the table knows.
///
/// # Errors
///
/// If one of them is damaged, or none is there; nothing is told then.
pub(crate) fn tell(
    record: &str,
    list: &str,
    table: &[Item],
    about: &About<'_>,
    sink: Sink<'_>,
) -> Result<(), ParseError> {
    check(record, list, table)?;
    each(record, list, table, &mut |item, value| about.tell(sink, item.metric, value))
}

/// Whether [`tell`] would tell something.
pub(crate) fn check(record: &str, list: &str, table: &[Item]) -> Result<(), ParseError> {
    let is_known = |pair: Pair<'_>| table.iter().any(|item| item.is(pair.name));
    if !pairs(list).any(is_known) {
        return Err(damaged(record, list, "<name>: <number> <unit>, …"));
    }
    each(record, list, table, &mut |_, _| {})
}

fn each(
    record: &str,
    list: &str,
    table: &[Item],
    take: &mut dyn FnMut(&Item, f64),
) -> Result<(), ParseError> {
    for pair in pairs(list) {
        if let Some(item) = table.iter().find(|item| item.is(pair.name))
            && let Some(value) = item.value(record, pair.value)?
        {
            take(item, value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "bit-exact values are the claim")]
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<(&str, &str)> {
        pairs(text).map(|pair| (pair.name, pair.value)).collect()
    }

    #[test]
    fn a_list_inside_the_list_is_one_value() {
        let text = "Decode batch, Drafted: 294 tokens, Rates: 0.765, 0.490, 0.224, KV fetch: 3 waiting to start, 4 in progress, Avg rate: 49.3%";
        let expected = [
            ("Drafted", "294 tokens"),
            ("Rates", "0.765, 0.490, 0.224"),
            ("KV fetch", "3 waiting to start, 4 in progress"),
            ("Avg rate", "49.3%"),
        ];
        assert_eq!(expected, *split(text));
    }

    #[test]
    fn dangling_ends_are_no_part_of_a_value() {
        assert_eq!([("a", "0.0%"), ("b", "1")], *split("a: 0.0%, b: 1, "));
        assert_eq!([("CPU KV cache usage", "0.0%")], *split("CPU KV cache usage: 0.0%."));
        assert_eq!([("a", "5.")], *split("a: 5."));
        assert_eq!([("a", "")], *split("a:"));
        assert!(split(", ,,").is_empty() && split("").is_empty() && split("no pair, at all").is_empty());
    }

    #[test]
    fn a_number_is_read_whole_or_not_at_all() {
        let read = |text| Number::read(text).map(|number| (number.digits, number.unit));
        assert_eq!(Some(("76.2", "%")), read("76.2%"));
        assert_eq!(Some(("-1e-05", "")), read(" -1e-05"));
        assert_eq!(Some(("3", "eggs")), read("3 eggs"));
        assert_eq!(None, read("5."));
        assert_eq!(None, read("True"));
        assert_eq!(Some(0.073), Number::read("7.3%").and_then(|number| number.shifted(-2)));
        assert_eq!(Some(0.08306), Number::read("83.06 ms").and_then(|number| number.shifted(-3)));
    }

    proptest! {
        #[test]
        fn any_text_has_an_end(text in ".{0,80}") {
            prop_assert!(pairs(&text).count() <= text.len());
            Number::read(&text);
        }

        #[test]
        fn items_are_found_wherever_they_stand(mut order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(), keep in 0..6_usize) {
            order.truncate(keep);
            let names = ["Running", "Waiting", "GPU KV cache usage", "Deferred", "Rates", "new item (x/y)"];
            let values = ["1 reqs", "2 reqs", "3.5%", "4 reqs", "0.1, 0.2", "None"];
            let text: Vec<String> = order.iter().map(|at| format!("{}: {}", names[*at], values[*at])).collect();
            let text = text.join(", ");
            let expected: Vec<_> = order.iter().map(|at| (names[*at], values[*at])).collect();
            prop_assert_eq!(expected, split(&text));
        }
    }
}
