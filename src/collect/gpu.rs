//! The GPUs, by NVML: what each one does, what happened to it, and how much of its memory each model worker holds.
//!
//! ```text
//!  libnvidia-ml.so.1 ◀──calls── thread "nvml" (session) ◀──ask── thread "collect-gpu" ──▶ Reading
//! ```
//!
//! Only passive queries: nothing here changes a device. The library is loaded when it is there; without it there is
//! nothing to measure, and that is looked at again once a minute. A value that a device, a driver or a library does
//! not have is absent. One that fails is absent for that turn and counted; after an error that means that a device
//! or the driver is gone, NVML is initialised again, each time after a longer pause, while the GPUs that answer stay
//! in view.

mod dcgm;
mod device;
mod events;
mod fault;
mod look;
mod mig;
mod processes;
mod session;
mod show;
mod table;

pub use show::OTHERS;
pub use table::{FAMILIES, Family, Row};

use super::{Collector, Compat, Context, Trouble};
use crate::metric::FamilyView;
use crate::publish::Cell;
use processes::are_ours;
use session::{Ask, Refusal, Session, Silence, Turn};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// First pause after an error that ends a session.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Longest pause, and the one between two looks for a library.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A turn that takes longer hangs in a call.
const PATIENCE: Duration = Duration::from_secs(3);

/// The same for the first one: a driver without persistence mode starts each GPU then, which takes a second or two.
const PATIENCE_TO_OPEN: Duration = Duration::from_secs(60);

/// Most codes of XID errors that are told apart; NVIDIA has about 150, a GPU that breaks sends a few.
const XIDS_MAX: usize = 32;

/// Measures the GPUs.
pub(super) struct GpuCollector {
    workers: Arc<Cell<super::worker::Workers>>,
    procfs: PathBuf,
    /// Name of the machine, where dcgm-exporter's names are wanted.
    hostname: Option<String>,
    session: Option<Session>,
    /// The session has answered before.
    has_answered: bool,
    /// The last question has no answer yet.
    is_late: bool,
    /// When NVML may be initialised again, and the pause after that; none while all is well.
    retry: Option<(Instant, Duration)>,
    /// What is told while there is no session.
    trouble: Trouble,
    /// GPUs have answered before: that they do not is a fault.
    has_measured: bool,
    /// A library that cannot be used is not loaded again and again.
    is_hopeless: bool,
    memory: Memory,
    /// The process ids of the last turn are not ours.
    is_foreign: bool,
    /// What was said about that and about broken devices, so that it is said once.
    said_foreign: bool,
    said_broken: BTreeSet<&'static str>,
}

/// Why there is no GPU memory per worker although there are workers and processes on GPUs.
const FOREIGN: &str = "No GPU memory per worker: NVML tells process ids of another PID namespace than ours. \
    Run in the host's (hostPID: true in a pod, --pid=host with docker).";

/// What outlives a session.
#[derive(Debug, Default)]
struct Memory {
    /// Errors of NVML by name.
    errors: BTreeMap<&'static str, u64>,
    /// XID errors by UUID and code.
    xids: BTreeMap<(Arc<str>, String), Xid>,
    /// The last code of each GPU.
    last_xid: BTreeMap<Arc<str>, f64>,
}

/// XID errors of one GPU with one code.
#[derive(Clone, Copy, Debug, Default)]
struct Xid {
    /// How many since our start.
    count: f64,
    /// When the last one was seen, in seconds since 1970.
    last: f64,
}

impl GpuCollector {
    /// Nothing is loaded before the first turn.
    pub(super) fn new(context: &Context) -> Self {
        let settings = &context.settings;
        let hostname = settings.has(Compat::Dcgm).then(|| {
            let name = std::fs::read_to_string(settings.procfs.join("sys/kernel/hostname"));
            name.unwrap_or_default().trim().to_owned()
        });
        Self {
            workers: context.workers.clone(),
            procfs: settings.procfs.clone(),
            hostname,
            session: None,
            has_answered: false,
            is_late: false,
            retry: None,
            trouble: Trouble::Absent(String::new()),
            has_measured: false,
            is_hopeless: false,
            memory: Memory::default(),
            is_foreign: false,
            said_foreign: false,
            said_broken: BTreeSet::new(),
        }
    }

    /// The next pause, twice as long as the last one.
    fn schedule(&mut self, now: Instant) {
        let pause = self.retry.map_or(PAUSE_MIN, |(_, pause)| (pause * 2).min(PAUSE_MAX));
        self.retry = Some((now + pause, pause));
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.is_hopeless && self.retry.is_none_or(|(due, _)| now >= due)
    }

    /// Makes sure of a session that may be asked: the present one, or a new one when it is time for that.
    fn open(&mut self, now: Instant) -> Result<(), Trouble> {
        if let Some(session) = self.session.as_mut().filter(|_| self.retry.is_some_and(|(due, _)| now >= due))
        {
            if !session.has_closed(PATIENCE) {
                return Err(hangs());
            }
            self.forget_session();
        }
        if self.session.is_none() {
            if !self.is_due(now) {
                return Err(self.trouble.clone());
            }
            let session = Session::open().map_err(|error| Trouble::Failed(format!("no thread: {error}")))?;
            self.session = Some(session);
        }
        Ok(())
    }

    fn forget_session(&mut self) {
        self.session = None;
        self.is_late = false;
        self.has_answered = false;
    }

