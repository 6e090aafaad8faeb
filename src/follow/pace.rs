//! When to look, and when to commit.

use super::reload::Change;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long events wait at most, while the follower reads at its own pace: a name that came or went is heard of
/// that late.
const HELD_BACK: Duration = Duration::from_millis(100);

/// What the follower is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// Read on in the open files.
    OpenFiles,
    /// Look at all files: one may have come, gone or changed its name.
    AllFiles,
}

/// Wakes the follower early. Being woken is never information: what there is to read is on disk.
#[derive(Clone, Debug, Default)]
pub struct Waker(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    calls: Mutex<Calls>,
    change: Mutex<Option<Change>>,
    called: Condvar,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Calls {
    look: Option<Look>,
    /// The follower reads at its own pace for now.
    is_busy: bool,
}

impl Waker {
    /// Lets the follower look now. Any number of calls before it looks are one.
    pub fn wake(&self, look: Look) {
        let mut calls = self.calls();
        let before = calls.look;
        calls.look = before.max(Some(look));
        drop(calls);
        // Each event of a busy log comes here; one that is not the first costs no system call.
        if before.is_none() {
            self.0.called.notify_one();
        }
    }

    /// Has the follower go on under another configuration, at once. One that it has not taken up yet is passed
    /// over; who waits for that one hears with the next.
    pub fn tell(&self, change: Change) {
        let mut waiting = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.take();
        let Change { settings, rules, done } = change;
        let done = Box::new(move || {
            done();
            before.into_iter().for_each(|before| (before.done)());
        });
        *waiting = Some(Change { settings, rules, done });
        drop(waiting);
        self.wake(Look::AllFiles);
    }

    /// The configuration that the follower has to go on under, if there is another one.
    pub(crate) fn change(&self) -> Option<Change> {
        self.0.change.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits while the follower reads at its own pace, but not for long: events that wait together are one.
    pub(crate) fn hold_back(&self) {
        let (calls, is_idle) = (self.calls(), &self.0.idle);
        drop(is_idle.wait_timeout_while(calls, HELD_BACK, |calls| calls.is_busy));
    }

    /// Says whether the follower reads at its own pace.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        let was_busy = std::mem::replace(&mut self.calls().is_busy, is_busy);
        if was_busy && !is_busy {
            self.0.idle.notify_all();
        }
    }

    /// Waits until somebody wakes or the time is over; none is said then.
    pub(crate) fn wait(&self, at_most: Duration) -> Option<Look> {
        let calls = self.0.called.wait_timeout_while(self.calls(), at_most, |calls| calls.look.is_none());
        calls.unwrap_or_else(PoisonError::into_inner).0.look.take()
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rhythm of commits: at once after a quiet time, then ever less often up to the interval while lines
/// keep coming. A lone line is visible at once; a busy log costs one commit per interval.
#[derive(Debug)]
pub(crate) struct Rhythm {
    interval: Duration,
    gap: Duration,
    last: Option<Instant>,
}

/// What a commit has cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Of our thread's computing time.
    pub(crate) computing: Duration,
    /// Of time, waiting for the disk included.
    pub(crate) elapsed: Duration,
}

impl Cost {
    /// The shortest time between two commits that cost as much: together they take one fiftieth of a core, and
    /// leave the disk to others for four fifths of the time.
    fn gap(self) -> Duration {
        (self.computing * 50).max(self.elapsed * 5)
    }
}

/// Lines that come this soon after a commit are not lone ones.
const QUIET: Duration = Duration::from_millis(25);

impl Rhythm {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self { interval, gap: Duration::ZERO, last: None }
    }

    /// How long a commit of what is pending has to wait; zero means now.
    pub(crate) fn due_in(&self, now: Instant) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        (last + self.gap).saturating_duration_since(now)
    }

    /// Notes a commit. If its lines came soon after the one before, lines keep coming and the gap doubles; after
    /// a quiet time it is as short as the cost allows. That is judged by when the lines came and not by whether
    /// they had to wait: a lone line now and then would find a long gap for ever.
    pub(crate) fn committed(&mut self, pending_since: Instant, now: Instant, cost: Cost) {
        let had_quiet = self.last.is_none_or(|last| pending_since >= last + QUIET);
        let gap = if had_quiet { cost.gap() } else { cost.gap().max(self.gap * 2) };
        self.gap = gap.min(self.interval);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);
    const COST: Cost = Cost { computing: Duration::from_micros(100), elapsed: Duration::from_millis(2) };
    const FLOOR: Duration = Duration::from_millis(10);

    #[test]
    fn the_first_line_after_a_quiet_time_is_committed_at_once() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(INTERVAL);
        assert_eq!(Duration::ZERO, rhythm.due_in(start));
        rhythm.committed(start, start, COST);
        assert_eq!(FLOOR, rhythm.due_in(start));
        let later = start + Duration::from_secs(60);
        assert_eq!(Duration::ZERO, rhythm.due_in(later));
    }

    #[test]
    fn the_gap_doubles_up_to_the_interval_while_lines_keep_coming() {
        let mut now = Instant::now();
        let mut rhythm = Rhythm::new(INTERVAL);
        rhythm.committed(now, now, COST);
        let gaps: Vec<u128> = (0..8)
            .map(|_| {
                let (gap, pending_since) = (rhythm.gap, now);
                now += gap;
                rhythm.committed(pending_since, now, COST);
                gap.as_millis()
            })
            .collect();
        assert_eq!(vec![10, 20, 40, 80, 160, 320, 640, 1000], gaps);
        let quiet = now + QUIET;
        rhythm.committed(quiet, now + INTERVAL, COST);
        assert_eq!(FLOOR, rhythm.gap);
    }

    #[test]
    fn lone_lines_never_wait_long_however_they_fall() {
        // Each is written when the one before is visible and some time has passed.
        let mut now = Instant::now();
        let mut rhythm = Rhythm::new(INTERVAL);
        for line in 0..10_000_u64 {
            let after = QUIET + Duration::from_millis(line * 7919 % 250);
            let pending_since = now + after;
            let wait = rhythm.due_in(pending_since);
            assert_eq!(Duration::ZERO, wait, "line {line}, {after:?} after the one before");
            now = pending_since + wait;
            rhythm.committed(pending_since, now, COST);
        }
    }

    #[test]
    fn a_dear_commit_is_a_rare_one() {
        let now = Instant::now();
        let mut rhythm = Rhythm::new(INTERVAL);
        let dear = Cost { computing: Duration::from_millis(4), elapsed: Duration::from_millis(6) };
        rhythm.committed(now, now, dear);
        assert_eq!(Duration::from_millis(200), rhythm.gap);
        rhythm.committed(now, now, Cost { computing: INTERVAL, elapsed: INTERVAL });
        assert_eq!(INTERVAL, rhythm.gap);
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let waker = Waker::default();
        waker.wake(Look::AllFiles);
        waker.wake(Look::OpenFiles);
        let start = Instant::now();
        assert_eq!(Some(Look::AllFiles), waker.wait(Duration::from_secs(60)));
        assert!(start.elapsed() < Duration::from_secs(30));
        assert_eq!(None, waker.wait(Duration::ZERO));
    }
}
