//! OpenMetrics 1.0.0, straight from the published families: what Prometheus asks for first.
//!
//! Specification: <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>.
//! The samples are those of the text format, names, label sets and values alike, so that nothing changes when a client
//! begins to ask for the other one. What OpenMetrics does not take as it is:
//!
//! | in the text format | here |
//! |---|---|
//! | counter `x_total` | family `x`, samples `x_total` |
//! | counter `x`, and one whose family would have another one's name | `unknown` |
//! | histogram or summary `x` beside a family `x_created` | its samples' names are families, `unknown` |
//! | untyped | `unknown` |
//! | histogram that saw a negative value: its sum is no counter | neither `_sum` nor `_count`, which come together |
//! | part of a histogram (`name[]`) that is no histogram | `unknown` |
//!
//! Only here are exemplars, and `_created` where it is switched on. Units are left out: a log's names do not have to
//! tell the truth about theirs.

use super::text::{Suffixes, bucket_ends, count, line, number};
use crate::metric::{Exemplar, Exemplars, FamilyView, Histogram, SeriesView, Shown, Type};
use std::collections::{HashMap, HashSet};

/// The Content-Type of this format.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The line that ends a body; without it a reader takes the body for cut off.
pub const END: &str = "# EOF\n";

/// A whole body. With a filter only samples of these names are written, and a family without any is left out.
pub fn body(families: &[&FamilyView], only: Option<&HashSet<String>>) -> String {
    let mut text = String::new();
    encode(families.iter().copied().zip(typed(families.iter().copied())), only, &mut text);
    text.push_str(END);
    text
}

/// Which families keep their type. A typed one has more names than its samples show: a counter's without `_total`,
/// and `_created`. Where another family has one of them, it is the one that yields which could have it only so.
pub(crate) fn typed<'a>(families: impl Iterator<Item = &'a FamilyView> + Clone) -> Vec<bool> {
    let kinds: HashMap<&str, Type> = families.clone().map(|family| (&*family.name, family.kind)).collect();
    let is_name = |name: &str| {
        let part = |suffix: &str, kinds_of: &[Type]| {
            let kind = name.strip_suffix(suffix).and_then(|stem| kinds.get(stem));
            kind.is_some_and(|kind| kinds_of.contains(kind))
        };
        kinds.contains_key(name)
            || part("_bucket", &[Type::Histogram])
            || part("_count", &[Type::Histogram, Type::Summary])
            || part("_sum", &[Type::Histogram, Type::Summary])
    };
    let mut claimed: HashSet<String> = HashSet::new();
    let is_typed = |family: &FamilyView| {
        let (stem, is_counter) = match family.kind {
            Type::Counter => (stem(&family.name), true),
            Type::Histogram | Type::Summary => (Some(&*family.name), false),
            Type::Gauge | Type::Untyped => return true,
        };
        let Some(stem) = stem else { return false };
        let created = format!("{stem}_created");
        let is_taken = |name: &str| is_name(name) || claimed.contains(name);
        if is_taken(&created) || is_counter && is_taken(stem) {
            return false;
        }
        claimed.insert(created);
        if is_counter {
            claimed.insert(stem.to_owned());
        }
        true
    };
    families.map(is_typed).collect()
}

/// The name of a counter's family.
fn stem(name: &str) -> Option<&str> {
    name.strip_suffix("_total").filter(|stem| !stem.is_empty())
}

/// Appends families, each with whether it keeps its type; the end of the body is not among them.
pub(super) fn encode<'a>(
    families: impl IntoIterator<Item = (&'a FamilyView, bool)>,
    only: Option<&HashSet<String>>,
    text: &mut String,
) {
    for (family, is_typed) in families {
        Writer { family, only, text, times: &[], has_header: true }.family(is_typed);
    }
}

