//! `inferometer demo`: real TorchServe traffic, endlessly varied, written to a temporary folder at a live
//! pace and followed through the same code as any other log.
//!
//! The lines are those that TorchServe 0.12.0 wrote for a few requests (`fixtures/demo/`). Each pretended
//! request takes one of these episodes and gives it the time of the moment, a request id of its own, a
//! latency that drifts and now and then spikes, sometimes a batch, sometimes an error. The logs that grow are
//! rotated every minute or so.

mod traffic;

use crate::follow::{Settings, Start, WatchedPath};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use traffic::{Episode, Moment, Target};

/// A server that is not there: a thread that writes what one would have written.
#[derive(Debug)]
pub struct PretendedServer {
    folder: TempDir,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl PretendedServer {
    /// Starts writing to a new temporary folder, `rate` requests per second on average.
    ///
    /// # Errors
    ///
    /// When the folder or the thread cannot be made.
    pub fn start(rate: f64) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("inferometer-demo-").tempdir()?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut writer = Writer::open(folder.path())?;
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("demo".to_owned()).spawn(move || {
            let result = writer.run(rate, &stopped);
            if let Err(error) = &result {
                tracing::error!(%error, "the pretended server cannot write any more");
            }
            result
        })?;
        Ok(Self { folder, stop, thread })
    }

    /// Where the logs are written.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops writing and removes the folder.
    ///
    /// # Errors
    ///
    /// When writing had failed, or the folder cannot be removed.
    pub fn stop(self) -> io::Result<()> {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let written =
            self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the demo's writer has panicked")));
        self.folder.close()?;
        written
    }
}

/// How the demo's folder is followed.
pub fn settings(folder: &Path, line_max: usize, keep_lines: bool) -> Settings {
    let path = folder.to_owned();
    Settings {
        paths: vec![WatchedPath {
            path,
            format: None,
            labels: BTreeMap::new(),
            offset_minutes: 0,
            is_listed: false,
        }],
        allowed_roots: Vec::new(),
        allow_repeats: false,
        start: Start::Start,
        poll_interval: Duration::from_millis(250),
        commit_interval: Duration::from_secs(1),
        line_max,
        state_dir: None,
        keep_lines,
    }
}

/// Says where to look.
///
/// # Errors
///
/// When standard output is closed.
pub fn greet(
    folder: &Path,
    addresses: &[SocketAddr],
    is_secured: bool,
    telemetry_path: &str,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Some(address) = addresses.first() else { return Ok(()) };
    let host = if address.ip().is_unspecified() { "localhost".to_owned() } else { address.ip().to_string() };
    let host = if address.is_ipv6() && !address.ip().is_unspecified() { format!("[{host}]") } else { host };
    let scheme = if is_secured { "https" } else { "http" };
    let base = format!("{scheme}://{host}:{}", address.port());
    writeln!(
        out,
        "inferometer demo: a pretended TorchServe writes real log lines, varied, to a temporary folder"
    )?;
    writeln!(out, "  page     {base}/")?;
    writeln!(out, "  metrics  {base}{telemetry_path}")?;
    writeln!(out, "  logs     {}", folder.display())?;
    writeln!(
        out,
        "Try: histogram_quantile(0.95, sum by (le, model_name) (rate(ts_inference_latency_seconds_bucket[1m])))"
    )?;
    writeln!(out, "Stop with Ctrl-C.")?;
    out.flush()
}

/// How often TorchServe measures its host; its default is 60 seconds.
const SYSTEM_EVERY: Duration = Duration::from_secs(10);

/// How often the logs that requests write to are rotated.
const ROTATE_EVERY: Duration = Duration::from_secs(60);

/// How many archives of a log are kept.
const ARCHIVES: u32 = 3;

struct Writer {
    folder: PathBuf,
    files: BTreeMap<Target, File>,
    random: fastrand::Rng,
}

impl Writer {
    fn open(folder: &Path) -> io::Result<Self> {
        let mut writer =
            Self { folder: folder.to_owned(), files: BTreeMap::new(), random: fastrand::Rng::new() };
        for target in Target::ALL {
            writer.open_log(target)?;
        }
        Ok(writer)
    }

    fn open_log(&mut self, target: Target) -> io::Result<()> {
        let file = File::options().create(true).append(true).open(self.folder.join(target.file_name()))?;
        self.files.insert(target, file);
        Ok(())
    }

    fn run(&mut self, rate: f64, stop: &AtomicBool) -> io::Result<()> {
        let traffic = traffic::Traffic::bundled();
        let start = Instant::now();
        traffic.start.iter().try_for_each(|episode| self.write(episode, &Moment::quiet()))?;
        let (mut system_due, mut rotation_due) = (start, start + ROTATE_EVERY);
        while !stop.load(Ordering::Acquire) {
            let now = Instant::now();
            if now >= system_due {
                let moment = Moment::of_system(&mut self.random);
                self.write(&traffic.system, &moment)?;
                system_due += SYSTEM_EVERY;
            }
            if now >= rotation_due {
                self.rotate()?;
                rotation_due += ROTATE_EVERY;
            }
            let seconds = start.elapsed().as_secs_f64();
            if let Some(episode) = traffic.pick(&mut self.random, seconds) {
                let moment = Moment::of_request(&mut self.random, episode, seconds);
                self.write(episode, &moment)?;
            }
            // Requests arrive independently of each other, so the pauses between them are exponential.
            let wave = 1.0 + 0.5 * (seconds * std::f64::consts::TAU / 120.0).sin();
            let pause = -(1.0 - self.random.f64()).ln() / (rate * wave);
            thread::park_timeout(Duration::from_secs_f64(pause.min(5.0)));
        }
        Ok(())
    }

    fn write(&mut self, episode: &Episode, moment: &Moment) -> io::Result<()> {
        for (target, file) in &mut self.files {
            let text = moment.render(episode, *target);
            // One write per file and episode: lines are whole at any moment, as log4j2 leaves them.
            if !text.is_empty() {
                file.write_all(text.as_bytes())?;
            }
        }
        Ok(())
    }

    /// `ts_metrics.log` → `ts_metrics.log.1` → `.2` …, as log4j2 does it with `fileIndex="min"`.
    fn rotate(&mut self) -> io::Result<()> {
        for target in Target::OF_REQUESTS {
            let live = self.folder.join(target.file_name());
            let archive = |index: u32| self.folder.join(format!("{}.{index}", target.file_name()));
            for index in (1..ARCHIVES).rev() {
                match std::fs::rename(archive(index), archive(index + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            std::fs::rename(live, archive(1))?;
            self.open_log(target)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_requests_write_to_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path()).unwrap();
        let traffic = traffic::Traffic::bundled();
        let files = || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        for _ in 0..=ARCHIVES {
            for episode in traffic.requests() {
                writer.write(episode, &Moment::quiet()).unwrap();
            }
            writer.rotate().unwrap();
            let live = files().filter(|path| path.extension().is_some_and(|end| end == "log"));
            let grown: Vec<_> = live.filter(|path| path.metadata().unwrap().len() > 0).collect();
            assert_eq!(Vec::<PathBuf>::new(), grown);
        }
        assert_eq!(Target::ALL.len() + Target::OF_REQUESTS.len() * ARCHIVES as usize, files().count());
    }
}
