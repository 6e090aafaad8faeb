//! The dashboards of `deploy/grafana` as tests read them: panels, queries, variables, and what a query names.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the dashboards, their source and their provisioning are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana")
}

/// A dashboard of the checkout.
pub(crate) struct Dashboard {
    /// Its file's name.
    pub(crate) name: String,
    pub(crate) json: Value,
}

/// Something that Grafana asks Prometheus.
pub(crate) struct Asked {
    /// Dashboard and panel, for messages.
    pub(crate) place: String,
    pub(crate) expression: String,
    /// How its series are named: text with `{{label}}`.
    pub(crate) legend: String,
    /// Over a time range, not only for now.
    pub(crate) is_range: bool,
    /// With the requests behind it.
    pub(crate) has_exemplars: bool,
    /// Once for each value of this variable.
    pub(crate) repeat: Option<String>,
}

impl Dashboard {
    /// All of them, by their names.
    pub(crate) fn all() -> Vec<Self> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder().join("dashboards")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let dashboards = files.into_iter().map(|file| Self {
            json: serde_json::from_slice(&fs::read(&file).unwrap()).unwrap(),
            name: file.file_name().unwrap().to_string_lossy().into_owned(),
        });
        dashboards.collect()
    }

    /// The panels and rows, those of collapsed rows, too.
    pub(crate) fn panels(&self) -> Vec<&Value> {
        let outer = list(&self.json, "panels");
        outer.iter().flat_map(|panel| std::iter::once(panel).chain(list(panel, "panels"))).collect()
    }

    /// The panels that are no rows.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = &Value> {
        self.panels().into_iter().filter(|panel| text(panel, "type") != "row")
    }

    /// All queries of panels and annotations.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let of_panels = self.drawn().flat_map(|panel| {
            list(panel, "targets").iter().map(|target| Asked {
                place: format!("{}: {} {}", self.name, text(panel, "title"), text(target, "refId")),
                expression: text(target, "expr").to_owned(),
                legend: text(target, "legendFormat").to_owned(),
                is_range: target["range"] == true,
                has_exemplars: target["exemplar"] == true,
                repeat: panel["repeat"].as_str().map(str::to_owned),
            })
        });
        let annotations = list(&self.json["annotations"], "list").iter().map(|annotation| Asked {
            place: format!("{}: annotation {}", self.name, text(annotation, "name")),
            expression: text(annotation, "expr").to_owned(),
            legend: text(annotation, "textFormat").to_owned(),
            is_range: true,
            has_exemplars: false,
            repeat: None,
        });
        of_panels.chain(annotations).collect()
    }

    pub(crate) fn variables(&self) -> &[Value] {
        list(&self.json["templating"], "list")
    }
}

/// A list of an object; none if it is not there.
pub(crate) fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key].as_array().map_or(&[], Vec::as_slice)
}

/// A text of an object; empty if it is not there.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// Puts values in the place of `$name` and `${name}`, as Grafana does.
pub(crate) fn filled(expression: &str, values: &BTreeMap<String, String>) -> String {
    let mut parts = expression.split('$');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let braced = part.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (name, rest) = braced.unwrap_or_else(|| {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            part.split_at(end)
        });
        let value = values.get(name).unwrap_or_else(|| panic!("{expression}: there is no variable {name:?}"));
        filled += value;
        filled += rest;
    }
    filled
}

/// `label_values(selector, label)`: the selector and the label.
pub(crate) fn label_values(query: &str) -> Option<(&str, &str)> {
    let (selector, label) = query.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(", ")?;
    Some((selector, label))
}

/// What an expression selects: the metric's name, or the names of `__name__=~"a|b"`, and its label matchers. A name
/// without braces has no matchers.
pub(crate) fn selectors(expression: &str) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = after_string(rest);
        } else if first == '[' {
            rest = rest.split_once(']').map_or("", |(_, rest)| rest);
        } else if let Some(variable) = rest.strip_prefix('$') {
            rest = variable.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        } else if first == '{' {
            let (matchers, after) = braces(rest);
            found.push((names_in(matchers), matchers.to_owned()));
            rest = after;
        } else if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_');
        } else if first.is_ascii_alphabetic() || first == '_' || first == ':' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            let next = after.trim_start();
            rest = if LABELS_FOLLOW.contains(&word) {
                next.strip_prefix('(')
                    .and_then(|labels| labels.split_once(')'))
                    .map_or(next, |(_, rest)| rest)
            } else if next.starts_with('(') || WORDS.contains(&word) {
                next
            } else if after.starts_with('{') {
                let (matchers, after) = braces(after);
                found.push((vec![word.to_owned()], matchers.to_owned()));
                after
            } else {
                found.push((vec![word.to_owned()], String::new()));
                after
            };
        } else {
            rest = &rest[first.len_utf8()..];
        }
        rest = rest.trim_start();
    }
    found
}

/// The ranges of an expression: `5m` of `rate(a[5m])`.
pub(crate) fn ranges(expression: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(['"', '[']) {
        rest = if rest[at..].starts_with('"') {
            after_string(&rest[at..])
        } else {
            let (range, after) = rest[at + 1..].split_once(']').unwrap_or_default();
            found.push(range);
            after
        };
    }
    found
}

/// The labels of a legend: `a` of `{{a}} b`.
pub(crate) fn labels(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).filter_map(|part| Some(part.split_once("}}")?.0)).collect()
}

/// Words of the language behind which stand labels in parentheses.
const LABELS_FOLLOW: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Words that are no metrics, functions apart.
const WORDS: [&str; 14] = [
    "and", "or", "unless", "bool", "offset", "sum", "min", "max", "avg", "count", "topk", "bottomk", "inf",
    "nan",
];

/// The inside of braces, and what comes behind.
fn braces(text: &str) -> (&str, &str) {
    let mut rest = &text[1..];
    while let Some(at) = rest.find(['"', '}']) {
        if rest[at..].starts_with('}') {
            let end = text.len() - rest.len() + at;
            return (&text[1..end], &text[end + 1..]);
        }
        rest = after_string(&rest[at..]);
    }
    panic!("{text}: braces without an end");
}

fn after_string(text: &str) -> &str {
    let mut is_escaped = false;
    let end = text[1..].find(|c: char| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    &text[end.unwrap_or_else(|| panic!("{text}: text without an end")) + 2..]
}

/// The names of `__name__=~"a|b"`.
fn names_in(matchers: &str) -> Vec<String> {
    let (_, names) = matchers.split_once("__name__=~\"").unwrap_or(("", ""));
    let (names, _) = names.split_once('"').unwrap_or_default();
    names.split('|').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
