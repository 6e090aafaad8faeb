//! Prometheus text format 0.0.4, straight from the published families.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>. The `prometheus` crate's own
//! encoder refuses families without series, knows no untyped ones and no exemplars.

use crate::metric::{FamilyView, SeriesView, Shown, Type};
use std::collections::HashSet;

/// The Content-Type of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Appends families. With a filter only samples of these names are written, and a family without any is
/// left out, as simpleclient's `name[]` parameter does it.
pub fn encode<'a>(
    families: impl IntoIterator<Item = &'a FamilyView>,
    only: Option<&HashSet<String>>,
    text: &mut String,
) {
    for family in families {
        let start = text.len();
        header(family, text);
        let samples = text.len();
        let series = family.series.iter();
        match family.kind {
            Type::Histogram | Type::Summary => {
                let mut wanted = Suffixes::of(&family.name, only);
                wanted.bucket &= family.kind == Type::Histogram;
                let ends = bucket_ends(family);
                series.for_each(|series| match &series.value {
                    Shown::Histogram(_) => histogram(&family.name, series, &ends, wanted, text),
                    // A quantile that somebody else has computed.
                    value if only.is_none_or(|only| only.contains(&family.name)) => {
                        sample(&family.name, "", &series.labels, value, text);
                    }
                    Shown::Number(_) => {}
                });
            }
            _ if only.is_none_or(|only| only.contains(&family.name)) => {
                series.for_each(|series| sample(&family.name, "", &series.labels, &series.value, text));
            }
            _ => {}
        }
        if only.is_some() && text.len() == samples {
            text.truncate(start);
        }
    }
}

/// A number that reads back to the same double; `1.0` and `+Inf` as TorchServe and Prometheus write them.
pub fn number(value: f64, text: &mut String) {
    text.push_str(if value.is_nan() {
        "NaN"
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }
    } else if let Some(millionths) = millionths(value) {
        return decimal(millionths, value.is_sign_negative(), text);
    } else {
        return text.push_str(ryu::Buffer::new().format_finite(value));
    });
}

/// The value in millionths without its sign, if it is a whole number of them. Both that number and a million are
/// doubles exactly, so their quotient is the double nearest to the decimal text, and reads back as such. Most counts
/// and times are like that, and to find the shortest text for any double costs five times as much.
fn millionths(value: f64) -> Option<u64> {
    const MILLION: f64 = 1e6;
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let scaled = (value * MILLION).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number below 2^53")]
    (scaled.abs() < EXACT && scaled / MILLION == value).then_some(scaled.abs() as u64)
}

fn decimal(millionths: u64, is_negative: bool, text: &mut String) {
    if is_negative {
        text.push('-');
    }
    text.push_str(itoa::Buffer::new().format(millionths / 1_000_000));
    text.push('.');
    match millionths % 1_000_000 {
        0 => text.push('0'),
        fraction => {
            // One more digit in front keeps the zeros.
            let mut buffer = itoa::Buffer::new();
            let digits = buffer.format(1_000_000 + fraction).get(1..).unwrap_or_default();
            text.push_str(digits.trim_end_matches('0'));
        }
    }
}

fn header(family: &FamilyView, text: &mut String) {
    text.push_str("# HELP ");
    text.push_str(&family.name);
    text.push(' ');
    for c in family.help.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push_str("\n# TYPE ");
    text.push_str(&family.name);
    text.push(' ');
    text.push_str(family.kind.label());
    text.push('\n');
}

/// Which of a histogram's three kinds of samples are wanted.
#[derive(Clone, Copy)]
pub(super) struct Suffixes {
    pub(super) bucket: bool,
    pub(super) count: bool,
    pub(super) sum: bool,
}

impl Suffixes {
    pub(super) fn of(name: &str, only: Option<&HashSet<String>>) -> Self {
        let wanted = |suffix: &str| only.is_none_or(|only| only.contains(&format!("{name}{suffix}")));
        Self { bucket: wanted("_bucket"), count: wanted("_count"), sum: wanted("_sum") }
    }
}

