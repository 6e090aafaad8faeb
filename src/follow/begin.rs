//! The start: the state folder is taken, and what it holds goes on.

use super::Follower;
use super::store::{Permit, Unsettled};
use crate::snapshot::Found;
use crate::state::State;

impl Follower {
    /// Takes the state folder, goes on where its snapshot was, and publishes that. Tells whether it could;
    /// if not, another instance has the folder, and each step tries again.
    pub fn begin(&mut self, now: u64) -> bool {
        let Some(found) = self.store.acquire() else { return false };
        self.has_begun = true;
        let mut may_publish = false;
        let mut unsettled = Unsettled { is_first_start: true, is_maybe_old: false };
        if let Found::Snapshot { value: snapshot, is_maybe_old } = found {
            unsettled = snapshot.unsettled;
            unsettled.is_maybe_old |= is_maybe_old;
            may_publish = !unsettled.is_maybe_old;
            self.is_first_start = unsettled.is_first_start;
            self.ran_before = snapshot.ran;
            self.servers = snapshot.servers();
            self.absent = snapshot.sources.iter().map(|source| (source.path(), source.clone())).collect();
            self.state = State::restore(self.state.rules().clone(), snapshot.state);
            if self.state.rules().has_metrics_config {
                self.state.declare();
            }
            if self.stdin.is_some() {
                self.rejoin_stdin();
            }
        }
        if !self.store.is_wanted() {
            tracing::info!("no --state.dir: a restart counts the live files again, after a counter reset");
            return true;
        }
        let now = now.max(self.running_seconds());
        // Written once before anything is published: a state that cannot be saved again must not be shown,
        // or it would go back to what it was with the next crash.
        if !self.is_first_start && self.save(now, unsettled) != Permit::Publish {
            self.state = self.state.emptied();
            may_publish = false;
        }
        if may_publish {
            self.publish(now);
        }
        true
    }

    /// Standard input has no positions, but its counts go on.
    fn rejoin_stdin(&mut self) {
        let known = (0..).map_while(|at| self.state.source(at)).position(|facts| facts.name == "stdin");
        let facts = known.unwrap_or_else(|| self.state.add_source("stdin"));
        let server = self.state.add_server();
        if let Some(stdin) = &mut self.stdin {
            (stdin.1, stdin.2) = (facts, server);
        }
    }

    /// A source whose live file was there when the snapshot was written, and that has no file now, has lost
    /// what was written to it since.
    pub(crate) fn count_absent(&mut self) {
        for source in self.absent.values_mut() {
            let gaps = source.take_live();
            if let Some(facts) = self.state.source_mut(source.facts) {
                facts.gaps += gaps;
            }
        }
    }
}
