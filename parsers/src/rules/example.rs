//! What a line is expected to give, as a rule's examples write it: `name{label="text"} 12.5`.

use crate::Event;
use crate::grammar::whole_number;
use std::fmt::{self, Write as _};

/// One value of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The family's name.
    pub name: String,
    /// Labels by name.
    pub labels: Vec<(String, String)>,
    /// The increment, value or observation.
    pub value: f64,
}

impl Expected {
    /// Reads a sample as an exposition writes it; labels in any order.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shape = || format!("{text:?} is not of the form name{{label=\"text\"}} 12.5");
        let (name, rest) =
            text.split_at_checked(text.find(['{', ' ']).ok_or_else(shape)?).ok_or_else(shape)?;
        let (mut labels, mut rest) = (Vec::new(), rest);
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.trim_start().starts_with('}') {
                let (label, after) = rest.split_once("=\"").ok_or_else(shape)?;
                let (value, after) = unescaped(after).ok_or_else(shape)?;
                labels.push((label.trim().to_owned(), value));
                let after = after.trim_start();
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = rest.trim_start().strip_prefix('}').ok_or_else(shape)?;
        }
        labels.sort();
        let value = whole_number(rest.trim().as_bytes()).ok_or_else(shape)?;
        Ok(Self { name: name.trim().to_owned(), labels, value })
    }

    /// Whether both say the same; a value need not be the same to the last bit, since a decimal number divided by a
    /// thousand is not always the decimal number that people write.
    pub fn agrees(&self, other: &Self) -> bool {
        let largest = self.value.abs().max(other.value.abs());
        let is_near = (self.value - other.value).abs() <= largest * 1e-9;
        is_near && self.name == other.name && self.labels == other.labels
    }

    /// The value of an event.
    pub(super) fn of(event: &Event<'_>) -> Option<Self> {
        let Event::Measured(measurement) = event else { return None };
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut labels: Vec<_> = measurement.labels.iter().map(own).collect();
        labels.sort();
        Some(Self { name: measurement.metric.name.to_owned(), labels, value: measurement.value })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (at, (name, value)) in self.labels.iter().enumerate() {
            write!(f, "{}{name}=\"", if at == 0 { '{' } else { ',' })?;
            for letter in value.chars() {
                match letter {
                    '\\' | '"' => write!(f, "\\{letter}")?,
                    '\n' => f.write_str("\\n")?,
                    other => f.write_char(other)?,
                }
            }
            f.write_char('"')?;
        }
        let end = if self.labels.is_empty() { "" } else { "}" };
        write!(f, "{end} {}", self.value)
    }
}

/// A label's text up to its closing quote, and what is behind it.
fn unescaped(text: &str) -> Option<(String, &str)> {
    let mut plain = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((plain, text.get(at + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => plain.push('\n'),
                other => plain.push(other),
            },
            other => plain.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_as_they_are_written() {
        for text in ["a 1", "a:b_total{x=\"1\",y=\"a \\\"q\\\" \\\\ \\n\"} 0.25", "a{x=\"\"} -3"] {
            assert_eq!(text, Expected::parse(text).unwrap().to_string());
        }
        let sorted = Expected::parse("a{ y=\"2\", x=\"1\", } 1e3").unwrap();
        assert_eq!("a{x=\"1\",y=\"2\"} 1000", sorted.to_string());
        for wrong in ["", "a", "a{", "a{x}", "a{x=\"1\" 3", "a{x=\"1\"} y", "a{x=\"1} 3"] {
            assert!(Expected::parse(wrong).is_err(), "{wrong}");
        }
    }
}
