//! Declared and undeclared families, well-formed lines of them, and lines that have to leave no trace.

use super::metric::{Layout, Metric};
use super::text;
use crate::support::events::{self, Event};
use crate::support::exposition::{Exposition, Family, series};
use parsers::{Catalog, Declaration, Kind, Scope};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use std::collections::BTreeSet;

/// How the names of these families begin; nothing hostile is called so.
pub(crate) const PREFIX: &str = "Good";

/// One family.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) name: String,
    /// `None`: nobody tells its type.
    pub(crate) kind: Option<Kind>,
    pub(crate) unit: String,
    pub(crate) labels: Vec<String>,
    pub(crate) is_model: bool,
}

/// Up to four families with names of their own.
pub(crate) fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let kind = select(&[Some(Kind::Counter), Some(Kind::Gauge), Some(Kind::Histogram), None][..]);
    // Of an undeclared name the last dot ends it, so only a declared one can have a unit with a dot.
    let unit = select(&["Count", "ms", "tokens per second", "µs", "a\"b\\c", "", "%", "tokens/s.avg"][..]);
    // The host's own label, and what no label may be called.
    let label = "[a-zA-Z_][a-zA-Z0-9_]{0,4}".prop_filter("legal and free", |name| {
        !name.starts_with("__") && name != "le" && !name.eq_ignore_ascii_case("hostname")
    });
    let shape = (kind, unit, btree_set(label, 0..4), any::<bool>());
    vec(shape, 1..5).prop_map(|shapes| {
        let numbered = shapes.into_iter().enumerate();
        numbered
            .map(|(index, (kind, unit, labels, is_model))| Shape {
                name: format!("{PREFIX}{index}"),
                kind,
                unit: if kind.is_none() { unit.replace('.', "") } else { unit.to_owned() },
                labels: labels.into_iter().collect(),
                is_model,
            })
            .collect()
    })
}

/// A line of one of the families.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    family: Index,
    value: f64,
    style: u8,
    labels: Vec<String>,
    host: String,
    request_ids: String,
    layout: Layout,
    flaw: Flaw,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    /// Not a number as the server writes it.
    Value(&'static str),
    /// One dimension more than declared, or one less.
    LabelCount,
    /// A byte that is no UTF-8.
    Byte,
    /// Cut before the value's end was certain.
    Cut,
}

pub(crate) fn draft() -> impl Strategy<Value = Draft> {
    let host = prop_oneof![3 => select(&["h", "[::1]:80", "a|b", "my host"][..]).prop_map(str::to_owned),
        1 => text::hostile().prop_filter("a host has a name", |host| !host.is_empty())];
    let flaw = prop_oneof![
        8 => select(&[Flaw::Nothing][..]),
        1 => select(&["1,234", "nan", "inf", "+7", "None", "", "1.2.3", "0x10"][..]).prop_map(Flaw::Value),
        1 => select(&[Flaw::LabelCount, Flaw::Byte, Flaw::Cut][..]),
    ];
    let number = prop_oneof![9 => text::number(), 1 => select(&[f64::NAN][..])];
    let parts = (any::<Index>(), number, any::<u8>(), vec(text::value(), 4), host, text::value());
    (parts, select(Layout::ALL), flaw).prop_map(|(parts, layout, flaw)| {
        let (family, value, style, labels, host, request_ids) = parts;
        Draft { family, value, style, labels, host, request_ids, layout, flaw }
    })
}

/// Lines, and what an exposition has to say of their families.
pub(crate) struct Stream {
    pub(crate) lines: Vec<Vec<u8>>,
    pub(crate) catalog: Catalog,
    pub(crate) expected: Exposition,
}

