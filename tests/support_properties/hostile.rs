//! Whatever may stand in a log: lines of all loggers and layouts, damaged ones, bytes; and any rules.

use super::metric::{Layout, Metric};
use super::text;
use inferometer::state::{Naming, Rules, is_label_name};
use parsers::Kind;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Names that want the same sample names, their own or those of what is derived from them.
const RIVALS: &[&str] =
    &["A", "a", "aSeconds", "A_count", "A_bucket", "A_total", "ts_a", "ts_a_seconds", "ts_a_seconds_count"];

/// Names that mean something to the server or to us, and such as the data model does not know.
const NAMES: &[&str] = &[
    "HandlerTime",
    "PredictionTime",
    "Requests2XX",
    "QueueTime",
    "WorkerLoadTime",
    "ts_inference_latency_microseconds",
    "ts_queue_latency_microseconds",
    "ts_queue_time_seconds",
    "ts_http_request_duration_seconds",
    "ts_http_request_duration_seconds_count",
    "ts_batch_size",
    "ts_server_info",
    "ts_server",
    "inferometer",
    "inferometer_series",
    "process_threads",
    "W-9000-m_1.0",
    "2xx",
    "p 99",
    "größe",
    "a:b",
    "a.b",
    "_",
    "__a",
    "",
];

/// Names of which none is in another's way.
const PEACEFUL: &[&str] =
    &["A", "HandlerTime", "PredictionTime", "Requests2XX", "QueueTime", "W-9000-m_1.0", "2xx"];

/// Names of labels: legal, illegal, reserved, and different ones that become one in snake case.
const LABELS: &[&str] = &[
    "Level",
    "ModelName",
    "model_name",
    "modelName",
    "Hostname",
    "hostname",
    "code",
    "method",
    "le",
    "Le",
    "overflow",
    "quantile",
    "version",
    "_",
    "_1",
    "__x",
    "model-id",
    "2a",
    "",
];

/// Names of labels that no type forbids.
const PEACEFUL_LABELS: &[&str] = &["Level", "ModelName", "model_name", "code", "overflow", "quantile", "__x"];

/// Where names come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    names: [&'static [&'static str]; 2],
    labels: &'static [&'static str],
}

/// Families get in each other's way, and in ours.
pub(crate) const RIVALRY: Pool = Pool { names: [RIVALS, NAMES], labels: LABELS };

/// No family is ever refused after it was taken.
pub(crate) const PEACE: Pool = Pool { names: [PEACEFUL, PEACEFUL], labels: PEACEFUL_LABELS };

const UNITS: &[&str] =
    &["Count", "ms", "Milliseconds", "Microseconds", "s", "h", "GB", "Percent", "", "tokens/s.avg"];

/// Some bytes of a log, most often a line.
#[derive(Clone)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One thing that may stand in a log.
pub(crate) fn line(pool: Pool) -> impl Strategy<Value = Bytes> {
    let metric = || (metric(pool), select(Layout::ALL)).prop_map(|(metric, layout)| metric.line(layout));
    let whole = prop_oneof![
        10 => metric().boxed(),
        2 => echo(pool),
        2 => access(),
        2 => banner(),
        1 => qlog(pool),
        1 => text::hostile().prop_map(|text| format!("{text}\n")).boxed(),
        1 => Just("org.apache.logging.log4j.core.impl.MutableLogEvent@22890606\n".to_owned()).boxed(),
    ];
    let cut = (metric(), any::<proptest::sample::Index>()).prop_map(|(line, at)| {
        let mut bytes = line.into_bytes();
        bytes.truncate(at.index(bytes.len()));
        bytes
    });
    let windows = metric().prop_map(|line| line.replace('\n', "\r\n").into_bytes());
    prop_oneof![
        12 => whole.prop_map(String::into_bytes),
        1 => cut,
        1 => windows,
        1 => vec(any::<u8>(), 0..20),
    ]
    .prop_map(Bytes)
}

/// A name that means something to us, or any text.
fn name(pool: Pool) -> impl Strategy<Value = String> {
    let [first, second] = pool.names.map(|names| select(names).prop_map(str::to_owned));
    prop_oneof![5 => first, 5 => second, 1 => text::hostile()]
}

fn label_name(pool: Pool) -> impl Strategy<Value = String> {
    prop_oneof![8 => select(pool.labels).prop_map(str::to_owned), 1 => text::hostile()]
}

/// A metric line's parts; nothing in it has to be legal.
fn metric(pool: Pool) -> impl Strategy<Value = Metric> {
    let unit = prop_oneof![8 => select(UNITS).prop_map(str::to_owned), 1 => text::hostile()];
    let number = prop_oneof![text::number(), select(&[f64::NAN][..])];
    let value = prop_oneof![8 => (number, any::<u8>()).prop_map(|(number, style)| text::print(number, style)),
        1 => text::hostile()];
    let labels = prop_oneof![
        2 => Just(vec![("Level".to_owned(), "Host".to_owned())]),
        2 => (text::value(), text::value()).prop_map(|(name, level)| {
            vec![("ModelName".to_owned(), name), ("Level".to_owned(), level)]
        }),
        4 => vec((label_name(pool), text::value()), 0..4),
        // Longer than a label set may be.
        1 => label_name(pool).prop_map(|name| vec![(name, "x".repeat(5_000))]),
    ];
    let request_ids = option::of(text::value());
    (name(pool), unit, value, labels, text::value(), request_ids).prop_map(
        |(name, unit, value, labels, host, request_ids)| Metric {
            name,
            unit,
            value,
            labels,
            host,
            request_ids,
        },
    )
}

