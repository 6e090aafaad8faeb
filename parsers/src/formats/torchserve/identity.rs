//! A metric line of the shipped layouts taken apart: `<time> - <key>:<value><key>[,requestID:<ids>],timestamp:<seconds>`.
//!
//! Any other layout, and any line with something unusual in it, is left to the parser.

use crate::framing::trim_end;
use crate::{Identify, Identity};
use memchr::memchr;

/// Bytes of `%d{ISO8601} - `: `2026-11-20T17:48:00,476 - `.
const TIME: usize = 26;

const HOST: &[u8] = b"#hostname:";
const REQUESTS: &[u8] = b",requestID:";
const TIMESTAMP: &[u8] = b",timestamp:";

/// As many digits always fit a `u64`.
const SECONDS_MAX: usize = 19;

/// Takes lines apart.
pub(crate) const IDENTIFY: Identify = Identify { identify, identify_as, seconds };

fn identify(record: &[u8]) -> Option<Identity<'_>> {
    let line = after_time(record)?;
    let (head, dims) = line.split_at_checked(memchr(b'|', line)?)?;
    let (named, value) = head.split_at_checked(head.iter().rposition(|byte| *byte == b':')? + 1)?;
    // Another bar may stand in a dimension, but `|#` ends them.
    let dims_end = 2 + memchr(b'|', dims.strip_prefix(b"|#")?)?;
    let host = dims.get(dims_end + 1..)?.strip_prefix(HOST)?;
    let host_length = memchr(b',', host)?;
    let (key, tail) = dims.split_at_checked(dims_end + 1 + HOST.len() + host_length)?;
    finish([named, key], host.get(..host_length)?, value, tail)
}

/// The key ends its front part at the last colon before the first bar, and its back part at the comma after the
/// host's name: where both parts stand at their places, with no colon and no bar between them, they are the line's.
fn identify_as<'a>(record: &'a [u8], [front, back]: [&[u8]; 2], host: usize) -> Option<Identity<'a>> {
    let line = after_time(record)?;
    let rest = line.strip_prefix(front)?;
    let length = rest.iter().position(|byte| matches!(byte, b'|' | b':'))?;
    let (value, dims) = rest.split_at_checked(length)?;
    let tail = dims.strip_prefix(back).filter(|tail| tail.first() == Some(&b','))?;
    let key = [line.get(..front.len())?, dims.get(..back.len())?];
    finish(key, dims.get(back.len().checked_sub(host)?..back.len())?, value, tail)
}

fn after_time(record: &[u8]) -> Option<&[u8]> {
    let (time, line) = trim_end(record).split_first_chunk::<TIME>()?;
    is_time(time).then_some(line)
}

/// The rest of the line: `[,requestID:<ids>],timestamp:<seconds>`.
fn finish<'a>(key: [&'a [u8]; 2], host: &'a [u8], value: &'a [u8], tail: &'a [u8]) -> Option<Identity<'a>> {
    let requests = before_timestamp(tail)?;
    if host.is_empty() {
        return None;
    }
    let ids = match requests {
        [] => None,
        _ => Some(requests.strip_prefix(REQUESTS)?),
    };
    // Nearly all are ASCII, which is seen at a fraction of the cost.
    if ids.is_some_and(|ids| !ids.is_ascii() && std::str::from_utf8(ids).is_err()) {
        return None;
    }
    let request_ids = ids.filter(|ids| !matches!(*ids, b"" | b"null"));
    Some(Identity { key, host, has_requests: ids.is_some(), value, request_ids })
}

/// What stands before `,timestamp:<seconds>`; ten digits, until the year 2286, without a loop.
fn before_timestamp(tail: &[u8]) -> Option<&[u8]> {
    if let Some((rest, seconds)) = tail.split_last_chunk::<10>()
        && let Some(requests) = rest.strip_suffix(TIMESTAMP)
    {
        return seconds.iter().fold(true, |all, byte| all & byte.is_ascii_digit()).then_some(requests);
    }
    let digits = tail.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let requests = tail.get(..tail.len() - digits)?.strip_suffix(TIMESTAMP)?;
    (1..=SECONDS_MAX).contains(&digits).then_some(requests)
}

