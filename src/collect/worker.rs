//! The model server's worker processes: CPU, memory, threads and start time, by model.
//!
//! TorchServe starts a process per worker and gives it a socket or port number; the same number is in the worker's
//! name, which the log has and the process has not: `--sock-name /tmp/.ts.sock.9000` is `W-9000-resnet18_1.0`. What
//! a worker starts belongs to it. The processes must be visible: the same container, `shareProcessNamespace` in a
//! pod, `--pid=container:…` with docker.

mod find;
mod name;
mod process;

pub use name::{Identity, Named};

use super::kernel::text;
use super::{Collector, Context, Trouble};
use crate::metric::{FamilyView, Type};
use crate::publish::Cell;
use find::{Finder, Found};
use name::Names;
use process::Stat;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// The worker processes that were found last, for whoever meets a process id elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Workers {
    /// Who a process belongs to, by its id in our own PID namespace.
    pub by_pid: HashMap<u32, Arc<Identity>>,
    /// The process of a worker that has run longest, named or not: its cgroup is the server's.
    pub oldest: Option<u32>,
}

/// Finds and measures the workers.
pub(super) struct WorkerCollector {
    procfs: PathBuf,
    given: Arc<dyn Fn() -> Arc<[Named]> + Send + Sync>,
    published: Arc<Cell<Workers>>,
    finder: Finder,
    names: Names,
    /// By number.
    workers: BTreeMap<u32, Worker>,
    /// Numbers that several servers use; said once.
    ambiguous: BTreeSet<u32>,
}

/// One worker: its processes and what is known about it.
#[derive(Debug, Default)]
struct Worker {
    identity: Option<Arc<Identity>>,
    /// The process that the server started, with its start time in ticks, and the server.
    main: Option<(u32, u64, u32)>,
    /// CPU seconds of its processes when they were last looked at, by id and start time.
    cpu: HashMap<(u32, u64), f64>,
    /// CPU seconds of processes that it started and that have ended; they must not step back.
    ended: f64,
}

impl WorkerCollector {
    pub(super) fn new(context: &Context) -> Self {
        let procfs = context.settings.procfs.clone();
        Self {
            finder: Finder::new(procfs.clone()),
            procfs,
            given: context.names.clone(),
            published: context.workers.clone(),
            names: Names::default(),
            workers: BTreeMap::new(),
            ambiguous: BTreeSet::new(),
        }
    }
}

impl Collector for WorkerCollector {
    fn read(&mut self) -> Result<Vec<FamilyView>, Trouble> {
        let found = self
            .finder
            .find()
            .map_err(|error| Trouble::Failed(format!("cannot list {}: {error}", self.procfs.display())))?;
        self.names.take(&(self.given)());
        let by_number = self.ours(found);
        self.workers.retain(|number, _| by_number.contains_key(number));
        let boot = match by_number.is_empty() {
            true => None,
            false => text(&self.procfs.join("stat")).ok().and_then(|stat| super::host::boot_time(&stat)),
        };
        let mut families = Families::default();
        let mut published = Workers::default();
        let oldest = by_number.values().flatten().filter(|process| process.is_root());
        published.oldest = oldest.min_by_key(|process| process.stat.start).map(|process| process.id);
        for (number, processes) in by_number {
            let worker = self.workers.entry(number).or_default();
            worker.see(&processes);
            worker.call(self.names.of(number), boot);
            let Some(identity) = &worker.identity else { continue };
            published.by_pid.extend(processes.iter().map(|process| (process.id, identity.clone())));
            families.push(identity, worker, &processes, boot);
        }
        self.published.put(published);
        Ok(families.0.into())
    }
}

impl WorkerCollector {
    /// The processes by number. Where process ids of the whole machine are visible, several servers may have a
    /// worker of one number: the one whose cgroup is nearest to ours is meant, the other container of our pod. Of
    /// two that are equally near nobody knows, so that none is shown.
    fn ours(&mut self, found: Vec<Found>) -> BTreeMap<u32, Vec<Found>> {
        let mut by_number: BTreeMap<u32, Vec<Found>> = BTreeMap::new();
        for process in found {
            by_number.entry(process.worker.number).or_default().push(process);
        }
        let mut ambiguous = BTreeSet::new();
        for (number, processes) in &mut by_number {
            let nearest = processes.iter().map(|process| process.worker.nearness).max();
            processes.retain(|process| Some(process.worker.nearness) == nearest);
            let servers: BTreeSet<u32> = processes.iter().map(|process| process.worker.server).collect();
            if servers.len() > 1 {
                ambiguous.insert(*number);
            }
        }
        by_number.retain(|number, _| !ambiguous.contains(number));
        for number in ambiguous.difference(&self.ambiguous) {
            tracing::warn!(number, "several servers have a worker of this number; it is not shown");
        }
        self.ambiguous = ambiguous;
        by_number
    }
}

impl Found {
    fn is_root(&self) -> bool {
        self.id == self.worker.root
    }
}

