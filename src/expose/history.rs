//! What the page charts: the last 15 minutes of a bounded number of subjects.
//!
//! A timer takes a sample of what is published every [`STEP`] ([`super::sample`]). Each subject (a model, a GPU, a
//! worker, …) keeps its last minute, from which rates and quantiles are computed, and the computed numbers of 15
//! minutes. The memory for that is bounded per group of subjects; where it does not suffice, the busiest ones have
//! it. The lock is held to take a sample and to copy numbers out, never while something is rendered.

mod window;

pub(crate) use window::{How, Moment};

use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use window::{MOMENTS, Window};

/// Time between two samples.
pub(super) const STEP: Duration = Duration::from_secs(5);

/// How many samples a chart shows: 15 minutes.
pub(crate) const POINTS: usize = 180;

/// All memory for charts, in bytes; a part of it is for those that wait for a place.
#[cfg(test)]
const BUDGET: usize = 1024 * 1024;

/// How much more active than a charted subject another one must be to take its place.
const MARGIN: f64 = 1.25;

/// What of a subject's activity is left after one more sample: half of it after half a minute.
const FADING: f64 = 0.9;

/// The most subjects without a place whose activity is remembered: further ones cannot win a place.
const WAITING_MAX: usize = 1024;

/// What kind of thing is charted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Group {
    Sources,
    Models,
    Histograms,
    Host,
    Cgroups,
    Gpus,
    Workers,
}

/// One charted number of a group's subjects: its name ends with its unit.
pub(crate) type Chart = (&'static str, How);

impl Group {
    pub(crate) const ALL: [Self; 7] =
        [Self::Sources, Self::Models, Self::Histograms, Self::Host, Self::Cgroups, Self::Gpus, Self::Workers];

    /// Its key in the status.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Models => "models",
            Self::Histograms => "histograms",
            Self::Host => "host",
            Self::Cgroups => "cgroups",
            Self::Gpus => "gpus",
            Self::Workers => "workers",
        }
    }

    /// Bytes for its subjects.
    const fn budget(self) -> usize {
        1024 * match self {
            Self::Sources => 96,
            Self::Models => 416,
            Self::Histograms => 192,
            Self::Host => 16,
            Self::Cgroups => 16,
            Self::Gpus => 112,
            Self::Workers => 112,
        }
    }

    /// What is charted. `sample` gives the inputs in the order that these numbers mean.
    pub(crate) const fn charts(self) -> &'static [Chart] {
        match self {
            Self::Sources => &[("lines_per_second", How::Rate(0))],
            Self::Models => &[
                ("requests_per_second", How::Observed),
                ("error_ratio", How::Share(0, 1)),
                ("p50_seconds", How::Quantile(0.5)),
                ("p95_seconds", How::Quantile(0.95)),
                ("p99_seconds", How::Quantile(0.99)),
                ("queue_length", How::Rate(2)),
                ("batch_size", How::Share(3, 4)),
            ],
            Self::Histograms => &[
                ("per_second", How::Observed),
                ("mean", How::Mean),
                ("p50", How::Quantile(0.5)),
                ("p95", How::Quantile(0.95)),
                ("p99", How::Quantile(0.99)),
            ],
            Self::Host => &[
                ("cpu_ratio", How::Share(0, 1)),
                ("memory_ratio", How::Gauge(2)),
                ("load", How::Gauge(3)),
                ("disk_read_bytes_per_second", How::Rate(4)),
                ("disk_written_bytes_per_second", How::Rate(5)),
                ("network_received_bytes_per_second", How::Rate(6)),
                ("network_sent_bytes_per_second", How::Rate(7)),
            ],
            Self::Cgroups => &[
                ("cpu_cores", How::Rate(0)),
                ("throttled_ratio", How::Rate(1)),
                ("memory_bytes", How::Gauge(2)),
            ],
            Self::Gpus => &[
                ("memory_used_bytes", How::Gauge(0)),
                ("utilization_ratio", How::Gauge(1)),
                ("power_watts", How::Gauge(2)),
                ("temperature_celsius", How::Gauge(3)),
            ],
            Self::Workers => &[
                ("cpu_cores", How::Rate(0)),
                ("resident_bytes", How::Gauge(1)),
                ("gpu_memory_bytes", How::Gauge(2)),
            ],
        }
    }
}

/// One subject as it was measured now.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) group: Group,
    /// What it is called; no two of a group have the same.
    pub(crate) labels: Vec<(String, String)>,
    /// What is known about it and not charted.
    pub(crate) facts: Vec<(&'static str, f64)>,
    /// Upper bounds of its histogram.
    pub(crate) bounds: Arc<[f64]>,
    pub(crate) moment: Moment,
    /// A number that grows with what it does; where not all can be charted, those that do most are.
    pub(crate) activity: f64,
}

