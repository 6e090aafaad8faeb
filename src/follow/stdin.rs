//! Standard input as a source: `server | inferometer run -`. A pipe has no offsets, so nothing of it is
//! read again after a crash.

use super::cut::{Cutter, Piece};
use super::pace::{Look, Waker};
use super::told::{SEARCHED_MAX, Told};
use parsers::{Dialect, Pending};
use std::io::Read;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// Chunks between the reading thread and the follower; a full queue stops the reading, and so the writer
/// waits as it would for any slow reader.
const QUEUE: usize = 16;
const CHUNK: usize = 64 * 1024;

/// Standard input, read by a thread of its own since a read from a pipe blocks.
#[derive(Debug)]
pub(crate) struct Stdin {
    chunks: Receiver<Vec<u8>>,
    cutter: Cutter,
    /// What it holds.
    pub(crate) told: Told,
    /// How many bytes have been heard by it.
    searched: u64,
    pending: Pending,
    pub(crate) is_open: bool,
}

impl Stdin {
    /// Starts the reading thread.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub(crate) fn start(waker: Waker, line_max: usize, told: Told) -> std::io::Result<Self> {
        let (sender, chunks) = sync_channel(QUEUE);
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut stdin = std::io::stdin().lock();
            let mut chunk = vec![0; CHUNK];
            while let Ok(read) = stdin.read(&mut chunk) {
                let bytes = chunk.get(..read).unwrap_or_default().to_vec();
                if read == 0 || sender.send(bytes).is_err() {
                    break;
                }
                waker.wake(Look::OpenFiles);
            }
            drop(sender);
            waker.wake(Look::OpenFiles);
        })?;
        let (cutter, pending) = (Cutter::new(line_max), Pending::default());
        Ok(Self { chunks, cutter, told, searched: 0, pending, is_open: true })
    }

    /// Hands out what has come; tells whether there was anything.
    pub(crate) fn read(&mut self, mut take: impl FnMut(Piece<'_>, Dialect, &mut Pending)) -> bool {
        let mut any = false;
        for _ in 0..QUEUE {
            match self.chunks.try_recv() {
                Ok(chunk) => {
                    any = true;
                    self.take_chunk(&chunk, &mut take);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    any |= self.is_open;
                    self.end(&mut take);
                    break;
                }
            }
        }
        any
    }

    fn take_chunk(&mut self, chunk: &[u8], take: &mut impl FnMut(Piece<'_>, Dialect, &mut Pending)) {
        let copy = |space: &mut [u8]| {
            space.copy_from_slice(chunk);
            Ok(chunk.len())
        };
        // Copying into memory cannot fail.
        drop(self.cutter.fill(chunk.len(), copy));
        // Only a whole line tells what it is, whatever a chunk holds.
        while let Some(dialect) = self.told.or_assumed() {
            let piece = self.cutter.next(dialect);
            match piece {
                Piece::End => break,
                Piece::Record(line) if !self.told.is_sure() && self.searched < SEARCHED_MAX => {
                    self.searched += line.len() as u64;
                    self.told.hear(line);
                }
                _ => {}
            }
            take(piece, self.told.or_assumed().unwrap_or(dialect), &mut self.pending);
        }
    }

    fn end(&mut self, take: &mut impl FnMut(Piece<'_>, Dialect, &mut Pending)) {
        let Some(dialect) = self.told.or_assumed() else { return };
        while let Some(line) = self.cutter.next_line() {
            take(Piece::Record(line), dialect, &mut self.pending);
        }
        take(Piece::End, dialect, &mut self.pending);
        if self.is_open && self.cutter.take_torn() {
            take(Piece::Torn, dialect, &mut self.pending);
        }
        self.is_open = false;
    }
}
