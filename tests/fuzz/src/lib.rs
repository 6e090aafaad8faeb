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
    pub(crate) mod identity;
}

use inferometer::state::{Naming, Outcome, Rules, State};
use parsers::{Catalog, Format};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use support::exposition::Exposition;
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
    let body = drive::body(view.log.iter().chain(&view.own));
    if let Err(error) = Exposition::strict(&body) {
        panic!("{error}\n{body}");
    }
}
