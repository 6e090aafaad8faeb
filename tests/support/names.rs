//! `name[]` as TorchServe's endpoint (simpleclient 0.9) treats it.

use super::exposition::{Exposition, owner};
use std::collections::BTreeMap;

/// What is left of a whole body when only these sample names are asked for: a family keeps its HELP and
/// TYPE while one of its samples stays, and is not mentioned otherwise.
pub(crate) fn filtered(whole: &Exposition, names: &[String]) -> Exposition {
    let mut samples = whole.samples.clone();
    samples.retain(|(name, _), _| names.contains(name));
    let families: BTreeMap<_, _> = samples
        .keys()
        .filter_map(|(name, _)| owner(&whole.families, name))
        .filter_map(|name| whole.families.get(name).map(|family| (name.to_owned(), family.clone())))
        .collect();
    Exposition { families, samples }
}

/// The names in the query of a request target such as `/metrics?name[]=A&name%5B%5D=B`.
pub(crate) fn asked_for(target: &str) -> Vec<String> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, _)| *key == "name[]" || *key == "name%5B%5D")
        .map(|(_, name)| name.to_owned())
        .collect()
}
