//! Text files in Prometheus' own format, as DeepSparse's logger and many batch jobs write them: merged into the page.
//!
//! A file is replaced by rename, so it is known by what its name stands for, and read whole when that has changed. It
//! is a reading like any other: no fold, no snapshot; too old, and it is not shown.

mod build;
mod lex;

use super::{Collector, Trouble};
use crate::metric::{FamilyView, Type, push_label};
use crate::stamp::Stamp;
use build::Parsed;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The name under which it stands beside the collectors of the table.
pub const NAME: &str = "textfile";

/// The largest file that is read.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Prefix of our own families.
const OWN: &str = "inferometer_";

/// One file and what the configuration says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    /// As given.
    pub path: PathBuf,
    /// Labels for all its series; those that a series has itself win.
    pub labels: BTreeMap<String, String>,
}

/// Which files are merged, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The files.
    pub files: Vec<TextFile>,
    /// How long after its last change a file is shown.
    pub max_age: Duration,
    /// Most series of all files.
    pub series: usize,
    /// Most series of one family.
    pub series_per_family: usize,
}

/// Reads the files.
#[derive(Debug)]
pub struct TextFiles {
    settings: Settings,
    files: Vec<Watched>,
}

/// A file and what is known of it.
#[derive(Debug)]
struct Watched {
    file: TextFile,
    /// The `source` label: the file's name, never a path.
    name: String,
    stamp: Option<Stamp>,
    /// When it changed last, as far as a clock that never jumps can tell.
    changed: Option<Instant>,
    /// What was read last without an error.
    parsed: Parsed,
    trouble: Option<String>,
}

impl TextFiles {
    /// Files that have not been read yet.
    pub fn new(settings: Settings) -> Self {
        let mut names = HashSet::new();
        let files = settings.files.iter().map(|file| {
            let short = file.path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            let numbered = (2..).map(|number| format!("{short}#{number}"));
            let name =
                std::iter::once(short.to_string()).chain(numbered).find(|name| names.insert(name.clone()));
            Watched {
                file: file.clone(),
                name: name.unwrap_or_default(),
                stamp: None,
                changed: None,
                parsed: Parsed::default(),
                trouble: None,
            }
        });
        let files = files.collect();
        Self { settings, files }
    }

    /// The families of all files that are shown; the first file wins where two say the same.
    fn merged(&self, now: Instant) -> (Vec<FamilyView>, HashMap<&str, usize>) {
        let mut merged: Vec<FamilyView> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut seen: HashSet<(usize, Arc<str>)> = HashSet::new();
        let mut dropped: HashMap<&str, usize> = HashMap::new();
        let mut room = self.settings.series;
        for watched in &self.files {
            let missing = dropped.entry(&watched.name).or_default();
            *missing += watched.parsed.dropped;
            if watched.is_stale(now, self.settings.max_age) {
                continue;
            }
            for family in &watched.parsed.families {
                let at = *places.entry(family.name.clone()).or_insert(merged.len());
                if at == merged.len() {
                    merged.push(FamilyView { series: Vec::new(), ..family.clone() });
                }
                let Some(into) = merged.get_mut(at) else { continue };
                let is_alike = into.kind == family.kind && into.bounds == family.bounds;
                for series in &family.series {
                    let has_room = room > 0 && into.series.len() < self.settings.series_per_family;
                    if is_alike && has_room && seen.insert((at, series.labels.clone())) {
                        room -= 1;
                        into.series.push(series.clone());
                    } else {
                        *missing += 1;
                    }
                }
            }
        }
        (merged, dropped)
    }
}

