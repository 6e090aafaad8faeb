//! A stream that ends when its other side takes too long: to say what it wants, or to read what it gets.

use super::table::{Connection, Phase, Reason};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the headers of a request may take, from their first byte or from the opening of the connection.
/// A TLS handshake has the same time of its own.
pub(super) const HEADERS: Duration = Duration::from_secs(5);

/// How long no byte of an answer may be taken.
const STALL: Duration = Duration::from_secs(10);

/// How long a connection may be kept without a request. Scrapes come more often, and when there are many
/// connections this one makes room anyway.
const IDLE: Duration = Duration::from_secs(300);

/// A stream with deadlines.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    connection: Arc<Connection>,
    reading: Timer,
    writing: Timer,
    /// Since when it takes no byte.
    stalled: Option<Instant>,
}

/// A timer that is made when it is first needed.
#[derive(Debug, Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Whether the deadline has passed; if not, the task is woken when it has.
    fn is_over(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context).is_ready()
    }
}

impl<S> Guarded<S> {
    pub(super) const fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, reading: Timer(None), writing: Timer(None), stalled: None }
    }

    /// Nothing came: is it time?
    fn must_have_come(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whose row has gone is ended by its task.
        let Some((phase, since)) = self.connection.phase() else { return Poll::Pending };
        let (limit, reason) = match phase {
            Phase::Head => (HEADERS, Reason::Headers),
            Phase::Idle => (IDLE, Reason::Idle),
            Phase::Answer | Phase::Sent => return Poll::Pending,
        };
        if self.reading.is_over(since + limit, context) {
            self.connection.closed(reason);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Passes on how a write went, unless it has waited for too long.
    fn written<T>(&mut self, result: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        if self.writing.is_over(since + STALL, context) {
            self.connection.closed(Reason::Stalled);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(context, buffer);
        if result.is_pending() {
            return this.must_have_come(context);
        }
        if buffer.filled().len() > before {
            this.connection.heard();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(result, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.written(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when everything before has been written, so an answer that is sent is out when this is done.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(context);
        if matches!(result, Poll::Ready(Ok(()))) {
            this.connection.flushed();
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
