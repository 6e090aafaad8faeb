//! The state as a snapshot keeps it, and how a state with other rules takes it up again.
//!
//! A family goes on where it was when its type, labels and bounds are still the same; any other one starts
//! anew, since its old numbers would mean something else.

use super::access::LABELS;
use super::family::{Family, Origin, Series};
use super::server::Server;
use super::value::Value;
use super::{Rules, SourceFacts, State};
use parsers::{Kind, Scope};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything that lines have added up to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SavedState {
    families: Vec<SavedFamily>,
    told: Vec<(String, u8)>,
    models: Vec<String>,
    sources: Vec<SourceFacts>,
    servers: Vec<Server>,
    no_room: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedFamily {
    origin: SavedOrigin,
    name: String,
    unit: String,
    kind: Option<u8>,
    labels: Vec<String>,
    /// Names of the labels in the series' texts.
    shown: Vec<String>,
    bounds: Vec<f64>,
    series: Vec<SavedSeries>,
    overflow: Option<SavedSeries>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SavedOrigin {
    Server,
    Model,
    Derived,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedSeries {
    labels: String,
    value: Value,
    last_seen: u64,
    server: u32,
}

impl State {
    /// A copy for a snapshot.
    pub fn save(&self) -> SavedState {
        let kept = self.families.iter().enumerate().filter(|(_, family)| family.refused.is_none());
        SavedState {
            families: kept.map(|(at, family)| self.save_family(at, family)).collect(),
            told: self.told.iter().map(|(name, kind)| (name.to_string(), code(*kind))).collect(),
            models: self.models.iter().map(ToString::to_string).collect(),
            sources: self.sources.clone(),
            servers: self.servers.clone(),
            no_room: self.no_room,
        }
    }

    /// A state that goes on where the saved one was.
    pub fn restore(rules: Arc<Rules>, saved: SavedState) -> Self {
        let mut state = Self::new(rules);
        state.told = saved
            .told
            .into_iter()
            .filter_map(|(name, code)| Some((name.into_boxed_str(), kind(code)?)))
            .collect();
        state.models = saved.models.into_iter().map(String::into_boxed_str).collect();
        state.sources = saved.sources;
        state.servers = saved.servers;
        state.no_room = saved.no_room;
        for family in saved.families {
            state.restore_family(family);
        }
        state
    }

    /// The same positions with nothing counted: sources and servers stay, numbers start at 0.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let mut state = Self::new(self.rules.clone());
        state.told.clone_from(&self.told);
        state.sources = self.sources.iter().map(|facts| SourceFacts::new(&facts.name)).collect();
        state.servers.clone_from(&self.servers);
        state
    }

    fn save_family(&self, at: usize, family: &Family) -> SavedFamily {
        let series = |series: &Series| SavedSeries {
            labels: series.labels.to_string(),
            value: series.value.clone(),
            last_seen: series.last_seen,
            server: series.server,
        };
        SavedFamily {
            origin: match family.origin {
                Origin::Log(Scope::Server) => SavedOrigin::Server,
                Origin::Log(Scope::Model) => SavedOrigin::Model,
                Origin::Derived => SavedOrigin::Derived,
            },
            name: family.name.clone(),
            unit: family.unit.clone(),
            kind: family.kind.map(code),
            labels: family.label_names.clone(),
            shown: self.shown_labels(at),
            bounds: family.bounds.to_vec(),
            series: family.series.iter().map(series).collect(),
            overflow: family.overflow.as_ref().map(series),
        }
    }

    fn restore_family(&mut self, saved: SavedFamily) {
        let scope = match saved.origin {
            SavedOrigin::Server => Some(Scope::Server),
            SavedOrigin::Model => Some(Scope::Model),
            SavedOrigin::Derived => None,
        };
        let at = match scope {
            Some(scope) => {
                let labels = saved.labels.iter().map(String::as_str);
                self.find(scope, &saved.name)
                    .or_else(|| self.create(scope, &saved.name, &saved.unit, labels).ok())
            }
            None => self.derived_family(&saved.name),
        };
        let Some(at) = at else { return };
        let shown = self.shown_labels(at);
        let Some(family) = self.families.get_mut(at) else { return };
        let is_same = family.kind.map(code) == saved.kind
            && *family.bounds == *saved.bounds
            && family.label_names == saved.labels
            && shown == saved.shown;
        if !is_same || !family.series.is_empty() {
            return;
        }
        for series in saved.series {
            family.insert(Series::restored(&series.labels, series.value, series.last_seen, series.server));
            self.series += 1;
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

const KINDS: [Kind; 3] = [Kind::Counter, Kind::Gauge, Kind::Histogram];

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

    const LINES: [&str; 6] = [
        "t - PredictionTime.ms:1.5|#ModelName:m,Level:Model|#hostname:h,requestID:a,b,timestamp:1",
        "t - ts_inference_latency_microseconds.Microseconds:0.1|#model_name:m,model_version:d|#hostname:h,timestamp:1",
        "t - Hits.Count:0.3|#|#hostname:h,requestID:null,timestamp:1",
        "t - garbage",
        "t - /1.1.1.1:1 \"GET /predictions/m HTTP/1.1\" 200 3",
        "t - Requests2XX.Count:0.1|#Level:Host|#hostname:h,timestamp:1",
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
