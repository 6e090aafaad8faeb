//! The names in the logs' folders, listed once for all sources that share a folder, and only when the folder has
//! changed.
//!
//! Listing is the dearest part of a look, and it wakes our own watch. A folder's modification time tells of every
//! name that came or went, but only as finely as the kernel's clock ticks, and on some network and user-space
//! file systems not at all. So a listing is trusted when it was made well after the change that it shows, and
//! never for long.

use crate::stamp::Stamp;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after a change a listing surely shows it: many ticks of the kernel's clock.
const SETTLED: Duration = Duration::from_millis(100);

/// How long a listing is used at most.
const TRUSTED: Duration = Duration::from_secs(2);

/// The folders of the last looks.
#[derive(Debug)]
pub(crate) struct Folders {
    listed: HashMap<PathBuf, Listed>,
    /// When the present look began.
    now: Instant,
}

#[derive(Debug)]
struct Listed {
    names: Names,
    stamp: Stamp,
    /// When this stamp was first seen.
    since: Instant,
    /// When the names were read.
    at: Instant,
}

/// A folder's names in the order of their bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<[PathBuf]>);

impl Default for Folders {
    fn default() -> Self {
        Self { listed: HashMap::new(), now: Instant::now() }
    }
}

impl Folders {
    /// A new look begins; folders that nobody has asked for lately are forgotten.
    pub(crate) fn begin_look(&mut self, now: Instant) {
        self.now = now;
        self.listed.retain(|_, listed| now.duration_since(listed.at) < 2 * TRUSTED);
    }

    /// The names in a folder.
    ///
    /// # Errors
    ///
    /// When the folder is absent, is none, or cannot be read.
    pub(crate) fn names(&mut self, folder: &Path) -> io::Result<Names> {
        let now = self.now;
        // Asked for before the names are read: what comes in between changes it again.
        let stamp = Stamp::from(&fs::metadata(folder)?);
        let known = self.listed.get(folder).filter(|listed| listed.stamp == stamp);
        let since = known.map_or(now, |listed| listed.since);
        if let Some(listed) = known
            && (listed.at == now || listed.is_settled() && now.duration_since(listed.at) < TRUSTED)
        {
            return Ok(listed.names.clone());
        }
        let entries = fs::read_dir(folder)?;
        let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.file_name().into()).collect();
        names.sort_unstable_by(|one, other| bytes(one).cmp(bytes(other)));
        let names = Names(names.into());
        self.listed.insert(folder.to_owned(), Listed { names: names.clone(), stamp, since, at: now });
        Ok(names)
    }
}

impl Listed {
    /// Whether it was made so long after the change that nothing else can bear the same time.
    fn is_settled(&self) -> bool {
        self.at.duration_since(self.since) >= SETTLED
    }
}

impl Names {
    /// All names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }

    /// The names that begin with these bytes.
    pub(crate) fn beginning_with<'a>(&'a self, front: &'a [u8]) -> impl Iterator<Item = &'a Path> {
        let first = self.0.partition_point(|name| bytes(name) < front);
        let rest = self.0.get(first..).unwrap_or_default();
        rest.iter().take_while(move |name| bytes(name).starts_with(front)).map(PathBuf::as_path)
    }
}

fn bytes(name: &Path) -> &[u8] {
    name.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a>(names: impl Iterator<Item = &'a Path>) -> Vec<String> {
        names.map(|name| name.display().to_string()).collect()
    }

    #[test]
    fn a_listing_shows_every_change_however_soon_it_comes() {
        let folder = tempfile::tempdir().unwrap();
        let (mut folders, start) = (Folders::default(), Instant::now());
        for at in 0..200 {
            folders.begin_look(start + Duration::from_millis(at));
            fs::write(folder.path().join(format!("{at:03}.log")), "").unwrap();
            let count = folders.names(folder.path()).unwrap().iter().count();
            assert_eq!(at + 1, count as u64);
        }
        fs::rename(folder.path().join("007.log"), folder.path().join("a.log")).unwrap();
        folders.begin_look(start + Duration::from_millis(201));
        let names = folders.names(folder.path()).unwrap();
        assert_eq!(vec!["a.log"], texts(names.beginning_with(b"a")));
        assert_eq!(vec!["010.log", "011.log"], texts(names.beginning_with(b"01").take(2)));
        assert_eq!(0, names.beginning_with(b"007").count() + names.beginning_with(b"b").count());
    }

    #[test]
    fn a_listing_is_used_again_while_it_is_sure_and_young() {
        let folder = tempfile::tempdir().unwrap();
        let (mut folders, start) = (Folders::default(), Instant::now());
        let mut listed = |after: Duration| {
            folders.begin_look(start + after);
            folders.names(folder.path()).unwrap()
        };
        let is_same = |one: &Names, other: &Names| Arc::ptr_eq(&one.0, &other.0);
        let first = listed(Duration::ZERO);
        assert!(is_same(&first, &listed(Duration::ZERO)), "the same look");
        let early = listed(SETTLED / 2);
        assert!(!is_same(&first, &early), "something may have come within the clock's tick");
        let settled = listed(SETTLED);
        assert!(!is_same(&early, &settled));
        assert!(is_same(&settled, &listed(SETTLED * 2)) && is_same(&settled, &listed(TRUSTED)));
        assert!(!is_same(&settled, &listed(SETTLED + TRUSTED)), "some file systems tell of no change");
    }
}
