//! What an operator should know or do, in whole sentences: for the log, the page and `replay`.

use super::State;

impl State {
    /// Hints that follow from what the lines have told so far.
    pub fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        for server in &self.servers {
            if server.metrics_mode.as_deref() == Some("prometheus") {
                hints.push(
                    "The server runs in prometheus mode: its logs stay empty; scrape its own endpoint (:8082), or set \
                     metrics_mode=log."
                        .to_owned(),
                );
            }
            if let Some(path) = self.unread_metrics_config(server.metrics_config.as_deref()) {
                hints.push(format!(
                    "The server reads its metrics from {path}: give that file by --torchserve.metrics-config, or \
                     types and labels are those of the default."
                ));
            }
        }
        for facts in self.sources.iter().filter(|facts| facts.interleaved > 0) {
            hints.push(format!(
                "Two servers write to {} in turns: give each one a log folder of its own, or their lines may mix.",
                facts.name
            ));
        }
        for name in self.untyped() {
            hints.push(format!(
                "The type of {name} is unknown: add it to metrics.yaml, or to the configuration as types: {{{name}: \
                 counter}} (or gauge, histogram)."
            ));
        }
        hints
    }

    /// The server's `metrics.yaml`, when it is not the shipped one and none was given to us.
    fn unread_metrics_config<'a>(&self, path: Option<&'a str>) -> Option<&'a str> {
        let path = path.filter(|_| !self.rules.has_metrics_config)?;
        let is_shipped = path.ends_with("ts/configs/metrics.yaml");
        // The banner says `N/A` where no file is configured.
        (!is_shipped && path != "N/A").then_some(path)
    }

    /// Names of families of unknown type. A frontend's own metrics are all declared, so these are models'.
    pub fn untyped(&self) -> impl Iterator<Item = &str> {
        let untyped = |family: &&super::family::Family| family.kind.is_none() && family.refused.is_none();
        self.families.iter().filter(untyped).map(|family| family.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, Role, Rules, State};
    use std::collections::BTreeMap;

    fn hints(lines: &[&str]) -> String {
        let mut state = State::new(Rules::default().into());
        let (source, server, labels) = (state.add_source("x.log"), state.add_server(), BTreeMap::new());
        let origin = Origin { source, server, now: 0, wall: 0, labels: &labels, offset_minutes: 0 };
        for line in lines {
            let dialect = parsers::detect(format!("{line}\n").as_bytes()).unwrap();
            assert!(state.fold(line.as_bytes(), dialect.format, Role::All, &origin).is_ok(), "{line}");
        }
        state.hints().join("\n")
    }

    #[test]
    fn the_banner_leads_to_hints() {
        let told = hints(&["Metrics mode: PROMETHEUS", "Metrics config path: conf/metrics.yaml"]);
        assert!(told.contains(":8082") && told.contains("conf/metrics.yaml"), "{told}");
        assert_eq!("", hints(&["Metrics mode: LOG", "Metrics config path: x/ts/configs/metrics.yaml"]));
    }

    #[test]
    fn two_hosts_in_turns_and_unknown_types_are_named() {
        let line = |host: &str| format!("t - Requests2XX.Count:1.0|#Level:Host|#hostname:{host},timestamp:1");
        let (a, b) = (line("a"), line("b"));
        assert_eq!("", hints(&[&a, &b]));
        assert!(hints(&[&a, &b, &a]).contains("x.log in turns"));
        let hits = "t - Hits.Count:1.0|#|#hostname:h,requestID:null,timestamp:1";
        assert!(hints(&[hits]).contains("types: {Hits: counter}"));
    }
}
