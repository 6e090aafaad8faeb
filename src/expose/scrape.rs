//! One scrape: the published families, rendered once per publication, and what is true right now.

use super::negotiate::{Format, Wanted};
use super::{gzip, openmetrics, respond, text};
use crate::instruments::Instruments;
use crate::metric::{FamilyView, Type};
use crate::publish::{Board, Published, Status};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Instant;
use warp::http::{HeaderValue, Response, StatusCode};

/// Answers scrapes.
#[derive(Debug)]
pub struct Scraper {
    board: Arc<Board>,
    instruments: Instruments,
    rendered: Mutex<Rendered>,
}

/// The log families in the formats that were asked for, kept until the next publication.
#[derive(Debug, Default)]
struct Rendered {
    text: Body,
    openmetrics: Body,
}

#[derive(Debug, Default)]
struct Body {
    generation: Option<u64>,
    /// Which families have their types.
    typed: Vec<bool>,
    text: Bytes,
}

impl Scraper {
    /// A scraper of what is published on the board.
    pub fn new(board: Arc<Board>, instruments: Instruments) -> Self {
        Self { board, instruments, rendered: Mutex::default() }
    }

    /// The answer to a scrape with this query string, to a client that wants it so.
    pub(super) fn scrape(&self, query: &str, wanted: Wanted) -> Response<Bytes> {
        let start = Instant::now();
        let only = names(query);
        let published = self.board.view.get();
        let own = self.own_families(&published);
        let (content_type, body) = match wanted.format {
            Format::Text => (text::CONTENT_TYPE, self.text(&published, &own, only.as_ref())),
            Format::OpenMetrics => {
                (openmetrics::CONTENT_TYPE, self.openmetrics(&published, &own, only.as_ref()))
            }
        };
        let packed = if wanted.gzip { gzip::compress(&body) } else { None };
        let is_packed = packed.is_some();
        let mut response = respond(StatusCode::OK, content_type, packed.unwrap_or(body));
        let headers = response.headers_mut();
        headers.insert("vary", HeaderValue::from_static("accept, accept-encoding"));
        if is_packed {
            headers.insert("content-encoding", HeaderValue::from_static("gzip"));
        }
        self.instruments.scrape_seconds.observe(start.elapsed().as_secs_f64());
        response
    }

    fn text(&self, published: &Published, own: &[FamilyView], only: Option<&HashSet<String>>) -> Vec<u8> {
        let encode = |text: &mut String| text::encode(&published.view.log, only, text);
        let log = match only {
            None => self.log_families(published, Format::Text, Vec::new(), encode),
            Some(_) => Bytes::from(written(encode)),
        };
        [log, written(|text| text::encode(own, only, text)).into()].concat()
    }

    fn openmetrics(
        &self,
        published: &Published,
        own: &[FamilyView],
        only: Option<&HashSet<String>>,
    ) -> Vec<u8> {
        let log = &published.view.log;
        // What a family may be called depends on all of them, so that one of ours can change how the log's are shown.
        let mut typed = openmetrics::typed(log.iter().chain(own));
        let own_typed = typed.split_off(log.len());
        let shown = typed.clone();
        let encode = |text: &mut String| openmetrics::encode(log.iter().zip(shown), only, text);
        let log = match only {
            None => self.log_families(published, Format::OpenMetrics, typed, encode),
            Some(_) => Bytes::from(written(encode)),
        };
        let own = written(|text| openmetrics::encode(own.iter().zip(own_typed), only, text));
        [log, own.into(), openmetrics::END.into()].concat()
    }