impl Stream {
    /// On a console the layouts of the metric files do not occur: there they are other loggers' lines.
    pub(crate) fn new(shapes: &[Shape], drafts: &[Draft], is_console: bool) -> Self {
        let mut lines = Vec::new();
        let mut told: Vec<Event> = Vec::new();
        let mut listed: BTreeSet<&str> =
            shapes.iter().filter(|shape| shape.kind.is_some()).map(|shape| shape.name.as_str()).collect();
        for draft in drafts {
            let shape = draft.family.get(shapes);
            let (line, event) = draft.line(shape, is_console);
            lines.push(line);
            if event.is_some() {
                listed.insert(&shape.name);
            }
            told.extend(event);
        }
        let kinds =
            shapes.iter().filter_map(|shape| Some((shape.name.clone(), shape.kind?.label().to_owned())));
        let samples = events::fold(&told, &kinds.collect());
        // One NaN is like another: Infinity minus Infinity has a sign that no exposition can tell.
        let samples = samples.into_iter().map(|(series, bits)| {
            (series, if f64::from_bits(bits).is_nan() { f64::NAN.to_bits() } else { bits })
        });
        let families = shapes.iter().filter(|shape| listed.contains(&*shape.name)).map(Shape::described);
        let expected = Exposition { families: families.collect(), samples: samples.collect() };
        Self { lines, catalog: catalog(shapes), expected }
    }
}

impl Draft {
    /// The line, and what it has to become unless it has to be refused.
    fn line(&self, shape: &Shape, is_console: bool) -> (Vec<u8>, Option<Event>) {
        let flaw = match self.flaw {
            // The first line of an undeclared family decides how many labels it has.
            Flaw::LabelCount if shape.kind.is_none() => Flaw::Nothing,
            other => other,
        };
        let value = self.value;
        let names = shape.labels.iter().cloned();
        let labels: Vec<_> = names.zip(self.labels.iter().cloned()).collect();
        let mut metric = Metric {
            name: shape.name.clone(),
            unit: shape.unit.clone(),
            value: text::print(value, self.style),
            labels: labels.clone(),
            host: self.host.clone(),
            request_ids: shape.is_model.then(|| self.request_ids.clone()),
        };
        match flaw {
            // Ids that look like a line's end would make a whole line of the half one.
            Flaw::Cut => metric.request_ids = metric.request_ids.map(|_| "null".to_owned()),
            Flaw::Value(text) => text.clone_into(&mut metric.value),
            Flaw::LabelCount if metric.labels.is_empty() => {
                metric.labels.push(("More".to_owned(), "x".to_owned()));
            }
            Flaw::LabelCount => drop(metric.labels.pop()),
            _ => {}
        }
        let mut layout = metric.fitting(self.layout);
        if is_console && !matches!(layout, Layout::Json | Layout::Object) {
            layout = metric.fitting(Layout::Console);
        }
        let mut line = metric.line(layout).into_bytes();
        match flaw {
            Flaw::Byte => line.insert(line.len() / 2, 0xff),
            Flaw::Cut => {
                // A block whose end is missing takes the next lines with it, as it must: no cuts there.
                if layout == Layout::Block {
                    line = metric.line(Layout::Object).into_bytes();
                }
                line.truncate(line.len() / 2);
                line.push(b'\n');
            }
            _ => {}
        }
        // A counter that refuses an increment is there all the same.
        let is_refused_increment = shape.kind == Some(Kind::Counter) && value < 0.0;
        let value = if is_refused_increment { 0.0 } else { value };
        let mut pairs: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.push((shape.host_label(), self.host.as_str()));
        let event = Event { series: series(&shape.name, &pairs), value };
        (line, Some(event).filter(|_| flaw == Flaw::Nothing && !value.is_nan()))
    }
}

impl Shape {
    /// The frontend's families name their labels themselves, the host's included.
    fn host_label(&self) -> &'static str {
        if self.kind.is_some() && !self.is_model { "hostname" } else { "Hostname" }
    }

    fn described(&self) -> (String, Family) {
        let kind = self.kind.map_or("untyped", Kind::label);
        let help = format!("Torchserve prometheus {kind} metric with unit: {}", self.unit);
        (self.name.clone(), Family { help: Some(help), kind: Some(kind.to_owned()) })
    }
}

/// The families whose type is known, as a `metrics.yaml` declares them.
fn catalog(shapes: &[Shape]) -> Catalog {
    let mut catalog = Catalog::default();
    for shape in shapes {
        let Some(kind) = shape.kind else { continue };
        let scope = if shape.is_model { Scope::Model } else { Scope::Server };
        let mut labels = shape.labels.clone();
        labels.push(shape.host_label().to_owned());
        let (name, unit) = (shape.name.clone(), shape.unit.clone());
        catalog.declare(Declaration { scope, kind, name, unit, labels }).expect("names differ");
    }
    catalog
}
