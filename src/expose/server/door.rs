//! What every request goes through before a route answers it, and what every answer carries.

use super::super::access::{Access, LiveAccess};
use super::super::auth::Verdict;
use super::super::plain;
use super::table::{Connection, Table};
use super::{Parts, RouteBody, Routes};
use crate::instruments::Web;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use warp::http::header::{ALLOW, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, WWW_AUTHENTICATE};
use warp::http::{HeaderValue, Method, Request, Response, StatusCode, Version};

/// The path that has the configuration read again.
pub(super) const RELOAD: &str = "/-/reload";

/// Somebody has asked for a reload and waits to hear whether it worked.
pub type ReloadRequest = oneshot::Sender<bool>;

/// Everything between the connections and the routes.
pub(super) struct Door {
    pub(super) table: Arc<Table>,
    pub(super) access: Arc<LiveAccess>,
    pub(super) instruments: Web,
    routes: Arc<Routes>,
    slots: Arc<Slots>,
    /// One answer is made at a time: they share what they are made of, and the machine's cores are the server's.
    turn: Semaphore,
    /// Where a reload is asked for; none if that is not allowed.
    reload: Option<mpsc::Sender<ReloadRequest>>,
}

/// Places for requests that are being answered. One is given back when the answer is made, however long the
/// client takes to read it.
#[derive(Debug)]
pub struct Slots {
    most: AtomicUsize,
    taken: AtomicUsize,
}

impl Slots {
    /// So many places.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: AtomicUsize::new(most), taken: AtomicUsize::new(0) })
    }

    /// Changes their number. Whoever has a place keeps it.
    pub fn set(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    fn take(&self) -> Option<Slot<'_>> {
        let most = self.most.load(Ordering::Relaxed);
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Slot(self))
    }
}

struct Slot<'a>(&'a Slots);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Door {
    pub(super) fn new(table: Arc<Table>, parts: Parts) -> Self {
        let Parts { routes, access, instruments, slots, reload } = parts;
        Self { table, access, instruments, routes, slots, turn: Semaphore::new(1), reload }
    }

    /// Answers a request whose headers are complete.
    pub(super) async fn answer<I: Body>(
        &self,
        request: Request<I>,
        connection: &Arc<Connection>,
        is_secured: bool,
    ) -> Response<Answer> {
        connection.asked();
        let access = self.access.now().await;
        let mut response = match self.refuse(&request, &access, is_secured).await {
            Some(refusal) => refusal,
            None => self.pass(request.map(|_| String::new())).await,
        };
        for (name, value) in &access.headers {
            response.headers_mut().insert(name, value.clone());
        }
        let length = response.body().size_hint().exact().unwrap_or(0);
        connection.answers(usize::try_from(length).unwrap_or(usize::MAX));
        response.map(|content| Answer { content, connection: connection.clone() })
    }

    /// Why a request is not passed on, if so.
    async fn refuse<I: Body>(
        &self,
        request: &Request<I>,
        access: &Access,
        is_secured: bool,
    ) -> Option<Response<Content>> {
        if let Some(objection) = objection(request) {
            self.instruments.refused("malformed");
            return Some(last(objection));
        }
        if is_secured != access.tls.is_some() {
            // The configuration has changed since it was opened.
            return Some(last(plain(StatusCode::MISDIRECTED_REQUEST, "connect again")));
        }
        if let Some(users) = &access.users {
            match users.judge(request.headers().get(AUTHORIZATION)).await {
                Verdict::Welcome => {}
                Verdict::Refused => {
                    self.instruments.refused("credentials");
                    let mut response = plain(StatusCode::UNAUTHORIZED, "unauthorized");
                    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
                    return Some(ours(response));
                }
                Verdict::Busy => {
                    self.instruments.refused("busy");
                    let text = "too many passwords to check";
                    return Some(ours(plain(StatusCode::TOO_MANY_REQUESTS, text)));
                }
            }
        }
        None
    }