/// A charted subject as the status shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) labels: BTreeMap<String, String>,
    /// The charted numbers of now.
    pub(crate) now: BTreeMap<&'static str, f32>,
    /// What is not charted.
    pub(crate) facts: BTreeMap<&'static str, f64>,
    /// Points in the order of time; the last one is of the last sample.
    pub(crate) charts: BTreeMap<&'static str, Vec<f32>>,
}

/// A group as the status shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Rows {
    /// Subjects that were seen and have no place.
    pub(crate) left_out: usize,
    /// The others, the most active first.
    pub(crate) rows: Vec<Row>,
}

/// The charted past.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Samples so far.
    samples: u64,
    /// When the last one was taken, in seconds since 1970.
    sampled_at: f64,
    tracks: HashMap<(Group, Vec<(String, String)>), Track>,
    left_out: BTreeMap<Group, usize>,
    /// Activities of the subjects that have no place.
    waiting: HashMap<u64, Activity>,
}

/// How busy a subject has been of late.
#[derive(Clone, Copy, Debug, Default)]
struct Activity {
    last: f64,
    recent: f64,
}

impl Activity {
    const fn begin(total: f64) -> Self {
        Self { last: total, recent: 0.0 }
    }

    fn take(&mut self, total: f64) {
        self.recent = self.recent * FADING + (total - self.last).max(0.0);
        self.last = total;
    }
}

