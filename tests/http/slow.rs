//! Clients that say little, slowly: others are answered meanwhile, and they are sent away.

use std::time::Duration;

use adit_testkit::{TestGateway, within};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Connections of each kind.
const EACH: usize = 150;

/// What slow clients send before they go silent.
const BEGINNINGS: [&str; 4] = [
    "",
    "PRI * HT",
    "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
    "POST /api/v1/sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
];

fn address(gateway: &TestGateway) -> String {
    gateway.admin.url.strip_prefix("http://").unwrap().to_owned()
}

async fn begin(address: &str, beginning: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(beginning.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn clients_that_are_slow_on_purpose_are_sent_away_and_hold_up_nobody() {
    // RES-06
    let gateway = TestGateway::start();
    let address = address(&gateway);
    let mut slow = Vec::new();
    for beginning in BEGINNINGS {
        for _ in 0..EACH {
            slow.push((beginning, begin(&address, beginning).await));
        }
    }
    let answered = tokio::time::timeout(Duration::from_secs(5), gateway.admin.get("/api/v1/me"));
    assert_eq!(answered.await.unwrap().status, 200, "others are answered meanwhile");
    let ends = slow.into_iter().map(async |(beginning, mut stream)| {
        let mut said = Vec::new();
        // The answer, if there is one, is not of interest; that the connection ends is.
        let what = format!("end of a client that said {beginning:?}");
        let _ = within(&what, stream.read_to_end(&mut said)).await;
    });
    join_all(ends).await;
    assert_eq!(gateway.admin.get("/api/v1/me").await.status, 200);
}

#[tokio::test]
async fn compression_that_a_client_offers_is_not_taken() {
    // RES-05
    let gateway = TestGateway::start();
    let address = address(&gateway);
    let request = format!(
        "GET /ws/terminal HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: adit.terminal.v1\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    );
    let mut stream = begin(&address, &request).await;
    let mut answer = String::new();
    while !answer.contains("\r\n\r\n") {
        let mut bytes = [0; 1024];
        let read = within("answer to the handshake", stream.read(&mut bytes)).await.unwrap();
        answer.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(!answer.to_lowercase().contains("sec-websocket-extensions"), "{answer}");
}

#[tokio::test]
async fn a_client_that_still_sends_hears_why_it_was_refused() {
    // RES-09: the answer comes before the whole body, and what is left of the body does not destroy it on its way.
    let gateway = TestGateway::start();
    let address = address(&gateway);
    let body = 4 << 20;
    let head = format!(
        "POST /api/v1/sign-in HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {body}\r\n\r\n"
    );
    let mut stream = begin(&address, &head).await;
    within("the body's way out", stream.write_all(&vec![b' '; body])).await.unwrap();
    let mut answer = String::new();
    within("the refusal", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("request.too_large"), "{answer}");
}
