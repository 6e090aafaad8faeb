//! `/api/v1/status`: what the page shows, as JSON.
//!
//! The shape is a promise: fields are added, and `version` grows when one changes its meaning. Times are in seconds
//! since 1970, so that the same answer stays the same; the `Date` header tells the server's own time.

mod series;

use super::history::{History, POINTS, Rows, STEP};
use super::negotiate::Wanted;
use super::scrape::Scraper;
use super::{gzip, is_alive, labels, respond, sample};
use crate::metric::{FamilyView, SeriesView, Shown};
use crate::publish::{Board, PathProblem, SourceStatus};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use warp::http::{HeaderMap, HeaderValue, Response, StatusCode};

/// The version of the shape.
const VERSION: u32 = 1;

/// What the page needs besides what is published: its past, and what was configured.
#[derive(Debug)]
pub struct Live {
    history: History,
    /// Seconds since 1970.
    started_at: f64,
    telemetry_path: String,
    /// Whether lines of the logs are shown.
    shows_lines: bool,
}

impl Live {
    /// A page that has charted nothing yet.
    pub fn new(telemetry_path: &str, shows_lines: bool) -> Self {
        let telemetry_path = telemetry_path.to_owned();
        Self { history: History::default(), started_at: now(), telemetry_path, shows_lines }
    }

    /// Charts what is published now; [`watch`](Self::watch) calls it every few seconds.
    pub fn sample(&self, board: &Board) {
        self.history.sample(sample::subjects(board), now());
    }

