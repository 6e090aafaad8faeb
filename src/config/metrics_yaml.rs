//! TorchServe's `metrics.yaml`, read as the server reads it (pytorch/serve:
//! `frontend/server/src/main/java/org/pytorch/serve/metrics/configuration/MetricConfiguration.java`).

use super::file::parse_yaml;
use parsers::{Catalog, Declaration, Duplicate, Kind, Scope};
use serde::Deserialize;
use std::path::Path;

/// What a `metrics.yaml` declares, and what is odd about it.
#[derive(Debug)]
pub struct MetricsYaml {
    /// The declared families.
    pub catalog: Catalog,
    /// Names that are declared a second time in one half; the first one counts.
    pub duplicates: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    /// Only a place for anchors.
    #[serde(default, rename = "dimensions")]
    _dimensions: Option<Vec<String>>,
    #[serde(default)]
    ts_metrics: Option<Half>,
    #[serde(default)]
    model_metrics: Option<Half>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Half {
    #[serde(default)]
    counter: Option<Vec<Metric>>,
    #[serde(default)]
    gauge: Option<Vec<Metric>>,
    #[serde(default)]
    histogram: Option<Vec<Metric>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metric {
    name: String,
    unit: String,
    #[serde(default)]
    dimensions: Option<Vec<String>>,
}

/// Reads the file.
///
/// # Errors
///
/// `file:line:column: what`. TorchServe comes up with such a file too, but without any metrics.
pub(crate) fn read(path: &Path) -> Result<MetricsYaml, String> {
    super::file::read_yaml(path).map(declare)
}

/// Reads the text of a `metrics.yaml`; `name` stands for the file in errors.
///
/// # Errors
///
/// `name:line:column: what`.
pub fn parse(name: &str, text: &str) -> Result<MetricsYaml, String> {
    parse_yaml(name, text).map(declare)
}

fn declare(whole: Whole) -> MetricsYaml {
    let mut result = MetricsYaml { catalog: Catalog::default(), duplicates: Vec::new() };
    let halves = [(Scope::Server, whole.ts_metrics), (Scope::Model, whole.model_metrics)];
    for (scope, half) in halves {
        let half = half.unwrap_or_default();
        let kinds =
            [(Kind::Counter, half.counter), (Kind::Gauge, half.gauge), (Kind::Histogram, half.histogram)];
        for (kind, metrics) in kinds {
            for Metric { name, unit, dimensions } in metrics.unwrap_or_default() {
                let mut labels = dimensions.unwrap_or_default();
                if scope == Scope::Model {
                    // The frontend appends its host to what a worker reports.
                    labels.push("Hostname".to_owned());
                }
                let declared = result.catalog.declare(Declaration { scope, kind, name, unit, labels });
                result.duplicates.extend(declared.err().map(|Duplicate(name)| name));
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_and_both_halves_are_read() {
        let yaml = "dimensions:\n  - &level \"Level\"\nts_metrics:\n  counter:\n    - name: A\n      unit: Count\n      \
                    dimensions: [*level, Hostname]\nmodel_metrics:\n  histogram:\n    - {name: B, unit: a/b.c, dimensions: [*level]}\n";
        let read = parse("m.yaml", yaml).unwrap();
        let a = read.catalog.get(Scope::Server, "A").unwrap();
        assert_eq!(
            (Kind::Counter, vec!["Level".to_owned(), "Hostname".to_owned()]),
            (a.kind, a.labels.clone())
        );
        let b = read.catalog.get(Scope::Model, "B").unwrap();
        assert_eq!(
            ("a/b.c", vec!["Level".to_owned(), "Hostname".to_owned()]),
            (b.unit.as_str(), b.labels.clone())
        );
    }

    #[test]
    fn errors_name_the_place() {
        let error = parse("m.yaml", "ts_metrics:\n  counters:\n    - {name: A, unit: Count}\n").unwrap_err();
        assert!(error.starts_with("m.yaml:2:3: ") && error.contains("counters"), "{error}");
        let error = parse("m.yaml", "ts_metrics: [\n").unwrap_err();
        assert!(error.starts_with("m.yaml:"), "{error}");
    }

    #[test]
    fn a_name_counts_once_per_half() {
        let yaml = "model_metrics:\n  gauge: [{name: A, unit: ms}]\n  counter: [{name: A, unit: s}]\n";
        let read = parse("m.yaml", yaml).unwrap();
        assert_eq!(vec!["A"], read.duplicates);
        assert_eq!(Kind::Counter, read.catalog.get(Scope::Model, "A").unwrap().kind);
    }
}
