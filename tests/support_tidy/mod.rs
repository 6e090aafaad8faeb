//! Reads just enough Rust to know which paths a source file names.
//!
//! It is a scanner, not a parser: macros are not expanded and a name brought in by a re-export is not
//! traced back. That is enough for house rules, which keep honest people from slipping.

/// A path as a file names it, resolved to `crate::…` or an outer crate's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) path: String,
    /// By a `use`, so that what lies below it can be named without this path.
    imported: bool,
}

impl Named {
    /// Whether this gives access to what stands at `place`, or to something inside it.
    pub(crate) fn reaches(&self, place: &str) -> bool {
        let (parent, everything) = match self.path.strip_suffix("::*") {
            Some(parent) => (parent, true),
            None => (self.path.as_str(), false),
        };
        let is_inside = parent == place || parent.strip_prefix(place).is_some_and(|r| r.starts_with("::"));
        let is_above = place.strip_prefix(parent).is_some_and(|rest| rest.starts_with("::"));
        is_inside || (is_above && (everything || self.imported))
    }
}

/// A file's lines without its comments and without the test module at its end.
pub(crate) fn code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ");
    let end = lines.windows(2).position(is_tests).unwrap_or(lines.len());
    let lines = lines[..end].iter().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line.split(" // ").next().unwrap_or_default(), "\n"]).collect()
}

/// All paths that a file's [`code`] names; `file` is relative to the package, as `src/state/value.rs`.
pub(crate) fn paths(file: &str, code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let module = module_of(file);
    let mut scan = Scan { tokens: &tokens, at: 0, found: Vec::new() };
    while let Some(token) = scan.peek() {
        match token {
            "use" if scan.starts_statement() => {
                scan.at += 1;
                scan.tree(&[]);
            }
            name if is_name(name) => scan.path(),
            _ => scan.at += 1,
        }
    }
    let resolve = |(segments, imported)| Named { path: resolved(&module, segments), imported };
    scan.found.into_iter().map(resolve).collect()
}

struct Scan<'a> {
    tokens: &'a [&'a str],
    at: usize,
    found: Vec<(Vec<&'a str>, bool)>,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).copied()
    }

    fn skip(&mut self, token: &str) -> bool {
        let is_next = self.peek() == Some(token);
        self.at += usize::from(is_next);
        is_next
    }

    /// The word `use` also stands in texts; as a statement it follows a line's start or a visibility.
    fn starts_statement(&self) -> bool {
        self.at == 0 || matches!(self.tokens[self.at - 1], "\n" | "pub" | ")")
    }

    /// A path inside an expression, a type or a pattern; a single name is none.
    fn path(&mut self) {
        let mut segments = vec![self.tokens[self.at]];
        self.at += 1;
        while self.peek() == Some("::") && self.tokens.get(self.at + 1).is_some_and(|name| is_name(name)) {
            segments.push(self.tokens[self.at + 1]);
            self.at += 2;
        }
        if segments.len() > 1 {
            self.found.push((segments, false));
        }
    }

    /// What follows `use`, or stands between the commas of a group: `a::{b, c::*, d as e}`.
    fn tree(&mut self, prefix: &[&'a str]) {
        let mut segments = prefix.to_vec();
        loop {
            self.skip_line_ends();
            if self.skip("{") {
                while self.peek().is_some() && !self.skip("}") {
                    self.tree(&segments);
                    self.skip_line_ends();
                    self.skip(",");
                    self.skip_line_ends();
                }
                return;
            }
            match self.peek() {
                Some(name) if is_name(name) || name == "*" => segments.push(name),
                // A leading `::` says that an outer crate's name follows.
                Some("::") => {}
                _ => break,
            }
            self.at += 1;
            if !self.skip("::") {
                break;
            }
        }
        if self.skip("as") {
            self.at += 1;
        }
        // `a::{self}` imports `a`.
        if segments.len() > 1 && segments.last() == Some(&"self") {
            segments.pop();
        }
        if segments.len() == prefix.len() && !matches!(self.peek(), Some("," | "}" | ";")) {
            // Nothing was read: step over it, or the scan would stand still.
            self.at += 1;
        }
        self.found.push((segments, true));
    }

    fn skip_line_ends(&mut self) {
        while self.skip("\n") {}
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// Names, `::`, line ends and single other characters; blanks only separate.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = match first {
            _ if is_part(first) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        if first == '\n' || !first.is_whitespace() {
            tokens.push(token);
        }
        rest = after;
    }
    tokens
}

/// `crate::state::value` for `src/state/value.rs`.
fn module_of(file: &str) -> Vec<&str> {
    let inside = file.split_once("src/").map_or(file, |(_, inside)| inside);
    let names = inside.strip_suffix(".rs").unwrap_or(inside).split('/');
    std::iter::once("crate").chain(names.filter(|name| !matches!(*name, "lib" | "main" | "mod"))).collect()
}

fn resolved(module: &[&str], segments: Vec<&str>) -> String {
    let mut base: Vec<&str> = Vec::new();
    for (index, segment) in segments.into_iter().enumerate() {
        match segment {
            "self" if index == 0 => base.extend(module),
            "super" => {
                if index == 0 {
                    base.extend(module);
                }
                base.pop();
            }
            name => base.push(name),
        }
    }
    base.join("::")
}
