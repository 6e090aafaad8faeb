//! Names of workers, as the log gives them.

use std::collections::HashMap;
use std::sync::Arc;

/// A worker that a log names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name: `W-9000-resnet18_1.0`.
    pub name: Arc<str>,
    /// When the log said so, or when that was first seen, in seconds since 1970.
    pub seen: u64,
}

/// Who a worker process is, as labels say it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// `resnet18`.
    pub model_name: String,
    /// `1.0`.
    pub model_version: String,
    /// `W-9000-resnet18_1.0`.
    pub worker_name: String,
}

impl Identity {
    /// Names of its labels, in the order of all `model_worker_*` families.
    pub const LABELS: [&'static str; 3] = ["model_name", "model_version", "worker_name"];

    /// Its labels.
    pub fn labels(&self) -> [(&'static str, &str); 3] {
        let [name, version, worker] = Self::LABELS;
        [(name, &self.model_name), (version, &self.model_version), (worker, &self.worker_name)]
    }

    /// Number and identity of `W-9000-resnet18_1.0`. A version has no `_`, a model's name may.
    pub(super) fn of(name: &str) -> Option<(u32, Self)> {
        let (number, model) = name.strip_prefix("W-")?.split_once('-')?;
        let (model_name, model_version) = model.rsplit_once('_').filter(|(model, _)| !model.is_empty())?;
        let identity = Self {
            model_name: model_name.to_owned(),
            model_version: model_version.to_owned(),
            worker_name: name.to_owned(),
        };
        Some((number.parse().ok()?, identity))
    }
}

/// The last name of each number. A server that was restarted may have given a number to another model, and the log
/// still has both names.
#[derive(Debug, Default)]
pub(super) struct Names {
    given: Option<Arc<[Named]>>,
    by_number: HashMap<u32, (u64, Arc<Identity>)>,
}

impl Names {
    pub(super) fn take(&mut self, given: &Arc<[Named]>) {
        if self.given.as_ref().is_some_and(|before| Arc::ptr_eq(before, given)) {
            return;
        }
        self.by_number.clear();
        for named in &**given {
            let Some((number, identity)) = Identity::of(&named.name) else { continue };
            // Of two that were seen in the same moment the later one in the log stands later in the list.
            if self.by_number.get(&number).is_none_or(|(seen, _)| *seen <= named.seen) {
                self.by_number.insert(number, (named.seen, Arc::new(identity)));
            }
        }
        self.given = Some(given.clone());
    }

    pub(super) fn of(&self, number: u32) -> Option<&(u64, Arc<Identity>)> {
        self.by_number.get(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart() {
        for (name, expected) in [
            ("W-9000-resnet18_1.0", Some((9000, "resnet18", "1.0"))),
            ("W-29500-my_model-v2_2.1.3", Some((29500, "my_model-v2", "2.1.3"))),
            ("W-x-m_1.0", None),
            ("W-9000-_1.0", None),
            ("W-9000-m", None),
            ("9000", None),
        ] {
            let found = Identity::of(name);
            let found = found.as_ref().map(|(number, it)| (*number, &*it.model_name, &*it.model_version));
            assert_eq!(expected, found, "{name}");
        }
    }

    #[test]
    fn of_two_names_of_a_number_the_later_one_counts() {
        let named = |name: &str, seen| Named { name: name.into(), seen };
        for (first, second, expected) in [(5, 5, "b"), (6, 5, "a"), (5, 6, "b")] {
            let mut names = Names::default();
            let given: Arc<[Named]> = Arc::new([named("W-9000-a_1.0", first), named("W-9000-b_1.0", second)]);
            names.take(&given);
            assert_eq!(expected, names.of(9000).unwrap().1.model_name);
        }
    }
}
