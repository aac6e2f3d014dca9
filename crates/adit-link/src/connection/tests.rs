use std::time::Duration;

use adit_wire::frame::MAX_OUTPUT;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::fixture::{MACHINE, SERVICE, keypair, output, preamble};
use crate::socket::{Adapted, Tungstenite, websocket_config};

type TestSocket = Adapted<WebSocketStream<DuplexStream>, Tungstenite>;

/// What the kernel would buffer for each direction, in bytes.
const BUFFER: usize = 16 * 1024;

/// What the agent says first.
const HELLO: Bytes = Bytes::from_static(b"hello");

async fn websocket(stream: DuplexStream, role: Role) -> TestSocket {
    Adapted::new(WebSocketStream::from_raw_socket(stream, role, Some(websocket_config())).await)
}

/// Opens a connection over two ends: the agent's and the gateway's.
async fn open_over(
    agent: DuplexStream,
    gateway: DuplexStream,
) -> (Connection<TestSocket>, Connection<TestSocket>) {
    let service = keypair(SERVICE);
    let agent = async {
        let socket = websocket(agent, Role::Client).await;
        let keys = keypair(MACHINE);
        let agent = connect(socket, preamble(1), &keys, service.public(), &Binding::None).await;
        let mut agent = agent.unwrap();
        agent.send(&Frame::Control(HELLO)).unwrap();
        agent.flush().await.unwrap();
        agent
    };
    let gateway = async {
        let socket = websocket(gateway, Role::Server).await;
        let offer = accept(socket, &service, &Binding::None).await.unwrap();
        let mut gateway = offer.accept().await.unwrap();
        assert_eq!(frame(&mut gateway).await, Frame::Control(HELLO));
        gateway
    };
    tokio::join!(agent, gateway)
}

async fn open() -> (Connection<TestSocket>, Connection<TestSocket>) {
    let (agent, gateway) = duplex(BUFFER);
    open_over(agent, gateway).await
}

/// Opens a connection through a path that the test can cut or read: the middle of it is given too.
async fn open_through() -> (Connection<TestSocket>, Connection<TestSocket>, Path) {
    let (agent, near) = duplex(BUFFER);
    let (gateway, far) = duplex(BUFFER);
    let mut path = Path { near, far };
    let ends = open_over(agent, gateway);
    tokio::select! {
        (agent, gateway) = ends => (agent, gateway, path),
        _ = path.copy_both() => unreachable!("the path stays open"),
    }
}

struct Path {
    near: DuplexStream,
    far: DuplexStream,
}

impl Path {
    async fn copy_both(&mut self) {
        tokio::io::copy_bidirectional(&mut self.near, &mut self.far).await.unwrap();
    }

    /// Carries what the gateway says, and drops what the agent says; ends when the gateway closes.
    async fn copy_downwards(self) {
        let (mut agent_says, mut to_agent) = split(self.near);
        let (mut gateway_says, _to_gateway) = split(self.far);
        let mut nowhere = tokio::io::sink();
        tokio::select! {
            _ = tokio::io::copy(&mut gateway_says, &mut to_agent) => {}
            _ = tokio::io::copy(&mut agent_says, &mut nowhere) => {}
        }
    }
}

