//! What a scrape sees: an immutable copy of the state.

use super::create::{QUEUE_MICROSECONDS, QUEUE_TIME};
use super::facts::Outcome;
use super::family::{Family, Origin};
use super::{LoadedWorker, State, labels, naming};
use crate::metric::{FamilyView, SeriesView, Shown, Type, push_label};
use parsers::Kind;
use std::collections::BTreeMap;

/// All that lines have added up to, at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Families made of log lines, in the order in which they were declared or first seen.
    pub log: Vec<FamilyView>,
    /// Facts of the fold about itself (`inferometer_…`).
    pub own: Vec<FamilyView>,
    /// Workers that a log names, who loaded first comes first.
    pub workers: Vec<LoadedWorker>,
}

impl State {
    /// A copy for scrapes.
    ///
    /// Gauges of a server that has been silent for `--gauge-ttl` are left out when `now` is given: their
    /// last values are not the truth any more. History (`replay`) has no now.
    pub fn view(&self, now: Option<u64>) -> View {
        let mut log: Vec<FamilyView> = self
            .families
            .iter()
            .filter(|family| family.refused.is_none() && self.is_shown(family))
            .map(|family| self.family_view(family, now))
            .collect();
        log.extend(self.server_families());
        View { log, own: self.own_families(), workers: self.workers.list() }
    }

    /// Servers whose gauges are shown at `now`, as one comparable value.
    pub fn audible(&self, now: u64) -> Vec<bool> {
        self.servers.iter().map(|server| self.is_audible(server.last_line, now)).collect()
    }

    fn is_audible(&self, last_line: u64, now: u64) -> bool {
        now.saturating_sub(last_line) < self.rules.gauge_ttl
    }

    fn is_shown(&self, family: &Family) -> bool {
        if family.origin == Origin::Derived {
            let is_stand_in = family.name == naming::derived_name(QUEUE_TIME);
            let is_needless = is_stand_in && self.has_lines(QUEUE_MICROSECONDS);
            return !is_needless && !family.is_empty();
        }
        if family.origin.is_measured() {
            return !family.is_empty();
        }
        // By convention one thing is measured once: the histogram's _sum is the counter.
        let replaced = family.derived.is_some() && self.rules.naming.is_conventional();
        !replaced
    }

    fn has_lines(&self, name: &str) -> bool {
        let families = self.by_name.get(name).into_iter().flatten().flatten();
        families.filter_map(|at| self.families.get(*at)).any(|family| !family.is_empty())
    }

    fn family_view(&self, family: &Family, now: Option<u64>) -> FamilyView {
        let convert = |value: f64| family.exposed.shown(value);
        let is_current = |server: u32| match (family.kind, now) {
            (Some(Kind::Gauge), Some(now)) => {
                self.servers.get(server as usize).is_none_or(|server| self.is_audible(server.last_line, now))
            }
            _ => true,
        };
        let all = family.series.iter().chain(&family.overflow);
        let series = all.filter(|series| is_current(series.server)).map(|series| SeriesView {
            labels: series.labels.clone(),
            value: match series.value.shown() {
                Shown::Number(value) => Shown::Number(convert(value)),
                Shown::Histogram(histogram) if family.exposed.convert.is_some() => {
                    Shown::Histogram(histogram.with_sum(convert(histogram.sum())))
                }
                Shown::Histogram(histogram) => Shown::Histogram(histogram),
            },
        });
        let is_histogram = family.kind == Some(Kind::Histogram);
        let bounds = family.bounds.iter().filter(|_| is_histogram).map(|bound| convert(*bound));
        let exemplars = match family.exposed.convert {
            _ if !is_histogram => Vec::new(),
            None => family.exemplars.list().to_vec(),
            Some(_) => {
                let list = family.exemplars.list().iter();
                list.map(|kept| kept.as_ref().map(|kept| kept.with_values(convert))).collect()
            }
        };
        // Of gauges not all series are shown, and none of them is said to have begun.
        let created = if family.kind == Some(Kind::Gauge) { Vec::new() } else { family.created.clone() };
        FamilyView {
            name: family.exposed.name.clone(),
            help: family.exposed.help.clone(),
            kind: family.kind.into(),
            bounds: bounds.collect(),
            series: series.collect(),
            exemplars,
            created,
        }
    }

    fn server_families(&self) -> Vec<FamilyView> {
        let mut info = FamilyView::new(
            "ts_server_info",
            "TorchServe's version and metrics mode, from its start-up banner; 1.",
            Type::Gauge,
        );
        let mut start = FamilyView::new(
            "ts_server_start_time_seconds",
            "When TorchServe came up, from its start-up banner, in seconds since 1970.",
            Type::Gauge,
        );
        for server in &self.servers {
            if let Some(version) = &server.version {
                let mode = server.metrics_mode.as_deref().unwrap_or("unknown");
                let mut text = String::new();
                push_label(&mut text, "version", version);
                push_label(&mut text, "metrics_mode", mode);
                push_server(&mut info, text, &server.labels, 1.0);
            }
            if let Some(started) = server.started {
                push_server(&mut start, String::new(), &server.labels, started);
            }
        }
        [info, start].into_iter().filter(|family| !family.series.is_empty()).collect()
    }

