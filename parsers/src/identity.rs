//! What names a record's series, apart from what differs from line to line.

/// A record taken apart without being understood.
///
/// Two records of one format with equal [`key`](Self::key), [`host`](Self::host) and
/// [`has_requests`](Self::has_requests) mean the same, if their values are numbers: the format's parser either
/// refuses both, or gives each of them one sample, and the two differ in nothing but value and request ids, which
/// stand here, and their time ([`Identify::seconds`]).
/// So whoever has parsed one of them knows the series of all others. The parser stays the only definition of
/// the grammar: a record that this does not take apart is parsed, and a test holds both against each other
/// (`tests/identity.rs`, the fuzz target `line`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The bytes before the value and after it that name the series, the host's name included.
    pub key: [&'a [u8]; 2],
    /// The host's name: the end of the key.
    pub host: &'a [u8],
    /// Whether the record names requests, be it `null`: then it is the model's and not the server's.
    pub has_requests: bool,
    /// The text of the value, which may be none ([`number`](crate::number)).
    pub value: &'a [u8],
    /// The request ids as the parser gives them: they are UTF-8.
    pub request_ids: Option<&'a [u8]>,
}

/// Takes a record apart.
pub type TakeApart = fn(&[u8]) -> Option<Identity<'_>>;

/// Takes a record apart that may have this key, with a host's name of this length.
pub type TakeApartAs = for<'a> fn(&'a [u8], [&[u8]; 2], usize) -> Option<Identity<'a>>;

/// How a format's records are taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Identify {
    /// Takes a record apart; `None` where only parsing can tell.
    pub identify: TakeApart,
    /// The same for a record that has this key; `None` where it has another, or none. A server writes its metrics
    /// in turns, so the next line's key is mostly known, and to look whether it is there costs less than to find
    /// out which one is.
    /// The number is the length of the host's name, the end of the key.
    pub identify_as: TakeApartAs,
    /// Seconds since 1970 by the server's clock, of a record that can be taken apart. Few who take one apart ask.
    pub seconds: fn(&[u8]) -> Option<u64>,
}
