//! The model server's worker processes: CPU, memory, threads and start time, by model.
//!
//! TorchServe starts a process per worker and gives it a socket or port number; the same number is in the worker's
//! name, which the log has and the process has not: `--sock-name /tmp/.ts.sock.9000` is `W-9000-resnet18_1.0`. What
//! a worker starts belongs to it. Other servers' workers are found by rules over their command lines. The processes
//! must be visible: the same container, `shareProcessNamespace` in a pod, `--pid=container:…` with docker.

mod find;
mod name;
mod process;
mod rule;

pub use name::{Identity, Named};
pub use rule::{Rule, RuleError};

use super::kernel::text;
use super::{Collector, Context, Trouble};
use crate::metric::{FamilyView, Type};
use crate::publish::Cell;
use find::{Finder, Found, Key};
use name::Names;
use process::Stat;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Workers by rules at most: anybody who can start a process can make up names.
const NAMED_MAX: usize = 1000;

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
    workers: BTreeMap<Key, Worker>,
    /// Numbers that several servers use; said once.
    ambiguous: BTreeSet<u32>,
    /// Workers by rules for which there is no room.
    left_out: usize,
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
            finder: Finder::new(procfs.clone(), context.rules.clone()),
            procfs,
            given: context.names.clone(),
            published: context.workers.clone(),
            names: Names::default(),
            workers: BTreeMap::new(),
            ambiguous: BTreeSet::new(),
            left_out: 0,
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
        let by_key = self.ours(found);
        self.workers.retain(|key, _| by_key.contains_key(key));
        let boot = match by_key.is_empty() {
            true => None,
            false => text(&self.procfs.join("stat")).ok().and_then(|stat| super::host::boot_time(&stat)),
        };
        let mut families = Families::default();
        let mut published = Workers::default();
        let oldest = by_key.values().flatten().filter(|process| process.is_root());
        published.oldest = oldest.min_by_key(|process| process.stat.start).map(|process| process.id);
        let mut shown = HashSet::new();
        for (key, processes) in by_key {
            let worker = self.workers.entry(key.clone()).or_default();
            worker.see(&processes);
            match key {
                Key::Number(number) => worker.call(self.names.of(number), boot),
                Key::Named(identity) => worker.identity = Some(identity),
            }
            // A rule may give the very labels that a worker of TorchServe has.
            let Some(identity) = worker.identity.as_ref().filter(|it| shown.insert((*it).clone())) else {
                continue;
            };
            published.by_pid.extend(processes.iter().map(|process| (process.id, identity.clone())));
            families.push(identity, worker, &processes, boot);
        }
        self.published.put(published);
        Ok(families.0.into())
    }

    fn hints(&self) -> Vec<String> {
        let count = self.left_out;
        let text =
            format!("{count} more workers than {NAMED_MAX} match the rules of process: and are not shown.");
        if count > 0 { vec![text] } else { Vec::new() }
    }
}

impl WorkerCollector {
    /// The processes by worker. Where process ids of the whole machine are visible, several servers may have the
    /// same worker: the one whose cgroup is nearest to ours is meant, the other container of our pod. Of two with one
    /// number that are equally near nobody knows, so that none is shown; those of one name are meant together.
    fn ours(&mut self, found: Vec<Found>) -> BTreeMap<Key, Vec<Found>> {
        let mut by_key: BTreeMap<Key, Vec<Found>> = BTreeMap::new();
        for process in found {
            by_key.entry(process.worker.key.clone()).or_default().push(process);
        }
        let mut ambiguous = BTreeSet::new();
        for (key, processes) in &mut by_key {
            let nearest = processes.iter().map(|process| process.worker.nearness).max();
            processes.retain(|process| Some(process.worker.nearness) == nearest);
            let servers: BTreeSet<u32> = processes.iter().map(|process| process.worker.server).collect();
            if let (Key::Number(number), 2..) = (key, servers.len()) {
                ambiguous.insert(*number);
            }
        }
        by_key.retain(|key, _| !matches!(key, Key::Number(number) if ambiguous.contains(number)));
        self.leave_out(&mut by_key);
        for number in ambiguous.difference(&self.ambiguous) {
            tracing::warn!(number, "several servers have a worker of this number; it is not shown");
        }
        self.ambiguous = ambiguous;
        by_key
    }