/// Appends a family whose series are points in time: one label set may stand there again and again, each time with a
/// time of its own, in seconds since 1970. Without its header it goes on with what was written before.
///
/// The parts of a histogram or summary that is not typed are families: they are written one by one, by their names.
pub(crate) fn encode_points(
    (family, is_typed): (&FamilyView, bool),
    only: Option<&HashSet<String>>,
    times: &[i64],
    has_header: bool,
    text: &mut String,
) {
    Writer { family, only, text, times, has_header }.family(is_typed);
}

/// One family on its way into the text.
struct Writer<'a> {
    family: &'a FamilyView,
    only: Option<&'a HashSet<String>>,
    text: &'a mut String,
    /// The times of the family's series; none where all are of now.
    times: &'a [i64],
    has_header: bool,
}

impl Writer<'_> {
    fn family(&mut self, is_typed: bool) {
        match self.family.kind {
            Type::Histogram => self.histogram(is_typed),
            Type::Summary => self.summary(is_typed),
            Type::Counter => self.numbers("counter", stem(&self.family.name).filter(|_| is_typed)),
            Type::Gauge => self.numbers("gauge", None),
            Type::Untyped => self.numbers("unknown", None),
        }
    }

    /// A family of one sample per series. Only a counter with a stem is one here.
    fn numbers(&mut self, word: &str, stem: Option<&str>) {
        let family = self.family;
        let (name, word) = match (family.kind, stem) {
            (Type::Counter, None) => (&*family.name, "unknown"),
            (_, stem) => (stem.unwrap_or(&family.name), word),
        };
        let is_wanted = self.wants(&family.name);
        let has_created = stem.is_some_and(|stem| self.wants(&format!("{stem}_created")));
        self.block(name, word, |writer| {
            for (at, series) in family.series.iter().enumerate() {
                if let Shown::Number(value) = &series.value
                    && is_wanted
                {
                    writer.sample(&family.name, "", (at, series), *value);
                }
                if has_created {
                    writer.created(name, at, series);
                }
            }
        });
    }

    fn histogram(&mut self, is_typed: bool) {
        let family = self.family;
        let wanted = Suffixes::of(&family.name, self.only);
        if !is_typed || !wanted.bucket || wanted.count != wanted.sum {
            return self.parts(wanted);
        }
        let has_created = self.wants(&format!("{}_created", family.name));
        let ends = bucket_ends(family);
        self.block(&family.name, "histogram", |writer| {
            for (at, series, histogram) in histograms(family) {
                let exemplars = family.exemplars.get(at).and_then(Option::as_ref);
                writer.buckets((at, series), histogram, &ends, exemplars);
                if wanted.sum && has_sum(family, histogram) {
                    writer.count((at, series), histogram);
                    writer.sample(&family.name, "_sum", (at, series), histogram.sum());
                }
                if has_created {
                    writer.created(&family.name, at, series);
                }
            }
        });
    }

    fn summary(&mut self, is_typed: bool) {
        let family = self.family;
        let wanted = Suffixes { bucket: false, ..Suffixes::of(&family.name, self.only) };
        if !is_typed {
            return self.parts(wanted);
        }
        let has_created = self.wants(&format!("{}_created", family.name));
        self.block(&family.name, "summary", |writer| {
            for (at, series, histogram) in histograms(family) {
                if wanted.count {
                    writer.count((at, series), histogram);
                }
                if wanted.sum && has_sum(family, histogram) {
                    writer.sample(&family.name, "_sum", (at, series), histogram.sum());
                }
                if has_created {
                    writer.created(&family.name, at, series);
                }
            }
        });
    }

    /// The samples of a histogram or summary as families of their own; the same samples as with its type.
    fn parts(&mut self, wanted: Suffixes) {
        let family = self.family;
        let name = &family.name;
        if wanted.bucket {
            let ends = bucket_ends(family);
            self.block(&format!("{name}_bucket"), "unknown", |writer| {
                histograms(family).for_each(|(at, series, histogram)| {
                    writer.buckets((at, series), histogram, &ends, None);
                });
            });
        }
        let keeps_count = |histogram| family.kind == Type::Summary || has_sum(family, histogram);
        if wanted.count {
            self.block(&format!("{name}_count"), "unknown", |writer| {
                let all = histograms(family).filter(|(.., histogram)| keeps_count(histogram));
                all.for_each(|(at, series, histogram)| writer.count((at, series), histogram));
            });
        }
        if wanted.sum {
            self.block(&format!("{name}_sum"), "unknown", |writer| {
                let all = histograms(family).filter(|(.., histogram)| has_sum(family, histogram));
                all.for_each(|(at, series, histogram)| {
                    writer.sample(name, "_sum", (at, series), histogram.sum());
                });
            });
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_none_or(|only| only.contains(name))
    }

    /// A family's header and its samples; with a filter nothing at all where there is no sample.
    fn block(&mut self, name: &str, word: &str, samples: impl FnOnce(&mut Self)) {
        if !self.has_header {
            return samples(self);
        }
        let start = self.text.len();
        for part in ["# HELP ", name, " "] {
            self.text.push_str(part);
        }
        // Quotes are escaped here as well, unlike in the text format.
        crate::metric::escape_into(self.text, &self.family.help);
        for part in ["\n# TYPE ", name, " ", word, "\n"] {
            self.text.push_str(part);
        }
        let end = self.text.len();
        samples(self);
        if self.only.is_some() && self.text.len() == end {
            self.text.truncate(start);
        }
    }

    /// The buckets of the series at this index, with its exemplars.
    fn buckets(
        &mut self,
        (at, series): (usize, &SeriesView),
        histogram: &Histogram,
        ends: &[String],
        exemplars: Option<&Exemplars>,
    ) {
        let exemplars: Vec<Exemplar<'_>> =
            exemplars.map_or_else(Vec::new, |exemplars| exemplars.iter().filter(is_plain).collect());
        // All of a series' buckets begin alike.
        let front = [&*self.family.name, "_bucket{", &series.labels].concat();
        let comma = if series.labels.is_empty() { "" } else { "," };
        let mut cumulative = 0;
        for ((end, new), bucket) in ends.iter().zip(histogram.counts()).zip(0..) {
            cumulative += new;
            for part in [&*front, comma, end] {
                self.text.push_str(part);
            }
            count(cumulative, self.text);
            self.time(at);
            let exemplar = exemplars.iter().find(|exemplar| exemplar.bucket == bucket);
            if let Some(exemplar) = exemplar.filter(|exemplar| self.holds(bucket, exemplar.value)) {
                self.exemplar(exemplar);
            }
            self.text.push('\n');
        }
    }

    /// Whether the bucket as it is shown covers the value: in another unit both are rounded.
    fn holds(&self, bucket: u16, value: f64) -> bool {
        let bound = |at: Option<u16>| at.and_then(|at| self.family.bounds.get(usize::from(at)).copied());
        bound(Some(bucket)).is_none_or(|bound| value <= bound)
            && bound(bucket.checked_sub(1)).is_none_or(|below| value > below)
    }

    /// ` # {request_id="…"} value time`; an id holds nothing that would have to be escaped.
    fn exemplar(&mut self, exemplar: &Exemplar<'_>) {
        for part in [" # {", Exemplar::LABEL, "=\"", exemplar.request_id, "\"} "] {
            self.text.push_str(part);
        }
        number(exemplar.value, self.text);
        self.text.push(' ');
        number(f64::from(exemplar.at), self.text);
    }

    fn count(&mut self, (at, series): (usize, &SeriesView), histogram: &Histogram) {
        line(&self.family.name, "_count", &series.labels, self.text);
        count(histogram.count(), self.text);
        self.time(at);
        self.text.push('\n');
    }

    fn sample(&mut self, name: &str, suffix: &str, (at, series): (usize, &SeriesView), value: f64) {
        line(name, suffix, &series.labels, self.text);
        number(value, self.text);
        self.time(at);
        self.text.push('\n');
    }

    /// The time of the series at this index, if it is not of now.
    fn time(&mut self, at: usize) {
        if let Some(time) = self.times.get(at) {
            self.text.push(' ');
            self.text.push_str(itoa::Buffer::new().format(*time));
        }
    }

    /// When the series at this index came up, if that is known.
    fn created(&mut self, name: &str, at: usize, series: &SeriesView) {
        if let Some(created) = self.family.created.get(at).filter(|created| **created > 0) {
            self.sample(name, "_created", (at, series), f64::from(*created));
        }
    }
}

