//! Any bytes as what a client sends: the server answers whole requests in short, known words, and ends.

#![no_main]

use inferometer::expose::access::{Access, LiveAccess};
use inferometer::expose::server::{Parts, Server, Slots};
use inferometer::expose::{Live, Routes, Scraper};
use inferometer::instruments::Instruments;
use inferometer::publish::Board;
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

static SERVED: LazyLock<(Runtime, Server)> = LazyLock::new(|| {
    let instruments = Instruments::new().expect("names of ours");
    let board = Arc::new(Board::default());
    let scraper = Arc::new(Scraper::new(board.clone(), instruments.clone()));
    let live = Arc::new(Live::new("/metrics", false));
    let routes = Routes { telemetry_path: "/metrics".to_owned(), scraper, board, live };
    let server = Server::new(Parts {
        routes: Parts::routes_of(routes.filter()),
        access: LiveAccess::new(Access::default(), None),
        instruments: instruments.web,
        slots: Slots::new(1),
        reload: None,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    (runtime.expect("a runtime"), server)
});

/// What the server may say: it never fails, and never sends anybody elsewhere.
const STATUSES: [&str; 8] = ["200", "400", "403", "404", "405", "414", "431", "503"];

fuzz_target!(|said: &[u8]| {
    let (runtime, server) = &*SERVED;
    let answer = runtime.block_on(async {
        let (mut client, stream) = tokio::io::duplex(1 << 20);
        let talk = async {
            // It may be closed while this is written.
            client.write_all(said).await.ok();
            client.shutdown().await.ok();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("memory to read from");
            answer
        };
        tokio::join!(server.serve(stream), talk).1
    });
    // A body may be compressed.
    let text = String::from_utf8_lossy(&answer);
    let heads = text.matches("HTTP/1.").count();
    let ends = said.iter().filter(|byte| **byte == b'\n').count();
    assert!(heads <= ends + 1, "{heads} answers to {ends} lines");
    // Who asks in 1.0 is answered in 1.0.
    if let Some(status) = text.strip_prefix("HTTP/1.1 ").or_else(|| text.strip_prefix("HTTP/1.0 ")) {
        assert!(STATUSES.iter().any(|known| status.starts_with(known)), "{status}");
    } else {
        assert!(text.is_empty(), "{text}");
    }
});
