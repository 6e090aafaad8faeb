//! How families come to be: declared, seen for the first time, derived; and how they get a late type.

use super::family::{Derivation, Family, Origin};
use super::naming::{self, Exposed, Naming};
use super::value::{BATCH_BOUNDS, LATENCY_BOUNDS};
use super::{REMEMBERED, Rules, State, Told, names};
use heck::ToSnakeCase;
use parsers::{Kind, Metric, Reason, Scope, Unit, uniform};
use std::collections::HashSet;

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
        let kind = kind.or_else(|| rules.types.get(name).copied());
        let kind = kind.or_else(|| self.told.get(name).map(|told| told.kind));
        let exposed = Exposed::new(rules.naming, kind, name, unit, &labels);
        names::check(&exposed, kind)?;
        let names_length: usize = labels.iter().map(|label| label.len() + 1).sum();
        let is_bounded = name.len() + unit.len() <= NAME_MAX && names_length <= LABEL_NAMES_MAX;
        if declared.is_none() && !is_bounded {
            return Err(Reason::NoRoom);
        }
        if declared.is_none() && (self.series >= rules.series_limit || self.undeclared >= rules.series_limit)
        {
            self.no_room += 1;
            return Err(Reason::NoRoom);
        }
        let at = self.families.len();
        // By convention one thing is measured once: the histogram takes the name of what it replaces.
        let is_replaced =
            rules.naming.is_conventional() && feeds(&rules, scope, kind, (name, unit)).is_some();
        if !is_replaced {
            self.claim_for_log(&exposed.name, kind, at)?;
        }
        let exposed_name = exposed.name.clone();
        let mut family = Family::new(Origin::Log(scope), name, unit, kind, exposed);
        family.label_names = labels;
        if let Some(bounds) = rules.buckets.get(name) {
            family.bounds = family.exposed.distinct(bounds);
        }
        self.families.push(family);
        let slot = if scope == Scope::Server { 0 } else { 1 };
        if let Some(place) = self.by_name.entry(name.into()).or_default().get_mut(slot) {
            *place = Some(at);
        }
        self.undeclared += usize::from(declared.is_none());
        let derived = self.derivation(at);
        // Without its histogram it is shown itself, if its name is still free.
        let clash = match &derived {
            None if is_replaced => self.claim_for_log(&exposed_name, kind, at).err(),
            _ => None,
        };
        if let Some(family) = self.families.get_mut(at) {
            family.derived = derived;
            family.refused = clash;
        }
        Ok(at)
    }

    /// Claims the sample names of a log family. Derived families that had them end, but not those that by
    /// convention replace a log metric: between two log metrics the first one wins.
    fn claim_for_log(&mut self, name: &str, kind: Option<Kind>, at: usize) -> Result<(), Reason> {
        let replaces = |other| {
            let mut feeds = self.families.iter().filter_map(|family| family.derived.as_ref());
            self.rules.naming.is_conventional() && feeds.any(|feed| feed.family == other)
        };
        let losers = self.names.claim(name, kind, at, |other| {
            let is_derived = |family: &Family| family.origin == Origin::Derived;
            self.families.get(other).is_some_and(is_derived) && !replaces(other)
        })?;
        self.drop_families(&losers);
        Ok(())
    }

    /// Sets up the histogram in seconds that a time metric feeds, or the shared metric, if it feeds one.
    fn derivation(&mut self, at: usize) -> Option<Derivation> {
        let rules = self.rules.clone();
        let family = self.families.get(at)?;
        let Origin::Log(scope) = family.origin else { return None };
        let unit = feeds(&rules, scope, family.kind, (&family.name, &family.unit))?;
        let (name, unit_word) = (family.name.clone(), family.unit.clone());
        let label_names = family.label_names.clone();
        let kept = label_names.iter().enumerate();
        let kept =
            kept.filter(|(_, label)| !["hostname", "level"].contains(&label.to_ascii_lowercase().as_str()));
        let labels: Vec<(usize, String)> = kept.map(|(at, label)| (at, label.to_snake_case())).collect();
        // Two names may become one in snake case, or an illegal one; then there is no histogram.
        let names: HashSet<&str> = labels.iter().map(|(_, name)| name.as_str()).collect();
        let is_legal = |name: &&str| naming::is_label_name(name) && *name != "le";
        if names.len() < labels.len() || !names.iter().all(is_legal) {
            return None;
        }
        let help = derived_help(&name, &unit_word);
        let target = match shared(&rules, scope, &name) {
            Some(metric) => self.shared_family(metric)?,
            None => self.histogram(&naming::derived_name(&name), &help, &LATENCY_BOUNDS)?,
        };
        let batch =
            (name == PER_BATCH).then(|| self.histogram(BATCH_SIZE, BATCH_HELP, &BATCH_BOUNDS)).flatten();
        Some(Derivation { family: target, unit, labels, batch })
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
        if self.told.contains_key(name) || self.told.len() >= REMEMBERED || name.len() > NAME_MAX {
            return;
        }
        let told = Told { kind, order: self.told.len(), families: self.families.len() };
        self.identities.clear();
        self.told.insert(name.into(), told);
        let untyped = |at: &usize| self.families.get(*at).is_some_and(|family| family.kind.is_none());
        let Some(at) = self.find(Scope::Model, name).filter(untyped) else { return };
        let Some(family) = self.families.get(at) else { return };
        let exposed = Exposed::new(self.rules.naming, Some(kind), name, &family.unit, &family.label_names);
        let is_replaced = self.rules.naming.is_conventional() && family.derived.is_some();
        let claimed = names::check(&exposed, Some(kind)).and_then(|()| {
            if is_replaced {
                return Ok(());
            }
            self.names.release(at);
            self.claim_for_log(&exposed.name, Some(kind), at)
        });
        match claimed {
            Ok(()) => {
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
    fn drop_families(&mut self, losers: &[usize]) {
        if !losers.is_empty() {
            self.identities.clear();
        }
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

/// TorchServe's own counter of finished inferences.
const REQUESTS: &str = "ts_inference_requests_total";

/// TorchServe's metrics that have a place in the schema of all servers.
const SHARED: [(Scope, &str, &Metric<'static>); 4] = [
    (Scope::Server, REQUESTS, &uniform::REQUESTS),
    (Scope::Server, "ts_inference_latency_microseconds", &uniform::REQUEST_DURATION),
    (Scope::Server, QUEUE_MICROSECONDS, &uniform::QUEUE),
    (Scope::Model, PER_BATCH, &uniform::INFERENCE),
];

/// A metric's place in the shared schema, where that is wanted.
fn shared(rules: &Rules, scope: Scope, name: &str) -> Option<&'static Metric<'static>> {
    let (.., metric) = SHARED.iter().find(|(half, known, _)| *half == scope && *known == name)?;
    (rules.naming == Naming::Uniform).then_some(metric)
}

/// The unit of a metric whose lines also feed another family.
fn feeds(rules: &Rules, scope: Scope, kind: Option<Kind>, (name, unit): (&str, &str)) -> Option<Unit> {
    if name == REQUESTS && scope == Scope::Server && kind == Some(Kind::Counter) {
        return shared(rules, scope, name).and_then(|_| Unit::parse(unit));
    }
    let is_wanted = scope == Scope::Model || DERIVED_OF_SERVER.contains(&name);
    naming::is_time(unit).filter(|_| rules.latency_histograms && is_wanted)
}

/// The longest name and unit of a metric that nobody declares, in bytes.
const NAME_MAX: usize = 512;

/// The longest label names of such a metric together, in bytes.
const LABEL_NAMES_MAX: usize = 1024;

fn derived_help(name: &str, unit: &str) -> String {
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
    format!("{what}. From {name}, unit {unit} in the log.")
}
