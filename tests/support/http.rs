//! Raw HTTP/1.1 over one connection per request: nothing between the test and the bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer, with the transfer and content codings undone.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// A header's value; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Asks for a target and reads the answer to the end of the connection.
pub(crate) fn get(address: SocketAddr, target: &str) -> Reply {
    request(address, "GET", target).unwrap_or_else(|error| panic!("GET {target}: {error}"))
}

/// Sends a request without a body.
pub(crate) fn request(address: SocketAddr, method: &str, target: &str) -> std::io::Result<Reply> {
    request_with(address, method, target, "")
}

/// The same with more header lines, each with its line end.
pub(crate) fn request_with(
    address: SocketAddr,
    method: &str,
    target: &str,
    more: &str,
) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n{length}{more}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(read(&answer, method == "HEAD"))
}

fn read(answer: &[u8], head_only: bool) -> Reply {
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("an end of the headers");
    let head = std::str::from_utf8(&answer[..end]).expect("headers are UTF-8");
    let mut body = answer[end + 4..].to_vec();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: Vec<_> = lines
        .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut reply = Reply { status: status.expect("a status line"), headers, body: String::new() };
    if reply.header("transfer-encoding") == Some("chunked") && !head_only {
        body = unchunk(&body);
    }
    if let Some(length) = reply.header("content-length").filter(|_| !head_only) {
        assert_eq!(length, body.len().to_string(), "Content-Length and body differ");
    }
    if reply.header("content-encoding") == Some("gzip") && !head_only {
        let packed = std::mem::take(&mut body);
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut body).expect("one gzip member");
    }
    reply.body = String::from_utf8(body).expect("the answer is UTF-8");
    reply
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|end| end == b"\r\n").expect("a chunk's size");
        let size = std::str::from_utf8(&rest[..end]).expect("a chunk's size is text");
        let size = usize::from_str_radix(size, 16).expect("a hexadecimal size");
        let after = &rest[end + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&after[..size]);
        rest = after[size..].strip_prefix(b"\r\n").expect("a chunk's end");
    }
}
