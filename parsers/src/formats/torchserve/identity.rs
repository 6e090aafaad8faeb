//! A metric line of the shipped layouts taken apart: `<time> - <key>:<value><key>[,requestID:<ids>],timestamp:<seconds>`.
//!
//! Any other layout, and any line with something unusual in it, is left to the parser.

use crate::Identity;
use crate::framing::trim_end;
use memchr::memchr;

/// Bytes of `%d{ISO8601} - `: `2026-11-20T17:48:00,476 - `.
const TIME: usize = 26;

const HOST: &[u8] = b"#hostname:";
const REQUESTS: &[u8] = b",requestID:";
const TIMESTAMP: &[u8] = b",timestamp:";

/// As many digits always fit a `u64`.
const SECONDS_MAX: usize = 19;

/// Takes a line apart.
pub(crate) fn identify(record: &[u8]) -> Option<Identity<'_>> {
    let (time, line) = trim_end(record).split_first_chunk::<TIME>()?;
    if !is_time(time) {
        return None;
    }
    let (head, dims) = line.split_at_checked(memchr(b'|', line)?)?;
    let (named, value) = head.split_at_checked(head.iter().rposition(|byte| *byte == b':')? + 1)?;
    // Another bar may stand in a dimension, but `|#` ends them.
    let dims_end = 2 + memchr(b'|', dims.strip_prefix(b"|#")?)?;
    let host = dims.get(dims_end + 1..)?.strip_prefix(HOST)?;
    let host_length = memchr(b',', host)?;
    let (host, tail) = host.split_at_checked(host_length)?;
    let key = dims.get(..dims_end + 1 + HOST.len() + host_length)?;
    let digits = tail.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let requests = tail.get(..tail.len() - digits)?.strip_suffix(TIMESTAMP)?;
    if host.is_empty() || !(1..=SECONDS_MAX).contains(&digits) {
        return None;
    }
    let ids = match requests {
        [] => None,
        _ => Some(std::str::from_utf8(requests.strip_prefix(REQUESTS)?).ok()?),
    };
    let request_ids = ids.filter(|ids| !matches!(*ids, "" | "null"));
    Some(Identity { key: [named, key], host, has_requests: ids.is_some(), value, request_ids })
}

/// Whether the bytes have the shape of a time and the dash after it. All of them are compared, since a loop that
/// never leaves early becomes a few instructions.
fn is_time(bytes: &[u8; TIME]) -> bool {
    const SHAPE: &[u8; TIME] = b"0000-00-00T00:00:00,000 - ";
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    bytes.iter().zip(SHAPE).map(fits).fold(true, |all, fits| all & fits)
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
        assert_eq!((b"1.5".as_slice(), Some("a,b"), b"h".as_slice()), (one.value, one.request_ids, one.host));
        assert_eq!((b"2".as_slice(), None), (other.value, other.request_ids));
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
