//! Families out of lines.

use super::lex::{self, Labels, Line};
use crate::metric::{FamilyView, Histogram, SeriesView, Shown, Type, push_label};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) families: Vec<FamilyView>,
    /// Series that are there twice, or that do not add up.
    pub(super) dropped: usize,
}

/// Why a file cannot be read; nothing of it is taken then, since half a file is no measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    line: usize,
    expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} in line {}", self.expected, self.line)
    }
}

/// A family as it is being read.
#[derive(Default)]
struct Draft {
    name: String,
    help: String,
    kind: Option<Type>,
    series: Vec<Part>,
    /// Places in the series by their labels in order of names.
    places: HashMap<String, usize>,
    /// Samples that have come, by their labels in order of names: a second one is dropped.
    samples: HashSet<String>,
}

/// A series as it is being read.
struct Part {
    labels: Arc<str>,
    /// A plain number, or a quantile of a summary.
    value: Option<f64>,
    /// Cumulative counts by upper bound.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

/// Reads a whole file.
///
/// # Errors
///
/// The first line that the format does not have.
pub(super) fn families(text: &str) -> Result<Parsed, Malformed> {
    let mut drafts = Drafts::default();
    for (line, number) in text.lines().zip(1..) {
        let read = lex::line(line).and_then(|line| drafts.take(line));
        read.map_err(|expected| Malformed { line: number, expected })?;
    }
    let mut dropped = drafts.dropped;
    let families = drafts.drafts.into_iter().map(|draft| draft.finish(&mut dropped));
    let families = families.filter(|family| !family.series.is_empty()).collect();
    Ok(Parsed { families, dropped })
}

#[derive(Default)]
struct Drafts {
    drafts: Vec<Draft>,
    places: HashMap<String, usize>,
    dropped: usize,
}

impl Drafts {
    fn take(&mut self, line: Line<'_>) -> Result<(), &'static str> {
        match line {
            Line::Nothing => {}
            Line::Help { name, text } => text.as_ref().clone_into(&mut self.named(name).help),
            Line::Type { name, word } => {
                let draft = self.named(name);
                if draft.kind.is_some() || !draft.series.is_empty() {
                    return Err("one TYPE of a family, before its samples");
                }
                draft.kind = Some(match word {
                    "counter" => Type::Counter,
                    "gauge" => Type::Gauge,
                    "histogram" => Type::Histogram,
                    "summary" => Type::Summary,
                    _ => Type::Untyped,
                });
            }
            Line::Sample { name, labels, value } => self.sample(name, labels, value)?,
        }
        Ok(())
    }

    /// A sample belongs to the family of its name, or to the one that its name is made of.
    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) -> Result<(), &'static str> {
        for suffix in ["_bucket", "_count", "_sum"] {
            let Some(base) = name.strip_suffix(suffix) else { continue };
            let Some(draft) = self.places.get(base).and_then(|at| self.drafts.get_mut(*at)) else { continue };
            if draft.kind == Some(Type::Histogram)
                || (draft.kind == Some(Type::Summary) && suffix != "_bucket")
            {
                return draft.take(suffix, labels, value, &mut self.dropped);
            }
        }
        let draft = self.places.get(name).and_then(|at| self.drafts.get_mut(*at));
        match draft {
            Some(draft) => draft.take("", labels, value, &mut self.dropped),
            None => {
                let dropped = &mut 0;
                let result = self.named(name).take("", labels, value, dropped);
                self.dropped += *dropped;
                result
            }
        }
    }

    fn named(&mut self, name: &str) -> &mut Draft {
        let at = *self.places.entry(name.to_owned()).or_insert(self.drafts.len());
        if at >= self.drafts.len() {
            self.drafts.push(Draft { name: name.to_owned(), ..Draft::default() });
        }
        // It was there, or it is the one that has just been added.
        let last = self.drafts.len() - 1;
        let at = at.min(last);
        #[expect(clippy::indexing_slicing, reason = "at most the index of the last one, and there is one")]
        &mut self.drafts[at]
    }
}

impl Draft {
    fn take(
        &mut self,
        suffix: &'static str,
        mut labels: Labels<'_>,
        value: f64,
        dropped: &mut usize,
    ) -> Result<(), &'static str> {
        let sample = format!("{suffix} {}", sorted(&labels));
        let bound = match (self.kind, suffix) {
            (Some(Type::Histogram), "") => return Err("_bucket, _count or _sum after a histogram's name"),
            (Some(Type::Histogram), "_bucket") => {
                let at = labels.iter().position(|(name, _)| *name == "le").ok_or("a label le")?;
                let (_, bound) = labels.remove(at);
                Some(bound.parse::<f64>().ok().filter(|bound| !bound.is_nan()).ok_or("a number in le")?)
            }
            (Some(Type::Histogram), _) if labels.iter().any(|(name, _)| *name == "le") => {
                return Err("le only on buckets");
            }
            _ => None,
        };
        if !self.samples.insert(sample) {
            *dropped += 1;
            return Ok(());
        }
        let key = sorted(&labels);
        let next = self.series.len();
        let at = *self.places.entry(key).or_insert(next);
        if at == next {
            let mut text = String::new();
            labels.iter().for_each(|(name, value)| push_label(&mut text, name, value));
            self.series.push(Part {
                labels: text.into(),
                value: None,
                buckets: Vec::new(),
                count: None,
                sum: None,
            });
        }
        let Some(part) = self.series.get_mut(at) else { return Ok(()) };
        match (suffix, bound) {
            (_, Some(bound)) => part.buckets.push((bound, value)),
            ("_count", _) => part.count = Some(value),
            ("_sum", _) => part.sum = Some(value),
            _ => part.value = Some(value),
        }
        Ok(())
    }

    fn finish(self, dropped: &mut usize) -> FamilyView {
        let kind = self.kind.unwrap_or(Type::Untyped);
        let mut family = FamilyView::new(&self.name, &self.help, kind);
        for mut part in self.series {
            part.buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
            let bounds: Arc<[f64]> =
                part.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect();
            if kind == Type::Histogram && family.series.is_empty() {
                family.bounds = bounds.clone();
            }
            let value = match (kind, part.value) {
                (Type::Histogram, _) if family.bounds != bounds => None,
                (Type::Histogram, _) => part.histogram(),
                (Type::Summary, None) => part.summary(),
                (_, value) => value.map(Shown::Number),
            };
            match value {
                Some(value) => family.series.push(SeriesView { labels: part.labels, value }),
                None => *dropped += 1,
            }
        }
        family
    }
}