async fn frame(connection: &mut Connection<TestSocket>) -> Frame {
    loop {
        if let Event::Frame(frame) = connection.next().await.unwrap() {
            return frame;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn frames_pass_both_ways() {
    let (mut agent, mut gateway) = open().await;
    agent.send(&output(0, b"out")).unwrap();
    gateway.send_data(Kind::Input, 0, b"in").unwrap();
    let (at_gateway, at_agent) = tokio::join!(frame(&mut gateway), frame(&mut agent));
    assert_eq!(at_gateway, output(0, b"out"));
    assert_eq!(at_agent, crate::fixture::data(Kind::Input, 0, b"in"));
}

#[tokio::test(start_paused = true)]
async fn the_gateway_sees_the_key_and_the_preamble_before_it_answers() {
    let (agent, gateway) = duplex(BUFFER);
    let (agent, gateway) = (websocket(agent, Role::Client), websocket(gateway, Role::Server));
    let (agent, gateway) = tokio::join!(agent, gateway);
    let (service, machine) = (keypair(SERVICE), keypair(MACHINE));
    let knock = connect(agent, preamble(9), &machine, service.public(), &Binding::None);
    let refuse = async {
        let offer = accept(gateway, &service, &Binding::None).await.unwrap();
        assert_eq!(offer.machine(), machine.public());
        assert_eq!(offer.preamble().session_id[..], [9; 16]);
        offer.refuse(1008).await;
    };
    let (knocked, ()) = tokio::join!(knock, refuse);
    assert!(matches!(knocked, Err(LinkError::Closed(Some(1008)))));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_by_pings() {
    let (mut agent, mut gateway) = open().await;
    let hour = Duration::from_secs(3600);
    let idle = tokio::time::timeout(hour, async {
        tokio::select! { event = agent.next() => event, event = gateway.next() => event }
    });
    assert!(idle.await.is_err(), "nothing happens for an hour");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_held_back_for_an_hour_knows_that_this_end_lives() {
    let (mut agent, mut gateway) = open().await;
    agent.send(&output(0, b"not read yet")).unwrap();
    let held = tokio::time::timeout(Duration::from_secs(3600), async {
        tokio::select! {
            error = gateway.hold() => format!("{error}"),
            event = agent.next() => format!("{event:?}"),
        }
    });
    assert_eq!(held.await.ok(), None);
    assert_eq!(frame(&mut gateway).await, output(0, b"not read yet"));
    let idle = tokio::time::timeout(Duration::from_secs(3600), async {
        tokio::select! { event = agent.next() => event, event = gateway.next() => event }
    });
    assert!(idle.await.is_err(), "the pings that waited are no flood");
}

// R22, R24
#[tokio::test(start_paused = true)]
async fn a_peer_that_vanished_is_noticed_within_30_seconds() {
    let (mut agent, _gateway) = open().await;
    let begin = Instant::now();
    assert!(matches!(agent.next().await, Err(LinkError::Silent)));
    assert!(begin.elapsed() <= Duration::from_secs(30));
}

// R23
#[tokio::test(start_paused = true)]
async fn both_ends_notice_a_one_way_partition_within_30_seconds() {
    let (mut agent, mut gateway, path) = open_through().await;
    let begin = Instant::now();
    let gateway = async {
        let ended = gateway.next().await;
        drop(gateway);
        ended
    };
    let (_, agent, gateway) = tokio::join!(path.copy_downwards(), agent.next(), gateway);
    assert!(matches!(gateway, Err(LinkError::Silent)));
    assert!(agent.is_err());
    assert!(begin.elapsed() <= Duration::from_secs(30));
}

// R27
#[tokio::test(start_paused = true)]
async fn a_frame_cut_in_the_middle_is_no_frame() {
    let (mut agent, mut gateway, mut path) = open_through().await;
    agent.send(&output(0, b"whole")).unwrap();
    agent.send(&output(5, &[b'x'; 4096])).unwrap();
    agent.flush().await.unwrap();
    let mut begin = vec![0; 2048];
    path.near.read_exact(&mut begin).await.unwrap();
    path.far.write_all(&begin).await.unwrap();
    drop(path);
    assert_eq!(frame(&mut gateway).await, output(0, b"whole"));
    let cut = gateway.next().await.unwrap_err();
    assert!(!cut.is_bad_frame(), "{cut}");
}

// BEY-1, TOK-02
#[tokio::test(start_paused = true)]
async fn a_forged_message_ends_the_connection_as_a_bad_frame() {
    let (agent, mut gateway) = open().await;
    let mut socket = agent.socket;
    socket.send(Message::Binary(Bytes::from_static(&[0; 64]))).await.unwrap();
    let error = gateway.next().await.unwrap_err();
    assert!(matches!(error, LinkError::Seal(_)) && error.is_bad_frame());
}

#[tokio::test(start_paused = true)]
async fn text_ends_the_connection() {
    let (agent, mut gateway) = open().await;
    let mut socket = agent.socket;
    socket.send(Message::Text).await.unwrap();
    assert!(matches!(gateway.next().await, Err(LinkError::Text)));
}

// RES-01
#[tokio::test(start_paused = true)]
async fn a_message_over_the_cap_ends_the_connection() {
    let (agent, mut gateway) = open().await;
    let mut socket = agent.socket;
    let large = Message::Binary(vec![0; crate::socket::MAX_MESSAGE + 1].into());
    let send = async {
        socket.send(large).await.unwrap();
        std::future::pending().await
    };
    let error = tokio::select! { error = gateway.next() => error, () = send => unreachable!() };
    assert!(matches!(error, Err(LinkError::Socket(SocketError::Large))));
}

// RES-02
#[tokio::test(start_paused = true)]
async fn a_websocket_frame_that_breaks_the_rules_ends_the_connection() {
    let huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    let unmasked = [0x82, 0x02, 0x01, 0x02];
    let reserved_bits = [0xf2, 0x80, 1, 2, 3, 4];
    let reserved_opcode = [0x83, 0x80, 1, 2, 3, 4];
    let long_ping = [&[0x89, 0xfe, 0x00, 0x7e, 1, 2, 3, 4][..], &[0; 126]].concat();
    for bytes in [&huge[..], &unmasked, &reserved_bits, &reserved_opcode, &long_ping] {
        let (_agent, mut gateway, mut path) = open_through().await;
        path.far.write_all(bytes).await.unwrap();
        let ended = gateway.next().await;
        assert!(matches!(ended, Err(LinkError::Socket(_))), "{bytes:x?}: {ended:?}");
    }
}

// RES-04
#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_ends_the_connection() {
    let (agent, mut gateway) = open().await;
    let mut socket = agent.socket;
    let flood = async { while socket.send(Message::Ping(Bytes::new())).await.is_ok() {} };
    let error = tokio::select! { error = gateway.next() => error, () = flood => unreachable!() };
    assert!(matches!(error, Err(LinkError::Flood)));
}

// AGT-16
#[tokio::test(start_paused = true)]
async fn who_never_says_hello_is_dropped_after_ten_seconds() {
    let (_silent, gateway) = duplex(BUFFER);
    let socket = websocket(gateway, Role::Server).await;
    let begin = Instant::now();
    let offer = accept(socket, &keypair(SERVICE), &Binding::None).await;
    assert!(matches!(offer, Err(LinkError::Late)));
    assert_eq!(begin.elapsed(), HANDSHAKE_LIMIT);
}

/// Gives a first message of the machine, as somebody who reads the path sees it.
fn seen_first_message() -> Bytes {
    let service = keypair(SERVICE).public();
    Initiator::start(preamble(1), &keypair(MACHINE), service, &Binding::None).unwrap().1
}

// BEY-1, AGT-04
#[tokio::test(start_paused = true)]
async fn a_first_message_sent_again_by_somebody_else_opens_nothing() {
    for follows in [None, Some(seen_first_message())] {
        let (thief, gateway) = duplex(BUFFER);
        let (thief, gateway) = (websocket(thief, Role::Client), websocket(gateway, Role::Server));
        let (mut thief, gateway) = tokio::join!(thief, gateway);
        thief.send(Message::Binary(seen_first_message())).await.unwrap();
        let offer = accept(gateway, &keypair(SERVICE), &Binding::None).await.unwrap();
        if let Some(follows) = follows {
            thief.send(Message::Binary(follows)).await.unwrap();
        }
        let opened = offer.accept().await.err();
        assert!(matches!(opened, Some(LinkError::Late | LinkError::Seal(_))), "{opened:?}");
    }
}

// TOK-02
#[tokio::test(start_paused = true)]
async fn a_failed_handshake_tells_the_peer_nothing_but_1008() {
    let (agent, gateway) = duplex(BUFFER);
    let (agent, gateway) = (websocket(agent, Role::Client), websocket(gateway, Role::Server));
    let (agent, gateway) = tokio::join!(agent, gateway);
    let stranger = keypair(7).public();
    let (service, machine) = (keypair(SERVICE), keypair(MACHINE));
    let (knocked, offer) = tokio::join!(
        connect(agent, preamble(1), &machine, stranger, &Binding::None),
        accept(gateway, &service, &Binding::None),
    );
    assert!(matches!(knocked, Err(LinkError::Closed(Some(1008)))));
    assert!(matches!(offer, Err(LinkError::Seal(SealError::Handshake(_)))));
}

#[tokio::test(start_paused = true)]
async fn bulk_waits_for_room_and_is_told_of_it() {
    let (mut agent, mut gateway) = open().await;
    let mut position = 0;
    while agent.has_room() {
        agent.send(&output(position, &[0; MAX_OUTPUT])).unwrap();
        position += MAX_OUTPUT as u64;
    }
    let drain = async {
        loop {
            frame(&mut gateway).await;
        }
    };
    let room = tokio::select! { event = agent.next() => event, () = drain => unreachable!() };
    assert_eq!(room.unwrap(), Event::Room);
    assert!(agent.has_room());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_nobody_bounds_ends_the_connection() {
    let (mut agent, _gateway) = open().await;
    let overrun = (0..200).find_map(|_| agent.send(&output(0, &[0; MAX_OUTPUT])).err());
    assert!(matches!(overrun, Some(LinkError::Overrun)));
}

#[tokio::test(start_paused = true)]
async fn frames_sent_before_a_close_arrive_and_then_the_code() {
    let (mut agent, mut gateway) = open().await;
    agent.send(&output(0, &[b'x'; MAX_OUTPUT])).unwrap();
    let receive = async {
        assert_eq!(frame(&mut gateway).await, output(0, &[b'x'; MAX_OUTPUT]));
        gateway.next().await
    };
    let ((), ended) = tokio::join!(agent.close(1000), receive);
    assert!(matches!(ended, Err(LinkError::Closed(Some(1000)))));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_loses_nothing() {
    let (mut agent, mut gateway) = open().await;
    let sent: Vec<Frame> = (0..100).map(|i| output(i * 4096, &[i as u8; 4096])).collect();
    let send = async {
        for frame in &sent {
            agent.send(frame).unwrap();
            agent.flush().await.unwrap();
        }
    };
    let receive = async {
        let mut received = Vec::new();
        while received.len() < sent.len() {
            tokio::select! {
                biased;
                event = gateway.next() => match event.unwrap() {
                    Event::Frame(frame) => received.push(frame),
                    Event::Room => {}
                },
                () = tokio::task::yield_now() => {}
            }
        }
        received
    };
    let ((), received) = tokio::join!(send, receive);
    assert_eq!(received, sent);
}

#[tokio::test(start_paused = true)]
async fn frames_queued_together_leave_in_one_write() {
    let (mut agent, _gateway, mut path) = open_through().await;
    for position in 0..8 {
        agent.send(&output(position, b"k")).unwrap();
    }
    assert!(timeout(Duration::ZERO, agent.next()).await.is_err());
    let mut written = [0; 1024];
    let len = path.near.read(&mut written).await.unwrap();
    // Mask and header of a client's WebSocket frame, header of ours, the key, the tag.
    assert_eq!(len, 8 * (6 + 9 + 1 + 16));
}
