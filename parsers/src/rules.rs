//! The user's own rules: lines that no format knows, taken apart as the configuration says.
//!
//! A [`Rule`] is a match (a regular expression, members of a JSON line, or key-value pairs) and the metrics that it
//! feeds. A [`RuleSet`] tries all of them on a line at once: one pass of all regular expressions, one parse of the
//! JSON, one walk per way of writing pairs; groups are looked for only where a rule has matched. Expressions cannot go
//! back and forth over a line, so the time is bounded by its length whatever they are, and what they compile to is
//! bounded too.
//!
//! Everything wrong with a rule is told when it is made; afterwards a line either matches or does not.

mod example;
mod field;
mod json;
mod matcher;
mod metric;
mod pairs;
mod value;

pub use example::Expected;
pub use field::{Text, ValueMap};
pub use matcher::{BadRegex, Condition, Matcher};
pub use metric::{Family, Feed};
pub use pairs::Pairs;
pub use value::{Scale, Value};

use crate::{Event, Measurement, ParseError};
use field::Found;
use matcher::Line;
use regex::Regex;
use regex::bytes::{RegexSet, RegexSetBuilder};
use std::cell::OnceCell;

/// The most rules; each one costs memory, and a little time per line.
pub const RULES_MAX: usize = 500;

/// The most that all regular expressions together may compile to, in bytes.
const SET_BYTES: usize = 16 << 20;

/// Memory for the states that the pass over all of them has seen. With too little of it the pass becomes slow, not
/// wrong.
const SET_CACHE_BYTES: usize = 16 << 20;

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is called in reports.
    pub name: String,
    /// Which lines are meant.
    pub matcher: Matcher,
    /// Sources that it is limited to.
    pub source: Option<Glob>,
    /// The format that it is limited to, by its name.
    pub format: Option<String>,
    /// Whether it also sees the lines that the file's format has taken.
    pub sees_taken: bool,
    /// Whether no later rule sees a line that it has matched.
    pub stop: bool,
    /// The metrics that it feeds.
    pub feeds: Vec<Feed>,
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The source's name.
    pub source: &'a str,
    /// The name of its format.
    pub format: &'a str,
    /// Whether that format has taken the line.
    pub is_taken: bool,
}

/// All rules, ready for lines.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// All regular expressions, in the order of their rules.
    set: Option<RegexSet>,
    /// Each way of writing pairs that a rule asks for, once.
    pairs: Vec<Pairs>,
    sees_taken: bool,
}

impl RuleSet {
    /// Makes the rules ready.
    ///
    /// # Errors
    ///
    /// When there are too many, or they compile to too much; the text says so.
    pub fn new(mut rules: Vec<Rule>) -> Result<Self, String> {
        if rules.len() > RULES_MAX {
            return Err(format!("{} rules; {RULES_MAX} are the most", rules.len()));
        }
        let mut pairs: Vec<Pairs> = Vec::new();
        let mut expressions = Vec::new();
        for rule in &mut rules {
            rule.matcher.enter(&mut expressions, &mut pairs);
        }
        let set = RegexSetBuilder::new(&expressions)
            .size_limit(SET_BYTES)
            .dfa_size_limit(SET_CACHE_BYTES)
            .build()
            .map_err(|_| {
                format!("all regular expressions together compile to more than {SET_BYTES} bytes")
            })?;
        let sees_taken = rules.iter().any(|rule| rule.sees_taken);
        Ok(Self { rules, set: Some(set).filter(|set| set.len() > 1), pairs, sees_taken })
    }

    /// The rules, in the order of the configuration.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a rule sees lines that a format has taken.
    pub const fn sees_taken(&self) -> bool {
        self.sees_taken
    }

