//! The fold: what all lines so far add up to.
//!
//! [`State`] is a function of the lines in their order. It opens no file, reads no clock and takes no
//! lock; when a line was read is handed in as data ([`Origin`]). That makes a crash harmless: a state
//! and the positions that it belongs to are saved together, and reading again from there gives the same
//! state. What a scrape sees is a [`View`], an immutable copy that is published after the save.

mod access;
mod create;
mod exemplar;
mod facts;
mod family;
mod fold;
mod hints;
mod identities;
mod known;
mod labels;
mod measured;
mod names;
mod naming;
mod rules;
mod sample;
mod saved;
mod server;
mod value;
mod view;
mod workers;

pub use facts::{Outcome, SourceFacts};
pub use fold::{Rejection, Role};
pub use names::Claims;
pub use naming::{Naming, is_label_name};
pub use rules::Rules;
pub use saved::{SavedState, Saving};
pub use view::View;
pub use workers::LoadedWorker;

use exemplar::Cause;
use family::{Family, Room, Seen, Taken};
use identities::{Identities, Place, Route};
use names::Names;
use parsers::{Event, Kind, Reason};
use server::Server;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use workers::Workers;

/// Longest list of model names, of workers and of told types that is kept; all come from the log.
const REMEMBERED: usize = 10_000;

/// Where and when a record was read.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Index of the source's facts ([`State::add_source`]).
    pub source: usize,
    /// Index of the server that the source belongs to ([`State::add_server`]).
    pub server: u32,
    /// When it was read, in seconds of a clock that never jumps: lifetimes are measured by it.
    pub now: u64,
    /// The same in seconds since 1970 by the wall clock: only shown.
    pub wall: u64,
    /// Labels that the configuration adds to all of the source's series.
    pub labels: &'a BTreeMap<String, String>,
    /// Minutes east of UTC that the source's times are in, unless they say so themselves.
    pub offset_minutes: i16,
}

/// All that the lines so far add up to.
#[derive(Clone, Debug)]
pub struct State {
    rules: Arc<Rules>,
    families: Vec<Family>,
    by_name: HashMap<Box<str>, [Option<usize>; 2]>,
    /// Families of metrics that formats know, by name.
    measured: HashMap<Box<str>, usize>,
    /// How many families nobody declares: a log can name any number of them.
    undeclared: usize,
    names: Names,
    /// Types that workers' lines have told, first one wins, as in the server itself.
    told: HashMap<Box<str>, Told>,
    models: HashSet<Box<str>>,
    sources: Vec<SourceFacts>,
    servers: Vec<Server>,
    workers: Workers,
    series: usize,
    exemplar_bytes: usize,
    no_room: u64,
    requests: Option<usize>,
    identities: Identities,
    /// Where the last sample went, if every one like it goes there.
    route: Option<Route>,
    text: String,
}

/// A type that a worker's line has told, and when: what a family got at once it may not get later.
#[derive(Clone, Copy, Debug)]
struct Told {
    kind: Kind,
    /// How many types had been told before.
    order: usize,
    /// How many families there were.
    families: usize,
}

impl State {
    /// A state without any line.
    pub fn new(rules: Arc<Rules>) -> Self {
        // Few series have more than one name.
        let identities = Identities::new(rules.series_limit.saturating_mul(2));
        Self {
            rules,
            families: Vec::new(),
            by_name: HashMap::new(),
            measured: HashMap::new(),
            undeclared: 0,
            names: Names::default(),
            told: HashMap::new(),
            models: HashSet::new(),
            sources: Vec::new(),
            servers: Vec::new(),
            workers: Workers::default(),
            series: 0,
            exemplar_bytes: 0,
            no_room: 0,
            requests: None,
            identities,
            route: None,
            text: String::new(),
        }
    }

    /// Lists the families that the server declares, though they have no line yet, as its endpoint does.
    pub fn declare(&mut self) {
        let rules = self.rules.clone();
        for declaration in rules.catalog.iter() {
            if self.find(declaration.scope, &declaration.name).is_none() {
                let labels = declaration.labels.iter().map(String::as_str);
                // A name that is illegal or taken stays unlisted; `check` names it.
                let _refused: Result<usize, Reason> =
                    self.create(declaration.scope, &declaration.name, &declaration.unit, labels);
            }
        }
    }

    /// The rules that it follows.
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Adds a source; the result is its index.
    pub fn add_source(&mut self, name: &str) -> usize {
        let facts = SourceFacts::new(name);
        match self.sources.iter_mut().enumerate().find(|(_, facts)| facts.is_free()) {
            Some((at, free)) => {
                *free = facts;
                at
            }
            None => {
                self.sources.push(facts);
                self.sources.len() - 1
            }
        }
    }

