//! Streams between machines, by each way, as users make them.

use std::net::SocketAddr;

use adit_testkit::{eventually, signal, within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::ends::End;
use super::names::Names;
use super::peer::{Reach, assign, hold};
use super::sshd::Sshd;

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

#[tokio::test]
async fn a_port_is_reached_over_the_standing_link_of_the_sources_agent() {
    // TIX-61
    let reach = Reach::start().await;
    let (gateway, own) = (&reach.gateway, reach.gateway.machine.clone());
    hold(&reach.operator, &own, &["shell:connect"]).await;
    let offers = gateway.data().join("agent/offers.toml");
    let to = echo().await;
    std::fs::write(&offers, format!("[[offer]]\nscope = \"shell:connect\"\nto = \"{to}\"\n"))
        .unwrap();
    gateway.kill_agent();
    let instance = eventually("offer of the agent", async || {
        let (_, listed) = reach.operator.get("/api/tickets/scopes").await;
        let mut all = listed["instances"].as_array().unwrap().iter();
        let found = all.find(|one| one["agentLabel"] == own.as_str())?;
        assert_eq!(found["transport"]["strategies"][0], "tunnel");
        Some(found["instanceId"].as_str().unwrap().to_owned())
    })
    .await;
    assign(&reach.operator, "beta", &instance).await;
    let listen = ["use", "shell:connect", "--from", &own, "--listen", "127.0.0.1:0"];
    let target = End::start(gateway, &reach.target.holder, &listen);
    let sent = pattern(300_000, 3);
    assert!(around(target.address().await, &sent).await == sent);
}

#[tokio::test]
async fn a_source_is_dialled_where_an_operator_allows_its_network() {
    // TIX-21, TIX-61
    let reach = Reach::start_with("[tickets]\ndirect_networks = [\"127.0.0.0/8\"]\n").await;
    let to = echo().await.to_string();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let arguments =
        ["offer", "shell:connect", "--to", &to, "--direct", &free, "--direct-listen", &free];
    let offer = End::start(&reach.gateway, &reach.source.holder, &arguments);
    offer.told("listening").await;
    let listen = ["use", "shell:connect", "--listen", "127.0.0.1:0"];
    let target = End::start(&reach.gateway, &reach.target.holder, &listen);
    let address = target.address().await;
    let sent = pattern(300_000, 5);
    assert!(around(address, &sent).await == sent);
    let carried =
        async || reach.gateway.admin.get("/metrics").await.text.contains("adit_streams_total");
    assert!(!carried().await, "the gateway carried none of it");

    // Nobody who was not let in gets past the source's own door.
    let stranger = TcpStream::connect(&free).await.unwrap();
    let (mut read, mut write) = stranger.into_split();
    write.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = within("end", read.read_to_end(&mut answer)).await;
    assert!(!answer.windows(3).any(|three| three == b"GET"), "nothing is echoed");

    // The way that is preferred is shut: the next one is taken.
    signal(offer.pid(), "KILL");
    drop(offer);
    let blocked = TcpListener::bind(&free).await.unwrap();
    let arguments = ["offer", "shell:connect", "--to", &to];
    let again = End::start(&reach.gateway, &reach.source.holder, &arguments);
    again.told("registered").await;
    assert!(around(address, &sent).await == sent, "by relay");
    assert!(carried().await);
    drop(blocked);
}

#[tokio::test]
async fn ssh_reaches_a_machine_by_a_ticket() {
    // TIX-61, TERM-33
    let folder = tempfile::tempdir().unwrap();
    let sshd = Sshd::start(folder.path());
    let reach = Reach::start().await;
    let to = format!("127.0.0.1:{}", sshd.port);
    let offer =
        End::start(&reach.gateway, &reach.source.holder, &["offer", "shell:connect", "--to", &to]);
    offer.told("registered").await;
    let listen = ["use", "shell:connect", "--listen", "127.0.0.1:0"];
    let target = End::start(&reach.gateway, &reach.target.holder, &listen);
    let port = target.address().await.port().to_string();
    let said = sshd.ssh(&["-p", &port, "127.0.0.1", "echo here; seq 200000 | tail -n 1"]).await;
    assert_eq!(said, "here\n200000\n");
    let proxy = format!(
        "ProxyCommand={} ticket use shell:connect --stdio --identity {} --machines {}",
        adit_testkit::binary().display(),
        reach.target.holder.dir.path().display(),
        reach.gateway.machines
    );
    let said = sshd.ssh(&["-o", &proxy, "somewhere", "echo by stdio"]).await;
    assert_eq!(said, "by stdio\n");
}

#[tokio::test]
async fn a_name_that_changes_its_mind_leads_nowhere_private() {
    // TIX-21, NET-03
    let public = [93, 184, 216, 34].into();
    let (private, loopback) = ([10, 0, 0, 1].into(), [127, 0, 0, 1].into());
    let names = Names::serve(
        [127, 0, 0, 53].into(),
        &[("inside.example.org", &[private]), ("mind.example.org", &[public, loopback])],
    );
    let reach = Reach::asking(&names).await;
    let offer = |host: &str| json!({"scope": "shell:connect", "transport": {"strategies": ["direct"], "direct": {"host": host, "port": 2222}}});
    let (status, refused) =
        reach.source.post("/api/tickets/instances", offer("inside.example.org")).await;
    assert_eq!((status, &refused["code"]), (400, &json!("request.invalid")), "as it is registered");

    let to = echo().await.to_string();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (direct, listen) = (format!("mind.example.org:{}", free.port()), free.to_string());
    let arguments =
        ["offer", "shell:connect", "--to", &to, "--direct", &direct, "--direct-listen", &listen];
    let source = End::start(&reach.gateway, &reach.source.holder, &arguments);
    source.told("listening").await;
    let arguments = ["use", "shell:connect", "--listen", "127.0.0.1:0"];
    let target = End::command(&reach.gateway, &reach.target.holder, &arguments);
    let target = End::of(names.asked_by(&target));
    let sent = pattern(10_000, 9);
    assert!(around(target.address().await, &sent).await == sent);
    assert!(names.asked("mind.example.org") >= 2, "by the gateway, then by the target");
    let metrics = reach.gateway.admin.get("/metrics").await.text;
    assert!(metrics.contains("adit_streams_total 1"), "the gateway carried it: {metrics}");
}

#[tokio::test]
async fn streams_of_many_programs_are_not_mixed_up() {
    // NET-15
    let both = Both::start(&[]).await;
    let address = both.target.address().await;
    around(address, b"first").await;
    let all = (1..=200).map(|seed| async move {
        let sent = pattern(20_000 + seed as usize * 37, seed);
        assert!(around(address, &sent).await == sent, "{seed}");
    });
    futures_util::future::join_all(all).await;
}