    /// Has the routes answer.
    async fn pass(&self, request: Request<String>) -> Response<Content> {
        let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
        let path = request.uri().path();
        if path == RELOAD {
            return self.reload(request.method()).await;
        }
        if !is_reading {
            return ours(not_allowed("GET, HEAD", "GET and HEAD only"));
        }
        if path.starts_with("/-/") {
            // Health is told at once, however many scrapes there are.
            return (self.routes)(request).await.map(Content::Theirs);
        }
        let slot = self.slots.take().filter(|_| self.table.has_memory(Instant::now()));
        let Some(_slot) = slot else {
            self.instruments.refused_scrapes.inc();
            return ours(plain(StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once"));
        };
        let _turn = self.turn.acquire().await;
        // A large body takes some 50 ms to make; meanwhile the other connections are served.
        let (routes, runtime) = (self.routes.clone(), Handle::current());
        let made = tokio::task::spawn_blocking(move || runtime.block_on(routes(request))).await;
        match made {
            Ok(response) => response.map(Content::Theirs),
            Err(_) => ours(plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error")),
        }
    }

    async fn reload(&self, method: &Method) -> Response<Content> {
        let Some(reload) = &self.reload else {
            return ours(plain(StatusCode::FORBIDDEN, "not enabled; see --web.enable-lifecycle"));
        };
        if *method != Method::POST {
            return ours(not_allowed("POST", "POST only"));
        }
        let (done, is_done) = oneshot::channel();
        // Who asks while another one waits is told the outcome of that reload or of one after it.
        let is_good = match reload.send(done).await {
            Ok(()) => is_done.await.unwrap_or(false),
            Err(_) => false,
        };
        ours(if is_good {
            plain(StatusCode::OK, "reloaded")
        } else {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "not reloaded; the log says why")
        })
    }
}

/// What is wrong with a request in itself. Two servers in a row must not differ about where a request ends, so
/// there is no request with a body, and each has one host.
fn objection<I: Body>(request: &Request<I>) -> Option<Response<Bytes>> {
    let headers = request.headers();
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    if !request.body().is_end_stream() || headers.contains_key("transfer-encoding") || lengths > 1 {
        return Some(plain(StatusCode::BAD_REQUEST, "a request has no body here"));
    }
    // `host:80` and `*` are targets too (RFC 9112 §3.2), and warp panics where there is no path.
    if !request.uri().path_and_query().is_some_and(|target| target.as_str().starts_with('/')) {
        return Some(plain(StatusCode::BAD_REQUEST, "no path"));
    }
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Some(plain(StatusCode::BAD_REQUEST, "not one Host header"));
    }
    None
}

fn not_allowed(methods: &'static str, text: &'static str) -> Response<Bytes> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, text);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn ours(response: Response<Bytes>) -> Response<Content> {
    response.map(|body| Content::Ours(Some(body)))
}

/// An answer after which the connection ends: who knows what follows on it.
fn last(mut response: Response<Bytes>) -> Response<Content> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    ours(response)
}

/// The body of an answer; the connection hears when it has been taken over for sending.
pub(super) struct Answer {
    content: Content,
    connection: Arc<Connection>,
}

/// Who has made a body.
pub(super) enum Content {
    /// The door; none when it has been given.
    Ours(Option<Bytes>),
    /// The routes.
    Theirs(RouteBody),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = warp::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, warp::Error>>> {
        match &mut self.get_mut().content {
            Content::Ours(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Theirs(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Ours(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Theirs(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl Content {
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ours(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Theirs(body) => body.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.sent();
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("slots", &self.slots).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_their_number_can_change() {
        let slots = Slots::new(2);
        let (one, two) = (slots.take(), slots.take());
        assert!(one.is_some() && two.is_some() && slots.take().is_none());
        drop(one);
        assert!(slots.take().is_some());
        slots.set(1);
        assert!(slots.take().is_none(), "one is still taken");
        drop(two);
        assert!(slots.take().is_some());
    }
}
