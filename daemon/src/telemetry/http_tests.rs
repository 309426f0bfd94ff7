//! The HTTP server, over real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{HttpServer, Recent, Telemetry};

async fn server() -> (HttpServer, Telemetry) {
    let telemetry = Telemetry::new(Recent::default());
    let server = HttpServer::start("127.0.0.1:0", telemetry.clone()).await.unwrap();
    (server, telemetry)
}

/// Status and whole answer.
async fn get(server: &HttpServer, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

#[tokio::test]
async fn the_three_pages() {
    let (server, telemetry) = server().await;
    assert_eq!(get(&server, "/livez").await.0, 200);
    let (status, answer) = get(&server, "/readyz").await;
    assert_eq!(status, 503);
    assert!(answer.ends_with("\r\n\r\nstarting\n"), "{answer}");
    telemetry.readiness.set_ready();
    assert_eq!(get(&server, "/readyz").await.0, 200);
    telemetry.readiness.set_not_ready("no leader for 3 s");
    assert!(get(&server, "/readyz").await.1.ends_with("\r\n\r\nno leader for 3 s\n"));
    telemetry.metrics.grants.inc();
    let (status, answer) = get(&server, "/metrics").await;
    assert_eq!(status, 200);
    assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
    assert!(answer.contains("\ndsync_lock_grants_total 1\n"), "{answer}");
    assert_eq!(get(&server, "/").await.0, 404);
    server.stop().await;
}

#[tokio::test]
async fn garbage_and_silence_do_not_keep_it_from_serving_or_stopping() {
    let (server, _telemetry) = server().await;
    let mut open = Vec::new();
    for bytes in [
        &b""[..],
        b"GET /metr",
        b"\xff\x00\xff",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET",
    ] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        // The server may hang up in the middle of it.
        stream.write_all(bytes).await.unwrap_or_default();
        open.push(stream);
    }
    assert_eq!(get(&server, "/livez").await.0, 200);
    let address = server.address();
    server.stop().await;
    TcpListener::bind(address).await.unwrap();
    drop(open);
}

/// More than there is room for, of each kind that never asks for a whole page.
#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let (server, _telemetry) = server().await;
    let mut silent = Vec::new();
    for bytes in [&b""[..], b"GET /li", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            // It may have had to make place already.
            stream.write_all(bytes).await.unwrap_or_default();
            silent.push(stream);
        }
    }
    // Less than the life of a connection: nobody has to wait for its end.
    let asked = tokio::time::timeout(Duration::from_secs(30), get(&server, "/livez"));
    assert_eq!(asked.await.unwrap().0, 200);
    server.stop().await;
    drop(silent);
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_named_with_its_fix() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let error = HttpServer::start(&address, Telemetry::new(Recent::default())).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("METRICS_ADDR={address}: cannot listen there: ")), "{text}");
    assert!(text.ends_with("stop what uses that port, or set another one"), "{text}");
    let nowhere = "no-such-host.invalid:1";
    let error = HttpServer::start(nowhere, Telemetry::new(Recent::default())).await.unwrap_err();
    assert!(error.to_string().contains(nowhere), "{error}");
}
