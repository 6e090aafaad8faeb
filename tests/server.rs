//! The HTTP server against clients that mean no good, with the real binary: whatever they do, scrapes are answered,
//! no line is lost, and memory stays what it is.

use crate::support::exposition::Exposition;
use crate::support::folders::Folders;
use crate::support::http;
use crate::support::lines::{append, frontend, requests};
use crate::support::process::{Server, eventually, run, wait_for};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

/// Longer than the server's own times together.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the process may use at most, in KiB.
const MEMORY_MAX: u64 = 64 * 1024;

const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_thousand_stalled_clients_keep_no_scrape_out() {
    raise_descriptors();
    let (folders, server) = small(&[]);
    let mut stalled: Vec<TcpStream> = Vec::new();
    let mut lines = 0;
    for _ in 0..10 {
        for _ in 0..100 {
            let mut client = connect(server.address);
            client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
            stalled.push(client);
        }
        // A byte now and then does not buy any more time. Who was closed cannot send it.
        stalled.iter_mut().for_each(|client| drop(client.write(b"y")));
        append(&folders.live(), requests(7));
        lines += 7;
        wait_for(&server, f64::from(lines));
    }
    stalled.into_iter().for_each(|client| assert_eq!("", read_all(client), "closed without an answer"));
    let closed = |reason| server.value("inferometer_http_closed_connections_total", &[("reason", reason)]);
    let (room, headers) = (closed("room").unwrap(), closed("headers").unwrap());
    assert!(room >= 700.0 && headers > 0.0, "{room} made room, {headers} took too long");
    wait_for(&server, f64::from(lines));
    assert!(server.peak_memory() <= MEMORY_MAX, "{} KiB", server.peak_memory());
}

#[test]
fn ten_thousand_connections_cost_no_line_and_no_memory() {
    raise_descriptors();
    let (folders, server) = small(&[]);
    for round in 0..40 {
        let mut clients: Vec<TcpStream> = (0..250).map(|_| connect(server.address)).collect();
        // Some ask and never look, some say nothing, some say nonsense.
        for (at, client) in clients.iter_mut().enumerate() {
            // Fewer than there are slots, or a scrape might be told to come again.
            let nonsense: [&[u8]; 2] = [b"", b"\x16\x03\x01\x02"];
            let said = if at % 8 == 0 { METRICS } else { nonsense[at % 2] };
            drop(client.write(said));
        }
        append(&folders.live(), requests(3));
        wait_for(&server, f64::from((round + 1) * 3));
    }
    eventually("only the scrape's own connection is open", || {
        let open = server.value("inferometer_http_connections", &[])?;
        (open <= 1.0).then_some(())
    });
    assert!(server.peak_memory() <= MEMORY_MAX, "{} KiB", server.peak_memory());
}

#[test]
fn who_does_not_read_his_answer_holds_no_slot_and_is_closed() {
    let (_folders, server) = large(&["--web.max-requests", "1"]);
    let mut readers: Vec<TcpStream> = (0..3).map(|_| connect(server.address)).collect();
    for reader in &mut readers {
        reader.write_all(METRICS).unwrap();
        // It has its slot for as long as the answer is made.
        assert_eq!("HTTP/1.1 200 OK", first_line(reader));
    }
    assert_eq!(200, http::get(server.address, "/metrics").status);
    // What waits to be read is kept up to a limit, and then the slowest go.
    for _ in 0..60 {
        let mut reader = connect(server.address);
        reader.write_all(METRICS).unwrap();
        if first_line(&mut reader).ends_with("OK") {
            readers.push(reader);
        }
    }
    let closed = eventually("only the scrape's own connection is open", || {
        // It is refused too as long as those are not slow enough.
        let reply = http::get(server.address, "/metrics");
        let body = Some(reply).filter(|reply| reply.status == 200)?.body;
        let body = Exposition::strict(&body).unwrap();
        let closed = |reason| body.value("inferometer_http_closed_connections_total", &[("reason", reason)]);
        let open = body.value("inferometer_http_connections", &[])?;
        (open <= 1.0).then_some(closed("stalled")? + closed("room")?)
    });
    assert_eq!(readers.len() as f64, closed);
    // A body is 7 MB here; of those that nobody reads 32 MiB are kept.
    assert!(server.peak_memory() <= 2 * MEMORY_MAX, "{} KiB", server.peak_memory());
}