#[derive(Debug)]
struct Track {
    window: Window,
    bounds: Arc<[f64]>,
    facts: Vec<(&'static str, f64)>,
    /// One ring per chart, the points of all samples since the first one it was in.
    rings: Vec<Ring>,
    activity: Activity,
    /// The sample that it was in last.
    seen: u64,
}

/// The last [`POINTS`] numbers, oldest first.
#[derive(Debug, Default)]
struct Ring(std::collections::VecDeque<f32>);

impl Ring {
    fn push(&mut self, value: Option<f64>) {
        if self.0.len() == POINTS {
            self.0.pop_front();
        }
        self.0.push_back(value.map_or(f32::NAN, narrow));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a point of a chart")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// A copy of what is charted.
#[derive(Debug)]
pub(crate) struct Charts {
    /// Samples so far.
    pub(crate) samples: u64,
    /// When the last one was taken, in seconds since 1970.
    pub(crate) sampled_at: f64,
    /// The groups by label.
    pub(crate) groups: BTreeMap<&'static str, Rows>,
}

impl History {
    /// Takes a sample.
    pub(crate) fn sample(&self, subjects: Vec<Subject>, at: f64) {
        self.lock().sample(subjects, at);
    }

    /// Copies what is charted, with the points after this many samples.
    pub(crate) fn charts(&self, since: u64) -> Charts {
        self.lock().charts(since)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn sample(&mut self, subjects: Vec<Subject>, at: f64) {
        self.samples += 1;
        self.sampled_at = at;
        let mut waiting = HashMap::new();
        self.left_out.clear();
        for subject in subjects {
            let key = (subject.group, subject.labels.clone());
            if !self.tracks.contains_key(&key) {
                let hash = hash_of(&key);
                let activity = match self.waiting.get(&hash) {
                    Some(activity) => {
                        let mut activity = *activity;
                        activity.take(subject.activity);
                        activity
                    }
                    None => Activity::begin(subject.activity),
                };
                if !self.make_room(&key, &subject, activity) {
                    *self.left_out.entry(subject.group).or_default() += 1;
                    if waiting.len() < WAITING_MAX {
                        waiting.insert(hash, activity);
                    }
                    continue;
                }
                self.tracks.insert(key.clone(), Track::new(&subject, activity));
            }
            if let Some(track) = self.tracks.get_mut(&key) {
                track.take(subject, self.samples);
            }
        }
        self.waiting = waiting;
        // What has not been seen for a minute is forgotten.
        let samples = self.samples;
        self.tracks.retain(|_, track| samples - track.seen <= MOMENTS as u64);
    }

    /// Whether the group has room for a subject, after the least active one has made some if it must.
    fn make_room(
        &mut self,
        key: &(Group, Vec<(String, String)>),
        subject: &Subject,
        activity: Activity,
    ) -> bool {
        let group = subject.group;
        let cost = cost(group, &key.1, subject.bounds.len(), subject.facts.len());
        let used: usize = self.used(group);
        if used + cost <= group.budget() {
            return true;
        }
        let of_group = self.tracks.iter().filter(|((of, _), _)| *of == group);
        let least = of_group.min_by(|(_, a), (_, b)| a.activity.recent.total_cmp(&b.activity.recent));
        let Some((least_key, least)) = least else { return false };
        let freed = self.cost_of(least_key, least);
        let is_busier = activity.recent > least.activity.recent * MARGIN;
        if !is_busier || used - freed + cost > group.budget() {
            return false;
        }
        let least_key = least_key.clone();
        self.tracks.remove(&least_key);
        *self.left_out.entry(group).or_default() += 1;
        true
    }

    fn used(&self, group: Group) -> usize {
        let of_group = self.tracks.iter().filter(|((of, _), _)| *of == group);
        of_group.map(|(key, track)| self.cost_of(key, track)).sum()
    }

    fn cost_of(&self, key: &(Group, Vec<(String, String)>), track: &Track) -> usize {
        cost(key.0, &key.1, track.bounds.len(), track.facts.len())
    }

    fn charts(&self, since: u64) -> Charts {
        let mut groups: BTreeMap<&'static str, Rows> =
            Group::ALL.iter().map(|group| (group.label(), Rows::default())).collect();
        let mut present: Vec<_> =
            self.tracks.iter().filter(|(_, track)| track.seen == self.samples).collect();
        present.sort_by(|((_, a_labels), a), ((_, b_labels), b)| {
            b.activity.last.total_cmp(&a.activity.last).then_with(|| a_labels.cmp(b_labels))
        });
        let new = usize::try_from(self.samples.saturating_sub(since)).unwrap_or(usize::MAX);
        for ((group, labels), track) in present {
            if let Some(rows) = groups.get_mut(group.label()) {
                rows.rows.push(track.row(*group, labels, new));
            }
        }
        for (group, count) in &self.left_out {
            if let Some(rows) = groups.get_mut(group.label()) {
                rows.left_out = *count;
            }
        }
        Charts { samples: self.samples, sampled_at: self.sampled_at, groups }
    }
}

impl Track {
    fn new(subject: &Subject, activity: Activity) -> Self {
        let rings = subject.group.charts().iter().map(|_| Ring::default()).collect();
        let bounds = subject.bounds.clone();
        Self { window: Window::default(), bounds, facts: Vec::new(), rings, activity, seen: 0 }
    }

    fn take(&mut self, subject: Subject, samples: u64) {
        let charts = subject.group.charts();
        self.pad(samples - 1);
        self.window.push(subject.moment, charts.iter().map(|(_, how)| *how));
        for (ring, (_, how)) in self.rings.iter_mut().zip(charts) {
            ring.push(self.window.value(*how, &self.bounds));
        }
        self.facts = subject.facts;
        self.activity.take(subject.activity);
        self.seen = samples;
    }

    /// Leaves gaps for the samples up to this one that it was not in.
    fn pad(&mut self, samples: u64) {
        if self.seen == 0 {
            return;
        }
        for _ in self.seen..samples {
            self.rings.iter_mut().for_each(|ring| ring.push(None));
        }
    }

    fn row(&self, group: Group, labels: &[(String, String)], new: usize) -> Row {
        let charts = group.charts().iter().zip(&self.rings).map(|((name, _), ring)| {
            let skipped = ring.0.len().saturating_sub(new);
            (*name, ring.0.iter().skip(skipped).copied().collect())
        });
        let last = |ring: &Ring| ring.0.back().copied().unwrap_or(f32::NAN);
        let now = group.charts().iter().zip(&self.rings).map(|((name, _), ring)| (*name, last(ring)));
        Row {
            labels: labels.iter().cloned().collect(),
            now: now.collect(),
            facts: self.facts.iter().copied().collect(),
            charts: charts.collect(),
        }
    }
}

/// Bytes that a subject takes at most, whatever it is filled with.
fn cost(group: Group, labels: &[(String, String)], bounds: usize, facts: usize) -> usize {
    const WORD: usize = size_of::<u64>();
    /// Of an allocation, and of an entry in a table.
    const EACH: usize = 4 * WORD;
    let charts = group.charts().len();
    let rings = charts * (POINTS * size_of::<f32>() + size_of::<Ring>() + EACH);
    let inputs = 8 * WORD + EACH;
    let counts = if bounds == 0 { 0 } else { (bounds + 3) * WORD + EACH };
    let moments = MOMENTS * (size_of::<Moment>() + inputs + counts);
    let labels: usize =
        labels.iter().map(|(name, value)| name.len() + value.len() + 2 * EACH + 6 * WORD).sum();
    size_of::<Track>() + rings + moments + labels + bounds * WORD + facts * 3 * WORD + 4 * EACH
}

fn hash_of(key: &(Group, Vec<(String, String)>)) -> u64 {
    use std::hash::BuildHasher;
    foldhash::fast::FixedState::default().hash_one(key)
}

#[cfg(test)]
mod tests;
