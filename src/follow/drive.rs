//! The follower's thread: when to look, when to commit, when to end.

use super::Follower;
use super::pace::{Cost, Look, Rhythm, Waker};
use super::reload::Change;
use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The time between two reads while something waits for its commit anyway: what a writer could cut off again
/// before it is read.
const COALESCED: Duration = Duration::from_millis(50);

/// The most that looking may take of the time: with many files it is done less often.
const SHARE: u32 = 50;

/// The longest time between two looks at all files because of that, and between two reads.
const RARELY: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_millis(100);

/// Follows until `stop`, then reads what is there and commits once more. `committed` hears how long each
/// commit took.
pub fn run(mut follower: Follower, waker: &Waker, stop: &AtomicBool, committed: impl Fn(Duration)) {
    let mut poll = follower.settings.poll_interval;
    let mut rhythm = Rhythm::new(follower.settings.commit_interval);
    let mut pending_since: Option<Instant> = None;
    let mut look = Look::AllFiles;
    let mut next_look = Instant::now();
    loop {
        let is_last = stop.load(Ordering::Acquire);
        let mut reloaded = None;
        if let Some(change) = follower.has_begun.then(|| waker.change()).flatten() {
            let Change { settings, rules, done } = change;
            follower.reload(settings, rules);
            poll = follower.settings.poll_interval;
            rhythm = Rhythm::new(follower.settings.commit_interval);
            // It may show other families although no line came.
            pending_since.get_or_insert_with(Instant::now);
            look = Look::AllFiles;
            reloaded = Some(done);
        }
        let start = Instant::now();
        let progress = match look {
            Look::OpenFiles if !is_last => follower.read_on(follower.running_seconds()),
            _ => follower.step(follower.running_seconds()),
        };
        if progress.is_waiting {
            if is_last {
                return;
            }
            waker.wait(poll);
            continue;
        }
        let now = Instant::now();
        let effort = (now - start) * SHARE;
        if look == Look::AllFiles {
            next_look = now + effort.min(RARELY).max(poll);
        }
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
            let before = computing_time();
            let is_done = follower.commit(follower.running_seconds());
            let cost = Cost { computing: computing_time().saturating_sub(before), elapsed: now.elapsed() };
            committed(cost.elapsed);
            rhythm.committed(since, now, cost);
            // What could not be saved stays pending, also when it is shown.
            pending_since = (!is_done).then_some(since);
        }
        if let Some(done) = reloaded {
            done();
        }
        if is_last && is_caught_up {
            return;
        }
        if is_caught_up && !follower.is_ready {
            follower.become_ready();
            tracing::info!("caught up");
        }
        look = Look::AllFiles;
        if is_caught_up && !progress.must_look {
            let until_look = next_look.saturating_duration_since(Instant::now());
            let woken = match pending_since {
                // Lines that keep coming are not shown before the next commit anyway, and to be woken for each
                // of them costs more than the lines.
                Some(_) => {
                    let wait = rhythm.due_in(Instant::now()).min(until_look);
                    waker.set_busy(true);
                    let pause = wait.min(effort.min(SELDOM).max(COALESCED));
                    thread::sleep(pause); // allow-sleep: takes the lines of a while together
                    waker.wait(Duration::ZERO)
                }
                None => {
                    waker.set_busy(false);
                    waker.wait(until_look)
                }
            };
            if Instant::now() < next_look {
                look = woken.unwrap_or(Look::OpenFiles);
            }
        }
    }
}

/// What this thread has computed so far.
fn computing_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
