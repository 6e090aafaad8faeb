//! Models: whatever server writes the log, the histograms of its requests' times tell which models there are.
//!
//! A histogram counts when its name says that it holds times of requests and what its unit is. Its series are taken
//! together by the label that names the model. Queues, batches and errors are looked for under the same model.

use super::{BUCKETS_MAX, Families, exact, number};
use crate::expose::history::{Group, Subject};
use crate::expose::labels;
use crate::metric::{FamilyView, Histogram, SeriesView, Shown, Type};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Labels that name a model, the most telling first.
const MODEL: &[&str] =
    &["model_name", "model", "ModelName", "service_name", "runner_name", "deployment", "app", "application"];

/// Labels that name its version.
const VERSION: &[&str] = &["model_version", "ModelVersion", "version", "service_version"];

/// Labels that hold what a request was answered with.
const CODE: &[&str] = &["code", "status", "status_code", "http_response_code"];

/// TorchServe's access log: all requests by code, those that are no inference among them.
const ACCESS: &str = "ts_http_request_duration_seconds";

/// A model's own histograms in the order in which they are believed.
const KNOWN: [&str; 2] = ["ts_inference_latency_seconds", "model_request_duration_seconds"];

/// Several series of one histogram family, added up.
pub(super) struct Sum {
    counts: Vec<u64>,
    sum: f64,
}

impl Sum {
    pub(super) fn of<'a>(series: impl Iterator<Item = &'a SeriesView>) -> Option<Self> {
        let mut total: Option<Self> = None;
        for series in series {
            let Shown::Histogram(histogram) = &series.value else { continue };
            match &mut total {
                None => total = Some(Self { counts: histogram.counts().to_vec(), sum: histogram.sum() }),
                Some(total) => {
                    total.counts.iter_mut().zip(histogram.counts()).for_each(|(sum, count)| *sum += count);
                    total.sum += histogram.sum();
                }
            }
        }
        total
    }

    pub(super) fn into_histogram(self, factor: f64) -> Histogram {
        Histogram::from_counts(self.counts.into_iter(), self.sum * factor)
    }
}

/// Name and version.
type Identity = (String, Option<String>);

/// Of a series; none where another series holds what has no room.
fn identity(series: &SeriesView) -> Option<Identity> {
    if labels::pairs(&series.labels).any(|(name, _)| name == "overflow") {
        return None;
    }
    let model = labels::first(&series.labels, MODEL).unwrap_or_default();
    Some((model, labels::first(&series.labels, VERSION).filter(|version| !version.is_empty())))
}

/// All models, and what the log and the collectors tell of them.
pub(super) fn subjects(log: &Families<'_>, measured: &[Families<'_>]) -> Vec<Subject> {
    let beside = Beside::of(log, measured);
    let mut found: BTreeMap<Identity, Subject> = BTreeMap::new();
    for family in request_families(log) {
        let is_access = family.name == ACCESS;
        let named: BTreeSet<String> = found.keys().map(|(name, _)| name.clone()).collect();
        let mut of_family: BTreeMap<Identity, Vec<&SeriesView>> = BTreeMap::new();
        for series in &family.series {
            let identity = identity(series).filter(|identity| {
                // The access log has no name for what is no model, and no versions: a model that is known by
                // another family is not another one.
                let is_needless = is_access && (identity.0.is_empty() || named.contains(&identity.0));
                !is_needless && !found.contains_key(identity)
            });
            if let Some(identity) = identity {
                of_family.entry(identity).or_default().push(series);
            }
        }
        for (identity, series) in of_family {
            if let Some(subject) = beside.subject(log, family, &identity, &series) {
                found.insert(identity, subject);
            }
        }
    }
    found.into_values().collect()
}

/// What other families tell of models.
#[derive(Default)]
struct Beside {
    /// Answers with an error, and all, by model.
    answers: HashMap<String, (f64, f64)>,
    /// Seconds that requests have waited.
    queues: HashMap<Identity, f64>,
    /// Requests in batches, and batches.
    batches: HashMap<Identity, (f64, f64)>,
    /// Live workers by model; none where nobody sees processes.
    workers: Option<HashMap<String, f64>>,
    /// Memory on GPUs by model.
    gpu_memory: HashMap<String, f64>,
}

