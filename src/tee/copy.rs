//! One output of the server, on to ours, and its whole lines to the queue.

use super::queue::Queue;
use memchr::memrchr;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const CHUNK: usize = 64 * 1024;

/// The longest line that the file gets.
const LINE_MAX: usize = 1024 * 1024;

/// How long an end that was made non-blocking is left alone: whoever shares it can do that to us at any time.
const PAUSE: Duration = Duration::from_millis(5);

/// Copies one output.
pub(super) struct Copier {
    queue: Arc<Queue>,
    /// The line that has no end yet.
    rest: Vec<u8>,
    /// Whether the present line is too long, and its rest is left out with it.
    is_too_long: bool,
}

impl Copier {
    pub(super) const fn new(queue: Arc<Queue>) -> Self {
        Self { queue, rest: Vec::new(), is_too_long: false }
    }

    /// Copies to the input's end; the result is a last line without its end. When nobody reads our output any more,
    /// the file still gets what is written: the server is not to end because of that.
    pub(super) fn copy(mut self, mut input: impl Read, mut output: impl Write) -> Vec<u8> {
        let mut chunk = vec![0; CHUNK];
        let mut has_reader = true;
        loop {
            let read = match input.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if may_go_on(&error) => continue,
                Err(_) => break,
            };
            let bytes = chunk.get(..read).unwrap_or_default();
            // First to the queue, which never waits.
            self.take(bytes);
            has_reader = has_reader && pass(&mut output, bytes).is_ok();
        }
        self.rest
    }

    fn take(&mut self, bytes: &[u8]) {
        let Some(end) = memrchr(b'\n', bytes) else { return self.keep(bytes) };
        let (lines, rest) = bytes.split_at(end + 1);
        let mut whole = std::mem::take(&mut self.rest);
        if std::mem::take(&mut self.is_too_long) {
            let begin = memchr::memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
            whole.extend_from_slice(lines.get(begin..).unwrap_or_default());
        } else {
            whole.extend_from_slice(lines);
        }
        if !whole.is_empty() {
            self.queue.push(whole);
        }
        self.keep(rest);
    }

    /// Keeps the front of a line.
    fn keep(&mut self, front: &[u8]) {
        if self.is_too_long {
            return;
        }
        self.rest.extend_from_slice(front);
        if self.rest.len() > LINE_MAX {
            self.is_too_long = true;
            self.queue.leave_out(&[&*self.rest, b"\n"].concat(), "the line is longer than 1 MiB");
            self.rest = Vec::new();
        }
    }
}

fn pass(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if may_go_on(&error) => {}
            Err(error) => return Err(error),
        }
    }
    loop {
        match output.flush() {
            Err(error) if may_go_on(&error) => {}
            result => return result,
        }
    }
}

/// Whether the same may be tried again, which is after a while where the other end is not ready.
fn may_go_on(error: &io::Error) -> bool {
    if error.kind() == ErrorKind::WouldBlock {
        thread::sleep(PAUSE); // allow-sleep: nothing else is to be done
    }
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each read gives one of the pieces.
    struct Pieces(Vec<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            space[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn drained(queue: &Queue) -> Vec<String> {
        queue.end();
        std::iter::from_fn(|| queue.next()).map(|lines| String::from_utf8(lines).unwrap()).collect()
    }

    #[test]
    fn the_queue_gets_whole_lines_whatever_the_output_does() {
        let queue = Arc::new(Queue::default());
        let pieces = Pieces(vec![b"one\ntw", b"o", b"\n", b"three\nfour\nfi"]);
        assert_eq!(b"fi".to_vec(), Copier::new(queue.clone()).copy(pieces, Closed));
        assert_eq!(vec!["one\n", "two\n", "three\nfour\n"], drained(&queue));
    }

    #[test]
    fn an_endless_line_is_left_out_and_not_kept() {
        let queue = Arc::new(Queue::default());
        let mut input = vec![b'x'; 3 * LINE_MAX];
        input.extend_from_slice(b"\nnext\n");
        let mut output = Vec::new();
        assert_eq!(Vec::<u8>::new(), Copier::new(queue.clone()).copy(&*input, &mut output));
        assert_eq!(input, output);
        assert_eq!(vec!["next\n"], drained(&queue));
        assert_eq!(1, queue.left_out().lines);
    }
}
