//! Two expositions side by side, as maps: the order of families, series and labels means nothing.

use super::exposition::{Exposition, Family, Series, owner};
use std::collections::{BTreeMap, BTreeSet};

/// What one has and the other lacks, in words; empty when both are equal to the last bit.
pub(crate) fn differences(expected: &Exposition, observed: &Exposition) -> Vec<String> {
    let mut found = Vec::new();
    let names: BTreeSet<_> = expected.families.keys().chain(observed.families.keys()).collect();
    for name in names {
        let (theirs, ours) = (expected.families.get(name), observed.families.get(name));
        if theirs != ours {
            found.push(format!("family {name}: expected {}, observed {}", describe(theirs), describe(ours)));
        }
    }
    let keys: BTreeSet<_> = expected.samples.keys().chain(observed.samples.keys()).collect();
    for key in keys {
        let (theirs, ours) = (expected.samples.get(key), observed.samples.get(key));
        if theirs != ours {
            found.push(format!("{}: expected {}, observed {}", write(key), show(theirs), show(ours)));
        }
    }
    found
}

/// Only the families that `keep` accepts, with their samples.
pub(crate) fn only(body: &Exposition, keep: impl Fn(&str) -> bool) -> Exposition {
    let families: BTreeMap<String, Family> = body
        .families
        .iter()
        .filter(|(name, _)| keep(name))
        .map(|(name, family)| (name.clone(), family.clone()))
        .collect();
    let mut samples = body.samples.clone();
    samples.retain(|(name, _), _| owner(&families, name).is_some());
    Exposition { families, samples }
}

fn write((name, labels): &Series) -> String {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

fn describe(family: Option<&Family>) -> String {
    family.map_or("nothing".to_owned(), |family| format!("{family:?}"))
}

fn show(bits: Option<&u64>) -> String {
    bits.map_or("nothing".to_owned(), |bits| format!("{:?}", f64::from_bits(*bits)))
}
