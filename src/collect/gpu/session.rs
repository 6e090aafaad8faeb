//! NVML while it is initialised, on a thread that holds all that borrows from it: handles and event sets.
//!
//! A thread of its own, because a call can hang in the driver for ever: the collector asks, and when there is no
//! answer in time it can say so. Nobody waits for the thread's end.

use super::device::{Gpu, Reading};
use super::fault::Fault;
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SendError, Sender, SyncSender, TryRecvError, channel, sync_channel,
};
use std::time::Duration;
use std::{io, thread};

/// Names under which the library is looked for: as the loader finds it, then where Kubernetes on Google's machines
/// and WSL put it, then the developer's name.
const LIBRARIES: &[&str] = &[
    "libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "libnvidia-ml.so",
];

/// Most GPUs; no machine has as many.
const GPUS_MAX: u32 = 64;

/// What is asked of NVML at one turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Whether anybody wants to know about processes.
    pub(super) with_processes: bool,
}

/// What all GPUs answered at one turn.
#[derive(Debug)]
pub(super) struct Turn {
    /// Version of the driver.
    pub(super) driver_version: String,
    /// Version of CUDA that the driver has: `12.4`.
    pub(super) cuda_version: String,
    /// GPUs that there should be.
    pub(super) expected: usize,
    /// Each GPU that answered.
    pub(super) gpus: Vec<Reading>,
    /// What went wrong.
    pub(super) errors: Errors,
    /// The GPUs are others than before: they have to be opened again.
    pub(super) has_changed: bool,
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No library: there is no driver here.
    NoLibrary,
    /// A library that cannot be given back once it is in use.
    Unusable,
    /// The library is here, and no driver: as in an image that brings it along.
    NoDriver,
    /// The library says no; the text says why.
    Refused(String),
}

/// What a session says.
pub(super) type Answer = Result<Turn, Refusal>;

/// Errors of NVML at one turn, by name.
#[derive(Debug, Default)]
pub(super) struct Errors {
    /// Calls that ended so.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// Those after which NVML has to be initialised again.
    pub(super) broken: BTreeSet<&'static str>,
}

impl Errors {
    /// Counts an error. What a device does not have is none.
    pub(super) fn note(&mut self, fault: Fault) {
        let (Fault::Passing(name) | Fault::Broken(name)) = fault else { return };
        *self.counts.entry(name).or_default() += 1;
        if matches!(fault, Fault::Broken(_)) {
            self.broken.insert(name);
        }
    }

    /// A value, or nothing; `is_absent` is set when it will never be there.
    pub(super) fn keep<T>(&mut self, result: Result<T, Fault>, is_absent: &mut bool) -> Option<T> {
        result
            .inspect_err(|fault| {
                *is_absent |= *fault == Fault::Absent;
                self.note(*fault);
            })
            .ok()
    }

    /// A value, or nothing.
    pub(super) fn take<T>(&mut self, result: Result<T, NvmlError>) -> Option<T> {
        result.inspect_err(|error| self.note(error.into())).ok()
    }
}

/// The collector's end of a session.
pub(super) struct Session {
    asks: Option<Sender<Ask>>,
    answers: Receiver<Answer>,
}

/// There was no answer in time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// A call hangs.
    Hangs,
    /// The thread has ended.
    Ended,
}