    /// Takes away the workers by rules for which there is no room; who was there first stays.
    fn leave_out(&mut self, by_key: &mut BTreeMap<Key, Vec<Found>>) {
        let is_new = |key: &Key| matches!(key, Key::Named(_)) && !self.workers.contains_key(key);
        let known =
            self.workers.keys().filter(|key| matches!(key, Key::Named(_)) && by_key.contains_key(key));
        let mut room = NAMED_MAX.saturating_sub(known.count());
        let before = by_key.len();
        by_key.retain(|key, _| {
            let is_kept = room > 0 || !is_new(key);
            room = room.saturating_sub(usize::from(is_new(key)));
            is_kept
        });
        let left_out = before - by_key.len();
        if left_out > 0 && self.left_out == 0 {
            tracing::warn!(max = NAMED_MAX, left_out, "the rules of process: match too many workers");
        }
        self.left_out = left_out;
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
        let has_main = processes.iter().any(|process| is_main(&process));
        // Of several processes with one name each may be replaced; together they go on.
        let goes_on = has_main
            || processes.iter().any(|process| {
                matches!(process.worker.key, Key::Named(_)) && self.cpu.contains_key(&key(process))
            });
        let now: HashMap<(u32, u64), f64> =
            processes.iter().map(|process| (key(process), process.stat.cpu_seconds())).collect();
        if goes_on {
            let gone = self.cpu.iter().filter(|(key, _)| !now.contains_key(key));
            self.ended += gone.map(|(_, seconds)| seconds).sum::<f64>();
        } else {
            // It was restarted: its counter starts at 0, as any process' does.
            self.ended = 0.0;
        }
        if !has_main {
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
        Found { id, worker: find::Worker { key: Key::Number(9000), root, server, nearness: 0 }, stat }
    }

    /// The same of a worker that a rule has named.
    fn named(name: &str, mut process: Found) -> Found {
        let (model_name, empty) = (name.to_owned(), String::new());
        let identity = Identity { model_name, model_version: empty.clone(), worker_name: empty };
        process.worker.key = Key::Named(identity.into());
        process
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
    fn processes_with_one_name_go_on_together() {
        let mut worker = Worker::default();
        let [first, second, third] =
            [(10, 5), (11, 6), (12, 9)].map(|(id, start)| move |cpu| named("m", process(id, start, 1, cpu)));
        worker.see(&[first(100), second(100)]);
        worker.see(&[second(100), third(50)]);
        assert_eq!(
            (2.5, Some((11, 6, 1))),
            (total(&worker), worker.main),
            "the longest running one is the start"
        );
        worker.see(&[named("m", process(13, 20, 1, 10))]);
        assert_eq!(0.1, total(&worker), "all of them were restarted");
    }

    #[test]
    fn workers_by_rules_are_bounded_and_who_was_there_first_stays() {
        let settings = crate::collect::Settings {
            enabled: Vec::new(),
            interval: std::time::Duration::from_secs(5),
            compat: Vec::new(),
            procfs: PathBuf::from("/nowhere"),
            sysfs: PathBuf::new(),
        };
        let mut collector = WorkerCollector::new(&Context::new(settings, Arc::new(|| Arc::from([]))));
        let found = |name: &str| named(name, process(10, 5, 1, 0));
        collector.workers.insert(found("z").worker.key, Worker::default());
        let many: Vec<Found> = (0..2000).map(|number| found(&format!("m{number}"))).collect();
        let kept = collector.ours([many, vec![found("z"), process(20, 5, 1, 0)]].concat());
        assert_eq!(NAMED_MAX + 1, kept.len(), "and TorchServe's");
        assert!(kept.contains_key(&found("z").worker.key) && kept.contains_key(&Key::Number(9000)));
        assert_eq!(1, collector.hints().len(), "{:?}", collector.hints());
        collector.ours(vec![found("z")]);
        assert_eq!(Vec::<String>::new(), collector.hints());
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
