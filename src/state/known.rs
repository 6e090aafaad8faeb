//! Lines whose identity is known: their values go where those of the line before went, and nothing else of them is
//! looked at.

use super::exemplar::Cause;
use super::family::{Family, Seen};
use super::identities::{Place, Route};
use super::{Origin, SourceFacts, State};
use parsers::Identity;

impl State {
    /// Takes one sample whose identity is known; `false`, with nothing changed, where only parsing can tell.
    pub(super) fn take_known(
        &mut self,
        identity: &Identity<'_>,
        seconds: impl FnOnce() -> Option<u64>,
        route: Route,
        origin: &Origin<'_>,
    ) -> bool {
        // A usual value, that no rule refuses whatever the type.
        let value = parsers::number(identity.value).filter(|value| value.is_finite() && *value >= 0.0);
        let Some(value) = value else { return false };
        let is_noted = |facts: &SourceFacts| facts.is_noted(identity.host);
        if !identity.has_requests && !self.sources.get(origin.source).is_some_and(is_noted) {
            return false;
        }
        let derived = route.derived.map(|derived| (derived, derived.unit.to_base(value)));
        if let Some((derived, duration)) = derived {
            let is_complete =
                !derived.counts_requests || derived.requests.is_some() || identity.request_ids.is_none();
            if !is_complete || !duration.is_finite() {
                return false;
            }
        }
        let seen = Seen::new(origin.now, origin.server);
        if identity.request_ids.is_some() && (derived.is_some() || self.exemplifies(route.series)) {
            let cause = Cause::new(identity.request_ids, seconds(), origin);
            self.update_of(route.series, value, seen, &cause);
            if let Some((derived, duration)) = derived {
                self.update_of(derived.series, duration, seen, &cause);
                if let Some(place) = derived.requests {
                    self.update_of(place, cause.requests(), seen, &cause);
                }
            }
            return true;
        }
        self.update(route.series, value, seen);
        if let Some((derived, duration)) = derived {
            self.update(derived.series, duration, seen);
        }
        true
    }

    fn exemplifies(&self, place: Place) -> bool {
        self.families.get(place.family as usize).is_some_and(Family::has_exemplars)
    }

    fn update(&mut self, place: Place, value: f64, seen: Seen) {
        if let Some(family) = self.families.get_mut(place.family as usize) {
            family.update(place.series as usize, value, seen);
        }
    }

    /// The same of a line that names requests. Apart, since all other lines are faster without it.
    #[inline(never)]
    fn update_of(&mut self, place: Place, value: f64, seen: Seen, cause: &Cause<'_>) {
        if let Some(family) = self.families.get_mut(place.family as usize) {
            let bucket = family.update(place.series as usize, value, seen);
            let grown = family.exemplify(place.series as usize, bucket, value, cause);
            if grown > 0 {
                self.grown(grown);
            }
        }
    }
}
