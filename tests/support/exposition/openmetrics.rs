//! A strict reader of OpenMetrics 1.0.0, by its specification and not by our writer.
//!
//! It is stricter than the format where our own output has no reason to use the freedom: each family says its type,
//! no sample has a time of its own, and an exemplar lies in its bucket.

use super::lexis::{legal, number, read_labels, unescape};
use super::{Family, Series};
use std::collections::{BTreeMap, BTreeSet};

/// An exemplar: its labels, value and time, the numbers as bits.
pub(crate) type Exemplar = (BTreeMap<String, String>, u64, u64);

/// A whole scrape body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenMetrics {
    pub(crate) families: BTreeMap<String, Family>,
    /// The values as bits.
    pub(crate) samples: BTreeMap<Series, u64>,
    pub(crate) exemplars: BTreeMap<Series, Exemplar>,
}

/// The suffixes of the names that a family of this type has, `_created` among them.
fn suffixes(kind: &str) -> Result<&'static [&'static str], String> {
    match kind {
        "counter" => Ok(&["_total", "_created"]),
        "gauge" | "unknown" => Ok(&[""]),
        "summary" => Ok(&["_count", "_sum", "_created"]),
        "histogram" => Ok(&["_bucket", "_count", "_sum", "_created"]),
        other => Err(format!("unknown type {other:?}")),
    }
}

impl OpenMetrics {
    /// Reads a body; an error names the line.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let lines = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
        if !lines.is_empty() && !lines.ends_with('\n') {
            return Err("# EOF is no line of its own".to_owned());
        }
        let mut reader = Reader::default();
        for (index, line) in lines.split_terminator('\n').enumerate() {
            reader.line(line).map_err(|error| format!("line {}: {error}: {line:?}", index + 1))?;
        }
        reader.end_family()?;
        Ok(reader.found)
    }

    /// The samples that are no time of a series' begin.
    pub(crate) fn lasting(&self) -> BTreeMap<Series, u64> {
        let begins = self.families.iter().filter(|(_, family)| {
            matches!(family.kind.as_deref(), Some("counter" | "histogram" | "summary"))
        });
        let begins: BTreeSet<String> = begins.map(|(name, _)| format!("{name}_created")).collect();
        self.samples.clone().into_iter().filter(|((name, _), _)| !begins.contains(name)).collect()
    }
}