impl Beside {
    fn of(log: &Families<'_>, measured: &[Families<'_>]) -> Self {
        let mut beside = Self::default();
        for series in log.series(ACCESS) {
            if let Some(name) = labels::first(&series.labels, MODEL) {
                let (errors, answers) = errors(&[series]);
                let known = beside.answers.entry(name).or_default();
                *known = (known.0 + errors, known.1 + answers);
            }
        }
        for family in log.all.iter().filter(|family| family.kind == Type::Histogram) {
            match seconds(family) {
                Some(factor) if family.name.contains("queue") && beside.queues.is_empty() => {
                    beside.queues = by_model(family, |sum, _| sum * factor, |a, b| a + b);
                }
                None if family.name.contains("batch_size") && beside.batches.is_empty() => {
                    let both = |sum, count| (sum, count);
                    beside.batches = by_model(family, both, |a, b| (a.0 + b.0, a.1 + b.1));
                }
                _ => {}
            }
        }
        let by_name = |family: &str, value: fn(&SeriesView) -> f64| {
            let series: Vec<&SeriesView> = measured.iter().flat_map(|all| all.series(family)).collect();
            let mut sums: HashMap<String, f64> = HashMap::new();
            for series in &series {
                let name = labels::first(&series.labels, &["model_name"]).unwrap_or_default();
                *sums.entry(name).or_default() += value(series);
            }
            (!series.is_empty()).then_some(sums)
        };
        beside.workers = by_name("model_worker_start_time_seconds", |_| 1.0);
        beside.gpu_memory = by_name("model_worker_gpu_memory_bytes", number).unwrap_or_default();
        beside
    }

    fn subject(
        &self,
        log: &Families<'_>,
        family: &FamilyView,
        identity: &Identity,
        series: &[&SeriesView],
    ) -> Option<Subject> {
        let (name, version) = identity;
        let factor = seconds(family).unwrap_or(1.0);
        let mut answers = errors(series);
        if answers.1.is_nan() {
            answers = self.answers.get(name).copied().unwrap_or((f64::NAN, f64::NAN));
        }
        // A family without versions holds all of them.
        let any_version = (name.clone(), None);
        let queue = self.queues.get(identity).or_else(|| self.queues.get(&any_version));
        let batches = self.batches.get(identity).or_else(|| self.batches.get(&any_version));
        let batches = batches.copied().unwrap_or((f64::NAN, f64::NAN));
        let histogram = Sum::of(series.iter().copied())?.into_histogram(factor);
        let requests = exact(histogram.count());
        let mut labels = vec![("model_name".to_owned(), name.clone())];
        labels.extend(version.iter().map(|version| ("model_version".to_owned(), version.clone())));
        labels.push(("family".to_owned(), family.name.clone()));
        let inputs = vec![answers.0, answers.1, queue.copied().unwrap_or(f64::NAN), batches.0, batches.1];
        let mut subject = log.subject(Group::Models, labels, inputs);
        subject.moment.histogram = Some(histogram);
        subject.bounds = family.bounds.iter().map(|bound| bound * factor).collect();
        subject.activity = requests;
        subject.facts.push(("requests", requests));
        // What nobody measures is not 0.
        if let Some(workers) = &self.workers {
            subject.facts.push(("workers", workers.get(name).copied().unwrap_or(0.0)));
        }
        subject.facts.extend(self.gpu_memory.get(name).map(|bytes| ("gpu_memory_bytes", *bytes)));
        Some(subject)
    }
}

/// A histogram family's sums and counts by model.
fn by_model<T: Copy>(
    family: &FamilyView,
    value: impl Fn(f64, f64) -> T,
    add: impl Fn(T, T) -> T,
) -> HashMap<Identity, T> {
    let mut values: HashMap<Identity, T> = HashMap::new();
    for series in &family.series {
        let (Shown::Histogram(histogram), Some(identity)) = (&series.value, identity(series)) else {
            continue;
        };
        let new = value(histogram.sum(), exact(histogram.count()));
        values.entry(identity).and_modify(|known| *known = add(*known, new)).or_insert(new);
    }
    values
}

/// Requests that failed, and all; not a number where codes are not told.
fn errors(series: &[&SeriesView]) -> (f64, f64) {
    let (mut errors, mut answers) = (0.0, f64::NAN);
    for series in series {
        let Some(code) = labels::first(&series.labels, CODE) else { continue };
        let count = number(series);
        answers = if answers.is_nan() { count } else { answers + count };
        if !code.starts_with(['1', '2', '3']) {
            errors += count;
        }
    }
    (errors, answers)
}

/// Histograms of requests' times, the most telling first.
fn request_families<'a>(log: &Families<'a>) -> Vec<&'a FamilyView> {
    let known = |name: &str| log.by_name.get(name).copied();
    let is_known = |family: &FamilyView| KNOWN.contains(&&*family.name) || family.name == ACCESS;
    let generic = log.all.iter().filter(|family| !is_known(family) && is_of_requests(family));
    let mut families: Vec<&FamilyView> = KNOWN.into_iter().filter_map(known).collect();
    families.extend(generic);
    families.extend(known(ACCESS));
    families.retain(|family| family.kind == Type::Histogram && family.bounds.len() <= BUCKETS_MAX);
    families
}