impl Part {
    /// The counts of its buckets, if they add up to its count.
    fn histogram(&self) -> Option<Shown> {
        let count = self.count.map(whole)?;
        let finite = self.buckets.iter().filter(|(bound, _)| bound.is_finite());
        let mut cumulative: Vec<u64> = finite.map(|(_, count)| whole(*count)).collect::<Option<_>>()?;
        cumulative.push(count?);
        let ends = self.buckets.iter().filter(|(bound, _)| bound.is_infinite());
        let is_whole = ends.map(|(_, end)| whole(*end)).all(|end| end == count);
        let below = [0].into_iter().chain(cumulative.iter().copied());
        let counts: Vec<u64> = cumulative
            .iter()
            .zip(below)
            .map(|(this, below)| this.checked_sub(below))
            .collect::<Option<_>>()?;
        let histogram = Histogram::from_counts(counts.into_iter(), self.sum?);
        is_whole.then_some(Shown::Histogram(histogram))
    }

    fn summary(&self) -> Option<Shown> {
        let count = self.count.and_then(whole)?;
        Some(Shown::Histogram(Histogram::from_counts([count].into_iter(), self.sum?)))
    }
}

/// A count that is one.
fn whole(count: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number below 2^53")]
    ((0.0..=EXACT).contains(&count) && count.fract() == 0.0).then_some(count as u64)
}

/// Labels in the order of their names: two orders are one series.
fn sorted(labels: &Labels<'_>) -> String {
    let mut sorted: Vec<_> = labels.iter().collect();
    sorted.sort();
    let mut text = String::new();
    sorted.into_iter().for_each(|(name, value)| push_label(&mut text, name, value));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expose::text::encode;

    fn shown(text: &str) -> (String, usize) {
        let Parsed { families, dropped } = families(text).unwrap();
        let mut body = String::new();
        encode(&families, None, &mut body);
        (body, dropped)
    }

    #[test]
    fn every_type_comes_out_as_it_went_in() {
        let text = "# HELP a What\\nit is.\n# TYPE a counter\na{x=\"1\"} 3.0\na{x=\"2\"} 4.5\n\
            # HELP h A histogram.\n# TYPE h histogram\nh_bucket{x=\"1\",le=\"0.5\"} 1\nh_bucket{x=\"1\",le=\"+Inf\"} 3\n\
            h_count{x=\"1\"} 3\nh_sum{x=\"1\"} 7.25\n# HELP s \n# TYPE s summary\ns{quantile=\"0.5\"} NaN\n\
            s_count 2\ns_sum 1.0\n# HELP u \n# TYPE u untyped\nu -1.0\n";
        assert_eq!((text.to_owned(), 0), shown(text));
        let bare = "u_total{b=\"2\",a=\"1\"} 1 1795196880000\n";
        let expected = "# HELP u_total \n# TYPE u_total untyped\nu_total{b=\"2\",a=\"1\"} 1.0\n";
        assert_eq!((expected.to_owned(), 0), shown(bare));
    }

    #[test]
    fn what_does_not_add_up_is_dropped_and_counted() {
        for samples in [
            "h_bucket{le=\"1\"} 2\nh_count 1\nh_sum 1\n",
            "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 3\nh_sum 1\n",
            "h_bucket{le=\"1\"} 0.5\nh_count 3\nh_sum 1\n",
            "h_bucket{le=\"1\"} 1\nh_sum 1\n",
            "h_count 1\n",
        ] {
            assert_eq!((String::new(), 1), shown(&format!("# TYPE h histogram\n{samples}")), "{samples}");
        }
        let (body, dropped) = shown("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\n");
        assert_eq!((1, 1), (body.matches("\na{").count(), dropped));
    }

    #[test]
    fn a_malformed_line_spoils_the_file_and_is_named() {
        for (text, expected) in [
            ("a 1\nb\n", "expected a value after the name in line 2"),
            ("a 1\n# TYPE a gauge\n", "expected one TYPE of a family, before its samples in line 2"),
            (
                "# TYPE h histogram\nh 1\n",
                "expected _bucket, _count or _sum after a histogram's name in line 2",
            ),
            ("# TYPE h histogram\nh_bucket 1\n", "expected a label le in line 2"),
            ("# TYPE h histogram\nh_sum{le=\"1\"} 1\n", "expected le only on buckets in line 2"),
        ] {
            assert_eq!(expected, families(text).unwrap_err().to_string());
        }
    }
}
