//! Standard input as a source: `server | inferometer run -`. A pipe has no offsets, so nothing of it is
//! read again after a crash.

use super::cut::{Cutter, Piece};
use super::pace::{Look, Waker};
use parsers::Format;
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
    format: Option<&'static Format>,
    /// The format as long as no line tells it.
    fallback: Option<&'static Format>,
    pub(crate) is_open: bool,
}

impl Stdin {
    /// Starts the reading thread.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub(crate) fn start(
        waker: Waker,
        line_max: usize,
        format: Option<&'static Format>,
        fallback: Option<&'static Format>,
    ) -> std::io::Result<Self> {
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
        Ok(Self { chunks, cutter: Cutter::new(line_max), format, fallback, is_open: true })
    }

    /// The format, once a line has told it.
    pub(crate) const fn format(&self) -> Option<&'static Format> {
        self.format
    }

    /// Hands out what has come; tells whether there was anything.
    pub(crate) fn read(&mut self, mut take: impl FnMut(Piece<'_>, &'static Format)) -> bool {
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

    fn take_chunk(&mut self, chunk: &[u8], take: &mut impl FnMut(Piece<'_>, &'static Format)) {
        let copy = |space: &mut [u8]| {
            space.copy_from_slice(chunk);
            Ok(chunk.len())
        };
        // Copying into memory cannot fail.
        drop(self.cutter.fill(chunk.len(), copy));
        // Only a whole line proves that it is another one than the usual, whatever a chunk holds.
        while let Some(format) = self.format.or(self.fallback) {
            let piece = self.cutter.next(format);
            match piece {
                Piece::End => break,
                Piece::Record(line) if self.format.is_none() => self.format = parsers::detect(line),
                _ => {}
            }
            take(piece, self.format.unwrap_or(format));
        }
    }

    fn end(&mut self, take: &mut impl FnMut(Piece<'_>, &'static Format)) {
        let Some(format) = self.format.or(self.fallback) else { return };
        while let Some(line) = self.cutter.next_line() {
            take(Piece::Record(line), format);
        }
        if self.is_open && self.cutter.take_torn() {
            take(Piece::End, format);
        }
        self.is_open = false;
    }
}
