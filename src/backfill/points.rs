//! All points of all series, kept small until they are written.
//!
//! They come step by step, and OpenMetrics wants them series by series. So each series has a buffer of its own, in
//! which a value that stays is written once with its count, and when all buffers together are large they go to disk
//! ([`spill`](super::spill)). Memory is bounded by the number of series, however long the time is.

use super::spill::{Chain, Spill};
use crate::metric::{FamilyView, SeriesView, Shown, Type};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Bytes of buffers that are held at most, about.
const HELD_MAX: usize = 32 * 1024 * 1024;

/// Most series in all. The limits of the state hold at each moment, but labels may come and go for years.
const SERIES_MAX: usize = 500_000;

/// The points of everything.
pub(super) struct Points {
    step: i64,
    pub(super) families: Vec<Kept>,
    by_name: HashMap<String, usize>,
    /// Where the last view's series are: in its order, families and their series.
    order: Vec<(usize, Vec<u32>)>,
    spill: Spill,
    held: usize,
    held_max: usize,
    series: usize,
    /// Points so far, those that are written already among them.
    pub(super) count: u64,
    /// The first step and the last one of what is not written, in seconds since 1970.
    pub(super) span: Option<(i64, i64)>,
    /// Points of series that had no room.
    pub(super) dropped: u64,
}

/// One family, as it was shown last.
pub(super) struct Kept {
    /// Without its series.
    pub(super) view: FamilyView,
    /// Whether any point is a number. A type may become known late.
    has_numbers: bool,
    /// Whether any point is a histogram.
    has_histograms: bool,
    pub(super) series: Vec<Series>,
    index: HashMap<Arc<str>, u32>,
}

/// One series.
pub(super) struct Series {
    pub(super) labels: Arc<str>,
    /// The value that has not changed since, from this step on.
    run: Option<Run>,
    /// The end of the runs before, in steps since 1970.
    written: u64,
    buffer: Vec<u8>,
    spilt: Option<Chain>,
}

/// A value at steps that follow each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Run {
    /// Steps without a point before it.
    skipped: u64,
    length: u64,
    value: Shown,
}

impl Points {
    /// No points yet; the folder is for what does not fit into memory.
    ///
    /// # Errors
    ///
    /// When no file can be made there.
    pub(super) fn new(step: i64, folder: &Path) -> io::Result<Self> {
        Ok(Self {
            step,
            families: Vec::new(),
            by_name: HashMap::new(),
            order: Vec::new(),
            spill: Spill::new(folder)?,
            held: 0,
            held_max: HELD_MAX,
            series: 0,
            count: 0,
            span: None,
            dropped: 0,
        })
    }

    /// Takes what is shown at a step.
    ///
    /// # Errors
    ///
    /// When the disk does not take what does not fit into memory.
    pub(super) fn show(&mut self, at: i64, families: &[FamilyView]) -> io::Result<()> {
        let step = self.passes(at);
        let mut order = std::mem::take(&mut self.order);
        order.resize_with(families.len(), || (usize::MAX, Vec::new()));
        for (family, (kept, places)) in families.iter().zip(&mut order) {
            let is_known = self.families.get(*kept).is_some_and(|known| known.view.name == family.name);
            if !is_known {
                places.clear();
                *kept = self.find(family);
            }
            self.take(step, family, *kept, places);
        }
        self.order = order;
        if self.held > self.held_max { self.make_room() } else { Ok(()) }
    }

    /// Takes the same once more.
    pub(super) fn show_again(&mut self, at: i64) {
        let step = self.passes(at);
        for (family, places) in &self.order {
            let Some(kept) = self.families.get_mut(*family) else { continue };
            for place in places {
                let Some(series) = kept.series.get_mut(*place as usize) else { continue };
                self.held += series.go_on(step);
                self.count += 1;
            }
        }
    }

    /// The number of the step, which is noted.
    fn passes(&mut self, at: i64) -> u64 {
        self.span = Some((self.span.map_or(at, |(first, _)| first), at));
        u64::try_from(at.div_euclid(self.step)).unwrap_or(0)
    }

    fn find(&mut self, family: &FamilyView) -> usize {
        if let Some(at) = self.by_name.get(&family.name) {
            return *at;
        }
        let at = self.families.len();
        let view = FamilyView::new(&family.name, "", family.kind);
        let (series, index) = (Vec::new(), HashMap::new());
        self.families.push(Kept { view, has_numbers: false, has_histograms: false, series, index });
        self.by_name.insert(family.name.clone(), at);
        at
    }

