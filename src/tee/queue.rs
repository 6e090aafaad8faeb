//! Lines on their way to the file: as many as memory is meant to hold, the others are left out and counted.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most bytes that wait for the disk.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// How often it is said that lines are left out.
const REPEAT: Duration = Duration::from_secs(10);

/// Lines that wait for the file, and what became of the others.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
    left_out: LeftOut,
    /// Nothing more comes.
    is_ended: bool,
    /// Nobody waits for the disk any more.
    is_given_up: bool,
}

/// What the file has not got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) lines: usize,
    bytes: usize,
    /// Why the newest ones were left out.
    reason: String,
}

impl Queue {
    /// Adds whole lines, unless too many wait already. Never waits for the disk.
    pub(super) fn push(&self, lines: Vec<u8>) {
        let mut state = self.state();
        if state.bytes + lines.len() > BYTES_MAX {
            state.leave_out(&lines, "the disk is too slow");
        } else {
            state.bytes += lines.len();
            state.chunks.push_back(lines);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Adds a last line without its end, if there is one.
    pub(super) fn push_rest(&self, rest: Vec<u8>) {
        if !rest.is_empty() {
            self.push(rest);
        }
    }

    /// Counts a last line without its end that is not the file's last one.
    pub(super) fn leave_out_rest(&self, rest: &[u8]) {
        if !rest.is_empty() {
            self.leave_out(rest, "both outputs end within a line");
        }
    }

    /// Counts lines that the file does not get.
    pub(super) fn leave_out(&self, lines: &[u8], reason: &str) {
        self.state().leave_out(lines, reason);
        self.changed.notify_all();
    }

    /// What was left out so far.
    #[cfg(test)]
    pub(super) fn left_out(&self) -> LeftOut {
        self.state().left_out.clone()
    }

    /// The next lines; waits for them. `None` at the end.
    pub(super) fn next(&self) -> Option<Vec<u8>> {
        let waits = |state: &mut State| state.chunks.is_empty() && !state.is_ended;
        let mut state = self.changed.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner);
        let lines = state.chunks.pop_front()?;
        state.bytes -= lines.len();
        Some(lines)
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.state().is_ended = true;
        self.changed.notify_all();
    }

    /// What still waits is left out.
    pub(super) fn give_up(&self) {
        let mut state = self.state();
        while let Some(lines) = state.chunks.pop_front() {
            state.leave_out(&lines, "the disk is too slow");
        }
        state.is_given_up = true;
        drop(state);
        self.changed.notify_all();
    }

    /// Says what is left out, at once and then now and again, until all is over.
    pub(super) fn report(&self, file: &Path) {
        let mut said = LeftOut::default();
        let mut state = self.state();
        loop {
            let is_quiet = |state: &mut State| state.left_out == said && !state.is_given_up;
            state = self.changed.wait_while(state, is_quiet).unwrap_or_else(PoisonError::into_inner);
            let is_over = state.is_given_up;
            if state.left_out != said {
                said = state.left_out.clone();
                drop(state);
                let LeftOut { lines, bytes, reason } = &said;
                let file = file.display();
                say(&format!("{file}: {lines} lines ({bytes} bytes) have been left out so far: {reason}"));
                state = self.state();
            }
            if is_over {
                return;
            }
            let waited = self.changed.wait_timeout_while(state, REPEAT, |state| !state.is_given_up);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leave_out(&mut self, lines: &[u8], reason: &str) {
        self.left_out.lines += memchr::memchr_iter(b'\n', lines).count().max(1);
        self.left_out.bytes += lines.len();
        if self.left_out.reason != reason {
            reason.clone_into(&mut self.left_out.reason);
        }
    }
}

/// Says something to people, in one write: the server's own lines go there, too.
pub(super) fn say(text: &str) {
    drop(std::io::stderr().write_all(format!("inferometer tee: {text}\n").as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted_and_never_waited_for() {
        let queue = Queue::default();
        let lines = [&[b'x'; 1023][..], b"\n"].concat().repeat(1024);
        (0..10).for_each(|_| queue.push(lines.clone()));
        assert_eq!((2048, "the disk is too slow"), (queue.left_out().lines, &*queue.left_out().reason));
        queue.next().unwrap();
        queue.push(lines);
        assert_eq!(2048, queue.left_out().lines);
        queue.end();
        assert_eq!(8, std::iter::from_fn(|| queue.next()).count());
    }
}
