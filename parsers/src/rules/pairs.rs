//! Key-value pairs: logfmt, `k=v`, `k: v`, in a line of any other text.

use std::borrow::Cow;

/// The most pairs of a line.
const PAIRS_MAX: usize = 512;

/// How pairs are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    /// What stands between a key and its value: `=`, `:`, ` => `. Blanks after it are passed over, except after `=`:
    /// there `k= ` is an empty value.
    pub separator: String,
    /// What stands between two pairs. Without it blanks do, a key is one word, and a comma or semicolon after a value
    /// is not a part of it.
    pub between: Option<String>,
    /// The pairs begin behind the first place where this stands; a line without it is not meant.
    pub after: Option<String>,
}

/// Pairs in the order of the line.
pub(super) type List<'t> = Vec<(&'t str, Cow<'t, str>)>;

impl Pairs {
    /// All pairs of a line; `None` where it has none.
    pub(super) fn read<'t>(&self, line: &'t str) -> Option<List<'t>> {
        let mut rest = match &self.after {
            Some(after) => line.split_once(after.as_str())?.1,
            None => line,
        };
        let mut list = Vec::new();
        while list.len() < PAIRS_MAX {
            let Some((front, behind)) = rest.split_once(self.separator.as_str()) else { break };
            let key = self.key(front);
            let value = if self.separator == "=" { behind } else { behind.trim_start_matches([' ', '\t']) };
            if key.is_empty() {
                rest = value;
                continue;
            }
            let (value, after) = match value.strip_prefix('"').and_then(quoted) {
                Some(quoted) => quoted,
                None => self.plain(value),
            };
            list.push((key, value));
            rest = after;
        }
        Some(list).filter(|list| !list.is_empty())
    }

    /// The key at the end of the text before a separator.
    fn key<'t>(&self, front: &'t str) -> &'t str {
        match &self.between {
            Some(between) => front.rsplit(between.as_str()).next().unwrap_or(front).trim(),
            None => {
                let front = front.trim_end_matches([' ', '\t']);
                let is_end =
                    |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '[' | '(' | '{' | '"' | '\'');
                front.rsplit(is_end).next().unwrap_or(front)
            }
        }
    }

    fn plain<'t>(&self, value: &'t str) -> (Cow<'t, str>, &'t str) {
        let end = match &self.between {
            Some(between) => value.find(between.as_str()),
            None => value.find(char::is_whitespace),
        };
        let (text, rest) = value.split_at_checked(end.unwrap_or(value.len())).unwrap_or((value, ""));
        let text = if self.between.is_some() { text.trim() } else { text.trim_end_matches([',', ';']) };
        (Cow::Borrowed(text), rest)
    }
}

/// The text up to the closing quote, its escapes resolved, and what is behind it; `None` where no quote closes it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    })?;
    let (inside, rest) = text.split_at_checked(end)?;
    let rest = rest.strip_prefix('"')?;
    if !inside.contains('\\') {
        return Some((Cow::Borrowed(inside), rest));
    }
    let mut plain = String::with_capacity(inside.len());
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, true) => plain.extend(letters.next().map(|escaped| match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            })),
            (letter, false) => plain.push(letter),
        }
    }
    Some((Cow::Owned(plain), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(separator: &str, between: Option<&str>, after: Option<&str>) -> Pairs {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Pairs { separator: separator.to_owned(), between: own(between), after: own(after) }
    }

    fn read(pairs: &Pairs, line: &str) -> Vec<String> {
        let list = pairs.read(line).unwrap_or_default();
        list.iter().map(|(key, value)| format!("{key}|{value}")).collect()
    }

    #[test]
    fn logfmt_is_read_with_its_quotes() {
        let line = r#"12:00 INFO t=5 msg="a b=c \"d\"" empty= last=x, (in=3) tail"#;
        let expected = ["t|5", r#"msg|a b=c "d""#, "empty|", "last|x", "in|3)"];
        assert_eq!(expected, *read(&pairs("=", None, None), line));
    }

    #[test]
    fn keys_of_several_words_need_what_stands_between_pairs() {
        let line =
            "[18:00:10 DP0] Stats: KV cache: 9.4%, Avg thr (in): 5101.4 tokens/s, note: \"a, b: c\", x: 1";
        let expected = ["KV cache|9.4%", "Avg thr (in)|5101.4 tokens/s", "note|a, b: c", "x|1"];
        assert_eq!(expected, *read(&pairs(":", Some(","), Some("Stats: ")), line));
        assert_eq!(Vec::<String>::new(), read(&pairs(":", Some(","), Some("Other: ")), line));
    }

    #[test]
    fn colons_may_have_blanks_behind_them() {
        assert_eq!(["running|3", "waiting|2"], *read(&pairs(":", None, None), "running: 3, waiting:2"));
    }

    #[test]
    fn what_is_damaged_is_still_text() {
        for line in ["=", "==", "a=\"", "a=\"\\", "=x", "a", "", "\u{e9}=\u{e9}"] {
            for between in [None, Some(","), Some("=")] {
                read(&pairs("=", between, None), line);
            }
        }
        let many = "k=v ".repeat(PAIRS_MAX + 100);
        assert_eq!(PAIRS_MAX, read(&pairs("=", None, None), &many).len());
    }
}