/// The worker's own line, the only one that tells a type.
fn echo(pool: Pool) -> BoxedStrategy<String> {
    let kind = select(&["COUNTER", "GAUGE", "HISTOGRAM", "counter", "SUMMARY", ""][..]);
    (metric(pool), kind).prop_map(|(metric, kind)| echo_of(&metric, kind)).boxed()
}

/// The console's line that tells this metric's type.
pub(crate) fn echo_of(metric: &Metric, kind: &str) -> String {
    let message = metric.message().replacen("|#hostname:", &format!("|#type:{kind}|#hostname:"), 1);
    logged("org.pytorch.serve.wlm.WorkerLifeCycle", &format!("result=[METRICS]{message}, pattern=[METRICS]"))
}

fn logged(logger: &str, message: &str) -> String {
    format!("2026-11-20T17:44:49,475 [INFO ] main {logger} - {message}\n")
}

fn access() -> BoxedStrategy<String> {
    let method = prop_oneof![3 => select(&["GET", "POST", "gRPC"][..]).prop_map(str::to_owned),
        1 => text::hostile()];
    let path = prop_oneof![
        select(&["/ping", "/models/", "/v1/models/m:predict", "/predictions/Model?x=\" 1"][..])
            .prop_map(str::to_owned),
        text::value().prop_map(|name| format!("/predictions/{name}")),
    ];
    (method, path, any::<u16>(), any::<u64>(), any::<bool>())
        .prop_map(|(method, path, code, milliseconds, is_console)| {
            let message = format!("/127.0.0.1:59146 \"{method} {path} HTTP/1.1\" {code} {milliseconds}");
            if is_console {
                logged("ACCESS_LOG", &message)
            } else {
                format!("2026-11-20 17:44:49 - {message}\n")
            }
        })
        .boxed()
}

fn banner() -> BoxedStrategy<String> {
    let key = select(&["Torchserve version", "Metrics mode", "Metrics config path"][..]);
    let fact = (key, text::value()).prop_map(|(key, value)| format!("{key}: {value}\n"));
    prop_oneof![3 => fact, 1 => Just(logged("org.pytorch.serve.ModelServer", ""))].boxed()
}

/// The block of 0.7.1's QLog layout.
fn qlog(pool: Pool) -> BoxedStrategy<String> {
    metric(pool)
        .prop_map(|Metric { name, unit, value, labels, host, request_ids }| {
            let labels: String = labels.iter().map(|(name, value)| format!(" {name}|{value} ")).collect();
            let id = request_ids.map_or(String::new(), |ids| format!("RequestId={ids}\n"));
            format!("HostName={host}\n{id}StartTime=1\nProgram=MXNetModelServer\nMetrics={name}={value} {unit}{labels}\nEOE\n")
        })
        .boxed()
}

/// Rules that print no catalog: it is always the default one.
#[derive(Clone)]
pub(crate) struct Given(pub(crate) Arc<Rules>);

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules {
            types, buckets, series_limit, family_limit, latency_histograms, naming, drop_labels, ..
        } = &*self.0;
        f.debug_struct("Rules")
            .field("types", types)
            .field("buckets", buckets)
            .field("series_limit", series_limit)
            .field("family_limit", family_limit)
            .field("latency_histograms", latency_histograms)
            .field("naming", naming)
            .field("drop_labels", drop_labels)
            .finish()
    }
}

/// Any rules that a configuration can give.
pub(crate) fn rules() -> impl Strategy<Value = Given> {
    let names = || prop_oneof![select(RIVALS), select(NAMES)].prop_map(str::to_owned);
    let kind = select(&[Kind::Counter, Kind::Gauge, Kind::Histogram][..]);
    // Ascending and finite, as the configuration demands it.
    let bounds = btree_set(select(&[-5, 0, 1, 2, 1000][..]), 1..4).prop_map(|bounds| -> Arc<[f64]> {
        bounds.into_iter().map(|bound| f64::from(bound) / 4.0).collect()
    });
    let limits = (prop_oneof![Just(10_000), 0..20usize], prop_oneof![Just(1_000), 0..4usize]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let drop = btree_set(label_name(RIVALRY), 0..3);
    (btree_map(names(), kind, 0..6), btree_map(names(), bounds, 0..3), limits, flags, drop).prop_map(
        |(
            types,
            buckets,
            (series_limit, family_limit),
            (latency_histograms, is_conventional, created),
            drop_labels,
        )| {
            let naming = if is_conventional { Naming::Prometheus } else { Naming::Torchserve };
            Given(Arc::new(Rules {
                types,
                buckets,
                series_limit,
                family_limit,
                latency_histograms,
                naming,
                created,
                drop_labels,
                ..Rules::default()
            }))
        },
    )
}

/// The labels that a configuration may add to a source.
pub(crate) fn source_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let name = select(LABELS).prop_filter("the configuration lets it pass", |name| is_label_name(name));
    btree_map(name.prop_map(str::to_owned), text::value(), 0..3)
}
