//! The state folder during its life: waited for, taken, failing, recovered.

use super::source::Source;
use super::stream::Stream;
use crate::snapshot::{Found, Refused, Slots};
use crate::state::{SavedState, Saving, State};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the last durable snapshot stays in view while commits fail. Longer would show a server as
/// silent that is not; then live values are the lesser evil.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a snapshot holds: positions and what the bytes before them add up to, as one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot<S = SavedState> {
    pub(crate) state: S,
    pub(crate) sources: Vec<SavedSource>,
    /// Seconds that we have run for in all.
    pub(crate) ran: u64,
    /// Written before a catch-up, so that a start from it is the same start again: see [`Unsettled`].
    pub(crate) unsettled: Unsettled,
    /// Folders of servers as bytes, and their indices in the state.
    servers: Vec<(Vec<u8>, u32)>,
}

/// The positions of one source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SavedSource {
    /// The live file's path as bytes: a name need not be UTF-8.
    path: Vec<u8>,
    /// Index of its facts in the state.
    pub(crate) facts: usize,
    /// The names of the format and of what is around its lines.
    pub(crate) dialect: Option<String>,
    pub(crate) streams: Vec<Stream>,
}

impl SavedSource {
    /// The positions of this moment.
    pub(crate) fn of(source: &Source) -> Self {
        Self {
            path: source.live_path.as_os_str().as_bytes().to_vec(),
            facts: source.facts,
            dialect: source.told.dialect().map(|dialect| dialect.to_string()),
            streams: source.streams().collect(),
        }
    }

    /// How many live files it had; none at the next call.
    pub(crate) fn take_live(&mut self) -> u64 {
        let live = self.streams.iter_mut().filter(|stream| stream.was_live);
        live.map(|stream| stream.was_live = false).count() as u64
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.path.clone()))
    }
}

/// What a start has still to do, and what one that is killed before its catch-up leaves to the next.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Unsettled {
    /// No lines have been read yet: archives that are there are history.
    pub(crate) is_first_start: bool,
    /// A newer snapshot may have been shown.
    pub(crate) is_maybe_old: bool,
}

impl<'a> Snapshot<Saving<'a>> {
    /// The snapshot of this moment. Sources of the last one that have not been found again are kept.
    pub(crate) fn new(
        state: &'a State,
        sources: &[Source],
        absent: &HashMap<PathBuf, SavedSource>,
        servers: &HashMap<PathBuf, u32>,
        ran: u64,
        unsettled: Unsettled,
    ) -> Self {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let saved = sources.iter().map(SavedSource::of);
        Self {
            state: state.save(),
            ran,
            unsettled,
            sources: saved.chain(absent.values().cloned()).collect(),
            servers: servers.iter().map(|(path, server)| (bytes(path), *server)).collect(),
        }
    }
}

impl Snapshot {
    /// Folders of servers, and their indices in the state.
    pub(crate) fn servers(&self) -> HashMap<PathBuf, u32> {
        let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
        self.servers.iter().map(|(bytes, server)| (path(bytes), *server)).collect()
    }
}

/// What a commit may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Publish: it is durable, or nobody asked for that.
    Publish,
    /// Publish although it is not durable: commits have failed for too long.
    PublishLive,
    /// Keep what is published; try again.
    Wait,
}

/// A state folder, or none.
#[derive(Debug)]
pub(crate) struct Store {
    folder: Option<PathBuf>,
    slots: Option<Slots>,
    failing_since: Option<Instant>,
    /// Whether any commit has succeeded; before that there is nothing durable to keep in view.
    has_saved: bool,
    complaint: Option<String>,
    pub(crate) failures: u64,
    pub(crate) resets: u64,
    pub(crate) is_durable: bool,
}

impl Store {
    pub(crate) const fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            slots: None,
            failing_since: None,
            has_saved: false,
            complaint: None,
            failures: 0,
            resets: 0,
            is_durable: false,
        }
    }

    /// Takes the folder, if there is one to take. `None`: another instance has it, ask again.
    pub(crate) fn acquire(&mut self) -> Option<Found<Snapshot>> {
        let Some(folder) = &self.folder else { return Some(Found::Nothing) };
        match Slots::open(folder) {
            Ok(mut slots) => {
                let found = slots.load();
                self.slots = Some(slots);
                if found_is_damaged(&found) {
                    self.resets += 1;
                    tracing::error!(
                        folder = %folder.display(),
                        "the saved state is damaged or of another version; counters start at 0"
                    );
                }
                Some(found)
            }
            Err(Refused::InUse) => {
                self.complain("another instance holds the state folder; waiting for it to end");
                None
            }
            Err(Refused::Unusable(error)) => {
                self.complain(&format!("the state folder cannot be used, nothing is durable: {error}"));
                Some(Found::Nothing)
            }
        }
    }

    /// Saves, and says what may be published then.
    pub(crate) fn commit<'a>(&mut self, snapshot: impl FnOnce() -> Snapshot<Saving<'a>>) -> Permit {
        if self.folder.is_none() {
            return Permit::Publish;
        }
        match self.save(snapshot) {
            Ok(()) => {
                if self.failing_since.take().is_some() {
                    tracing::info!("the state is durable again");
                }
                (self.complaint, self.is_durable, self.has_saved) = (None, true, true);
                Permit::Publish
            }
            Err(error) => {
                self.failures += 1;
                self.complain(&format!("cannot save the state, nothing is durable: {error}"));
                let since = *self.failing_since.get_or_insert_with(Instant::now);
                if self.has_saved && since.elapsed() < PATIENCE {
                    return Permit::Wait;
                }
                self.is_durable = false;
                Permit::PublishLive
            }
        }
    }

    /// Whether the folder is wanted at all.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.folder.is_some()
    }

    /// What is wrong with the folder, for people.
    pub(crate) fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    fn save<'a>(&mut self, snapshot: impl FnOnce() -> Snapshot<Saving<'a>>) -> io::Result<()> {
        if self.slots.is_none()
            && let Some(folder) = &self.folder
        {
            // It was unusable at the start. What it may hold is of an earlier life and is overwritten.
            match Slots::open(folder) {
                Ok(mut slots) => {
                    drop(slots.load::<Snapshot>());
                    self.slots = Some(slots);
                }
                Err(Refused::InUse) => {
                    return Err(io::Error::other("another instance holds the state folder"));
                }
                Err(Refused::Unusable(error)) => return Err(error),
            }
        }
        match &mut self.slots {
            Some(slots) => slots.save(&snapshot()),
            None => Ok(()),
        }
    }

    fn complain(&mut self, what: &str) {
        if self.complaint.as_deref() != Some(what) {
            let folder = self.folder.as_deref().unwrap_or(Path::new(""));
            tracing::error!(folder = %folder.display(), "{what}");
            self.complaint = Some(what.to_owned());
        }
    }
}

fn found_is_damaged(found: &Found<Snapshot>) -> bool {
    matches!(found, Found::Damaged)
}
