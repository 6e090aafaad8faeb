//! How families come to be: declared, seen for the first time, derived; and how they get a late type.

use super::family::{Derivation, Family, Origin};
use super::naming::{self, Exposed};
use super::value::{BATCH_BOUNDS, LATENCY_BOUNDS};
use super::{REMEMBERED, State, names};
use heck::ToSnakeCase;
use parsers::{Kind, Reason, Scope};

impl State {
    pub(super) fn create<'a>(
        &mut self,
        scope: Scope,
        name: &str,
        unit: &str,
        labels: impl Iterator<Item = &'a str>,
    ) -> Result<usize, Reason> {
        let rules = self.rules.clone();
        let other = if scope == Scope::Model { Scope::Server } else { Scope::Model };
        let declared = rules.catalog.get(scope, name);
        if declared.is_none() && rules.catalog.get(other, name).is_some() {
            // The other half's family would have been found were it not refused.
            return Err(Reason::NameClash);
        }
        let (unit, labels) = match declared {
            Some(declaration) => (declaration.unit.as_str(), declaration.labels.clone()),
            None => (unit, labels.map(str::to_owned).collect()),
        };
        let kind = declared.map(|declaration| declaration.kind);
        let kind = kind.or_else(|| rules.types.get(name).copied()).or_else(|| self.told.get(name).copied());
        let exposed = Exposed::new(rules.naming, kind, name, unit, &labels);
        names::check(&exposed, kind)?;
        if declared.is_none()
            && (self.series >= rules.series_limit || self.families.len() >= rules.series_limit)
        {
            self.no_room += 1;
            return Err(Reason::NoRoom);
        }
        let at = self.families.len();
        let losers = self.names.claim(&exposed.name, kind, at, |other| {
            self.families.get(other).is_some_and(|family| family.origin == Origin::Derived)
        })?;
        self.drop_families(&losers);
        let mut family = Family::new(Origin::Log(scope), name, unit, kind, exposed);
        family.label_names = labels;
        if let Some(bounds) = rules.buckets.get(name) {
            family.bounds = bounds.clone();
        }
        self.families.push(family);
        let slot = if scope == Scope::Server { 0 } else { 1 };
        if let Some(place) = self.by_name.entry(name.into()).or_default().get_mut(slot) {
            *place = Some(at);
        }
        let derived = self.derivation(at);
        if let Some(family) = self.families.get_mut(at) {
            family.derived = derived;
        }
        Ok(at)
    }

    /// Sets up the histogram in seconds that a time metric feeds, if it feeds one.
    pub(super) fn derivation(&mut self, at: usize) -> Option<Derivation> {
        let rules = self.rules.clone();
        let family = self.families.get(at).filter(|_| rules.latency_histograms)?;
        let Origin::Log(scope) = family.origin else { return None };
        if scope == Scope::Server && !DERIVED_OF_SERVER.contains(&family.name.as_str()) {
            return None;
        }
        let unit = naming::is_time(&family.unit)?;
        let (name, label_names) = (family.name.clone(), family.label_names.clone());
        let kept = label_names.iter().enumerate();
        let kept =
            kept.filter(|(_, label)| !["hostname", "level"].contains(&label.to_ascii_lowercase().as_str()));
        let labels: Vec<(usize, String)> = kept.map(|(at, label)| (at, label.to_snake_case())).collect();
        let target = self.histogram(&naming::derived_name(&name), &derived_help(&name), &LATENCY_BOUNDS)?;
        let batch =
            (name == PER_BATCH).then(|| self.histogram(BATCH_SIZE, BATCH_HELP, &BATCH_BOUNDS)).flatten();
        Some(Derivation { family: target, unit, labels, batch })
    }

    /// The derived family of this name; that of the access log is made if it is wanted.
    pub(super) fn derived_family(&mut self, name: &str) -> Option<usize> {
        if name == super::access::REQUESTS {
            return self.requests_family();
        }
        let is_it = |family: &Family| family.origin == Origin::Derived && family.name == name;
        self.families.iter().position(is_it)
    }

    /// Makes a derived histogram; `None` where its name is taken.
    pub(super) fn histogram(&mut self, name: &str, help: &str, bounds: &[f64]) -> Option<usize> {
        let exposed =
            Exposed { name: name.to_owned(), help: help.to_owned(), labels: Vec::new(), convert: None };
        let at = self.families.len();
        names::check(&exposed, Some(Kind::Histogram)).ok()?;
        self.names.claim(name, Some(Kind::Histogram), at, |_| false).ok()?;
        let mut family = Family::new(Origin::Derived, name, "", Some(Kind::Histogram), exposed);
        family.bounds = self.rules.buckets.get(name).cloned().unwrap_or_else(|| bounds.into());
        self.families.push(family);
        Some(at)
    }

    pub(super) fn learn(&mut self, name: &str, kind: Kind) {
        if self.told.contains_key(name) || self.told.len() >= REMEMBERED {
            return;
        }
        self.told.insert(name.into(), kind);
        let untyped = |at: &usize| self.families.get(*at).is_some_and(|family| family.kind.is_none());
        let Some(at) = self.find(Scope::Model, name).filter(untyped) else { return };
        let Some(family) = self.families.get(at) else { return };
        let exposed = Exposed::new(self.rules.naming, Some(kind), name, &family.unit, &family.label_names);
        self.names.release(at);
        let claimed = names::check(&exposed, Some(kind)).and_then(|()| {
            self.names.claim(&exposed.name, Some(kind), at, |other| {
                self.families.get(other).is_some_and(|family| family.origin == Origin::Derived)
            })
        });
        match claimed {
            Ok(losers) => {
                self.drop_families(&losers);
                if let Some(family) = self.families.get_mut(at) {
                    family.exposed = exposed;
                    family.become_typed(kind);
                }
            }
            Err(reason) => {
                if let Some(family) = self.families.get_mut(at) {
                    self.series -= family.refuse(reason);
                }
            }
        }
    }

    /// A log family took the names of derived ones: they end.
    pub(super) fn drop_families(&mut self, losers: &[usize]) {
        for &at in losers {
            if let Some(family) = self.families.get_mut(at) {
                self.series -= family.refuse(Reason::NameClash);
            }
        }
    }
}

/// Frontend metrics that become histograms. Not WorkerLoadTime and WorkerThreadTime: they are no latency
/// of a request.
const DERIVED_OF_SERVER: [&str; 3] =
    ["ts_inference_latency_microseconds", "ts_queue_latency_microseconds", QUEUE_TIME];

/// The gauge that stands in for the microsecond counter where a server does not log it (before 0.8).
pub(crate) const QUEUE_TIME: &str = "QueueTime";
pub(crate) const QUEUE_MICROSECONDS: &str = "ts_queue_latency_microseconds";

/// TorchServe's own per-batch line (pytorch/serve: ts/service.py, `PREDICTION_METRIC`).
const PER_BATCH: &str = "PredictionTime";
const BATCH_SIZE: &str = "ts_batch_size";
const BATCH_HELP: &str = "Requests per batch: the request ids on each PredictionTime line.";
fn derived_help(name: &str) -> String {
    let what = match name {
        "ts_inference_latency_microseconds" => "Time from a request's arrival to its answer",
        QUEUE_MICROSECONDS => "Time that a request waited for a worker",
        QUEUE_TIME => "Time that a request waited for a worker, in whole milliseconds",
        PER_BATCH => "Time that a worker took for a batch (one observation per batch, not per request)",
        "HandlerTime" => {
            "Time that the handler took for a batch (one observation per batch, not per request)"
        }
        _ => "Distribution of the times",
    };
    format!("{what}. From {name}.")
}
