//! The configuration file: flags by their names with dots nested, and what no flag can hold.

use super::buckets::Bounds;
use super::process::ProcessEntry;
use super::rules::RuleEntry;
use parsers::Kind;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest configuration file; it may come from anybody who can write a ConfigMap.
pub(super) const SIZE_MAX: u64 = 1024 * 1024;

/// A configuration file as it was written.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    /// Values of flags by flag name; a list has several.
    pub(crate) flags: Vec<FlagValue>,
    /// `types:`.
    pub(crate) types: BTreeMap<String, Kind>,
    /// `buckets:`.
    pub(crate) buckets: BTreeMap<String, Arc<[f64]>>,
    /// `sources:`.
    pub(crate) sources: Vec<SourceEntry>,
    /// `rules:`.
    pub(crate) rules: Vec<Spanned<RuleEntry>>,
    /// `process:`.
    pub(crate) processes: Vec<ProcessEntry>,
}

/// A flag's value from the file.
#[derive(Debug)]
pub(crate) struct FlagValue {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
    pub(crate) at: Place,
}

/// Line and column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// One entry of `sources:`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceEntry {
    pub(crate) path: PathBuf,
    pub(crate) format: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) labels: SourceLabels,
    pub(crate) timezone: Option<Spanned<String>>,
}

/// Labels with the places of their names.
#[derive(Debug, Default)]
pub(crate) struct SourceLabels(pub(crate) Vec<(Spanned<String>, String)>);

impl<'de> Deserialize<'de> for SourceLabels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnyLabels)
    }
}

struct AnyLabels;

impl<'de> Visitor<'de> for AnyLabels {
    type Value = SourceLabels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of label names to values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SourceLabels, A::Error> {
        let mut labels = Vec::new();
        while let Some(entry) = map.next_entry::<Spanned<String>, String>()? {
            labels.push(entry);
        }
        Ok(SourceLabels(labels))
    }
}

/// Reads a YAML file into `T`.
///
/// # Errors
///
/// `file:line:column: what`, or why the file cannot be read.
pub(crate) fn read_yaml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|error| format!("cannot read {shown}: {error}"))?.len();
    if size > SIZE_MAX {
        return Err(format!("{shown}: larger than {SIZE_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    parse_yaml(&shown.to_string(), &text)
}

/// Reads YAML text; `name` stands for the file in errors.
///
/// # Errors
///
/// `name:line:column: what`.
pub fn parse_yaml<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, String> {
    // Of YAML 1.2: `n` and `on` are names like others.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let Some(location) = error.location() else { return located(name, &error) };
        let line = usize::try_from(location.line()).unwrap_or(1);
        let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let shown: String = shown.trim().chars().take(100).collect();
        format!("{} in: {}", located(name, &error), shown.escape_debug())
    })
}

/// `name:line:column: what`, without any text of the file.
pub(super) fn located(name: &str, error: &serde_saphyr::Error) -> String {
    let what = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
    // The location stands in front, as compilers print it; the reader's own suffix would repeat it.
    let what = what.lines().next().unwrap_or_default();
    let what = what.split(" at line ").next().unwrap_or(what);
    let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
    format!("{name}:{line}:{column}: {what}")
}

impl<'de> Deserialize<'de> for ConfigFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Top)
    }
}

struct Top;

impl<'de> Visitor<'de> for Top {
    type Value = ConfigFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of flags, sources, types, buckets and process")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConfigFile, A::Error> {
        let mut file = ConfigFile::default();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            match key.value.as_str() {
                "types" => {
                    let types = map.next_value::<BTreeMap<String, TypeWord>>()?;
                    file.types = types.into_iter().map(|(name, word)| (name, word.0)).collect();
                }
                "buckets" => {
                    let buckets = map.next_value::<BTreeMap<String, Bounds>>()?;
                    file.buckets =
                        buckets.into_iter().map(|(name, bounds)| (name, bounds.0.into())).collect();
                }
                "rules" => file.rules = map.next_value()?,
                "sources" => file.sources = map.next_value()?,
                "process" => file.processes = map.next_value()?,
                name => map.next_value::<Setting>()?.flatten(name, key.referenced.into(), &mut file.flags),
            }
        }
        Ok(file)
    }
}

/// The value of a flag, or more flags below a common first word.
enum Setting {
    Values(Vec<String>),
    Nested(Vec<(Spanned<String>, Self)>),
}

impl Setting {
    fn flatten(self, name: &str, at: Place, flags: &mut Vec<FlagValue>) {
        match self {
            Self::Values(values) => flags.push(FlagValue { name: name.to_owned(), values, at }),
            Self::Nested(members) => {
                for (key, setting) in members {
                    setting.flatten(&format!("{name}.{}", key.value), key.referenced.into(), flags);
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnySetting)
    }
}

struct AnySetting;

impl<'de> Visitor<'de> for AnySetting {
    type Value = Setting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list of values, or a mapping")
    }

    fn visit_str<E>(self, value: &str) -> Result<Setting, E> {
        Ok(Setting::Values(vec![value.to_owned()]))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Setting, E> {
        Ok(Setting::Values(vec![value.to_string()]))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Setting, E> {
        Ok(Setting::Values(vec![value.to_string()]))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Setting, E> {
        Ok(Setting::Values(vec![value.to_string()]))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Setting, E> {
        Ok(Setting::Values(vec![value.to_string()]))
    }

    fn visit_unit<E>(self) -> Result<Setting, E> {
        Ok(Setting::Nested(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Setting, A::Error> {
        let mut values = Vec::new();
        while let Some(item) = items.next_element::<String>()? {
            values.push(item);
        }
        Ok(Setting::Values(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Setting, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            members.push((key, map.next_value()?));
        }
        Ok(Setting::Nested(members))
    }
}

struct TypeWord(Kind);

impl<'de> Deserialize<'de> for TypeWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let kind = Kind::from_label(&word);
        kind.map(Self)
            .ok_or_else(|| D::Error::custom(format!("type {word:?} is not counter, gauge or histogram")))
    }
}
