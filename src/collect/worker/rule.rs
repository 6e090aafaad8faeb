//! Rules by which the workers of any server are found: a regular expression over the command line.

use super::Identity;
use regex::bytes::{Regex, RegexBuilder};
use std::fmt;

/// Bytes that a compiled pattern may take; far more than a line that a person writes needs.
const PATTERN_MAX: usize = 1024 * 1024;

/// Longest label in bytes that a command line may give; the path of a model's files is shorter.
const LABEL_MAX: usize = 512;

/// Says which processes are workers, and what their labels are.
///
/// A label's value is a fixed text, or what the pattern's group of that name matches. One that has neither is empty,
/// which is the same as absent in Prometheus.
#[derive(Clone, Debug)]
pub struct Rule {
    pattern: Regex,
    texts: [Option<String>; 3],
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// The pattern cannot be read.
    Pattern(String),
    /// A group of the pattern is named like no label.
    Group(String),
    /// A label is given twice, as a text and by a group.
    Twice(&'static str),
    /// No label is given, so that nobody could tell the worker from others.
    NoLabel,
}

impl Rule {
    /// A rule with the values of [`Identity::LABELS`] that are fixed. The pattern sees bytes, and its classes are
    /// those of ASCII.
    ///
    /// # Errors
    ///
    /// [`RuleError`]: what is wrong with it.
    pub fn new(pattern: &str, texts: [Option<String>; 3]) -> Result<Self, RuleError> {
        let pattern = RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_MAX).build();
        let pattern = pattern.map_err(|error| RuleError::Pattern(reason(&error)))?;
        for group in pattern.capture_names().flatten() {
            let Some((label, text)) = Identity::LABELS.iter().zip(&texts).find(|(label, _)| **label == group)
            else {
                return Err(RuleError::Group(group.to_owned()));
            };
            if text.is_some() {
                return Err(RuleError::Twice(label));
            }
        }
        let has_group = pattern.capture_names().flatten().next().is_some();
        if !has_group && texts.iter().all(|text| text.as_ref().is_none_or(String::is_empty)) {
            return Err(RuleError::NoLabel);
        }
        Ok(Self { pattern, texts })
    }

    /// Who a process with this command line is, its arguments with blanks between them; none if it is not meant, or
    /// if a label would be too long, or all of them empty.
    pub(super) fn identity(&self, command_line: &[u8]) -> Option<Identity> {
        let captures = self.pattern.captures(command_line)?;
        let value = |label: &str, text: &Option<String>| match text {
            Some(text) => Some(text.clone()),
            None => {
                let group = captures.name(label).map(|group| group.as_bytes()).unwrap_or_default();
                (group.len() <= LABEL_MAX).then(|| String::from_utf8_lossy(group).into_owned())
            }
        };
        let [model_name, model_version, worker_name] = &self.texts;
        let identity = Identity {
            model_name: value("model_name", model_name)?,
            model_version: value("model_version", model_version)?,
            worker_name: value("worker_name", worker_name)?,
        };
        identity.labels().iter().any(|(_, value)| !value.is_empty()).then_some(identity)
    }
}

/// For people: the pattern, and where each label comes from.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pattern)?;
        for (label, text) in Identity::LABELS.iter().zip(&self.texts) {
            let has_group = self.pattern.capture_names().flatten().any(|group| group == *label);
            match text {
                Some(text) => write!(f, " {label}={text:?}")?,
                None if has_group => write!(f, " {label}=(group)")?,
                None => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = Identity::LABELS.join(", ");
        match self {
            Self::Pattern(reason) => write!(f, "the pattern cannot be read: {reason}"),
            Self::Group(group) => write!(f, "the pattern's group {group:?} is none of {labels}"),
            Self::Twice(label) => write!(f, "{label} is a text and a group of the pattern; one is enough"),
            Self::NoLabel => {
                write!(f, "no label is given: name a group of the pattern {labels}, or write one down")
            }
        }
    }
}

/// The last line of the explanation, which draws an arrow below the pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, texts: [&str; 3]) -> Result<Rule, RuleError> {
        Rule::new(pattern, texts.map(|text| (!text.is_empty()).then(|| text.to_owned())))
    }

    #[test]
    fn groups_and_texts_give_the_labels() {
        let vllm = r"vllm serve (?P<model_name>\S+)(?: .*--revision[= ](?P<model_version>\S+))?";
        let rule = rule(vllm, ["", "", "vllm"]).unwrap();
        for (line, expected) in [
            ("python3 /venv/bin/vllm serve org/m --port 1", Some(["org/m", "", "vllm"])),
            ("vllm serve org/m --tp 2 --revision=v2 -q", Some(["org/m", "v2", "vllm"])),
            ("vllm bench org/m", None),
            ("", None),
        ] {
            let labels = rule.identity(line.as_bytes());
            let labels = labels.as_ref().map(|it| it.labels().map(|(_, value)| value));
            assert_eq!(expected, labels, "{line}");
        }
        assert_eq!(
            format!("{vllm} model_name=(group) model_version=(group) worker_name=\"vllm\""),
            rule.to_string()
        );
    }

    #[test]
    fn bytes_that_are_no_text_and_labels_that_are_too_long_do_no_harm() {
        let rule = rule(r"serve (?P<model_name>\S*)", [""; 3]).unwrap();
        assert_eq!("a\u{fffd}", rule.identity(b"serve a\xff").unwrap().model_name);
        assert!(rule.identity(format!("serve {}", "m".repeat(LABEL_MAX)).as_bytes()).is_some());
        assert_eq!(None, rule.identity(format!("serve {}", "m".repeat(LABEL_MAX + 1)).as_bytes()));
        assert_eq!(None, rule.identity(b"serve "), "a worker without any label");
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (pattern, texts, expected) in [
            ("vllm (", ["m", "", ""], "the pattern cannot be read: unclosed group"),
            ("(?:a{1000}){1000}", ["m", "", ""], "the pattern cannot be read: "),
            (
                "(?P<modell>x)",
                [""; 3],
                "the pattern's group \"modell\" is none of model_name, model_version, worker_name",
            ),
            ("(?P<model_name>x)", ["m", "", ""], "model_name is a text and a group"),
            ("vllm", [""; 3], "no label is given"),
        ] {
            let said = rule(pattern, texts).unwrap_err().to_string();
            assert!(said.starts_with(expected) && said.lines().count() == 1, "{pattern}: {said}");
        }
    }
}
