//! One record's way into the state, and its place in the counts.

use super::{Origin, Outcome, State, number_of};
use parsers::{Event, Format, ParseError, Reason};

/// What is taken from a source's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Whatever they hold.
    All,
    /// Types and the start-up banner only: the metrics stand in the files beside it.
    FactsOnly,
}

/// Why a record was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What it is counted under.
    pub reason: Reason,
    /// Where in the record, if it could not be read at all.
    pub error: Option<ParseError>,
}

impl State {
    /// Takes one record of a source and counts it.
    ///
    /// # Errors
    ///
    /// The rejection, already counted. A record with several events is rejected if one of them is.
    pub fn fold(
        &mut self,
        record: &[u8],
        format: &Format,
        role: Role,
        origin: &Origin<'_>,
    ) -> Result<Outcome, Rejection> {
        let identify = format.identify.filter(|_| role == Role::All);
        let found =
            identify.and_then(|identify| self.identities.find(number_of(origin.source), record, &identify));
        if let Some((identity, Some(route))) = &found
            && self.take_known(identity, *route, origin)
        {
            self.heard(origin);
            if let Some(facts) = self.source_mut(origin.source) {
                facts.bytes += record.len() as u64;
                facts.count(Outcome::Parsed);
            }
            return Ok(Outcome::Parsed);
        }
        self.route = None;
        let rules = self.rules.clone();
        let mut refused = None;
        let mut used = false;
        let read = (format.parse)(record, &rules.catalog, &mut |event| {
            if role == Role::FactsOnly
                && matches!(event, Event::Sample(_) | Event::Measured(_) | Event::Access(_))
            {
                return;
            }
            used = true;
            refused = refused.or(self.apply(&event, origin).err());
        });
        self.heard(origin);
        if let (Some((identity, _)), Some(route), Ok(_), None) = (found, self.route.take(), read, refused) {
            self.identities.insert(number_of(origin.source), &identity, route);
        }
        let bytes = record.len() as u64;
        let Some(facts) = self.source_mut(origin.source) else { return Ok(Outcome::Ignored) };
        facts.bytes += bytes;
        let rejection = match (read, refused) {
            (Err(error), _) if role == Role::All => Rejection { reason: error.reason, error: Some(error) },
            (_, Some(reason)) => Rejection { reason, error: None },
            _ => {
                let outcome = if used { Outcome::Parsed } else { Outcome::Ignored };
                facts.count(outcome);
                return Ok(outcome);
            }
        };
        facts.reject(rejection.reason);
        Err(rejection)
    }

    /// Counts a line that was passed over because of its length.
    pub fn pass_over(&mut self, bytes: u64, origin: &Origin<'_>) -> Rejection {
        self.heard(origin);
        if let Some(facts) = self.source_mut(origin.source) {
            facts.bytes += bytes;
            facts.reject(Reason::TooLong);
        }
        Rejection { reason: Reason::TooLong, error: None }
    }
}
