//! Which sources there are: PATHs become sources, each with its positions of the snapshot.

use super::discover::{Found, discover, roots};
use super::log_file::{LogFile, Recent};
use super::source::{Setup, Source, Start};
use super::stream::Stream;
use super::tail::Tail;
use super::told::Told;
use super::{Follower, Settings, WatchedPath};
use crate::state::Role;
use parsers::{Dialect, FORMATS, Format, RULES};
use std::collections::HashSet;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Follower {
    pub(super) fn find_sources(&mut self) -> bool {
        self.watch.forget_absent();
        self.problems.clear();
        for source in &self.sources {
            if let Some(other) = &source.repeats {
                self.problems.push(self.complaints.repeats(&source.live_path, other));
            }
        }
        let mut has_new = false;
        let mut real_paths = None;
        for watched in self.settings.paths.clone() {
            if watched.path == Path::new("-") {
                continue;
            }
            self.watch.add(folder_of(&watched.path));
            match discover(&watched.path, &self.settings.allowed_roots, &mut self.folders) {
                Ok(found) => {
                    self.complaints.path_is_good(&watched.path);
                    let new = found.into_iter().filter(|found| !self.live_paths.contains(&found.live));
                    for found in new.collect::<Vec<_>>() {
                        has_new |= self.add_source(&found, &watched, &mut real_paths);
                    }
                }
                Err(problem) => {
                    self.problems.push(self.complaints.path(&watched.path, &problem));
                }
            }
        }
        has_new
    }

    /// Follows a file that has no source yet, unless it is another's under a second name. `real_paths` are those
    /// of all sources, once somebody has asked for them.
    fn add_source(
        &mut self,
        found: &Found,
        watched: &WatchedPath,
        real_paths: &mut Option<HashSet<PathBuf>>,
    ) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let real_path = real(&found.live);
        let others = real_paths.get_or_insert_with(|| {
            self.sources.iter().filter_map(|source| real(&source.live_path)).collect()
        });
        if real_path.as_ref().is_some_and(|path| others.contains(path)) {
            return false;
        }
        let folder = folder_of(&found.live).to_owned();
        self.watch.add(&folder);
        if self.repeats(found, &folder) {
            return false;
        }
        let server = match self.servers.get(&folder) {
            Some(server) => *server,
            None => {
                let server = self.state.add_server();
                self.servers.insert(folder, server);
                server
            }
        };
        let saved = self.absent.remove(&found.live);
        let facts = match &saved {
            Some(saved) => saved.facts,
            None => {
                let name = self.source_name(found);
                self.state.add_source(&name)
            }
        };
        let name = self.state.source(facts).map_or_else(String::new, |facts| facts.name.clone());
        // What is saved was told by lines, for good if it is no generic format.
        let before = saved.as_ref().and_then(|saved| Dialect::named(saved.dialect.as_deref()?));
        let before = before.filter(|before| !before.format.is_generic);
        let before = before.or_else(|| found.format.and_then(parsers::format_named).map(Dialect::bare));
        let fallback = self.fallback(found.is_named, watched.is_listed);
        let told = Told::new(watched.format, fallback).before(before);
        let setup = Setup {
            watched: watched.path.clone(),
            facts,
            server,
            name,
            labels: found
                .pod
                .as_ref()
                .map_or_else(|| watched.labels.clone(), |pod| pod.labels(&watched.labels)),
            offset_minutes: watched.offset_minutes,
            told,
            start: if self.is_ready { Start::Start } else { self.settings.start },
            line_max: self.settings.line_max,
            roots: (!found.is_named).then(|| roots(&watched.path, &self.settings.allowed_roots)),
            // A source that appeared while we were down is new, its archives too.
            has_history: saved.is_none() && self.is_first_start && !self.is_ready,
            streams: saved.map_or_else(Vec::new, |saved| saved.streams),
        };
        let source = Source::new(found, setup);
        tracing::info!(source = %source.name, file = %source.live_path.display(), "following");
        if source.told.dialect().is_some_and(|dialect| dialect.format.declares) && found.role == Role::All {
            self.state.declare();
        }
        self.sources.push(source);
        self.live_paths.insert(found.live.clone());
        others.extend(real_path);
        true
    }

    /// The format of a file as long as no line tells it: the user's own rules, where there are any.
    pub(super) fn fallback(&self, is_named: bool, is_listed: bool) -> Option<&'static Format> {
        if self.state.rules().own.is_empty() {
            return FORMATS.first().filter(|_| is_named);
        }
        parsers::format_named(RULES).filter(|_| is_named || is_listed)
    }

    /// A console repeats the metric files beside it: counting both would count each line twice.
    fn repeats(&mut self, found: &Found, folder: &Path) -> bool {
        if found.role == Role::FactsOnly {
            return false;
        }
        let format = found.format.and_then(parsers::format_named);
        let Some(format) = format.or_else(|| detect_file(&found.live)) else { return false };
        let Some(other) = self.repeated_by(format, folder, None) else { return false };
        self.problems.push(self.complaints.repeats(&found.live, &other));
        true
    }

    /// The same for a source whose format has just shown itself: from then on only its facts are taken.
    pub(super) fn refuse_repeats(&mut self, at: usize) {
        let Some(source) = self.sources.get(at).filter(|source| source.role == Role::All) else { return };
        let (live, dialect) = (source.live_path.clone(), source.told.dialect());
        let other = dialect.and_then(|dialect| self.repeated_by(dialect.format, folder_of(&live), Some(at)));
        if let (Some(other), Some(source)) = (other, self.sources.get_mut(at)) {
            source.role = Role::FactsOnly;
            source.repeats = Some(other);
        }
    }

    /// A source in the folder whose lines this format would repeat, or that would repeat it.
    fn repeated_by(&self, format: &Format, folder: &Path, except: Option<usize>) -> Option<String> {
        if self.settings.allow_repeats {
            return None;
        }
        let others = self.sources.iter().enumerate().filter(|(at, _)| Some(*at) != except);
        let mut beside = others.map(|(_, source)| source).filter(|source| {
            let doubles = source.told.dialect().is_some_and(|other| other.format.doubles(format));
            doubles && source.role == Role::All && folder_of(&source.live_path) == folder
        });
        beside.next().map(|source| source.name.clone())
    }

    /// The `source` label: the file's name, with the name of its folder where two would be alike; never a
    /// whole path.
    fn source_name(&self, found: &Found) -> String {
        let live = &found.live;
        let is_taken =
            |name: &str| (0..).map_while(|at| self.state.source(at)).any(|facts| facts.name == name);
        let file = printable(live.file_name());
        let folder = printable(live.parent().and_then(Path::file_name));
        let [short, long] = match &found.pod {
            Some(pod) => pod.source_names(&file),
            None => [file.clone(), format!("{folder}/{file}")],
        };
        if !is_taken(&short) {
            return short;
        }
        let numbered = (2..).map(|number| format!("{long}#{number}"));
        std::iter::once(long.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(long)
    }
}

