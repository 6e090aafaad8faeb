//! A JSON value as log layouts write it: borrowed where no escape stands in the way.

use crate::Reason;
use crate::grammar::{Fail, Parsed};
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::{cut, value};
use nom::multi::separated_list0;
use nom::sequence::{delimited, separated_pair};
use std::borrow::Cow;

/// Log events are flat; what nests deeper is hostile or not a log event.
const DEPTH: usize = 8;

/// A parsed JSON value; numbers stay text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl<'a> Json<'a> {
    /// The text of a string or number member of an object.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.member(key)? {
            Json::Text(text) => Some(text),
            Json::Number(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list member of an object.
    pub(crate) fn list(&self, key: &str) -> Option<&[Self]> {
        match self.member(key)? {
            Json::List(items) => Some(items),
            _ => None,
        }
    }

    /// A member of an object.
    pub(crate) fn member(&self, key: &str) -> Option<&Self> {
        match self {
            Json::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// All strings of the value, at any depth.
    pub(crate) fn texts(&self) -> Vec<&str> {
        match self {
            Json::Text(text) => vec![text],
            Json::List(items) => items.iter().flat_map(Json::texts).collect(),
            Json::Object(members) => members.iter().flat_map(|(_, value)| value.texts()).collect(),
            Json::Null | Json::Bool(_) | Json::Number(_) => Vec::new(),
        }
    }
}

/// The object that a whole line is; none where it is text, which may follow in the same file.
pub(crate) fn line(line: &str) -> Option<Json<'_>> {
    if !line.starts_with('{') {
        return None;
    }
    object(line).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, json)| json)
}

/// A JSON object with blanks around it.
pub(crate) fn object(input: &str) -> Parsed<'_, Json<'_>> {
    delimited(blanks, |input| members(input, 0), blanks).parse(input)
}

fn blanks(input: &str) -> Parsed<'_, &str> {
    take_while(|c: char| matches!(c, ' ' | '\t' | '\r' | '\n')).parse(input)
}

fn any(input: &str, depth: usize) -> Parsed<'_, Json<'_>> {
    if depth > DEPTH {
        return Err(nom::Err::Failure(Fail::new(input, "a JSON value that nests less", Reason::Malformed)));
    }
    let scalar = alt((
        string.map(Json::Text),
        value(Json::Null, tag("null")),
        value(Json::Bool(true), tag("true")),
        value(Json::Bool(false), tag("false")),
        take_while1(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'))
            .map(Json::Number),
    ));
    delimited(blanks, alt((scalar, |i| members(i, depth), |i| list(i, depth))), blanks).parse(input)
}

fn list(input: &str, depth: usize) -> Parsed<'_, Json<'_>> {
    delimited((char('['), blanks), separated_list0(char(','), |i| any(i, depth + 1)), char(']'))
        .map(Json::List)
        .parse(input)
}

fn members(input: &str, depth: usize) -> Parsed<'_, Json<'_>> {
    let pair = separated_pair(delimited(blanks, string, blanks), char(':'), |i| any(i, depth + 1));
    delimited((char('{'), blanks), separated_list0(char(','), pair), char('}')).map(Json::Object).parse(input)
}

fn string(input: &str) -> Parsed<'_, Cow<'_, str>> {
    let (mut rest, _) = char('"').parse(input)?;
    let mut text = Cow::Borrowed("");
    loop {
        let (after, plain) = take_while(|c| c != '"' && c != '\\').parse(rest)?;
        if text.is_empty() {
            text = Cow::Borrowed(plain);
        } else {
            text.to_mut().push_str(plain);
        }
        let (after, end) = nom::character::complete::anychar(after)?;
        if end == '"' {
            return Ok((after, text));
        }
        let (after, escaped) = cut(escape).parse(after)?;
        text.to_mut().push(escaped);
        rest = after;
    }
}

/// The character that an escape after its backslash stands for (RFC 8259 §7).
fn escape(input: &str) -> Parsed<'_, char> {
    let (rest, letter) = nom::character::complete::anychar(input)?;
    let plain = match letter {
        '"' | '\\' | '/' => letter,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(rest),
        _ => return Err(nom::Err::Error(Fail::new(input, "a JSON escape", Reason::Malformed))),
    };
    Ok((rest, plain))
}

fn unicode(input: &str) -> Parsed<'_, char> {
    let (rest, first) = hex4(input)?;
    let lone = char::from_u32(u32::from(first));
    if let Some(whole) = lone {
        return Ok((rest, whole));
    }
    let low = rest.strip_prefix("\\u").and_then(|text| hex4(text).ok());
    match low {
        Some((after, second)) => match char::decode_utf16([first, second]).next() {
            Some(Ok(whole)) => Ok((after, whole)),
            _ => Ok((rest, char::REPLACEMENT_CHARACTER)),
        },
        None => Ok((rest, char::REPLACEMENT_CHARACTER)),
    }
}

fn hex4(input: &str) -> Parsed<'_, u16> {
    let digits = input.get(..4).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    match digits.and_then(|text| u16::from_str_radix(text, 16).ok()) {
        Some(unit) => Ok((input.get(4..).unwrap_or_default(), unit)),
        None => Err(nom::Err::Error(Fail::new(input, "four hexadecimal digits", Reason::Malformed))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        object(line)
            .map(|(_, json)| json.texts().into_iter().map(str::to_owned).collect())
            .unwrap_or_default()
    }

    #[test]
    fn strings_are_found_at_any_depth_and_unescaped() {
        assert_eq!(
            vec!["x", "a\"b", "é🚀"],
            texts(r#"{"a":"x","b":[1,null,{"c":"a\"b"}],"d":"\u00e9\uD83D\uDE80"}"#)
        );
    }

    #[test]
    fn an_escape_at_the_front_is_not_lost() {
        assert_eq!(vec!["\tab", "\n"], texts(r#"{"a":"\tab","b":"\n"}"#));
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(object(&deep).is_err());
        assert!(object("{\"a\":\"unfinished").is_err());
    }
}
