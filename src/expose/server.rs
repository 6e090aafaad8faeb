//! The HTTP server: connections in, answers out, and nobody who can keep others waiting.
//!
//! ```text
//!  listener ─▶ table (at most 256, who waits makes room) ─▶ TLS ─▶ hyper, HTTP/1.1 only ─▶ door ─▶ routes
//!                                     guarded: headers 5 s, no byte taken for 10 s
//! ```
//!
//! warp's own server has no header timeout, no limit on connections and no TLS, so its routes are a service behind
//! this one. A request that is one is answered; anything else gets a short 4xx, or the connection is closed.

mod door;
mod guarded;
mod listen;
mod table;

pub use door::{ReloadRequest, Slots};
pub use listen::listen;

use super::access::LiveAccess;
use crate::instruments::Web;
use bytes::Bytes;
use door::Door;
use guarded::{Guarded, HEADERS};
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use table::{Connection, Reason, Table};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use warp::http::{Request, Response};
use warp::{Filter, Reply};

/// Most bytes of a request's line and headers.
const HEAD_MAX: usize = 16 * 1024;

/// Bytes that the kernel takes of an answer before the client reads them. On loopback it would take 2.6 MB, and
/// they count as ours in a container with a limit.
const SEND_BUFFER: usize = 256 * 1024;

/// Pause after a connection that the system could not give us: descriptors are used up.
const PAUSE: Duration = Duration::from_millis(100);

/// The first byte of a TLS handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;

/// What is said to a client that speaks HTTP where TLS is wanted.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 23\r\nConnection: close\r\n\r\nthis port speaks https\n";

/// The body of an answer.
type RouteBody = Pin<Box<dyn Body<Data = Bytes, Error = warp::Error> + Send>>;

/// What answers a request that has passed the door. It may take some time of its thread.
type Routes =
    dyn Fn(Request<String>) -> Pin<Box<dyn Future<Output = Response<RouteBody>> + Send>> + Send + Sync;

/// What a server is made of.
pub struct Parts {
    /// What answers.
    pub routes: Arc<Routes>,
    /// Who is let in.
    pub access: Arc<LiveAccess>,
    /// What is counted.
    pub instruments: Web,
    /// How many requests are answered at once.
    pub slots: Arc<Slots>,
    /// Where a reload is asked for; none if that is not allowed.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
}

impl Parts {
    /// The routes of a filter, for [`routes`](Self::routes).
    pub fn routes_of<F>(filter: F) -> Arc<Routes>
    where
        F: Filter<Error = Infallible> + Clone + Send + Sync + 'static,
        F::Extract: Reply,
        F::Future: Send,
    {
        let service = TowerToHyperService::new(warp::service(filter));
        Arc::new(move |request| {
            let answer = service.call(request);
            Box::pin(async move {
                let Ok(response) = answer.await;
                response.map(|body| Box::pin(body) as RouteBody)
            })
        })
    }
}

/// A server with its connections.
#[derive(Debug)]
pub struct Server {
    door: Arc<Door>,
    listeners: JoinSet<Infallible>,
    /// True from the moment when connections are to end.
    closing: watch::Sender<bool>,
}

impl Server {
    /// A server that has no connections yet.
    pub fn new(parts: Parts) -> Self {
        let door = Arc::new(Door::new(Table::new(parts.instruments.clone()), parts));
        Self { door, listeners: JoinSet::new(), closing: watch::Sender::new(false) }
    }

    /// Accepts connections until the server stops.
    pub fn listen(&mut self, listener: TcpListener) {
        self.listeners.spawn(accept(listener, self.door.clone(), self.closing.subscribe()));
    }

    /// Serves one stream that is not secured, as if a listener had accepted it.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        if let Some(connection) = self.door.table.enter(Instant::now()) {
            let connection = Arc::new(connection);
            let stream = Guarded::new(stream, connection.clone());
            http(self.door.clone(), stream, connection, false, self.closing.subscribe()).await;
        }
    }

    /// Takes no more connections, and lets answers that are under way go out whole, for so long at most. Tells
    /// whether all are out.
    pub async fn stop(mut self, grace: Duration) -> bool {
        self.listeners.shutdown().await;
        self.closing.send_replace(true);
        self.door.table.close();
        timeout(grace, self.door.table.emptied()).await.is_ok()
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>, closing: watch::Receiver<bool>) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Where nobody makes room, the new one is closed.
                if let Some(connection) = door.table.enter(Instant::now()) {
                    tokio::spawn(attend(door.clone(), stream, Arc::new(connection), closing.clone()));
                }
            }
            // The client went away before it was accepted (accept(2)).
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                door.table.make_room(Instant::now());
                sleep(PAUSE).await; // allow-sleep: descriptors are given back meanwhile
            }
        }
        // A flood of new connections must not keep those that are there from being served.
        tokio::task::yield_now().await;
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Serves a connection until its end, which may come early for the sake of others.
async fn attend(
    door: Arc<Door>,
    stream: TcpStream,
    connection: Arc<Connection>,
    closing: watch::Receiver<bool>,
) {
    let serve = async {
        // An answer is written in one go; there is nothing to wait for. Both only save something.
        stream.set_nodelay(true).ok();
        set_socket_send_buffer_size(&stream, SEND_BUFFER).ok();
        let access = door.access.now().await;
        let Some(tls) = &access.tls else {
            let stream = Guarded::new(stream, connection.clone());
            return http(door.clone(), stream, connection.clone(), false, closing).await;
        };
        if !begins_handshake(&stream, &connection).await {
            return;
        }
        let stream = Guarded::new(stream, connection.clone());
        match tls.acceptor().accept(stream).await {
            Ok(stream) => {
                connection.is_secured();
                http(door.clone(), stream, connection.clone(), true, closing).await;
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => {
                tracing::debug!(%error, "handshake failed");
                connection.closed(Reason::Handshake);
            }
        }
    };
    tokio::select! {
        () = serve => {}
        () = connection.must_end() => {}
    }
}

/// Whether the client speaks TLS. One that speaks HTTP is told what is wrong, as Go's server does it.
async fn begins_handshake(stream: &TcpStream, connection: &Connection) -> bool {
    let mut first = [0];
    match timeout(HEADERS, stream.peek(&mut first)).await {
        Ok(Ok(1..)) if first == [HANDSHAKE] => return true,
        Ok(Ok(1..)) => {
            connection.closed(Reason::Handshake);
            if first.first().is_some_and(u8::is_ascii_uppercase) {
                // Both may fail: the client has gone then.
                drop(stream.try_read(&mut vec![0; HEAD_MAX]));
                drop(stream.try_write(NOT_TLS));
            }
        }
        Ok(_) => {}
        Err(_) => connection.closed(Reason::Headers),
    }
    false
}

/// Speaks HTTP/1.1 until either side ends it.
async fn http(
    door: Arc<Door>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    connection: Arc<Connection>,
    is_secured: bool,
    mut closing: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let (door, connection) = (door.clone(), connection.clone());
        async move { Ok::<_, Infallible>(door.answer(request, &connection, is_secured).await) }
    });
    // Without a timer of its own: the stream has one that knows what is waited for.
    let conversation = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_MAX)
        .max_header_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut conversation = pin!(conversation);
    let is_closing = async move { drop(closing.wait_for(|is_closing| *is_closing).await) };
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = is_closing => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
