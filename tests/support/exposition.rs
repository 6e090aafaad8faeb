//! A strict reader of the Prometheus text format 0.0.4: what it accepts, Prometheus accepts.
//!
//! It is stricter than the format where our own output has no reason to use the freedom: no blank
//! lines, no other comments, no timestamps, one space between the parts of a line.

mod lexis;
pub(crate) mod openmetrics;

use lexis::{legal, number, read_labels, unescape};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// A sample's name and its labels, whatever their order.
pub(crate) type Series = (String, BTreeMap<String, String>);

/// What deviates from the strict reading.
#[derive(Clone, Copy, Default)]
pub(crate) struct Leave {
    /// A comma before the closing brace, as TorchServe's endpoint (simpleclient 0.9) writes it.
    pub(crate) trailing_comma: bool,
    /// Histograms with some of their samples missing, as `name[]` leaves them.
    pub(crate) partial_histograms: bool,
}

/// A family as its `# HELP` and `# TYPE` lines describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) help: Option<String>,
    pub(crate) kind: Option<String>,
}

/// A whole scrape body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exposition {
    pub(crate) families: BTreeMap<String, Family>,
    /// The values as bits: `0.30000000000000004` is not `0.3`, `-0.0` is not `0.0`.
    pub(crate) samples: BTreeMap<Series, u64>,
}

impl Exposition {
    /// Reads a body as our own endpoint has to write it.
    pub(crate) fn strict(text: &str) -> Result<Self, String> {
        Self::read(text, Leave::default())
    }

    /// Reads a body as TorchServe's endpoint writes it.
    pub(crate) fn torchserve(text: &str) -> Result<Self, String> {
        Self::read(text, Leave { trailing_comma: true, ..Leave::default() })
    }

    /// Reads a body; an error names the line.
    pub(crate) fn read(text: &str, leave: Leave) -> Result<Self, String> {
        let mut reader = Reader { leave, ..Reader::default() };
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line has no line end".to_owned());
        }
        for (index, line) in text.split_terminator('\n').enumerate() {
            reader.line(line).map_err(|error| format!("line {}: {error}: {line:?}", index + 1))?;
        }
        reader.finish()
    }

    /// The value of one series.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples.get(&series(name, labels)).map(|bits| f64::from_bits(*bits))
    }
}

