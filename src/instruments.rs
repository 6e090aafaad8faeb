//! Instrumentation of the process itself, kept by the `prometheus` crate: what it does, not what it knows.
//!
//! Facts of the fold (`inferometer_lines_total` and its kin) are not here: they belong to the snapshot.

use crate::metric::{FamilyView, Histogram as Counts, SeriesView, Shown, Type, escape_into};
use prometheus::core::Collector;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

/// What the process measures about itself.
#[derive(Clone, Debug)]
pub struct Instruments {
    registry: Registry,
    /// Duration of commits.
    pub commit_seconds: Histogram,
    /// Duration of rendering one scrape.
    pub scrape_seconds: Histogram,
    /// Scrapes that found `--web.max-requests` others under way.
    pub refused_scrapes: IntCounter,
}

impl Instruments {
    /// Registers everything.
    ///
    /// # Errors
    ///
    /// When the crate refuses a name; that is a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let times = |name: &str, help: &str, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        };
        let info = Opts::new("inferometer_build_info", "Version of inferometer; 1.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let info = IntGauge::with_opts(info)?;
        info.set(1);
        let instruments = Self {
            commit_seconds: times(
                "inferometer_commit_seconds",
                "Duration of commits, publication included.",
                &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0],
            )?,
            scrape_seconds: times(
                "inferometer_scrape_seconds",
                "Duration of rendering one scrape.",
                &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1],
            )?,
            refused_scrapes: IntCounter::new(
                "inferometer_refused_scrapes_total",
                "Scrapes that found --web.max-requests others under way.",
            )?,
            registry,
        };
        let process = prometheus::process_collector::ProcessCollector::for_self();
        let collectors: [Box<dyn Collector>; 5] = [
            Box::new(info),
            Box::new(instruments.commit_seconds.clone()),
            Box::new(instruments.scrape_seconds.clone()),
            Box::new(instruments.refused_scrapes.clone()),
            Box::new(process),
        ];
        collectors.into_iter().try_for_each(|collector| instruments.registry.register(collector))?;
        Ok(instruments)
    }

    /// All of it as families, for the one encoder.
    pub fn families(&self) -> Vec<FamilyView> {
        self.registry.gather().iter().map(family).collect()
    }
}

fn family(gathered: &MetricFamily) -> FamilyView {
    let kind = match gathered.get_field_type() {
        MetricType::COUNTER => Type::Counter,
        MetricType::GAUGE => Type::Gauge,
        MetricType::HISTOGRAM => Type::Histogram,
        _ => Type::Untyped,
    };
    let mut family = FamilyView::new(gathered.name(), gathered.help(), kind);
    if let Some(first) = gathered.get_metric().first().filter(|_| kind == Type::Histogram) {
        let bounds = first.get_histogram().get_bucket().iter().map(|bucket| bucket.upper_bound());
        family.bounds = bounds.filter(|bound| bound.is_finite()).collect();
    }
    family.series = gathered.get_metric().iter().map(|metric| series(metric, kind)).collect();
    family
}

fn series(metric: &Metric, kind: Type) -> SeriesView {
    let value = match kind {
        Type::Counter => Shown::Number(metric.get_counter().get_value()),
        Type::Histogram => Shown::Histogram(counts(metric)),
        Type::Gauge | Type::Untyped | Type::Summary => Shown::Number(metric.get_gauge().get_value()),
    };
    SeriesView { labels: labels(metric.get_label()).into(), value }
}

/// The crate's buckets are cumulative and end before `+Inf`.
fn counts(metric: &Metric) -> Counts {
    let histogram = metric.get_histogram();
    let buckets = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    let cumulative: Vec<u64> = buckets.map(|bucket| bucket.cumulative_count()).collect();
    let all = cumulative.iter().copied().chain([histogram.get_sample_count()]);
    let below = [0].into_iter().chain(cumulative.iter().copied());
    let counts = all.zip(below).map(|(this, below)| this.saturating_sub(below));
    Counts::from_counts(counts, histogram.get_sample_sum())
}

fn labels(pairs: &[LabelPair]) -> String {
    let mut text = String::new();
    for pair in pairs {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(pair.name());
        text.push_str("=\"");
        escape_into(&mut text, pair.value());
        text.push('"');
    }
    text
}
