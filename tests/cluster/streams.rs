//! Machines that reach each other from different gateways.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_testkit::{TestGateway, eventually, within};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::pair::{AT_ONCE, Pair};
use crate::machines::holder::Holder;
use crate::tickets::ends::End;
use crate::tickets::peer::{Pair as Reach, assign, hold};

/// Serves a port that sends back what it reads.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

type Channel = WebSocketStream<reqwest::Upgraded>;

/// Opens a machine's channel at a gateway.
async fn channel(gateway: &TestGateway, holder: &Holder) -> Channel {
    let request = holder.client().get(format!("{}/ws/tickets", gateway.machines));
    let request = request.header("connection", "upgrade").header("upgrade", "websocket");
    let request = request.header("sec-websocket-version", "13");
    let answer = request.header("sec-websocket-key", generate_key()).send().await.unwrap();
    let upgraded = answer.upgrade().await.unwrap();
    WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await
}

/// Reads what a channel says next.
async fn told(channel: &mut Channel) -> Value {
    within("word of the channel", async {
        loop {
            if let Message::Text(text) = channel.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    })
    .await
}

/// A source at gateway A and a target at gateway B.
struct Across {
    pair: Pair,
    reach: Reach,
    offer: End,
    target: End,
}

impl Across {
    async fn start() -> Self {
        let pair = Pair::start().await;
        let reach = Reach::of(&pair.a).await;
        let to = echo().await.to_string();
        let offer = ["offer", "shell:connect", "--to", &to];
        let offer = End::start(&pair.a, &reach.source.holder, &offer);
        offer.told("registered").await;
        let target = ["use", "shell:connect", "--listen", "127.0.0.1:0"];
        let target = End::start(&pair.b, &reach.target.holder, &target);
        Self { pair, reach, offer, target }
    }

    async fn connect(&self) -> TcpStream {
        let mut tcp = TcpStream::connect(self.target.address().await).await.unwrap();
        tcp.write_all(b"x").await.unwrap();
        assert_eq!(within("echo", tcp.read_u8()).await.unwrap(), b'x');
        tcp
    }

    async fn session(&self) -> String {
        let (_, list): (u16, Value) = self.reach.operator.get("/api/tickets/sessions").await;
        list["sessions"][0]["sessionId"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_port_is_reached_from_another_gateway_than_its_sources() {
    // TIX-61
    let across = Across::start().await;
    let mut tcp = across.connect().await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (mut read, mut write) = tcp.split();
    let mut back = vec![0; sent.len()];
    let (wrote, came) = within("all bytes", async {
        tokio::join!(write.write_all(&sent), read.read_exact(&mut back))
    })
    .await;
    wrote.and(came.map(drop)).unwrap();
    assert!(back == sent, "every byte comes back");
    assert_eq!(across.target.told("letIn").await["source"], "alpha");
    assert_eq!(across.offer.told("letIn").await["target"], "beta");
}

#[tokio::test]
async fn a_ticket_of_one_gateway_is_told_at_another_within_a_second() {
    // MNO-01, TIX-41
    let pair = Pair::start().await;
    let reach = Reach::of(&pair.a).await;
    let mut channel = channel(&pair.b, &reach.target.holder).await;
    assert_eq!(told(&mut channel).await, json!({"type": "inbox", "tickets": []}));
    let asked = Instant::now();
    let ticket = reach.ticket(&pair.a).await;
    assert_eq!(told(&mut channel).await["tickets"][0]["id"].as_str(), Some(&*ticket));
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn what_is_taken_away_at_one_gateway_ends_a_stream_at_another_within_a_second() {
    // MNO-01, TIX-51
    let across = Across::start().await;
    let mut tcp = across.connect().await;
    let session = across.session().await;
    let asked = Instant::now();
    across.reach.operator.delete(&format!("/api/tickets/sessions/{session}")).await;
    let mut rest = Vec::new();
    let _ = within("end of the stream", tcp.read_to_end(&mut rest)).await;
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    assert_eq!(across.target.told("ended").await["reason"], "admin_killed");
    assert_eq!(across.offer.told("ended").await["reason"], "admin_killed");
    assert!(asked.elapsed() < AT_ONCE * 2, "both ends hear why");
}

#[tokio::test]
async fn without_the_bus_what_is_taken_away_ends_a_stream_within_five_seconds() {
    // MNO-01, R19
    let across = Across::start().await;
    let mut tcp = across.connect().await;
    let session = across.session().await;
    across.pair.redis.kill();
    super::pair::bus_is(&across.pair.b, "away").await;
    let asked = Instant::now();
    across.reach.operator.delete(&format!("/api/tickets/sessions/{session}")).await;
    let mut rest = Vec::new();
    let _ = within("end of the stream", tcp.read_to_end(&mut rest)).await;
    assert!(asked.elapsed() < Duration::from_millis(5_500), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_port_is_reached_over_the_link_of_an_agent_at_another_gateway() {
    // TIX-61
    let pair = Pair::start().await;
    let reach = Reach::of(&pair.a).await;
    let own = pair.a.machine.clone();
    hold(&reach.operator, &own, &["shell:connect"]).await;
    let to = echo().await;
    std::fs::write(
        pair.a.data().join("agent/offers.toml"),
        format!("[[offer]]\nscope = \"shell:connect\"\nto = \"{to}\"\n"),
    )
    .unwrap();
    pair.a.kill_agent();
    let instance = eventually("instance of the agent", async || {
        let (_, listed) = reach.operator.get("/api/tickets/scopes").await;
        let mut all = listed["instances"].as_array().unwrap().iter();
        let found = all.find(|one| one["agentLabel"] == own.as_str())?;
        Some(found["instanceId"].as_str().unwrap().to_owned())
    })
    .await;
    assign(&reach.operator, "beta", &instance).await;
    let target = ["use", "shell:connect", "--from", &own, "--listen", "127.0.0.1:0"];
    let beta: &Holder = &reach.target.holder;
    let target = End::start(&pair.b, beta, &target);
    let mut tcp = TcpStream::connect(target.address().await).await.unwrap();
    tcp.write_all(b"x").await.unwrap();
    assert_eq!(within("echo", tcp.read_u8()).await.unwrap(), b'x');
}