    fn take(&mut self, step: u64, family: &FamilyView, at: usize, places: &mut Vec<u32>) {
        let Some(kept) = self.families.get_mut(at) else { return };
        // What is known of a family only grows; a help that changes with the type does so once.
        kept.view.kind = family.kind;
        if kept.view.help != family.help {
            kept.view.help.clone_from(&family.help);
        }
        if kept.view.bounds.len() != family.bounds.len() {
            kept.view.bounds = family.bounds.clone();
        }
        let mut shown = 0;
        for series in &family.series {
            let is_there = |place: &u32| {
                let known = kept.series.get(*place as usize);
                known.is_some_and(|known| Arc::ptr_eq(&known.labels, &series.labels))
            };
            let place = match places.get(shown).copied().filter(is_there) {
                Some(place) => place,
                None => match kept.place(series, self.series < SERIES_MAX) {
                    Some((place, is_new)) => {
                        self.series += usize::from(is_new);
                        place
                    }
                    None => {
                        self.dropped += 1;
                        continue;
                    }
                },
            };
            match places.get_mut(shown) {
                Some(known) => *known = place,
                None => places.push(place),
            }
            shown += 1;
            match series.value {
                Shown::Number(_) => kept.has_numbers = true,
                Shown::Histogram(_) => kept.has_histograms = true,
            }
            if let Some(known) = kept.series.get_mut(place as usize) {
                self.held += known.take(step, &series.value);
                self.count += 1;
            }
        }
        places.truncate(shown);
    }

    /// Forgets all points, since they are written. What comes next has to be [shown](Self::show).
    ///
    /// # Errors
    ///
    /// When no file can be made in the folder.
    pub(super) fn clear(&mut self, folder: &Path) -> io::Result<()> {
        for family in &mut self.families {
            (family.has_numbers, family.has_histograms) = (false, false);
            for series in &mut family.series {
                *series = Series::new(series.labels.clone());
            }
        }
        (self.spill, self.held, self.span) = (Spill::new(folder)?, 0, None);
        Ok(())
    }

    fn make_room(&mut self) -> io::Result<()> {
        for series in self.families.iter_mut().flat_map(|family| &mut family.series) {
            if !series.buffer.is_empty() {
                series.spilt = Some(self.spill.append(series.spilt, &series.buffer)?);
                series.buffer = Vec::new();
            }
        }
        self.held = 0;
        Ok(())
    }

    /// Hands out a series' points in their order: seconds since 1970 and the value.
    ///
    /// # Errors
    ///
    /// When what is on disk cannot be read, or `take` fails.
    pub(super) fn each(
        &mut self,
        family: usize,
        series: usize,
        mut take: impl FnMut(i64, &Shown) -> io::Result<()>,
    ) -> io::Result<()> {
        let known = self.families.get(family).and_then(|family| family.series.get(series));
        let Some(known) = known else { return Ok(()) };
        let mut at = 0;
        let mut hand_out = |run: &Run| {
            at += run.skipped;
            for step in at..at + run.length {
                take(i64::try_from(step).unwrap_or(i64::MAX).saturating_mul(self.step), &run.value)?;
            }
            at += run.length;
            Ok::<(), io::Error>(())
        };
        for chunk in self.spill.chunks(known.spilt)? {
            runs(&self.spill.read(chunk)?, &mut hand_out)?;
        }
        runs(&known.buffer, &mut hand_out)?;
        known.run.as_ref().map_or(Ok(()), hand_out)
    }
}

fn runs(mut bytes: &[u8], take: &mut impl FnMut(&Run) -> io::Result<()>) -> io::Result<()> {
    while !bytes.is_empty() {
        let (run, rest) = postcard::take_from_bytes::<Run>(bytes).map_err(io::Error::other)?;
        take(&run)?;
        bytes = rest;
    }
    Ok(())
}

impl Kept {
    /// Where a label set's points are kept, and whether it is new; none where there is no room for it.
    fn place(&mut self, series: &SeriesView, has_room: bool) -> Option<(u32, bool)> {
        if let Some(place) = self.index.get(&series.labels) {
            let known = self.series.get_mut(*place as usize)?;
            // A series that was dropped and came back has its text elsewhere.
            known.labels = series.labels.clone();
            return Some((*place, false));
        }
        let place = u32::try_from(self.series.len()).ok().filter(|_| has_room)?;
        self.index.insert(series.labels.clone(), place);
        self.series.push(Series::new(series.labels.clone()));
        Some((place, true))
    }

    /// The family as it is written, for its points of one kind: a name that has numbers and histograms is no single
    /// type's.
    pub(super) fn views(&self) -> impl Iterator<Item = FamilyView> {
        let is_histogram = matches!(self.view.kind, Type::Histogram | Type::Summary);
        let numbers = match (self.has_histograms, is_histogram) {
            (false, false) => self.view.kind,
            _ => Type::Untyped,
        };
        let histograms = if is_histogram { self.view.kind } else { Type::Histogram };
        let view = |kind| FamilyView { kind, ..self.view.clone() };
        let both = [self.has_numbers.then(|| view(numbers)), self.has_histograms.then(|| view(histograms))];
        both.into_iter().flatten()
    }

    /// Whether all its points are of one kind.
    pub(super) const fn is_single(&self) -> bool {
        !(self.has_numbers && self.has_histograms)
    }
}

