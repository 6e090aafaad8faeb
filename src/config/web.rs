//! `--web.config.file`: TLS, headers and passwords in the exporter toolkit's format, so that a file which serves
//! other exporters serves here too.
//!
//! Format: <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>. Paths in it are
//! relative to the file. An unknown key is an error, and so is a key of the toolkit that would promise something
//! that is not done here. No text of the file is ever repeated in an error: it may hold a key or a hash.

use super::file::{SIZE_MAX, located};
use crate::expose::access::Access;
use crate::expose::auth::Users;
use crate::expose::tls::{Clients, Fault, Settings, Tls, Version};
use crate::stamp::Stamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use warp::http::{HeaderName, HeaderValue};

/// What a web configuration means.
#[derive(Debug)]
pub struct WebConfig {
    /// Who is let in, and what is said to everybody.
    pub access: Access,
    /// What is accepted without being done.
    pub remarks: Vec<&'static str>,
}

/// The files of a web configuration, as they were before they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(Vec<(PathBuf, Option<Stamp>)>);

impl Seen {
    /// Whether a file is another one now.
    pub fn has_changed(&self) -> bool {
        self.0.iter().any(|(path, stamp)| Self::stamp(path) != *stamp)
    }

    fn look_at(&mut self, path: &Path) {
        self.0.push((path.to_owned(), Self::stamp(path)));
    }

    fn stamp(path: &Path) -> Option<Stamp> {
        fs::metadata(path).ok().as_ref().map(Stamp::from)
    }
}

/// Reads a web configuration with the files that it names. Tells also which files it has looked at, whatever came
/// of it: when one of them changes, it is worth another try.
///
/// # Errors
///
/// `file:line:column: what`, or why a file cannot be read.
pub fn read(path: &Path) -> (Seen, Result<WebConfig, String>) {
    let mut seen = Seen::default();
    seen.look_at(path);
    let bytes = contents(path).map_err(|what| format!("cannot read {}: {what}", path.display()));
    let text = bytes
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| format!("{}:1:1: not UTF-8", path.display())));
    let config = text.and_then(|text| parse(path, &text, &mut seen));
    (seen, config)
}

/// Reads the text of a web configuration that stands in this file.
///
/// # Errors
///
/// `file:line:column: what`.
pub fn parse(path: &Path, text: &str, seen: &mut Seen) -> Result<WebConfig, String> {
    let shown = path.display().to_string();
    // An empty file is a configuration that asks for nothing.
    let file: Option<WebFile> = serde_saphyr::from_str(text).map_err(|error| located(&shown, &error))?;
    let mut reader = Reader { folder: path.parent().unwrap_or(Path::new("")), seen };
    let access = reader.access(file.unwrap_or_default());
    let (access, remarks) =
        access.map_err(|Wrong { at, what }| format!("{shown}:{}:{}: {what}", at.line(), at.column()))?;
    Ok(WebConfig { access, remarks })
}

/// Something wrong at a place of the file.
struct Wrong {
    at: Location,
    what: String,
}

fn wrong<T>(at: &Spanned<T>, what: impl Into<String>) -> Wrong {
    Wrong { at: at.referenced, what: what.into() }
}

