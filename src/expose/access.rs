//! Who is let in, and what is said to everybody: the web configuration as the server uses it.

use super::auth::Users;
use super::tls::Tls;
use crate::publish::Cell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use warp::http::{HeaderName, HeaderValue};

/// How often it is asked at most whether the web configuration has changed.
const LOOK: Duration = Duration::from_secs(1);

/// Who is let in, and what is said to everybody. By default everybody is, in plain HTTP.
#[derive(Debug, Default)]
pub struct Access {
    /// How connections are secured; plain HTTP without it.
    pub tls: Option<Tls>,
    /// Who has to give a password; nobody without it.
    pub users: Option<Users>,
    /// Headers of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Access {
    /// Whether this lets somebody in whom the other one keeps out for want of TLS, a password or a certificate.
    pub fn is_weaker_than(&self, other: &Self) -> bool {
        let asks_for_certificate = |access: &Self| access.tls.as_ref().is_some_and(Tls::asks_for_certificate);
        (self.tls.is_none() && other.tls.is_some())
            || (self.users.is_none() && other.users.is_some())
            || (!asks_for_certificate(self) && asks_for_certificate(other))
    }
}

/// Reads a web configuration again if its files have changed, and says what came of it. It may wait for a disk.
pub type Renew = dyn Fn(&Access) -> Option<Access> + Send + Sync;

/// The access of this moment. Certificates are replaced while the process runs, so their files are looked at when
/// somebody comes.
pub struct LiveAccess {
    current: Cell<Access>,
    renew: Option<Box<Renew>>,
    looked: Mutex<Option<Instant>>,
}

impl LiveAccess {
    /// With a way to renew it, if it comes from a file.
    pub fn new(access: Access, renew: Option<Box<Renew>>) -> Arc<Self> {
        Arc::new(Self { current: Cell::new(access), renew, looked: Mutex::default() })
    }

    /// Replaces it.
    pub fn put(&self, access: Access) {
        self.current.put(access);
    }

    /// What holds now, read again first if its files have changed.
    pub async fn now(self: &Arc<Self>) -> Arc<Access> {
        if self.renew.is_some() && self.must_look() {
            let this = self.clone();
            // A disk that hangs keeps this one waiting, and nobody else.
            drop(tokio::task::spawn_blocking(move || this.look()).await);
        }
        self.current.get()
    }

    fn look(&self) {
        let Some(renew) = &self.renew else { return };
        if let Some(access) = renew(&self.current.get()) {
            self.current.put(access);
        }
    }

    fn must_look(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        if is_due {
            *looked = Some(Instant::now());
        }
        is_due
    }
}

impl fmt::Debug for LiveAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveAccess").field("current", &self.current).finish_non_exhaustive()
    }
}
