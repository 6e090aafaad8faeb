//! What a client takes, from the headers of its request (RFC 9110 §12).

use warp::http::HeaderMap;

/// In which form a scrape is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) format: Format,
    pub(super) gzip: bool,
}

/// The formats that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Wanted {
    /// What these headers ask for.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut codings = items(headers, "accept-encoding");
        let gzip = codings.any(|coding| coding.name.eq_ignore_ascii_case("gzip") && coding.weight > 0.0);
        Self { format: format(headers), gzip }
    }
}

/// OpenMetrics where it is named and weighs more than text; of two that weigh the same the first one, as Prometheus'
/// own libraries choose. A wildcard means text, and who takes neither gets text, too: better than no metrics. Other
/// parameters (`charset`, Prometheus' `escaping`) say nothing that our names would need.
fn format(headers: &HeaderMap) -> Format {
    // How precisely text is named; the most precise range counts, whatever its weight.
    const EXACT: u8 = 2;
    let (mut openmetrics, mut text) = (0.0, (0, 0.0));
    let mut is_openmetrics_first = false;
    for range in items(headers, "accept") {
        let precision = match range.name.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" if range.is_version("1.0.0") => {
                is_openmetrics_first |= text.0 < EXACT;
                openmetrics = range.weight.max(openmetrics);
                continue;
            }
            "text/plain" => EXACT,
            "text/*" => 1,
            "*/*" => 0,
            _ => continue,
        };
        let is_heavier = precision == text.0 && range.weight > text.1;
        if precision > text.0 || is_heavier {
            text = (precision, range.weight);
        }
    }
    let is_first = is_openmetrics_first || text.0 < EXACT;
    if openmetrics > text.1 || openmetrics > 0.0 && openmetrics >= text.1 && is_first {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// One item of a list of preferences: `name;parameter=value;q=0.5`.
struct Item<'a> {
    name: &'a str,
    parameters: &'a str,
    /// From 0, which is a refusal, to 1; what is no weight counts as 0.
    weight: f64,
}

impl Item<'_> {
    /// Whether the item names this version, or none.
    fn is_version(&self, version: &str) -> bool {
        parameter(self.parameters, "version").is_none_or(|named| named.trim_matches('"') == version)
    }
}

/// The items of all headers of this name.
fn items<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = Item<'a>> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let weight = parameter(parameters, "q").map_or(Ok(1.0), str::parse::<f64>);
        let weight = weight.ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0);
        Item { name: name.trim(), parameters, weight }
    })
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = parameters.split(';').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn accepts(value: &str) -> Format {
        Wanted::of(&headers("accept", &[value])).format
    }

    #[test]
    fn openmetrics_is_sent_to_those_who_prefer_it() {
        for value in [
            // Prometheus 2.42 and 3.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8",
            "application/openmetrics-text, text/plain",
            "*/*, application/openmetrics-text",
            "*/*;q=0.9, application/openmetrics-text;q=0.8, text/plain;q=0.5",
            "text/plain;q=0, application/openmetrics-text;q=0.001",
        ] {
            assert_eq!(Format::OpenMetrics, accepts(value), "{value}");
        }
        let split = ["text/plain;q=0.5", "application/openmetrics-text;version=1.0.0"];
        assert_eq!(Format::OpenMetrics, Wanted::of(&headers("accept", &split)).format);
    }

    #[test]
    fn all_others_get_text() {
        for value in [
            "",
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/json",
            "application/*",
            "text/plain;version=0.0.4",
            "text/plain, application/openmetrics-text",
            "application/openmetrics-text;q=0.4, text/plain;q=0.5",
            "application/openmetrics-text;q=0.4, text/*;q=0.5, */*;q=0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=NaN",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0,text/plain;q=0.1",
            ";;q=,=;,",
        ] {
            assert_eq!(Format::Text, accepts(value), "{value}");
        }
        assert_eq!(Format::Text, Wanted::of(&HeaderMap::new()).format);
    }

    #[test]
    fn gzip_is_sent_to_those_who_ask_for_it() {
        let accepts = |value| Wanted::of(&headers("accept-encoding", &[value])).gzip;
        for value in ["gzip", "GZIP", "deflate, gzip;q=0.5", "br;q=1.0, gzip ; q=0.1", "identity,gzip"] {
            assert!(accepts(value), "{value}");
        }
        for value in ["", "identity", "gzip;q=0", "gzip; q=0.0", "gzip;q=x", "xgzip", "deflate;q=1"] {
            assert!(!accepts(value), "{value}");
        }
        assert!(!Wanted::of(&HeaderMap::new()).gzip);
    }
}