/// The digits at the line's end. A record that was taken apart has few enough of them.
fn seconds(record: &[u8]) -> Option<u64> {
    let line = trim_end(record);
    let number = |start: u64, digits: &[u8]| {
        let value = |digit: &u8| u64::from(digit.wrapping_sub(b'0'));
        digits.iter().fold(start, |sum, digit| sum.wrapping_mul(10).wrapping_add(value(digit)))
    };
    if let Some((rest, seconds)) = line.split_last_chunk::<10>()
        && rest.last() == Some(&b':')
        && let Some((eight, two)) = seconds.split_first_chunk()
    {
        return Some(number(eight_digits(*eight), two));
    }
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=SECONDS_MAX)
        .contains(&digits)
        .then(|| number(0, line.get(line.len() - digits..).unwrap_or_default()))
}

/// Eight digits at once: pairs, pairs of pairs, then both halves.
fn eight_digits(digits: [u8; 8]) -> u64 {
    let ones = u64::from_le_bytes(digits) & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (ones.wrapping_mul(10) + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff
}

/// Whether the bytes have the shape of a time and the dash after it. Eight bytes are one number: against the shape
/// each byte differs by at most 9 where a digit stands, and by nothing elsewhere, so that adding what is missing to
/// 128 reaches 128 only where it does not fit. (A byte that carries into the next one has its own high bit set.)
fn is_time(bytes: &[u8; TIME]) -> bool {
    const SHAPE: &[u8; TIME] = b"0000-00-00T00:00:00,000 - ";
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
    let missing = |shape: &[u8]| {
        let missing: [u8; 8] = std::array::from_fn(|at| if shape.get(at) == Some(&b'0') { 118 } else { 127 });
        u64::from_ne_bytes(missing)
    };
    [0, 8, 16, TIME - 8].into_iter().all(|at| {
        let (Some(bytes), Some(shape)) = (bytes.get(at..at + 8), SHAPE.get(at..at + 8)) else { return false };
        let difference = number(bytes) ^ number(shape);
        (difference | difference.wrapping_add(missing(shape))) & HIGH == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_line_to_line_is_outside_the_key() {
        let one =
            identify(b"2026-11-20T17:48:00,476 - A.ms:1.5|#M:m|#hostname:h,requestID:a,b,timestamp:17\n");
        let other =
            identify(b"2026-11-21T00:00:01,000 - A.ms:2|#M:m|#hostname:h,requestID:null,timestamp:18\r\n");
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!([&b"A.ms:"[..], b"|#M:m|#hostname:h"], one.key);
        assert_eq!((one.key, one.host, one.has_requests), (other.key, other.host, other.has_requests));
        assert_eq!(
            (b"1.5".as_slice(), Some(&b"a,b"[..]), b"h".as_slice()),
            (one.value, one.request_ids, one.host)
        );
        assert_eq!((b"2".as_slice(), None), (other.value, other.request_ids));
    }

    #[test]
    fn seconds_are_the_lines_end() {
        for (end, expected) in
            [("17\n", 17), ("1795196880\r\n", 1_795_196_880), ("12345678901", 12_345_678_901)]
        {
            let line =
                format!("2026-11-20T17:48:00,476 - A.ms:1.5|#M:m|#hostname:h,requestID:a,timestamp:{end}");
            assert_eq!(Some(expected), seconds(line.as_bytes()), "{end}");
        }
    }

    #[test]
    fn the_time_is_digits_and_signs_each_at_its_place() {
        let time = *b"2026-11-20T17:48:00,476 - ";
        assert!(is_time(&time));
        for at in 0..TIME {
            for byte in 0..=u8::MAX {
                let mut other = time;
                other[at] = byte;
                let is_digit = time[at].is_ascii_digit() && byte.is_ascii_digit();
                assert_eq!(is_digit || byte == time[at], is_time(&other), "{at}: {byte}");
            }
        }
    }

    #[test]
    fn unusual_lines_are_left_to_the_parser() {
        for line in [
            "2026-11-20 17:48:00,476 - A.ms:1|#M:m|#hostname:h,timestamp:17",
            "A.ms:1|#M:m|#hostname:h,timestamp:17",
            "2026-11-20T17:48:00,476 - A.ms:1|#M:a|b|#hostname:h,timestamp:17",
            "2026-11-20T17:48:00,476 - A.ms:1|#M:m|#hostname:,timestamp:17",
            "2026-11-20T17:48:00,476 - A.ms:1|#M:m|#hostname:h,timestamp:17 x",
            "2026-11-20T17:48:00,476 - A.ms:1|#M:m|#hostname:h,timestamp:null",
            "2026-11-20T17:48:00,476 - A.ms:1|#M:m|#hostname:h,other:1,timestamp:17",
            "2026-11-20T17:48:00,476 - A.ms:1|#M:m|#hostname:h",
        ] {
            assert_eq!(None, identify(line.as_bytes()), "{line}");
        }
    }
}
