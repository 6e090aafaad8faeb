//! Which processes are workers.
//!
//! A machine has thousands of processes, and a worker lives for days: a process is asked who it is when it is new,
//! and again until it has lived for a while, because between fork and exec it looks like its parent. A few of the
//! others are asked again in turn, for the rare one that became another program late, or whose number was used again.

use super::process::{Stat, command_line, number_of};
use super::{Identity, Rule};
use crate::collect::kernel::text;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

/// Seconds after which a process has become what it is.
const SETTLED: f64 = 20.0;

/// How many of the settled ones are asked again per turn.
const ASKED_AGAIN: usize = 16;

/// Turns after which the folder is listed in any case.
const TURNS_UNLISTED: u32 = 12;

/// A process of a worker.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) id: u32,
    pub(super) worker: Worker,
    pub(super) stat: Stat,
}

/// What tells a worker from others. TorchServe's come first, so that they keep their labels if a rule gives the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// TorchServe's number; a log has the name.
    Number(u32),
    /// A rule has named it.
    Named(Arc<Identity>),
}

/// Whose a worker's process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Worker {
    pub(super) key: Key,
    /// The process that the server started; the others were started by it.
    pub(super) root: u32,
    /// The process that started the root: the server.
    pub(super) server: u32,
    /// How close its cgroup is to ours: containers of a pod are closer than those of two.
    pub(super) nearness: i64,
}

/// Remembers what processes are.
#[derive(Debug)]
pub(super) struct Finder {
    procfs: PathBuf,
    rules: Arc<[Rule]>,
    /// Our own process: its command line may hold any words, a file's name say.
    own: Option<u32>,
    known: BTreeMap<u32, Kind>,
    /// The process id that was given last, when the folder was listed last.
    newest: Option<String>,
    turns_unlisted: u32,
    /// Who was asked again last.
    asked: u32,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Not a worker, and nobody's child that is one.
    Other { is_settled: bool },
    /// A worker's process.
    Worker { worker: Worker, start: u64, is_settled: bool },
}

impl Finder {
    pub(super) fn new(procfs: PathBuf, rules: Arc<[Rule]>) -> Self {
        let own = fs::read_link(procfs.join("self")).ok();
        let own = own.and_then(|link| link.to_str()?.parse().ok());
        Self { procfs, rules, own, known: BTreeMap::new(), newest: None, turns_unlisted: 0, asked: 0 }
    }

    /// All processes of workers, as they are now.
    pub(super) fn find(&mut self) -> io::Result<Vec<Found>> {
        let uptime = text(&self.procfs.join("uptime")).ok().and_then(|text| {
            let word = text.split(' ').next()?;
            word.trim().parse::<f64>().ok()
        });
        let newest = self.newest_id();
        self.turns_unlisted += 1;
        if newest.is_none() || newest != self.newest || self.turns_unlisted >= TURNS_UNLISTED {
            self.list()?;
            self.newest = newest;
            self.turns_unlisted = 0;
        }
        let mut found = Vec::new();
        for id in self.due() {
            self.ask(id, uptime);
        }
        let workers = self.known.iter().filter_map(|(id, kind)| match kind {
            Kind::Worker { worker, start, .. } => Some((*id, worker.clone(), *start)),
            Kind::Other { .. } => None,
        });
        let mut ended = Vec::new();
        for (id, worker, start) in workers {
            let stat = Stat::read(&self.folder(id)).filter(|stat| stat.start == start && !stat.is_dead);
            match stat {
                Some(stat) => found.push(Found { id, worker, stat }),
                None => ended.push(id),
            }
        }
        // If another process has the number already, it is asked at the next turn.
        ended.iter().for_each(|id| {
            self.known.insert(*id, Kind::Other { is_settled: false });
        });
        Ok(found)
    }

    /// The last word of `0.86 0.69 0.49 2/85 12147` is the last process id that was given in our namespace: while it
    /// stays, nobody is new.
    fn newest_id(&self) -> Option<String> {
        let loadavg = text(&self.procfs.join("loadavg")).ok()?;
        Some(loadavg.split_ascii_whitespace().nth(4)?.to_owned())
    }

    /// Brings the known ones up to date with the folder.
    fn list(&mut self) -> io::Result<()> {
        let mut present = BTreeMap::new();
        for entry in fs::read_dir(&self.procfs)? {
            // One that vanished meanwhile is no reason to stop.
            let Ok(entry) = entry else { continue };
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let kind = self.known.remove(&id);
            present.insert(id, kind.unwrap_or(Kind::Other { is_settled: false }));
        }
        self.known = present;
        Ok(())
    }

    /// Who is asked in this turn.
    fn due(&mut self) -> Vec<u32> {
        let is_settled = |kind: &Kind| match kind {
            Kind::Other { is_settled } | Kind::Worker { is_settled, .. } => *is_settled,
        };
        let mut ids: Vec<u32> =
            self.known.iter().filter(|(_, kind)| !is_settled(kind)).map(|(id, _)| *id).collect();
        let after = self.known.range((Bound::Excluded(self.asked), Bound::Unbounded));
        // Some servers write a new command line when a process gets its model: Ray, and who uses setproctitle.
        let may_change = |kind: &Kind| match kind {
            Kind::Other { is_settled } => *is_settled,
            Kind::Worker { worker, is_settled, .. } => *is_settled && matches!(worker.key, Key::Named(_)),
        };
        let again: Vec<u32> =
            after.filter(|(_, kind)| may_change(kind)).map(|(id, _)| *id).take(ASKED_AGAIN).collect();
        self.asked = again.last().copied().unwrap_or_default();
        ids.extend(again);
        ids
    }