/// What follows the labels in each bucket's sample: `le="0.005"} `.
pub(super) fn bucket_ends(family: &FamilyView) -> Vec<String> {
    let bounds = family.bounds.iter().copied().chain([f64::INFINITY]);
    let end = |bound| {
        let mut text = "le=\"".to_owned();
        number(bound, &mut text);
        text.push_str("\"} ");
        text
    };
    bounds.map(end).collect()
}

fn histogram(name: &str, series: &SeriesView, ends: &[String], wanted: Suffixes, text: &mut String) {
    let Shown::Histogram(histogram) = &series.value else { return };
    let mut cumulative = 0;
    // All of a series' buckets begin alike.
    let mut front = String::new();
    if wanted.bucket {
        [name, "_bucket{", &series.labels].iter().for_each(|part| front.push_str(part));
        front.push_str(if series.labels.is_empty() { "" } else { "," });
    }
    for (end, count) in ends.iter().zip(histogram.counts()) {
        cumulative += count;
        if wanted.bucket {
            text.push_str(&front);
            text.push_str(end);
            write_count(cumulative, text);
        }
    }
    if wanted.count {
        line(name, "_count", &series.labels, text);
        write_count(cumulative, text);
    }
    if wanted.sum {
        sample(name, "_sum", &series.labels, &Shown::Number(histogram.sum()), text);
    }
}

fn sample(name: &str, suffix: &str, labels: &str, value: &Shown, text: &mut String) {
    let Shown::Number(value) = value else { return };
    line(name, suffix, labels, text);
    number(*value, text);
    text.push('\n');
}

/// `name{labels} `
pub(super) fn line(name: &str, suffix: &str, labels: &str, text: &mut String) {
    text.push_str(name);
    text.push_str(suffix);
    if !labels.is_empty() {
        text.push('{');
        text.push_str(labels);
        text.push('}');
    }
    text.push(' ');
}

fn write_count(number: u64, text: &mut String) {
    count(number, text);
    text.push('\n');
}

/// A whole number.
pub(super) fn count(number: u64, text: &mut String) {
    text.push_str(itoa::Buffer::new().format(number));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family() -> FamilyView {
        let mut family = FamilyView::new("a", "back\\slash\nnext", Type::Gauge);
        family.push(&[("l", "x\"y\\z\n")], 1.0);
        family.push(&[], f64::NEG_INFINITY);
        family
    }

    fn text(only: Option<&[&str]>) -> String {
        let only = only.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<HashSet<String>>());
        let mut text = String::new();
        encode(&[family()], only.as_ref(), &mut text);
        text
    }

    #[test]
    fn help_and_labels_are_escaped() {
        let expected = "# HELP a back\\\\slash\\nnext\n# TYPE a gauge\na{l=\"x\\\"y\\\\z\\n\"} 1.0\na -Inf\n";
        assert_eq!(expected, text(None));
    }

    #[test]
    fn a_filter_goes_by_sample_name_and_drops_empty_families() {
        assert_eq!(text(None), text(Some(&["a", "b"])));
        assert_eq!("", text(Some(&["b"])));
    }

    #[test]
    fn numbers_read_back_to_the_same_double() {
        let special = [0.1, 1.0, -0.0, 1e300, 5e-324, 9.007_199_254_740_993e15, 494_734.957_999_999_8];
        let edges =
            [1e-6, 1e-7, 9_007_199_254.740_991, 9_007_199_254.740_993, -0.000_001, 4_503_599_627.370_497];
        let mut random = fastrand::Rng::with_seed(7);
        let decimals = (0..50_000_i32).map(|at| {
            let digits = random.i64(-999_999_999_999..=999_999_999_999);
            (digits as f64) / 10_f64.powi(at % 13)
        });
        for value in special.into_iter().chain(edges).chain(decimals) {
            let mut text = String::new();
            number(value, &mut text);
            assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
            assert!(text.contains(['.', 'e']), "{text}");
        }
    }

    #[test]
    fn numbers_are_written_as_short_as_they_are() {
        for (value, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.005, "0.005"),
            (12.5, "12.5"),
            (-3.000_001, "-3.000001"),
            (1e9, "1000000000.0"),
            (494_734.957_999_999_8, "494734.9579999998"),
        ] {
            let mut text = String::new();
            number(value, &mut text);
            assert_eq!(expected, text);
        }
    }
}
