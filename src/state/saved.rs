//! The state as a snapshot keeps it, and how a state with other rules takes it up again.
//!
//! Who owns which name follows from the order in which families came up and types were told, so a restored state
//! goes through both once more, refused families included. A family then goes on where it was when its type,
//! labels and bounds are still the same; any other one starts anew, since its old numbers would mean something
//! else.

use super::access::LABELS;
use super::exemplar::FamilyExemplars;
use super::family::{Family, Origin, Series};
use super::server::Server;
use super::value::Value;
use super::workers::Workers;
use super::{LoadedWorker, Rules, SourceFacts, State, Told};
use crate::metric::Exemplars;
use parsers::{Kind, Metric, Reason, Scope};
use serde::{Deserialize, Serialize, Serializer};
use std::sync::Arc;

/// Everything that lines have added up to, as it was saved.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SavedState {
    families: Vec<SavedFamily>,
    told: Vec<SavedType>,
    models: Vec<String>,
    sources: Vec<SourceFacts>,
    servers: Vec<Server>,
    workers: Vec<LoadedWorker>,
    no_room: u64,
}

/// The same of a living state, written as it is: with a hundred thousand series a copy would cost more memory
/// than all else. Its fields are those of [`SavedState`], in their order.
#[derive(Debug, Serialize)]
pub struct Saving<'a> {
    families: Vec<SavingFamily<'a>>,
    told: Vec<SavedType>,
    models: Vec<&'a str>,
    sources: &'a [SourceFacts],
    servers: &'a [Server],
    workers: Vec<LoadedWorker>,
    no_room: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedType {
    name: String,
    kind: u8,
    /// How many of the families were there when it was told.
    families: usize,
}

#[derive(Clone, Debug, Deserialize)]
struct SavedFamily {
    origin: SavedOrigin,
    name: String,
    unit: String,
    /// Of a family that no rule can tell the help of: a measured one's.
    help: String,
    kind: Option<u8>,
    labels: Vec<String>,
    /// Names of the labels in the series' texts.
    shown: Vec<String>,
    bounds: Vec<f64>,
    series: Vec<SavedSeries>,
    overflow: Option<SavedSeries>,
    /// By the index of their series.
    exemplars: Vec<(u32, Exemplars)>,
    created: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct SavingFamily<'a> {
    origin: SavedOrigin,
    name: &'a str,
    unit: &'a str,
    help: &'a str,
    kind: Option<u8>,
    labels: &'a [String],
    shown: Vec<String>,
    bounds: &'a [f64],
    #[serde(serialize_with = "save_series")]
    series: &'a [Series],
    overflow: Option<SavingSeries<'a>>,
    exemplars: Vec<(u32, &'a Exemplars)>,
    created: &'a [u32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SavedOrigin {
    Server,
    Model,
    /// Comes up together with the family that feeds it.
    Derived,
    /// The histogram of the access log, which no family feeds.
    Requests,
    /// A metric that a format knows, under the server's own name.
    Measured,
    /// The same in the schema that all servers share.
    Uniform,
    /// A metric of the user's own rules.
    Own,
    /// The same under a name that the server had once.
    Old,
}

#[derive(Clone, Debug, Deserialize)]
struct SavedSeries {
    labels: String,
    value: Value,
    last_seen: u32,
    server: u32,
}

#[derive(Debug, Serialize)]
struct SavingSeries<'a> {
    labels: &'a str,
    value: &'a Value,
    last_seen: u32,
    server: u32,
}

impl<'a> From<&'a Series> for SavingSeries<'a> {
    fn from(series: &'a Series) -> Self {
        let Series { labels, value, last_seen, server } = series;
        Self { labels, value, last_seen: *last_seen, server: *server }
    }
}

fn save_series<S: Serializer>(series: &[Series], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(series.iter().map(SavingSeries::from))
}

