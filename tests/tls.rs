//! TLS and passwords, with curl and a real Prometheus on the other side.

use crate::support::folders::Folders;
use crate::support::lines::{append, requests};
use crate::support::process::{Server, eventually, inferometer, run};
use crate::support_prometheus::{Prometheus, within};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// curl's exit codes (curl(1)).
const CANNOT_VERIFY: i32 = 60;

/// An authority that exists for one test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    fn expired(&self) -> Pair {
        self.sign(|params| params.not_after = date_time_ymd(2020, 1, 1))
    }

    fn of_another_name(&self) -> Pair {
        self.sign(|params| params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 2].into())])
    }

    /// Larger than a client reads.
    fn huge(&self) -> Pair {
        let name = |number| SanType::DnsName(format!("{number:060}.example").try_into().unwrap());
        self.sign(|params| params.subject_alt_names.extend((0..6000).map(name)))
    }
}

/// A folder with logs, an authority, our certificate and a web configuration.
struct Place {
    folders: Folders,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        let place = Self { folders: Folders::new(), authority: Authority::new("test") };
        append(&place.folders.live(), requests(3));
        place.put("ca.crt", &place.authority.pem);
        place.put_pair("server", &place.authority.sign(|_| ()));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folders.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn put_pair(&self, name: &str, pair: &Pair) {
        self.put(&format!("{name}.crt"), &pair.certificate);
        self.put(&format!("{name}.key"), &pair.key);
    }

    /// Writes `web.yml`, in which paths are relative to it, and starts.
    fn serve(&self, web: &str) -> Server {
        self.put("web.yml", web);
        Server::launch(self.command())
    }

    fn command(&self) -> Command {
        let mut command = run();
        command.arg("--web.config.file").arg(self.path("web.yml")).arg(self.folders.logs());
        command
    }

    /// Has curl ask for the metrics: its exit code, the status and the body.
    fn curl(&self, server: &Server, options: &[&str]) -> (i32, String, String) {
        let url = format!("https://127.0.0.1:{}/metrics", server.address.port());
        let output = curl()
            .args(["--cacert", self.path("ca.crt").to_str().unwrap()])
            .args(options)
            .arg(url)
            .output()
            .expect("curl starts; install Debian's package `curl` (tests/run.sh does)");
        let said = String::from_utf8(output.stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap_or_default();
        (output.status.code().unwrap_or(-1), status.to_owned(), body.to_owned())
    }

    #[track_caller]
    fn is_served(&self, server: &Server, options: &[&str]) {
        let (code, status, body) = self.curl(server, options);
        assert_eq!((0, "200"), (code, status.as_str()), "{options:?}\n{}", server.log());
        assert!(body.contains("Requests2XX{"), "{body}");
    }

    fn client(&self, name: &str) -> [String; 4] {
        let file = |end: &str| self.path(&format!("{name}.{end}")).to_str().unwrap().to_owned();
        ["--cert".to_owned(), file("crt"), "--key".to_owned(), file("key")]
    }
}

fn curl() -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--noproxy", "*", "--max-time", "60", "--write-out", "\n%{http_code}"]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn hash(password: &str) -> String {
    bcrypt::hash(password, 5).unwrap()
}

const TLS: &str = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";

#[test]
fn a_certificate_that_the_client_trusts_is_enough() {
    let place = Place::new();
    let server = place.serve(TLS);
    server.log_with("caught up");
    place.is_served(&server, &[]);
    place.is_served(&server, &["--tlsv1.2", "--tls-max", "1.2"]);
    place.is_served(&server, &["--tlsv1.3"]);
    // HTTP/2 is offered and not taken.
    place.is_served(&server, &["--http2"]);
    assert_ne!(0, place.curl(&server, &["--tlsv1.0", "--tls-max", "1.1"]).0);
}

#[test]
fn http_on_a_port_that_speaks_tls_is_told_so() {
    let place = Place::new();
    let server = place.serve(TLS);
    let mut client = TcpStream::connect(server.address).unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("this port speaks https\n"), "{answer}");
}

