//! TLS by rustls, as the exporter toolkit's `tls_server_config` describes it.
//!
//! The cryptography is ring's, which needs nothing but a C compiler to build. It is named wherever it is used: what
//! is negotiated depends on no other crate's choice and on nothing that a machine has installed.

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use std::fmt;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What is negotiated, and who is asked for a certificate.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our certificate and those that lead to its root, PEM.
    pub certificate: Vec<u8>,
    /// Its private key, PEM.
    pub key: Vec<u8>,
    /// Who has to show a certificate.
    pub clients: Clients,
    /// The oldest and the newest version.
    pub versions: (Version, Version),
    /// Names of the suites for TLS 1.2 in the order of preference; empty for the usual ones.
    pub suites: Vec<String>,
    /// Names of the curves in the order of preference; empty for the usual ones.
    pub curves: Vec<String>,
    /// Whether our order of suites counts, and not the client's.
    pub prefers_own_order: bool,
}

/// Who has to show a certificate that one of these authorities (PEM) has signed.
#[derive(Clone, Debug)]
pub enum Clients {
    /// Nobody is asked for one.
    Anybody,
    /// Who shows one.
    IfGiven(Vec<u8>),
    /// Everybody.
    Required(Vec<u8>),
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// What is wrong with settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The certificate cannot be read.
    Certificate(String),
    /// The key cannot be read.
    Key(String),
    /// The authorities of clients cannot be read.
    Authorities(String),
    /// There is no such suite here.
    Suite(String),
    /// There is no such curve here.
    Curve(String),
    /// The oldest version is newer than the newest.
    Versions,
    /// The parts do not fit together.
    Whole(String),
}

/// Ready for handshakes.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    asks_for_certificate: bool,
}

impl Tls {
    /// Makes everything ready.
    ///
    /// # Errors
    ///
    /// The part that is wrong, and what is wrong with it.
    pub fn new(settings: &Settings) -> Result<Self, Fault> {
        let provider = Arc::new(provider(settings)?);
        let whole = |error: rustls::Error| Fault::Whole(error.to_string());
        let versions = versions(settings.versions)?;
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(&versions).map_err(whole)?;
        let (builder, asks_for_certificate) = match &settings.clients {
            Clients::Anybody => (builder.with_no_client_auth(), false),
            Clients::IfGiven(pem) => {
                (builder.with_client_cert_verifier(verifier(pem, false, provider)?), false)
            }
            Clients::Required(pem) => {
                (builder.with_client_cert_verifier(verifier(pem, true, provider)?), true)
            }
        };
        let chain = certificates(&settings.certificate).map_err(Fault::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&settings.key)
            .map_err(|error| Fault::Key(said("private key", &error)))?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                Fault::Whole("the key does not belong to the certificate".to_owned())
            }
            other => whole(other),
        })?;
        config.ignore_client_order = settings.prefers_own_order;
        // A scrape needs no more, and nothing of ours speaks more.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), asks_for_certificate })
    }

    /// Whether everybody has to show a certificate.
    pub const fn asks_for_certificate(&self) -> bool {
        self.asks_for_certificate
    }

    /// What makes handshakes.
    pub(super) const fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("asks_for_certificate", &self.asks_for_certificate)
            .finish_non_exhaustive()
    }
}

fn versions(range: (Version, Version)) -> Result<Vec<&'static SupportedProtocolVersion>, Fault> {
    let all = [(Version::Tls13, &TLS13), (Version::Tls12, &TLS12)];
    let inside = all.into_iter().filter(|(version, _)| (range.0..=range.1).contains(version));
    let versions: Vec<_> = inside.map(|(_, version)| version).collect();
    if versions.is_empty() { Err(Fault::Versions) } else { Ok(versions) }
}

/// The suites and curves that are wanted. The suites of TLS 1.3 cannot be chosen, as in the toolkit.
fn provider(settings: &Settings) -> Result<CryptoProvider, Fault> {
    let mut provider = ring::default_provider();
    if !settings.suites.is_empty() {
        let is_13 = |suite: &SupportedCipherSuite| matches!(suite, SupportedCipherSuite::Tls13(_));
        let mut suites: Vec<_> = provider.cipher_suites.iter().copied().filter(is_13).collect();
        for name in &settings.suites {
            let known = provider.cipher_suites.iter().find(|suite| suite_name(suite) == *name);
            let known = known.ok_or_else(|| Fault::Suite(name.clone()))?;
            if !suites.contains(known) {
                suites.push(*known);
            }
        }
        provider.cipher_suites = suites;
    }
    if !settings.curves.is_empty() {
        let curve = |name: &String| curve(name).ok_or_else(|| Fault::Curve(name.clone()));
        provider.kx_groups = settings.curves.iter().map(curve).collect::<Result<_, _>>()?;
    }
    Ok(provider)
}

/// A suite's name as Go and IANA spell it; rustls writes `TLS13_` for the suites of 1.3.
fn suite_name(suite: &SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    name.strip_prefix("TLS13_").map_or(name.clone(), |rest| format!("TLS_{rest}"))
}

/// A curve by the name that Go gives it.
fn curve(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    match name {
        "X25519" => Some(ring::kx_group::X25519),
        "CurveP256" => Some(ring::kx_group::SECP256R1),
        "CurveP384" => Some(ring::kx_group::SECP384R1),
        _ => None,
    }
}

fn verifier(
    authorities: &[u8],
    is_required: bool,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities).map_err(Fault::Authorities)? {
        roots.add(certificate).map_err(|error| Fault::Authorities(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| Fault::Authorities(error.to_string()))
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match all {
        Ok(all) if all.is_empty() => Err("no PEM certificate in it".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(said("certificate", &error)),
    }
}

/// What is wrong with PEM, without any of it: it may be a key.
fn said(what: &str, error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => format!("no PEM {what} in it"),
        _ => format!("the PEM {what} in it is damaged"),
    }
}
