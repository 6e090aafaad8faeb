//! SIGHUP and `POST /-/reload`: the configuration is read again, and what can change does.

use super::web::{WebFile, accepted};
use super::{followed, workers};
use crate::collect::textfile::{self, TextFiles};
use crate::collect::worker::Rule;
use crate::collect::{self, Collection, Context, Readings};
use crate::config::{Command, Config, RunFlags, Stop};
use crate::expose::access::LiveAccess;
use crate::expose::server::{ReloadRequest, Slots};
use crate::follow::{Change, Settings, Waker};
use crate::instruments::Reload;
use crate::publish::Board;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long a reload waits for the follower: one that waits for its state folder takes it up later.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is measured beside the logs.
#[derive(Clone, PartialEq)]
pub(super) struct Measured {
    pub(super) collectors: collect::Settings,
    pub(super) textfiles: Option<textfile::Settings>,
}

impl Measured {
    /// Empty readings of all of it.
    pub(super) fn readings(&self) -> Readings {
        let readings = Readings::enabled(&self.collectors);
        match &self.textfiles {
            Some(_) => readings.with_foreign(textfile::NAME, self.collectors.interval),
            None => readings,
        }
    }
}

/// The threads that measure, and what they were told.
pub(super) struct Measuring {
    board: Arc<Board>,
    measured: Measured,
    rules: Arc<[Rule]>,
    /// Nothing waits for its threads: neither the first answer nor the end.
    _collection: Collection,
}

impl Measuring {
    pub(super) fn start(board: &Arc<Board>, measured: Measured, rules: &Arc<[Rule]>) -> io::Result<Self> {
        let context = Context::new(measured.collectors.clone(), workers::names(board.clone()));
        let context = Context { rules: rules.clone(), ..context };
        let mut _collection = Collection::start(&context, &board.readings)?;
        if let (Some(textfiles), Some(post)) =
            (measured.textfiles.clone(), board.readings.post(textfile::NAME))
        {
            _collection.add(post, move || Box::new(TextFiles::new(textfiles.clone())))?;
        }
        Ok(Self { board: board.clone(), measured, rules: rules.clone(), _collection })
    }

    /// Measures anew if anything has changed.
    fn change(&mut self, measured: Measured, rules: &Arc<[Rule]>) {
        let texts = |rules: &[Rule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
        if self.measured == measured && texts(&self.rules) == texts(rules) {
            return;
        }
        self.board.readings.replace(&measured.readings());
        match Self::start(&self.board, measured, rules) {
            Ok(measuring) => *self = measuring,
            Err(error) => tracing::error!(%error, "cannot measure"),
        }
    }
}

/// Reads the configuration again, whenever it is asked to.
pub(super) struct Reloader {
    pub(super) arguments: Vec<OsString>,
    /// What cannot change, as it was at the start.
    pub(super) fixed: Vec<(&'static str, String)>,
    pub(super) waker: Waker,
    pub(super) access: Arc<LiveAccess>,
    pub(super) web_file: Option<Arc<WebFile>>,
    pub(super) slots: Arc<Slots>,
    pub(super) measuring: Measuring,
    pub(super) instruments: Reload,
}

impl Reloader {
    /// Waits for signals and requests, for ever.
    pub(super) async fn run(mut self, mut hangup: Signal, mut requests: mpsc::Receiver<ReloadRequest>) {
        loop {
            tokio::select! {
                Some(()) = hangup.recv() => {
                    self.reload().await;
                }
                Some(request) = requests.recv() => {
                    let is_good = self.reload().await;
                    // Who asked may have gone.
                    let _nobody_waits: Result<(), bool> = request.send(is_good);
                }
                else => return,
            }
        }
    }

    async fn reload(&mut self) -> bool {
        let arguments = self.arguments.clone();
        // Files may lie on a disk that hangs.
        let read = tokio::task::spawn_blocking(move || read(arguments)).await;
        let result = read.unwrap_or_else(|error| Err(error.to_string()));
        let is_good = result.is_ok();
        match result {
            Ok((config, settings, textfiles)) => self.apply(config, settings, textfiles).await,
            Err(reason) => {
                let reason = reason.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
                tracing::error!(reason, "configuration not read again; the one before stays in force");
            }
        }
        self.instruments.ended(is_good);
        is_good
    }

    async fn apply(&mut self, config: Config, settings: Settings, textfiles: Option<textfile::Settings>) {
        let Config { command: Command::Run(flags), rules, web, processes, .. } = config else { return };
        for ((name, was), (_, is)) in self.fixed.iter().zip(fixed(&flags)) {
            if *was != is {
                tracing::warn!(flag = name, "changed; it takes a restart");
            }
        }
        // A file that appears where none was given is one of the changes that take a restart.
        if let (Some((web, seen)), Some(file)) = (web, &self.web_file) {
            self.access.put(accepted(web));
            file.note(seen);
        }
        self.slots.set(flags.web.max_requests as usize);
        self.measuring.change(Measured { collectors: flags.collect.settings, textfiles }, &processes);
        let (done, is_done) = oneshot::channel();
        let done = Box::new(move || {
            // Nobody may be waiting any more.
            let _nobody_waits: Result<(), ()> = done.send(());
        });
        self.waker.tell(Change { settings, rules, done });
        match timeout(PATIENCE, is_done).await {
            Ok(_) => tracing::info!("configuration read again"),
            Err(_) => tracing::warn!("configuration read again; the follower takes it up when it can"),
        }
    }
}

fn read(arguments: Vec<OsString>) -> Result<(Config, Settings, Option<textfile::Settings>), String> {
    let config = Config::read(arguments).map_err(|(Stop::Help(text) | Stop::Usage(text))| text)?;
    let Command::Run(flags) = &config.command else { return Err("another command".to_owned()) };
    let (settings, textfiles) = followed(&config, flags)?;
    Ok((config, settings, textfiles))
}

/// The flags that hold for the life of the process, with their values.
pub(super) fn fixed(flags: &RunFlags) -> Vec<(&'static str, String)> {
    let (web, follow, fold) = (&flags.web, &flags.follow, &flags.fold);
    vec![
        ("web.listen-address", format!("{:?}", web.listen)),
        ("web.telemetry-path", web.telemetry_path.clone()),
        ("web.config.file", format!("{:?}", web.web_config)),
        ("web.enable-lifecycle", web.enable_lifecycle.to_string()),
        ("web.show-lines", web.show_lines.to_string()),
        ("web.shutdown-linger", format!("{:?}", web.shutdown_linger)),
        ("state.dir", format!("{:?}", follow.state_dir)),
        ("from", format!("{:?}", follow.from)),
        ("log.level", format!("{:?}", fold.log_level)),
        ("log.format", format!("{:?}", fold.log_format)),
    ]
}