impl State {
    /// The state for a snapshot.
    pub fn save(&self) -> Saving<'_> {
        let mut told: Vec<_> = self.told.iter().collect();
        told.sort_unstable_by_key(|(_, told)| told.order);
        let told = told.into_iter().map(|(name, told)| SavedType {
            name: name.to_string(),
            kind: code(told.kind),
            families: told.families,
        });
        let families = self.families.iter().enumerate();
        Saving {
            families: families.map(|(at, family)| self.save_family(at, family)).collect(),
            told: told.collect(),
            models: self.models.iter().map(AsRef::as_ref).collect(),
            sources: &self.sources,
            servers: &self.servers,
            workers: self.workers.list(),
            no_room: self.no_room,
        }
    }

    /// A state that goes on where the saved one was.
    pub fn restore(rules: Arc<Rules>, saved: SavedState) -> Self {
        let mut state = Self::new(rules);
        let mut told = saved.told.iter().peekable();
        for (at, family) in saved.families.iter().enumerate() {
            while let Some(told) = told.next_if(|told| told.families <= at) {
                state.learn_again(told);
            }
            state.create_again(family);
        }
        told.for_each(|told| state.learn_again(told));
        state.models = saved.models.into_iter().map(String::into_boxed_str).collect();
        state.sources = saved.sources;
        state.servers = saved.servers;
        state.workers = Workers::restored(saved.workers);
        state.no_room = saved.no_room;
        for family in saved.families {
            state.fill(family);
        }
        state.measure_exemplars();
        state
    }

    /// What the same lines add up to under other rules, as after a restart with these: only families whose type,
    /// labels or bounds have changed start anew.
    ///
    /// # Errors
    ///
    /// When it cannot be saved into memory; that is a mistake in this file.
    pub fn under(&self, rules: Arc<Rules>) -> Result<Self, postcard::Error> {
        Ok(Self::restore(rules, postcard::from_bytes(&postcard::to_stdvec(&self.save())?)?))
    }

    /// The same positions with nothing counted: sources and servers stay, numbers start at 0.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let mut state = Self::new(self.rules.clone());
        let told = self.told.iter();
        state.told = told.map(|(name, told)| (name.clone(), Told { families: 0, ..*told })).collect();
        state.sources = self.sources.iter().map(|facts| SourceFacts::new(&facts.name)).collect();
        state.servers.clone_from(&self.servers);
        state.workers.clone_from(&self.workers);
        state
    }

    fn save_family<'a>(&'a self, at: usize, family: &'a Family) -> SavingFamily<'a> {
        SavingFamily {
            origin: match family.origin {
                Origin::Log(Scope::Server) => SavedOrigin::Server,
                Origin::Log(Scope::Model) => SavedOrigin::Model,
                Origin::Derived if self.requests == Some(at) => SavedOrigin::Requests,
                Origin::Derived => SavedOrigin::Derived,
                Origin::Measured => SavedOrigin::Measured,
                Origin::Uniform => SavedOrigin::Uniform,
                Origin::Own => SavedOrigin::Own,
                Origin::Old => SavedOrigin::Old,
            },
            name: &family.name,
            unit: &family.unit,
            help: if family.origin.is_measured() { &family.exposed.help } else { "" },
            kind: family.kind.map(code),
            labels: &family.label_names,
            shown: self.shown_labels(at),
            bounds: &family.bounds,
            series: &family.series,
            overflow: family.overflow.as_ref().map(SavingSeries::from),
            exemplars: family.exemplars.saved().collect(),
            created: &family.created,
        }
    }

    fn learn_again(&mut self, told: &SavedType) {
        if let Some(kind) = kind(told.kind) {
            self.learn(&told.name, kind);
        }
    }

    /// Brings a family up as its first line did. One that these rules refuse stays away.
    fn create_again(&mut self, saved: &SavedFamily) {
        let scope = match saved.origin {
            SavedOrigin::Server => Scope::Server,
            SavedOrigin::Model => Scope::Model,
            SavedOrigin::Derived => return,
            SavedOrigin::Requests => {
                self.requests_family();
                return;
            }
            SavedOrigin::Measured => return self.measure_again(saved, Origin::Measured),
            SavedOrigin::Uniform => return self.measure_again(saved, Origin::Uniform),
            SavedOrigin::Own => return self.rule_again(saved),
            SavedOrigin::Old => return self.measure_again(saved, Origin::Old),
        };
        let labels = saved.labels.iter().map(String::as_str);
        let _refused: Result<usize, Reason> = self.create(scope, &saved.name, &saved.unit, labels);
    }

    /// The same for a metric that a format knows; under other names than before it starts anew.
    fn measure_again(&mut self, saved: &SavedFamily, origin: Origin) {
        let goes_on =
            if origin == Origin::Old { self.rules.old_names } else { self.measured_origin() == origin };
        let Some(kind) = saved.kind.and_then(kind).filter(|_| goes_on) else { return };
        let SavedFamily { name, help, bounds, .. } = saved;
        let metric = Metric { name, help, kind, bounds, ..Metric::BLANK };
        let _refused: Result<usize, Reason> = self.measured_family(&metric, origin);
    }

    /// The same for a metric of the user's own rules, as the rules are now.
    fn rule_again(&mut self, saved: &SavedFamily) {
        let rules = self.rules.clone();
        if let Some(family) = rules.own.family(&saved.name) {
            let _refused: Result<usize, Reason> = self.measured_family(&family.metric(), Origin::Own);
        }
    }

    /// The family that goes on with what this one held.
    fn successor(&self, saved: &SavedFamily) -> Option<usize> {
        let [server, model] = self.by_name.get(&*saved.name).copied().unwrap_or_default();
        match saved.origin {
            SavedOrigin::Server => server,
            SavedOrigin::Model => model,
            SavedOrigin::Requests => self.requests,
            SavedOrigin::Measured | SavedOrigin::Uniform | SavedOrigin::Old | SavedOrigin::Own => {
                self.measured.get(&*saved.name).copied()
            }
            SavedOrigin::Derived => self.families.iter().enumerate().position(|(at, family)| {
                let is_it = family.origin == Origin::Derived && family.name == saved.name;
                is_it && family.refused.is_none() && self.requests != Some(at)
            }),
        }
    }

    fn fill(&mut self, saved: SavedFamily) {
        let Some(at) = self.successor(&saved) else { return };
        let shown = self.shown_labels(at);
        let Some(family) = self.families.get_mut(at) else { return };
        let is_same = family.kind.map(code) == saved.kind
            && *family.bounds == *saved.bounds
            && family.label_names == saved.labels
            && shown == saved.shown;
        if !is_same || family.refused.is_some() || !family.is_empty() {
            return;
        }
        for series in saved.series {
            family.insert(Series::restored(&series.labels, series.value, series.last_seen, series.server));
            self.series += 1;
        }
        family.exemplars = FamilyExemplars::restored(saved.exemplars, family.series.len());
        if self.rules.created {
            family.created = saved.created;
        }
        family.overflow = saved
            .overflow
            .map(|series| Series::restored(&series.labels, series.value, series.last_seen, series.server));
    }

    /// Names of the labels that a family's series are written with.
    fn shown_labels(&self, at: usize) -> Vec<String> {
        let Some(family) = self.families.get(at) else { return Vec::new() };
        let names: Vec<String> = match family.origin {
            Origin::Log(_) => family.exposed.labels.clone(),
            Origin::Derived if self.requests == Some(at) => LABELS.map(str::to_owned).to_vec(),
            // Their labels are the lines'; what is left out of them must be the same.
            Origin::Measured | Origin::Uniform | Origin::Old | Origin::Own => {
                return self.rules.drop_labels.iter().cloned().collect();
            }
            Origin::Derived => {
                let feeds = self.families.iter().filter_map(|family| family.derived.as_ref());
                let mut feeds = feeds.filter(|feed| feed.family == at || feed.batch == Some(at));
                let labels =
                    feeds.next().map(|feed| feed.labels.iter().map(|(_, name)| name.clone()).collect());
                labels.unwrap_or_default()
            }
        };
        names.into_iter().filter(|name| !self.rules.drop_labels.contains(name)).collect()
    }
}

