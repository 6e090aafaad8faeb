//! Text out of a matched line: a group, a member, a pair's value, or the same text always.

use super::json;
use crate::json::Json;
use regex::bytes::CaptureLocations;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Which part of a matched line is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A group of a regular expression, by its number.
    Group(usize),
    /// The path of a JSON member, or the key of a pair.
    Key(Box<str>),
}

/// What a rule's match has found in a line.
#[derive(Debug)]
pub(super) enum Found<'l> {
    /// Only that it matches.
    Nothing,
    Groups(&'l str, CaptureLocations),
    Members(&'l Json<'l>),
    Pairs(&'l [(&'l str, Cow<'l, str>)]),
}

impl<'l> Found<'l> {
    fn text(&self, field: &Field) -> Option<&str> {
        match (self, field) {
            (Found::Groups(line, groups), Field::Group(at)) => {
                groups.get(*at).map(|(start, end)| whole_characters(line, start, end))
            }
            (Found::Members(json), Field::Key(path)) => json::text(json, path),
            (Found::Pairs(pairs), Field::Key(key)) => pair(pairs, key),
            _ => None,
        }
    }
}

/// The value of a key; of two equal keys the first one counts.
pub(super) fn pair<'a>(pairs: &'a [(&str, Cow<'_, str>)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| &**value)
}

/// Expressions match bytes, so a group may begin or end inside a character: then it has the whole character.
fn whole_characters(line: &str, start: usize, end: usize) -> &str {
    let start = (0..=start).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    let end = (end..=line.len()).find(|at| line.is_char_boundary(*at)).unwrap_or(line.len());
    line.get(start..end).unwrap_or_default()
}

/// Other words for what a line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueMap(pub BTreeMap<String, String>);

/// A text that a rule makes of a matched line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub(super) from: Option<Field>,
    map: Option<ValueMap>,
    /// What stands for a text that is absent, or that the map lacks.
    default: Option<String>,
}

impl Text {
    /// The same text always.
    pub const fn constant(text: String) -> Self {
        Self { from: None, map: None, default: Some(text) }
    }

    pub(super) const fn field(field: Field) -> Self {
        Self { from: Some(field), map: None, default: None }
    }

    /// The same with words replaced: one that the map lacks becomes the default, or stays where there is none.
    #[must_use]
    pub fn mapped(self, map: Option<ValueMap>, default: Option<String>) -> Self {
        Self { map, default: default.or(self.default), ..self }
    }

    /// The text, unless the line has none and there is no default.
    pub(super) fn of<'a>(&'a self, found: &'a Found<'_>) -> Option<&'a str> {
        let default = self.default.as_deref();
        let Some(text) = self.from.as_ref().and_then(|field| found.text(field)) else { return default };
        match &self.map {
            Some(map) => Some(map.0.get(text).map_or(default.unwrap_or(text), String::as_str)),
            None => Some(text),
        }
    }

    pub(super) const fn is_group(&self) -> bool {
        matches!(self.from, Some(Field::Group(_)))
    }
}
