//! `examples:` of a rule: lines with what is expected of them, which `inferometer check` runs as tests.

use super::Wrong;
use crate::config::file::Place;
use parsers::rules::{Expected, RuleSet};
use serde::Deserialize;
use serde_saphyr::Spanned;

/// One entry of `examples:`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExampleEntry {
    line: String,
    samples: Option<Vec<Spanned<String>>>,
    matches: Option<bool>,
}

/// A line and what is expected of it.
#[derive(Debug)]
pub struct Example {
    /// Index of the rule.
    rule: usize,
    name: String,
    line: String,
    expected: Answer,
    at: Place,
}

#[derive(Debug)]
enum Answer {
    Nothing,
    Anything,
    Samples(Vec<Expected>),
}

/// Adds the examples of a rule.
pub(super) fn collect(
    entries: &[Spanned<ExampleEntry>],
    rule: usize,
    name: &str,
    examples: &mut Vec<Example>,
) -> Result<(), Wrong> {
    for entry in entries {
        let expected = match (&entry.value.samples, entry.value.matches) {
            (Some(samples), None | Some(true)) => {
                let read = |text: &Spanned<String>| {
                    Expected::parse(&text.value).map_err(|what| (text.referenced, what))
                };
                Answer::Samples(samples.iter().map(read).collect::<Result<_, _>>()?)
            }
            (None, Some(true)) => Answer::Anything,
            (None, Some(false)) => Answer::Nothing,
            _ => return Err((entry.referenced, "an example has samples, or matches: false".to_owned())),
        };
        let (name, line) = (name.to_owned(), entry.value.line.clone());
        examples.push(Example { rule, name, line, expected, at: entry.referenced.into() });
    }
    Ok(())
}

impl Example {
    /// Line and column of the example in the file, from 1.
    pub const fn place(&self) -> (u64, u64) {
        (self.at.line, self.at.column)
    }

    /// The line.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Gives the line to the rule.
    ///
    /// # Errors
    ///
    /// What was expected and what was observed.
    pub fn run(&self, set: &RuleSet) -> Result<(), String> {
        let observed = set.try_rule(self.rule, &self.line);
        let is_met = match (&self.expected, &observed) {
            (Answer::Nothing, Ok(None)) | (Answer::Anything, Ok(Some(_))) => true,
            (Answer::Samples(expected), Ok(Some(observed))) => {
                let mut both = expected.iter().zip(observed);
                expected.len() == observed.len() && both.all(|(expected, observed)| expected.agrees(observed))
            }
            _ => false,
        };
        if is_met {
            return Ok(());
        }
        let expected = match &self.expected {
            Answer::Nothing => "no match".to_owned(),
            Answer::Anything => "a match".to_owned(),
            Answer::Samples(samples) => shown(samples),
        };
        let observed = match observed {
            Ok(None) => "no match".to_owned(),
            Ok(Some(samples)) => shown(&samples),
            Err(error) => error.to_string(),
        };
        Err(format!("example of {}: expected {expected}, observed {observed}", self.name))
    }
}

fn shown(samples: &[Expected]) -> String {
    if samples.is_empty() {
        return "a match without samples".to_owned();
    }
    samples.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