const KINDS: [Kind; 4] = [Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Summary];

fn code(kind: Kind) -> u8 {
    KINDS.iter().zip(0..).find(|(known, _)| **known == kind).map_or(0, |(_, code)| code)
}

fn kind(code: u8) -> Option<Kind> {
    KINDS.get(usize::from(code)).copied()
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, Role};
    use super::*;
    use crate::expose::text;
    use std::collections::BTreeMap;

    const LINES: [&str; 7] = [
        "t - PredictionTime.ms:1.5|#ModelName:m,Level:Model|#hostname:h,requestID:a,b,timestamp:1",
        "t - ts_inference_latency_microseconds.Microseconds:0.1|#model_name:m,model_version:d|#hostname:h,timestamp:1",
        "t - Hits.Count:0.3|#|#hostname:h,requestID:null,timestamp:1",
        "t - garbage",
        "t - /1.1.1.1:1 \"GET /predictions/m HTTP/1.1\" 200 3",
        "t - Requests2XX.Count:0.1|#Level:Host|#hostname:h,timestamp:1",
        "t - WorkerLoadTime.Milliseconds:5.0|#WorkerName:W-9000-m_1.0,Level:Host|#hostname:h,timestamp:1",
    ];

    fn fold(state: &mut State, lines: &[&str]) {
        let none = BTreeMap::new();
        let origin = Origin { source: 0, server: 0, now: 7, wall: 0, labels: &none, offset_minutes: 0 };
        for line in lines {
            let rejected = state.fold(line.as_bytes(), &parsers::FORMATS[0], Role::All, &origin).is_err();
            assert_eq!(line.contains("garbage"), rejected, "{line}");
        }
    }

    fn shown(state: &State) -> String {
        let (mut body, view) = (String::new(), state.view(None));
        text::encode(view.log.iter().chain(&view.own), None, &mut body);
        body
    }

    fn state(rules: Rules) -> State {
        let mut state = State::new(rules.into());
        state.add_source("x.log");
        state.add_server();
        state
    }

    fn through_bytes(state: &State) -> SavedState {
        postcard::from_bytes(&postcard::to_stdvec(&state.save()).unwrap()).unwrap()
    }

    #[test]
    fn a_restored_state_goes_on_as_if_nothing_had_happened() {
        let mut whole = state(Rules::default());
        let mut half = state(Rules::default());
        fold(&mut half, &LINES);
        fold(&mut whole, &LINES);
        let mut restored = State::restore(Rules::default().into(), through_bytes(&half));
        assert_eq!(shown(&whole), shown(&restored));
        fold(&mut whole, &LINES);
        fold(&mut restored, &LINES);
        assert_eq!(shown(&whole), shown(&restored));
    }

    #[test]
    fn a_workers_name_outlives_its_series_and_a_restart() {
        let mut before = state(Rules::default());
        fold(&mut before, &LINES);
        before.expire(u64::from(u32::MAX));
        assert!(!shown(&before).contains("W-9000"), "{}", shown(&before));
        let after = State::restore(Rules::default().into(), through_bytes(&before));
        let names = |state: &State| state.view(None).workers;
        assert_eq!((1, "W-9000-m_1.0"), (names(&after).len(), &*names(&after)[0].name));
        assert_eq!(names(&before), names(&after.emptied()));
    }

    #[test]
    fn only_families_that_changed_start_anew() {
        let mut before = state(Rules::default());
        fold(&mut before, &LINES);
        let buckets = BTreeMap::from([("ts_batch_size".to_owned(), vec![1.0].into())]);
        let rules = Rules { buckets, ..Rules::default() };
        let after = State::restore(rules.into(), through_bytes(&before));
        let body = shown(&after);
        assert!(!body.contains("ts_batch_size_count"), "{body}");
        assert!(
            body.contains("Hits{Hostname=\"h\"} 0.3") && body.contains("ts_prediction_time_seconds_count")
        );
    }
}
