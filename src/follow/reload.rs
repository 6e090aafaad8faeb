//! Another configuration while the follower runs: positions stay, and what lines have added up to is what a restart
//! with that configuration would make of it.

use super::discover::roots;
use super::store::SavedSource;
use super::{Follower, Settings, fallback_of_stdin};
use crate::state::{Role, Rules};
use parsers::Dialect;
use std::fmt;
use std::sync::Arc;

/// What is to hold from now on.
pub struct Change {
    /// What is followed, and how. Its state folder, its start and whether it has standard input are ignored: these
    /// cannot change while a follower lives.
    pub settings: Settings,
    /// How lines become metrics.
    pub rules: Arc<Rules>,
    /// Called when it holds, and is published if anything is yet.
    pub done: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Follower {
    /// Goes on with other settings and rules. What is published changes with the next commit.
    pub fn reload(&mut self, settings: Settings, rules: Arc<Rules>) {
        // Also under the same rules: where a line's values go is remembered with the labels of its source.
        match self.state.under(rules) {
            Ok(state) => self.state = state,
            Err(error) => tracing::error!(%error, "the rules stay as they were"),
        }
        let (state_dir, start) = (self.settings.state_dir.take(), self.settings.start);
        let repeats_matter = self.settings.allow_repeats != settings.allow_repeats;
        let before = std::mem::replace(&mut self.settings, Settings { state_dir, start, ..settings });
        for mut source in std::mem::take(&mut self.sources) {
            let watched = |settings: &Settings| {
                settings.paths.iter().find(|watched| watched.path == source.watched).cloned()
            };
            let (was, is) = (watched(&before), watched(&self.settings));
            let had_format = was.and_then(|was| was.format).map(|format| format.name);
            let must_judge_anew = repeats_matter && source.repeats.is_some();
            let kept = is.filter(|is| is.format.map(|format| format.name) == had_format && !must_judge_anew);
            let Some(is) = kept else {
                // Its positions are kept, so it goes on there should another PATH stand for it, now or later.
                tracing::info!(source = %source.name, "not followed as before");
                self.live_paths.remove(&source.live_path);
                self.absent.insert(source.live_path.clone(), SavedSource::of(&source));
                continue;
            };
            source.labels = source.pod.as_ref().map_or(is.labels.clone(), |pod| pod.labels(&is.labels));
            source.told.fall_back_on(self.fallback(source.is_named, is.is_listed));
            source.offset_minutes = is.offset_minutes;
            source.line_max = self.settings.line_max;
            source.roots = source.roots.map(|_| roots(&source.watched, &self.settings.allowed_roots));
            self.sources.push(source);
        }
        if let Some((stdin, ..)) = &mut self.stdin {
            stdin.told.fall_back_on(fallback_of_stdin(self.state.rules()));
        }
        self.declare_again();
        tracing::info!("following as the configuration says now");
    }

    /// Lists what the present catalog declares, for whom it did before.
    fn declare_again(&mut self) {
        let mut declaring = self.sources.iter().filter(|source| source.role == Role::All);
        let declares = |dialect: Option<Dialect>| dialect.is_some_and(|dialect| dialect.format.declares);
        let is_declared = declaring.any(|source| declares(source.told.dialect()));
        let stdin = self.stdin.as_ref().and_then(|(stdin, ..)| stdin.told.dialect());
        if is_declared || declares(stdin) || self.state.rules().has_metrics_config {
            self.state.declare();
        }
    }
}
