//! A request's target as a label value: paths are chosen by clients, and most of what scanners ask for is no route.

/// Stands for every path that no route is known to have. No path is called so: paths begin with a slash.
pub(crate) const OTHER: &str = "other";

/// The longest path that becomes a label, in bytes. A route's own name is shorter.
const LONGEST: usize = 200;

/// Answers that are given before a route is found, or because there is none: refused by a gate in front of it,
/// nowhere, gone, too long to look at.
const UNROUTED: [&str; 9] = ["401", "403", "404", "407", "410", "414", "421", "426", "431"];

/// Methods that keep their name.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE"];

/// The path without its query, if the answer shows that a route has it; [`OTHER`] if not.
///
/// A server with a route for any path (`/files/{name}`) still writes as many paths as clients think of; those are
/// bounded by the limit of series, as all labels are.
pub(crate) fn label<'a>(path: &'a str, method: &str, code: &str) -> &'a str {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    // A cross-origin preflight is answered before routing, with 200 for any path.
    let is_unrouted = UNROUTED.contains(&code) || matches!(method, "OPTIONS" | "TRACE" | "CONNECT");
    let is_odd = !path.starts_with('/') || path.len() > LONGEST || path.chars().any(char::is_control);
    if is_unrouted || is_odd { OTHER } else { path }
}

/// The method, if HTTP has it; clients may invent others.
pub(crate) fn method(method: &str) -> &'static str {
    METHODS.iter().find(|known| **known == method).copied().unwrap_or(OTHER)
}

/// The three digits of an HTTP status, 100 to 599.
pub(crate) fn is_code(text: &str) -> bool {
    matches!(text.as_bytes(), [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_label_only_where_a_route_has_answered() {
        assert_eq!("/analyze", label("/analyze?q=1", "POST", "200"));
        assert_eq!("/analyze", label("/analyze", "POST", "500"));
        assert_eq!("/analyze", label("/analyze", "GET", "405"), "the path is right, the method is not");
        for (path, method, code) in [
            ("/wp-login.php", "GET", "404"),
            ("/x", "GET", "401"),
            ("/x", "OPTIONS", "200"),
            ("x", "GET", "200"),
            ("", "GET", "200"),
            ("/a\u{7}b", "GET", "200"),
            (&format!("/{}", "x".repeat(LONGEST)), "GET", "200"),
        ] {
            assert_eq!(OTHER, label(path, method, code), "{path:?}");
        }
    }

    #[test]
    fn codes_and_methods_are_those_of_http() {
        assert!(is_code("200") && is_code("599") && is_code("100"));
        for text in ["0x1", "099", "600", "2000", "20", "", OTHER] {
            assert!(!is_code(text), "{text:?}");
        }
        assert_eq!("GET", method("GET"));
        assert_eq!(OTHER, method("BREW"));
    }
}