    /// Samples for ever.
    pub async fn watch(&self, board: &Board) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            steps.tick().await;
            self.sample(board);
        }
    }

    /// The answer to a request with this query.
    pub(super) fn answer(
        &self,
        board: &Board,
        scraper: &Scraper,
        query: &str,
        headers: &HeaderMap,
    ) -> Response<Bytes> {
        let query = Query::read(query);
        let document = self.document(board, scraper, &query);
        // Whatever a log has put into it, it cannot be taken for markup.
        let Ok(text) = serde_json::to_string(&document) else {
            return super::plain(StatusCode::INTERNAL_SERVER_ERROR, "no JSON");
        };
        let body = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        let tag = format!("\"{:016x}\"", twox_hash::XxHash64::oneshot(0, body.as_bytes()));
        let known = headers.get_all("if-none-match").iter().any(|value| value.as_bytes() == tag.as_bytes());
        let mut response = if known {
            respond(StatusCode::NOT_MODIFIED, "application/json", "")
        } else {
            let packed = if Wanted::of(headers).gzip { gzip::compress(body.as_bytes()) } else { None };
            let is_packed = packed.is_some();
            let body = packed.unwrap_or_else(|| body.into_bytes());
            let mut response = respond(StatusCode::OK, "application/json", body);
            if is_packed {
                response.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
            }
            response
        };
        let headers = response.headers_mut();
        headers.insert("vary", HeaderValue::from_static("accept-encoding"));
        headers.insert("cache-control", HeaderValue::from_static("no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert("etag", tag);
        }
        response
    }

    fn document(&self, board: &Board, scraper: &Scraper, query: &Query) -> Document {
        let (status, published) = (board.status.get(), board.view.get());
        let epoch = format!("{:.3}", self.started_at);
        let since = query.cursor.as_deref().and_then(|cursor| cursor.strip_prefix(&epoch)?.strip_prefix('-'));
        let since = since.and_then(|samples| samples.parse::<u64>().ok()).unwrap_or(0);
        let charts = self.history.charts(since);
        let facts = SourceFacts::of(&published.view.own);
        let state = match (is_alive(&status), status.is_ready) {
            (false, _) => "stuck",
            (true, false) => "catching up",
            (true, true) => "following",
        };
        let untyped = facts.untyped.iter().map(|name| Hint::untyped(name));
        let is_own_line = |hint: &&String| !hint.starts_with("The type of ");
        let sentences = status.hints.iter().filter(is_own_line).cloned().chain(board.readings.hints());
        let problems = status.problems.iter().map(Hint::of_path);
        Document {
            version: VERSION,
            program: Program {
                version: env!("CARGO_PKG_VERSION"),
                state,
                started_at: self.started_at,
                telemetry_path: self.telemetry_path.clone(),
                shows_lines: self.shows_lines,
                is_durable: status.is_durable,
                commit_failures: status.commit_failures,
                state_resets: status.state_resets,
                series: facts.series,
            },
            hints: problems.chain(sentences.map(Hint::of)).chain(untyped).collect(),
            sources: status.sources.iter().map(|source| facts.source(source)).collect(),
            history: Timeline {
                cursor: format!("{epoch}-{}", charts.samples),
                step_seconds: STEP.as_secs(),
                points: POINTS,
                is_whole: since == 0 || since > charts.samples,
                sampled_at: charts.sampled_at,
            },
            groups: charts.groups,
            series: query.series.as_ref().map(|wanted| {
                let own = scraper.own_families(&published);
                series::page(published.view.log.iter().chain(&own), wanted)
            }),
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What is asked for.
#[derive(Debug, Default)]
struct Query {
    /// The `history.cursor` of an earlier answer: only newer points are wanted.
    cursor: Option<String>,
    /// Which series are wanted, if any.
    series: Option<series::Wanted>,
}

impl Query {
    fn read(query: &str) -> Self {
        let mut read = Self::default();
        let (mut search, mut offset, mut limit) = (None, 0, series::PAGE);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "since" => read.cursor = Some(value.into_owned()),
                "series" => search = Some(value.into_owned()),
                "offset" => offset = value.parse().unwrap_or(0),
                "limit" => limit = value.parse().unwrap_or(series::PAGE),
                _ => {}
            }
        }
        read.series = search.map(|search| series::Wanted::new(&search, offset, limit));
        read
    }
}

/// The whole answer.
#[derive(Debug, Serialize)]
struct Document {
    version: u32,
    program: Program,
    hints: Vec<Hint>,
    sources: Vec<Source>,
    history: Timeline,
    groups: BTreeMap<&'static str, Rows>,
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<series::Page>,
}

/// The process.
#[derive(Debug, Serialize)]
struct Program {
    version: &'static str,
    /// `following`, `catching up`, or `stuck`.
    state: &'static str,
    started_at: f64,
    telemetry_path: String,
    shows_lines: bool,
    /// Whether counts survive a crash; null without a state folder.
    is_durable: Option<bool>,
    commit_failures: u64,
    state_resets: u64,
    /// Series made of log lines.
    series: u64,
}

/// What the charts' points mean.
#[derive(Debug, Serialize)]
struct Timeline {
    /// To be given as `since`: the next answer has only newer points.
    cursor: String,
    step_seconds: u64,
    /// The most points that a chart has.
    points: usize,
    /// Whether all points are here, not only newer ones.
    is_whole: bool,
    /// When the last point was taken; 0 before the first.
    sampled_at: f64,
}

/// What people should know or do.
#[derive(Debug, Serialize)]
struct Hint {
    text: String,
    /// Lines to copy into the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    yaml: Option<String>,
}

impl Hint {
    const fn of(text: String) -> Self {
        Self { text, yaml: None }
    }

    fn untyped(name: &str) -> Self {
        // A legal metric name is a plain word of YAML, unless a colon is in it.
        let key = if name.contains(':') { format!("\"{name}\"") } else { name.to_owned() };
        Self {
            text: format!(
                "The type of {name} is unknown, so that it is exposed as untyped: declare it in metrics.yaml, or here \
                 (counter, gauge or histogram)."
            ),
            yaml: Some(format!("types: {{{key}: counter}}")),
        }
    }

    fn of_path(problem: &PathProblem) -> Self {
        let path = &problem.path;
        let detail = problem.detail.as_deref().unwrap_or_default();
        Self::of(match problem.problem {
            "absent" => format!("{path} does not exist yet; it is followed as soon as it appears."),
            "empty" => format!("{path} holds no log file yet; files are followed as they appear."),
            "unreadable" => format!(
                "{path} cannot be read: {detail}. Run as that user or group (runAsUser, --user), or open the folder."
            ),
            "outside" => {
                format!("{path}: the link {detail} leads out of the folder; see --source.allow-root.")
            }
            "refused" => format!(
                "{path} is not followed: it repeats {detail}, and each line would count twice. Give only one of them, \
                 or --source.allow-repeats."
            ),
            other => format!("{path}: {other}."),
        })
    }
}

/// One followed file.
#[derive(Clone, Debug, Default, Serialize)]
struct Source {
    name: String,
    /// With what is around its lines: `vllm in cri`; null as long as no line tells it.
    format: Option<String>,
    is_active: bool,
    is_stale: bool,
    lag_bytes: u64,
    /// Records by what became of them.
    lines: BTreeMap<String, u64>,
    /// Rejected records by reason.
    rejected: BTreeMap<String, u64>,
    /// When its newest line was read; null before the first.
    last_line_at: Option<u64>,
    read_bytes: u64,
    rotations: u64,
    truncations: u64,
    archives: u64,
    gaps: u64,
    /// Its newest lines, if they are to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_lines: Option<Vec<String>>,
}

/// What the fold tells of its sources, in its own families.
#[derive(Debug, Default)]
struct SourceFacts {
    sources: BTreeMap<String, Source>,
    untyped: Vec<String>,
    series: u64,
}

impl SourceFacts {
    fn of(own: &[FamilyView]) -> Self {
        let mut facts = Self::default();
        for family in own {
            for series in &family.series {
                facts.note(&family.name, series);
            }
        }
        facts
    }

    fn note(&mut self, family: &str, series: &SeriesView) {
        let Shown::Number(value) = series.value else { return };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let count = value.max(0.0) as u64;
        let label = |name: &str| labels::first(&series.labels, &[name]);
        match family {
            "inferometer_series" => self.series = count,
            "inferometer_untyped_family" => self.untyped.extend(label("family")),
            _ => {}
        }
        let Some(name) = label("source") else { return };
        let source = self.sources.entry(name).or_default();
        match family {
            "inferometer_lines_total" => {
                source.lines.extend(label("outcome").map(|outcome| (outcome, count)));
            }
            "inferometer_rejected_lines_total" => {
                source.rejected.extend(label("reason").map(|reason| (reason, count)));
            }
            "inferometer_source_last_read_timestamp_seconds" => source.last_line_at = Some(count),
            "inferometer_read_bytes_total" => source.read_bytes = count,
            "inferometer_rotations_total" => source.rotations = count,
            "inferometer_truncations_total" => source.truncations = count,
            "inferometer_archives_total" => source.archives = count,
            "inferometer_gaps_total" => source.gaps = count,
            _ => {}
        }
    }

    fn source(&self, status: &SourceStatus) -> Source {
        let known = self.sources.get(&status.name);
        Source {
            name: status.name.clone(),
            format: status.dialect.map(|dialect| dialect.to_string()),
            is_active: status.is_active,
            is_stale: status.is_stale,
            lag_bytes: status.lag_bytes,
            last_lines: status.last_lines.clone(),
            ..known.cloned().unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_nonsense_is_passed_over() {
        let query = Query::read("since=17.5-3&series=a%20B&offset=x&limit=9999&foo");
        assert_eq!(Some("17.5-3"), query.cursor.as_deref());
        assert!(query.series.is_some() && Query::read("").series.is_none());
    }

    #[test]
    fn an_untyped_family_comes_with_the_line_that_types_it() {
        assert_eq!(Some("types: {Hits: counter}"), Hint::untyped("Hits").yaml.as_deref());
        assert_eq!(Some("types: {\"a:b\": counter}"), Hint::untyped("a:b").yaml.as_deref());
    }

    #[test]
    fn a_path_that_cannot_be_read_is_told_with_owner_and_user() {
        let problem = PathProblem {
            path: "/logs".to_owned(),
            problem: "unreadable",
            detail: Some("it belongs to uid 1000, we run as uid 65532".to_owned()),
        };
        let text = Hint::of_path(&problem).text;
        assert!(text.contains("uid 1000") && text.contains("65532") && text.starts_with("/logs "), "{text}");
    }
}