    /// The family of a name that rules feed.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.feeds().map(|feed| &feed.family).find(|family| family.name == name)
    }

    /// Everything that is fed, in the order of the rules.
    pub fn feeds(&self) -> impl Iterator<Item = &Feed> {
        self.rules.iter().flat_map(|rule| &rule.feeds)
    }

    /// Gives a line to the rules; tells whether one has made a value of it.
    ///
    /// # Errors
    ///
    /// When a rule matches and the text that it takes for a value is no number. Values of other rules have been handed
    /// out then.
    pub fn apply(
        &self,
        text: &str,
        place: Place<'_>,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, ParseError> {
        if place.is_taken && !self.sees_taken {
            return Ok(false);
        }
        let line = Line::new(text, &self.pairs);
        // Only where a rule with an expression is meant at all.
        let matched = OnceCell::new();
        let all = || self.set.as_ref().map(|set| set.matches(text.as_bytes()));
        let (mut any, mut wrong) = (false, None);
        for rule in self.rules.iter().filter(|rule| rule.is_meant(place)) {
            let matched = if rule.matcher.is_regex() { matched.get_or_init(all).as_ref() } else { None };
            let found = rule.matcher.find(&line, matched, rule.needs_groups());
            let Some(found) = found else { continue };
            any |= rule.measure(text, &found, &mut wrong, sink);
            if rule.stop {
                break;
            }
        }
        wrong.map_or(Ok(any), Err)
    }

    /// What one rule makes of a line, whatever its source; `None` where it does not match.
    ///
    /// # Errors
    ///
    /// As of [`apply`](Self::apply).
    pub fn try_rule(&self, rule: usize, text: &str) -> Result<Option<Vec<Expected>>, ParseError> {
        let Some(rule) = self.rules.get(rule) else { return Ok(None) };
        let line = Line::new(text, &self.pairs);
        let Some(found) = rule.matcher.find(&line, None, rule.needs_groups()) else { return Ok(None) };
        let (mut samples, mut wrong) = (Vec::new(), None);
        rule.measure(text, &found, &mut wrong, &mut |event| samples.extend(Expected::of(&event)));
        wrong.map_or(Ok(Some(samples)), Err)
    }
}

impl Rule {
    fn is_meant(&self, place: Place<'_>) -> bool {
        (self.sees_taken || !place.is_taken)
            && self.format.as_ref().is_none_or(|format| format == place.format)
            && self.source.as_ref().is_none_or(|glob| glob.is_match(place.source))
    }

    fn needs_groups(&self) -> bool {
        self.feeds.iter().any(Feed::needs_groups)
    }

    /// Hands out a matched line's values; tells whether there was one.
    fn measure(
        &self,
        text: &str,
        found: &Found<'_>,
        wrong: &mut Option<ParseError>,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> bool {
        let mut any = false;
        for feed in &self.feeds {
            let value = match feed.value.of(found, text) {
                Ok(Some(value)) => value,
                Ok(None) => continue,
                Err(error) => {
                    *wrong = wrong.or(Some(error));
                    continue;
                }
            };
            let labels: Vec<(&str, &str)> = feed
                .labels
                .iter()
                .map(|(name, label)| (name.as_str(), label.of(found).unwrap_or("")))
                .collect();
            let metric = feed.family.metric();
            let request_id = feed.request_id.as_ref().and_then(|id| id.of(found));
            sink(Event::Measured(Measurement {
                metric: &metric,
                value,
                labels: &labels,
                request_id,
                time: None,
            }));
            any = true;
        }
        any
    }
}

/// A pattern over the whole of a source's name: `*` stands for any text and `?` for one character.
#[derive(Clone, Debug)]
pub struct Glob {
    pattern: String,
    regex: Regex,
}

impl Glob {
    /// Reads a pattern; `None` where it is too long.
    pub fn new(pattern: &str) -> Option<Self> {
        let escaped = regex::escape(pattern).replace("\\*", ".*").replace("\\?", ".");
        let regex = Regex::new(&format!("(?s)^{escaped}$")).ok()?;
        Some(Self { pattern: pattern.to_owned(), regex })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    fn is_match(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }
}

#[cfg(test)]
mod tests;