/// Whether a family holds the whole times of requests, by its name.
fn is_of_requests(family: &FamilyView) -> bool {
    const PARTS: [&str; 10] = [
        "queue",
        "preprocess",
        "postprocess",
        "explain",
        "token",
        "cpu",
        "validation",
        "wait",
        "load",
        "size",
    ];
    let name = family.name.to_ascii_lowercase();
    let has = |word: &&str| name.contains(*word);
    ["request", "inference", "predict"].iter().any(&has)
        && ["duration", "latency", "time", "seconds"].iter().any(&has)
        && !PARTS.iter().any(&has)
        && !name.starts_with("ts_")
        && seconds(family).is_some()
}

/// How many seconds a family's unit is, if it is one of time.
pub(crate) fn seconds(family: &FamilyView) -> Option<f64> {
    let name = family.name.to_ascii_lowercase();
    let unit = |word: &str| match word {
        "seconds" | "s" => Some(1.0),
        "milliseconds" | "ms" => Some(0.001),
        "microseconds" | "us" => Some(0.000_001),
        _ => None,
    };
    let told = name.split('_').rev().find_map(unit);
    // By Prometheus' convention a time without a unit is in seconds.
    told.or_else(|| (name.ends_with("duration") || name.ends_with("latency")).then_some(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::push_label;
    use std::sync::Arc;
    use std::time::Instant;

    type Labels<'a> = &'a [(&'a str, &'a str)];

    fn histogram(name: &str, all: &[(Labels<'_>, u64, f64)]) -> FamilyView {
        let mut family = FamilyView::new(name, "", Type::Histogram);
        family.bounds = Arc::new([1.0, 2.0]);
        for (pairs, count, sum) in all {
            let mut text = String::new();
            pairs.iter().for_each(|(name, value)| push_label(&mut text, name, value));
            let value = Shown::Histogram(Histogram::from_counts([*count, 0, 0].into_iter(), *sum));
            family.series.push(SeriesView { labels: text.into(), value });
        }
        family
    }

    fn rows(families: &[FamilyView]) -> Vec<(String, Vec<f64>, f64)> {
        let log = Families::of(families, Instant::now());
        let row = |subject: Subject| {
            let labels: Vec<&str> = subject.labels.iter().map(|(_, value)| value.as_str()).collect();
            (labels.join(" "), subject.moment.inputs, subject.activity)
        };
        subjects(&log, &[]).into_iter().map(row).collect()
    }

    #[test]
    fn torchserve_models_have_queue_batches_and_errors_by_name() {
        let model: &[(&str, &str)] = &[("model_name", "m"), ("model_version", "1")];
        let found = rows(&[
            histogram("ts_inference_latency_seconds", &[(model, 8, 4.0)]),
            histogram("ts_queue_latency_seconds", &[(model, 8, 2.5)]),
            histogram("ts_batch_size", &[(&[("model_name", "m")], 4, 8.0)]),
            histogram("ts_prediction_time_seconds", &[(&[("model_name", "m")], 4, 8.0)]),
            histogram(
                ACCESS,
                &[
                    (&[("model_name", "m"), ("code", "200")], 6, 1.0),
                    (&[("model_name", "m"), ("code", "503")], 2, 1.0),
                    (&[("model_name", ""), ("code", "404")], 9, 1.0),
                ],
            ),
        ]);
        let expected = ("m 1 ts_inference_latency_seconds".to_owned(), vec![2.0, 8.0, 2.5, 8.0, 4.0], 8.0);
        assert_eq!(vec![expected], found);
    }

    #[test]
    fn models_of_other_servers_are_found_by_their_labels() {
        let service: &[(&str, &str)] = &[("service_name", "s"), ("http_response_code", "200")];
        let failed: &[(&str, &str)] = &[("service_name", "s"), ("http_response_code", "500")];
        let found = rows(&[
            histogram("bentoml_service_request_duration_seconds", &[(service, 3, 1.0), (failed, 1, 1.0)]),
            histogram("serve_request_latency_ms", &[(&[("deployment", "d")], 5, 5000.0)]),
            histogram("tgi_request_duration", &[(&[], 2, 1.0)]),
            histogram("tgi_request_queue_duration", &[(&[], 2, 0.5)]),
            histogram("tgi_request_generated_tokens", &[(&[], 2, 0.5)]),
        ]);
        let labels: Vec<&str> = found.iter().map(|(labels, ..)| labels.as_str()).collect();
        assert_eq!(
            [
                " tgi_request_duration",
                "d serve_request_latency_ms",
                "s bentoml_service_request_duration_seconds"
            ],
            *labels
        );
        assert_eq!((0.5, 2.0), (found[0].1[2], found[0].2));
        assert_eq!((1.0, 4.0), (found[2].1[0], found[2].1[1]));
    }
}
