//! Families as they could be published, whatever measured them, and what both formats have to say of them. The fuzz
//! targets draw them from bytes.

use crate::support::exposition::openmetrics::OpenMetrics;
use crate::support::exposition::{Exposition, Series};
use inferometer::expose::{openmetrics, text};
use inferometer::metric::{Exemplar, Exemplars, FamilyView, Histogram, SeriesView, Shown, Type, push_label};
use std::collections::{BTreeMap, BTreeSet};

/// Names that meet in each other's suffixes.
pub(crate) const NAMES: [&str; 20] = [
    "x",
    "y",
    "x_total",
    "y_total",
    "x_created",
    "y_created",
    "x_count",
    "x_sum",
    "x_bucket",
    "x_total_total",
    "x_created_total",
    "x_count_total",
    "x_total_created",
    "y_bucket_total",
    "y_sum_created",
    "_total",
    "_created",
    "total",
    "a:b_total",
    "X",
];

pub(crate) const KINDS: [Type; 5] =
    [Type::Counter, Type::Gauge, Type::Histogram, Type::Summary, Type::Untyped];

const LABELS: [&str; 3] = ["a", "b_2", "quantile"];

/// A value, and the id of the request that caused it.
pub(crate) type Taken = (f64, Option<String>);

/// A family before it is one.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
    pub(crate) help: String,
    pub(crate) bounds: Vec<f64>,
    /// The label values of each series, and the values that it took.
    pub(crate) series: Vec<(Vec<String>, Vec<Taken>)>,
    pub(crate) has_created: bool,
}

/// Families as a scrape shows them to who asks for OpenMetrics.
pub(crate) fn openmetrics_body<'a>(families: impl IntoIterator<Item = &'a FamilyView>) -> String {
    openmetrics::body(&families.into_iter().collect::<Vec<_>>(), None)
}

/// Checks what both formats say of these families.
///
/// # Panics
///
/// When a reader refuses a body or reads something else.
pub(crate) fn check(drafts: &[Draft]) {
    let (families, expected) = publish(drafts);
    let mut body = String::new();
    text::encode(&families, None, &mut body);
    let read = Exposition::strict(&body).unwrap_or_else(|error| panic!("{error}\n{body}"));
    assert_eq!(expected.samples, read.samples, "{body}");
    for family in &families {
        assert_eq!(Some(&family.help), read.families[&family.name].help.as_ref(), "{body}");
    }
    let body = openmetrics_body(&families);
    let read = OpenMetrics::read(&body).unwrap_or_else(|error| panic!("{error}\n{body}"));
    let mut lasting = expected.samples;
    lasting.retain(|series, _| !expected.no_counters.contains(series));
    assert_eq!(lasting, read.lasting(), "{body}");
    let exemplars: BTreeMap<Series, (String, u64)> = read
        .exemplars
        .iter()
        .map(|(series, (labels, value, _))| (series.clone(), (labels["request_id"].clone(), *value)))
        .collect();
    let is_typed = |(name, _): &Series| {
        let family = name.strip_suffix("_bucket").and_then(|name| read.families.get(name));
        family.is_some_and(|family| family.kind.as_deref() == Some("histogram"))
    };
    let mut wanted = expected.exemplars;
    wanted.retain(|series, _| is_typed(series));
    assert_eq!(wanted, exemplars, "{body}");
    for (series, bits) in read.samples.iter().filter(|(series, _)| !lasting.contains_key(*series)) {
        assert!(expected.created.contains(series), "{series:?} was not published\n{body}");
        assert_eq!(CREATED.to_bits(), *bits, "{series:?}\n{body}");
    }
    for family in &families {
        keeps_its_type(family, &families, &read, &body);
    }
}

/// A family whose names nobody else could have is what it is.
fn keeps_its_type(family: &FamilyView, families: &[FamilyView], read: &OpenMetrics, body: &str) {
    let stem = family.name.strip_suffix("_total").unwrap_or(&family.name);
    let root = |family: &FamilyView| family.name.split('_').next().map(str::to_owned);
    let is_alone = families.iter().filter(|other| root(other) == root(family)).count() == 1;
    let (name, word) = match family.kind {
        Type::Counter if family.name.ends_with("_total") && !stem.is_empty() => (stem, "counter"),
        Type::Counter | Type::Untyped => (&*family.name, "unknown"),
        kind => (&*family.name, kind.label()),
    };
    if is_alone {
        assert_eq!(Some(word), read.families.get(name).and_then(|read| read.kind.as_deref()), "{body}");
    }
}

const CREATED: f64 = 1_795_194_000.0;

/// What a reader has to find.
#[derive(Default)]
struct Expected {
    samples: BTreeMap<Series, u64>,
    /// Sums that may fall, and their counts: not in OpenMetrics.
    no_counters: BTreeSet<Series>,
    exemplars: BTreeMap<Series, (String, u64)>,
    created: BTreeSet<Series>,
}