    /// Forgets a source that will not come back; another one may have its index.
    pub fn retire_source(&mut self, index: usize) {
        if let Some(facts) = self.sources.get_mut(index) {
            *facts = SourceFacts::default();
        }
        self.identities.clear();
    }

    /// Adds a server, of which a folder's sources are parts; the result is its index.
    pub fn add_server(&mut self) -> u32 {
        let free = self.servers.iter().position(|server| server.is_free);
        let at = free.unwrap_or(self.servers.len());
        match self.servers.get_mut(at) {
            Some(server) => server.is_free = false,
            None => self.servers.push(Server::default()),
        }
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// Forgets a server that will not come back, with all series that it wrote last; another one may have its index.
    pub fn retire_server(&mut self, index: u32) {
        if let Some(server) = self.servers.get_mut(index as usize) {
            *server = Server { is_free: true, ..Server::default() };
        }
        let kept = |series: &family::Series| series.server != index;
        let dropped: usize = self.families.iter_mut().map(|family| family.retain(kept)).sum();
        self.series -= dropped;
        self.identities.clear();
        self.measure_exemplars();
    }

    /// The facts of a source.
    pub fn source(&self, index: usize) -> Option<&SourceFacts> {
        self.sources.get(index)
    }

    /// The facts of a source, to count what the fold itself does not see (rotations, bytes).
    pub fn source_mut(&mut self, index: usize) -> Option<&mut SourceFacts> {
        self.sources.get_mut(index)
    }

    /// Takes one event of a record.
    ///
    /// # Errors
    ///
    /// The reason why the event was refused; no value has changed then. An undeclared metric's first line names
    /// its labels even if its increment is refused, as in the server.
    pub fn apply(&mut self, event: &Event<'_>, origin: &Origin<'_>) -> Result<(), Reason> {
        match event {
            Event::Sample(sample) => self.apply_sample(sample, origin),
            Event::Measured(measurement) => self.apply_measured(measurement, origin),
            Event::Type { name, kind } => {
                self.learn(name, *kind);
                Ok(())
            }
            Event::Access(access) => {
                self.apply_access(access, origin);
                Ok(())
            }
            Event::Server(fact) => {
                if let Some(server) = self.servers.get_mut(origin.server as usize) {
                    server.note(fact, origin);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Notes that a server has written something; its gauges are shown for a while from now.
    pub fn heard(&mut self, origin: &Origin<'_>) {
        if let Some(server) = self.servers.get_mut(origin.server as usize) {
            server.last_line = origin.now;
        }
        if let Some(facts) = self.sources.get_mut(origin.source) {
            facts.last_read = Some(origin.wall);
        }
    }

    /// Drops series without a line since `--series-ttl`; called at a commit.
    pub fn expire(&mut self, now: u64) {
        let oldest = now.saturating_sub(self.rules.series_ttl);
        let dropped: usize = self.families.iter_mut().map(|family| family.expire(oldest)).sum();
        self.series -= dropped;
        if dropped > 0 {
            self.identities.clear();
            self.measure_exemplars();
        }
    }

    /// Gives a value to the series of `self.text` plus the source's own labels; the text stays as it is. Tells
    /// which series took it, unless it is one for all that have no room.
    fn give(
        &mut self,
        at: usize,
        value: f64,
        cause: &Cause<'_>,
        origin: &Origin<'_>,
    ) -> (Taken, Option<Place>) {
        let bare = self.text.len();
        labels::push_source(&mut self.text, origin.labels);
        let room = Room {
            family: self.rules.family_limit,
            total: self.rules.series_limit.saturating_sub(self.series),
            keeps_created: self.rules.created,
        };
        let seen = Seen::new(origin.now, origin.server);
        let Some(family) = self.families.get_mut(at).filter(|family| family.refused.is_none()) else {
            self.text.truncate(bare);
            return (Taken::NoRoom, None);
        };
        let (taken, series, grown) = family.take(&self.text, value, seen, cause, room);
        self.text.truncate(bare);
        self.grown(grown);
        match taken {
            Taken::New => self.series += 1,
            Taken::NoRoom => self.no_room += 1,
            Taken::Known => {}
        }
        let place = series.and_then(|series| {
            Some(Place { family: u32::try_from(at).ok()?, series: u32::try_from(series).ok()? })
        });
        (taken, place)
    }

    fn note_model(&mut self, name: &str) {
        if self.models.len() < REMEMBERED && !self.models.contains(name) {
            self.models.insert(name.into());
        }
    }
}

/// A source's index as identities keep it.
fn number_of(source: usize) -> u32 {
    u32::try_from(source).unwrap_or(u32::MAX)
}
