//! Metrics that a format knows: the fold of what all servers but TorchServe log.

use super::exemplar::Cause;
use super::family::{Family, Origin as Of};
use super::naming::{Exposed, Naming};
use super::{Origin, State, Taken, names};
use crate::metric::push_label;
use parsers::{Kind, Measurement, Metric, Reason};

impl State {
    pub(super) fn apply_measured(
        &mut self,
        measurement: &Measurement<'_>,
        origin: &Origin<'_>,
    ) -> Result<(), Reason> {
        let Measurement { metric, value, labels, request_id, time } = measurement;
        let cause = Cause::dated(*request_id, *time, origin);
        let of = self.measured_origin();
        let uniform = if of == Of::Uniform { metric.uniform } else { &[] };
        if uniform.is_empty() {
            self.measure(metric, *value, labels.iter().copied(), &cause, (of, origin))?;
        }
        let old = if self.rules.old_names { metric.old } else { &[] };
        for (names, of) in [(uniform, of), (old, Of::Old)] {
            for name in names {
                let kept = name.labels.iter().filter_map(|(name, called)| {
                    let (_, value) = labels.iter().find(|(label, _)| label == name)?;
                    Some((*called, *value))
                });
                self.measure(name.metric, value * name.factor, kept, &cause, (of, origin))?;
            }
        }
        Ok(())
    }

    /// Which names measured families have.
    pub(super) fn measured_origin(&self) -> Of {
        if self.rules.naming == Naming::Uniform { Of::Uniform } else { Of::Measured }
    }

    fn measure<'a>(
        &mut self,
        metric: &Metric<'_>,
        value: f64,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        cause: &Cause<'_>,
        (of, origin): (Of, &Origin<'_>),
    ) -> Result<(), Reason> {
        // A rate without requests is 0/0 in some servers' lines, and a sum that took it would be lost for good.
        if !value.is_finite() {
            return Err(Reason::BadValue);
        }
        if metric.kind == Kind::Counter && value < 0.0 {
            return Err(Reason::NegativeCounter);
        }
        let at = match self.measured.get(metric.name) {
            Some(at) => *at,
            None => self.measured_family(metric, of)?,
        };
        let family = self.families.get(at).ok_or(Reason::NameClash)?;
        if let Some(reason) = family.refused {
            return Err(reason);
        }
        if family.kind != Some(metric.kind) {
            return Err(Reason::NameClash);
        }
        self.text.clear();
        let mut model = None;
        for (name, value) in labels {
            if !self.rules.drop_labels.contains(name) {
                push_label(&mut self.text, name, value);
            }
            model = model.or((name == "model_name").then_some(value));
        }
        if let ((Taken::New, _), Some(model)) = (self.give(at, value, cause, origin), model) {
            self.note_model(model);
        }
        Ok(())
    }

    /// The family of a metric of the shared schema; `None` where it has no room.
    pub(super) fn shared_family(&mut self, metric: &Metric<'_>) -> Option<usize> {
        let known = self.measured.get(metric.name).copied();
        known.or_else(|| self.measured_family(metric, Of::Uniform).ok())
    }

    /// Makes the family of a metric.
    pub(super) fn measured_family(&mut self, metric: &Metric<'_>, origin: Of) -> Result<usize, Reason> {
        if self.measured.len() >= self.rules.series_limit {
            self.no_room += 1;
            return Err(Reason::NoRoom);
        }
        let exposed = Exposed {
            name: metric.name.to_owned(),
            help: metric.help.to_owned(),
            labels: Vec::new(),
            convert: None,
        };
        names::check(&exposed, Some(metric.kind))?;
        let at = self.families.len();
        self.names.claim(metric.name, Some(metric.kind), at, |_| false)?;
        let own = self.rules.own.family(metric.name);
        let origin = if own.is_some() { Of::Own } else { origin };
        let mut family = Family::new(origin, metric.name, "", Some(metric.kind), exposed);
        let bounds = self.rules.buckets.get(metric.name).cloned();
        family.bounds = match metric.kind {
            Kind::Histogram => bounds.unwrap_or_else(|| metric.bounds.into()),
            _ => [].into(),
        };
        family.label_names = own.map_or_else(Vec::new, |own| own.labels.clone());
        self.families.push(family);
        self.measured.insert(metric.name.into(), at);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, Saving};
    use super::*;
    use crate::expose::text;
    use crate::metric::Exemplar;
    use parsers::{Event, Uniform, uniform};
    use std::collections::BTreeMap;

