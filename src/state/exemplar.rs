//! Which request fell into a histogram's bucket last, kept within a fixed memory.

use super::Origin;
use super::server;
use crate::metric::{Exemplar, Exemplars};
use parsers::Civil;

/// Most bytes that all exemplars may take; a copy that is published may take as many again until the next one. When
/// they take more, all are forgotten: what counts is the newest, and those come with the next lines.
pub(super) const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest id in characters: OpenMetrics lets an exemplar's label names and values have 128 together.
const CHARS_MAX: usize = 128 - Exemplar::LABEL.len();

/// What the first exemplar of a series takes besides its bytes: the counts before them, and its place in the list.
const OVERHEAD: usize = 16 + size_of::<Option<Exemplars>>();

/// What caused a line: when it was, and of which requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause<'a> {
    /// Seconds since 1970.
    pub(crate) at: u32,
    /// The first id of a batch, if it is one and not too long.
    request_id: Option<&'a [u8]>,
    /// What the line says after the first id.
    other_ids: &'a [u8],
}

impl<'a> Cause<'a> {
    /// A line that names these requests and was written at this time of the server's clock, as far as it tells.
    pub(crate) fn new(request_ids: Option<&'a [u8]>, at: Option<u64>, origin: &Origin<'_>) -> Self {
        // Prometheus takes no exemplar that is older than the last one: a time of the future would be the last ever.
        let at = at.map_or(origin.wall, |at| at.min(origin.wall));
        let ids = request_ids.unwrap_or_default();
        let first = memchr::memchr(b',', ids).unwrap_or(ids.len());
        let (id, other_ids) = ids.split_at_checked(first).unwrap_or_default();
        let request_id = Some(id).filter(|id| !id.is_empty() && is_short(id));
        Self { at: u32::try_from(at).unwrap_or(u32::MAX), request_id, other_ids }
    }

    /// How many requests it names, if it names any.
    pub(crate) fn requests(&self) -> f64 {
        let others =
            if self.other_ids.is_empty() { 0 } else { memchr::memchr_iter(b',', self.other_ids).count() };
        f64::from(u32::try_from(others + 1).unwrap_or(u32::MAX))
    }

    /// The same of a line whose time is a date. One without its year is as good as none.
    pub(crate) fn dated(request_id: Option<&'a str>, time: Option<Civil>, origin: &Origin<'_>) -> Self {
        let time = time.filter(|time| time.year != 0);
        let seconds = time.and_then(|time| server::seconds(time, origin.offset_minutes));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "before 1970 it is 1970")]
        let seconds = seconds.map(|seconds| seconds as u64);
        Self::new(request_id.map(str::as_bytes), seconds, origin)
    }
}

fn is_short(id: &[u8]) -> bool {
    // Each character has one byte that follows none.
    let chars = || id.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    id.len() <= CHARS_MAX || chars() <= CHARS_MAX
}

/// Exemplars of one family, by the index of their series.
#[derive(Clone, Debug, Default)]
pub(crate) struct FamilyExemplars {
    of_series: Vec<Option<Exemplars>>,
}

impl FamilyExemplars {
    /// Takes one if the line names a request; tells by how many bytes all of them grew.
    pub(crate) fn offer(&mut self, series: usize, bucket: u16, value: f64, cause: &Cause<'_>) -> usize {
        let Some(Some(kept)) = self.of_series.get_mut(series) else {
            return self.first(series, bucket, value, cause);
        };
        let before = kept.size();
        if let Some(request_id) = cause.request_id {
            kept.offer(bucket, cause.at, value, request_id);
        }
        kept.size().saturating_sub(before)
    }

    #[cold]
    fn first(&mut self, series: usize, bucket: u16, value: f64, cause: &Cause<'_>) -> usize {
        let Some(request_id) = cause.request_id else { return 0 };
        if self.of_series.len() <= series {
            self.of_series.resize(series + 1, None);
        }
        let mut kept = Exemplars::default();
        kept.offer(bucket, cause.at, value, request_id);
        let grown = size(Some(&kept));
        if let Some(slot) = self.of_series.get_mut(series) {
            *slot = Some(kept);
        }
        grown
    }

    /// All of them, as they are shown.
    pub(crate) fn list(&self) -> &[Option<Exemplars>] {
        &self.of_series
    }

    /// Those there are, with the index of their series.
    pub(crate) fn saved(&self) -> impl Iterator<Item = (u32, &Exemplars)> {
        (0..).zip(&self.of_series).filter_map(|(at, kept)| Some((at, kept.as_ref()?)))
    }

    /// What was saved, for a family of so many series.
    pub(crate) fn restored(saved: Vec<(u32, Exemplars)>, series: usize) -> Self {
        let mut of_series = Vec::new();
        for (at, kept) in saved.into_iter().filter(|(at, _)| (*at as usize) < series) {
            of_series.resize((at as usize).max(of_series.len()), None);
            of_series.push(Some(kept));
        }
        Self { of_series }
    }

