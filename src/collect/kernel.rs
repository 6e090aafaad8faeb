//! The kernel's text files, read whole and bounded, and the families that their numbers become.

use crate::metric::{FamilyView, SeriesView, Shown, Type};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// No file that is read here is longer on any machine; `/proc/stat` of one with thousands of CPUs has some hundred
/// KiB.
const SIZE_MAX: u64 = 4 * 1024 * 1024;

/// A whole file as text. What is not UTF-8 in it (a mount point, say) is replaced.
pub(super) fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// A file that holds one number and nothing else; `max` and the like are none.
pub(super) fn count(path: &Path) -> Option<u64> {
    text(path).ok()?.trim().parse().ok()
}

/// The number behind a word in a file of lines such as `oom_kill 2` or `MemFree: 12 kB`.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix([' ', ':', '\t']));
    line?.split_whitespace().next()?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 may be rounded")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

/// How a number of a file becomes a family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Type,
    /// Which word of the line, from 0.
    pub(super) at: usize,
    /// The kernel's unit in ours: 512 for sectors, 0.001 for milliseconds.
    pub(super) unit: f64,
}

impl Column {
    pub(super) const fn counter(name: &'static str, at: usize, unit: f64, help: &'static str) -> Self {
        Self { name, help, kind: Type::Counter, at, unit }
    }

    pub(super) const fn gauge(name: &'static str, at: usize, unit: f64, help: &'static str) -> Self {
        Self { name, help, kind: Type::Gauge, at, unit }
    }
}

/// A table of the kernel's, a line per thing, as families: columns that a line lacks have no series there.
pub(super) struct Table {
    columns: &'static [Column],
    families: Vec<FamilyView>,
}

impl Table {
    pub(super) fn new(columns: &'static [Column]) -> Self {
        let families = columns.iter().map(|column| FamilyView::new(column.name, column.help, column.kind));
        Self { columns, families: families.collect() }
    }

    /// Adds a line of the thing that these labels name.
    pub(super) fn push(&mut self, labels: &Arc<str>, words: &[&str]) {
        for (column, family) in self.columns.iter().zip(&mut self.families) {
            let Some(count) = words.get(column.at).and_then(|word| word.parse().ok()) else { continue };
            let value = Shown::Number(scaled(count, column.unit));
            family.series.push(SeriesView { labels: labels.clone(), value });
        }
    }

    pub(super) fn families(self) -> Vec<FamilyView> {
        self.families
    }
}

/// A count in the kernel's unit as a number of ours. Divides by whole numbers, because a product with 0.001 is not
/// the nearest number.
pub(super) fn scaled(count: u64, unit: f64) -> f64 {
    if unit < 1.0 { number(count) / (1.0 / unit).round() } else { number(count) * unit }
}

/// A family of one series without labels.
pub(super) fn single(name: &str, help: &str, kind: Type, value: f64) -> FamilyView {
    let mut family = FamilyView::new(name, help, kind);
    family.push(&[], value);
    family
}

/// A label set of one label.
pub(super) fn label(name: &str, value: &str) -> Arc<str> {
    let mut text = String::new();
    crate::metric::push_label(&mut text, name, value);
    text.into()
}

/// Stall times of a pressure file: for how long some tasks waited, and for how long all did, in seconds.
///
/// Format: <https://docs.kernel.org/accounting/psi.html>, `some avg10=… avg60=… avg300=… total=MICROSECONDS`.
pub(super) fn pressure(path: &Path) -> Option<(Option<f64>, Option<f64>)> {
    let text = text(path).ok()?;
    let total = |word: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))?;
        let total = line.split_whitespace().find_map(|part| part.strip_prefix("total="))?;
        Some(scaled(total.parse().ok()?, 1e-6))
    };
    Some((total("some"), total("full")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_milliseconds_count_is_the_nearest_number_of_seconds() {
        assert_eq!([0.003, 1.1, 0.000_007], [scaled(3, 1e-3), scaled(1100, 1e-3), scaled(7, 1e-6)]);
        assert_eq!(1024.0, scaled(2, 512.0));
    }

    #[test]
    fn a_key_is_a_whole_word() {
        let text = "oom 1\noom_kill 2\nMemFree:        12 kB\n";
        assert_eq!([Some(1), Some(2)], ["oom", "oom_kill"].map(|key| value_of(text, key)));
        assert_eq!([Some(12), None], ["MemFree", "Mem"].map(|key| value_of(text, key)));
    }
}