    fn own_families(&self) -> Vec<FamilyView> {
        let mut lines =
            FamilyView::new("inferometer_lines_total", "Log records by what became of them.", Type::Counter);
        let mut rejected = FamilyView::new(
            "inferometer_rejected_lines_total",
            "Log records that could not be read or were refused, by reason.",
            Type::Counter,
        );
        for facts in self.named_sources() {
            for outcome in Outcome::ALL {
                let count = facts.lines(outcome);
                lines.push(&[("source", &facts.name), ("outcome", outcome.label())], exact(count));
            }
            for (reason, count) in &facts.rejected {
                rejected.push(&[("source", &facts.name), ("reason", reason.label())], exact(*count));
            }
        }
        let mut families = vec![lines, rejected];
        families.extend(self.source_counters());
        families.push(self.number(
            "inferometer_series",
            "Series made of log lines.",
            Type::Gauge,
            self.series as u64,
        ));
        families.push(self.number(
            "inferometer_dropped_series_total",
            "Samples whose label set had no room under the series limits: counters and histograms went to \
             their family's series overflow=\"true\", gauges were dropped.",
            Type::Counter,
            self.no_room,
        ));
        families.push(self.number(
            "inferometer_untyped_families",
            "Log families whose type nobody has told; see inferometer_untyped_family.",
            Type::Gauge,
            self.untyped().count() as u64,
        ));
        let mut untyped = FamilyView::new(
            "inferometer_untyped_family",
            "A log family of unknown type: add it to metrics.yaml or to types: in the configuration; 1.",
            Type::Gauge,
        );
        self.untyped().for_each(|name| untyped.push(&[("family", name)], 1.0));
        families.push(untyped);
        families
    }

    fn source_counters(&self) -> Vec<FamilyView> {
        type Count = fn(&super::SourceFacts) -> u64;
        const COUNTERS: [(&str, &str, Count); 6] = [
            ("inferometer_read_bytes_total", "Bytes of consumed log records.", |facts| facts.bytes),
            ("inferometer_rotations_total", "Log files that a successor replaced.", |facts| facts.rotations),
            (
                "inferometer_truncations_total",
                "Log files that were truncated or overwritten in place.",
                |facts| facts.truncations,
            ),
            ("inferometer_archives_total", "Archives that were read because they appeared later.", |facts| {
                facts.archives
            }),
            (
                "inferometer_gaps_total",
                "Known files that vanished before they were read to their end.",
                |facts| facts.gaps,
            ),
            (
                "inferometer_interleaved_hosts_total",
                "Times that two servers' lines took turns in one file: each server needs a file of its own.",
                |facts| facts.interleaved,
            ),
        ];
        let family = |(name, help, count): &(&str, &str, Count)| {
            let mut family = FamilyView::new(name, help, Type::Counter);
            self.named_sources()
                .for_each(|facts| family.push(&[("source", &facts.name)], exact(count(facts))));
            family
        };
        let mut last = FamilyView::new(
            "inferometer_source_last_read_timestamp_seconds",
            "When a source's newest line was read, in seconds since 1970.",
            Type::Gauge,
        );
        for facts in self.named_sources() {
            if let Some(at) = facts.last_read {
                last.push(&[("source", &facts.name)], exact(at));
            }
        }
        COUNTERS.iter().map(family).chain([last]).collect()
    }

    fn named_sources(&self) -> impl Iterator<Item = &super::SourceFacts> {
        self.sources.iter().filter(|facts| !facts.is_free())
    }

    fn number(&self, name: &str, help: &str, kind: Type, value: u64) -> FamilyView {
        let mut family = FamilyView::new(name, help, kind);
        family.push(&[], exact(value));
        family
    }
}

/// Two servers without configured labels would share a label set; the one that came up last stands.
fn push_server(
    family: &mut FamilyView,
    mut text: String,
    source_labels: &BTreeMap<String, String>,
    value: f64,
) {
    labels::push_source(&mut text, source_labels);
    match family.series.iter_mut().find(|series| *series.labels == *text) {
        Some(known) => known.value = Shown::Number(value),
        None => family.series.push(SeriesView { labels: text.into(), value: Shown::Number(value) }),
    }
}

/// A count as an exposition's double; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is rounded, as in every client library")]
fn exact(count: u64) -> f64 {
    count as f64
}