#[test]
fn more_requests_than_slots_are_told_so() {
    let (_folders, server) = large(&["--web.max-requests", "1"]);
    // All of them are there before the first one is looked at, and to answer it takes a while.
    signal(&server, "STOP");
    let mut clients: Vec<TcpStream> = (0..8).map(|_| connect(server.address)).collect();
    clients.iter_mut().for_each(|client| client.write_all(METRICS).unwrap());
    let mut healthy = connect(server.address);
    healthy.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    signal(&server, "CONT");
    let mut statuses: Vec<String> = clients.iter_mut().map(first_line).collect();
    statuses.sort();
    assert_eq!("HTTP/1.1 200 OK", statuses[0]);
    assert_eq!("HTTP/1.1 503 Service Unavailable", statuses[7], "{statuses:?}");
    assert!(read_all(healthy).starts_with("HTTP/1.1 200 OK"), "health needs no slot");
    let refused = statuses.iter().filter(|status| status.contains("503")).count();
    let counted = server.value("inferometer_refused_scrapes_total", &[]).unwrap();
    assert!(counted >= refused as f64, "{counted} of {refused}");
}

#[test]
fn huge_headers_are_refused_and_not_kept() {
    let (_folders, server) = small(&[]);
    let ask = |length: usize| {
        let head =
            format!("GET /metrics?{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "a".repeat(length));
        let mut client = connect(server.address);
        // It is closed while it still sends.
        drop(client.write_all(head.as_bytes()));
        read_all(client)
    };
    assert!(ask(16_000).starts_with("HTTP/1.1 200 OK"));
    for _ in 0..100 {
        let answer = ask(1_000_000);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let many = (0..200).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    let answer = exchange(&server, &format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{many}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(server.peak_memory() <= MEMORY_MAX, "{} KiB", server.peak_memory());
}

#[test]
fn http_2_is_not_spoken() {
    let (_folders, server) = small(&[]);
    let answer = exchange(&server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    let reply = http::request_with(server.address, "GET", "/-/healthy", upgrade).unwrap();
    assert_eq!((200, None), (reply.status, reply.header("upgrade")));
}

/// Two servers in a row that differ about where a request ends let a second one hide in the first. Each of these
/// gets one answer at most, and it is no 200; what follows on it is not looked at.
#[test]
fn a_request_whose_end_is_in_doubt_is_the_last_one() {
    let (_folders, server) = small(&[]);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nX: a\r\n folded: b\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\n X: a\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n",
        "GET /metrics HTTP/1.1\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /metrics HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /metrics HTTP/1.2\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/3.0\r\nHost: x\r\n\r\n",
        "GET /metrics\r\n\r\n",
        "GET metrics:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT metrics:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /met rics HTTP/1.1\r\nHost: x\r\n\r\n",
        "G\0T /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let answer = exchange(&server, &format!("{head}{hidden}"));
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{head:?}: {answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{head:?}: {answer}");
        assert!(!answer.contains("etrics") && !answer.contains("hidden"), "{head:?}: {answer}");
    }
    let whole = exchange(&server, &format!("{}{}", hidden.repeat(2), METRICS_LAST));
    assert_eq!(3, whole.matches("HTTP/1.1 ").count(), "requests in a row are answered in a row: {whole}");
}

const METRICS_LAST: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn sigterm_lets_a_running_scrape_finish_whole() {
    let (_folders, mut server) = large(&[]);
    let mut client = connect(server.address);
    client.write_all(METRICS).unwrap();
    let mut head = [0; 1000];
    client.read_exact(&mut head).unwrap();
    signal(&server, "TERM");
    server.log_with("stopping");
    let rest = read_all(client);
    let (head, first) = std::str::from_utf8(&head).unwrap().split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(length, (first.len() + rest.len()).to_string());
    assert_eq!(Some(0), eventually("the end", || server.ended()).code(), "{}", server.log());
}

#[test]
fn sigterm_waits_for_nobody_who_does_not_read() {
    let (_folders, mut server) = large(&[]);
    let mut readers: Vec<TcpStream> = (0..3).map(|_| connect(server.address)).collect();
    readers.iter_mut().for_each(|reader| reader.write_all(METRICS).unwrap());
    let _silent = connect(server.address);
    eventually("their answers are under way", || {
        (server.value("inferometer_http_connections", &[])? >= 4.0).then_some(())
    });
    assert_eq!(Some(0), server.terminate().code());
    server.log_with("scrapes did not finish in time");
}

#[test]
fn after_sigterm_a_lingering_server_shows_the_last_lines() {
    let (folders, server) = small(&["--web.shutdown-linger", "1h"]);
    append(&folders.live(), requests(5));
    signal(&server, "TERM");
    server.log_with("stopping");
    wait_for(&server, 5.0);
}

#[test]
fn every_listen_address_is_served_and_one_that_is_taken_is_named() {
    let folders = Folders::new();
    let mut command = run();
    command.args(["--web.listen-address", "127.0.0.1:0"]).arg(folders.logs());
    let server = Server::launch(command);
    let log = eventually("both are open", || {
        Some(server.log()).filter(|log| log.matches("listening").count() == 2)
    });
    let addresses: Vec<SocketAddr> = log
        .lines()
        .filter_map(|line| line.split_once("address=")?.1.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(2, addresses.len(), "{log}");
    addresses.iter().for_each(|address| assert_eq!(200, http::get(*address, "/-/healthy").status));
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let mut command = run();
    command.args(["--web.listen-address", &taken.to_string()]).arg(folders.logs());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(Some(1), output.status.code(), "{said}");
    assert!(said.contains(&format!("cannot listen on {taken}: ")), "{said}");
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let (_folders, server) = small(&[]);
    let mut client = connect(server.address);
    for _ in 0..3 {
        client.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"ok\n") {
            client.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

/// A server that follows an empty folder.
fn small(arguments: &[&str]) -> (Folders, Server) {
    let folders = Folders::new();
    append(&folders.live(), "");
    let server = Server::ready(&folders.logs(), arguments);
    (folders, server)
}

/// A server whose body of 6 MB fits into no socket's buffer.
fn large(arguments: &[&str]) -> (Folders, Server) {
    let folders = Folders::new();
    let names = (0..900).map(|number| format!("{number:03}{}", "m".repeat(3_800)));
    let lines = names.flat_map(|name| {
        ["Requests2XX", "Requests4XX"]
            .map(|metric| frontend(&format!("{metric}.Count:1.0"), &format!("Level:{name}")))
    });
    append(&folders.live(), lines.collect::<String>());
    let server = Server::ready(&folders.logs(), arguments);
    let body = http::get(server.address, "/metrics").body;
    assert!(body.len() > 6_000_000, "{}", body.len());
    (folders, server)
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect_timeout(&address, PATIENCE).expect("the port is open");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Says something and listens to the end of the connection.
fn exchange(server: &Server, said: &str) -> String {
    let mut client = connect(server.address);
    // It may be closed while it still sends.
    drop(client.write_all(said.as_bytes()));
    read_all(client)
}

/// All that comes until the server closes. A connection that it closes with bytes unread is reset.
fn read_all(mut client: TcpStream) -> String {
    let (mut bytes, mut part) = (Vec::new(), vec![0; 65_536]);
    loop {
        match client.read(&mut part) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => break,
            Err(error) => panic!("the server keeps the connection open: {error}"),
        }
    }
    String::from_utf8(bytes).expect("the answer is UTF-8")
}

fn first_line(client: &mut TcpStream) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n") {
        client.read_exact(&mut byte).expect("a status line");
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

fn signal(server: &Server, name: &str) {
    let kill = format!("kill -{name} {}", server.id());
    let status = Command::new("sh").args(["-c", &kill]).status();
    assert!(status.expect("sh starts").success());
}

/// This process holds more sockets than a shell's usual limit of 1024.
fn raise_descriptors() {
    let process = std::process::id().to_string();
    let status = Command::new("prlimit").args(["--pid", &process, "--nofile=8192:"]).status();
    assert!(status.expect("prlimit starts").success(), "8192 descriptors are needed");
}
