//! Terminal colours anywhere in a line: servers write them into files and pipes too.

use crate::ParseError;
use crate::framing;
use memchr::memchr;
use std::borrow::Cow;

/// The record's text without its line end and without colours. Columns of errors count the text without them.
pub(crate) fn text(record: &[u8]) -> Result<Cow<'_, str>, ParseError> {
    match std::str::from_utf8(framing::trim_end(record)) {
        Ok(text) => Ok(strip(text)),
        Err(error) => Err(ParseError::new(crate::Reason::InvalidUtf8, "UTF-8 text", error.valid_up_to())),
    }
}

/// The text without control sequences (`ESC [ … letter`, ECMA-48 §5.4: colours, and what else moves a terminal's
/// cursor). A text without any is not copied. An escape that begins no whole sequence stays.
pub(crate) fn strip(text: &str) -> Cow<'_, str> {
    let Some(first) = next(text, 0) else { return Cow::Borrowed(text) };
    let mut plain = String::with_capacity(text.len());
    let (mut done, mut sequence) = (0, Some(first));
    while let Some((start, end)) = sequence {
        plain.push_str(text.get(done..start).unwrap_or_default());
        done = end;
        sequence = next(text, done);
    }
    plain.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(plain)
}

/// Where the next whole control sequence begins and ends.
fn next(text: &str, mut from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    loop {
        let start = from + memchr(b'\x1b', bytes.get(from..)?)?;
        if let Some(length) = bytes.get(start..).and_then(sequence) {
            return Some((start, start + length));
        }
        from = start + 1;
    }
}

/// The length of the control sequence that the bytes begin with: parameters, intermediates, a final byte.
fn sequence(bytes: &[u8]) -> Option<usize> {
    let inner = bytes.strip_prefix(b"\x1b[")?;
    let parameters = inner.iter().take_while(|byte| (0x30..=0x3f).contains(*byte)).count();
    let rest = inner.get(parameters..)?;
    let intermediates = rest.iter().take_while(|byte| (0x20..=0x2f).contains(*byte)).count();
    let last = rest.get(intermediates)?;
    (0x40..=0x7e).contains(last).then_some(2 + parameters + intermediates + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_wherever_they_stand() {
        for (line, plain) in [
            ("\x1b[2m2026\x1b[0m \x1b[32m INFO\x1b[0m x", "2026  INFO x"),
            ("a\x1b[1;38;5;200mb\x1b[m", "ab"),
            ("\x1b[2K\x1b[1Gdone", "done"),
            ("µ\x1b[0mé", "µé"),
        ] {
            assert_eq!(plain, strip(line), "{line:?}");
        }
    }

    #[test]
    fn a_plain_line_is_not_copied_and_no_half_sequence_is_lost() {
        for line in ["", "plain", "\x1b", "a\x1b[", "a\x1b[31", "\x1b(B", "\x1b[3é"] {
            assert!(matches!(strip(line), Cow::Borrowed(same) if same == line), "{line:?}");
        }
        assert_eq!("\x1bab", strip("\x1ba\x1b[0mb"));
    }

    #[test]
    fn many_escapes_take_linear_time() {
        let line = "\x1b[".repeat(50_000);
        assert_eq!(line, strip(&line));
    }
}
