//! TorchServe's samples: the fold of its own metrics, and of what is derived from them.

use super::exemplar::Cause;
use super::family::{Derivation, Family, Taken};
use super::identities::{DerivedRoute, Route};
use super::{Origin, State};
use crate::metric::push_label;
use parsers::{Kind, Reason, Sample, Scope};

impl State {
    pub(super) fn apply_sample(&mut self, sample: &Sample<'_>, origin: &Origin<'_>) -> Result<(), Reason> {
        // TorchServe's own reader lets no NaN pass, before it looks at the type (pytorch/serve: Metric.java).
        if sample.value.is_nan() {
            return Err(Reason::BadValue);
        }
        let at = match self.find(sample.scope, sample.name) {
            Some(at) => at,
            None => {
                let names = sample.labels.iter().map(|(name, _)| *name);
                self.create(sample.scope, sample.name, sample.unit, names)?
            }
        };
        let family = self.families.get(at).ok_or(Reason::NameClash)?;
        check(family, sample)?;
        self.text.clear();
        for ((_, value), name) in sample.labels.iter().zip(&family.exposed.labels) {
            if !self.rules.drop_labels.contains(name) {
                push_label(&mut self.text, name, value);
            }
        }
        let derivation = family.derived.clone();
        // It is refused only after it was given: the server's endpoint has the series then, too.
        let is_negative_counter = family.kind == Some(Kind::Counter) && sample.value < 0.0;
        let cause = Cause::new(sample.request_ids.map(str::as_bytes), sample.timestamp, origin);
        let (taken, place) = self.give(at, sample.value, &cause, origin);
        self.route = place.map(|series| Route { series, derived: None });
        if taken == Taken::New {
            self.note_models(sample);
        }
        if sample.scope == Scope::Server
            && let Some((_, host)) = sample.labels.last()
            && let Some(facts) = self.sources.get_mut(origin.source)
        {
            facts.note_host(host);
        }
        if is_negative_counter {
            return Err(Reason::NegativeCounter);
        }
        if self.workers.note(sample, origin.wall) {
            // Each such line counts, so that none may be taken without being read.
            self.route = None;
        }
        if let Some(derivation) = derivation {
            let derived = self.derive(&derivation, sample, &cause, origin);
            self.route = self.route.filter(|_| derived.is_some()).map(|route| Route { derived, ..route });
        }
        Ok(())
    }

    /// The family that takes a name's lines. Before 0.8 a model's metric could come without request id,
    /// so a name that only the other half knows is taken from there, unless the frontend declares it:
    /// a worker cannot write into the frontend's families.
    pub(super) fn find(&self, scope: Scope, name: &str) -> Option<usize> {
        let [server, model] = *self.by_name.get(name)?;
        match scope {
            Scope::Server => server.or(model),
            Scope::Model => {
                let undeclared = |_: &usize| self.rules.catalog.get(Scope::Server, name).is_none();
                model.or(server.filter(undeclared))
            }
        }
    }

    fn derive(
        &mut self,
        derivation: &Derivation,
        sample: &Sample<'_>,
        cause: &Cause<'_>,
        origin: &Origin<'_>,
    ) -> Option<DerivedRoute> {
        let seconds = derivation.unit.to_base(sample.value);
        if !(seconds.is_finite() && seconds >= 0.0) {
            return None;
        }
        self.text.clear();
        for (at, name) in &derivation.labels {
            if let Some((_, value)) =
                sample.labels.get(*at).filter(|_| !self.rules.drop_labels.contains(name))
            {
                push_label(&mut self.text, name, value);
            }
        }
        let (_, series) = self.give(derivation.family, seconds, cause, origin);
        let requests = match (derivation.batch, sample.request_ids) {
            (Some(batch), Some(_)) => self.give(batch, cause.requests(), cause, origin).1,
            _ => None,
        };
        let counts_requests = derivation.batch.is_some();
        series.map(|series| DerivedRoute { unit: derivation.unit, series, counts_requests, requests })
    }

    fn note_models(&mut self, sample: &Sample<'_>) {
        for (name, value) in &sample.labels {
            if matches!(*name, "ModelName" | "model_name") {
                self.note_model(value);
            }
        }
    }
}

/// Whether a family takes this line.
fn check(family: &Family, sample: &Sample<'_>) -> Result<(), Reason> {
    if let Some(reason) = family.refused {
        return Err(reason);
    }
    if sample.labels.len() != family.label_names.len() {
        return Err(Reason::LabelCount);
    }
    Ok(())
}
