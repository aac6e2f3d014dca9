//! Streams between machines, by each way, as users make them.

use std::net::SocketAddr;
use std::process::Command;

use adit_testkit::within;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::ends::End;
use super::peer::Reach;

/// Serves a port that answers each connection with what it read, when that has ended.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    address
}

/// Sends bytes, ends, and gives what came back.
async fn around(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = tcp.into_split();
    let sent = bytes.to_vec();
    let sending = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut back = Vec::new();
    within("end of the stream", read.read_to_end(&mut back)).await.unwrap();
    sending.await.unwrap();
    back
}

struct Both {
    reach: Reach,
    offer: End,
    target: End,
}

impl Both {
    async fn start(more: &[&str]) -> Self {
        let reach = Reach::start().await;
        let to = echo().await.to_string();
        let mut arguments = vec!["offer", "shell:connect", "--to", &to];
        arguments.extend(more);
        let offer = End::start(&reach.gateway, &reach.source.holder, &arguments);
        offer.told("registered").await;
        let target = ["use", "shell:connect", "--listen", "127.0.0.1:0"];
        let target = End::start(&reach.gateway, &reach.target.holder, &target);
        Self { reach, offer, target }
    }
}

fn pattern(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    })
    .take(bytes)
    .collect()
}

#[tokio::test]
async fn a_port_is_reached_through_the_gateway() {
    // TIX-61
    let both = Both::start(&[]).await;
    let address = both.target.address().await;
    let sent = pattern(3_000_000, 7);
    assert!(
        around(address, &sent).await == sent,
        "every byte comes back, after one side has ended"
    );
    assert_eq!(both.target.told("letIn").await["source"], "alpha");
    assert_eq!(both.offer.told("letIn").await["target"], "beta");
    let (_, sessions) = both.reach.operator.get("/api/tickets/sessions").await;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "one session carries them all");
}

#[tokio::test]
async fn what_is_taken_away_ends_a_stream_within_a_second_and_both_ends_hear_why() {
    // TIX-51, TIX-61
    let both = Both::start(&[]).await;
    let address = both.target.address().await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(b"x").await.unwrap();
    assert_eq!(within("echo", tcp.read_u8()).await.unwrap(), b'x');
    let (_, sessions) = both.reach.operator.get("/api/tickets/sessions").await;
    let session = sessions["sessions"][0]["sessionId"].as_str().unwrap().to_owned();
    let asked = std::time::Instant::now();
    both.reach.operator.delete(&format!("/api/tickets/sessions/{session}")).await;
    let mut rest = Vec::new();
    let _ = within("end of the stream", tcp.read_to_end(&mut rest)).await;
    assert!(asked.elapsed() < std::time::Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(both.target.told("ended").await["reason"], "admin_killed");
    assert_eq!(
        both.offer.told("ended").await,
        json!({"event": "ended", "target": "beta", "reason": "admin_killed"})
    );
}
