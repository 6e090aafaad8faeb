//! The lines of `journalctl -o short` and `short-precise`, which are those of syslog, too (systemd/systemd:
//! `src/shared/logs-show.c`):
//!
//! ```text
//! Nov 20 18:00:00 host unit[123]: a line
//! ```

use super::klog::is_clock;
use memchr::memchr;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The text after the prefix; `None` where there is no such prefix.
pub(super) fn text(line: &[u8]) -> Option<&[u8]> {
    let (month, rest) = line.split_first_chunk::<3>()?;
    let (day, rest) = rest.split_first_chunk::<4>()?;
    let is_day = matches!(day, [b' ', b' ' | b'0'..=b'3', b'0'..=b'9', b' ']);
    if !MONTHS.contains(&month) || !is_day {
        return None;
    }
    let (time, rest) = word(rest)?;
    let (host, rest) = word(rest)?;
    let (unit, text) = match word(rest) {
        Some((unit, text)) if unit.ends_with(b":") => (unit, text),
        // Without a text nothing may stand behind the colon.
        _ => {
            let end = rest.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | b' '))? + 1;
            rest.split_at_checked(end)?
        }
    };
    let unit = unit.strip_suffix(b":")?;
    let is_named = !host.is_empty() && !unit.is_empty() && !unit.contains(&b' ');
    (is_clock(time) && is_named).then_some(text)
}

/// What stands before the first blank, and after it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, rest) = text.split_at_checked(memchr(b' ', text)?)?;
    Some((word, rest.get(1..)?))
}
