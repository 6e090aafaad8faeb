//! What a collector has measured, as scrapes take it: immutable, with its age and how it went.

use super::{Entry, Trouble};
use crate::metric::{FamilyView, Type};
use crate::publish::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Intervals after which a reading is no longer the truth.
const INTERVALS_KEPT: u32 = 3;

/// What one collector measured, and how its last measurement went.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The families of the last measurement that succeeded.
    pub families: Arc<[FamilyView]>,
    /// When that one began; none before the first.
    pub taken: Option<Instant>,
    /// The same for people, in seconds since 1970.
    pub taken_at: f64,
    /// How the last measurement went; none before the first ended.
    pub outcome: Option<Outcome>,
    /// What people should know about it.
    pub hints: Vec<String>,
}

/// How a measurement went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Why nothing was measured, if so.
    pub trouble: Option<Trouble>,
    /// How long it took.
    pub duration: Duration,
    /// When it ended.
    pub ended: Instant,
}

impl Reading {
    /// The reading after a measurement that began at `start` and ended now. After trouble the families stay.
    #[must_use]
    pub fn next(&self, start: Instant, result: Result<Vec<FamilyView>, Trouble>) -> Self {
        let ended = Instant::now();
        let outcome = |trouble| Some(Outcome { trouble, duration: ended.duration_since(start), ended });
        match result {
            Ok(families) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                // Elapsed is looked at after the wall clock: never later than it began, however long we waited in between.
                let taken_at = now.saturating_sub(start.elapsed()).as_secs_f64();
                let families = families.into_iter().filter(|family| !family.series.is_empty()).collect();
                Self { families, taken: Some(start), taken_at, outcome: outcome(None), ..Self::default() }
            }
            Err(trouble) => Self { outcome: outcome(Some(trouble)), ..self.clone() },
        }
    }
}

/// Where one collector puts its readings.
#[derive(Debug)]
pub struct Post {
    /// The collector.
    pub collector: &'static str,
    /// Time between two of its measurements.
    pub interval: Duration,
    /// Its reading.
    pub cell: Cell<Reading>,
    /// When it was told to measure; one that hangs in its first measurement is known by that.
    pub since: Instant,
    /// Whether its families' names are not ours: they are shown where nobody else has them.
    pub is_foreign: bool,
}

impl Post {
    /// A post without a reading.
    pub fn new(collector: &'static str, interval: Duration) -> Self {
        Self { collector, interval, cell: Cell::default(), since: Instant::now(), is_foreign: false }
    }

    /// The reading with its families, unless they are too old to be shown.
    fn current(&self, now: Instant) -> Option<Arc<Reading>> {
        Some(self.cell.get()).filter(|reading| self.is_fresh(reading.taken, now))
    }

    fn is_fresh(&self, moment: Option<Instant>, now: Instant) -> bool {
        let kept = self.interval.saturating_mul(INTERVALS_KEPT);
        moment.is_some_and(|moment| now.saturating_duration_since(moment) <= kept)
    }
}

/// The readings of all collectors that are on.
#[derive(Debug, Default)]
pub struct Readings(Cell<Vec<Arc<Post>>>);

impl Readings {
    /// Empty readings of these collectors.
    pub fn of(entries: impl IntoIterator<Item = &'static Entry>, interval: Duration) -> Self {
        let post = |entry: &'static Entry| Arc::new(Post::new(entry.name, interval));
        Self(Cell::new(entries.into_iter().map(post).collect()))
    }

    /// Takes the posts of others in place of these.
    pub fn replace(&self, others: &Self) {
        self.0.put(others.0.get().to_vec());
    }

    /// The same with one more, whose families have names that others chose.
    #[must_use]
    pub fn with_foreign(self, collector: &'static str, interval: Duration) -> Self {
        let post = Arc::new(Post { is_foreign: true, ..Post::new(collector, interval) });
        self.0.put(self.0.get().iter().cloned().chain([post]).collect());
        self
    }

