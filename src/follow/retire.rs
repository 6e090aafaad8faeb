//! Pods that are gone: what is remembered of them goes, too, or a node on which pods come and go would fill the
//! memory and the exposition.
//!
//! Other sources are remembered, since their files may come back; a pod's never do.

use super::{Follower, Source, folder_of};
use std::path::{Path, PathBuf};

/// How long nothing of a source has to be on disk, in seconds. Longer than any rotation leaves a name empty.
const GONE: u64 = 60;

impl Follower {
    /// Forgets containers whose logs are gone; tells whether there was any.
    pub(super) fn retire(&mut self, now: u64) -> bool {
        // A file that the user named is waited for as long as it takes.
        let is_gone =
            |source: &Source| source.pod.is_some() && !source.is_named && source.gone_for(now) >= GONE;
        let (gone, kept): (Vec<Source>, Vec<Source>) =
            std::mem::take(&mut self.sources).into_iter().partition(is_gone);
        self.sources = kept;
        for source in &gone {
            self.live_paths.remove(&source.live_path);
            self.retire_source(source.facts, &source.live_path);
        }
        // Those of the last life that have not come back in this one.
        let is_late = now.saturating_sub(*self.began.get_or_insert(now)) >= GONE;
        let is_pod = |path: &&PathBuf| super::pods::Pod::of(path).is_some();
        let absent: Vec<PathBuf> =
            if is_late { self.absent.keys().filter(is_pod).cloned().collect() } else { Vec::new() };
        for path in &absent {
            if let Some(saved) = self.absent.remove(path) {
                self.retire_source(saved.facts, path);
            }
        }
        !gone.is_empty() || !absent.is_empty()
    }

    fn retire_source(&mut self, facts: usize, live: &Path) {
        if let Some(facts) = self.state.source(facts) {
            tracing::info!(source = facts.name, "gone, and forgotten");
            self.complaints.forget(&facts.name);
        }
        self.state.retire_source(facts);
        self.last_lines.forget(facts);
        let folder = folder_of(live);
        let is_other = |path: &Path| folder_of(path) == folder;
        let has_others = self.sources.iter().any(|source| is_other(&source.live_path))
            || self.absent.keys().any(|path| is_other(path));
        if !has_others && let Some(server) = self.servers.remove(folder) {
            self.state.retire_server(server);
        }
    }
}