#[test]
fn a_stalled_handshake_is_ended() {
    let place = Place::new();
    let server = place.serve(TLS);
    for said in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut client = TcpStream::connect(server.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client.write_all(said).unwrap();
        let mut rest = Vec::new();
        // It is closed, perhaps with a last word; a timeout of ours would be an error of another kind.
        let ended = client.read_to_end(&mut rest);
        assert!(ended.is_ok() || ended.unwrap_err().kind() == std::io::ErrorKind::ConnectionReset);
    }
    place.is_served(&server, &[]);
}

#[test]
fn versions_suites_and_curves_are_those_of_the_configuration() {
    let place = Place::new();
    let server = place.serve(
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  min_version: TLS13\n  \
         curve_preferences: [CurveP384]\n",
    );
    server.log_with("caught up");
    place.is_served(&server, &["--curves", "P-384"]);
    assert_ne!(0, place.curl(&server, &["--curves", "X25519"]).0);
    assert_ne!(0, place.curl(&server, &["--tls-max", "1.2"]).0);
    let server = place.serve(
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  max_version: TLS12\n  \
         cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n",
    );
    server.log_with("caught up");
    place.is_served(&server, &["--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"]);
    assert_ne!(0, place.curl(&server, &["--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"]).0);
    assert_ne!(0, place.curl(&server, &["--tlsv1.3"]).0);
}

#[test]
fn certificates_that_clients_refuse_harm_nobody_else() {
    let place = Place::new();
    let server = place.serve(TLS);
    server.log_with("caught up");
    let stranger = Authority::new("stranger");
    let bad = [
        place.authority.expired(),
        place.authority.of_another_name(),
        place.authority.huge(),
        stranger.sign(|_| ()),
    ];
    for pair in bad {
        place.put_pair("server", &pair);
        eventually("the new certificate is used, and refused", || {
            (place.curl(&server, &[]).0 != 0).then_some(())
        });
        let trusting = place.curl(&server, &["--insecure"]);
        assert!(trusting.0 == 0 || pair.certificate.len() > 100_000, "{trusting:?}");
    }
    assert_eq!(CANNOT_VERIFY, place.curl(&server, &[]).0);
    place.put_pair("server", &place.authority.sign(|_| ()));
    eventually("a good one is used again", || (place.curl(&server, &[]).0 == 0).then_some(()));
}

#[test]
fn a_rotated_certificate_is_used_without_a_restart_once_it_is_whole() {
    let place = Place::new();
    let server = place.serve(TLS);
    server.log_with("caught up");
    let next = Authority::new("next");
    let pair = next.sign(|_| ());
    place.put("server.crt", &pair.certificate);
    let log = eventually("half of the pair is refused", || {
        place.is_served(&server, &[]);
        Some(server.log()).filter(|log| log.contains("the key does not belong to the certificate"))
    });
    assert!(log.contains("web.yml:1:20: "), "{log}");
    assert!(place.curl(&server, &[]).2.contains("inferometer_config_last_reload_successful 0"));
    place.put("server.key", &pair.key);
    place.put("ca.crt", &next.pem);
    eventually("the new pair is used", || (place.curl(&server, &[]).0 == 0).then_some(()));
    assert!(place.curl(&server, &[]).2.contains("inferometer_config_last_reload_successful 1"));
}

