//! A log that only the configuration's rules read: no line of it is known here.

use crate::{Catalog, Event, Outcome, ParseError, Reason};

/// Nothing tells such a log from others: the configuration names it, or it is what remains.
pub(super) const fn recognises(_: &str) -> bool {
    false
}

/// Passes every line on to the rules, which see only text without loss.
pub(super) fn parse(record: &[u8], _: &Catalog, _: &mut dyn FnMut(Event<'_>)) -> Result<Outcome, ParseError> {
    match std::str::from_utf8(record) {
        Ok(_) => Ok(Outcome::Ignored),
        Err(error) => Err(ParseError::new(Reason::InvalidUtf8, "UTF-8", error.valid_up_to())),
    }
}
