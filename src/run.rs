//! Wiring: each command's parts, put together.

mod reload;
mod web;
mod workers;

use crate::collect::textfile;
use crate::config::web::{Seen, WebConfig};
use crate::config::{Command, Config, DemoFlags, RunFlags, Stop, WebFlags, web_flags};
use crate::exit::End;
use crate::expose::access::{Access, LiveAccess, Renew};
use crate::expose::server::{self, Parts, Server, Slots};
use crate::expose::{Live, Routes, Scraper};
use crate::follow::{self, Follower, Look, Settings, Waker};
use crate::instruments::Instruments;
use crate::publish::Board;
use crate::{backfill, check, collect, demo, logging, probe, replay, tee};
use reload::{Measured, Measuring, Reloader, fixed};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use web::{WebFile, accepted};

/// How long running scrapes may take after the end was asked for.
const GRACE: Duration = Duration::from_millis(1500);

/// How long the first answer waits for the restored state; own families are shown without it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
///
/// What made it impossible, with action and place.
pub fn run(config: Config) -> io::Result<End> {
    match &config.command {
        Command::Run(flags) => {
            logging::start(&flags.fold);
            let (settings, textfiles) = match followed(&config, flags) {
                Ok(followed) => followed,
                Err(text) => return Ok(End::Usage(text)),
            };
            serve(config, settings, textfiles, |_| Ok(())).map(|()| End::AsAsked)
        }
        Command::Demo(_) => run_demo(config),
        Command::Replay(flags) => replay::run(&config, flags),
        Command::Backfill(flags) => backfill::run(&config, flags),
        Command::Check(flags) => check::run(&config, flags),
        Command::Tee(flags) => tee::run(flags),
        Command::Probe(flags) => Ok(if probe::is_healthy(&flags.url) { End::AsAsked } else { End::Failed }),
    }
}

/// What `run` follows, unless lines would count twice, and the text files that it merges.
fn followed(config: &Config, flags: &RunFlags) -> Result<(Settings, Option<textfile::Settings>), String> {
    let text = |(Stop::Help(text) | Stop::Usage(text))| text;
    let settings = config.settings(&flags.paths, &flags.follow, &flags.fold, flags.web.show_lines);
    let settings = settings.map_err(text)?;
    let textfiles = config.textfiles(&flags.paths, &flags.follow, &flags.fold).map_err(text)?;
    follow::repeats_by_name(&settings).map_or(Ok((settings, textfiles)), Err)
}

fn run_demo(config: Config) -> io::Result<End> {
    let Command::Demo(DemoFlags { rate, web, fold, .. }) = &config.command else { return Ok(End::Failed) };
    logging::start(fold);
    let server = demo::PretendedServer::start(*rate)?;
    let settings = demo::settings(server.folder(), fold.limit_line_bytes as usize, web.show_lines);
    let (folder, path) = (server.folder().to_owned(), web.telemetry_path.clone());
    let is_secured = config.web.as_ref().is_some_and(|(web, _)| web.access.tls.is_some());
    serve(config, settings, None, |addresses| demo::greet(&folder, addresses, is_secured, &path))?;
    server.stop()?;
    Ok(End::AsAsked)
}

/// Where and to whom metrics are served, and what is measured beside the logs.
fn served(command: &Command) -> Option<(&WebFlags, &collect::Settings)> {
    let collectors = match command {
        Command::Run(flags) => &flags.collect.settings,
        Command::Demo(flags) => &flags.collect.settings,
        Command::Replay(_)
        | Command::Backfill(_)
        | Command::Check(_)
        | Command::Probe(_)
        | Command::Tee(_) => return None,
    };
    web_flags(command).map(|web| (web, collectors))
}

