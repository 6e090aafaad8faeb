//! The one place where the follower and the scrapes meet: whole values, swapped.
//!
//! The follower puts, scrapes take. Nobody waits for work of the other: the lock is held for the swap of
//! a pointer.

use crate::collect::Readings;
use crate::state::View;
use parsers::Dialect;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

/// A value that is replaced as a whole.
#[derive(Debug, Default)]
pub struct Cell<T>(RwLock<Arc<T>>);

impl<T> Cell<T> {
    /// A cell with its first value.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value of this moment.
    pub fn get(&self) -> Arc<T> {
        // The lock only guards the swap of an Arc, which cannot be left half done by a panic.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the value.
    pub fn put(&self, value: T) {
        let value = Arc::new(value);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

/// What the follower and the collectors publish.
#[derive(Debug, Default)]
pub struct Board {
    /// What lines have added up to, as committed.
    pub view: Cell<Published>,
    /// How following goes, as of the last look; not part of any commit.
    pub status: Cell<Status>,
    /// What is measured beside the logs, one cell per collector.
    pub readings: Readings,
}

/// A committed view.
#[derive(Debug, Default)]
pub struct Published {
    /// Counts publications, so that a rendering can be kept for its publication.
    pub generation: u64,
    /// The view.
    pub view: View,
}

/// How following goes.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The first catch-up is done.
    pub is_ready: bool,
    /// A source has more than one read's worth of unread bytes.
    pub is_catching_up: bool,
    /// When the last look ended; a follower that stopped looking is dead.
    pub looked_at: Option<Instant>,
    /// The sources in the order of their discovery.
    pub sources: Vec<SourceStatus>,
    /// What is wrong with a PATH, by PATH.
    pub problems: Vec<PathProblem>,
    /// Hints for people, each a whole sentence.
    pub hints: Vec<String>,
    /// Whether what is published survives a crash; none without a state folder.
    pub is_durable: Option<bool>,
    /// Commits that could not be saved.
    pub commit_failures: u64,
    /// Times that the saved state was damaged and counters started at 0.
    pub state_resets: u64,
}

/// One source.
#[derive(Clone, Debug, Default)]
pub struct SourceStatus {
    /// The value of the `source` label.
    pub name: String,
    /// What its files hold; `None` until a line tells.
    pub dialect: Option<Dialect>,
    /// Whether the live file exists and is open.
    pub is_active: bool,
    /// Whether the live name shows a file that was replaced: a mount of that single file.
    pub is_stale: bool,
    /// Bytes on disk that have not been consumed.
    pub lag_bytes: u64,
    /// Its newest records, oldest first, cut and not escaped; none unless they are to be shown.
    pub last_lines: Option<Vec<String>>,
}

/// What is wrong with a PATH.
#[derive(Clone, Debug)]
pub struct PathProblem {
    /// The PATH as it was given.
    pub path: String,
    /// One of `absent`, `empty`, `unreadable`, `outside`, `refused`.
    pub problem: &'static str,
    /// Who owns it and who we are, where a link leads, or what it repeats.
    pub detail: Option<String>,
}
