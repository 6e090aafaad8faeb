//! Which lines a rule means: a regular expression, a JSON object, or key-value pairs.

use super::field::{Field, Found, Text, pair};
use super::json;
use super::pairs::{List, Pairs};
use crate::json::{Json, object};
use regex::bytes::{Regex, RegexBuilder, SetMatches};
use std::cell::OnceCell;
use std::fmt;

/// The most that one regular expression may compile to, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// Memory for the states that its search for groups has seen.
const CACHE_BYTES: usize = 256 << 10;

/// Deepest nesting of brackets in an expression.
const NESTING: u32 = 50;

/// A text that a member or pair has to have, one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Path or key.
    pub key: String,
    /// What it may be.
    pub one_of: Vec<String>,
}

/// Which lines are meant.
#[derive(Clone, Debug)]
pub struct Matcher(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// With its place among all expressions.
    Regex(Box<Regex>, usize),
    Json(Vec<Condition>),
    /// With the place of its way of writing among all of them.
    Pairs(Pairs, Vec<Condition>, usize),
}

/// Why a regular expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRegex {
    /// What is wrong.
    pub what: String,
    /// At which character of it, from 0, where one can tell.
    pub at: Option<usize>,
}

impl fmt::Display for BadRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "bad regular expression at its character {}: {}", at + 1, self.what),
            None => write!(f, "bad regular expression: {}", self.what),
        }
    }
}

impl Matcher {
    /// Lines in which the expression is found. Its classes (`\d`, `\w`, `\s`) and `(?i)` are of ASCII, as in RE2, so
    /// that a program of mtail or Prometheus means the same; an expression with other characters in it, or after
    /// `(?u)`, goes by Unicode.
    ///
    /// # Errors
    ///
    /// When it is not one, or compiles to too much.
    pub fn regex(pattern: &str) -> Result<Self, BadRegex> {
        let regex = RegexBuilder::new(pattern)
            .unicode(!pattern.is_ascii())
            .size_limit(REGEX_BYTES)
            .dfa_size_limit(CACHE_BYTES)
            .nest_limit(NESTING)
            .build();
        Ok(Self(Kind::Regex(Box::new(regex.map_err(|error| bad(&error))?), 0)))
    }

    /// Lines that are a JSON object for which all conditions hold.
    pub const fn json(conditions: Vec<Condition>) -> Self {
        Self(Kind::Json(conditions))
    }

    /// Lines with key-value pairs for which all conditions hold.
    pub const fn pairs(pairs: Pairs, conditions: Vec<Condition>) -> Self {
        Self(Kind::Pairs(pairs, conditions, 0))
    }

    pub(super) const fn is_regex(&self) -> bool {
        matches!(self.0, Kind::Regex(..))
    }