    /// There is no session: what to say about it, and when to try again.
    fn refused(&mut self, refusal: Refusal, now: Instant) -> Trouble {
        self.forget_session();
        self.schedule(now);
        let is_absent = matches!(refusal, Refusal::NoLibrary | Refusal::NoDriver | Refusal::Unusable);
        let text = match refusal {
            Refusal::NoLibrary => {
                self.retry = Some((now + PAUSE_MAX, PAUSE_MAX));
                "no libnvidia-ml.so.1: no NVIDIA driver here, or the container does not get its library"
                    .to_owned()
            }
            Refusal::Unusable => {
                self.is_hopeless = true;
                "libnvidia-ml.so.1 has no nvmlShutdown: it is no NVML".to_owned()
            }
            Refusal::NoDriver => "the NVIDIA driver is not loaded".to_owned(),
            Refusal::Refused(text) => format!("NVML does not start: {text}"),
        };
        // Where GPUs have answered before, it is a fault that there are none.
        let is_absent = is_absent && !self.has_measured;
        self.trouble = if is_absent { Trouble::Absent(text) } else { Trouble::Failed(text) };
        self.trouble.clone()
    }

    /// What a turn says, as families.
    fn shown(&mut self, turn: Turn, now: Instant) -> Result<Vec<FamilyView>, Trouble> {
        self.memory.take(&turn);
        self.say_broken(&turn);
        let is_well = turn.errors.broken.is_empty();
        if turn.has_changed {
            self.retry = Some((now, PAUSE_MIN));
        } else if is_well && turn.expected == 0 {
            if self.is_due(now) {
                // One may be added, or given to this container.
                self.retry = Some((now + PAUSE_MAX, PAUSE_MAX));
            }
            return Err(Trouble::Absent("the NVIDIA driver has no GPU for us".to_owned()));
        } else if is_well {
            self.retry = None;
        } else if self.is_due(now) {
            self.schedule(now);
        }
        if turn.gpus.is_empty() {
            let why: BTreeSet<&str> = turn.errors.counts.keys().chain(&turn.errors.broken).copied().collect();
            return Err(Trouble::Failed(format!(
                "no GPU answers: {}",
                why.into_iter().collect::<Vec<_>>().join(", ")
            )));
        }
        self.has_measured = true;
        let workers = self.workers.get();
        let are_ours = self.are_ours(&turn, !workers.by_pid.is_empty());
        let mut families = show::families(&turn, &self.memory);
        if are_ours {
            families.push(show::workers(&turn, &workers));
        }
        if let Some(hostname) = &self.hostname {
            families.extend(dcgm::families(&turn, &self.memory, hostname));
        }
        Ok(families)
    }

    /// Whether the listed processes can be matched with workers. That they cannot is said once.
    fn are_ours(&mut self, turn: &Turn, has_workers: bool) -> bool {
        let pids: BTreeSet<u32> =
            turn.gpus.iter().flat_map(|gpu| &gpu.processes).map(|(_, it)| it.pid).collect();
        let can_match = has_workers && !pids.is_empty();
        self.is_foreign = can_match && !are_ours(&self.procfs, pids.into_iter());
        if self.is_foreign && !self.said_foreign {
            tracing::info!("{FOREIGN}");
        }
        self.said_foreign |= self.is_foreign;
        can_match && !self.is_foreign
    }

    fn say_broken(&mut self, turn: &Turn) {
        if turn.errors.broken == self.said_broken {
            return;
        }
        self.said_broken.clone_from(&turn.errors.broken);
        let (answer, expected) = (turn.gpus.len(), turn.expected);
        if turn.errors.broken.is_empty() {
            tracing::info!(gpus = answer, "NVML answers again");
        } else {
            let errors = turn.errors.broken.iter().copied().collect::<Vec<_>>().join(",");
            tracing::warn!(errors, answer, expected, "NVML fails; it is initialised again after a pause");
        }
    }
}

impl Collector for GpuCollector {
    fn read(&mut self) -> Result<Vec<FamilyView>, Trouble> {
        let now = Instant::now();
        self.open(now)?;
        let ask = Ask { with_processes: !self.workers.get().by_pid.is_empty() };
        let patience = if self.has_answered { PATIENCE } else { PATIENCE_TO_OPEN };
        let Some(session) = &mut self.session else { return Err(self.trouble.clone()) };
        match session.ask(ask, self.is_late, patience) {
            Ok(answer) => {
                self.is_late = false;
                self.has_answered = true;
                match answer {
                    Ok(turn) => self.shown(turn, now),
                    Err(refusal) => Err(self.refused(refusal, now)),
                }
            }
            Err(Silence::Hangs) => {
                self.is_late = true;
                Err(hangs())
            }
            Err(Silence::Ended) => {
                Err(self.refused(Refusal::Refused("its thread has ended".to_owned()), now))
            }
        }
    }

    fn hints(&self) -> Vec<String> {
        if self.is_foreign { vec![FOREIGN.to_owned()] } else { Vec::new() }
    }
}

fn hangs() -> Trouble {
    Trouble::Failed("a call of NVML hangs in the driver".to_owned())
}

impl Memory {
    /// Adds what happened at a turn.
    fn take(&mut self, turn: &Turn) {
        for (name, count) in &turn.errors.counts {
            *self.errors.entry(name).or_default() += count;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        for gpu in &turn.gpus {
            let uuid: Arc<str> = gpu.identity.uuid.as_str().into();
            for xid in &gpu.xids {
                let known = self.xids.keys().filter(|(of, _)| *of == uuid).count();
                let mut code = xid.map_or("unknown".to_owned(), |xid| xid.to_string());
                if known >= XIDS_MAX && !self.xids.contains_key(&(uuid.clone(), code.clone())) {
                    "other".clone_into(&mut code);
                }
                let seen = self.xids.entry((uuid.clone(), code)).or_default();
                seen.count += 1.0;
                seen.last = now;
                if let Some(xid) = xid.and_then(|xid| u32::try_from(xid).ok()) {
                    self.last_xid.insert(uuid.clone(), f64::from(xid));
                }
            }
        }
    }
}
