//! What is said to the operator: once per change, or once a minute, and never with raw log text.

use super::discover::Problem;
use crate::publish::PathProblem;
use crate::state::Rejection;
use parsers::Reason;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the same complaint about lines is repeated.
const REPEAT: Duration = Duration::from_secs(60);

/// The most bytes of a line that are shown.
const SHOWN: usize = 128;

/// What has been said already.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    paths: HashMap<PathBuf, Problem>,
    files: HashMap<String, String>,
    stale: HashSet<String>,
    /// When each reason was said last, by source.
    lines: HashMap<String, BTreeMap<Reason, Instant>>,
    hints: HashSet<String>,
    repeats: HashMap<PathBuf, String>,
}

impl Complaints {
    /// Says what is wrong with a PATH, when it has changed.
    pub(crate) fn path(&mut self, path: &Path, problem: &Problem) -> PathProblem {
        let is_new = self.paths.insert(path.to_owned(), problem.clone()).as_ref() != Some(problem);
        let shown = path.display();
        let word = match problem {
            Problem::Absent => {
                if is_new {
                    tracing::warn!(path = %shown, "no such file or folder yet; it is followed as soon as it appears");
                }
                "absent"
            }
            Problem::Empty => {
                if is_new {
                    tracing::warn!(path = %shown, "no log file in the folder yet; files are followed as they appear");
                }
                "empty"
            }
            Problem::Unreadable(who) => {
                if is_new {
                    tracing::error!(path = %shown, %who, "cannot read; run as that user or group, or open the folder");
                }
                "unreadable"
            }
            Problem::Outside(link) => {
                if is_new {
                    tracing::error!(
                        path = %shown, link = %link.display(),
                        "a link leads out of the folder and is not followed; see --source.allow-root"
                    );
                }
                "outside"
            }
        };
        let detail = match problem {
            Problem::Absent | Problem::Empty => None,
            Problem::Unreadable(who) => Some(who.clone()),
            Problem::Outside(link) => Some(link.to_string_lossy().into_owned()),
        };
        PathProblem { path: path.to_string_lossy().into_owned(), problem: word, detail }
    }

    /// A PATH stands for files now.
    pub(crate) fn path_is_good(&mut self, path: &Path) {
        if self.paths.remove(path).is_some() {
            tracing::info!(path = %path.display(), "found");
        }
    }

    /// Says that a file is not followed because it repeats others.
    pub(crate) fn repeats(&mut self, path: &Path, other: &str) -> PathProblem {
        let is_new = self.repeats.insert(path.to_owned(), other.to_owned()).is_none();
        if is_new {
            tracing::error!(
                file = %path.display(), beside = %escape(other.as_bytes()),
                "not followed: a console repeats the metric files, each line would count twice; \
                 give only one of them, or --source.allow-repeats"
            );
        }
        let detail = Some(other.to_owned());
        PathProblem { path: path.to_string_lossy().into_owned(), problem: "refused", detail }
    }

    /// Says what is wrong with a file, when it has changed.
    pub(crate) fn file(&mut self, name: &str, error: Option<&str>) {
        match error {
            Some(error) if self.files.get(name).map(String::as_str) != Some(error) => {
                tracing::warn!(source = name, error, "retried at every look");
                self.files.insert(name.to_owned(), error.to_owned());
            }
            Some(_) => {}
            None => {
                self.files.remove(name);
            }
        }
    }

    /// Says that a source's file was replaced behind a mount of that single file.
    pub(crate) fn stale(&mut self, name: &str, is_stale: bool) {
        if !is_stale {
            self.stale.remove(name);
        } else if self.stale.insert(name.to_owned()) {
            tracing::error!(
                source = name,
                "the file was replaced, but its name still shows the old one: mount its folder, not the single file"
            );
        }
    }

    /// Forgets what was said about a source that is gone.
    pub(crate) fn forget(&mut self, name: &str) {
        self.files.remove(name);
        self.stale.remove(name);
        self.lines.remove(name);
    }

    /// Says why a line was rejected, once a minute per source and reason.
    pub(crate) fn line(&mut self, name: &str, record: &[u8], rejection: &Rejection) {
        let said = self.lines.get(name).and_then(|reasons| reasons.get(&rejection.reason));
        if said.is_some_and(|said| said.elapsed() < REPEAT) {
            return;
        }
        self.lines.entry(name.to_owned()).or_default().insert(rejection.reason, Instant::now());
        let detail =
            rejection.error.map_or_else(|| rejection.reason.advice().to_owned(), |error| error.to_string());
        tracing::warn!(
            source = name, reason = rejection.reason.label(), %detail, line = %escape(record),
            "line rejected (said once a minute for each reason)"
        );
    }

    /// Says each hint once, when it comes up. Unknown types are left to the page and the metrics: there may
    /// be hundreds.
    pub(crate) fn hints(&mut self, hints: &[String]) {
        self.hints.retain(|said| hints.contains(said));
        for hint in hints.iter().filter(|hint| !hint.starts_with("The type of ")) {
            if self.hints.insert(hint.clone()) {
                tracing::warn!("{}", hint.escape_debug());
            }
        }
    }
}

/// Log text for our own log: cut, and without control characters that a terminal would obey.
pub(crate) fn escape(text: &[u8]) -> String {
    let cut = text.get(..SHOWN).unwrap_or(text);
    let mut shown: String = String::from_utf8_lossy(parsers::framing::trim_end(cut)).escape_debug().collect();
    if text.len() > SHOWN {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_text_is_cut_and_cannot_steer_a_terminal() {
        assert_eq!("a\\u{1b}[2Jb", escape(b"a\x1b[2Jb\n"));
        assert_eq!(SHOWN + 1, escape(&[b'x'; 500]).chars().count());
    }
}
