//! The collectors' threads: measure, publish, wait for the next turn.

use super::{COLLECTORS, Collector, Context, Entry, Post, Reading, Readings, Settings, Trouble};
use crate::metric::FamilyView;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Running collectors. Dropping it asks their threads to end and waits for none: one may hang in a driver.
#[derive(Debug, Default)]
pub struct Collection {
    /// A thread sees its end when the sender is gone.
    until_dropped: Vec<Sender<()>>,
}

impl Collection {
    /// Starts the collectors of the table that are on, each with its post in `readings`.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(context: &Context, readings: &Readings) -> io::Result<Self> {
        let mut collection = Self::default();
        for entry in enabled(&context.settings) {
            let Some(post) = readings.post(entry.name) else { continue };
            let context = context.clone();
            collection.add(post, move || (entry.open)(&context))?;
        }
        Ok(collection)
    }

    /// Starts one collector. `open` makes it on its own thread, and makes another one after a panic.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn add(
        &mut self,
        post: Arc<Post>,
        open: impl Fn() -> Box<dyn Collector> + Send + 'static,
    ) -> io::Result<()> {
        let (sender, stop) = mpsc::channel();
        // The kernel cuts a thread's name after 15 bytes; ours are shorter.
        let name = format!("collect-{}", post.collector);
        thread::Builder::new().name(name).spawn(move || measure_until(&stop, &post, open))?;
        self.until_dropped.push(sender);
        Ok(())
    }
}

/// The collectors of the table that are on, in its order.
fn enabled(settings: &Settings) -> impl Iterator<Item = &'static Entry> {
    COLLECTORS.iter().filter(|entry| settings.enabled.contains(&entry.name))
}

impl Readings {
    /// Empty readings of the collectors that are on.
    pub fn enabled(settings: &Settings) -> Self {
        Self::of(enabled(settings), settings.interval)
    }
}

/// Measures until the other end of `stop` is gone.
fn measure_until(stop: &Receiver<()>, post: &Post, open: impl Fn() -> Box<dyn Collector>) {
    let mut collector = None;
    loop {
        let start = Instant::now();
        let result = measure(&mut collector, &open);
        let before = post.cell.get();
        let mut after = before.next(start, result);
        after.hints = collector.as_ref().map(|collector| collector.hints()).unwrap_or_default();
        say(post.collector, &before, &after);
        post.cell.put(after);
        if stop.recv_timeout(pause(post.interval, start.elapsed())) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// One measurement. A panic is a failure like others, and the collector that was left half done is made anew.
fn measure(
    collector: &mut Option<Box<dyn Collector>>,
    open: &impl Fn() -> Box<dyn Collector>,
) -> Result<Vec<FamilyView>, Trouble> {
    let attempt = catch_unwind(AssertUnwindSafe(|| collector.get_or_insert_with(open).read()));
    attempt.unwrap_or_else(|_| {
        *collector = None;
        Err(Trouble::Failed("it panicked; that is a mistake in inferometer".to_owned()))
    })
}

/// Turns begin every interval. A measurement that takes longer than half of it gets as much rest as it took, so
/// that no collector ever uses more than half a core.
fn pause(interval: Duration, took: Duration) -> Duration {
    interval.saturating_sub(took).max(took)
}

/// Tells people when something has changed.
fn say(collector: &str, before: &Reading, after: &Reading) {
    let trouble = |reading: &Reading| reading.outcome.as_ref().and_then(|outcome| outcome.trouble.clone());
    match (trouble(before), trouble(after)) {
        (was, Some(is)) if was.as_ref() == Some(&is) => {}
        (_, Some(Trouble::Failed(text))) => {
            tracing::warn!(collector, reason = text, "cannot measure");
        }
        (_, Some(Trouble::Absent(text))) => {
            tracing::info!(collector, reason = text, "nothing to measure");
        }
        (Some(_), None) => tracing::info!(collector, "measures again"),
        (None, None) => {}
    }
}
