//! Wiring: each command's parts, put together.

mod workers;

use crate::collect::textfile::{self, TextFiles};
use crate::collect::{self, Collection, Context, Readings};
use crate::config::{Command, Config, DemoFlags, Stop, WebFlags};
use crate::exit::End;
use crate::expose::{Routes, Scraper};
use crate::follow::{self, Follower, Look, Settings, Waker};
use crate::instruments::Instruments;
use crate::publish::Board;
use crate::{check, demo, logging, probe, replay, tee};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long running scrapes may take after the end was asked for.
const GRACE: Duration = Duration::from_millis(1500);

/// How long the first answer waits for the restored state; own families are shown without it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
///
/// What made it impossible, with action and place.
pub fn run(config: &Config) -> io::Result<End> {
    match &config.command {
        Command::Run(flags) => {
            logging::start(&flags.fold);
            let settings = match config.settings(&flags.paths, &flags.follow, &flags.fold) {
                Ok(settings) => settings,
                Err(Stop::Usage(text) | Stop::Help(text)) => return Ok(End::Usage(text)),
            };
            if let Some(text) = follow::repeats_by_name(&settings) {
                return Ok(End::Usage(text));
            }
            let textfiles = match config.textfiles(&flags.paths, &flags.follow, &flags.fold) {
                Ok(textfiles) => textfiles,
                Err(Stop::Usage(text) | Stop::Help(text)) => return Ok(End::Usage(text)),
            };
            let measured = Measured { collectors: &flags.collect.settings, textfiles };
            serve(config, &flags.web, measured, settings, |_| Ok(())).map(|()| End::AsAsked)
        }
        Command::Demo(flags) => run_demo(config, flags),
        Command::Replay(flags) => replay::run(config, flags),
        Command::Check(flags) => check::run(config, flags),
        Command::Tee(flags) => tee::run(flags),
        Command::Probe(flags) => Ok(if probe::is_healthy(&flags.url) { End::AsAsked } else { End::Failed }),
    }
}

fn run_demo(config: &Config, flags: &DemoFlags) -> io::Result<End> {
    logging::start(&flags.fold);
    let server = demo::PretendedServer::start(flags.rate)?;
    let settings = demo::settings(server.folder(), flags.fold.limit_line_bytes as usize);
    let measured = Measured { collectors: &flags.collect.settings, textfiles: None };
    serve(config, &flags.web, measured, settings, |addresses| {
        demo::greet(server.folder(), addresses, &flags.web.telemetry_path)
    })?;
    server.stop()?;
    Ok(End::AsAsked)
}

/// What is measured beside the logs.
struct Measured<'a> {
    collectors: &'a collect::Settings,
    textfiles: Option<textfile::Settings>,
}

/// Follows and serves until SIGTERM or SIGINT. `greet` runs once the port is open.
fn serve(
    config: &Config,
    web: &WebFlags,
    measured: Measured<'_>,
    settings: Settings,
    greet: impl FnOnce(&[SocketAddr]) -> io::Result<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let instruments = Instruments::new().map_err(io::Error::other)?;
    let Measured { collectors, textfiles } = measured;
    let mut readings = Readings::enabled(collectors);
    if textfiles.is_some() {
        readings = readings.with_foreign(textfile::NAME, collectors.interval);
    }
    let board = Arc::new(Board { readings, ..Board::default() });
    let context = Context::new(collectors.clone(), workers::names(board.clone()));
    let context = Context { rules: config.processes.clone(), ..context };
    let waker = Waker::default();
    let stop = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        // The port opens first: a scrape during a long catch-up sees our own families, not a refusal.
        let listeners = listen(&web.listen).await?;
        // Nothing waits for them: neither the first answer nor the end.
        let mut collection = Collection::start(&context, &board.readings)?;
        if let (Some(textfiles), Some(post)) = (textfiles, board.readings.post(textfile::NAME)) {
            collection.add(post.clone(), move || Box::new(TextFiles::new(textfiles.clone())))?;
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (alive, has_died) = tokio::sync::oneshot::channel::<()>();
        let follower = {
            let (board, waker, stop, rules) =
                (board.clone(), waker.clone(), stop.clone(), config.rules.clone());
            let seconds = instruments.commit_seconds.clone();
            let mut follower = Follower::new(settings, rules, board, &waker)?;
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
        let scraper = Scraper::new(board.clone(), instruments, web.max_requests as usize);
        let routes =
            Routes { telemetry_path: web.telemetry_path.clone(), scraper: Arc::new(scraper), board }.filter();
        let addresses: Vec<SocketAddr> =
            listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let (quit, _) = tokio::sync::broadcast::channel::<()>(1);
        let mut servers = tokio::task::JoinSet::new();
        for listener in listeners {
            let mut quit = quit.subscribe();
            let until = async move { drop(quit.recv().await) };
            servers.spawn(warp::serve(routes.clone()).incoming(listener).graceful(until).run());
        }
        for address in &addresses {
            tracing::info!(address = %address, path = web.telemetry_path, "listening");
        }
        greet(&addresses)?;
        tokio::select! {
            _ = terminate.recv() => {},
            _ = interrupt.recv() => {},
            // A dead follower behind a live /metrics would be worse than no process.
            _ = has_died => return Err(io::Error::other("the follower has ended unexpectedly")),
        }
        tracing::info!("stopping");
        stop.store(true, Ordering::Release);
        waker.wake(Look::AllFiles);
        let joined = tokio::task::spawn_blocking(move || follower.join()).await;
        tokio::time::sleep(web.shutdown_linger).await; // allow-sleep: the linger that was asked for
        drop(quit);
        let finish = async { while servers.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, finish).await.is_err() {
            tracing::warn!("scrapes did not finish in time");
        }
        match joined {
            Ok(Ok(())) => Ok(()),
            _ => Err(io::Error::other("the follower has ended unexpectedly")),
        }
    })
}

async fn listen(addresses: &[String]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let bound = bind(address).await;
        listeners.push(
            bound.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
            })?,
        );
    }
    Ok(listeners)
}

/// `:9082` means all addresses, of both families where the machine has both.
async fn bind(address: &str) -> io::Result<TcpListener> {
    if let Some(port) = address.strip_prefix(':') {
        let port = port.parse::<u16>().map_err(|_| io::Error::other("the port is no number up to 65535"))?;
        return match TcpListener::bind(("::", port)).await {
            Ok(listener) => Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
        };
    }
    let resolved: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    TcpListener::bind(&*resolved).await
}