/// A key of [`Exposition::samples`].
pub(crate) fn series(name: &str, labels: &[(&str, &str)]) -> Series {
    (name.to_owned(), labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[derive(Default)]
struct Reader {
    leave: Leave,
    found: Exposition,
    /// The family whose block is being read.
    current: String,
    /// All families whose block has begun.
    begun: BTreeSet<String>,
    /// Families that have a sample already: too late for HELP and TYPE.
    sampled: BTreeSet<String>,
    /// Buckets in the order of the text, by the series of the histogram without `le`.
    buckets: BTreeMap<Series, Vec<(f64, f64)>>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("HELP without a text")?;
            let help = unescape(help, &['\\', 'n'])?;
            let family = self.describe(name)?;
            return once(family.help.replace(help), "second HELP");
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("TYPE without a type")?;
            if !["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind) {
                return Err(format!("unknown type {kind:?}"));
            }
            let family = self.describe(name)?;
            return once(family.kind.replace(kind.to_owned()), "second TYPE");
        }
        if line.is_empty() || line.starts_with('#') {
            return Err("neither HELP, TYPE nor a sample".to_owned());
        }
        self.sample(line)
    }

    fn describe(&mut self, name: &str) -> Result<&mut Family, String> {
        legal(name, &[':'])?;
        self.enter(name)?;
        if self.sampled.contains(name) {
            return Err("HELP or TYPE after the family's samples".to_owned());
        }
        Ok(self.found.families.entry(name.to_owned()).or_default())
    }

    fn enter(&mut self, name: &str) -> Result<(), String> {
        if self.current != name {
            if !self.begun.insert(name.to_owned()) {
                return Err(format!("the lines of family {name} are not together"));
            }
            name.clone_into(&mut self.current);
        }
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let name_end = line.find(['{', ' ']).ok_or("a sample without a value")?;
        let name = &line[..name_end];
        legal(name, &[':'])?;
        let (mut labels, rest) = match line[name_end..].strip_prefix('{') {
            Some(rest) => read_labels(rest, self.leave.trailing_comma)?,
            None => (BTreeMap::new(), &line[name_end..]),
        };
        let value = number(rest.strip_prefix(' ').ok_or("no space before the value")?)?;
        let family = owner(&self.found.families, name).unwrap_or(name).to_owned();
        self.enter(&family)?;
        let kind = self.found.families.entry(family.clone()).or_default().kind.clone().unwrap_or_default();
        if kind == "counter" && (value < 0.0 || value.is_nan()) {
            return Err("a counter below zero".to_owned());
        }
        match self.found.samples.entry((name.to_owned(), labels.clone())) {
            Entry::Occupied(_) => return Err("the same series twice".to_owned()),
            Entry::Vacant(entry) => entry.insert(value.to_bits()),
        };
        let bound = labels.remove("le");
        let is_bucket = kind == "histogram" && name == format!("{family}_bucket");
        match bound {
            Some(bound) if is_bucket => {
                self.buckets.entry((family.clone(), labels)).or_default().push((number(&bound)?, value));
            }
            Some(_) if kind == "histogram" => return Err("le on what is no bucket".to_owned()),
            None if is_bucket => return Err("a bucket without le".to_owned()),
            _ => {}
        }
        self.sampled.insert(family);
        Ok(())
    }

    fn finish(self) -> Result<Exposition, String> {
        for (name, family) in &self.found.families {
            if let Some(owner) = owner(&self.found.families, name).filter(|owner| owner != name) {
                return Err(format!("family {name} has the name of a sample of {owner}"));
            }
            if family.kind.as_deref() == Some("histogram") && !self.leave.partial_histograms {
                self.check_histogram(name)?;
            }
        }
        Ok(self.found)
    }

    fn check_histogram(&self, name: &str) -> Result<(), String> {
        let mut found = BTreeSet::new();
        for suffix in ["_bucket", "_count", "_sum"] {
            let sample = format!("{name}{suffix}");
            let same = self.found.samples.range((sample.clone(), BTreeMap::new())..);
            for ((_, labels), _) in same.take_while(|((name, _), _)| *name == sample) {
                let mut labels = labels.clone();
                labels.remove("le");
                found.insert(labels);
            }
        }
        found.into_iter().try_for_each(|labels| self.check_buckets(name, labels))
    }

    fn check_buckets(&self, name: &str, labels: BTreeMap<String, String>) -> Result<(), String> {
        let get = |suffix: &str| self.found.samples.get(&(format!("{name}{suffix}"), labels.clone()));
        let count = get("_count").ok_or(format!("histogram {name} without _count"))?;
        get("_sum").ok_or(format!("histogram {name} without _sum"))?;
        let buckets = self.buckets.get(&(name.to_owned(), labels.clone()));
        let buckets = buckets.ok_or(format!("histogram {name} without buckets"))?;
        if !buckets.iter().zip(buckets.iter().skip(1)).all(|(a, b)| a.0 < b.0 && a.1 <= b.1) {
            return Err(format!("buckets of {name} do not climb"));
        }
        match buckets.last() {
            Some((bound, last)) if *bound == f64::INFINITY && last.to_bits() == *count => Ok(()),
            _ => Err(format!("the +Inf bucket of {name} is not its _count")),
        }
    }
}

fn once<T>(previous: Option<T>, complaint: &str) -> Result<(), String> {
    previous.map_or(Ok(()), |_| Err(complaint.to_owned()))
}

/// The described family that a sample name belongs to.
pub(crate) fn owner<'a>(families: &'a BTreeMap<String, Family>, sample: &'a str) -> Option<&'a str> {
    let of_kind = |suffix: &str, kinds: &[&str]| {
        let name = sample.strip_suffix(suffix)?;
        let kind = families.get(name)?.kind.as_deref()?;
        kinds.contains(&kind).then_some(name)
    };
    of_kind("_bucket", &["histogram"])
        .or_else(|| of_kind("_count", &["histogram", "summary"]))
        .or_else(|| of_kind("_sum", &["histogram", "summary"]))
        .or_else(|| families.contains_key(sample).then_some(sample))
}
