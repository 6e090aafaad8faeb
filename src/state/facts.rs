//! What the fold knows about its own sources: lines by outcome, rotations, hosts.

use parsers::Reason;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It changed the state.
    Parsed,
    /// It is a good record without a metric.
    Ignored,
    /// It could not be read or was refused.
    Rejected,
    /// It was the last line of a finished file, without its newline: not counted, since `12` of `125`
    /// would be a wrong number.
    Torn,
}

impl Outcome {
    /// All outcomes, in the order of an exposition.
    pub const ALL: [Self; 4] = [Self::Parsed, Self::Ignored, Self::Rejected, Self::Torn];

    /// The value of the `outcome` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Parsed => "parsed",
            Self::Ignored => "ignored",
            Self::Rejected => "rejected",
            Self::Torn => "torn",
        }
    }
}

/// Facts of one source; all counters, all part of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// The value of the `source` label: a file name, never a path.
    pub name: String,
    /// Records by outcome.
    lines: [u64; Outcome::ALL.len()],
    /// Rejected records by reason.
    #[serde(serialize_with = "save_reasons", deserialize_with = "restore_reasons")]
    pub rejected: BTreeMap<Reason, u64>,
    /// Bytes of consumed records.
    pub bytes: u64,
    /// Files that lost their name to a successor.
    pub rotations: u64,
    /// Files that became shorter or were overwritten in place.
    pub truncations: u64,
    /// Archives that were read because they appeared after the start.
    pub archives: u64,
    /// Bytes known to have existed that could not be read.
    pub gaps: u64,
    /// Times that a line's host was one that another host's lines had already followed.
    pub interleaved: u64,
    /// When the newest line was read, in seconds since 1970; set by the follower's clock.
    pub last_read: Option<u64>,
    hosts: Vec<String>,
}

impl SourceFacts {
    /// Facts of a source of this name, nothing read yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Whether there is no source any more.
    pub(crate) const fn is_free(&self) -> bool {
        self.name.is_empty()
    }

    /// How many records had this outcome.
    pub fn lines(&self, outcome: Outcome) -> u64 {
        self.lines.get(outcome as usize).copied().unwrap_or(0)
    }

    /// Counts a record.
    pub fn count(&mut self, outcome: Outcome) {
        if let Some(count) = self.lines.get_mut(outcome as usize) {
            *count += 1;
        }
    }

    /// Counts a rejected record.
    pub fn reject(&mut self, reason: Reason) {
        self.count(Outcome::Rejected);
        *self.rejected.entry(reason).or_default() += 1;
    }

    /// Whether there is nothing to note of a frontend's line with this host: the line before had it too, or it is
    /// the one that does not count.
    pub(crate) fn is_noted(&self, host: &[u8]) -> bool {
        host == b"Unknown" || self.hosts.last().is_some_and(|last| last.as_bytes() == host)
    }

    /// Notes the host of a frontend's line; tells whether two servers write to this file in turns.
    ///
    /// A host that returns after another one did not restart: it wrote all the time. `Unknown` does not
    /// count, since one server writes it beside its real name (Java could not resolve the name).
    pub(crate) fn note_host(&mut self, host: &str) -> bool {
        const REMEMBERED: usize = 8;
        if self.is_noted(host.as_bytes()) {
            return false;
        }
        let known = self.hosts.iter().position(|known| known == host);
        match known {
            Some(at) => {
                let returned = self.hosts.remove(at);
                self.hosts.push(returned);
                self.interleaved += 1;
            }
            None => {
                if self.hosts.len() == REMEMBERED {
                    self.hosts.remove(0);
                }
                self.hosts.push(host.to_owned());
            }
        }
        known.is_some()
    }
}

/// Reasons are saved by their labels: these are a promise, the order of the enumeration is not.
fn save_reasons<S: Serializer>(reasons: &BTreeMap<Reason, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reasons.iter().map(|(reason, count)| (reason.label(), count)))
}

fn restore_reasons<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Reason, u64>, D::Error> {
    let saved = Vec::<(String, u64)>::deserialize(deserializer)?;
    let reason = |label: &str| Reason::ALL.into_iter().find(|reason| reason.label() == label);
    Ok(saved.iter().filter_map(|(label, count)| Some((reason(label)?, *count))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_returns_is_interleaved_and_a_new_one_is_not() {
        let mut facts = SourceFacts::new("ts_metrics.log");
        let seen: Vec<bool> = ["a", "Unknown", "a", "b", "a"].map(|host| facts.note_host(host)).to_vec();
        assert_eq!(vec![false, false, false, false, true], seen);
        assert_eq!(1, facts.interleaved);
    }
}
