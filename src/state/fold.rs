//! One record's way into the state, and its place in the counts.

use super::{Origin, Outcome, State, number_of};
use parsers::rules::Place;
use parsers::{Event, Format, ParseError, Reason, framing};

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

/// What a record has come to so far.
#[derive(Clone, Copy, Debug)]
struct Folded {
    read: Result<parsers::Outcome, ParseError>,
    /// Whether it said anything.
    used: bool,
    /// Why an event of it was refused.
    refused: Option<Reason>,
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
        if let (Some((identity, Some(route))), Some(identify)) = (&found, identify)
            && self.take_known(identity, || (identify.seconds)(record), *route, origin)
        {
            self.heard(origin);
            if self.rules.own.sees_taken() {
                let mut folded = Folded { read: Ok(parsers::Outcome::Parsed), used: true, refused: None };
                self.fold_own(record, format, origin, &mut folded);
                return self.count(record, folded, role, origin);
            }
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
        let mut folded = Folded { read, used, refused };
        if role == Role::All {
            self.fold_own(record, format, origin, &mut folded);
        }
        self.count(record, folded, role, origin)
    }

    /// Gives a record to the user's own rules, if its format has no metric in it.
    fn fold_own(&mut self, record: &[u8], format: &Format, origin: &Origin<'_>, folded: &mut Folded) {
        let rules = self.rules.clone();
        let is_taken = match folded.read {
            Ok(outcome) => outcome == parsers::Outcome::Parsed,
            Err(error) if error.reason == Reason::NotAMetric => false,
            Err(_) => return,
        };
        if rules.own.is_empty() || (is_taken && !rules.own.sees_taken()) {
            return;
        }
        let Ok(text) = std::str::from_utf8(framing::trim_end(record)) else { return };
        // Out of its place only while the rules look at the line.
        let source = self.source_mut(origin.source).map(|facts| std::mem::take(&mut facts.name));
        let place = Place { source: source.as_deref().unwrap_or_default(), format: format.name, is_taken };
        let mut refused = folded.refused;
        let own = rules.own.apply(text, place, &mut |event| {
            refused = refused.or(self.apply(&event, origin).err());
        });
        if let (Some(facts), Some(source)) = (self.source_mut(origin.source), source) {
            facts.name = source;
        }
        folded.refused = refused;
        match own {
            Ok(true) => *folded = Folded { read: Ok(parsers::Outcome::Parsed), used: true, refused },
            Ok(false) => {}
            Err(error) => folded.read = Err(error),
        }
    }

    /// Counts a record by what became of it.
    fn count(
        &mut self,
        record: &[u8],
        folded: Folded,
        role: Role,
        origin: &Origin<'_>,
    ) -> Result<Outcome, Rejection> {
        let Some(facts) = self.source_mut(origin.source) else { return Ok(Outcome::Ignored) };
        facts.bytes += record.len() as u64;
        let Folded { read, used, refused } = folded;
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
