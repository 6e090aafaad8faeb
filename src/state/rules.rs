//! What the configuration says about the fold.

use super::naming::{Exposed, Naming};
use parsers::rules::RuleSet;
use parsers::{Catalog, Declaration, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the configuration says about the fold; fixed for the life of a [`State`](super::State).
#[derive(Clone, Debug)]
pub struct Rules {
    /// Declared families.
    pub catalog: Catalog,
    /// Whether the catalog is a file's and not the built-in default.
    pub has_metrics_config: bool,
    /// Types of metrics that the catalog lacks.
    pub types: BTreeMap<String, Kind>,
    /// Histogram bounds by metric name; ascending, without `+Inf`.
    pub buckets: BTreeMap<String, Arc<[f64]>>,
    /// The user's own rules, for lines that no format takes.
    pub own: Arc<RuleSet>,
    /// Most series in all.
    pub series_limit: usize,
    /// Most series of one family.
    pub family_limit: usize,
    /// Whether time metrics also become histograms in seconds.
    pub latency_histograms: bool,
    /// Names of the log families.
    pub naming: Naming,
    /// Whether metrics are shown under names of the past, too.
    pub old_names: bool,
    /// Whether series keep when their first line was written (`--web.openmetrics-created`).
    pub created: bool,
    /// Labels that are left out, summing counters and histograms.
    pub drop_labels: BTreeSet<String>,
    /// Seconds of a server's silence after which its gauges are not shown.
    pub gauge_ttl: u64,
    /// Seconds without a line after which a series is dropped.
    pub series_ttl: u64,
}

impl Rules {
    /// The name under which a declared family is exposed, as OpenMetrics sees it: a counter's `_total`
    /// belongs to its samples, not to the family.
    pub fn exposed_name(&self, declaration: &Declaration) -> String {
        let Declaration { kind, name, unit, labels, .. } = declaration;
        let exposed = Exposed::new(self.naming, Some(*kind), name, unit, labels).name;
        match (self.naming, kind) {
            (Naming::Prometheus | Naming::Uniform, Kind::Counter) => {
                exposed.trim_end_matches("_total").to_owned()
            }
            _ => exposed,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            catalog: Catalog::torchserve_default(),
            has_metrics_config: false,
            types: BTreeMap::new(),
            buckets: BTreeMap::new(),
            own: Arc::default(),
            series_limit: 10_000,
            family_limit: 1_000,
            latency_histograms: true,
            naming: Naming::default(),
            old_names: false,
            created: false,
            drop_labels: BTreeSet::new(),
            gauge_ttl: 300,
            series_ttl: 7 * 86_400,
        }
    }
}
