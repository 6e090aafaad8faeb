//! `rules:` of the configuration file: the user's own rules as they are written, and what is wrong with them.

mod examples;
mod text;

pub use examples::Example;

use super::buckets::Bounds;
use crate::state::{Claims, is_label_name};
use examples::ExampleEntry;
use parsers::rules::{Condition, Family, Feed, Glob, Matcher, Pairs, Rule, RuleSet, Scale, Value};
use parsers::{Kind, Unit};
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeMap;
use text::{Labels, TextEntry};

/// Where something is wrong, and what.
pub(crate) type Wrong = (Location, String);

/// One entry of `rules:`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleEntry {
    name: Option<String>,
    regex: Option<Spanned<String>>,
    json: Option<JsonEntry>,
    pairs: Option<PairsEntry>,
    source: Option<Spanned<String>>,
    format: Option<Spanned<String>>,
    #[serde(default)]
    lines: Lines,
    #[serde(default)]
    stop: bool,
    metrics: Vec<Spanned<MetricEntry>>,
    #[serde(default)]
    examples: Vec<Spanned<ExampleEntry>>,
}

/// Which lines of a source with a format of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Lines {
    /// Those that it does not take.
    #[default]
    Unread,
    All,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonEntry {
    #[serde(default, rename = "where")]
    equal: BTreeMap<String, String>,
    #[serde(default)]
    one_of: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PairsEntry {
    #[serde(default = "equals")]
    separator: Spanned<String>,
    between: Option<Spanned<String>>,
    after: Option<Spanned<String>>,
    #[serde(default, rename = "where")]
    equal: BTreeMap<String, String>,
    #[serde(default)]
    one_of: BTreeMap<String, Vec<String>>,
}

fn equals() -> Spanned<String> {
    Spanned::new("=".to_owned(), Location::UNKNOWN, Location::UNKNOWN)
}

/// One entry of `metrics:`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricEntry {
    name: Spanned<String>,
    #[serde(default)]
    help: String,
    #[serde(rename = "type")]
    kind: Spanned<String>,
    value: Option<Spanned<TextEntry>>,
    unit: Option<Spanned<String>>,
    to: Option<Spanned<String>>,
    factor: Option<Spanned<f64>>,
    #[serde(default)]
    labels: Labels,
    buckets: Option<Spanned<Bounds>>,
    request_id: Option<Spanned<TextEntry>>,
}

/// What the rules of a file come to.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub(crate) set: RuleSet,
    pub(crate) examples: Vec<Example>,
}

/// Makes rules of what is written.
///
/// # Errors
///
/// The first thing that is wrong, and where.
pub(crate) fn compile(entries: &[Spanned<RuleEntry>]) -> Result<Compiled, Wrong> {
    let Some(first) = entries.first() else { return Ok(Compiled::default()) };
    let (mut rules, mut examples) = (Vec::new(), Vec::new());
    let (mut families, mut claims) = (Vec::<Family>::new(), Claims::default());
    for (at, entry) in entries.iter().enumerate() {
        let rule = entry.value.rule(entry.referenced, at)?;
        for (feed, metric) in rule.feeds.iter().zip(&entry.value.metrics) {
            join(&mut families, &mut claims, &feed.family)
                .map_err(|what| (metric.value.name.referenced, what))?;
        }
        examples::collect(&entry.value.examples, at, &rule.name, &mut examples)?;
        rules.push(rule);
    }
    for feed in rules.iter_mut().flat_map(|rule| &mut rule.feeds) {
        if let Some(family) = families.iter().find(|family| family.name == feed.family.name) {
            feed.family.help.clone_from(&family.help);
        }
    }
    let set = RuleSet::new(rules).map_err(|what| (first.referenced, what))?;
    Ok(Compiled { set, examples })
}

/// Holds a rule's family against those that are there already.
fn join(families: &mut Vec<Family>, claims: &mut Claims, family: &Family) -> Result<(), String> {
    let name = &family.name;
    if let Some(known) = families.iter_mut().find(|known| known.name == *name) {
        let differs = [
            (known.kind != family.kind, "type"),
            (known.labels != family.labels, "labels"),
            (known.bounds != family.bounds, "buckets"),
            (!(known.help.is_empty() || family.help.is_empty() || known.help == family.help), "help"),
        ];
        if let Some((_, what)) = differs.into_iter().find(|(differs, _)| *differs) {
            return Err(format!("{name} has other {what} in an earlier rule"));
        }
        if known.help.is_empty() {
            known.help.clone_from(&family.help);
        }
        return Ok(());
    }
    claims
        .add(name, family.kind, &family.labels)
        .map_err(|reason| format!("{name:?}: {}", reason.advice()))?;
    families.push(family.clone());
    Ok(())
}

impl RuleEntry {
    fn rule(&self, at: Location, index: usize) -> Result<Rule, Wrong> {
        let matcher = self.matcher(at)?;
        if self.metrics.is_empty() {
            return Err((at, "a rule without metrics does nothing".to_owned()));
        }
        let feeds =
            self.metrics.iter().map(|metric| metric.value.feed(&matcher)).collect::<Result<_, _>>()?;
        let source = self.source.as_ref().map(|source| {
            Glob::new(&source.value).ok_or_else(|| (source.referenced, "the pattern is too long".to_owned()))
        });
        if let Some(format) = self.format.as_ref().filter(|it| parsers::format_named(&it.value).is_none()) {
            return Err((format.referenced, format!("unknown format {:?}", format.value)));
        }
        Ok(Rule {
            name: self.name.clone().unwrap_or_else(|| format!("rule {}", index + 1)),
            matcher,
            source: source.transpose()?,
            format: self.format.as_ref().map(|format| format.value.clone()),
            sees_taken: self.lines == Lines::All,
            stop: self.stop,
            feeds,
        })
    }

