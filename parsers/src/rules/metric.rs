//! The metrics that rules feed.

use super::field::Text;
use super::value::Value;
use crate::{Kind, Metric};

/// A family of the configuration; all rules that feed it say the same about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Sample name.
    pub name: String,
    /// Text after `# HELP`.
    pub help: String,
    /// How values are accumulated.
    pub kind: Kind,
    /// Upper bounds of a histogram's buckets, ascending, without `+Inf`; empty for other kinds.
    pub bounds: Vec<f64>,
    /// Label names, in their order.
    pub labels: Vec<String>,
}

impl Family {
    /// The family as the fold takes it.
    pub fn metric(&self) -> Metric<'_> {
        let Self { name, help, kind, bounds, .. } = self;
        Metric { name, help, kind: *kind, bounds, ..Metric::BLANK }
    }
}

/// What a rule gives to a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// The family.
    pub family: Family,
    /// The increment, value or observation.
    pub value: Value,
    /// Labels in the family's order.
    pub labels: Vec<(String, Text)>,
    /// The request's id, for exemplars.
    pub request_id: Option<Text>,
}

impl Feed {
    /// Whether anything of it is a group of an expression.
    pub(super) fn needs_groups(&self) -> bool {
        let mut texts = self.labels.iter().map(|(_, text)| text).chain(&self.request_id);
        self.value.is_group() || texts.any(Text::is_group)
    }
}
