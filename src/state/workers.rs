//! The workers that the log names. A server writes the line once, when a worker has loaded its model, and the worker
//! lives on when the series of that line has long been dropped; so the names are kept beside the series.

use super::REMEMBERED;
use parsers::{Sample, Scope};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Longest name in bytes; a line may be far longer.
const NAME_MAX: usize = 512;

/// A worker that has loaded its model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedWorker {
    /// Its name: `W-9000-resnet18_1.0`.
    pub name: Arc<str>,
    /// When its line was read last, in seconds since 1970.
    pub seen: u64,
}

/// All of them, the oldest forgotten when there are too many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workers {
    by_name: HashMap<Arc<str>, Load>,
    loads: u64,
}

#[derive(Clone, Copy, Debug)]
struct Load {
    /// How many there had been before.
    order: u64,
    seen: u64,
}

impl Workers {
    /// Takes a line if it is one that names a worker, and tells whether it is.
    pub(crate) fn note(&mut self, sample: &Sample<'_>, wall: u64) -> bool {
        if sample.scope != Scope::Server || sample.name != "WorkerLoadTime" {
            return false;
        }
        let name = sample.labels.iter().find(|(label, _)| *label == "WorkerName");
        if let Some((_, name)) = name.filter(|(_, name)| name.len() <= NAME_MAX) {
            self.insert(Arc::from(&**name), wall);
        }
        true
    }

    fn insert(&mut self, name: Arc<str>, seen: u64) {
        if self.by_name.len() >= REMEMBERED && !self.by_name.contains_key(&name) {
            self.forget();
        }
        self.by_name.insert(name, Load { order: self.loads, seen });
        self.loads += 1;
    }

    /// The older half at once, so that a log full of names costs no search per line.
    fn forget(&mut self) {
        let mut orders: Vec<u64> = self.by_name.values().map(|load| load.order).collect();
        orders.sort_unstable();
        let middle = orders.get(orders.len() / 2).copied().unwrap_or_default();
        self.by_name.retain(|_, load| load.order >= middle);
    }

    /// All of them, who loaded first comes first.
    pub(crate) fn list(&self) -> Vec<LoadedWorker> {
        let mut all: Vec<(&Arc<str>, &Load)> = self.by_name.iter().collect();
        all.sort_unstable_by_key(|(_, load)| load.order);
        all.into_iter().map(|(name, load)| LoadedWorker { name: name.clone(), seen: load.seen }).collect()
    }

    /// What a list held.
    pub(crate) fn restored(list: Vec<LoadedWorker>) -> Self {
        let mut workers = Self::default();
        list.into_iter().for_each(|worker| workers.insert(worker.name, worker.seen));
        workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(workers: &Workers) -> Vec<String> {
        workers.list().iter().map(|worker| worker.name.to_string()).collect()
    }

    #[test]
    fn who_loads_again_is_the_last_one() {
        let mut workers = Workers::default();
        for (name, seen) in [("W-1-a_1", 5), ("W-2-b_1", 6), ("W-1-a_1", 7)] {
            workers.insert(name.into(), seen);
        }
        assert_eq!(["W-2-b_1", "W-1-a_1"], *names(&workers));
        let restored = Workers::restored(workers.list());
        assert_eq!(
            (workers.list(), Some(7)),
            (restored.list(), restored.list().last().map(|last| last.seen))
        );
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let mut workers = Workers::default();
        (0..=REMEMBERED).for_each(|number| workers.insert(format!("W-{number}-m_1").into(), 1));
        let names = names(&workers);
        assert_eq!(REMEMBERED / 2 + 1, names.len());
        assert_eq!(
            (format!("W-{}-m_1", REMEMBERED / 2), format!("W-{REMEMBERED}-m_1")),
            (names[0].clone(), names[names.len() - 1].clone())
        );
    }
}
