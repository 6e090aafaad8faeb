//! The words of an exposition line: names, labels, escapes, numbers.

use std::collections::BTreeMap;

pub(super) fn legal(name: &str, also: &[char]) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || also.contains(&c);
    match name.chars().next() {
        Some(first) if !first.is_ascii_digit() && name.chars().all(good) => Ok(()),
        _ => Err(format!("illegal name {name:?}")),
    }
}

/// Reads the labels after the opening brace; returns what follows the closing one.
pub(super) fn read_labels(
    mut rest: &str,
    trailing_comma: bool,
) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(after) = rest.strip_prefix('}')
            && (labels.is_empty() || trailing_comma)
        {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once("=\"").ok_or("a label without =\"")?;
        legal(name, &[])?;
        let end = closing_quote(after).ok_or("a label value without its closing quote")?;
        let value = unescape(&after[..end], &['\\', 'n', '"'])?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("label {name} twice"));
        }
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => {
                let after = rest.strip_prefix('}').ok_or("neither comma nor brace after a label")?;
                return Ok((labels, after));
            }
        }
        if rest.starts_with('}') && !trailing_comma {
            return Err("a comma before the closing brace".to_owned());
        }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

pub(super) fn unescape(text: &str, known: &[char]) -> Result<String, String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => plain.push('\n'),
                Some(escaped) if known.contains(&escaped) => plain.push(escaped),
                other => return Err(format!("unknown escape {other:?}")),
            },
            _ => plain.push(c),
        }
    }
    Ok(plain)
}

pub(super) fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
            text.parse().map_err(|_| format!("{text:?} is no number"))
        }
        _ => Err(format!("{text:?} is no number")),
    }
}
