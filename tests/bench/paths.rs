//! The hot paths, each as a plain call that takes some items through it. `cargo bench` times them, and
//! `instructions` counts what an item costs.

use crate::drive;
use crate::traffic::{self, Shape, Traffic};
use inferometer::expose::text::encode;
use inferometer::follow::{Follower, Settings, Start, Waker, WatchedPath};
use inferometer::metric::FamilyView;
use inferometer::publish::Board;
use inferometer::snapshot::Slots;
use inferometer::state::{Origin, Rules, State};
use parsers::{FORMATS, Format, Kind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// TorchServe's metric files.
pub(crate) static METRIC_FILE: &Format = &FORMATS[0];

/// The same where no line is known by its bytes, so that each of them is parsed.
pub(crate) static UNIDENTIFIED: LazyLock<Format> = LazyLock::new(|| Format { identify: None, ..FORMATS[0] });

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

/// Rules with room for all series, and with the types of [`traffic::series`].
pub(crate) fn rules(latency_histograms: bool) -> Arc<Rules> {
    let types = traffic::TYPES.map(|(name, kind)| (name.to_owned(), Kind::from_label(kind).expect("a type")));
    Arc::new(Rules {
        types: types.into(),
        series_limit: 1_000_000,
        family_limit: 1_000_000,
        latency_histograms,
        ..Rules::default()
    })
}

/// A state with one source.
pub(crate) fn state(latency_histograms: bool) -> (State, Origin<'static>) {
    let mut state = State::new(rules(latency_histograms));
    let origin = Origin { now: 1, wall: 1, ..drive::add(&mut state, "model_metrics.log", &NO_LABELS) };
    (state, origin)
}

/// A state that holds so many series of a shape.
pub(crate) fn state_of(shape: Shape, series: usize) -> State {
    let (mut state, origin) = state(false);
    drive::fold(&mut state, traffic::series(shape, series).as_bytes(), METRIC_FILE, &origin);
    state
}

/// Folds bytes; tells how many records they hold.
pub(crate) fn fold(state: &mut State, bytes: &[u8], origin: &Origin<'_>) -> u64 {
    drive::fold(state, bytes, METRIC_FILE, origin)
}

/// Follows a file from its first byte to its end, as a catch-up does: reads it, cuts and folds its lines and
/// remembers what it has read. Tells how many lines ended as this outcome.
pub(crate) fn follow(file: &Path, format: &'static Format, latency_histograms: bool, outcome: &str) -> u64 {
    let path = WatchedPath {
        path: file.to_owned(),
        format: Some(format),
        labels: BTreeMap::new(),
        offset_minutes: 0,
        is_listed: false,
    };
    let settings = Settings {
        paths: vec![path],
        allowed_roots: Vec::new(),
        allow_repeats: false,
        start: Start::Start,
        poll_interval: Duration::from_millis(250),
        commit_interval: Duration::from_secs(1),
        line_max: 64 * 1024,
        state_dir: None,
        keep_lines: false,
    };
    let board = Arc::new(Board::default());
    let mut follower = Follower::new(settings, rules(latency_histograms), board.clone(), &Waker::default())
        .expect("standard input is not followed");
    while follower.step(1).has_more {}
    follower.commit(1);
    let view = &board.view.get().view;
    let lines = view.own.iter().find(|family| family.name == "inferometer_lines_total").expect("the counts");
    let is_it = |labels: &str| labels.contains(&format!("outcome=\"{outcome}\""));
    let counted = lines.series.iter().find(|series| is_it(&series.labels)).expect("the outcome");
    let inferometer::metric::Shown::Number(counted) = counted.value else { panic!("a count is a number") };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
    let counted = counted as u64;
    counted
}

/// Writes families as a scrape shows them, into a text that has room from the time before, as a scraper's has: what
/// growing costs depends on where in memory it grows.
pub(crate) fn render(families: &[FamilyView], text: &mut String) {
    text.clear();
    encode(families, None, text);
}

/// Saves all that a state holds.
pub(crate) fn commit(state: &State, slots: &mut Slots) {
    slots.save(&state.save()).expect("the folder takes it");
}

/// Lines of a server at work; all its series come up first.
pub(crate) fn known_lines(series: usize, count: u64) -> String {
    Traffic::new(series, 1).lines(count)
}

/// The same lines, all but the first ones in an order that never comes again.
pub(crate) fn unordered_lines(series: usize, count: u64) -> String {
    let mut traffic = Traffic::new(series, 1);
    let first = traffic.requests(traffic.cover());
    let rest = traffic.lines(count - traffic.truth.lines.min(count));
    let mut lines: Vec<&str> = rest.split_inclusive('\n').collect();
    fastrand::Rng::with_seed(1).shuffle(&mut lines);
    first + &lines.concat()
}
