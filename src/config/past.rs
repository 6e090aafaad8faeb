//! What the configuration says about a file of the past: `backfill` reads files, where `run` follows sources.

use super::{Config, Place, SourceEntry, Stop, flags, fold_flags, misplaced};
use jiff::tz::TimeZone;
use parsers::Format;
use std::collections::BTreeMap;
use std::path::Path;

/// How a file of the past is read.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// Its format, where that is set.
    pub(crate) format: Option<&'static Format>,
    /// Labels of all its series.
    pub(crate) labels: BTreeMap<String, String>,
    /// The zone of times that do not tell theirs. Unlike the follower, which needs today's offset only, the past may
    /// lie on both sides of a change of the clocks.
    pub(crate) zone: TimeZone,
}

impl Config {
    /// What `sources:` says about a file, by its own path, its folder or a glob; else what the flags say.
    ///
    /// # Errors
    ///
    /// When the entry is wrong.
    pub(crate) fn past(&self, path: &Path, zone: &TimeZone) -> Result<Past, Stop> {
        let fixed = fold_flags(&self.command).and_then(super::FoldFlags::fixed_format);
        let labels = crate::follow::labels_of(path, &BTreeMap::new());
        let plain = Past { format: fixed, labels, zone: zone.clone() };
        let Some(entry) = self.sources.iter().find(|entry| stands_for(&entry.path, path)) else {
            return Ok(plain);
        };
        let Place { watched, .. } = self.watched(entry)?;
        let zone = self.zone(entry)?.unwrap_or(plain.zone);
        let labels = crate::follow::labels_of(path, &watched.labels);
        Ok(Past { format: watched.format, labels, zone })
    }

    fn zone(&self, entry: &SourceEntry) -> Result<Option<TimeZone>, Stop> {
        let Some(zone) = &entry.timezone else { return Ok(None) };
        let wrong = |what: String| misplaced(self.config_file(), zone.referenced, &what);
        flags::time_zone(&zone.value).map(Some).map_err(wrong)
    }
}

/// Whether an entry's path is the file, a folder above it, a glob for it, or the live file whose archive it is.
fn stands_for(entry: &Path, path: &Path) -> bool {
    let is_same = |entry: &Path, path: &Path| {
        path.starts_with(entry)
            || crate::follow::is_archive_of(path, entry)
            || entry.to_str().and_then(|text| glob::Pattern::new(text).ok()).is_some_and(|glob| {
                let options =
                    glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
                glob.matches_path_with(path, options)
            })
    };
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    is_same(entry, path)
        || match (real(entry), real(path)) {
            (Some(entry), Some(path)) => is_same(&entry, &path),
            _ => false,
        }
}
