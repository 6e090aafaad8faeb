//! OUT: whole or not there.
//!
//! A folder gets a file for each day, as soon as the day is over. `promtool` reads a file from start to end for each
//! two hours in it, so that many small ones cost it far less than one large one.

use super::points::{Kept, Points};
use crate::expose::openmetrics;
use crate::metric::{FamilyView, SeriesView, Shown, Type};
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// How many points are made text at once.
const AT_ONCE: usize = 256;

/// Where the text goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Standard output.
    Standard,
    /// A pipe or a device, which is written to as it is.
    Special(PathBuf),
    /// A file, which appears when it is whole; a link stays one.
    File(PathBuf),
    /// A folder for files, each of a day by UTC.
    Folder(PathBuf),
}

const DAY: i64 = 86_400;

impl Output {
    /// What a path stands for. It is made sure that it can be written, before hours are spent.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Standard);
        }
        let output = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Self::Folder(path.to_owned()),
            Ok(metadata) if !metadata.is_file() => Self::Special(path.to_owned()),
            Ok(_) => Self::File(fs::canonicalize(path).map_err(|error| unwritable(path, error))?),
            Err(_) => Self::File(path.to_owned()),
        };
        match &output {
            Self::File(path) => drop(temporary(path)?),
            Self::Folder(path) => drop(temporary(&path.join("out"))?),
            Self::Standard | Self::Special(_) => {}
        }
        Ok(output)
    }

    /// The folder for what waits to be written: OUT's own, which has room for it.
    pub(super) fn folder(&self) -> PathBuf {
        match self {
            Self::File(path) => parent(path).to_owned(),
            Self::Folder(path) => path.clone(),
            Self::Standard | Self::Special(_) => std::env::temp_dir(),
        }
    }

    /// Whether it is this file.
    pub(super) fn is(&self, path: &Path) -> bool {
        let same = |out: &PathBuf| fs::canonicalize(path).is_ok_and(|path| path == *out);
        matches!(self, Self::File(out) if same(out))
    }

    /// Whether the points so far are to be written before the one at this time is taken.
    pub(super) fn is_due(&self, points: &Points, at: i64) -> bool {
        let is_over = |(first, _): (i64, i64)| first.div_euclid(DAY) != at.div_euclid(DAY);
        matches!(self, Self::Folder(_)) && points.span.is_some_and(is_over)
    }

    /// Writes all points; tells how many bytes that were.
    ///
    /// # Errors
    ///
    /// When they cannot be written. A file that was there before stays as it was then.
    pub(super) fn write(&self, points: &mut Points) -> io::Result<u64> {
        match self {
            Self::Standard => write(points, io::stdout().lock()).map(|(bytes, _)| bytes),
            Self::Special(path) => {
                let file = OpenOptions::new().write(true).open(path);
                let file = file.map_err(|error| unwritable(path, error))?;
                write(points, file).map(|(bytes, _)| bytes).map_err(|error| unwritable(path, error))
            }
            Self::File(path) => write_file(points, path),
            Self::Folder(path) => {
                let day = points.span.and_then(|(first, _)| jiff::Timestamp::from_second(first).ok());
                // Without any point there is no day.
                day.map_or(Ok(0), |day| {
                    write_file(points, &path.join(day.strftime("%Y-%m-%d.om").to_string()))
                })
            }
        }
    }
}

fn write_file(points: &mut Points, path: &Path) -> io::Result<u64> {
    let named = |error: io::Error| unwritable(path, error);
    let (bytes, file) = write(points, temporary(path)?).map_err(named)?;
    file.as_file().sync_all().map_err(named)?;
    file.persist(path).map_err(|error| unwritable(path, error.error))?;
    File::open(parent(path)).and_then(|folder| folder.sync_all()).map_err(named)?;
    Ok(bytes)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    // As any file that a shell makes: who may read it is the umask's business.
    let permissions = Permissions::from_mode(0o666);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".tmp")
        .permissions(permissions)
        .tempfile_in(parent(path))
        .map_err(|error| unwritable(path, error))
}

fn unwritable(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("cannot write {}: {error}", path.display()))
}

/// Writes OpenMetrics family by family, series by series, point by point.
fn write<W: Write>(points: &mut Points, out: W) -> io::Result<(u64, W)> {
    let mut text = Text { out: BufWriter::with_capacity(1 << 20, out), bytes: 0, buffer: String::new() };
    let written: Vec<(usize, FamilyView)> = (0..)
        .zip(&points.families)
        .flat_map(|(at, family)| family.views().map(move |view| (at, view)))
        .collect();
    let typed = openmetrics::typed(written.iter().map(|(_, view)| view));
    for ((at, view), is_typed) in written.iter().zip(typed) {
        let is_single = points.families.get(*at).is_some_and(Kept::is_single);
        let mut block = Block::new(view.clone(), is_typed && is_single);
        for part in block.parts() {
            block.start(part);
            for series in 0..points.families.get(*at).map_or(0, |family| family.series.len()) {
                let labels = points.families.get(*at).and_then(|family| family.series.get(series));
                let Some(labels) = labels.map(|series| series.labels.clone()) else { continue };
                points.each(*at, series, |time, value| {
                    if block.takes(value) {
                        block.view.series.push(SeriesView { labels: labels.clone(), value: value.clone() });
                        block.times.push(time);
                    }
                    if block.times.len() >= AT_ONCE { block.write(&mut text) } else { Ok(()) }
                })?;
                block.write(&mut text)?;
            }
        }
    }
    text.buffer.push_str(openmetrics::END);
    text.pass_on()?;
    let bytes = text.bytes;
    Ok((bytes, text.out.into_inner().map_err(io::IntoInnerError::into_error)?))
}

struct Text<W: Write> {
    out: BufWriter<W>,
    bytes: u64,
    buffer: String,
}

impl<W: Write> Text<W> {
    fn pass_on(&mut self) -> io::Result<()> {
        self.out.write_all(self.buffer.as_bytes())?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// A family on its way into the text, a few points at a time.
struct Block {
    view: FamilyView,
    times: Vec<i64>,
    is_typed: bool,
    only: Option<HashSet<String>>,
    has_header: bool,
}

impl Block {
    const fn new(view: FamilyView, is_typed: bool) -> Self {
        Self { view, times: Vec::new(), is_typed, only: None, has_header: true }
    }

    const fn is_histogram(&self) -> bool {
        matches!(self.view.kind, Type::Histogram | Type::Summary)
    }

    /// The parts that are families of their own; one that is all where the type is kept.
    fn parts(&self) -> Vec<Option<String>> {
        if self.is_typed || !self.is_histogram() {
            return vec![None];
        }
        ["_bucket", "_count", "_sum"].map(|suffix| Some(format!("{}{suffix}", self.view.name))).into()
    }

    fn start(&mut self, part: Option<String>) {
        self.only = part.map(|name| HashSet::from([name]));
        self.has_header = true;
    }

    const fn takes(&self, value: &Shown) -> bool {
        matches!(value, Shown::Histogram(_)) == self.is_histogram()
    }

    fn write<W: Write>(&mut self, text: &mut Text<W>) -> io::Result<()> {
        if self.times.is_empty() {
            return Ok(());
        }
        let family = (&self.view, self.is_typed);
        openmetrics::encode_points(
            family,
            self.only.as_ref(),
            &self.times,
            self.has_header,
            &mut text.buffer,
        );
        // A part that no point has so far has no header yet.
        self.has_header &= text.buffer.is_empty();
        self.view.series.clear();
        self.times.clear();
        text.pass_on()
    }
}
