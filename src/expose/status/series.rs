//! All series, searched and in pages: what `/metrics` has at this moment.

use crate::expose::text;
use crate::metric::{FamilyView, SeriesView, Shown};
use serde::Serialize;
use std::sync::Arc;

/// How many series a page has unless asked otherwise, and at most.
pub(super) const PAGE: usize = 50;
const PAGE_MAX: usize = 500;

/// The most words and bytes of a search.
const WORDS_MAX: usize = 8;
const SEARCH_MAX: usize = 256;

/// Which series are wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Words that name, labels or HELP must all hold, in lower case.
    words: Vec<String>,
    offset: usize,
    limit: usize,
}

impl Wanted {
    pub(super) fn new(search: &str, offset: usize, limit: usize) -> Self {
        let search: String = search.chars().take(SEARCH_MAX).collect::<String>().to_lowercase();
        let words = search.split_whitespace().take(WORDS_MAX).map(str::to_owned).collect();
        Self { words, offset, limit: limit.clamp(1, PAGE_MAX) }
    }
}

/// Some of the series that were found.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    /// How many were found.
    found: usize,
    /// How many there are.
    all: usize,
    offset: usize,
    rows: Vec<Found>,
}

/// One series.
#[derive(Debug, Serialize)]
struct Found {
    name: String,
    /// As `/metrics` has them, without the braces.
    labels: Arc<str>,
    #[serde(rename = "type")]
    kind: &'static str,
    help: String,
    /// As `/metrics` has it: the value, or a histogram's or a summary's count.
    value: String,
    /// The sum of a histogram or a summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<String>,
}

/// A page of the series that are wanted.
pub(super) fn page<'a>(families: impl Iterator<Item = &'a FamilyView>, wanted: &Wanted) -> Page {
    let mut page = Page { found: 0, all: 0, offset: wanted.offset, rows: Vec::new() };
    for family in families {
        page.all += family.series.len();
        let about = format!("{} {} {}", family.name, family.kind.label(), family.help).to_lowercase();
        let missing: Vec<&String> = wanted.words.iter().filter(|word| !about.contains(*word)).collect();
        for series in &family.series {
            let labels = if missing.is_empty() { String::new() } else { series.labels.to_lowercase() };
            if !missing.iter().all(|word| labels.contains(*word)) {
                continue;
            }
            page.found += 1;
            if page.found > wanted.offset && page.rows.len() < wanted.limit {
                page.rows.push(found(family, series));
            }
        }
    }
    page
}

fn found(family: &FamilyView, series: &SeriesView) -> Found {
    let (mut value, mut sum) = (String::new(), None);
    match &series.value {
        Shown::Number(number) => text::number(*number, &mut value),
        Shown::Histogram(histogram) => {
            value = histogram.count().to_string();
            text::number(histogram.sum(), sum.insert(String::new()));
        }
    }
    Found {
        name: family.name.clone(),
        labels: series.labels.clone(),
        kind: family.kind.label(),
        help: family.help.clone(),
        value,
        sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Type;

    #[test]
    fn words_are_looked_for_in_name_type_help_and_labels() {
        let mut requests = FamilyView::new("Requests2XX", "Answers that were good.", Type::Counter);
        (0..30).for_each(|host| requests.push(&[("Hostname", &format!("Node-{host:02}"))], 3.0));
        let load = FamilyView::new("host_load1", "Load.", Type::Gauge);
        let families = [requests, load];
        let find = |search: &str, offset, limit| page(families.iter(), &Wanted::new(search, offset, limit));
        let names = |page: &Page| page.rows.iter().map(|row| row.labels.to_string()).collect::<Vec<_>>();
        assert_eq!((30, 30), (find("", 0, 50).found, find("", 0, 50).all));
        assert_eq!(vec!["Hostname=\"Node-07\""], names(&find("requests GOOD counter node-07", 0, 50)));
        let second = find("node", 20, 20);
        assert_eq!((30, 10), (second.found, second.rows.len()));
        assert_eq!("3.0", second.rows[0].value);
        assert_eq!(0, find("nothing like it", 0, 50).found);
    }
}
