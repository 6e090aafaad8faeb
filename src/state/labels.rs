//! Label sets as text: `ModelName="resnet18",Level="Model"`, escaped as in an exposition.
//!
//! This text is both the identity of a series and what a scrape prints, so two label sets are one
//! series exactly when a reader of `/metrics` would take them for one: `("ab","c")` and `("a","bc")`
//! stay apart, which the `prometheus` crate's vectors do not give.

use crate::metric::push_label;
use std::collections::BTreeMap;

/// The longest label set that becomes a series of its own; a longer one counts as having no room.
pub(crate) const LABELS_MAX: usize = 4096;

/// The label set of the series that takes what found no room in its family.
pub(crate) const OVERFLOW: &str = "overflow=\"true\"";

/// Appends a source's configured labels. One that the series has itself is left out, and so is that of a
/// histogram's buckets, whatever the type: a label set may not name a label twice, and any series may turn
/// out to be a histogram's.
pub(crate) fn push_source(text: &mut String, labels: &BTreeMap<String, String>) {
    for (name, value) in labels {
        if name != "le" && !has(text, name) {
            push_label(text, name, value);
        }
    }
}

/// Whether the text names the label. A value cannot pretend to: its quotes are escaped.
fn has(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let after = text.get(at + name.len()..).unwrap_or_default();
        (before.is_empty() || before.ends_with("\",")) && after.starts_with("=\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> String {
        let mut text = String::new();
        pairs.iter().for_each(|(name, value)| push_label(&mut text, name, value));
        text
    }

    #[test]
    fn label_sets_never_merge() {
        assert_ne!(labels(&[("a", "ab"), ("b", "c")]), labels(&[("a", "a"), ("b", "bc")]));
        assert_ne!(labels(&[("a", "x\",b=\"y")]), labels(&[("a", "x"), ("b", "y")]));
    }

    #[test]
    fn a_sources_label_yields_to_the_series_own() {
        let mut text = labels(&[("Level", "a,model=\"b"), ("x_model", "c")]);
        let configured = ["Level", "le", "model"].map(|name| (name.to_owned(), "s".to_owned()));
        push_source(&mut text, &BTreeMap::from(configured));
        assert_eq!(r#"Level="a,model=\"b",x_model="c",model="s""#, text);
    }

    #[test]
    fn values_are_escaped_as_the_format_says() {
        assert_eq!(r#"a="C\\x \"q\" \n	""#, labels(&[("a", "C\\x \"q\" \n\t")]));
    }
}