#[derive(Default)]
struct Reader {
    found: OpenMetrics,
    /// All names that families have or could have.
    claimed: BTreeSet<String>,
    current: String,
    kind: String,
    /// Label sets of the family that have samples, and the last one of them.
    groups: BTreeSet<BTreeMap<String, String>>,
    group: Option<BTreeMap<String, String>>,
    /// What the last group holds, in the order of its lines: suffix, bound, value.
    points: Vec<(String, Option<f64>, f64)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("HELP without a text")?;
            let help = unescape(help, &['\\', 'n', '"'])?;
            if rest.split_once(' ').is_some_and(|(_, raw)| has_bare_quote(raw)) {
                return Err("a quote that is not escaped".to_owned());
            }
            let known = self.describe(name)?.help.replace(help);
            return known.map_or(Ok(()), |_| Err("second HELP".to_owned()));
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("TYPE without a type")?;
            suffixes(kind)?;
            let known = self.describe(name)?.kind.replace(kind.to_owned());
            kind.clone_into(&mut self.kind);
            return known.map_or(Ok(()), |_| Err("second TYPE".to_owned()));
        }
        if line.is_empty() || line.starts_with('#') {
            return Err("neither HELP, TYPE nor a sample".to_owned());
        }
        self.sample(line)
    }

    fn describe(&mut self, name: &str) -> Result<&mut Family, String> {
        legal(name, &[':'])?;
        if self.current != name {
            self.end_family()?;
            name.clone_into(&mut self.current);
        } else if !self.groups.is_empty() {
            return Err("HELP or TYPE after the family's samples".to_owned());
        }
        Ok(self.found.families.entry(name.to_owned()).or_default())
    }

    fn end_family(&mut self) -> Result<(), String> {
        self.end_group()?;
        if !self.current.is_empty() {
            let own = [self.current.clone()].into_iter();
            let names = suffixes(&self.kind)?.iter().map(|suffix| format!("{}{suffix}", self.current));
            for name in own.chain(names.filter(|name| *name != self.current)) {
                if let Some(twice) = self.claimed.replace(name) {
                    return Err(format!("two families could have a sample {twice}"));
                }
            }
        }
        self.current.clear();
        self.kind.clear();
        self.groups.clear();
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let name_end = line.find(['{', ' ']).ok_or("a sample without a value")?;
        let name = &line[..name_end];
        let suffix = name.strip_prefix(self.current.as_str()).filter(|_| !self.current.is_empty());
        let suffix = suffix.filter(|suffix| suffixes(&self.kind).is_ok_and(|all| all.contains(suffix)));
        let suffix = suffix.ok_or("a sample of no family that is open")?;
        let (labels, rest) = match line[name_end..].strip_prefix('{') {
            Some(rest) => read_labels(rest, false)?,
            None => (BTreeMap::new(), &line[name_end..]),
        };
        let rest = rest.strip_prefix(' ').ok_or("no space before the value")?;
        let (value, exemplar) = match rest.split_once(" # {") {
            Some((value, exemplar)) => (number(value)?, Some(exemplar)),
            None => (number(rest)?, None),
        };
        if suffix != "_created" && !suffix.is_empty() && (value.is_nan() || value < 0.0) {
            return Err("what only grows is below zero".to_owned());
        }
        let mut group = labels.clone();
        let is_bucket = self.kind == "histogram" && suffix == "_bucket";
        let bound = if is_bucket { Some(group.remove("le").ok_or("a bucket without le")?) } else { None };
        if self.kind == "histogram" && group.contains_key("le") {
            return Err("le on what is no bucket".to_owned());
        }
        let bound = bound.map(|bound| number(&bound)).transpose()?;
        self.enter(group)?;
        let point = (suffix.to_owned(), bound, value);
        let series = (name.to_owned(), labels);
        if let Some(text) = exemplar {
            let exemplar = self.exemplar(text, bound)?;
            self.found.exemplars.insert(series.clone(), exemplar);
        }
        self.points.push(point);
        let twice = self.found.samples.insert(series, value.to_bits());
        twice.map_or(Ok(()), |_| Err("the same series twice".to_owned()))
    }

    /// The samples of one label set stand together.
    fn enter(&mut self, group: BTreeMap<String, String>) -> Result<(), String> {
        if self.group.as_ref() != Some(&group) {
            self.end_group()?;
            if !self.groups.insert(group.clone()) {
                return Err("the samples of a label set are not together".to_owned());
            }
            self.group = Some(group);
        }
        Ok(())
    }

    fn exemplar(&self, text: &str, bound: Option<f64>) -> Result<Exemplar, String> {
        let bound = bound.ok_or("an exemplar on what is no bucket")?;
        let (labels, rest) = read_labels(text, false)?;
        let length: usize =
            labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        if length > 128 {
            return Err(format!("an exemplar of {length} characters"));
        }
        let (value, at) = rest.strip_prefix(' ').and_then(|rest| rest.split_once(' ')).ok_or("no time")?;
        let (value, at) = (number(value)?, number(at)?);
        let below = self.points.last().and_then(|(_, bound, _)| *bound).unwrap_or(f64::NEG_INFINITY);
        if !at.is_finite() || value > bound || value <= below {
            return Err("an exemplar outside its bucket, or of no time".to_owned());
        }
        Ok((labels, value.to_bits(), at.to_bits()))
    }

    fn end_group(&mut self) -> Result<(), String> {
        let points = std::mem::take(&mut self.points);
        if self.group.take().is_none() || self.kind != "histogram" {
            return Ok(());
        }
        let of = |suffix: &str| points.iter().find(|(name, ..)| name == suffix).map(|(.., value)| *value);
        let buckets: Vec<(f64, f64)> =
            points.iter().filter_map(|(_, bound, value)| Some(((*bound)?, *value))).collect();
        if !buckets.iter().zip(buckets.iter().skip(1)).all(|(a, b)| a.0 < b.0 && a.1 <= b.1) {
            return Err("buckets do not climb".to_owned());
        }
        let Some((bound, last)) = buckets.last().filter(|(bound, _)| *bound == f64::INFINITY) else {
            return Err("no bucket +Inf".to_owned());
        };
        debug_assert!(bound.is_infinite(), "it was filtered so");
        match (of("_count"), of("_sum")) {
            (None, None) => Ok(()),
            (Some(count), Some(_)) if count.to_bits() != last.to_bits() => {
                Err("the +Inf bucket is not the count".to_owned())
            }
            (Some(_), Some(_)) if buckets.iter().any(|(bound, _)| *bound < 0.0) => {
                Err("a sum beside buckets below zero".to_owned())
            }
            (Some(_), Some(_)) => Ok(()),
            _ => Err("a sum without a count, or a count without a sum".to_owned()),
        }
    }
}

fn has_bare_quote(text: &str) -> bool {
    let mut is_escaped = false;
    text.chars().any(|c| {
        let is_bare = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_bare
    })
}
