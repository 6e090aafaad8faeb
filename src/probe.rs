//! `inferometer probe`: a health check for images without a shell.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);

/// Whether a GET of this `http://` URL is answered with 200.
pub(crate) fn is_healthy(url: &str) -> bool {
    let answer = ask(url);
    if let Err(reason) = &answer {
        drop(writeln!(std::io::stderr(), "{url}: {reason}"));
    }
    answer.is_ok()
}

fn ask(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").ok_or("only http:// is supported")?;
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let path = if path.is_empty() { "/" } else { path };
    let address = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut addresses = address.to_socket_addrs().map_err(|error| error.to_string())?;
    let address = addresses.next().ok_or("the host has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| error.to_string())?;
    let timeouts =
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    timeouts.map_err(|error| error.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).map_err(|error| error.to_string())?;
    match &status {
        b"HTTP/1.1 200" => Ok(()),
        other => Err(format!("answered {}", String::from_utf8_lossy(other).escape_debug())),
    }
}
