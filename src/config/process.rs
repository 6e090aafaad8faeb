//! `process:` of the configuration file, the rules by which other servers' workers are found.

use crate::collect::worker::{Rule, RuleError};
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

/// One entry of `process:`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessEntry {
    #[serde(rename = "match")]
    pattern: Spanned<String>,
    model_name: Option<Spanned<String>>,
    model_version: Option<Spanned<String>>,
    worker_name: Option<Spanned<String>>,
}

impl ProcessEntry {
    /// The rule that is meant.
    ///
    /// # Errors
    ///
    /// Where and what is wrong with it.
    pub(crate) fn rule(&self) -> Result<Rule, (Location, RuleError)> {
        let texts = [&self.model_name, &self.model_version, &self.worker_name];
        let texts = texts.map(|text| text.as_ref().map(|text| text.value.clone()));
        Rule::new(&self.pattern.value, texts).map_err(|error| (self.pattern.referenced, error))
    }
}