/// The families, without those that would say a name twice, which the fold does not publish.
fn publish(drafts: &[Draft]) -> (Vec<FamilyView>, Expected) {
    let (mut families, mut expected, mut names) = (Vec::new(), Expected::default(), BTreeSet::new());
    for draft in drafts {
        let own: Vec<String> = match draft.kind {
            Type::Histogram => {
                ["", "_bucket", "_count", "_sum"].map(|end| format!("{}{end}", draft.name)).into()
            }
            Type::Summary => ["", "_count", "_sum"].map(|end| format!("{}{end}", draft.name)).into(),
            _ => vec![draft.name.to_owned()],
        };
        if own.iter().all(|name| !names.contains(name)) {
            names.extend(own);
            families.push(draft.family(&mut expected));
        }
    }
    (families, expected)
}

impl Draft {
    fn family(&self, expected: &mut Expected) -> FamilyView {
        let mut family = FamilyView::new(self.name, &self.help, self.kind);
        let mut bounds: Vec<f64> = self.bounds.iter().copied().filter(|bound| bound.is_finite()).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        if self.kind == Type::Histogram {
            family.bounds = bounds.into();
        }
        let mut seen = BTreeSet::new();
        for (values, taken) in &self.series {
            let labels: BTreeMap<String, String> =
                LABELS.iter().map(|name| (*name).to_owned()).zip(values.iter().cloned()).collect();
            if seen.insert(labels.clone()) {
                self.series(labels, taken, &mut family, expected);
            }
        }
        family
    }

    fn series(
        &self,
        labels: BTreeMap<String, String>,
        taken: &[Taken],
        family: &mut FamilyView,
        expected: &mut Expected,
    ) {
        let mut text = String::new();
        labels.iter().for_each(|(name, value)| push_label(&mut text, name, value));
        let value = match self.kind {
            Type::Histogram | Type::Summary => {
                let (histogram, exemplars) = self.observe(&labels, taken, &family.bounds, expected);
                family.exemplars.push(exemplars);
                Shown::Histogram(histogram)
            }
            kind => {
                let last = taken.last().map_or(0.0, |(value, _)| *value);
                let value = if kind == Type::Counter { last.abs() } else { last };
                // One NaN is as good as another, and a counter is none.
                let no_number = if kind == Type::Counter { 0.0 } else { f64::NAN };
                let value = if value.is_nan() { no_number } else { value };
                expected.samples.insert((self.name.to_owned(), labels.clone()), value.to_bits());
                Shown::Number(value)
            }
        };
        if self.has_created {
            family.created.push(1_795_194_000);
            let stem =
                if self.kind == Type::Counter { self.name.strip_suffix("_total") } else { Some(self.name) };
            let created =
                stem.filter(|_| matches!(self.kind, Type::Counter | Type::Histogram | Type::Summary));
            expected.created.extend(created.map(|stem| (format!("{stem}_created"), labels)));
        }
        family.series.push(SeriesView { labels: text.into(), value });
    }

    fn observe(
        &self,
        labels: &BTreeMap<String, String>,
        taken: &[Taken],
        bounds: &[f64],
        expected: &mut Expected,
    ) -> (Histogram, Option<Exemplars>) {
        let (mut histogram, mut exemplars) = (Histogram::new(bounds), Exemplars::default());
        let series = |suffix: &str| (format!("{}{suffix}", self.name), labels.clone());
        let taken = taken.iter().filter(|(value, _)| value.is_finite());
        let is_bucketed = self.kind == Type::Histogram;
        let (mut sum, mut below) = (0.0, bounds.first().is_some_and(|bound| *bound < 0.0));
        let mut newest: BTreeMap<usize, (String, u64)> = BTreeMap::new();
        for ((value, id), second) in taken.clone().zip(0..) {
            histogram.observe(bounds, *value);
            sum += value;
            below |= *value < 0.0;
            let bucket = bounds.iter().filter(|bound| **bound < *value).count();
            if let Some(id) = id.as_ref().filter(|_| is_bucketed) {
                let place = u16::try_from(bucket).expect("few buckets");
                let at = 1_795_196_880 + second;
                exemplars.put(&Exemplar { bucket: place, value: *value, at, request_id: id });
                newest.insert(bucket, (id.clone(), value.to_bits()));
            }
        }
        let count = taken.clone().count();
        let mut samples = vec![(series("_count"), as_double(count)), (series("_sum"), sum)];
        if below {
            let lost = samples.iter().map(|(series, _)| series.clone());
            expected.no_counters.extend(lost.skip(usize::from(!is_bucketed)));
        }
        for (at, bound) in bounds.iter().copied().chain([f64::INFINITY]).enumerate().filter(|_| is_bucketed) {
            let mut bucket = series("_bucket");
            let written = if bound.is_infinite() { "+Inf".to_owned() } else { written(bound) };
            bucket.1.insert("le".to_owned(), written);
            if let Some(exemplar) = newest.remove(&at) {
                expected.exemplars.insert(bucket.clone(), exemplar);
            }
            samples.push((bucket, as_double(taken.clone().filter(|(value, _)| *value <= bound).count())));
        }
        expected.samples.extend(samples.into_iter().map(|(series, value)| (series, value.to_bits())));
        (histogram, Some(exemplars).filter(|exemplars| exemplars.size() > 0))
    }
}

/// A bound is written in one way in every format.
fn written(bound: f64) -> String {
    let mut text = String::new();
    text::number(bound, &mut text);
    assert_eq!(bound.to_bits(), text.parse::<f64>().expect("a number").to_bits());
    text
}

fn as_double(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("few"))
}