/// Follows and serves until SIGTERM or SIGINT. `greet` runs once the port is open.
fn serve(
    config: Config,
    settings: Settings,
    textfiles: Option<textfile::Settings>,
    greet: impl FnOnce(&[SocketAddr]) -> io::Result<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(serve_until_told(config, settings, textfiles, greet));
    // A password that is still being checked, or a disk that hangs, must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn serve_until_told(
    mut config: Config,
    settings: Settings,
    textfiles: Option<textfile::Settings>,
    greet: impl FnOnce(&[SocketAddr]) -> io::Result<()>,
) -> io::Result<()> {
    let web_config = config.web.take();
    let Some((web, collectors)) = served(&config.command) else { return Ok(()) };
    let instruments = Instruments::new().map_err(io::Error::other)?;
    let measured = Measured { collectors: collectors.clone(), textfiles };
    let board = Arc::new(Board { readings: measured.readings(), ..Board::default() });
    let (waker, stop) = (Waker::default(), Arc::new(AtomicBool::new(false)));
    // The port opens first: a scrape during a long catch-up sees our own families, not a refusal.
    let listeners = server::listen(&web.listen).await?;
    let measuring = Measuring::start(&board, measured, &config.processes)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (begun, has_begun) = oneshot::channel();
    let (alive, has_died) = oneshot::channel::<()>();
    let follower = {
        let (waker, stop) = (waker.clone(), stop.clone());
        let seconds = instruments.commit_seconds.clone();
        let mut follower = Follower::new(settings, config.rules.clone(), board.clone(), &waker)?;
        thread::Builder::new().name("follow".to_owned()).spawn(move || {
            // Dropped with the thread, however it ends.
            let _alive = alive;
            follower.begin(follower.running_seconds());
            // Nobody may be waiting any more.
            let _nobody_waits: Result<(), ()> = begun.send(());
            follow::run(follower, &waker, &stop, |duration| seconds.observe(duration.as_secs_f64()));
        })?
    };
    // The restored counters are in the first answer, unless a slow disk would make it wait.
    drop(tokio::time::timeout(PATIENCE, has_begun).await);
    let (access, web_file) = live_access(web, web_config, &instruments);
    let slots = Slots::new(web.max_requests as usize);
    let (ask, asked) = mpsc::channel(1);
    let scraper = Arc::new(Scraper::new(board.clone(), instruments.clone()));
    let live = Arc::new(Live::new(&web.telemetry_path, web.show_lines));
    // It ends with the runtime.
    let _sampling = tokio::spawn({
        let (live, board) = (live.clone(), board.clone());
        async move { live.watch(&board).await }
    });
    let routes = Routes { telemetry_path: web.telemetry_path.clone(), scraper, board, live };
    let mut server = Server::new(Parts {
        routes: Parts::routes_of(routes.filter()),
        access: access.clone(),
        instruments: instruments.web,
        slots: slots.clone(),
        reload: web.enable_lifecycle.then_some(ask),
    });
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    listeners.into_iter().for_each(|listener| server.listen(listener));
    let is_secured = access.now().await.tls.is_some();
    for address in &addresses {
        tracing::info!(address = %address, path = web.telemetry_path, tls = is_secured, "listening");
    }
    greet(&addresses)?;
    let hung_up = async {
        if let Command::Run(flags) = &config.command {
            let (arguments, fixed, waker) = (config.arguments(), fixed(flags), waker.clone());
            let instruments = instruments.reload;
            let reloader =
                Reloader { arguments, fixed, waker, access, web_file, slots, measuring, instruments };
            reloader.run(hangup, asked).await;
        } else {
            // Its terminal has gone, and with it whoever looked.
            let _measuring = measuring;
            hangup.recv().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {},
        _ = interrupt.recv() => {},
        () = hung_up => {},
        // A dead follower behind a live /metrics would be worse than no process.
        _ = has_died => return Err(io::Error::other("the follower has ended unexpectedly")),
    }
    tracing::info!("stopping");
    stop.store(true, Ordering::Release);
    waker.wake(Look::AllFiles);
    let joined = tokio::task::spawn_blocking(move || follower.join()).await;
    tokio::time::sleep(web.shutdown_linger).await; // allow-sleep: the linger that was asked for
    if !server.stop(GRACE).await {
        tracing::warn!("scrapes did not finish in time");
    }
    match joined {
        Ok(Ok(())) => Ok(()),
        _ => Err(io::Error::other("the follower has ended unexpectedly")),
    }
}

/// Who is let in, read again from the file whenever that has changed.
fn live_access(
    web: &WebFlags,
    config: Option<(WebConfig, Seen)>,
    instruments: &Instruments,
) -> (Arc<LiveAccess>, Option<Arc<WebFile>>) {
    let (Some(path), Some((config, seen))) = (&web.web_config, config) else {
        return (LiveAccess::new(Access::default(), None), None);
    };
    let file = WebFile::new(path.clone(), seen, instruments.reload.clone());
    let renew: Box<Renew> = {
        let file = file.clone();
        Box::new(move |current| file.renew(current))
    };
    (LiveAccess::new(accepted(config), Some(renew)), Some(file))
}
