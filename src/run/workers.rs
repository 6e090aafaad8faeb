//! The workers that the logs name, from what is published: collectors know no log, so they are given these.

use crate::collect::worker::Named;
use crate::publish::Board;
use std::sync::{Arc, Mutex, PoisonError};

/// Asks for the names again and again; each answer costs something only after a publication.
pub(super) fn names(board: Arc<Board>) -> Arc<dyn Fn() -> Arc<[Named]> + Send + Sync> {
    let kept: Mutex<(Option<u64>, Arc<[Named]>)> = Mutex::default();
    Arc::new(move || {
        // Only the collector asks; the lock is never waited for.
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let published = board.view.get();
        if kept.0 != Some(published.generation) {
            let workers = published.view.workers.iter();
            let named: Vec<Named> =
                workers.map(|worker| Named { name: worker.name.clone(), seen: worker.seen }).collect();
            kept.0 = Some(published.generation);
            // The same names are the same list, so that nobody has to look at it again.
            if *kept.1 != *named {
                kept.1 = named.into();
            }
        }
        kept.1.clone()
    })
}
