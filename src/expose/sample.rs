//! What the charts are made of: the published families, read as subjects (models, GPUs, workers, …).
//!
//! Nothing is measured here. A subject is a set of labels with the counters, gauges and the histogram that families
//! have for it; `history` says what follows from them.

mod machine;
mod models;

use super::history::{Group, Moment, Subject};
use super::labels;
use crate::metric::{FamilyView, SeriesView, Shown, Type};
use crate::publish::Board;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// The most buckets that a charted histogram may have.
const BUCKETS_MAX: usize = 64;

/// The most bytes that the labels of a charted subject may have.
const LABELS_MAX: usize = 512;

/// All subjects of the board's present moment.
pub(super) fn subjects(board: &Board) -> Vec<Subject> {
    let published = board.view.get();
    let log = Families::of(&published.view.log, Instant::now());
    let own = Families::of(&published.view.own, Instant::now());
    let readings = board.readings.current(Instant::now());
    let measured: Vec<Families<'_>> = readings
        .iter()
        .map(|reading| Families::of(&reading.families, reading.taken.unwrap_or_else(Instant::now)))
        .collect();
    let mut subjects = sources(&own);
    subjects.extend(models::subjects(&log, &measured));
    subjects.extend(histograms(&log));
    subjects.extend(machine::all(&measured));
    subjects
        .retain(|subject| subject.labels.iter().map(|(_, value)| value.len()).sum::<usize>() <= LABELS_MAX);
    subjects
}

/// Families by name, and when they were measured.
struct Families<'a> {
    by_name: HashMap<&'a str, &'a FamilyView>,
    all: &'a [FamilyView],
    at: Instant,
}

impl<'a> Families<'a> {
    fn of(all: &'a [FamilyView], at: Instant) -> Self {
        Self { by_name: all.iter().map(|family| (&*family.name, family)).collect(), all, at }
    }

    fn series(&self, name: &str) -> &'a [SeriesView] {
        self.by_name.get(name).map_or(&[], |family| &family.series)
    }

    /// The sum of a family's series whose labels fit; not a number without any.
    fn sum(&self, name: &str, fits: impl Fn(&str) -> bool) -> f64 {
        let fitting = self.series(name).iter().filter(|series| fits(&series.labels));
        fitting.map(number).reduce(|a, b| a + b).unwrap_or(f64::NAN)
    }

    fn only(&self, name: &str) -> f64 {
        self.sum(name, |_| true)
    }

    fn subject(&self, group: Group, labels: Vec<(String, String)>, inputs: Vec<f64>) -> Subject {
        let activity = inputs.first().copied().filter(|first| first.is_finite()).unwrap_or(0.0);
        let moment = Moment { at: self.at, inputs, histogram: None };
        Subject { group, labels, facts: Vec::new(), bounds: Arc::new([]), moment, activity }
    }
}

fn number(series: &SeriesView) -> f64 {
    match &series.value {
        Shown::Number(value) => *value,
        Shown::Histogram(histogram) => exact(histogram.count()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 may be rounded")]
pub(super) fn exact(count: u64) -> f64 {
    count as f64
}

/// One subject per source: its lines.
fn sources(own: &Families<'_>) -> Vec<Subject> {
    let mut lines: Vec<(String, f64)> = Vec::new();
    for series in own.series("inferometer_lines_total") {
        let Some(source) = labels::first(&series.labels, &["source"]) else { continue };
        match lines.iter_mut().find(|(name, _)| *name == source) {
            Some((_, sum)) => *sum += number(series),
            None => lines.push((source, number(series))),
        }
    }
    let subject =
        |(source, lines)| own.subject(Group::Sources, vec![("source".to_owned(), source)], vec![lines]);
    lines.into_iter().map(subject).collect()
}

/// One subject per histogram family of the logs, all its series together, in the family's own unit.
fn histograms(log: &Families<'_>) -> Vec<Subject> {
    let is_charted =
        |family: &&FamilyView| family.kind == Type::Histogram && family.bounds.len() <= BUCKETS_MAX;
    let subject = |family: &FamilyView| {
        let histogram = models::Sum::of(family.series.iter())?.into_histogram(1.0);
        let name = vec![("family".to_owned(), family.name.clone())];
        let mut subject = log.subject(Group::Histograms, name, Vec::new());
        subject.activity = exact(histogram.count());
        subject.facts = vec![("series", exact(family.series.len() as u64)), ("count", subject.activity)];
        subject.bounds = family.bounds.clone();
        subject.moment.histogram = Some(histogram);
        Some(subject)
    };
    log.all.iter().filter(is_charted).filter_map(subject).collect()
}
