//! When to look, and when to commit.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wakes the follower early. Being woken is never information: what there is to read is on disk.
#[derive(Clone, Debug, Default)]
pub struct Waker(Arc<(Mutex<bool>, Condvar)>);

impl Waker {
    /// Lets the follower look now. Any number of calls before it looks are one.
    pub fn wake(&self) {
        let (woken, condition) = &*self.0;
        let was_woken = std::mem::replace(&mut *woken.lock().unwrap_or_else(PoisonError::into_inner), true);
        // Each event of a busy log comes here; one that is not the first costs no system call.
        if !was_woken {
            condition.notify_one();
        }
    }

    /// Waits until somebody wakes or the time is over.
    pub(crate) fn wait(&self, at_most: Duration) {
        let (woken, condition) = &*self.0;
        let guard = woken.lock().unwrap_or_else(PoisonError::into_inner);
        let result = condition.wait_timeout_while(guard, at_most, |woken| !*woken);
        *result.unwrap_or_else(PoisonError::into_inner).0 = false;
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

/// The shortest time between two commits.
const SHORTEST: Duration = Duration::from_millis(25);

impl Rhythm {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, gap: SHORTEST.min(interval), last: None }
    }

    /// How long a commit of what is pending has to wait; zero means now.
    pub(crate) fn due_in(&self, now: Instant) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        (last + self.gap).saturating_duration_since(now)
    }

    /// Notes a commit. If it had to wait for the gap, lines keep coming and the gap doubles; if a whole gap
    /// had passed with nothing pending, it is short again.
    pub(crate) fn committed(&mut self, pending_since: Instant, now: Instant) {
        let had_quiet = self.last.is_none_or(|last| pending_since >= last + self.gap);
        let gap = if had_quiet { SHORTEST } else { self.gap * 2 };
        self.gap = gap.min(self.interval);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_line_after_a_quiet_time_is_committed_at_once() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(INTERVAL);
        assert_eq!(Duration::ZERO, rhythm.due_in(start));
        rhythm.committed(start, start);
        assert_eq!(SHORTEST, rhythm.due_in(start));
        let later = start + Duration::from_secs(60);
        assert_eq!(Duration::ZERO, rhythm.due_in(later));
    }

    #[test]
    fn the_gap_doubles_up_to_the_interval_while_lines_keep_coming() {
        let mut now = Instant::now();
        let mut rhythm = Rhythm::new(INTERVAL);
        rhythm.committed(now, now);
        let gaps: Vec<u128> = (0..8)
            .map(|_| {
                let (gap, pending_since) = (rhythm.gap, now);
                now += gap;
                rhythm.committed(pending_since, now);
                gap.as_millis()
            })
            .collect();
        assert_eq!(vec![25, 50, 100, 200, 400, 800, 1000, 1000], gaps);
        let quiet = now + INTERVAL;
        rhythm.committed(quiet, quiet);
        assert_eq!(SHORTEST, rhythm.gap);
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let waker = Waker::default();
        waker.wake();
        waker.wake();
        let start = Instant::now();
        waker.wait(Duration::from_secs(60));
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