    /// Where a collector puts its readings; none if it is off.
    pub fn post(&self, collector: &str) -> Option<Arc<Post>> {
        self.0.get().iter().find(|post| post.collector == collector).cloned()
    }

    /// What people should know, each a whole sentence.
    pub fn hints(&self) -> Vec<String> {
        self.0.get().iter().flat_map(|post| post.cell.get().hints.clone()).collect()
    }

    /// The readings that are shown at `now`, but for families whose names others chose.
    pub fn current(&self, now: Instant) -> Vec<Arc<Reading>> {
        let posts = self.0.get();
        posts.iter().filter(|post| !post.is_foreign).filter_map(|post| post.current(now)).collect()
    }

    /// The families that are shown at `now` beside families with the names in `taken`: two of one name would make
    /// Prometheus refuse the whole scrape, and what a log says verbatim wins.
    pub fn families(&self, now: Instant, taken: &HashSet<&str>) -> Vec<FamilyView> {
        // Each is taken once: what is said of a reading is said of the one that is shown.
        let posts = self.0.get();
        let readings: Vec<_> = posts.iter().map(|post| (&**post, post.cell.get())).collect();
        let shown =
            readings.iter().filter(|(post, reading)| !post.is_foreign && post.is_fresh(reading.taken, now));
        let mut families: Vec<FamilyView> =
            shown.flat_map(|(_, reading)| reading.families.to_vec()).collect();
        families.extend(health(&readings, now));
        families.retain(|family| !taken.contains(&*family.name));
        families
    }

    /// The families whose names others chose, unless they are too old: those of which no sample has a name of these
    /// families, and how many are left out. None without any such post.
    pub fn foreign<'a>(
        &self,
        now: Instant,
        taken: impl Iterator<Item = &'a FamilyView>,
    ) -> Option<(Vec<FamilyView>, usize)> {
        let all = self.0.get();
        let posts: Vec<&Arc<Post>> = all.iter().filter(|post| post.is_foreign).collect();
        if posts.is_empty() {
            return None;
        }
        let taken: HashSet<String> = taken.flat_map(FamilyView::sample_names).collect();
        let readings = posts.iter().filter_map(|post| post.current(now));
        let (mut shown, mut left_out) = (Vec::new(), 0);
        for family in readings.flat_map(|reading| reading.families.to_vec()) {
            if family.sample_names().any(|name| taken.contains(&name)) {
                left_out += 1;
            } else {
                shown.push(family);
            }
        }
        Some((shown, left_out))
    }
}

/// How the collectors do. One that hangs has not succeeded; one that has nothing to measure is not shown.
fn health(readings: &[(&Post, Arc<Reading>)], now: Instant) -> Vec<FamilyView> {
    let mut success = FamilyView::new(
        "inferometer_collector_success",
        "Whether a collector's last measurement succeeded and is not older than three intervals.",
        Type::Gauge,
    );
    let mut duration = FamilyView::new(
        "inferometer_collector_duration_seconds",
        "Duration of a collector's last measurement.",
        Type::Gauge,
    );
    let mut last_success = FamilyView::new(
        "inferometer_collector_last_success_timestamp_seconds",
        "When a collector's last measurement that succeeded began, in seconds since 1970.",
        Type::Gauge,
    );
    for (post, reading) in readings {
        let label = [("collector", post.collector)];
        let Some(outcome) = &reading.outcome else {
            if !post.is_fresh(Some(post.since), now) {
                success.push(&label, 0.0);
            }
            continue;
        };
        if matches!(outcome.trouble, Some(Trouble::Absent(_))) {
            continue;
        }
        let is_good = outcome.trouble.is_none() && post.is_fresh(reading.taken, now);
        success.push(&label, f64::from(u8::from(is_good)));
        duration.push(&label, outcome.duration.as_secs_f64());
        if reading.taken.is_some() {
            last_success.push(&label, reading.taken_at);
        }
    }
    [success, duration, last_success].into_iter().filter(|family| !family.series.is_empty()).collect()
}
