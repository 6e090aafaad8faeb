//! What the fuzz targets share: rules that make lines meet, and the claim that each of them ends with.

// The integration tests' own strict reader, and their way through the library.
#[allow(dead_code)]
#[path = "../../support"]
mod support {
    pub(crate) mod exposition;
}
#[path = "../../support_properties"]
mod support_properties {
    pub(crate) mod drive;
    pub(crate) mod exposed;
    pub(crate) mod identity;
}

use inferometer::state::{Naming, Outcome, Rules, State};
use parsers::{Catalog, Format};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use support::exposition::Exposition;
use support::exposition::openmetrics::OpenMetrics;
use support_properties::exposed::{self, Draft, KINDS, NAMES};
use support_properties::{drive, identity};

/// [`rules`] of TorchServe's own catalog; made once, since making them takes longer than reading a line.
pub static RULES: LazyLock<[Arc<Rules>; 2]> = LazyLock::new(|| rules(Catalog::torchserve_default()));

/// The default rules, and such under which names become alike and series run out of room.
pub fn rules(catalog: Catalog) -> [Arc<Rules>; 2] {
    let default = Rules { catalog, ..Rules::default() };
    let tight = Rules {
        naming: Naming::Prometheus,
        family_limit: 2,
        series_limit: 20,
        drop_labels: BTreeSet::from(["hostname".to_owned()]),
        ..default.clone()
    };
    [default, tight].map(Arc::new)
}

/// Holds what a record is taken apart into against the parser.
///
/// # Panics
///
/// When they say different things.
pub fn check_identity(format: &Format, record: &[u8], catalog: &Catalog) {
    identity::check(format, record, catalog);
}

/// Folds a whole file into a source of its own.
///
/// # Panics
///
/// When a record is not a part of what it was cut from, or lines were counted that are none.
pub fn fold(state: &mut State, bytes: &[u8], format: &Format) {
    let none = BTreeMap::new();
    let origin = drive::add(state, "a.log", &none);
    let records = drive::fold(state, bytes, format, &origin);
    let facts = state.source(origin.source).expect("the source that was added");
    let lines: u64 = Outcome::ALL.into_iter().map(|outcome| facts.lines(outcome)).sum();
    assert_eq!(records, lines, "each record has one outcome");
}

/// Checks that Prometheus would take what is shown.
///
/// # Panics
///
/// When it would not.
pub fn check(state: &State) {
    let view = state.view(None);
    let families: Vec<_> = view.log.iter().chain(&view.own).collect();
    let body = drive::body(families.iter().copied());
    if let Err(error) = Exposition::strict(&body) {
        panic!("{error}\n{body}");
    }
    let body = exposed::openmetrics_body(families);
    if let Err(error) = OpenMetrics::read(&body) {
        panic!("{error}\n{body}");
    }
}

/// Reads families off these bytes and checks what both formats say of them.
///
/// # Panics
///
/// When a reader refuses a body or reads something else.
pub fn check_families(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let count = bytes.below(6);
    let drafts: Vec<Draft> = (0..count).map(|_| bytes.draft()).collect();
    exposed::check(&drafts);
}

/// Bytes that are used up; after the last one come zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: u8) -> usize {
        usize::from(self.next() % end)
    }

    fn text(&mut self) -> String {
        let bytes: Vec<u8> = (0..self.below(12)).map(|_| self.next()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A small number, or one of any bits.
    fn number(&mut self) -> f64 {
        match self.next() {
            0 => f64::from_le_bytes([(); 8].map(|()| self.next())),
            small => f64::from(i16::from(small) - 64) / 8.0,
        }
    }

    fn draft(&mut self) -> Draft {
        let (name, kind) = (NAMES[self.below(20)], KINDS[self.below(5)]);
        let (help, has_created) = (self.text(), self.next() % 2 == 1);
        let bounds = (0..self.below(4)).map(|_| self.number()).collect();
        let mut series = Vec::new();
        for _ in 0..self.below(4) {
            let labels = (0..self.below(4)).map(|_| self.text()).collect();
            series.push((labels, (0..self.below(5)).map(|_| (self.number(), self.id())).collect()));
        }
        Draft { name, kind, help, bounds, series, has_created }
    }

    /// An id that the fold lets pass.
    fn id(&mut self) -> Option<String> {
        let mut id = self.text();
        id.retain(|c| c > ' ' && !['\"', '\\', '{', '}', '\u{7f}'].contains(&c));
        Some(id).filter(|id| !id.is_empty())
    }
}