#[test]
fn clients_show_certificates_where_they_must() {
    let place = Place::new();
    place.put_pair("good", &place.authority.sign(|_| ()));
    place.put_pair("expired", &place.authority.expired());
    place.put_pair("strange", &Authority::new("stranger").sign(|_| ()));
    let ask = |server: &Server, name: &str| {
        let options = place.client(name);
        place.curl(server, &options.each_ref().map(String::as_str))
    };
    let policy = |policy: &str| {
        let server = place.serve(&format!(
            "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: ca.crt\n  \
             client_auth_type: {policy}\n"
        ));
        server.log_with("caught up");
        for name in ["expired", "strange"] {
            assert_ne!(0, ask(&server, name).0, "{policy}: {name}");
        }
        assert_eq!("200", ask(&server, "good").1, "{policy}");
        server
    };
    let server = policy("RequireAndVerifyClientCert");
    assert_ne!(0, place.curl(&server, &[]).0);
    place.is_served(&policy("VerifyClientCertIfGiven"), &[]);
}

#[test]
fn only_users_with_their_passwords_come_in() {
    let place = Place::new();
    let web = format!("{TLS}basic_auth_users:\n  ann: {}\n  bob: {}\n", hash("a:b"), hash("c"));
    let server = place.serve(&web);
    server.log_with("caught up");
    for user in ["ann:a:b", "bob:c", "ann:a:b"] {
        place.is_served(&server, &["--user", user]);
    }
    for options in [&[][..], &["--user", "ann:c"], &["--user", "eve:c"], &["--user", "ann:"]] {
        let (_, status, body) = place.curl(&server, options);
        assert_eq!(("401", "unauthorized\n"), (status.as_str(), body.as_str()), "{options:?}");
    }
    let head =
        curl().args(["--insecure", "--head"]).arg(format!("https://{}/metrics", server.address)).output();
    let head = String::from_utf8(head.unwrap().stdout).unwrap();
    assert!(head.contains("www-authenticate: Basic\r\n"), "{head}");
    let log = server.log();
    assert!(!log.contains("a:b") && !log.contains("$2"), "{log}");
}

