//! Basic authentication, as the exporter toolkit does it: names and bcrypt hashes.
//!
//! How long an answer takes tells nothing about names: for one that nobody has, somebody's hash is computed all the
//! same, the same one each time. A password that was right is remembered, so a scrape pays for bcrypt once; what is
//! wrong is computed again each time, a few at once and on threads of their own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::SystemRandom;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use warp::http::HeaderValue;

/// How many hashes are computed at once. Each one takes a core for 70 ms at the usual cost.
const CHECKS: usize = 2;

/// How many requests may wait for that; more are told to come again.
const WAITING: usize = 32;

/// How many right passwords are remembered. Usually there is one per user; but bcrypt reads 72 bytes, so any
/// number of longer ones can be right.
const REMEMBERED: usize = 128;

/// The dearest hash that is taken: twenty seconds of a core. Cost doubles with each step.
const COST_MAX: u32 = 18;

/// Who may come in.
pub struct Users(Arc<Inner>);

struct Inner {
    /// Hashes by name.
    hashes: BTreeMap<String, String>,
    /// Of this process alone: what is remembered means nothing elsewhere, and cannot be guessed at.
    key: hmac::Key,
    remembered: Mutex<HashSet<Vec<u8>>>,
    checks: Semaphore,
    waiting: Semaphore,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass.
    Welcome,
    /// There is no such user, or the password is not his.
    Refused,
    /// Too many others are being checked.
    Busy,
}

/// What is wrong with a user's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHash {
    /// Whose it is.
    pub user: String,
    /// What is wrong, without the hash.
    pub what: &'static str,
}

impl Users {
    /// Users with their bcrypt hashes.
    ///
    /// # Errors
    ///
    /// The first hash that is none.
    pub fn new(hashes: BTreeMap<String, String>) -> Result<Self, BadHash> {
        for (user, hash) in &hashes {
            let wrong = |what| BadHash { user: user.clone(), what };
            let parts = hash.parse::<bcrypt::HashParts>();
            let cost = parts.map_err(|_| wrong("the password is no bcrypt hash"))?.get_cost();
            if !(4..=COST_MAX).contains(&cost) {
                return Err(wrong("the cost of the bcrypt hash is not between 4 and 18"));
            }
        }
        let no_random = |_| BadHash { user: String::new(), what: "the system gives no random numbers" };
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(no_random)?;
        let (checks, waiting) = (Semaphore::new(CHECKS), Semaphore::new(WAITING));
        Ok(Self(Arc::new(Inner { hashes, key, remembered: Mutex::default(), checks, waiting })))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.hashes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.hashes.is_empty()
    }

    /// Whether this `Authorization` header is that of a user.
    pub async fn judge(&self, header: Option<&HeaderValue>) -> Verdict {
        let Some((user, password)) = header.and_then(|header| credentials(header.as_bytes())) else {
            return Verdict::Refused;
        };
        let tag = self.0.tag(&user, &password);
        if self.0.remembers(&tag) {
            return Verdict::Welcome;
        }
        let Ok(_place) = self.0.waiting.try_acquire() else { return Verdict::Busy };
        let Ok(_check) = self.0.checks.acquire().await else { return Verdict::Busy };
        // The same password may have been found right by the one before.
        if self.0.remembers(&tag) {
            return Verdict::Welcome;
        }
        let inner = self.0.clone();
        let is_right = tokio::task::spawn_blocking(move || inner.is_right(&user, &password)).await;
        if is_right.unwrap_or(false) {
            self.0.remember(tag);
            Verdict::Welcome
        } else {
            Verdict::Refused
        }
    }
}

impl Inner {
    /// Computes a hash, also for a name that nobody has.
    fn is_right(&self, user: &str, password: &[u8]) -> bool {
        let known = self.hashes.get(user);
        let Some(hash) = known.or_else(|| self.stand_in(user)) else { return false };
        // The crate compares in constant time.
        let is_equal = bcrypt::verify(password, hash).unwrap_or(false);
        is_equal && known.is_some()
    }

    /// The hash that is computed for a name that nobody has: always the same one, so that asking again tells
    /// nothing, and one of those in use, so that its cost is one of theirs.
    fn stand_in(&self, user: &str) -> Option<&String> {
        let tag = hmac::sign(&self.key, user.as_bytes());
        let number = tag.as_ref().iter().take(4).fold(0, |number, byte| number * 256 + usize::from(*byte));
        self.hashes.values().nth(number % self.hashes.len().max(1))
    }

