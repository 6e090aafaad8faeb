//! HTTP: `/metrics`, health, and a page for people with what it shows as JSON.
//!
//! A scrape takes what is published at its moment and never waits for a disk, a driver or the follower.

pub mod access;
pub mod auth;
mod gzip;
mod history;
mod labels;
mod negotiate;
pub mod openmetrics;
mod page;
mod sample;
mod scrape;
pub mod server;
mod status;
pub mod text;
pub mod tls;

pub use scrape::Scraper;
pub use status::Live;

use crate::publish::{Board, Status};
use bytes::Bytes;
use negotiate::Wanted;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use warp::http::{HeaderMap, Response, StatusCode};
use warp::{Filter, Rejection, Reply};

/// A follower that has not looked for this long is dead. A slow disk may hold one up for many seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What is served where.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Path of the metrics.
    pub telemetry_path: String,
    /// Scrapes.
    pub scraper: Arc<Scraper>,
    /// What is published.
    pub board: Arc<Board>,
    /// What the page shows besides.
    pub live: Arc<Live>,
}

impl Routes {
    /// All paths as one filter. Methods other than GET and HEAD get 405, unknown paths 404, both without
    /// repeating what was asked.
    pub fn filter(self) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone {
        let Self { telemetry_path, scraper, board, live } = self;
        let readable = warp::get().or(warp::head()).unify();
        let path = warp::path::full().map(|path: warp::path::FullPath| path.as_str().to_owned());
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        readable
            .and(path)
            .and(query)
            .and(warp::header::headers_cloned())
            .map(move |path: String, query: String, headers: HeaderMap| match path.as_str() {
                path if path == telemetry_path => scraper.scrape(&query, Wanted::of(&headers)),
                "/" => page::answer(&headers),
                "/api/v1/status" => live.answer(&board, &scraper, &query, &headers),
                "/-/healthy" => health(is_alive(&board.status.get()), "follower is stuck"),
                "/-/ready" => health(board.status.get().is_ready, "catching up"),
                _ => plain(StatusCode::NOT_FOUND, "not found"),
            })
            .recover(refuse)
    }
}

async fn refuse(rejection: Rejection) -> Result<Response<Bytes>, Infallible> {
    let is_method = rejection.find::<warp::reject::MethodNotAllowed>().is_some();
    Ok(if is_method {
        plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only")
    } else {
        plain(StatusCode::BAD_REQUEST, "bad request")
    })
}

fn health(is_good: bool, trouble: &'static str) -> Response<Bytes> {
    if is_good { plain(StatusCode::OK, "ok") } else { plain(StatusCode::SERVICE_UNAVAILABLE, trouble) }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    respond(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", warp::http::HeaderValue::from_static(content_type));
    headers.insert("x-content-type-options", warp::http::HeaderValue::from_static("nosniff"));
    response
}

/// Before the first look there is nothing to judge by yet.
fn is_alive(status: &Status) -> bool {
    status.looked_at.is_none_or(|looked_at| looked_at.elapsed() <= SILENCE_MAX)
}
