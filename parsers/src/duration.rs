//! Durations as Go (`1m25s`, `812.5µs`) and Rust (`1.438437543s`) print them.

/// Nanoseconds of each unit, the longer name of two that begin alike first. Micro has two signs in Unicode, and
/// languages differ in which one they print.
const UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Seconds of a whole duration text; `None` where it is not one: no language prints digits below a
/// nanosecond either.
///
/// The parts add up as whole nanoseconds, so the result is the double next to what the text says, up to 104 days.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total = 0_u64;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let (nanoseconds, unit, after) = part(rest)?;
        // `5s1m` is no duration, and `1h1h` none either.
        if unit >= last_unit {
            return None;
        }
        total = total.checked_add(nanoseconds)?;
        (last_unit, rest) = (unit, after);
    }
    #[allow(clippy::cast_precision_loss, reason = "exact below 2^53 nanoseconds")]
    (last_unit < u64::MAX).then_some(total as f64 / 1e9)
}

/// Nanoseconds of the first number with a unit, its unit, and the text after them.
fn part(text: &str) -> Option<(u64, u64, &str)> {
    let (whole, after) = digits(text)?;
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => digits(after)?,
        None => ("", after),
    };
    let (after, unit) = UNITS.iter().find_map(|(name, unit)| Some((after.strip_prefix(*name)?, *unit)))?;
    let mut nanoseconds = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place = Some(place / 10).filter(|place| *place > 0)?;
        nanoseconds = nanoseconds.checked_add(place.checked_mul(u64::from(digit - b'0'))?)?;
    }
    Some((nanoseconds, unit, after))
}

fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(digits, _)| !digits.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "bit-exact values are the claim")]
    use super::*;

    #[test]
    fn both_languages_durations_are_exact() {
        for (text, expected) in [
            ("0s", 0.0),
            ("0ns", 0.0),
            ("5ms", 0.005),
            ("100ns", 1e-7),
            ("7200s", 7200.0),
            ("87ns", 87e-9),
            ("25.702\u{b5}s", 25.702e-6),
            ("224.921\u{3bc}s", 224.921e-6),
            ("863.259us", 863.259e-6),
            ("1.858911ms", 0.001_858_911),
            ("311.986099ms", 0.311_986_099),
            ("3.283652505s", 3.283_652_505),
            ("1m25s", 85.0),
            ("2m0.5s", 120.5),
            ("1h2m3s", 3723.0),
            ("1d", 86_400.0),
        ] {
            assert_eq!(Some(expected), seconds(text), "{text}");
        }
    }

    #[test]
    fn what_is_cut_or_no_duration_is_none() {
        for text in [
            "",
            "5",
            "5.",
            "5.s",
            ".5s",
            "s",
            "-5s",
            "5 s",
            "5s ",
            "5s1m",
            "1h1h",
            "5x",
            "1e3s",
            "5\u{b5}",
            "5sm",
            "1.5ns",
            "1.0000000001s",
        ] {
            assert_eq!(None, seconds(text), "{text}");
        }
        assert_eq!(None, seconds("99999999999999999999s"));
        assert_eq!(None, seconds("18446744073709551615h"));
    }

    #[test]
    fn all_nanoseconds_below_a_second_are_the_nearest_doubles() {
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let nanoseconds = seed >> 30;
            let (whole, fraction) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
            let text = format!("{whole}.{fraction:09}");
            assert_eq!(text.parse::<f64>().ok(), seconds(&format!("{text}s")), "{text}");
        }
    }
}