impl Collector for TextFiles {
    fn read(&mut self) -> Result<Vec<FamilyView>, Trouble> {
        let now = Instant::now();
        self.files.iter_mut().for_each(|watched| watched.look(now));
        let (mut families, dropped) = self.merged(now);
        let family =
            |name: &str, help: &str| FamilyView::new(&format!("{OWN}textfile_{name}"), help, Type::Gauge);
        let mut error =
            family("error", "Whether a text file could not be read; what it held before is shown on.");
        let mut stale = family("stale", "Whether a text file has not changed for --source.textfile-max-age.");
        let mut modified = family("mtime_seconds", "When a text file was written, in seconds since 1970.");
        let mut missing = family(
            "dropped_series",
            "Series of a text file that are not shown: no room, twice, or not alike.",
        );
        for watched in &self.files {
            let label = [("source", watched.name.as_str())];
            error.push(&label, f64::from(u8::from(watched.trouble.is_some())));
            stale.push(&label, f64::from(u8::from(watched.is_stale(now, self.settings.max_age))));
            if let Some(stamp) = &watched.stamp {
                modified.push(&label, seconds(stamp.modified));
            }
            missing.push(&label, count(dropped.get(watched.name.as_str()).copied().unwrap_or(0)));
        }
        families.extend([error, stale, modified, missing]);
        Ok(families)
    }

    fn hints(&self) -> Vec<String> {
        let troubles = self.files.iter().filter_map(|watched| Some((watched, watched.trouble.as_ref()?)));
        troubles.map(|(watched, trouble)| format!("The text file {}: {trouble}.", watched.name)).collect()
    }
}

impl Watched {
    /// Reads the file if it has changed.
    fn look(&mut self, now: Instant) {
        let trouble = match self.read(now) {
            Ok(()) => return,
            Err(trouble) => trouble,
        };
        if trouble.as_ref() != self.trouble.as_ref()
            && let Some(text) = &trouble
        {
            tracing::warn!(source = self.name, file = %self.file.path.display(), reason = text, "text file not read");
        }
        self.trouble = trouble;
    }

    /// `Err` with what the trouble is now, which may be none.
    fn read(&mut self, now: Instant) -> Result<(), Option<String>> {
        let failed = |error: io::Error| Some(error.to_string());
        let metadata = match fs::metadata(&self.file.path) {
            Ok(metadata) => metadata,
            Err(error) => {
                // Whoever wrote it has taken it away; a replacement never leaves its name empty.
                if error.kind() == io::ErrorKind::NotFound {
                    (self.stamp, self.changed, self.parsed) = (None, None, Parsed::default());
                }
                return Err(failed(error));
            }
        };
        let stamp = Stamp::from(&metadata);
        if self.stamp == Some(stamp) {
            return Ok(());
        }
        let is_first = self.stamp.is_none();
        let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
        // At the first look only the wall clock tells how old it is.
        let changed = age.filter(|_| is_first).and_then(|age| now.checked_sub(age)).unwrap_or(now);
        let text = read_text(&self.file.path).map_err(failed)?;
        self.stamp = Some(stamp);
        let mut parsed = build::families(&text).map_err(|error| Some(error.to_string()))?;
        parsed.families.retain(|family| !family.name.starts_with(OWN));
        for series in parsed.families.iter_mut().flat_map(|family| &mut family.series) {
            series.labels = with_labels(&series.labels, &self.file.labels);
        }
        (self.changed, self.parsed) = (Some(changed), parsed);
        Err(None)
    }

    fn is_stale(&self, now: Instant, max_age: Duration) -> bool {
        self.changed.is_none_or(|changed| now.saturating_duration_since(changed) > max_age)
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    // The opening of a FIFO would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

/// A series' labels and those of the configuration that it does not have.
fn with_labels(own: &Arc<str>, configured: &BTreeMap<String, String>) -> Arc<str> {
    if configured.is_empty() {
        return own.clone();
    }
    let mut text = own.to_string();
    let own = lex::labels(own).unwrap_or_default();
    let names: HashSet<&str> = own.into_iter().map(|(name, _)| name).collect();
    for (name, value) in configured.iter().filter(|(name, _)| !names.contains(name.as_str()) && *name != "le")
    {
        push_label(&mut text, name, value);
    }
    text.into()
}

/// A file's time as an exposition's double.
fn seconds((seconds, nanoseconds): (i64, i64)) -> f64 {
    let whole = u64::try_from(seconds).map(Duration::from_secs).unwrap_or_default();
    let part = u64::try_from(nanoseconds).map(Duration::from_nanos).unwrap_or_default();
    let time = UNIX_EPOCH.checked_add(whole + part).unwrap_or(SystemTime::UNIX_EPOCH);
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 may be rounded")]
fn count(number: usize) -> f64 {
    number as f64
}