    /// What stands for a name and a password in memory.
    fn tag(&self, user: &str, password: &[u8]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(user.len() as u64).to_le_bytes());
        context.update(user.as_bytes());
        context.update(password);
        context.sign().as_ref().to_vec()
    }

    fn remembers(&self, tag: &[u8]) -> bool {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).contains(tag)
    }

    fn remember(&self, tag: Vec<u8>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(tag);
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Name and password of `Basic …` (RFC 7617).
fn credentials(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at_checked(colon)?;
    Some((String::from_utf8(user.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    fn users(pairs: &[(&str, &str)]) -> Users {
        let hashes = pairs.iter().map(|(user, password)| ((*user).to_owned(), hash(password)));
        Users::new(hashes.collect()).unwrap()
    }

    fn header(user: &str, password: &str) -> HeaderValue {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))).parse().unwrap()
    }

    fn judge(users: &Users, header: Option<&HeaderValue>) -> Verdict {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(users.judge(header))
    }

    #[test]
    fn only_a_users_own_password_is_right() {
        let users = users(&[("ann", "a:b"), ("bob", "c")]);
        for (user, password, expected) in [
            ("ann", "a:b", Verdict::Welcome),
            ("ann", "a:b", Verdict::Welcome),
            ("bob", "c", Verdict::Welcome),
            ("ann", "c", Verdict::Refused),
            ("bob", "", Verdict::Refused),
            ("eve", "c", Verdict::Refused),
            ("", "", Verdict::Refused),
        ] {
            assert_eq!(expected, judge(&users, Some(&header(user, password))), "{user}:{password}");
        }
        assert_eq!(Verdict::Refused, judge(&users, None));
        assert_eq!(2, users.0.remembered.lock().unwrap().len(), "what is wrong is not remembered");
    }

    #[test]
    fn a_header_that_is_none_is_refused() {
        let users = users(&[("ann", "a")]);
        for text in ["", "Basic", "Basic ", "Basic !", "Basic YW5u", "Bearer YW5uOmE=", "Basic /wA="] {
            let header = HeaderValue::from_str(text).unwrap();
            assert_eq!(Verdict::Refused, judge(&users, Some(&header)), "{text:?}");
        }
        let header = HeaderValue::from_static("bAsIc   YW5uOmE=");
        assert_eq!(Verdict::Welcome, judge(&users, Some(&header)));
    }

    #[test]
    fn a_name_that_nobody_has_costs_a_hash_of_those_in_use() {
        let users = users(&[("ann", "a"), ("bob", "b"), ("cleo", "c")]);
        let stand_in = |user: &str| users.0.stand_in(user).unwrap().clone();
        let all: HashSet<String> = (0..100).map(|number| stand_in(&format!("x{number}"))).collect();
        assert_eq!(3, all.len(), "each of them is used");
        assert_eq!(stand_in("eve"), stand_in("eve"));
        let right_for_somebody = Some(header("x1", "a"));
        assert_eq!(Verdict::Refused, judge(&users, right_for_somebody.as_ref()));
    }

    #[test]
    fn the_memory_of_right_passwords_is_bounded() {
        let users = users(&[("ann", &"x".repeat(72))]);
        for number in 0..2 * REMEMBERED {
            users.0.remember(users.0.tag("ann", &number.to_le_bytes()));
        }
        assert!(users.0.remembered.lock().unwrap().len() <= REMEMBERED);
    }

    #[test]
    fn beyond_the_queue_nobody_waits() {
        let users = users(&[("ann", "a")]);
        let _all = users.0.waiting.try_acquire_many(u32::try_from(WAITING).unwrap()).unwrap();
        assert_eq!(Verdict::Busy, judge(&users, Some(&header("ann", "a"))));
    }

    #[test]
    fn hashes_are_looked_at_before_anybody_comes() {
        let what = |hash: &str| Users::new(BTreeMap::from([("ann".to_owned(), hash.to_owned())])).err();
        for hash in ["", "secret", "$2y$10$short", "$1$abc$0123456789012345678901"] {
            assert_eq!("the password is no bcrypt hash", what(hash).expect(hash).what);
        }
        let dear = hash("a").replacen("$04$", "$31$", 1);
        assert_eq!("the cost of the bcrypt hash is not between 4 and 18", what(&dear).unwrap().what);
        let go = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
        assert_eq!(None, what(go));
    }
}
