//! What a state folder holds, for people: `inferometer check --state.dir`.

use super::store::{SavedSource, Snapshot};
use crate::snapshot::{Found, peek};
use crate::state::{Outcome, Rules, SourceFacts, State};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Says what is saved in a state folder, in a line for all and one for each source. The folder is only read, so an
/// instance may have it meanwhile.
pub fn describe(folder: &Path, rules: Arc<Rules>) -> Vec<String> {
    let of_all = |what: &str| format!("state: {}: {what}", folder.display());
    let (snapshot, is_maybe_old) = match peek::<Snapshot>(folder) {
        Found::Nothing => return vec![of_all("nothing is saved yet")],
        Found::Damaged => {
            return vec![of_all("damaged or of another version, a start would begin counters at 0")];
        }
        Found::Snapshot { value, is_maybe_old } => (value, is_maybe_old),
    };
    let state = State::restore(rules, snapshot.state);
    let families = state.view(None).log;
    let what = format!(
        "{} sources, {} families, {} series, after {} of running{}",
        snapshot.sources.len(),
        families.len(),
        families.iter().map(|family| family.series.len()).sum::<usize>(),
        humantime::format_duration(Duration::from_secs(snapshot.ran)),
        if is_maybe_old { "; the other slot is damaged and may have been newer" } else { "" }
    );
    let of_sources = snapshot.sources.iter().map(|source| of_source(source, state.source(source.facts)));
    [of_all(&what)].into_iter().chain(of_sources).collect()
}

fn of_source(source: &SavedSource, facts: Option<&SourceFacts>) -> String {
    let live = source.streams.iter().find(|stream| stream.was_live);
    let live = live.map_or_else(|| "no file".to_owned(), |live| format!("at byte {}", live.offset));
    let known = source.streams.iter().filter(|stream| !stream.was_live).count();
    let history = source.streams.iter().filter(|stream| stream.is_history).count();
    let lines = |outcome: Outcome| facts.map_or(0, |facts| facts.lines(outcome));
    let lines = Outcome::ALL.map(|outcome| format!("{} {}", lines(outcome), outcome.label()));
    format!(
        "  {} ({}): {live}, {known} archives known, {history} of them never read; lines: {}",
        source.path().display(),
        source.dialect.as_deref().unwrap_or("format not told yet"),
        lines.join(", ")
    )
}
