//! Instrumentation of the process itself, kept by the `prometheus` crate: what it does, not what it knows.
//!
//! Facts of the fold (`inferometer_lines_total` and its kin) are not here: they belong to the snapshot.

use crate::metric::{FamilyView, Histogram as Counts, SeriesView, Shown, Type, escape_into};
use prometheus::core::Collector;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the process measures about itself.
#[derive(Clone, Debug)]
pub struct Instruments {
    registry: Registry,
    /// Duration of commits.
    pub commit_seconds: Histogram,
    /// Duration of rendering one scrape.
    pub scrape_seconds: Histogram,
    /// What the HTTP server does.
    pub web: Web,
    /// How reading the configuration again went.
    pub reload: Reload,
}

/// What the HTTP server does.
#[derive(Clone, Debug)]
pub struct Web {
    /// Connections that are open.
    pub connections: IntGauge,
    /// Scrapes that found `--web.max-requests` others under way.
    pub refused_scrapes: IntCounter,
    closed: IntCounterVec,
    refused: IntCounterVec,
}

/// How reading the configuration again went.
#[derive(Clone, Debug)]
pub struct Reload {
    successful: IntGauge,
    succeeded_at: IntGauge,
}

/// Why the server ends a connection before its client does.
const CLOSED: [&str; 5] = ["handshake", "headers", "idle", "room", "stalled"];

/// Why a request is not answered, apart from its path and method.
const REFUSED: [&str; 3] = ["busy", "credentials", "malformed"];

impl Web {
    fn new() -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, reasons: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["reason"])?;
            // Each one is there from the start: a first event is a step from 0. The values are ours; none ever
            // comes from outside.
            reasons.iter().for_each(|reason| counters.with_label_values(&[reason]).inc_by(0));
            prometheus::Result::Ok(counters)
        };
        Ok(Self {
            connections: IntGauge::new("inferometer_http_connections", "Connections that are open.")?,
            refused_scrapes: IntCounter::new(
                "inferometer_refused_scrapes_total",
                "Scrapes that found --web.max-requests others under way.",
            )?,
            closed: counters(
                "inferometer_http_closed_connections_total",
                "Connections that the server ended: others needed the room, or the client was too slow.",
                &CLOSED,
            )?,
            refused: counters(
                "inferometer_http_refused_requests_total",
                "Requests that were malformed or without a right password, or came while too many were checked.",
                &REFUSED,
            )?,
        })
    }

    /// Counts a connection that the server ends.
    pub fn closed(&self, reason: &'static str) {
        debug_assert!(CLOSED.contains(&reason), "{reason} is in the table");
        self.closed.with_label_values(&[reason]).inc();
    }

    /// Counts a request that is refused.
    pub fn refused(&self, reason: &'static str) {
        debug_assert!(REFUSED.contains(&reason), "{reason} is in the table");
        self.refused.with_label_values(&[reason]).inc();
    }
}

impl Reload {
    fn new() -> prometheus::Result<Self> {
        Ok(Self {
            successful: IntGauge::new(
                "inferometer_config_last_reload_successful",
                "Whether the configuration could be read the last time; if not, the one before is in force.",
            )?,
            succeeded_at: IntGauge::new(
                "inferometer_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read, in seconds since 1970.",
            )?,
        })
    }

    /// Notes how it went.
    pub fn ended(&self, is_good: bool) {
        self.successful.set(i64::from(is_good));
        if is_good {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.succeeded_at.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        }
    }
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
            web: Web::new()?,
            reload: Reload::new()?,
            registry,
        };
        let process = prometheus::process_collector::ProcessCollector::for_self();
        instruments.reload.ended(true);
        let (web, reload) = (&instruments.web, &instruments.reload);
        let collectors: [Box<dyn Collector>; 10] = [
            Box::new(info),
            Box::new(instruments.commit_seconds.clone()),
            Box::new(instruments.scrape_seconds.clone()),
            Box::new(web.connections.clone()),
            Box::new(web.refused_scrapes.clone()),
            Box::new(web.closed.clone()),
            Box::new(web.refused.clone()),
            Box::new(reload.successful.clone()),
            Box::new(reload.succeeded_at.clone()),
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
