//! The families that a server declares, from its `metrics.yaml` or the built-in default.

use crate::{Kind, Scope};
use std::collections::HashMap;

/// One declared family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Whose half of the file it stands in.
    pub scope: Scope,
    /// How its values are meant.
    pub kind: Kind,
    /// Name, as on the server's endpoint.
    pub name: String,
    /// Unit, as in its `HELP`.
    pub unit: String,
    /// Label names in their order, the host label last.
    pub labels: Vec<String>,
}

/// A second declaration of a name in the same half of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate(pub String);

/// All declared families, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    declarations: Vec<Declaration>,
    /// Positions in `declarations` by name, the server's half and the model's.
    index: HashMap<String, [Option<usize>; 2]>,
}

impl Catalog {
    /// TorchServe 0.12.0's own `metrics.yaml` (`ts/configs/metrics.yaml` in its package), which is in
    /// force unless the server's `metrics_config` names another file.
    pub fn torchserve_default() -> Self {
        let mut catalog = Self::default();
        for &(scope, kind, name, unit, labels) in TORCHSERVE_DEFAULT {
            let declaration = Declaration {
                scope,
                kind,
                name: name.to_owned(),
                unit: unit.to_owned(),
                labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            };
            let added = catalog.declare(declaration);
            debug_assert!(added.is_ok(), "the built-in table names {name} twice");
        }
        catalog
    }

    /// Adds a family.
    ///
    /// # Errors
    ///
    /// When the same half already declares the name; the first one stays.
    pub fn declare(&mut self, declaration: Declaration) -> Result<(), Duplicate> {
        let place = self.index.entry(declaration.name.clone()).or_default();
        let Some(place) = place.get_mut(half(declaration.scope)).filter(|place| place.is_none()) else {
            return Err(Duplicate(declaration.name));
        };
        *place = Some(self.declarations.len());
        self.declarations.push(declaration);
        Ok(())
    }

    /// The declaration of a name in one half.
    pub fn get(&self, scope: Scope, name: &str) -> Option<&Declaration> {
        let at = self.index.get(name)?.get(half(scope)).copied().flatten()?;
        self.declarations.get(at)
    }

    /// All declarations in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Declaration> {
        self.declarations.iter()
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.declarations.is_empty()
    }

    /// Splits `name.unit`.
    ///
    /// A declared unit may hold dots (`tokens/s.avg`) and an old name may too (`W-9000-m_1.0`), so the
    /// longest declared name that fits decides, and the last dot where none does.
    pub fn split_name<'a>(&self, head: &'a str) -> Option<(&'a str, &'a str)> {
        // By the declarations, which are few, and not by the dots of a line, which may be 60 000.
        let fits = |name: &&str| head.strip_prefix(*name).is_some_and(|rest| rest.starts_with('.'));
        let names = self.declarations.iter().map(|declaration| declaration.name.as_str());
        let declared = names.filter(fits).max_by_key(|name| name.len());
        let declared = declared.and_then(|name| head.get(..name.len()));
        match declared {
            Some(name) => head.get(name.len() + 1..).map(|unit| (name, unit)),
            None => head.rsplit_once('.'),
        }
    }
}

const fn half(scope: Scope) -> usize {
    match scope {
        Scope::Server => 0,
        Scope::Model => 1,
    }
}

type Row = (Scope, Kind, &'static str, &'static str, &'static [&'static str]);

const HOST: &[&str] = &["Level", "Hostname"];
const BY_MODEL: &[&str] = &["model_name", "model_version", "hostname"];
const BY_DEVICE: &[&str] = &["Level", "DeviceId", "Hostname"];
const OF_MODEL: &[&str] = &["ModelName", "Level", "Hostname"];

const TORCHSERVE_DEFAULT: &[Row] = &[
    (Scope::Server, Kind::Counter, "Requests2XX", "Count", HOST),
    (Scope::Server, Kind::Counter, "Requests4XX", "Count", HOST),
    (Scope::Server, Kind::Counter, "Requests5XX", "Count", HOST),
    (Scope::Server, Kind::Counter, "ts_inference_requests_total", "Count", BY_MODEL),
    (Scope::Server, Kind::Counter, "ts_inference_latency_microseconds", "Microseconds", BY_MODEL),
    (Scope::Server, Kind::Counter, "ts_queue_latency_microseconds", "Microseconds", BY_MODEL),
    (Scope::Server, Kind::Gauge, "QueueTime", "Milliseconds", HOST),
    (Scope::Server, Kind::Gauge, "WorkerThreadTime", "Milliseconds", HOST),
    (Scope::Server, Kind::Gauge, "WorkerLoadTime", "Milliseconds", &["WorkerName", "Level", "Hostname"]),
    (Scope::Server, Kind::Gauge, "CPUUtilization", "Percent", HOST),
    (Scope::Server, Kind::Gauge, "MemoryUsed", "Megabytes", HOST),
    (Scope::Server, Kind::Gauge, "MemoryAvailable", "Megabytes", HOST),
    (Scope::Server, Kind::Gauge, "MemoryUtilization", "Percent", HOST),
    (Scope::Server, Kind::Gauge, "DiskUsage", "Gigabytes", HOST),
    (Scope::Server, Kind::Gauge, "DiskUtilization", "Percent", HOST),
    (Scope::Server, Kind::Gauge, "DiskAvailable", "Gigabytes", HOST),
    (Scope::Server, Kind::Gauge, "GPUMemoryUtilization", "Percent", BY_DEVICE),
    (Scope::Server, Kind::Gauge, "GPUMemoryUsed", "Megabytes", BY_DEVICE),
    (Scope::Server, Kind::Gauge, "GPUUtilization", "Percent", BY_DEVICE),
    (Scope::Model, Kind::Gauge, "HandlerTime", "ms", OF_MODEL),
    (Scope::Model, Kind::Gauge, "PredictionTime", "ms", OF_MODEL),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(name: &str) -> Catalog {
        let mut catalog = Catalog::default();
        let declaration = Declaration {
            scope: Scope::Model,
            kind: Kind::Gauge,
            name: name.to_owned(),
            unit: String::new(),
            labels: Vec::new(),
        };
        assert_eq!(Ok(()), catalog.declare(declaration.clone()));
        assert_eq!(Err(Duplicate(name.to_owned())), catalog.declare(declaration));
        catalog
    }

    #[test]
    fn the_last_dot_ends_an_undeclared_name() {
        let split = Catalog::default().split_name("W-9000-resnet18_1.0.ms");
        assert_eq!(Some(("W-9000-resnet18_1.0", "ms")), split);
        assert_eq!(None, Catalog::default().split_name("no unit"));
    }

    #[test]
    fn a_declared_name_keeps_the_dots_of_its_unit() {
        assert_eq!(Some(("Rate", "tokens/s.avg")), catalog("Rate").split_name("Rate.tokens/s.avg"));
    }
}
