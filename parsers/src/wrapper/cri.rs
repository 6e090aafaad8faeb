//! The lines of containerd and CRI-O below `/var/log/pods` (kubernetes/design-proposals-archive:
//! `node/kubelet-cri-logging.md`):
//!
//! ```text
//! 2026-11-20T18:00:00.123456789Z stdout F a line
//! ```
//!
//! `P` instead of `F` stands before a part of a line; more tags may follow, with colons between them.

use super::Opened;
use memchr::memchr;

/// The longest time: nine decimals and an offset.
const TIME_MAX: usize = 35;

/// Takes a line apart.
pub(super) fn open(line: &[u8]) -> Option<Opened<'_>> {
    let front = line.get(..=TIME_MAX).unwrap_or(line);
    let (time, rest) = line.split_at_checked(memchr(b' ', front)?)?;
    if !is_time(time) {
        return None;
    }
    let (output, rest) = match rest.strip_prefix(b" stdout ") {
        Some(rest) => (0, rest),
        None => (1, rest.strip_prefix(b" stderr ")?),
    };
    let (tag, rest) = rest.split_first()?;
    let is_part = match tag {
        b'F' => false,
        b'P' => true,
        _ => return None,
    };
    let text = match rest {
        [b' ', text @ ..] => text,
        [b':', tags @ ..] => tags.get(memchr(b' ', tags)? + 1..)?,
        [] | [b'\n'] | [b'\r', b'\n'] => rest,
        _ => return None,
    };
    // A part's newline is the runtime's and not the server's.
    let text = if is_part { text.strip_suffix(b"\n").unwrap_or(text) } else { text };
    Some(Opened { output, is_part, text })
}

/// RFC 3339, with decimals or without.
fn is_time(time: &[u8]) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let Some((time, rest)) = time.split_at_checked(SHAPE.len()) else { return false };
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    let is_rest = |byte: &u8| byte.is_ascii_digit() || b".:+-Z".contains(byte);
    time.iter().zip(SHAPE).all(fits) && !rest.is_empty() && rest.iter().all(is_rest)
}
