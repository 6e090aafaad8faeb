//! Which connections there are, what each of them is doing, and which one makes room for another.
//!
//! A connection costs memory and a descriptor, so there are at most [`CONNECTIONS`]. One that has not sent its
//! headers is worth least: whoever opens many of them only pushes out his own, and a scrape always gets in.

use crate::instruments::Web;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Most connections at once.
const CONNECTIONS: usize = 256;

/// Most bytes of answers that wait to be read by their clients. For another one the slowest of them goes.
const UNREAD: usize = 32 * 1024 * 1024;

/// How long an answer may wait to be read before it goes for the sake of another one.
const UNHURRIED: Duration = Duration::from_secs(1);

/// How long an answer has been under way when it may be cut off for another connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Table {
    rows: Mutex<Rows>,
    instruments: Web,
    /// Told when the last connection has gone.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Rows {
    next: u64,
    /// By number, so the oldest comes first.
    open: BTreeMap<u64, Row>,
    /// Sum over all rows.
    unread: usize,
    is_closing: bool,
}

#[derive(Debug)]
struct Row {
    phase: Phase,
    /// When the phase began; for an answer, when it was asked for.
    since: Instant,
    /// Bytes of answers that the client has not taken yet.
    unread: usize,
    /// Told when the connection has to end now.
    end: Arc<Notify>,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is new, or a request has begun: headers are waited for.
    Head,
    /// The last answer is out, and the next request has not begun.
    Idle,
    /// A request is being answered.
    Answer,
    /// The answer is made, and on its way out.
    Sent,
}

/// Why a connection was ended; the label `reason` of `inferometer_closed_connections_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Others needed the room.
    Room,
    /// Headers or the handshake were not complete in time.
    Headers,
    /// No request came for a long time.
    Idle,
    /// The client did not read its answer.
    Stalled,
    /// The TLS handshake failed.
    Handshake,
}

impl Reason {
    /// The value of the label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Headers => "headers",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Handshake => "handshake",
        }
    }
}

impl Table {
    pub(super) fn new(instruments: Web) -> Arc<Self> {
        Arc::new(Self { rows: Mutex::default(), instruments, emptied: Notify::new() })
    }

    /// Enters a new connection, if need be in the place of another one; none where nobody can make room.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Option<Connection> {
        let mut rows = self.rows();
        if rows.is_closing || (rows.open.len() >= CONNECTIONS && !self.make_room_in(&mut rows, now)) {
            return None;
        }
        let number = rows.next;
        rows.next += 1;
        let end = Arc::new(Notify::new());
        let row = Row { phase: Phase::Head, since: now, unread: 0, end: end.clone() };
        rows.open.insert(number, row);
        self.count(&rows);
        Some(Connection { table: self.clone(), number, end })
    }

    /// Ends the connection that is worth least. Tells whether there was one.
    pub(super) fn make_room(&self, now: Instant) -> bool {
        self.make_room_in(&mut self.rows(), now)
    }

    fn make_room_in(&self, rows: &mut Rows, now: Instant) -> bool {
        let waits = |row: &Row| matches!(row.phase, Phase::Head | Phase::Idle);
        // Those who read too slowly come next: they too could fill the table.
        let takes_long = |row: &Row| now.duration_since(row.since) >= PATIENCE;
        self.end_oldest(rows, waits) || self.end_oldest(rows, takes_long)
    }

    /// Ends the oldest of these. Tells whether there was one.
    fn end_oldest(&self, rows: &mut Rows, is_one: impl Fn(&Row) -> bool) -> bool {
        let wanted = rows.open.iter().filter(|(_, row)| is_one(row));
        let Some(number) = wanted.min_by_key(|(_, row)| row.since).map(|(number, _)| *number) else {
            return false;
        };
        remove(rows, number, true);
        self.instruments.closed(Reason::Room.label());
        true
    }

    /// Ends every connection that waits for a request; those that are being answered end after it.
    pub(super) fn close(&self) {
        let mut rows = self.rows();
        rows.is_closing = true;
        for row in rows.open.values() {
            if matches!(row.phase, Phase::Head | Phase::Idle) {
                row.end.notify_one();
            }
        }
    }

    /// Waits until no connection is left.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.rows().open.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Ends those who leave too much unread for too long. Tells whether there is memory for another answer then.
    pub(super) fn has_memory(&self, now: Instant) -> bool {
        let mut rows = self.rows();
        let is_slow = |row: &Row| row.unread > 0 && now.duration_since(row.since) >= UNHURRIED;
        while rows.unread > UNREAD {
            if !self.end_oldest(&mut rows, is_slow) {
                return false;
            }
        }
        true
    }

    fn count(&self, rows: &Rows) {
        self.instruments.connections.set(i64::try_from(rows.open.len()).unwrap_or(i64::MAX));
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // Nothing below can panic between two changes that belong together.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(rows: &mut Rows, number: u64, is_early: bool) {
    if let Some(row) = rows.open.remove(&number) {
        rows.unread -= row.unread;
        if is_early {
            row.end.notify_one();
        }
    }
}