#[test]
fn guessed_passwords_keep_no_user_out() {
    let place = Place::new();
    // A dear hash: 60 guesses of it take both cores for many seconds.
    let server = place.serve(&format!("basic_auth_users: {{ann: {}}}\n", bcrypt::hash("a", 9).unwrap()));
    server.log_with("caught up");
    let url = format!("http://{}/metrics", server.address);
    let status = |user: &str| {
        let output = curl().args(["--output", "/dev/null", "--user", user, &url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!("200", status("ann:a"));
    let mut guesses: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    for (number, guess) in guesses.iter_mut().enumerate() {
        let credentials = ["YW5uOmI=", "ZXZlOmI="][number % 2];
        let head = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\r\n");
        guess.write_all(head.as_bytes()).unwrap();
    }
    for _ in 0..5 {
        assert_eq!("200", status("ann:a"));
    }
    let mut answers = BTreeMap::new();
    for guess in &mut guesses {
        let mut head = [0; 12];
        guess.read_exact(&mut head).unwrap();
        *answers.entry(String::from_utf8_lossy(&head[9..]).into_owned()).or_insert(0) += 1;
    }
    assert_eq!(vec!["401", "429"], answers.keys().collect::<Vec<_>>(), "{answers:?}");
    assert_eq!("200", status("ann:a"));
}

#[test]
fn a_file_that_is_empty_for_a_moment_opens_no_door() {
    let place = Place::new();
    let server = place.serve(&format!("{TLS}basic_auth_users: {{ann: {}}}\n", hash("a")));
    server.log_with("caught up");
    place.put("web.yml", "");
    eventually("it is looked at and refused", || {
        assert_eq!("401", place.curl(&server, &[]).1);
        place.is_served(&server, &["--user", "ann:a"]);
        Some(()).filter(|()| server.log().contains("it would ask for less than before"))
    });
    // Other users may come and go at any time.
    place.put("web.yml", &format!("{TLS}basic_auth_users: {{bob: {}}}\n", hash("b")));
    eventually("another user comes in", || {
        (place.curl(&server, &["--user", "bob:b"]).1 == "200").then_some(())
    });
    assert_eq!(
        "401",
        place.curl(&server, &["--user", "ann:a"]).1,
        "a password that was right once is forgotten"
    );
    place.put("web.yml", "");
    let hangup = format!("kill -HUP {}", server.id());
    assert!(Command::new("sh").args(["-c", &hangup]).status().unwrap().success());
    eventually("asked for, it opens", || {
        let reply = crate::support::http::request(server.address, "GET", "/metrics").ok()?;
        (reply.status == 200).then_some(())
    });
}

#[test]
fn headers_of_the_configuration_are_on_every_answer() {
    let place = Place::new();
    let server = place.serve(
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=60\n    \
         Content-Security-Policy: \"default-src 'self'\"\n",
    );
    for path in ["/metrics", "/", "/nothing", "/-/healthy", "/-/reload"] {
        let reply = crate::support::http::get(server.address, path);
        for (name, value) in [
            ("x-frame-options", "deny"),
            ("strict-transport-security", "max-age=60"),
            ("content-security-policy", "default-src 'self'"),
        ] {
            assert_eq!(Some(value), reply.header(name), "{path}");
        }
    }
}

#[test]
fn what_is_wrong_with_the_web_configuration_stops_the_start() {
    let place = Place::new();
    place.put("huge.crt", &"x".repeat(2_000_000));
    place.put_pair("other", &place.authority.sign(|_| ()));
    for (web, expected) in [
        ("tls_server_config:\n  cert_file: none.crt\n  key_file: server.key\n", "web.yml:2:14: cannot read "),
        ("tls_server_config:\n  cert_file: huge.crt\n  key_file: server.key\n", "larger than 1048576 bytes"),
        (
            "tls_server_config:\n  cert_file: server.key\n  key_file: server.key\n",
            "web.yml:2:14: no PEM certificate",
        ),
        (
            "tls_server_config:\n  cert_file: server.crt\n  key_file: ca.crt\n",
            "web.yml:3:13: no PEM private key",
        ),
        (
            "tls_server_config:\n  cert_file: server.crt\n  key_file: other.key\n",
            "does not belong to the certificate",
        ),
        ("tls_server_confg: {}\n", "web.yml:1:1: unknown field"),
        ("rate_limit: {interval: 1s}\n", "web.yml:1:13: rate_limit is a key of the exporter toolkit"),
    ] {
        place.put("web.yml", web);
        let mut commands = [place.command(), inferometer()];
        commands[1].args(["check", "--web.config.file"]).arg(place.path("web.yml"));
        for command in &mut commands {
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(Some(64), output.status.code(), "{web}: {said}");
            assert!(said.contains(expected), "{web}: {said}");
        }
    }
}

#[test]
fn prometheus_scrapes_over_https_with_a_password() {
    let place = Place::new();
    let server = place.serve(&format!("{TLS}basic_auth_users: {{ann: {}}}\n", hash("secret")));
    server.log_with("caught up");
    let job = |name: &str, authority: &Path, password: &str| {
        format!(
            "{{job_name: {name}, scheme: https, tls_config: {{ca_file: '{}'}}, basic_auth: {{username: ann, \
             password: {password}}}, static_configs: [{{targets: ['{}']}}]}}",
            authority.display(),
            server.address
        )
    };
    place.put("strange.crt", &Authority::new("stranger").pem);
    let (good, strange) = (place.path("ca.crt"), place.path("strange.crt"));
    let jobs =
        [job("good", &good, "secret"), job("wrong", &good, "guess"), job("strange", &strange, "secret")];
    let prometheus = Prometheus::with_jobs(&jobs.join(", "));
    within(Duration::from_secs(60), "each job has been scraped", || {
        let up = prometheus.query("up", "job")?;
        let expected = [("good", 1.0), ("strange", 0.0), ("wrong", 0.0)];
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(job, up)| (job.to_owned(), up)).collect();
        if up == expected { Ok(()) } else { Err(format!("{up:?}\n{}", server.log())) }
    });
    let requests = prometheus.query("Requests2XX", "job").unwrap();
    assert_eq!(Some(&3.0), requests.get("good"));
}
