//! The workers that the logs name, from what is published: collectors know no log, so they are given these.

use crate::collect::worker::Named;
use crate::metric::{FamilyView, Shown};
use crate::publish::{Board, Published};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The label of the metric that TorchServe writes when a worker has loaded its model, verbatim and by convention.
const LABELS: [&str; 2] = ["WorkerName=\"W-", "worker_name=\"W-"];

/// Names kept at most. They stay after their series has gone: a gauge of a silent server is hidden, its workers live.
const NAMES_MAX: usize = 10_000;

/// Asks for the names again and again; each answer costs something only after a publication.
pub(super) fn names(board: Arc<Board>) -> Arc<dyn Fn() -> Arc<[Named]> + Send + Sync> {
    let seen = Mutex::new(Seen::default());
    Arc::new(move || {
        // Only the collector asks; the lock is never waited for.
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.update(&board.view.get());
        seen.names.clone()
    })
}

#[derive(Debug, Default)]
struct Seen {
    generation: Option<u64>,
    /// The load time that each name had last, and when that was first seen.
    loads: HashMap<Arc<str>, (u64, u64)>,
    names: Arc<[Named]>,
}

impl Seen {
    fn update(&mut self, published: &Published) {
        if self.generation == Some(published.generation) {
            return;
        }
        self.generation = Some(published.generation);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut names: Vec<Arc<str>> = self.names.iter().map(|named| named.name.clone()).collect();
        let mut has_changed = false;
        for (name, load_time) in published.view.log.iter().flat_map(loads) {
            match self.loads.get_mut(&*name) {
                Some((before, _)) if *before == load_time => {}
                Some(known) => (*known, has_changed) = ((load_time, now), true),
                None if names.len() < NAMES_MAX => {
                    let name: Arc<str> = name.into();
                    self.loads.insert(name.clone(), (load_time, now));
                    names.push(name);
                    has_changed = true;
                }
                None => {}
            }
        }
        if has_changed {
            let seen = |name: &Arc<str>| self.loads.get(name).map_or(0, |(_, seen)| *seen);
            self.names = names.into_iter().map(|name| Named { seen: seen(&name), name }).collect();
        }
    }
}

/// Names of workers and the bits of their load times.
fn loads(family: &FamilyView) -> impl Iterator<Item = (String, u64)> {
    let label = LABELS.into_iter().find(|label| {
        // All series of a family have the same label names.
        family.series.first().is_some_and(|series| series.labels.contains(label))
    });
    family.series.iter().filter_map(move |series| {
        let (_, rest) = series.labels.split_once(label?)?;
        let (value, _) = rest.split_once('"')?;
        let Shown::Number(load_time) = series.value else { return None };
        // A name that needs escapes is none that TorchServe gives.
        (!value.contains('\\')).then(|| (format!("W-{value}"), load_time.to_bits()))
    })
}