impl Session {
    /// Starts the thread, which initialises NVML before its first answer.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn open() -> io::Result<Self> {
        let (asks, asked) = channel();
        // One answer may lie there that came too late.
        let (answer, answers) = sync_channel(1);
        thread::Builder::new().name("nvml".to_owned()).spawn(move || serve(&asked, &answer))?;
        Ok(Self { asks: Some(asks), answers })
    }

    /// Asks and waits at most that long. After a call that hung, an answer to the old question is no answer.
    ///
    /// # Errors
    ///
    /// [`Silence`]: no answer.
    pub(super) fn ask(&mut self, ask: Ask, is_late: bool, patience: Duration) -> Result<Answer, Silence> {
        if is_late {
            match self.answers.try_recv() {
                Ok(_) => {}
                Err(TryRecvError::Empty) => return Err(Silence::Hangs),
                Err(TryRecvError::Disconnected) => return Err(Silence::Ended),
            }
        }
        // A thread that could not initialise NVML has said why before it ended, whether it was asked or not.
        if let Some(asks) = &self.asks {
            let _may_have_ended: Result<(), SendError<Ask>> = asks.send(ask);
        }
        self.answers.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => Silence::Hangs,
            RecvTimeoutError::Disconnected => Silence::Ended,
        })
    }

    /// Ends it and waits until NVML is given back, at most that long: initialised again before that, it would only
    /// count its users and keep what is broken.
    pub(super) fn has_closed(&mut self, patience: Duration) -> bool {
        self.asks = None;
        loop {
            match self.answers.recv_timeout(patience) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }
}

/// The thread: initialises, answers until nobody asks any more, gives back.
fn serve(asked: &Receiver<Ask>, answers: &SyncSender<Answer>) {
    let nvml = match library() {
        Ok(nvml) => nvml,
        Err(refusal) => {
            // Nobody may be waiting any more; nor below.
            drop(answers.send(Err(refusal)));
            return;
        }
    };
    let driver_version = nvml.sys_driver_version().unwrap_or_default();
    let cuda_version = nvml.sys_cuda_driver_version().map(|version| {
        let (major, minor) = (
            nvml_wrapper::cuda_driver_version_major(version),
            nvml_wrapper::cuda_driver_version_minor(version),
        );
        format!("{major}.{minor}")
    });
    let cuda_version = cuda_version.unwrap_or_default();
    let mut opening = Errors::default();
    let count = opening.take(nvml.device_count()).unwrap_or(0);
    let mut gpus: Vec<Gpu<'_>> = Vec::new();
    for index in 0..count.min(GPUS_MAX) {
        let mut is_absent = false;
        let Some(gpu) = opening.keep(Gpu::open(&nvml, index), &mut is_absent) else { continue };
        if gpus.iter().all(|other| other.uuid() != gpu.uuid()) {
            gpus.push(gpu);
        }
    }
    // What could not be opened, for whatever reason, is a fault at each turn: only another session can open it.
    let unopened: BTreeSet<&'static str> = opening.counts.keys().copied().collect();
    for ask in asked {
        // What went wrong at the opening belongs to the first answer.
        let mut errors = std::mem::take(&mut opening);
        errors.broken.extend(&unopened);
        let is_other = errors.take(nvml.device_count()).is_some_and(|now| now != count);
        let has_changed = is_other || gpus.iter().any(Gpu::has_changed);
        let read = gpus.iter_mut().filter_map(|gpu| gpu.read(ask.with_processes, &mut errors)).collect();
        let turn = Turn {
            driver_version: driver_version.clone(),
            cuda_version: cuda_version.clone(),
            expected: count as usize,
            gpus: read,
            errors,
            has_changed,
        };
        if answers.send(Ok(turn)).is_err() {
            return;
        }
    }
}

/// Loads and initialises the library.
fn library() -> Result<Nvml, Refusal> {
    for path in LIBRARIES {
        match Nvml::builder().lib_path(path.as_ref()).init() {
            // The wrapper panics when it has to give back a library that cannot be given back.
            Ok(nvml) if nvml.lib().nvmlShutdown.is_err() => {
                std::mem::forget(nvml);
                return Err(Refusal::Unusable);
            }
            Ok(nvml) => return Ok(nvml),
            // Not there, or another library of that name.
            Err(NvmlError::LibloadingError(_) | NvmlError::FailedToLoadSymbol(_)) => {}
            Err(NvmlError::DriverNotLoaded) => return Err(Refusal::NoDriver),
            Err(error) => return Err(Refusal::Refused(error.to_string())),
        }
    }
    Err(Refusal::NoLibrary)
}
