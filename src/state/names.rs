//! Who owns which sample name: one exposition may not say one name twice.

use super::naming::{Exposed, is_label_name, is_metric_name};
use parsers::{Kind, Reason};
use std::collections::{HashMap, HashSet};

/// Families that are not made of log lines, by name or by prefix. A log metric of such a name is refused.
const OWN: [&str; 9] = [
    "ts_server_info",
    "ts_server_start_time_seconds",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];
const OWN_PREFIX: &str = "inferometer_";

/// The owners of sample names, by family index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    owners: HashMap<String, usize>,
}

impl Names {
    /// Claims all sample names of a family. Owners for which `yields` holds lose theirs and are returned.
    pub(crate) fn claim(
        &mut self,
        name: &str,
        kind: Option<Kind>,
        family: usize,
        yields: impl Fn(usize) -> bool,
    ) -> Result<Vec<usize>, Reason> {
        let wanted = sample_names(name, kind);
        let owners = wanted.iter().filter_map(|sample| self.owners.get(sample).copied());
        let losers: HashSet<usize> = owners.filter(|owner| *owner != family).collect();
        if !losers.iter().all(|owner| yields(*owner)) {
            return Err(Reason::NameClash);
        }
        losers.iter().for_each(|loser| self.release(*loser));
        self.owners.extend(wanted.into_iter().map(|sample| (sample, family)));
        Ok(losers.into_iter().collect())
    }

    /// Gives up all names of a family.
    pub(crate) fn release(&mut self, family: usize) {
        self.owners.retain(|_, owner| *owner != family);
    }
}

/// Families that the configuration names, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    names: Names,
    families: usize,
}

impl Claims {
    /// Claims the names of one more family.
    ///
    /// # Errors
    ///
    /// Why it cannot be exposed beside the others and our own.
    pub fn add(&mut self, name: &str, kind: Kind, labels: &[String]) -> Result<(), Reason> {
        let (name, labels) = (name.to_owned(), labels.to_vec());
        let exposed = Exposed { name, help: String::new(), labels, convert: None };
        check(&exposed, Some(kind))?;
        self.names.claim(&exposed.name, Some(kind), self.families, |_| false)?;
        self.families += 1;
        Ok(())
    }
}

/// The names that a family's samples have, its own included (simpleclient: `CollectorRegistry`).
fn sample_names(name: &str, kind: Option<Kind>) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    if kind == Some(Kind::Summary) {
        names.extend(["_count", "_sum"].map(|suffix| format!("{name}{suffix}")));
    }
    if kind == Some(Kind::Histogram) {
        names.extend(["_bucket", "_count", "_sum"].map(|suffix| format!("{name}{suffix}")));
    }
    names
}

/// Whether Prometheus would take the family's names.
pub(crate) fn check(exposed: &Exposed, kind: Option<Kind>) -> Result<(), Reason> {
    if !is_metric_name(&exposed.name) || !exposed.labels.iter().all(|label| is_label_name(label)) {
        return Err(Reason::IllegalName);
    }
    if kind == Some(Kind::Histogram) && exposed.labels.iter().any(|label| label == "le") {
        return Err(Reason::IllegalName);
    }
    if kind == Some(Kind::Summary) && exposed.labels.iter().any(|label| label == "quantile") {
        return Err(Reason::IllegalName);
    }
    if exposed.name.starts_with(OWN_PREFIX) || OWN.contains(&exposed.name.as_str()) {
        return Err(Reason::NameClash);
    }
    let distinct: HashSet<&String> = exposed.labels.iter().collect();
    if distinct.len() < exposed.labels.len() {
        return Err(Reason::DuplicateLabel);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_owns_its_suffixes() {
        let mut names = Names::default();
        assert_eq!(Ok(vec![]), names.claim("Hist", Some(Kind::Histogram), 0, |_| false));
        assert_eq!(Err(Reason::NameClash), names.claim("Hist_count", Some(Kind::Counter), 1, |_| false));
        assert_eq!(Ok(vec![0]), names.claim("Hist_count", Some(Kind::Counter), 1, |_| true));
        assert_eq!(Ok(vec![]), names.claim("Hist", Some(Kind::Gauge), 2, |_| false));
    }

    #[test]
    fn what_prometheus_refuses_is_refused_before() {
        let exposed = |name: &str, labels: &[&str]| Exposed {
            name: name.to_owned(),
            help: String::new(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            convert: None,
        };
        assert_eq!(Err(Reason::IllegalName), check(&exposed("2xx", &[]), None));
        assert_eq!(Err(Reason::IllegalName), check(&exposed("a", &["le"]), Some(Kind::Histogram)));
        assert_eq!(Err(Reason::IllegalName), check(&exposed("a", &["quantile"]), Some(Kind::Summary)));
        assert_eq!(Ok(()), check(&exposed("a", &["le", "quantile"]), Some(Kind::Gauge)));
        assert_eq!(Err(Reason::DuplicateLabel), check(&exposed("a", &["Tag", "Tag"]), None));
        assert_eq!(Err(Reason::NameClash), check(&exposed("inferometer_lines_total", &[]), None));
    }
}