fn not_here<T>(at: &Spanned<T>, key: &str) -> Wrong {
    wrong(at, format!("{key} is a key of the exporter toolkit that inferometer does not support"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebFile {
    tls_server_config: Option<Spanned<TlsEntry>>,
    http_server_config: Option<HttpEntry>,
    basic_auth_users: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
    rate_limit: Option<Spanned<IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsEntry {
    cert: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    client_ca: Option<Spanned<String>>,
    cert_file: Option<Spanned<PathBuf>>,
    key_file: Option<Spanned<PathBuf>>,
    client_ca_file: Option<Spanned<PathBuf>>,
    client_auth_type: Option<Spanned<String>>,
    client_allowed_sans: Option<Spanned<IgnoredAny>>,
    min_version: Option<Spanned<String>>,
    max_version: Option<Spanned<String>>,
    cipher_suites: Option<Spanned<Vec<String>>>,
    curve_preferences: Option<Spanned<Vec<String>>>,
    prefer_server_cipher_suites: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpEntry {
    http2: Option<bool>,
    headers: Option<BTreeMap<String, Spanned<String>>>,
}

/// Turns entries into what they mean, and notes which files it reads for that.
struct Reader<'a> {
    folder: &'a Path,
    seen: &'a mut Seen,
}

impl Reader<'_> {
    fn access(&mut self, file: WebFile) -> Result<(Access, Vec<&'static str>), Wrong> {
        if let Some(at) = &file.rate_limit {
            return Err(not_here(at, "rate_limit"));
        }
        let tls = match &file.tls_server_config {
            Some(entry) => self.tls(entry)?,
            None => None,
        };
        let users = match file.basic_auth_users {
            Some(entry) if !entry.value.is_empty() => Some(users(&entry)?),
            _ => None,
        };
        let http = file.http_server_config.unwrap_or_default();
        let mut remarks = Vec::new();
        if http.http2 == Some(true) {
            remarks.push(
                "http_server_config: http2 is a key of the exporter toolkit; only HTTP/1.1 is spoken here",
            );
        }
        let headers =
            http.headers.unwrap_or_default().into_iter().map(header).collect::<Result<Vec<_>, _>>()?;
        Ok((Access { tls, users, headers: headers.into_iter().flatten().collect() }, remarks))
    }

    fn tls(&mut self, whole: &Spanned<TlsEntry>) -> Result<Option<Tls>, Wrong> {
        let entry = &whole.value;
        if let Some(at) = &entry.client_allowed_sans {
            return Err(not_here(at, "client_allowed_sans"));
        }
        let certificate = self.pem(["cert", "cert_file"], entry.cert.as_ref(), entry.cert_file.as_ref())?;
        let key = self.pem(["key", "key_file"], entry.key.as_ref(), entry.key_file.as_ref())?;
        let authorities = self.pem(
            ["client_ca", "client_ca_file"],
            entry.client_ca.as_ref(),
            entry.client_ca_file.as_ref(),
        )?;
        let asks = entry.client_auth_type.as_ref().is_some_and(|policy| !policy.value.is_empty());
        if certificate.is_none() && key.is_none() && authorities.is_none() && !asks {
            return Ok(None);
        }
        let clients = clients(whole, authorities.as_ref().map(|pem| pem.bytes.clone()))?;
        let certificate = certificate.ok_or_else(|| wrong(whole, "one of cert and cert_file is missing"))?;
        let key = key.ok_or_else(|| wrong(whole, "one of key and key_file is missing"))?;
        let names = |list: &Option<Spanned<Vec<String>>>| {
            list.as_ref().map_or_else(Vec::new, |list| list.value.clone())
        };
        let oldest = version(entry.min_version.as_ref(), Version::Tls12)?;
        let newest = version(entry.max_version.as_ref(), Version::Tls13)?;
        let settings = Settings {
            certificate: certificate.bytes,
            key: key.bytes,
            clients,
            versions: (oldest, newest),
            suites: names(&entry.cipher_suites),
            curves: names(&entry.curve_preferences),
            prefers_own_order: entry.prefer_server_cipher_suites.unwrap_or(true),
        };
        let at = |list: &Option<Spanned<Vec<String>>>| {
            list.as_ref().map_or(whole.referenced, |list| list.referenced)
        };
        Tls::new(&settings).map(Some).map_err(|fault| match fault {
            Fault::Certificate(what) => Wrong { at: certificate.at, what },
            Fault::Key(what) => Wrong { at: key.at, what },
            Fault::Authorities(what) => {
                Wrong { at: authorities.map_or(whole.referenced, |pem| pem.at), what }
            }
            Fault::Suite(name) => Wrong {
                at: at(&entry.cipher_suites),
                what: format!("cipher suite {name:?} is not supported"),
            },
            Fault::Curve(name) => {
                Wrong { at: at(&entry.curve_preferences), what: format!("curve {name:?} is not supported") }
            }
            Fault::Versions => wrong(whole, "min_version is newer than max_version"),
            Fault::Whole(what) => wrong(whole, what),
        })
    }

    /// PEM text that is given as it is or by the name of a file.
    fn pem(
        &mut self,
        [inline_key, file_key]: [&str; 2],
        inline: Option<&Spanned<String>>,
        file: Option<&Spanned<PathBuf>>,
    ) -> Result<Option<Pem>, Wrong> {
        let inline = inline.filter(|text| !text.value.is_empty());
        let file = file.filter(|path| !path.value.as_os_str().is_empty());
        match (inline, file) {
            (Some(at), Some(_)) => Err(wrong(at, format!("both {inline_key} and {file_key} are given"))),
            (Some(text), None) => {
                Ok(Some(Pem { at: text.referenced, bytes: text.value.clone().into_bytes() }))
            }
            (None, Some(path)) => {
                let full = self.folder.join(&path.value);
                self.seen.look_at(&full);
                let bytes = contents(&full)
                    .map_err(|what| wrong(path, format!("cannot read {}: {what}", full.display())))?;
                Ok(Some(Pem { at: path.referenced, bytes }))
            }
            (None, None) => Ok(None),
        }
    }
}

/// PEM text and where it is given.
struct Pem {
    at: Location,
    bytes: Vec<u8>,
}

/// A file, unless it is larger than any of these has a reason to be.
fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // A pipe would be waited for, for ever.
    if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("not a file".to_owned());
    }
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > SIZE_MAX { Err(format!("larger than {SIZE_MAX} bytes")) } else { Ok(bytes) }
}

/// Who has to show a certificate. Policies that take any certificate keep nobody out, so they are refused.
fn clients(whole: &Spanned<TlsEntry>, authorities: Option<Vec<u8>>) -> Result<Clients, Wrong> {
    let policy = whole.value.client_auth_type.as_ref();
    let word = policy.map_or("", |policy| policy.value.as_str());
    let place = policy.map_or(whole.referenced, |policy| policy.referenced);
    let fault = |what: String| Wrong { at: place, what };
    match (word, authorities) {
        ("" | "NoClientCert", None) => Ok(Clients::Anybody),
        ("" | "NoClientCert", Some(_)) => {
            Err(fault("client_ca without a client_auth_type that asks for a certificate".to_owned()))
        }
        ("VerifyClientCertIfGiven", Some(pem)) => Ok(Clients::IfGiven(pem)),
        ("RequireAndVerifyClientCert", Some(pem)) => Ok(Clients::Required(pem)),
        ("VerifyClientCertIfGiven" | "RequireAndVerifyClientCert", None) => {
            Err(fault(format!("{word} needs client_ca or client_ca_file")))
        }
        ("RequestClientCert" | "RequireAnyClientCert" | "RequireClientCert", _) => Err(fault(format!(
            "client_auth_type {word} of the exporter toolkit is not supported: it lets any certificate in; \
             RequireAndVerifyClientCert asks for one of client_ca"
        ))),
        _ => Err(fault("client_auth_type is none of the exporter toolkit's".to_owned())),
    }
}

fn version(given: Option<&Spanned<String>>, default: Version) -> Result<Version, Wrong> {
    let Some(given) = given else { return Ok(default) };
    match given.value.as_str() {
        "TLS12" => Ok(Version::Tls12),
        "TLS13" => Ok(Version::Tls13),
        old @ ("TLS10" | "TLS11") => {
            Err(wrong(given, format!("{old} is not supported: it is broken; TLS12 is the oldest")))
        }
        _ => Err(wrong(given, "neither TLS12 nor TLS13")),
    }
}

fn users(entry: &Spanned<BTreeMap<String, Spanned<String>>>) -> Result<Users, Wrong> {
    let hashes = entry.value.iter().map(|(user, hash)| (user.clone(), hash.value.clone())).collect();
    Users::new(hashes).map_err(|bad| {
        let at = entry.value.get(&bad.user).map_or(entry.referenced, |hash| hash.referenced);
        Wrong { at, what: format!("{:?}: {}", bad.user, bad.what) }
    })
}

/// The headers that may be set, with the values that they may have; any value where there are none.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// A header that is to be sent; none where it is blank.
fn header(entry: (String, Spanned<String>)) -> Result<Option<(HeaderName, HeaderValue)>, Wrong> {
    let (name, value) = entry;
    let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| *known == name) else {
        return Err(wrong(&value, format!("the header {name:?} cannot be set")));
    };
    if value.value.is_empty() {
        return Ok(None);
    }
    if !allowed.is_empty() && !allowed.contains(&value.value.as_str()) {
        return Err(wrong(&value, format!("{name} may be {}", allowed.join(" or "))));
    }
    let text = HeaderValue::from_str(&value.value);
    let text = text.map_err(|_| wrong(&value, format!("the value of {name} cannot stand in a header")))?;
    let name = HeaderName::from_bytes(name.as_bytes());
    let name = name.map_err(|_| wrong(&value, "no name of a header"))?;
    Ok(Some((name, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$04$KXyYkKZLB6vIDlJ5FYnBmOJ1vq7RcbXnL6FzpwWcQWX9jS1MoGOlq";

    fn parsed(text: &str) -> Result<WebConfig, String> {
        parse(Path::new("/nowhere/web.yml"), text, &mut Seen::default())
    }

    fn objection(text: &str) -> String {
        parsed(text).map(|_| ()).expect_err(text).replace("/nowhere/", "")
    }

    #[test]
    fn a_file_that_asks_for_nothing_lets_everybody_in() {
        for text in ["", "---\n", "basic_auth_users: {}\n", "tls_server_config:\n", "http_server_config:\n"] {
            let access = parsed(text).unwrap_or_else(|error| panic!("{text:?}: {error}")).access;
            assert!(access.tls.is_none() && access.users.is_none() && access.headers.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn users_and_headers_are_those_of_the_toolkit() {
        let text = format!(
            "basic_auth_users:\n  ann: {HASH}\n  bob: '{HASH}'\nhttp_server_config:\n  http2: true\n  headers:\n    \
             X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n    X-XSS-Protection: ''\n"
        );
        let config = parsed(&text).unwrap();
        assert_eq!(2, config.access.users.unwrap().len());
        assert_eq!(vec!["strict-transport-security", "x-frame-options"], {
            config.access.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()
        });
        assert!(config.remarks[0].contains("http2"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_without_secrets() {
        for (text, expected) in [
            ("tls_server_confg: {}\n", "web.yml:1:1: unknown field"),
            ("tls_server_config:\n  cert_fil: x\n", "web.yml:2:3: unknown field"),
            (
                "tls_server_config:\n  client_allowed_sans: [a]\n",
                "web.yml:2:24: client_allowed_sans is a key of the",
            ),
            ("rate_limit: {interval: 1s}\n", "web.yml:1:13: rate_limit is a key of the exporter toolkit"),
            ("tls_server_config: {cert: x, cert_file: y}\n", "web.yml:1:27: both cert and cert_file"),
            ("tls_server_config:\n  cert_file: a\n", "web.yml:2:14: cannot read a: "),
            (
                "tls_server_config: {client_auth_type: NoClientCert}\n",
                "web.yml:1:20: one of cert and cert_file",
            ),
            (
                "tls_server_config: {client_auth_type: RequireAnyClientCert}\n",
                "web.yml:1:39: client_auth_type Req",
            ),
            ("tls_server_config: {client_ca: x}\n", "web.yml:1:20: client_ca without"),
            (
                "tls_server_config: {cert: a, key: b, min_version: TLS11}\n",
                "web.yml:1:51: TLS11 is not supported",
            ),
            ("tls_server_config: {cert: a, key: b}\n", "web.yml:1:27: no PEM certificate in it"),
            (
                "tls_server_config: {cert: a, key: b, cipher_suites: [RC4]}\n",
                "web.yml:1:53: cipher suite \"RC4\"",
            ),
            ("tls_server_config: {cert: a, key: b, curve_preferences: [CurveP521]}\n", "web.yml:1:57: curve"),
            ("basic_auth_users:\n  ann: secret\n", "web.yml:2:8: \"ann\": the password is no bcrypt hash"),
            ("basic_auth_users:\n  ann: [secret]\n", "web.yml:2:8: "),
            ("basic_auth_users: {ann: a, ann: secret}\n", "web.yml:1:28: "),
            (
                "http_server_config: {headers: {Server: secret}}\n",
                "web.yml:1:40: the header \"Server\" cannot be set",
            ),
            (
                "http_server_config: {headers: {X-Frame-Options: x}}\n",
                "web.yml:1:49: X-Frame-Options may be deny or",
            ),
            (
                "http_server_config: {headers: {X-XSS-Protection: \"a\\nb\"}}\n",
                "web.yml:1:50: the value of X-XSS",
            ),
            ("basic_auth_users: secret: secret: [\n", "web.yml:1:"),
        ] {
            let objection = objection(text);
            assert!(objection.starts_with(expected), "{text}: {objection}");
            assert!(!objection.contains("secret"), "{text}: {objection}");
        }
    }

    #[test]
    fn a_file_counts_as_changed_when_it_is_written_replaced_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("web.yml"), folder.path().join("other.yml"));
        fs::write(&path, "").unwrap();
        let (seen, config) = read(&path);
        assert!(config.is_ok() && !seen.has_changed());
        fs::write(&other, "tls_server_config: {cert_file: a.crt}").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(seen.has_changed());
        let (seen, config) = read(&path);
        assert!(config.is_err() && !seen.has_changed());
        fs::write(folder.path().join("a.crt"), "").unwrap();
        assert!(seen.has_changed(), "a file that was missing");
    }
}
