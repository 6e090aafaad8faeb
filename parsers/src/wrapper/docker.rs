//! Docker's `json-file` lines (moby/moby: `daemon/logger/jsonfilelog/jsonlog/jsonlogbytes.go`):
//!
//! ```text
//! {"log":"a line\n","stream":"stdout","attrs":{"tag":"x"},"time":"2026-11-20T18:00:00.123456789Z"}
//! ```
//!
//! A part of a line has no `\n` at its end; an empty one has no `log` at all.

use super::Opened;
use crate::framing::trim_end;
use memchr::{memchr2, memmem};

/// Takes a line apart; its text is written into the buffer.
pub(super) fn open<'a>(line: &[u8], buffer: &'a mut Vec<u8>) -> Option<Opened<'a>> {
    buffer.clear();
    let line = trim_end(line);
    let rest = match line.strip_prefix(br#"{"log":""#) {
        Some(text) => unescape(text, buffer)?.strip_prefix(br#","stream":""#)?,
        None => line.strip_prefix(br#"{"stream":""#)?,
    };
    let (output, rest) = match rest.strip_prefix(br#"stdout""#) {
        Some(rest) => (0, rest),
        None => (1, rest.strip_prefix(br#"stderr""#)?),
    };
    let time = rest.strip_prefix(br#","time":""#).or_else(|| {
        let attributes = rest.strip_prefix(br#","attrs":{"#)?;
        const END: &[u8] = br#"},"time":""#;
        attributes.get(memmem::rfind(attributes, END)? + END.len()..)
    })?;
    let time = time.strip_suffix(br#""}"#)?;
    let is_time = |byte: &u8| byte.is_ascii_digit() || b"-:.TZ+".contains(byte);
    let is_whole = buffer.ends_with(b"\n");
    time.iter().all(is_time).then_some(Opened { output, is_part: !is_whole, text: buffer })
}

/// Appends a JSON string's text up to its closing quote; the result is what follows that.
fn unescape<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (plain, after) = rest.split_at_checked(memchr2(b'"', b'\\', rest)?)?;
        text.extend_from_slice(plain);
        let escape = match after {
            [b'"', after @ ..] => return Some(after),
            [_, escape, after @ ..] => {
                rest = after;
                *escape
            }
            _ => return None,
        };
        match escape {
            b'n' => text.push(b'\n'),
            b't' => text.push(b'\t'),
            b'r' => text.push(b'\r'),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'"' | b'\\' | b'/' => text.push(escape),
            b'u' => rest = unicode(rest, text)?,
            _ => return None,
        }
    }
}

/// The character of `\u1234`, or of two of them where one is only half of it.
fn unicode<'a>(rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (first, mut rest) = hex(rest)?;
    let mut units = vec![first];
    if matches!(first, 0xd800..=0xdbff)
        && let Some((second, after)) = rest.strip_prefix(br"\u").and_then(hex)
        && matches!(second, 0xdc00..=0xdfff)
    {
        units.push(second);
        rest = after;
    }
    for unit in char::decode_utf16(units) {
        let c = unit.unwrap_or(char::REPLACEMENT_CHARACTER);
        text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(rest)
}

fn hex(rest: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = rest.split_at_checked(4)?;
    let digits = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}