/// Whether the named files repeat each other, with the explanation. Files that appear later are judged
/// when they do.
pub fn repeats_by_name(settings: &Settings) -> Option<String> {
    if settings.allow_repeats {
        return None;
    }
    let files = settings.paths.iter().map(|watched| &watched.path).filter(|path| path.is_file());
    let files: Vec<(&PathBuf, &Format)> = files.filter_map(|path| Some((path, detect_file(path)?))).collect();
    doubled(&files).map(|(console, metrics)| say_repeats(&console.display(), &metrics.display()))
}

/// A file and one of which it holds the lines once more.
pub(crate) fn doubled<'a, T>(files: &'a [(T, &Format)]) -> Option<(&'a T, &'a T)> {
    let consoles = files.iter().filter(|(_, format)| !format.repeats.is_empty());
    let mut pairs = consoles.flat_map(|console| files.iter().map(move |other| (console, other)));
    let ((console, _), (other, _)) =
        pairs.find(|((_, console), (_, other))| console.repeats.contains(&other.name))?;
    Some((console, other))
}

/// Why two such files are not read together.
pub(crate) fn say_repeats(console: &dyn fmt::Display, metrics: &dyn fmt::Display) -> String {
    format!(
        "{console} is a console and repeats the metric lines of {metrics}: each would count twice. Give only one of \
         them, or --source.allow-repeats if they are of different servers"
    )
}

/// A file name as text; bytes that are no UTF-8 as `\xff`.
fn printable(name: Option<&std::ffi::OsStr>) -> String {
    let mut text = String::new();
    for chunk in name.unwrap_or_default().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

fn detect_file(path: &Path) -> Option<&'static Format> {
    let tail = Tail::new(LogFile::open(path).ok()?, &Stream::default(), Recent::default(), 0).ok()?;
    parsers::detect(&tail.peek(0).ok()?).map(|dialect| dialect.format)
}

pub(super) fn folder_of(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(path) }
}
