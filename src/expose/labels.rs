//! Label sets of published series, read back from the text that an exposition shows.

/// The pairs of `name="value",…`, with values unescaped.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => value.push(match chars.next()? {
                    'n' => '\n',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        rest = chars.as_str();
        rest = rest.strip_prefix(',').unwrap_or(rest);
        Some((name, value))
    })
}

/// The value of the first of these labels that the set has.
pub(super) fn first(text: &str, names: &[&str]) -> Option<String> {
    let found = |wanted: &&str| pairs(text).find(|(name, _)| name == wanted).map(|(_, value)| value);
    names.iter().find_map(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::push_label;

    #[test]
    fn what_was_written_is_read_back() {
        let written = [("a", "x,y=\"z\\n\n"), ("b", ""), ("c", "}{\\\\\"")];
        let mut text = String::new();
        written.iter().for_each(|(name, value)| push_label(&mut text, name, value));
        let read: Vec<(&str, String)> = pairs(&text).collect();
        assert_eq!(written.map(|(name, value)| (name, value.to_owned())).to_vec(), read);
        assert_eq!(Some(String::new()), first(&text, &["x", "b", "a"]));
        assert_eq!(None, first("", &["a"]));
    }
}
