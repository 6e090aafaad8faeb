//! `inferometer tee`: what a server writes goes on to where it went, and to a bounded file for a follower.
//!
//! ```text
//!  server ──pipe──▶ copy, a thread for each output ──▶ our own output
//!                        │ whole lines, never waiting
//!                        ▼
//!                      Queue ──▶ thread "tee-file" ──▶ FILE, FILE.1, FILE.2, …
//! ```
//!
//! The server comes first: it only ever waits for whoever reads its output, as it would without us. The file gets
//! whole lines or none, so that a follower never reads half a number; what a slow or full disk cannot take is left
//! out, and said with its count.

mod child;
mod copy;
mod file;
mod queue;

use crate::config::TeeFlags;
use crate::exit::End;
use child::Child;
use copy::Copier;
use file::Rotated;
use queue::Queue;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// How long a server's outputs may stay open after its end: processes that it left behind may hold them.
const DRAIN: Duration = Duration::from_secs(5);

/// How long the file may take at the end, and what is said of it.
const FLUSH: Duration = Duration::from_secs(2);

/// Signals that a server may be waiting for.
const PASSED_ON: [SignalKind; 6] = [
    SignalKind::terminate(),
    SignalKind::interrupt(),
    SignalKind::hangup(),
    SignalKind::quit(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
];

/// Copies until the server ends.
///
/// # Errors
///
/// When the system gives no thread or no pipe.
pub(crate) fn run(flags: &TeeFlags) -> io::Result<End> {
    let queue = Arc::new(Queue::default());
    let file = Rotated::new(flags.file.clone(), flags.max_bytes, flags.keep);
    let written = start_writer(file, queue.clone())?;
    let reported = start_reporter(flags.file.clone(), queue.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        // A limit on the size of files is a full disk like any other, and not the server's end.
        let _heard = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        match flags.command.split_first() {
            None => pipe(&queue).await,
            Some((program, arguments)) => serve(program, arguments, &queue).await,
        }
    });
    queue.end();
    // A disk that hangs does not keep the server's exit code from being passed on.
    let _it_is_over: Result<(), _> = written.recv_timeout(FLUSH);
    queue.give_up();
    // Nor does a standard error that nobody reads.
    let _it_is_over: Result<(), _> = reported.recv_timeout(FLUSH);
    end
}

/// The thread that writes the file; what it sends, or that it is gone, means that all is written.
fn start_writer(mut file: Rotated, queue: Arc<Queue>) -> io::Result<std::sync::mpsc::Receiver<()>> {
    let (done, written) = std::sync::mpsc::channel();
    thread::Builder::new().name("tee-file".to_owned()).spawn(move || {
        while let Some(lines) = queue.next() {
            file.write(&lines, |left_out, error| queue.leave_out(left_out, &error.to_string()));
        }
        drop(done);
    })?;
    Ok(written)
}

/// The thread that says what the file has not got; that its sender is gone means that all is said.
fn start_reporter(file: PathBuf, queue: Arc<Queue>) -> io::Result<std::sync::mpsc::Receiver<()>> {
    let (done, reported) = std::sync::mpsc::channel();
    thread::Builder::new().name("tee-report".to_owned()).spawn(move || {
        queue.report(&file);
        drop(done);
    })?;
    Ok(reported)
}

/// Standard input to standard output. A signal is most often meant for the whole pipe, and the server has something
/// to say when it ends: the first one is waited out, the second one is obeyed.
async fn pipe(queue: &Arc<Queue>) -> io::Result<End> {
    let mut signals = Signals::new()?;
    let (done, mut copied) = mpsc::unbounded_channel();
    let copier = Copier::new(queue.clone());
    thread::Builder::new().name("tee-copy".to_owned()).spawn(move || {
        let rest = copier.copy(io::stdin().lock(), io::stdout().lock());
        // Nobody waits any more after a second signal.
        let _nobody_waits: Result<(), _> = done.send(rest);
    })?;
    let mut is_warned = false;
    loop {
        tokio::select! {
            rest = copied.recv() => {
                queue.push_rest(rest.unwrap_or_default());
                return Ok(End::AsAsked);
            }
            number = signals.next() => {
                if std::mem::replace(&mut is_warned, true) {
                    return Ok(End::Code(killed_by(number)));
                }
            }
        }
    }
}

/// A server as our child: signals go to it, its exit code comes back.
async fn serve(
    program: &std::ffi::OsStr,
    arguments: &[std::ffi::OsString],
    queue: &Arc<Queue>,
) -> io::Result<End> {
    // Before the child is there, so that no signal is missed.
    let mut signals = Signals::new()?;
    let (mut child, stdout, stderr) = match Child::start(program, arguments) {
        Ok(started) => started,
        Err(error) => {
            queue::say(&format!("cannot start {}: {error}", program.display()));
            let is_absent = error.kind() == io::ErrorKind::NotFound;
            return Ok(End::Code(if is_absent { NOT_FOUND } else { NOT_EXECUTABLE }));
        }
    };
    let (done, mut copied) = mpsc::unbounded_channel();
    let copiers = [Copier::new(queue.clone()), Copier::new(queue.clone())];
    let [for_stdout, for_stderr] = copiers;
    let sender = done.clone();
    thread::Builder::new().name("tee-stdout".to_owned()).spawn(move || {
        let _nobody_waits: Result<(), _> = sender.send(for_stdout.copy(stdout, io::stdout().lock()));
    })?;
    thread::Builder::new().name("tee-stderr".to_owned()).spawn(move || {
        let _nobody_waits: Result<(), _> = done.send(for_stderr.copy(stderr, io::stderr()));
    })?;
    let code = loop {
        tokio::select! {
            code = child.ended() => break code,
            number = signals.next() => child.pass_on(number),
        }
    };
    let drain = async {
        // The file may end with a line without its end, as the server's own output does; there is room for one.
        let mut last = Vec::new();
        while let Some(rest) = copied.recv().await {
            if !rest.is_empty() {
                let other = std::mem::replace(&mut last, rest);
                queue.leave_out_rest(&other);
            }
        }
        last
    };
    if let Ok(rest) = tokio::time::timeout(DRAIN, drain).await {
        queue.push_rest(rest);
    }
    Ok(End::Code(code))
}

/// What a shell says of a command that is not there, or is none.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// The exit code that stands for the end by a signal.
fn killed_by(signal: i32) -> u8 {
    u8::try_from(signal).unwrap_or(u8::MAX).saturating_add(128)
}

/// The signals that are not obeyed but passed on.
struct Signals(Vec<(i32, Signal)>);

impl Signals {
    fn new() -> io::Result<Self> {
        let ignored = ignored();
        let heard = PASSED_ON.iter().filter(|kind| ignored >> (kind.as_raw_value() - 1) & 1 == 0);
        heard.map(|kind| Ok((kind.as_raw_value(), signal(*kind)?))).collect::<io::Result<_>>().map(Self)
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            // Each one that is not ready has heard of us then.
            let mut signals = self.0.iter_mut();
            let came =
                signals.find_map(|(number, signal)| signal.poll_recv(context).is_ready().then_some(*number));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The signals that we were told to ignore, the first one in the lowest bit. A server is told the same through us:
/// behind `nohup` it outlives its terminal, and would not if we listened, since a new program ignores only what
/// was ignored before.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
