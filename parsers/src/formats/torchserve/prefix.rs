//! What a log layout prints before the metric, and where it ends.

use crate::Catalog;
use crate::grammar::skip_colours;

/// Level words of log4j2 and the two metric loggers: a layout's text, never part of a metric's name.
const LAYOUT_WORDS: [&str; 8] =
    ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "TS_METRICS", "MODEL_METRICS"];

/// Skips any layout's prefix in `<prefix><name>.<unit>`.
///
/// The shipped layouts end it with ` - `, which no metric name can hold (a worker's line is matched
/// against `[\w\s]+`, pytorch/serve: `…/metrics/Metric.java`). For other layouts the name is searched
/// from the right: the last word with a dot, and the plain words before it, since a name may hold blanks.
pub(super) fn skip<'a>(text: &'a str, catalog: &Catalog) -> &'a str {
    let dashes = memchr::memrchr_iter(b'-', text.as_bytes());
    let dashed = dashes
        .filter_map(|at| Some((at.checked_sub(1)?, at + 2)))
        .find_map(|(start, end)| (text.get(start..end) == Some(" - ")).then(|| text.get(end..)).flatten());
    let name = skip_colours(dashed.unwrap_or(text).trim_start());
    if is_declared(name, catalog) {
        return name;
    }
    let Some(dotted) = last_dotted_word(name) else { return name };
    let bare = after_delimiter(name.get(dotted..).unwrap_or(name));
    let start = name.len() - bare.len();
    // Behind a dash there is nothing but the name: `My HandlerTime` is not `HandlerTime`.
    if start > dotted || (dashed.is_none() && is_declared(bare, catalog)) {
        return bare;
    }
    name.get(first_plain_word(name, start)..).unwrap_or(name)
}

fn is_declared(text: &str, catalog: &Catalog) -> bool {
    let fits = |name: &str| text.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    catalog.iter().any(|declaration| fits(&declaration.name))
}

/// Offset of the last word that holds a dot.
fn last_dotted_word(text: &str) -> Option<usize> {
    let dot = text.rfind('.')?;
    let before = text.get(..dot)?;
    Some(before.rfind(char::is_whitespace).map_or(0, |at| at + 1))
}

/// `INFO|Requests2XX.Count` → `Requests2XX.Count`; colours end like a delimiter.
fn after_delimiter(word: &str) -> &str {
    let name_end = word.find('.').unwrap_or(word.len());
    let delimiter =
        |c: char| matches!(c, '|' | ']' | ')' | '}' | '>' | '"' | '\'' | '=' | ';' | ',' | ':' | '(' | '[');
    let cut = word.get(..name_end).and_then(|name| name.rfind(delimiter));
    match cut {
        Some(at) if !word.starts_with("\x1b[") => word.get(at + 1..).unwrap_or(word),
        _ => skip_colours(word),
    }
}

/// Goes left from `start` over words that can be part of a name with blanks in it.
fn first_plain_word(text: &str, mut start: usize) -> usize {
    loop {
        let before = text.get(..start).unwrap_or_default().trim_end();
        let word_start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = before.get(word_start..).unwrap_or_default();
        let plain = word.chars().all(|c| c.is_alphanumeric() || c == '_');
        let number = word.chars().all(|c| c.is_ascii_digit());
        if word.is_empty() || !plain || number || LAYOUT_WORDS.contains(&word) {
            return start;
        }
        start = word_start;
    }
}