impl Series {
    const fn new(labels: Arc<str>) -> Self {
        Self { labels, run: None, written: 0, buffer: Vec::new(), spilt: None }
    }

    /// Takes a value; tells by how much the buffer grew.
    fn take(&mut self, step: u64, value: &Shown) -> usize {
        match &mut self.run {
            Some(run) if self.written + run.skipped + run.length == step && is_same(&run.value, value) => {
                run.length += 1;
                0
            }
            _ => {
                let grown = self.end_run();
                let skipped = step.saturating_sub(self.written);
                self.run = Some(Run { skipped, length: 1, value: value.clone() });
                grown
            }
        }
    }

    /// Takes the last value once more.
    fn go_on(&mut self, step: u64) -> usize {
        match self.run.as_ref().map(|run| run.value.clone()) {
            Some(value) => self.take(step, &value),
            None => 0,
        }
    }

    fn end_run(&mut self) -> usize {
        let Some(run) = self.run.take() else { return 0 };
        self.written += run.skipped + run.length;
        let before = self.buffer.len();
        // A vector takes everything.
        if let Ok(bytes) = postcard::to_stdvec(&run) {
            self.buffer.extend_from_slice(&bytes);
        }
        self.buffer.len() - before
    }
}

/// Whether two values are written alike: a zero has a sign, and what is not a number is itself.
fn is_same(one: &Shown, other: &Shown) -> bool {
    match (one, other) {
        (Shown::Number(one), Shown::Number(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Histogram;

    fn number(name: &str, series: &[(&str, f64)]) -> FamilyView {
        let mut family = FamilyView::new(name, "h", Type::Gauge);
        series.iter().for_each(|(label, value)| family.push(&[("l", label)], *value));
        family
    }

    fn listed(points: &mut Points, family: usize, series: usize) -> Vec<(i64, String)> {
        let mut all = Vec::new();
        points
            .each(family, series, |at, value| {
                all.push((at, format!("{value:?}")));
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn what_was_shown_comes_back_series_by_series_whether_it_was_spilt_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let run = |held_max| {
            let mut points = Points { held_max, ..Points::new(15, folder.path()).unwrap() };
            let mut random = fastrand::Rng::with_seed(3);
            let mut expected: HashMap<(String, String), Vec<(i64, String)>> = HashMap::new();
            let mut histogram = Histogram::new(&[1.0, 2.0]);
            let mut last: Vec<FamilyView> = Vec::new();
            for step in 1..400 {
                let at = step * 15;
                if random.u8(..4) == 0 && step > 1 {
                    points.show_again(at);
                } else if random.u8(..5) > 0 {
                    let mut families = Vec::new();
                    for name in ["a", "b", "c"] {
                        let mut series = Vec::new();
                        for label in ["x", "y", "z"] {
                            if random.u8(..3) > 0 {
                                series.push((label, [0.0, -0.0, f64::NAN, 7.5][random.usize(..4)]));
                            }
                        }
                        if random.u8(..4) > 0 {
                            families.push(number(name, &series));
                        }
                    }
                    histogram.observe(&[1.0, 2.0], random.f64() * 3.0);
                    let mut family = FamilyView::new("h", "h", Type::Histogram);
                    let value = Shown::Histogram(histogram.clone());
                    family.series.push(SeriesView { labels: "".into(), value });
                    families.push(family);
                    points.show(at, &families).unwrap();
                    last = families;
                } else {
                    continue;
                }
                for family in &last {
                    for series in &family.series {
                        let key = (family.name.clone(), series.labels.to_string());
                        expected.entry(key).or_default().push((at, format!("{:?}", series.value)));
                    }
                }
            }
            for family in 0..points.families.len() {
                for series in 0..points.families[family].series.len() {
                    let kept = &points.families[family];
                    let key = (kept.view.name.clone(), kept.series[series].labels.to_string());
                    assert_eq!(
                        expected.remove(&key).unwrap(),
                        listed(&mut points, family, series),
                        "{key:?}"
                    );
                }
            }
            assert_eq!(0, expected.len());
            points.series
        };
        assert_eq!([10, 10, 10], [run(0), run(100), run(usize::MAX)]);
    }

    #[test]
    fn a_name_of_two_kinds_is_of_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut points = Points::new(15, folder.path()).unwrap();
        points.show(15, &[number("x", &[("a", 1.0)])]).unwrap();
        let mut family = FamilyView::new("x", "h", Type::Histogram);
        let value = Shown::Histogram(Histogram::new(&[]));
        family.series.push(SeriesView { labels: "l=\"a\"".into(), value });
        points.show(30, &[family]).unwrap();
        let kinds: Vec<Type> = points.families[0].views().map(|view| view.kind).collect();
        assert_eq!([Type::Untyped, Type::Histogram], *kinds);
        assert_eq!(2, listed(&mut points, 0, 0).len());
    }
}
