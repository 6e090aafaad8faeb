//! Lines of Prometheus' text format 0.0.4, part by part.
//!
//! A reader of our own: what it has to do beyond the format (bounds, one answer for every malformed line, no
//! dependency on a regex engine or a clock) is more than the format itself.

use std::borrow::Cow;

/// Names and values in their order.
pub(super) type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// A line that says something.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    Help {
        name: &'a str,
        text: Cow<'a, str>,
    },
    Type {
        name: &'a str,
        word: &'a str,
    },
    Sample {
        name: &'a str,
        labels: Labels<'a>,
        value: f64,
    },
    /// A comment, or nothing.
    Nothing,
}

/// Reads a line; the error says what was expected.
pub(super) fn line(line: &str) -> Result<Line<'_>, &'static str> {
    let line = line.trim_matches(is_blank);
    let Some(comment) = line.strip_prefix('#') else {
        return if line.is_empty() { Ok(Line::Nothing) } else { sample(line) };
    };
    let (word, rest) = word(comment);
    match word {
        "HELP" => {
            let (name, text) = self::word(rest);
            let text = unescape(text, false).ok_or("a HELP with whole escapes")?;
            Ok(Line::Help { name: legal_name(name)?, text })
        }
        "TYPE" => {
            let (name, word) = self::word(rest);
            Ok(Line::Type { name: legal_name(name)?, word })
        }
        _ => Ok(Line::Nothing),
    }
}

fn sample(line: &str) -> Result<Line<'_>, &'static str> {
    let end = line.find(|c| is_blank(c) || c == '{').ok_or("a value after the name")?;
    let (name, rest) = line.split_at_checked(end).ok_or("a name")?;
    let rest = rest.trim_start_matches(is_blank);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => {
            let end = closing_brace(rest).ok_or("a closing brace")?;
            let (inside, after) = rest.split_at_checked(end).ok_or("a closing brace")?;
            (labels(inside)?, after.get(1..).unwrap_or_default())
        }
        None => (Labels::new(), rest),
    };
    let (value, time) = word(rest);
    let value = value.parse::<f64>().map_err(|_| "a number")?;
    if !time.is_empty() && time.parse::<i64>().is_err() {
        return Err("a time in milliseconds, or nothing, after the value");
    }
    Ok(Line::Sample { name: legal_name(name)?, labels, value })
}

/// The labels between the braces, each name once.
pub(super) fn labels(mut text: &str) -> Result<Labels<'_>, &'static str> {
    let mut labels = Labels::new();
    loop {
        text = text.trim_matches(is_blank);
        if text.is_empty() {
            return Ok(labels);
        }
        let (name, rest) = text.split_once('=').ok_or("an equals sign after a label's name")?;
        let name = name.trim_matches(is_blank);
        let rest = rest.trim_start_matches(is_blank).strip_prefix('"').ok_or("a quoted value")?;
        let end = closing_quote(rest).ok_or("a closing quote")?;
        let value = rest.get(..end).and_then(|value| unescape(value, true)).ok_or("whole escapes")?;
        if !is_legal(name, "_") {
            return Err("a legal name of a label");
        }
        if labels.iter().any(|(known, _)| *known == name) {
            return Err("each label once");
        }
        labels.push((name, value));
        let after = rest.get(end + 1..).unwrap_or_default().trim_start_matches(is_blank);
        text = match after.strip_prefix(',') {
            Some(after) => after,
            None if after.is_empty() => after,
            None => return Err("a comma between labels"),
        };
    }
}

/// The offset of the brace that ends the labels; one in a value is none.
fn closing_brace(text: &str) -> Option<usize> {
    let mut rest = text;
    loop {
        let at = rest.find(['"', '}'])?;
        let (_, after) = rest.split_at_checked(at)?;
        if after.starts_with('}') {
            return Some(text.len() - after.len());
        }
        let inside = after.get(1..)?;
        rest = inside.get(closing_quote(inside)? + 1..)?;
    }
}

/// The offset of the quote that ends a value.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

/// Undoes `\\` and `\n`, and `\"` in a label's value.
fn unescape(text: &str, has_quotes: bool) -> Option<Cow<'_, str>> {
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                '\\' => '\\',
                '"' if has_quotes => '"',
                _ => return None,
            },
            c => c,
        });
    }
    Some(Cow::Owned(plain))
}

fn legal_name(name: &str) -> Result<&str, &'static str> {
    if is_legal(name, "_:") { Ok(name) } else { Err("a legal name of a metric") }
}

fn is_legal(name: &str, more: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    !name.is_empty() && name.chars().all(is_part) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(is_blank);
    let (word, rest) = text.split_once(is_blank).unwrap_or((text, ""));
    (word, rest.trim_matches(is_blank))
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_format_has_them() {
        assert_eq!(Ok(Line::Nothing), line("  "));
        assert_eq!(Ok(Line::Nothing), line("# a comment"));
        let help = Line::Help { name: "a:b", text: "two\nlines \\ \"q\"".into() };
        assert_eq!(Ok(help), line("# HELP a:b two\\nlines \\\\ \"q\""));
        assert_eq!(Ok(Line::Type { name: "a", word: "gauge" }), line("#\tTYPE a gauge"));
        let labels = vec![("x", "}\"\\\n,".into()), ("y", "".into())];
        assert_eq!(
            Ok(Line::Sample { name: "a", labels, value: -0.5 }),
            line("a { x = \"}\\\"\\\\\\n,\" , y=\"\", } -5e-1 1795196880000")
        );
        assert!(matches!(line("a +Inf"), Ok(Line::Sample { value: f64::INFINITY, .. })));
        assert!(matches!(line("a NaN"), Ok(Line::Sample { value, .. }) if value.is_nan()));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "a",
            "a{",
            "a{}",
            "a{x=\"1\" 1",
            "a{x=1} 1",
            "a{x=\"1\"y=\"2\"} 1",
            "a{x=\"\\x\"} 1",
            "1a 1",
            "a{x=\"1\",x=\"2\"} 1",
            "a{1=\"x\"} 1",
            "a one",
            "a 1 x",
            "a 1 1 1",
            "é 1",
            "# TYPE é gauge",
            "# HELP a b\\",
            "a{x:y=\"1\"} 1",
            "{x=\"1\"} 1",
            "a{\"x\"} 1",
        ] {
            assert!(line(text).is_err(), "{text}");
        }
    }
}