    /// The log families of the present publication. Who finds another scrape rendering waits for it: it
    /// takes a few milliseconds for ten thousand series.
    fn log_families(
        &self,
        published: &Published,
        format: Format,
        typed: Vec<bool>,
        encode: impl FnOnce(&mut String),
    ) -> Bytes {
        let mut rendered = match self.rendered.try_lock() {
            Ok(rendered) => rendered,
            Err(TryLockError::WouldBlock) => self.rendered.lock().unwrap_or_else(PoisonError::into_inner),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        let generation = Some(published.generation);
        let Rendered { text, openmetrics } = &mut *rendered;
        let (body, other) = match format {
            Format::Text => (text, openmetrics),
            Format::OpenMetrics => (openmetrics, text),
        };
        // Old texts go before the new one is made: two of a large state are many megabytes.
        if other.generation != generation {
            *other = Body::default();
        }
        if body.generation != generation || body.typed != typed {
            let mut text = String::with_capacity(std::mem::take(&mut body.text).len() + 4096);
            encode(&mut text);
            text.shrink_to_fit();
            *body = Body { generation, typed, text: text.into() };
        }
        body.text.clone()
    }

    /// What is true of this process right now.
    pub(super) fn own_families(&self, published: &Published) -> Vec<FamilyView> {
        let mut families = published.view.own.clone();
        families.extend(status_families(&self.board.status.get()));
        let log = published.view.log.iter().map(|family| &*family.name).collect();
        families.extend(self.board.readings.families(Instant::now(), &log));
        families.extend(self.instruments.families());
        let taken = published.view.log.iter().chain(&families);
        if let Some((foreign, left_out)) = self.board.readings.foreign(Instant::now(), taken) {
            families.extend(foreign);
            let mut count = FamilyView::new(
                "inferometer_textfile_left_out_families",
                "Families of text files that are not shown, since another one has their name.",
                Type::Gauge,
            );
            count.push(&[], exact(left_out as u64));
            families.push(count);
        }
        families
    }
}

fn written(encode: impl FnOnce(&mut String)) -> String {
    let mut text = String::new();
    encode(&mut text);
    text
}

/// What the status says in numbers.
fn status_families(status: &Status) -> Vec<FamilyView> {
    let mut active = FamilyView::new(
        "inferometer_source_active",
        "Whether a source's live file exists and is open.",
        Type::Gauge,
    );
    let mut lag = FamilyView::new(
        "inferometer_source_lag_bytes",
        "Bytes of a source on disk that have not been consumed.",
        Type::Gauge,
    );
    let mut stale = FamilyView::new(
        "inferometer_source_stale",
        "Whether a source's name shows a file that was replaced: a mount of that single file, which needs the folder.",
        Type::Gauge,
    );
    for source in &status.sources {
        stale.push(&[("source", &source.name)], f64::from(u8::from(source.is_stale)));
        active.push(&[("source", &source.name)], f64::from(u8::from(source.is_active)));
        lag.push(&[("source", &source.name)], exact(source.lag_bytes));
    }
    let mut catching_up = FamilyView::new(
        "inferometer_catching_up",
        "Whether there is more to read than one turn takes; nothing is published before the first catch-up is done.",
        Type::Gauge,
    );
    catching_up.push(&[], f64::from(u8::from(status.is_catching_up || !status.is_ready)));
    let mut problems = FamilyView::new(
        "inferometer_path_problems",
        "PATHs that cannot be followed now, by what is wrong with them; the log and the page name them.",
        Type::Gauge,
    );
    let mut counts: BTreeMap<&str, u32> =
        ["absent", "empty", "unreadable", "outside", "refused"].into_iter().map(|word| (word, 0)).collect();
    status.problems.iter().for_each(|problem| *counts.entry(problem.problem).or_default() += 1);
    counts.iter().for_each(|(word, count)| problems.push(&[("problem", word)], f64::from(*count)));
    let mut failures = FamilyView::new(
        "inferometer_commit_failures_total",
        "Commits that could not be saved to the state folder.",
        Type::Counter,
    );
    failures.push(&[], exact(status.commit_failures));
    let mut resets = FamilyView::new(
        "inferometer_state_resets_total",
        "Times that the saved state was damaged, so that counters started at 0.",
        Type::Counter,
    );
    resets.push(&[], exact(status.state_resets));
    let mut durable = FamilyView::new(
        "inferometer_durable",
        "Whether what is shown survives a crash: 0 while commits fail; absent without --state.dir.",
        Type::Gauge,
    );
    if let Some(is_durable) = status.is_durable {
        durable.push(&[], f64::from(u8::from(is_durable)));
    }
    vec![active, stale, lag, catching_up, problems, failures, resets, durable]
}

#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 may be rounded")]
fn exact(count: u64) -> f64 {
    count as f64
}

/// The values of `name[]` in a query string; none if it does not occur.
fn names(query: &str) -> Option<HashSet<String>> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let names: HashSet<String> =
        pairs.filter(|(key, _)| key == "name[]").map(|(_, value)| value.into_owned()).collect();
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_read_in_both_spellings() {
        let expected = Some(HashSet::from(["A".to_owned(), "B c".to_owned()]));
        assert_eq!(expected, names("name[]=A&name%5B%5D=B%20c&x=1"));
        assert_eq!(None, names("name=A"));
    }
}
