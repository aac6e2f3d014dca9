use adit_domain::Secret;
use adit_wire::frame::{Kind, write_control, write_data};
use adit_wire::terminal::v1 as pb;
use adit_wire::terminal::v1::from_gateway::Message as Down;
use bytes::Bytes;
use futures_util::SinkExt;
use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

type TestSocket = Adapted<WebSocketStream<DuplexStream>, Tungstenite>;

async fn open() -> (Terminal<TestSocket>, TestSocket) {
    let (near, far) = duplex(64 * 1024);
    let config = Some(websocket_config());
    let near = WebSocketStream::from_raw_socket(near, Role::Client, config).await;
    let far = WebSocketStream::from_raw_socket(far, Role::Server, config).await;
    let ticket = Secret::new("atk_ticket".to_owned());
    let start = Start { ticket, cols: 80, rows: 24, resume: None, proof: String::new() };
    (Terminal::over(Adapted::new(near), start), Adapted::new(far))
}

fn down(message: Down) -> Message {
    Message::Binary(write_control(&pb::FromGateway { message: Some(message) }))
}

/// Opens a terminal that was admitted.
async fn admitted() -> (Terminal<TestSocket>, TestSocket) {
    let (mut terminal, mut gateway) = open().await;
    let writer = Bytes::from_static(b"w");
    let admitted = pb::Admitted { writer, ..pb::Admitted::default() };
    gateway.send(down(Down::Admitted(admitted.clone()))).await.unwrap();
    assert_eq!(terminal.next().await.unwrap(), Event::Admitted(admitted));
    let redeem = gateway.next().await.unwrap().unwrap();
    assert!(matches!(redeem, Message::Binary(_)));
    (terminal, gateway)
}

async fn read(gateway: &mut TestSocket) -> Bytes {
    loop {
        if let Message::Binary(message) = gateway.next().await.unwrap().unwrap() {
            return message;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_goes_out_and_its_echo_comes_back() {
    let (mut terminal, mut gateway) = admitted().await;
    assert_eq!(terminal.input(b"k"), 1);
    terminal.flush().await.unwrap();
    assert_eq!(read(&mut gateway).await, write_data(Kind::Input, 0, b"k"));
    let echo = write_data(Kind::Output, 0, b"k");
    gateway.send(Message::Binary(echo)).await.unwrap();
    assert!(matches!(terminal.next().await.unwrap(), Event::Output(data) if data.position == 0));
}

#[tokio::test(start_paused = true)]
async fn shown_output_is_acknowledged_without_anything_else_happening() {
    let (mut terminal, mut gateway) = admitted().await;
    gateway.send(Message::Binary(write_data(Kind::Output, 0, b"out"))).await.unwrap();
    terminal.next().await.unwrap();
    terminal.shown(3);
    let message = tokio::select! { m = read(&mut gateway) => m, _ = terminal.next() => panic!() };
    let ack = pb::from_viewer::Message::OutputAck(pb::OutputAck { position: 3 });
    assert_eq!(message, write_control(&pb::FromViewer { message: Some(ack) }));
}

// R23, R24
#[tokio::test(start_paused = true)]
async fn a_gateway_that_vanished_is_noticed_within_30_seconds() {
    let (mut terminal, _gateway) = admitted().await;
    let begin = Instant::now();
    let error = terminal.next().await.unwrap_err();
    assert!(matches!(error, ViewerError::Silent) && error.may_resume());
    assert!(begin.elapsed().as_secs() <= 30);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_takes_nothing_does_not_keep_the_viewer_busy() {
    let (mut terminal, mut gateway) = admitted().await;
    terminal.input(&[b'x'; 256 * 1024]);
    gateway.send(Message::Binary(write_data(Kind::Output, 0, b"out"))).await.unwrap();
    terminal.next().await.unwrap();
    terminal.shown(3);
    assert!(matches!(terminal.next().await, Err(ViewerError::Silent)));
}

#[tokio::test(start_paused = true)]
async fn only_some_close_codes_are_worth_a_return() {
    for (code, may_resume) in
        [(1000, false), (1008, false), (1011, false), (1012, true), (1013, true)]
    {
        let (mut terminal, mut gateway) = admitted().await;
        gateway.send(Message::Close(Some(code))).await.unwrap();
        let error = terminal.next().await.unwrap_err();
        assert!(matches!(error, ViewerError::Closed { code: Some(found) } if found == code));
        assert_eq!(error.may_resume(), may_resume, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_cut_is_worth_a_return() {
    let (mut terminal, gateway) = admitted().await;
    drop(gateway);
    assert!(terminal.next().await.unwrap_err().may_resume());
}