impl Worker {
    /// Takes its processes of this moment; at least one.
    fn see(&mut self, processes: &[Found]) {
        let key = |process: &Found| (process.id, process.stat.start);
        let is_main = |process: &&Found| self.main.is_some_and(|(id, start, _)| key(process) == (id, start));
        let is_same = processes.iter().any(|process| is_main(&process));
        let now: HashMap<(u32, u64), f64> =
            processes.iter().map(|process| (key(process), process.stat.cpu_seconds())).collect();
        if is_same {
            let gone = self.cpu.iter().filter(|(key, _)| !now.contains_key(key));
            self.ended += gone.map(|(_, seconds)| seconds).sum::<f64>();
        } else {
            // It was restarted: its counter starts at 0, as any process' does.
            self.ended = 0.0;
            let first = processes.iter().min_by_key(|process| (!process.is_root(), process.stat.start));
            let before = self.main;
            self.main = first.map(|process| (process.id, process.stat.start, process.worker.server));
            // A server that was restarted, too, may have given the number to another model.
            let server = |main: Option<(u32, u64, u32)>| main.map(|(_, _, server)| server);
            if server(before) != server(self.main) {
                self.identity = None;
            }
        }
        self.cpu = now;
    }

    /// Takes the name that the log gives its number, unless that is older than the process.
    fn call(&mut self, named: Option<&(u64, Arc<Identity>)>, boot: Option<u64>) {
        let Some((seen, identity)) = named else { return };
        let started = self.started(boot).unwrap_or_default();
        // The log was written after the start, and the clocks that say so are rounded.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since 1970")]
        let started = started.max(0.0) as u64;
        if seen.saturating_add(2) >= started && self.identity.as_ref() != Some(identity) {
            self.identity = Some(identity.clone());
        }
    }

    fn started(&self, boot: Option<u64>) -> Option<f64> {
        let (_, start, _) = self.main?;
        Some(super::kernel::number(boot?) + Stat::seconds(start))
    }
}

/// The families, a series per worker in each.
struct Families([FamilyView; 4]);

impl Default for Families {
    fn default() -> Self {
        let family = FamilyView::new;
        Self([
            family(
                "model_worker_cpu_seconds_total",
                "CPU time used by a worker's processes since it was started.",
                Type::Counter,
            ),
            family(
                "model_worker_resident_memory_bytes",
                "Memory of a worker's processes that is in RAM; what they share is counted for each.",
                Type::Gauge,
            ),
            family("model_worker_threads", "Threads of a worker's processes.", Type::Gauge),
            family(
                "model_worker_start_time_seconds",
                "When a worker was started, in seconds since 1970.",
                Type::Gauge,
            ),
        ])
    }
}

impl Families {
    fn push(&mut self, identity: &Identity, worker: &Worker, processes: &[Found], boot: Option<u64>) {
        let labels = identity.labels();
        let stats = || processes.iter().map(|process| &process.stat);
        let [cpu, resident, threads, start] = &mut self.0;
        cpu.push(&labels, worker.ended + worker.cpu.values().sum::<f64>());
        resident.push(&labels, stats().map(Stat::resident_bytes).sum());
        threads.push(&labels, stats().map(|stat| super::kernel::number(stat.threads)).sum());
        worker.started(boot).into_iter().for_each(|seconds| start.push(&labels, seconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Process 1 and 2 are servers.
    fn process(id: u32, start: u64, parent: u32, cpu: u64) -> Found {
        let stat = Stat { parent, cpu, threads: 1, start, pages: 1, is_dead: false };
        let (root, server) = if parent < 3 { (id, parent) } else { (parent, 1) };
        Found { id, worker: find::Worker { number: 9000, root, server, nearness: 0 }, stat }
    }

    fn total(worker: &Worker) -> f64 {
        worker.ended + worker.cpu.values().sum::<f64>()
    }

    #[test]
    fn what_a_worker_started_is_counted_after_its_end() {
        let mut worker = Worker::default();
        worker.see(&[process(10, 5, 1, 100), process(11, 6, 10, 50)]);
        assert_eq!(1.5, total(&worker));
        worker.see(&[process(10, 5, 1, 200)]);
        assert_eq!(2.5, total(&worker));
        worker.see(&[process(12, 9, 1, 10)]);
        assert_eq!(0.1, total(&worker), "a restarted worker starts at 0");
    }

    #[test]
    fn a_name_from_before_the_servers_restart_is_not_the_new_ones() {
        let named = |seen: u64, name: &str| (seen, Arc::new(Identity::of(name).unwrap().1));
        let mut worker = Worker::default();
        worker.see(&[process(10, 0, 1, 0)]);
        worker.call(Some(&named(1000, "W-9000-a_1.0")), Some(900));
        assert_eq!("a", worker.identity.as_ref().unwrap().model_name);
        // Restarted by the same server: the same worker. By another one: nobody knows yet.
        worker.see(&[process(20, 30_000, 1, 0)]);
        worker.call(Some(&named(1000, "W-9000-a_1.0")), Some(900));
        assert!(worker.identity.is_some());
        worker.see(&[process(30, 50_000, 2, 0)]);
        worker.call(Some(&named(1000, "W-9000-a_1.0")), Some(900));
        assert_eq!(None, worker.identity);
        worker.call(Some(&named(1410, "W-9000-b_1.0")), Some(900));
        assert_eq!("b", worker.identity.as_ref().unwrap().model_name);
    }
}
