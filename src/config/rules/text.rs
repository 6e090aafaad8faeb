//! Texts of a rule as they are written: the name of a group or key, a constant, words that replace others.

use parsers::rules::{Matcher, Text, ValueMap};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::fmt;

/// A text: a name alone, a number, or all that there is to say.
#[derive(Clone, Debug)]
pub(super) enum TextEntry {
    From(String),
    Number(f64),
    Whole(Whole),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whole {
    from: Option<String>,
    constant: Option<String>,
    map: Option<BTreeMap<String, String>>,
    default: Option<String>,
}

impl TextEntry {
    /// The number that it is in any line.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::From(_) => None,
            Self::Whole(whole) => parsers::number(whole.constant.as_ref()?.as_bytes()),
        }
    }

    /// What is meant.
    ///
    /// # Errors
    ///
    /// When there is no such group, or two things at once are said.
    pub(super) fn text(&self, matcher: &Matcher) -> Result<Text, String> {
        match self {
            Self::From(name) => found(matcher, name),
            Self::Number(number) => Ok(Text::constant(number.to_string())),
            Self::Whole(Whole { from: Some(name), constant: None, map, default }) => {
                let map = map.clone().map(ValueMap);
                Ok(found(matcher, name)?.mapped(map, default.clone()))
            }
            Self::Whole(Whole { from: None, constant: Some(text), map: None, default: None }) => {
                Ok(Text::constant(text.clone()))
            }
            Self::Whole(_) => Err("a text has from, with map and default or without, or constant".to_owned()),
        }
    }
}

fn found(matcher: &Matcher, name: &str) -> Result<Text, String> {
    matcher.text(name).ok_or_else(|| {
        let groups = matcher.groups();
        let there = if groups.is_empty() { "it has no named groups".to_owned() } else { groups.join(", ") };
        format!("the expression has no group {name:?} ({there})")
    })
}

impl<'de> Deserialize<'de> for TextEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyText)
    }
}

struct AnyText;

impl<'de> Visitor<'de> for AnyText {
    type Value = TextEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a group or key, a number, or from, map, default or constant")
    }

    fn visit_str<E>(self, name: &str) -> Result<TextEntry, E> {
        Ok(TextEntry::From(name.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<TextEntry, E> {
        #[expect(clippy::cast_precision_loss, reason = "a number of a configuration")]
        Ok(TextEntry::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<TextEntry, E> {
        #[expect(clippy::cast_precision_loss, reason = "a number of a configuration")]
        Ok(TextEntry::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<TextEntry, E> {
        Ok(TextEntry::Number(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextEntry, A::Error> {
        Whole::deserialize(MapAccessDeserializer::new(map)).map(TextEntry::Whole)
    }
}

/// Labels in their order: `[a, b]` for groups or keys of the same names, or each with its text.
#[derive(Debug, Default)]
pub(super) struct Labels(pub(super) Vec<(Spanned<String>, TextEntry)>);

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyLabels)
    }
}

struct AnyLabels;

impl<'de> Visitor<'de> for AnyLabels {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names, or a mapping of label names to texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Labels, A::Error> {
        let mut labels = Vec::new();
        while let Some(name) = items.next_element::<Spanned<String>>()? {
            let text = TextEntry::From(name.value.clone());
            labels.push((name, text));
        }
        Ok(Labels(labels))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
        let mut labels = Vec::new();
        while let Some(label) = map.next_entry::<Spanned<String>, TextEntry>()? {
            labels.push(label);
        }
        Ok(Labels(labels))
    }
}
