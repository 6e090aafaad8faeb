//! A second, naive reading of TorchServe's logs, to hold ours against. It knows only the lines of the
//! fixtures and shares no code with the parsers.

use super::exposition::{Series, series};
use std::collections::BTreeMap;

/// The buckets of simpleclient 0.9, whatever the unit.
const BOUNDS: [(&str, f64); 15] = [
    ("0.005", 0.005),
    ("0.01", 0.01),
    ("0.025", 0.025),
    ("0.05", 0.05),
    ("0.075", 0.075),
    ("0.1", 0.1),
    ("0.25", 0.25),
    ("0.5", 0.5),
    ("0.75", 0.75),
    ("1.0", 1.0),
    ("2.5", 2.5),
    ("5.0", 5.0),
    ("7.5", 7.5),
    ("10.0", 10.0),
    ("+Inf", f64::INFINITY),
];

/// One metric line or block.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) series: Series,
    pub(crate) value: f64,
}

/// Reads metric lines, whatever stands before the metric. A line without a metric is a mistake in the
/// test.
pub(crate) fn of_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Event> {
    lines.into_iter().map(of_line).collect()
}

fn of_line(line: &str) -> Event {
    let (head, rest) = line.split_once("|#").unwrap_or_else(|| panic!("no metric in {line:?}"));
    let (dims, tail) = rest.split_once("|#hostname:").unwrap();
    let host = tail.split(',').next().unwrap();
    let metric = head.rsplit([' ', '"']).next().unwrap();
    let (name_and_unit, value) = metric.rsplit_once(':').unwrap();
    let (name, _unit) = name_and_unit.rsplit_once('.').unwrap();
    let dims: Vec<_> = dims.split(',').map(|dim| dim.split_once(':').unwrap()).collect();
    event(name, &dims, host, value)
}

/// Reads the pretty-printed blocks of 0.7.1's JSON layout.
pub(crate) fn of_json_blocks(text: &str) -> Vec<Event> {
    text.split_terminator("}\n{").map(of_json_block).collect()
}

fn of_json_block(block: &str) -> Event {
    let all = |key: &str| -> Vec<&str> {
        let key = format!("\"{key}\": \"");
        block.lines().filter_map(|line| line.trim().strip_prefix(&key)?.split('"').next()).collect()
    };
    // The first "Value" is the metric's own, the others belong to the dimensions.
    let (names, values) = (all("Name"), all("Value"));
    let dims: Vec<_> = names.into_iter().zip(values.iter().skip(1).copied()).collect();
    event(all("MetricName")[0], &dims, all("HostName")[0], values[0])
}

/// Reads the `HostName=…` to `EOE` blocks of 0.7.1's QLog layout.
pub(crate) fn of_qlog_blocks(text: &str) -> Vec<Event> {
    text.split_terminator("EOE\n").map(of_qlog_block).collect()
}

fn of_qlog_block(block: &str) -> Event {
    let get = |key: &str| block.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let (name, rest) = get("Metrics=").rsplit_once('=').unwrap();
    let words: Vec<_> = rest.split_whitespace().collect();
    let dims: Vec<_> = words.iter().skip(2).map(|dim| dim.split_once('|').unwrap()).collect();
    event(name, &dims, get("HostName="), words[0])
}

fn event(name: &str, dims: &[(&str, &str)], host: &str, value: &str) -> Event {
    let mut labels = dims.to_vec();
    let host_label = if name.starts_with("ts_") { "hostname" } else { "Hostname" };
    labels.push((host_label, host));
    let value = value.parse().unwrap();
    if name.starts_with("W-") {
        labels.push(("WorkerName", name));
        return Event { series: series("WorkerLoadTime", &labels), value };
    }
    Event { series: series(name, &labels), value }
}

/// The sum of a metric's values over all its series, in the order of the lines.
pub(crate) fn sum(events: &[Event], name: &str) -> f64 {
    events.iter().filter(|event| event.series.0 == name).fold(0.0, |sum, event| sum + event.value)
}

/// What an endpoint has to show after these events. A name without a kind is a gauge.
pub(crate) fn fold(events: &[Event], kinds: &BTreeMap<String, String>) -> BTreeMap<Series, u64> {
    let mut shown: BTreeMap<Series, f64> = BTreeMap::new();
    for Event { series: (name, labels), value } in events {
        let mut add = |suffix: &str, labels: &BTreeMap<String, String>, increment: f64| {
            *shown.entry((format!("{name}{suffix}"), labels.clone())).or_default() += increment;
        };
        match kinds.get(name).map_or("gauge", String::as_str) {
            "counter" => add("", labels, *value),
            "histogram" => {
                add("_count", labels, 1.0);
                add("_sum", labels, *value);
                for (le, bound) in BOUNDS {
                    let mut labels = labels.clone();
                    labels.insert("le".to_owned(), le.to_owned());
                    add("_bucket", &labels, f64::from(u8::from(*value <= bound)));
                }
            }
            _ => {
                shown.insert((name.clone(), labels.clone()), *value);
            }
        }
    }
    shown.into_iter().map(|(series, value)| (series, value.to_bits())).collect()
}
