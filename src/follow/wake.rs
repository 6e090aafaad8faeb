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
    waker: Waker,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    /// A watch without folders. Where inotify is refused, the poll alone serves.
    pub(crate) fn new(waker: Waker) -> Self {
        let handler = {
            let waker = waker.clone();
            move |event: notify::Result<notify::Event>| {
                // An error is an event that did not come.
                let look = event.map_or(Some(Look::AllFiles), |event| look_for(event.kind));
                if let Some(look) = look {
                    waker.wake(look);
                    waker.hold_back();
                }
            }
        };
        let watcher = notify::recommended_watcher(handler);
        if let Err(error) = &watcher {
            tracing::info!(%error, "no file events, polling only");
        }
        Self { watcher: watcher.ok(), waker, folders: BTreeSet::new() }
    }

    /// Watches a folder; one that is absent is tried again at the next call. A folder is watched rather
    /// than its files, since a watch on a file follows the inode through a rotation.
    pub(crate) fn add(&mut self, folder: &Path) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if self.folders.contains(folder) {
            return;
        }
        let Some(watcher) = &mut self.watcher else { return };
        // The crate's thread answers when it has handed out its events: held back, it would not come to that while
        // more of them keep coming.
        self.waker.set_busy(false);
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
                self.waker.set_busy(false);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_new_folder_is_watched_while_a_busy_log_keeps_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let [busy, new] = ["busy", "new"].map(|name| folder.path().join(name));
        [&busy, &new].into_iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        let waker = Waker::default();
        let mut watch = Watch::new(waker.clone());
        watch.add(&busy);
        waker.set_busy(true);
        let is_over = AtomicBool::new(false);
        let (done, is_done) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::fs::write(busy.join("log"), "line\n").unwrap();
                }
            });
            // Events are held back by now.
            assert_eq!(Some(()), waker.wait(Duration::from_secs(60)).map(drop));
            scope.spawn(move || {
                watch.add(&new);
                done.send(watch.folders.len())
            });
            let folders = is_done.recv_timeout(Duration::from_secs(20));
            is_over.store(true, Ordering::Relaxed);
            waker.set_busy(false);
            assert_eq!(Ok(2), folders, "the follower waits for the watch");
        });
    }
}