/// A connection's place in the table, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    table: Arc<Table>,
    number: u64,
    end: Arc<Notify>,
}

impl Connection {
    /// Waits until it has to end for the sake of others.
    pub(super) async fn must_end(&self) {
        self.end.notified().await;
    }

    /// What it is doing, and since when.
    pub(super) fn phase(&self) -> Option<(Phase, Instant)> {
        self.table.rows().open.get(&self.number).map(|row| (row.phase, row.since))
    }

    /// Bytes have come: where nothing was under way, a request begins.
    pub(super) fn heard(&self) {
        self.change(|row| {
            if row.phase == Phase::Idle {
                (row.phase, row.since) = (Phase::Head, Instant::now());
            }
        });
    }

    /// The handshake is done; headers have their own time.
    pub(super) fn is_secured(&self) {
        self.change(|row| row.since = Instant::now());
    }

    /// A request's headers are complete.
    pub(super) fn asked(&self) {
        self.change(|row| (row.phase, row.since) = (Phase::Answer, Instant::now()));
    }

    /// An answer of this length is made.
    pub(super) fn answers(&self, length: usize) {
        let mut rows = self.table.rows();
        if let Some(row) = rows.open.get_mut(&self.number) {
            row.unread += length;
            rows.unread += length;
        }
    }

    /// The whole answer has been taken over for sending.
    pub(super) fn sent(&self) {
        self.change(|row| {
            if row.phase == Phase::Answer {
                row.phase = Phase::Sent;
            }
        });
    }

    /// All bytes are out.
    pub(super) fn flushed(&self) {
        let mut rows = self.table.rows();
        let is_closing = rows.is_closing;
        let Some(row) = rows.open.get_mut(&self.number).filter(|row| row.phase == Phase::Sent) else {
            return;
        };
        (row.phase, row.since) = (Phase::Idle, Instant::now());
        let read = std::mem::take(&mut row.unread);
        if is_closing {
            row.end.notify_one();
        }
        rows.unread -= read;
    }

    /// Notes why it is ended.
    pub(super) fn closed(&self, reason: Reason) {
        self.table.instruments.closed(reason.label());
    }

    fn change(&self, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.table.rows().open.get_mut(&self.number) {
            change(row);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut rows = self.table.rows();
        remove(&mut rows, self.number, false);
        self.table.count(&rows);
        if rows.open.is_empty() {
            self.table.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruments::Instruments;

    fn table() -> Arc<Table> {
        Table::new(Instruments::new().unwrap().web)
    }

    fn full(table: &Arc<Table>, start: Instant) -> Vec<Connection> {
        let at = |step: usize| start + Duration::from_millis(step as u64);
        (0..CONNECTIONS).map(|step| table.enter(at(step)).unwrap()).collect()
    }

    fn numbers(table: &Table) -> Vec<u64> {
        table.rows().open.keys().copied().collect()
    }

    #[test]
    fn the_oldest_that_has_not_sent_its_headers_makes_room() {
        let (table, start) = (table(), Instant::now());
        let connections = full(&table, start);
        connections[0].asked();
        let late = start + Duration::from_secs(1);
        let newest = table.enter(late).unwrap();
        assert!(!numbers(&table).contains(&1) && numbers(&table).contains(&0));
        assert_eq!(CONNECTIONS, numbers(&table).len());
        drop(newest);
        assert_eq!(CONNECTIONS - 1, numbers(&table).len());
    }

    #[test]
    fn who_is_being_answered_is_left_alone_unless_it_takes_long() {
        let (table, start) = (table(), Instant::now());
        let connections = full(&table, start);
        connections.iter().for_each(Connection::asked);
        assert!(table.enter(Instant::now()).is_none());
        assert!(table.enter(Instant::now() + PATIENCE).is_some());
        assert!(!numbers(&table).contains(&0), "the one that was asked first");
    }

    #[test]
    fn unread_answers_are_counted_until_they_are_out() {
        let (table, start) = (table(), Instant::now());
        let (one, other) = (table.enter(start).unwrap(), table.enter(start).unwrap());
        for connection in [&one, &other] {
            connection.asked();
            connection.answers(UNREAD / 2 + 1);
        }
        let now = Instant::now();
        assert!(!table.has_memory(now));
        one.flushed();
        assert!(!table.has_memory(now), "it is not even sent");
        one.sent();
        one.flushed();
        assert!(table.has_memory(now));
        assert_eq!(Some(Phase::Idle), one.phase().map(|(phase, _)| phase));
        drop(other);
        assert_eq!(0, table.rows().unread);
    }

    #[test]
    fn who_leaves_much_unread_for_long_goes_for_the_sake_of_others() {
        let table = table();
        let connections = full(&table, Instant::now());
        for connection in &connections[..4] {
            connection.asked();
            connection.answers(UNREAD / 3);
        }
        assert!(!table.has_memory(Instant::now()));
        assert!(table.has_memory(Instant::now() + UNHURRIED));
        assert_eq!(CONNECTIONS - 1, numbers(&table).len(), "one is enough");
    }
}