    fn matcher(&self, at: Location) -> Result<Matcher, Wrong> {
        match (&self.regex, &self.json, &self.pairs) {
            (Some(regex), None, None) => {
                Matcher::regex(&regex.value).map_err(|bad| (regex.referenced, bad.to_string()))
            }
            (None, Some(json), None) => Ok(Matcher::json(conditions(&json.equal, &json.one_of))),
            (None, None, Some(entry)) => {
                let conditions = conditions(&entry.equal, &entry.one_of);
                Ok(Matcher::pairs(entry.pairs(at)?, conditions))
            }
            _ => Err((at, "a rule has one of regex, json and pairs".to_owned())),
        }
    }
}

impl PairsEntry {
    fn pairs(&self, at: Location) -> Result<Pairs, Wrong> {
        for text in [Some(&self.separator), self.between.as_ref(), self.after.as_ref()].into_iter().flatten()
        {
            if text.value.is_empty() {
                let at = if text.referenced == Location::UNKNOWN { at } else { text.referenced };
                return Err((at, "a separator cannot be empty".to_owned()));
            }
        }
        let own = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.value.clone());
        let separator = self.separator.value.clone();
        Ok(Pairs { separator, between: own(&self.between), after: own(&self.after) })
    }
}

/// What has to hold: `where:` is one text, `one_of:` one of several.
fn conditions(equal: &BTreeMap<String, String>, one_of: &BTreeMap<String, Vec<String>>) -> Vec<Condition> {
    let equal = equal.iter().map(|(key, text)| (key, vec![text.clone()]));
    let all = equal.chain(one_of.iter().map(|(key, texts)| (key, texts.clone())));
    all.map(|(key, one_of)| Condition { key: key.clone(), one_of }).collect()
}

impl MetricEntry {
    fn feed(&self, matcher: &Matcher) -> Result<Feed, Wrong> {
        let kind = kind(&self.kind)?;
        let bounds = match (kind, &self.buckets) {
            (Kind::Histogram, Some(buckets)) => buckets.value.0.clone(),
            (Kind::Histogram, None) => {
                return Err((self.name.referenced, "a histogram needs its buckets".to_owned()));
            }
            (_, Some(buckets)) => {
                return Err((buckets.referenced, "only a histogram has buckets".to_owned()));
            }
            (_, None) => Vec::new(),
        };
        let mut labels = Vec::new();
        for (name, text) in &self.labels.0 {
            if !is_label_name(&name.value) {
                return Err((name.referenced, format!("{:?} is no legal label name", name.value)));
            }
            let text = text.text(matcher).map_err(|what| (name.referenced, what))?;
            labels.push((name.value.clone(), text));
        }
        let request_id =
            self.request_id.as_ref().map(|id| id.value.text(matcher).map_err(|what| (id.referenced, what)));
        let family = Family {
            name: self.name.value.clone(),
            help: self.help.clone(),
            kind,
            bounds,
            labels: labels.iter().map(|(name, _)| name.clone()).collect(),
        };
        Ok(Feed { family, value: self.value(matcher)?, labels, request_id: request_id.transpose()? })
    }

    fn value(&self, matcher: &Matcher) -> Result<Value, Wrong> {
        let factor = match &self.factor {
            Some(factor) if !factor.value.is_finite() => {
                return Err((factor.referenced, "a factor is a finite number".to_owned()));
            }
            factor => factor.as_ref().map_or(1.0, |factor| factor.value),
        };
        let scale = Scale { unit: self.unit()?, factor };
        let Some(value) = &self.value else { return Ok(Value::Constant(factor)) };
        if let Some(number) = value.value.number() {
            return Ok(Value::Constant(scale.of(number)));
        }
        let text = value.value.text(matcher).map_err(|what| (value.referenced, what))?;
        Ok(Value::Text(text, scale))
    }

    /// The unit of the text and that of the metric.
    fn unit(&self) -> Result<Option<(Unit, Unit)>, Wrong> {
        let known = |word: &Spanned<String>| {
            let unit = Unit::parse(&word.value).filter(|_| !word.value.is_empty());
            unit.ok_or_else(|| (word.referenced, format!("unknown unit {:?}", word.value)))
        };
        let Some(unit) = &self.unit else {
            return match &self.to {
                Some(to) => Err((to.referenced, "`to` needs the `unit` of the text".to_owned())),
                None => Ok(None),
            };
        };
        let from = known(unit)?;
        let Some(word) = &self.to else { return Ok(Some((from, Unit::base(from.quantity)))) };
        let to = known(word)?;
        if to.quantity != from.quantity {
            let what = format!("{:?} does not become {:?}", unit.value, word.value);
            return Err((word.referenced, what));
        }
        Ok(Some((from, to)))
    }
}

fn kind(word: &Spanned<String>) -> Result<Kind, Wrong> {
    let kinds = [Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Summary];
    let kind = kinds.into_iter().find(|kind| kind.label() == word.value);
    let wrong = || format!("type {:?} is not counter, gauge, histogram or summary", word.value);
    kind.ok_or_else(|| (word.referenced, wrong()))
}
