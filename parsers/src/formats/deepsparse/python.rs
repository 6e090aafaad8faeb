//! Python values as `print` writes them, as far as a log of numbers needs them.

use crate::grammar::{Fail, Parsed, whole_number};
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::opt;
use nom::multi::separated_list0;
use nom::sequence::{delimited, separated_pair};

/// How deep dictionaries are looked into; what is deeper is no log of numbers.
const DEPTH: usize = 8;

/// A value.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// An integer or float; `True` and `False` are 1 and 0 to Python too.
    Number(f64),
    /// Keys and values. Escapes in keys stay as they are: no name can have them anyway.
    Dictionary(Vec<(&'a str, Self)>),
    /// A text, a list, `None`.
    Other,
}

/// The value that a whole text is; none where it is no value that this knows: a text without quotes, an array, a cut
/// number.
pub(super) fn value(text: &str) -> Option<Value<'_>> {
    any(text, 0).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, value)| value)
}

/// Calls `each` with the numbers below a dictionary, their keys joined to `parent` as the server joins them
/// (`unwrap_logged_value`).
pub(super) fn leaves(items: &[(&str, Value<'_>)], parent: &str, each: &mut dyn FnMut(&str, f64)) {
    for (key, value) in items {
        let identifier = || format!("{parent}__{key}");
        match value {
            Value::Number(value) => each(&identifier(), *value),
            Value::Dictionary(items) => leaves(items, &identifier(), each),
            Value::Other => {}
        }
    }
}

/// The text that stands under a key of a dictionary which may hold anything else beside it.
pub(super) fn text_of<'a>(dictionary: &'a str, key: &str) -> Option<&'a str> {
    dictionary.match_indices(key).find_map(|(at, _)| {
        let is_key = dictionary.get(..at)?.ends_with('\'');
        let rest = dictionary.get(at + key.len()..)?.strip_prefix("': ")?;
        let (_, text) = quoted(rest).ok()?;
        (is_key && !text.is_empty()).then_some(text)
    })
}

fn any(input: &str, depth: usize) -> Parsed<'_, Value<'_>> {
    if depth > DEPTH {
        return Err(nom::Err::Failure(Fail::new(input, "a value that nests less", crate::Reason::Malformed)));
    }
    alt((
        number.map(Value::Number),
        tag("True").map(|_| Value::Number(1.0)),
        tag("False").map(|_| Value::Number(0.0)),
        tag("None").map(|_| Value::Other),
        quoted.map(|_| Value::Other),
        |input| dictionary(input, depth),
        |input| list(input, depth),
    ))
    .parse(input)
}

/// A finite number; `nan` and `inf` would make a sum useless for good.
fn number(input: &str) -> Parsed<'_, f64> {
    let (rest, text) =
        take_while1(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E')).parse(input)?;
    match whole_number(text.as_bytes()).filter(|value| value.is_finite()) {
        Some(value) => Ok((rest, value)),
        None => Err(nom::Err::Error(Fail::new(input, "a number", crate::Reason::BadValue))),
    }
}

fn quoted(input: &str) -> Parsed<'_, &str> {
    let quote = if input.starts_with('"') { '"' } else { '\'' };
    let (text, _) = char(quote).parse(input)?;
    let mut is_escaped = false;
    let end = text.find(|c: char| {
        let is_end = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    let parts = end.and_then(|end| Some((text.get(end + 1..)?, text.get(..end)?)));
    parts.ok_or_else(|| nom::Err::Error(Fail::new(input, "a quote at the end", crate::Reason::Malformed)))
}

fn comma(input: &str) -> Parsed<'_, &str> {
    delimited(blanks, tag(","), blanks).parse(input)
}

fn blanks(input: &str) -> Parsed<'_, &str> {
    take_while(|c| c == ' ').parse(input)
}

fn dictionary(input: &str, depth: usize) -> Parsed<'_, Value<'_>> {
    let key = alt((quoted, take_while1(|c: char| c.is_ascii_digit())));
    let item = separated_pair(key, (char(':'), blanks), |input| any(input, depth + 1));
    delimited(char('{'), separated_list0(comma, item), char('}')).map(Value::Dictionary).parse(input)
}

fn list(input: &str, depth: usize) -> Parsed<'_, Value<'_>> {
    let items = |input| (separated_list0(comma, |input| any(input, depth + 1)), opt(char(','))).parse(input);
    alt((delimited(char('['), items, char(']')), delimited(char('('), items, char(')'))))
        .map(|_| Value::Other)
        .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart() {
        for (text, expected) in [
            ("1", Some(Value::Number(1.0))),
            ("-0.5", Some(Value::Number(-0.5))),
            ("1e-05", Some(Value::Number(1e-5))),
            ("True", Some(Value::Number(1.0))),
            ("None", Some(Value::Other)),
            ("'1.0'", Some(Value::Other)),
            ("[1, 2, 'a']", Some(Value::Other)),
            ("(1,)", Some(Value::Other)),
            ("{'a': 1, \"b'c\": {'d': 2.5}, 'e': 'f, g', 3: [1]}", {
                let inner = Value::Dictionary(vec![("d", Value::Number(2.5))]);
                let items =
                    vec![("a", Value::Number(1.0)), ("b'c", inner), ("e", Value::Other), ("3", Value::Other)];
                Some(Value::Dictionary(items))
            }),
            ("{}", Some(Value::Dictionary(Vec::new()))),
            ("a text", None),
            ("[[0.1 0.2]", None),
            ("nan", None),
            ("inf", None),
            ("0.1 | Additional In", None),
            ("", None),
        ] {
            assert_eq!(expected, value(text), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(None, value(&"[".repeat(100_000)));
        assert_eq!(None, value(&"{'a': ".repeat(10_000)));
    }

    #[test]
    fn keys_are_joined_as_the_server_joins_them() {
        let Some(Value::Dictionary(items)) = value("{'a': {'b': 1}, 'c': 2, 'd': None}") else { panic!() };
        let mut told = Vec::new();
        leaves(&items, "p", &mut |name, value| told.push((name.to_owned(), value)));
        assert_eq!(vec![("p__a__b".to_owned(), 1.0), ("p__c".to_owned(), 2.0)], told);
    }

    #[test]
    fn a_key_is_found_beside_others() {
        let find = |text| text_of(text, "pipeline_name");
        assert_eq!(Some("toy"), find(" | Additional Info: {'pipeline_name': 'toy'}"));
        assert_eq!(Some("t'y"), find("{'x': 1, 'pipeline_name': \"t'y\", 'z': array([1])}"));
        assert_eq!(None, find("{'pipeline_name': None}"));
        assert_eq!(None, find("{'my_pipeline_name': 'x'}"));
        assert_eq!(None, find("{}"));
    }
}