    /// What it is, for reports.
    pub const fn kind(&self) -> &'static str {
        match self.0 {
            Kind::Regex(..) => "regex",
            Kind::Json(_) => "json",
            Kind::Pairs(..) => "pairs",
        }
    }

    /// The text of a group, member or key by its name; `None` where the expression has no such group.
    pub fn text(&self, name: &str) -> Option<Text> {
        let field = match &self.0 {
            Kind::Regex(regex, _) => {
                Field::Group(regex.capture_names().position(|group| group == Some(name))?)
            }
            Kind::Json(_) | Kind::Pairs(..) => Field::Key(name.into()),
        };
        Some(Text::field(field))
    }

    /// Names of all groups, for messages.
    pub fn groups(&self) -> Vec<&str> {
        match &self.0 {
            Kind::Regex(regex, _) => regex.capture_names().flatten().collect(),
            _ => Vec::new(),
        }
    }

    /// Takes its place among all rules.
    pub(super) fn enter(&mut self, expressions: &mut Vec<String>, all_pairs: &mut Vec<Pairs>) {
        match &mut self.0 {
            Kind::Regex(regex, at) => {
                *at = expressions.len();
                let flags = if regex.as_str().is_ascii() { "(?-u)" } else { "" };
                expressions.push(format!("{flags}{}", regex.as_str()));
            }
            Kind::Json(_) => {}
            Kind::Pairs(pairs, _, at) => {
                let known = all_pairs.iter().position(|known| known == pairs);
                *at = known.unwrap_or(all_pairs.len());
                if known.is_none() {
                    all_pairs.push(pairs.clone());
                }
            }
        }
    }

    /// What a line that is meant holds, where the pass over all expressions has left the answer open; without the
    /// groups if nobody asks for them.
    pub(super) fn find<'l>(
        &self,
        line: &'l Line<'_>,
        matched: Option<&SetMatches>,
        needs_groups: bool,
    ) -> Option<Found<'l>> {
        match &self.0 {
            Kind::Regex(_, at) if matched.is_some_and(|matched| !matched.matched(*at)) => None,
            Kind::Regex(..) if !needs_groups && matched.is_some() => Some(Found::Nothing),
            Kind::Regex(regex, _) => {
                let mut groups = regex.capture_locations();
                regex.captures_read(&mut groups, line.text.as_bytes())?;
                Some(Found::Groups(line.text, groups))
            }
            Kind::Json(conditions) => {
                let json = line.json()?;
                let hold =
                    conditions.iter().all(|condition| condition.holds(json::text(json, &condition.key)));
                hold.then_some(Found::Members(json))
            }
            Kind::Pairs(_, conditions, at) => {
                let pairs = line.pairs(*at)?;
                let hold = conditions.iter().all(|condition| condition.holds(pair(pairs, &condition.key)));
                hold.then_some(Found::Pairs(pairs))
            }
        }
    }
}

impl Condition {
    fn holds(&self, text: Option<&str>) -> bool {
        text.is_some_and(|text| self.one_of.iter().any(|allowed| allowed == text))
    }
}

/// A line and what has been read of it so far, for all rules.
#[derive(Debug)]
pub(super) struct Line<'t> {
    text: &'t str,
    json: OnceCell<Option<Json<'t>>>,
    pairs: Vec<(&'t Pairs, OnceCell<Option<List<'t>>>)>,
}

impl<'t> Line<'t> {
    pub(super) fn new(text: &'t str, pairs: &'t [Pairs]) -> Self {
        let pairs = pairs.iter().map(|pairs| (pairs, OnceCell::new())).collect();
        Self { text, json: OnceCell::new(), pairs }
    }

    fn json(&self) -> Option<&Json<'t>> {
        let read = || {
            let is_likely = self.text.trim_start().starts_with('{');
            is_likely
                .then(|| object(self.text).ok().filter(|(rest, _)| rest.is_empty()))?
                .map(|(_, json)| json)
        };
        self.json.get_or_init(read).as_ref()
    }

    fn pairs(&self, at: usize) -> Option<&[(&'t str, std::borrow::Cow<'t, str>)]> {
        let (pairs, cell) = self.pairs.get(at)?;
        cell.get_or_init(|| pairs.read(self.text)).as_deref()
    }
}

/// The library's error in one sentence. A syntax error is a drawing: the expression, a `^` under its place, a reason.
fn bad(error: &regex::Error) -> BadRegex {
    match error {
        regex::Error::CompiledTooBig(_) => {
            BadRegex { what: format!("it compiles to more than {REGEX_BYTES} bytes"), at: None }
        }
        regex::Error::Syntax(text) => {
            const INDENT: usize = 4;
            let what =
                text.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it cannot be read");
            let is_marker =
                |line: &&str| line.contains('^') && line.bytes().all(|byte| matches!(byte, b' ' | b'^'));
            let at = text.lines().find(is_marker).and_then(|line| line.find('^')?.checked_sub(INDENT));
            BadRegex { what: what.to_owned(), at }
        }
        _ => BadRegex { what: "it cannot be used".to_owned(), at: None },
    }
}
