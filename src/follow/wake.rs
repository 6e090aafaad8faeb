//! inotify as a reason to look sooner, and never more than that.
//!
//! Its queue overflows, its watches run out, and NFS, bind mounts and some sandboxes send nothing at all;
//! the poll decides, this only shortens it.

use super::pace::{Look, Waker};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Watches folders and wakes the follower.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    /// A watch without folders. Where inotify is refused, the poll alone serves.
    pub(crate) fn new(waker: Waker) -> Self {
        let handler = move |event: notify::Result<notify::Event>| {
            // An error is an event that did not come.
            let look = event.map_or(Some(Look::AllFiles), |event| look_for(event.kind));
            if let Some(look) = look {
                waker.wake(look);
                waker.hold_back();
            }
        };
        let watcher = notify::recommended_watcher(handler);
        if let Err(error) = &watcher {
            tracing::info!(%error, "no file events, polling only");
        }
        Self { watcher: watcher.ok(), folders: BTreeSet::new() }
    }

    /// Watches a folder; one that is absent is tried again at the next call. A folder is watched rather
    /// than its files, since a watch on a file follows the inode through a rotation.
    pub(crate) fn add(&mut self, folder: &Path) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if self.folders.contains(folder) {
            return;
        }
        let Some(watcher) = &mut self.watcher else { return };
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.folders.insert(folder.to_owned());
            }
            Err(error) => tracing::debug!(folder = %folder.display(), %error, "not watched, polling only"),
        }
    }

    /// Forgets a folder that has gone, so that its successor of the same name is watched.
    pub(crate) fn forget_absent(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        self.folders.retain(|folder| {
            let is_there = folder.is_dir();
            if !is_there {
                // The kernel has dropped the watch with the folder; this only tells the crate.
                drop(watcher.unwatch(folder));
            }
            is_there
        });
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("folders", &self.folders).finish_non_exhaustive()
    }
}

/// What an event is a reason for. Our own opening of files sends events too; waking for these would be a loop.
const fn look_for(kind: EventKind) -> Option<Look> {
    match kind {
        EventKind::Modify(ModifyKind::Data(_)) | EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
            Some(Look::OpenFiles)
        }
        EventKind::Access(_) => None,
        _ => Some(Look::AllFiles),
    }
}