    /// Asks a process who it is. One that does not answer (another user's under hidepid, or gone) is nobody.
    fn ask(&mut self, id: u32, uptime: Option<f64>) {
        let folder = self.folder(id);
        let key = command_line(&folder).ok().and_then(|line| self.key(id, line));
        let Some(stat) = Stat::read(&folder) else {
            self.known.insert(id, Kind::Other { is_settled: true });
            return;
        };
        let is_settled = uptime.is_some_and(|uptime| uptime - Stat::seconds(stat.start) > SETTLED);
        // What a worker starts is its own, unless it is another worker.
        let parents = match self.known.get(&stat.parent) {
            Some(Kind::Worker { worker, .. }) => Some(worker.clone()),
            _ => None,
        };
        let is_its_own = |key: &Key| parents.as_ref().is_none_or(|parent| parent.key != *key);
        let root = key.filter(is_its_own).map(|key| {
            let nearness = nearness(&cgroup(&self.procfs.join("self")), &cgroup(&folder));
            Worker { key, root: id, server: stat.parent, nearness }
        });
        let kind = match root.or(parents) {
            Some(worker) => Kind::Worker { worker, start: stat.start, is_settled },
            None => Kind::Other { is_settled },
        };
        self.known.insert(id, kind);
    }

    /// Which worker a command line says the process is.
    fn key(&self, id: u32, mut line: Vec<u8>) -> Option<Key> {
        if let Some(number) = number_of(&line) {
            return Some(Key::Number(number));
        }
        if self.rules.is_empty() || self.own == Some(id) {
            return None;
        }
        line.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        let line = line.trim_ascii_end();
        self.rules.iter().find_map(|rule| rule.identity(line)).map(|identity| Key::Named(identity.into()))
    }

    fn folder(&self, id: u32) -> PathBuf {
        let mut buffer = self.procfs.clone();
        buffer.push(Path::new(&id.to_string()));
        buffer
    }
}

/// The path of a process's cgroup in the hierarchy that containers are told apart by.
fn cgroup(process: &Path) -> String {
    let text = text(&process.join("cgroup")).unwrap_or_default();
    let path = |is_meant: &dyn Fn(&str) -> bool| {
        let mut lines = text.lines().map(|line| line.splitn(3, ':').skip(1));
        lines.find_map(|mut parts| is_meant(parts.next()?).then(|| parts.next().map(str::to_owned))?)
    };
    path(&|controllers| controllers == "memory").or_else(|| path(&str::is_empty)).unwrap_or_default()
}

/// Common folders of two paths, less the steps up that a path of another cgroup namespace begins with.
fn nearness(ours: &str, theirs: &str) -> i64 {
    let parts =
        |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (ours, theirs) = (parts(ours), parts(theirs));
    let common = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
    let up = theirs.iter().filter(|part| *part == "..").count();
    i64::try_from(common).unwrap_or(0) - i64::try_from(up).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_of_our_pod_is_nearer_than_one_of_another() {
        for (ours, pods, others) in [
            ("/kubepods/podA/c1", "/kubepods/podA/c2", "/kubepods/podB/c3"),
            ("/", "/../c2", "/../../podB/c3"),
            ("/user.slice", "/user.slice", "/docker/x"),
        ] {
            assert!(nearness(ours, pods) > nearness(ours, others), "{ours}");
        }
    }

    fn write(procfs: &Path, id: u32, parent: u32, line: &str) {
        let folder = procfs.join(id.to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cmdline"), line.replace(' ', "\0")).unwrap();
        let rest = "0 ".repeat(17);
        fs::write(folder.join("stat"), format!("{id} (x) S {parent} {rest}5 0 1")).unwrap();
    }

    #[test]
    fn a_process_that_gets_its_model_late_is_found_late() {
        let procfs = tempfile::tempdir().unwrap();
        let path = procfs.path();
        fs::write(path.join("uptime"), "1000.00 900.00").unwrap();
        fs::write(path.join("loadavg"), "0 0 0 1/1 20").unwrap();
        let rule = Rule::new(r"ray::(?P<model_name>[a-z]+)", [None, None, None]).unwrap();
        let mut finder = Finder::new(path.to_owned(), Arc::from([rule]));
        let mut models = |line: &str| {
            write(path, 10, 1, line);
            write(path, 20, 10, "helper");
            // Nobody is new, so that only those are asked whose turn it is.
            let [_, _, found] = [(); 3].map(|()| finder.find().unwrap());
            let model = |found: Found| match found.worker.key {
                Key::Named(identity) => (found.id, identity.model_name.clone()),
                Key::Number(number) => (found.id, number.to_string()),
            };
            found.into_iter().map(model).collect::<Vec<_>>()
        };
        let both = |model: &str| vec![(10, model.to_owned()), (20, model.to_owned())];
        assert_eq!(Vec::<(u32, String)>::new(), models("ray::IDLE"));
        assert_eq!(both("bert"), models("ray::bert"));
        assert_eq!(both("llama"), models("ray::llama"));
        assert_eq!(Vec::<(u32, String)>::new(), models("ray::IDLE"));
    }
}
