//! The follower's thread: when to look, when to commit, when to end.

use super::Follower;
use super::pace::{Rhythm, Waker};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long wake-ups are not heard while something waits for its commit: what a writer could cut off again
/// before it is read.
const COALESCED: Duration = Duration::from_millis(20);

/// Follows until `stop`, then reads what is there and commits once more. `committed` hears how long each
/// commit took.
pub fn run(mut follower: Follower, waker: &Waker, stop: &AtomicBool, committed: impl Fn(Duration)) {
    let mut rhythm = Rhythm::new(follower.settings.commit_interval);
    let mut pending_since: Option<Instant> = None;
    loop {
        let is_last = stop.load(Ordering::Acquire);
        let progress = follower.step(follower.running_seconds());
        if progress.is_waiting {
            if is_last {
                return;
            }
            waker.wait(follower.settings.poll_interval);
            continue;
        }
        let now = Instant::now();
        if progress.is_dirty {
            pending_since.get_or_insert(now);
        }
        let is_caught_up = !progress.has_more;
        if is_caught_up && !follower.is_ready {
            follower.count_absent();
            // From the first catch-up on, what appears is new: the snapshot must say so.
            pending_since.get_or_insert(now);
        }
        // Until the first catch-up is done nothing is published: counters that climb in view of
        // Prometheus would look like a rate.
        let may_commit = follower.is_ready || is_caught_up;
        let is_due = rhythm.due_in(now).is_zero() || (is_last && is_caught_up);
        if let Some(since) = pending_since.filter(|_| may_commit && is_due) {
            let is_done = follower.commit(follower.running_seconds());
            committed(now.elapsed());
            rhythm.committed(since, now);
            // What could not be saved stays pending, also when it is shown.
            pending_since = (!is_done).then_some(since);
        }
        if is_last && is_caught_up {
            return;
        }
        if is_caught_up && !follower.is_ready {
            follower.become_ready();
            tracing::info!("caught up");
        }
        if is_caught_up {
            let poll = follower.settings.poll_interval;
            let wait = pending_since.map_or(poll, |_| rhythm.due_in(Instant::now()).min(poll));
            // Lines that keep coming are not shown before the next commit anyway, and a look at each of them
            // costs more than the lines.
            let deaf = if pending_since.is_some() { wait.min(COALESCED) } else { Duration::ZERO };
            std::thread::sleep(deaf); // allow-sleep: takes the wake-ups of a while together
            waker.wait(wait - deaf);
        }
    }
}
