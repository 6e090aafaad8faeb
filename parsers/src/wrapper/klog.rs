//! The prefix of glog and klog, which Triton's lines have, too (kubernetes/klog: `klog.go`, `formatHeader`):
//!
//! ```text
//! I1120 18:00:00.123456    1234 server.cc:12] a line
//! ```

use memchr::memchr;

/// The text after the prefix; `None` where there is no such prefix.
pub(super) fn text(line: &[u8]) -> Option<&[u8]> {
    let (severity, rest) = line.split_first()?;
    if !b"IWEF".contains(severity) {
        return None;
    }
    let (date, rest) = rest.split_at_checked(memchr(b' ', rest.get(..9).unwrap_or(rest))?)?;
    // glog 0.5 and later has the year as well.
    if !matches!(date.len(), 4 | 8) || !date.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let rest = rest.get(1..)?;
    let (time, rest) = rest.split_at_checked(memchr(b' ', rest)?)?;
    let rest = rest.trim_ascii_start();
    let (thread, rest) = rest.split_at_checked(memchr(b' ', rest)?)?;
    let (place, text) = rest.split_at_checked(memchr(b']', rest)?)?;
    let (file, number) =
        place.get(1..)?.split_at_checked(place.get(1..)?.iter().rposition(|b| *b == b':')?)?;
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let is_place = !file.is_empty() && !file.contains(&b' ') && is_number(number.get(1..)?);
    let text = text.get(1..)?;
    (is_clock(time) && is_number(thread) && is_place).then_some(text.strip_prefix(b" ").unwrap_or(text))
}

/// `18:00:00`, with decimals or without.
pub(super) fn is_clock(time: &[u8]) -> bool {
    const SHAPE: &[u8] = b"00:00:00";
    let Some((clock, decimals)) = time.split_at_checked(SHAPE.len()) else { return false };
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    let is_decimals = match decimals {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    clock.iter().zip(SHAPE).all(fits) && is_decimals
}