    /// Keeps those of the series for which the iterator, one item per series, says so.
    pub(crate) fn retain(&mut self, mut stays: impl Iterator<Item = bool>) {
        self.of_series.retain(|_| stays.next().unwrap_or(false));
    }

    pub(crate) fn clear(&mut self) {
        self.of_series = Vec::new();
    }

    /// How many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.of_series.iter().map(|kept| size(kept.as_ref())).sum()
    }
}

fn size(kept: Option<&Exemplars>) -> usize {
    kept.map_or(0, |kept| OVERHEAD + kept.size())
}

impl super::State {
    /// Notes that exemplars have grown; too many are forgotten. Those of a family that ends count until then.
    pub(super) fn grown(&mut self, bytes: usize) {
        self.exemplar_bytes += bytes;
        if self.exemplar_bytes > BYTES_MAX {
            self.families.iter_mut().for_each(|family| family.exemplars.clear());
            self.exemplar_bytes = 0;
        }
    }

    /// Counts anew, after series have gone.
    pub(super) fn measure_exemplars(&mut self) {
        self.exemplar_bytes = self.families.iter().map(|family| family.exemplars.bytes()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Role, Rules, State};
    use super::*;
    use std::collections::BTreeMap;

    fn origin(labels: &BTreeMap<String, String>) -> Origin<'_> {
        Origin { source: 0, server: 0, now: 0, wall: 1_795_196_880, labels, offset_minutes: 60 }
    }

    #[test]
    fn the_first_id_of_a_batch_is_taken_if_it_fits() {
        fn id(ids: &str) -> Option<&str> {
            let labels = BTreeMap::new();
            let cause = Cause::new(Some(ids.as_bytes()), None, &origin(&labels));
            cause.request_id.map(|id| str::from_utf8(id).unwrap())
        }
        assert_eq!(Some("a-1"), id("a-1,b"));
        let (longest, wide) = ("x".repeat(118), "ü".repeat(118));
        assert_eq!((Some(&*longest), Some(&*wide)), (id(&longest), id(&wide)));
        for bad in ["", ",b", &"x".repeat(119), &"ü".repeat(119)] {
            assert_eq!(None, id(bad), "{bad:?}");
        }
        let labels = BTreeMap::new();
        for (count, ids) in [(1.0, "a"), (2.0, "a,b"), (3.0, ",,")] {
            assert_eq!(count, Cause::new(Some(ids.as_bytes()), None, &origin(&labels)).requests());
        }
    }

    #[test]
    fn a_time_is_never_one_of_the_future() {
        let labels = BTreeMap::new();
        let at = |told| Cause::new(None, told, &origin(&labels)).at;
        assert_eq!((1_795_196_880, 5, 1_795_196_880), (at(None), at(Some(5)), at(Some(u64::MAX))));
        let time = |year| Civil {
            year,
            month: 1,
            day: 1,
            hour: 2,
            minute: 0,
            second: 9,
            millisecond: 999,
            offset_minutes: None,
        };
        let at = |year| Cause::dated(None, Some(time(year)), &origin(&labels)).at;
        assert_eq!((3609, 1_795_196_880, 0), (at(1970), at(0), at(1960)));
    }

    #[test]
    fn what_was_saved_comes_back_to_its_series() {
        let mut kept = FamilyExemplars::default();
        for series in [4, 1, 4] {
            kept.offer(series, 0, 1.0, &Cause { at: 1, request_id: Some(b"a"), other_ids: b"" });
        }
        let saved = kept.saved().map(|(at, kept)| (at, kept.clone())).collect::<Vec<_>>();
        let restored = FamilyExemplars::restored(saved.clone(), 5);
        assert_eq!((kept.list(), kept.bytes()), (restored.list(), restored.bytes()));
        assert_eq!(2, FamilyExemplars::restored(saved, 4).list().len());
        kept.retain([true, false, true, true, true].into_iter());
        assert_eq!((4, 1), (kept.list().len(), kept.saved().count()));
    }

    #[test]
    fn exemplars_keep_to_their_memory() {
        let rules = Rules { series_limit: 100_000, family_limit: 100_000, ..Rules::default() };
        let mut state = State::new(rules.into());
        let labels = BTreeMap::new();
        let (source, server) = (state.add_source("x.log"), state.add_server());
        let origin = Origin { source, server, ..origin(&labels) };
        let id = "x".repeat(100);
        let mut most = 0;
        for model in 0..40_000 {
            let line = format!(
                "t - PredictionTime.ms:1.5|#ModelName:{model},Level:Model|#hostname:h,requestID:{id},timestamp:1"
            );
            assert!(state.fold(line.as_bytes(), &parsers::FORMATS[0], Role::All, &origin).is_ok());
            assert!(state.exemplar_bytes <= BYTES_MAX);
            most = most.max(state.exemplar_bytes);
        }
        let counted = state.exemplar_bytes;
        state.measure_exemplars();
        assert_eq!(counted, state.exemplar_bytes);
        assert!(0 < counted && counted < most, "{counted} bytes after {most}: nothing was forgotten");
    }
}