    static LATENCY: Metric<'static> = Metric {
        name: "server_latency_ms",
        help: "Time of a request.",
        kind: Kind::Histogram,
        bounds: &[1.0, 10.0],
        uniform: &[Uniform {
            metric: &uniform::REQUEST_DURATION,
            factor: 0.001,
            labels: &[("model", "model_name")],
        }],
        old: &[Uniform { metric: &OLD, factor: 1.0, labels: &[] }],
    };
    static OLD: Metric<'static> = Metric { name: "server_time", ..Metric::BLANK };
    static SIZE: Metric<'static> = Metric { name: "server_size", kind: Kind::Summary, ..Metric::BLANK };

    fn folded(naming: Naming) -> State {
        let mut state = State::new(Rules { naming, ..Rules::default() }.into());
        fold(&mut state);
        state
    }

    fn fold(state: &mut State) {
        let labels = BTreeMap::new();
        let origin = Origin { source: 0, server: 0, now: 0, wall: 0, labels: &labels, offset_minutes: 0 };
        let labels = [("model", "m"), ("id", "7")];
        for (metric, value) in [(&LATENCY, 5.0), (&LATENCY, 20.0), (&SIZE, 2.5)] {
            let event =
                Event::Measured(Measurement { metric, value, labels: &labels, request_id: None, time: None });
            assert_eq!(Ok(()), state.apply(&event, &origin));
        }
        let nan =
            Measurement { metric: &SIZE, value: f64::NAN, labels: &labels, request_id: None, time: None };
        assert_eq!(Err(Reason::BadValue), state.apply(&Event::Measured(nan), &origin));
    }

    fn shown(state: &State) -> String {
        let mut body = String::new();
        text::encode(&state.view(None).log, None, &mut body);
        body
    }

    #[test]
    fn families_have_the_servers_names_types_and_buckets() {
        let expected = r#"# HELP server_latency_ms Time of a request.
# TYPE server_latency_ms histogram
server_latency_ms_bucket{model="m",id="7",le="1.0"} 0
server_latency_ms_bucket{model="m",id="7",le="10.0"} 1
server_latency_ms_bucket{model="m",id="7",le="+Inf"} 2
server_latency_ms_count{model="m",id="7"} 2
server_latency_ms_sum{model="m",id="7"} 25.0
# HELP server_size 
# TYPE server_size summary
server_size_count{model="m",id="7"} 1
server_size_sum{model="m",id="7"} 2.5
"#;
        assert_eq!(expected, shown(&folded(Naming::Torchserve)));
    }

    #[test]
    fn a_request_id_becomes_an_exemplar_under_either_name() {
        for (naming, expected) in [(Naming::Torchserve, 5.0), (Naming::Uniform, 0.005)] {
            let mut state = State::new(Rules { naming, ..Rules::default() }.into());
            let labels = BTreeMap::new();
            let origin =
                Origin { source: 0, server: 0, now: 0, wall: 99, labels: &labels, offset_minutes: 0 };
            for metric in [&LATENCY, &SIZE] {
                let request_id = Some("cmpl-1");
                let event = Measurement { metric, value: 5.0, labels: &[], request_id, time: None };
                assert_eq!(Ok(()), state.apply(&Event::Measured(event), &origin));
            }
            let log = state.view(None).log;
            let kept = log.iter().flat_map(|family| family.exemplars.iter().flatten());
            let kept: Vec<_> = kept.flat_map(|kept| kept.iter()).collect();
            let expected = Exemplar { bucket: kept[0].bucket, value: expected, at: 99, request_id: "cmpl-1" };
            assert_eq!([expected], *kept, "a summary has no buckets, and so no exemplar");
        }
    }

    #[test]
    fn the_shared_schema_has_base_units_and_its_own_labels() {
        let body = shown(&folded(Naming::Uniform));
        assert!(body.contains("model_request_duration_seconds_sum{model_name=\"m\"} 0.025\n"), "{body}");
        assert!(!body.contains("server_latency_ms"), "{body}");
        assert!(body.contains("server_size_count"), "what has no place in the schema keeps its name: {body}");
    }

    #[test]
    fn names_of_the_past_stand_beside_todays_while_they_are_wanted() {
        let with = |naming| {
            let mut state = State::new(Rules { naming, old_names: true, ..Rules::default() }.into());
            fold(&mut state);
            state
        };
        for naming in [Naming::Torchserve, Naming::Uniform] {
            let (plain, both) = (shown(&folded(naming)), shown(&with(naming)));
            assert_eq!(
                plain,
                both.replace("# HELP server_time \n# TYPE server_time gauge\nserver_time 20.0\n", "")
            );
            assert!(both.contains("server_time 20.0"));
        }
        let saved = postcard::to_stdvec(&with(Naming::Torchserve).save()).unwrap();
        let restored = |old_names| {
            let rules = Rules { old_names, ..Rules::default() };
            shown(&State::restore(rules.into(), postcard::from_bytes(&saved).unwrap()))
        };
        assert_eq!(shown(&with(Naming::Torchserve)), restored(true));
        assert_eq!(shown(&folded(Naming::Torchserve)), restored(false));
    }

    #[test]
    fn a_restored_family_goes_on_unless_names_have_changed() {
        let bytes = |saving: Saving<'_>| postcard::to_stdvec(&saving).unwrap();
        let saved = bytes(folded(Naming::Torchserve).save());
        let restored = |naming| {
            let rules = Rules { naming, ..Rules::default() };
            State::restore(rules.into(), postcard::from_bytes(&saved).unwrap())
        };
        assert_eq!(shown(&folded(Naming::Torchserve)), shown(&restored(Naming::Torchserve)));
        assert!(!shown(&restored(Naming::Uniform)).contains("server_latency_ms"));
    }
}