fn histograms(family: &FamilyView) -> impl Iterator<Item = (usize, &SeriesView, &Histogram)> {
    family.series.iter().enumerate().filter_map(|(at, series)| match &series.value {
        Shown::Histogram(histogram) => Some((at, series, histogram)),
        Shown::Number(_) => None,
    })
}

/// Whether all readers can take the id. A brace, a quote or a control character is in no real one, and some readers
/// stumble over them even where they are escaped.
fn is_plain(exemplar: &Exemplar<'_>) -> bool {
    let is_bad = |byte: u8| matches!(byte, 0..=b' ' | b'"' | b'\\' | b'{' | b'}' | 0x7f);
    !exemplar.request_id.bytes().any(is_bad)
}

/// Whether the sum only ever grows, as OpenMetrics demands. Bounds below zero say that it need not.
fn has_sum(family: &FamilyView, histogram: &Histogram) -> bool {
    let is_positive = family.bounds.first().is_none_or(|bound| *bound >= 0.0);
    is_positive && !histogram.saw_negative() && histogram.sum() >= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str, kind: Type) -> FamilyView {
        let mut family = FamilyView::new(name, "h", kind);
        if matches!(kind, Type::Histogram | Type::Summary) {
            family.bounds = if kind == Type::Histogram { [1.0].into() } else { [].into() };
            let mut histogram = Histogram::new(&family.bounds);
            histogram.observe(&family.bounds, 0.5);
            family.series.push(SeriesView { labels: "a=\"b\"".into(), value: Shown::Histogram(histogram) });
        } else {
            family.push(&[("a", "b")], 2.0);
        }
        family
    }

    fn shown(families: &[FamilyView], only: Option<&[&str]>) -> String {
        let only = only.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<HashSet<String>>());
        body(&families.iter().collect::<Vec<_>>(), only.as_ref())
    }

    /// The names and types of the families.
    fn types(families: &[FamilyView]) -> Vec<String> {
        let body = shown(families, None);
        body.lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.to_owned())).collect()
    }

    #[test]
    fn help_is_escaped_with_its_quotes_and_the_body_has_an_end() {
        let mut gauge = FamilyView::new("a", "\"back\\slash\"\nnext", Type::Gauge);
        gauge.push(&[("l", "x\"y\\z\n")], 1.0);
        let expected =
            "# HELP a \\\"back\\\\slash\\\"\\nnext\n# TYPE a gauge\na{l=\"x\\\"y\\\\z\\n\"} 1.0\n# EOF\n";
        assert_eq!(expected, shown(&[gauge], None));
    }

    #[test]
    fn a_counters_family_is_its_name_without_total() {
        let counter = family("x_total", Type::Counter);
        let expected = "# HELP x h\n# TYPE x counter\nx_total{a=\"b\"} 2.0\n# EOF\n";
        assert_eq!(expected, shown(&[counter], None));
        assert_eq!(
            ["x unknown", "_total unknown"],
            *types(&[family("x", Type::Counter), family("_total", Type::Counter)])
        );
    }

    #[test]
    fn names_that_only_a_type_needs_yield() {
        let counter = |name| family(name, Type::Counter);
        let gauge = |name| family(name, Type::Gauge);
        let histogram = |name| family(name, Type::Histogram);
        assert_eq!(["x_total unknown", "x gauge"], *types(&[counter("x_total"), gauge("x")]));
        assert_eq!(["x_total unknown", "x_created gauge"], *types(&[counter("x_total"), gauge("x_created")]));
        assert_eq!(["x_total unknown", "x histogram"], *types(&[counter("x_total"), histogram("x")]));
        assert_eq!(
            ["x_count_total unknown", "x histogram"],
            *types(&[counter("x_count_total"), histogram("x")])
        );
        let parts = ["x_bucket unknown", "x_count unknown", "x_sum unknown", "x_created gauge"];
        assert_eq!(parts, *types(&[histogram("x"), gauge("x_created")]));
        assert_eq!(
            ["x counter", "x_total_total unknown"],
            *types(&[counter("x_total"), counter("x_total_total")])
        );
        assert_eq!(
            ["x counter", "x_created_total unknown"],
            *types(&[counter("x_total"), counter("x_created_total")])
        );
    }

    #[test]
    fn a_sum_that_may_fall_is_left_out_with_its_count() {
        let mut negative = family("x", Type::Histogram);
        let mut histogram = Histogram::new(&negative.bounds);
        histogram.observe(&negative.bounds, -1.0);
        negative.series.push(SeriesView { labels: "".into(), value: Shown::Histogram(histogram) });
        let body = shown(&[negative.clone()], None);
        assert!(
            body.contains("x_bucket{le=\"+Inf\"} 1\n") && body.contains("x_sum{a=\"b\"} 0.5\n"),
            "{body}"
        );
        assert!(!body.contains("x_sum ") && !body.contains("x_count "), "{body}");
        negative.bounds = [-1.0].into();
        assert!(!shown(&[negative], None).contains("x_sum"));
    }

    #[test]
    fn a_filter_goes_by_sample_name_and_leaves_a_legal_body() {
        let families =
            [family("x_total", Type::Counter), family("h", Type::Histogram), family("s", Type::Summary)];
        assert_eq!("# EOF\n", shown(&families, Some(&["x", "h", "s", "h_created"])));
        assert!(shown(&families, Some(&["x_total"])).starts_with("# HELP x h\n# TYPE x counter\nx_total{"));
        let bucket = shown(&families, Some(&["h_bucket"]));
        assert!(bucket.contains("# TYPE h histogram\nh_bucket{") && !bucket.contains("h_count"), "{bucket}");
        let count = shown(&families, Some(&["h_count", "s_count"]));
        let expected = "# HELP h_count h\n# TYPE h_count unknown\nh_count{a=\"b\"} 1\n\
                        # HELP s h\n# TYPE s summary\ns_count{a=\"b\"} 1\n# EOF\n";
        assert_eq!(expected, count);
    }

    #[test]
    fn an_id_that_readers_stumble_over_is_not_shown() {
        for bad in ["a b", "a\"", "a\\", "{a", "a}", "a\u{7f}", "a\0", "a\n"] {
            assert!(!is_plain(&Exemplar { bucket: 0, value: 1.0, at: 1, request_id: bad }), "{bad:?}");
        }
        assert!(is_plain(&Exemplar { bucket: 0, value: 1.0, at: 1, request_id: "cmpl-7d0e:é" }));
    }

    #[test]
    fn exemplars_and_times_stand_at_their_series() {
        let mut histogram = family("h", Type::Histogram);
        let mut exemplars = Exemplars::default();
        exemplars.put(&Exemplar { bucket: 0, value: 0.5, at: 1_795_196_880, request_id: "r-1" });
        histogram.exemplars = vec![Some(exemplars)];
        histogram.created = vec![17];
        let mut counter = family("x_total", Type::Counter);
        counter.push(&[], 1.0);
        counter.created = vec![18, 0];
        let expected = "# HELP h h\n# TYPE h histogram\n\
            h_bucket{a=\"b\",le=\"1.0\"} 1 # {request_id=\"r-1\"} 0.5 1795196880.0\nh_bucket{a=\"b\",le=\"+Inf\"} 1\n\
            h_count{a=\"b\"} 1\nh_sum{a=\"b\"} 0.5\nh_created{a=\"b\"} 17.0\n\
            # HELP x h\n# TYPE x counter\nx_total{a=\"b\"} 2.0\nx_created{a=\"b\"} 18.0\nx_total 1.0\n# EOF\n";
        assert_eq!(expected, shown(&[histogram, counter], None));
    }
}
