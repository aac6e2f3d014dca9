//! Frames that no honest viewer sends.

use adit_testkit::{TestGateway, within};
use adit_wire::frame::{Kind, write_control, write_data};
use adit_wire::terminal::v1 as pb;
use bytes::Bytes;
use pb::from_gateway::Message as Down;
use pb::from_viewer::Message as Up;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::sessions::raw::RawViewer;

async fn cat(gateway: &TestGateway) -> RawViewer {
    let wish = json!({"machine": gateway.machine, "command": ["cat"], "pty": true});
    RawViewer::redeem(gateway, &gateway.ticket(&gateway.admin, wish).await).await
}

#[tokio::test]
async fn a_frame_over_the_cap_closes_the_connection() {
    // RES-01
    let gateway = TestGateway::start();
    let mut first = RawViewer::connect(&gateway, None).await;
    first.send(Bytes::from(vec![0; 70_000])).await;
    assert_eq!(first.closed().await, Some(1009));
    let mut viewer = cat(&gateway).await;
    viewer.send(write_data(Kind::Input, 0, &[b'x'; 17_000])).await;
    assert_eq!(viewer.closed().await, Some(1009));
}

#[tokio::test]
async fn bytes_that_are_no_frame_close_the_connection() {
    // RES-02
    let gateway = TestGateway::start();
    let garbage: [&[u8]; 5] = [&[9, 1, 2, 3], &[], &[2, 0, 0], &[0, 0xff, 0xff, 0xff], &[1; 20]];
    for bytes in garbage {
        let mut viewer = cat(&gateway).await;
        viewer.send(Bytes::copy_from_slice(bytes)).await;
        assert_eq!(viewer.closed().await, Some(1002), "{bytes:?}");
        end_all(&gateway).await;
    }
    let mut viewer = cat(&gateway).await;
    viewer.send_text("{\"type\":\"terminal_input\",\"data\":\"x\"}").await;
    assert_eq!(viewer.closed().await, Some(1002), "text on the binary form");
}

async fn end_all(gateway: &TestGateway) {
    let live = gateway.admin.get("/api/v1/sessions?state=live").await.ok();
    for session in live["items"].as_array().unwrap() {
        let id = session["id"].as_str().unwrap();
        gateway.admin.delete(&format!("/api/v1/sessions/{id}")).await;
        gateway.session_when(id, |session| session["state"] == "ended").await;
    }
}

#[tokio::test]
async fn a_second_ticket_on_one_connection_closes_it() {
    // RES-02
    let gateway = TestGateway::start();
    let mut viewer = cat(&gateway).await;
    let ticket = gateway.ticket(&gateway.admin, json!({"machine": gateway.machine})).await;
    viewer.say(Up::Redeem(pb::Redeem { ticket, ..pb::Redeem::default() })).await;
    assert_eq!(viewer.closed().await, Some(1002));
}

#[tokio::test]
async fn a_first_frame_that_is_no_ticket_opens_nothing() {
    // RES-02
    let gateway = TestGateway::start();
    for message in [Up::End(pb::End {}), Up::Ping(pb::Ping { nonce: 1 })] {
        let mut viewer = RawViewer::connect(&gateway, None).await;
        viewer.send(write_control(&pb::FromViewer { message: Some(message) })).await;
        let code = viewer.closed().await;
        assert!(matches!(code, Some(1002 | 1008)), "{code:?}");
    }
}

/// Speaks WebSocket by hand: upgrades, sends bytes, and reads until the gateway closes.
async fn answer_to(gateway: &TestGateway, bytes: &[u8]) -> Vec<u8> {
    let address = gateway.admin.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /ws/terminal HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        said.push(within("upgrade", stream.read_u8()).await.unwrap());
    }
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A peer that resets has closed as well.
    let _ = within("close", stream.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test]
async fn frames_that_break_the_websocket_itself_close_the_connection() {
    // RES-02
    let gateway = TestGateway::start();
    let huge = [&[0x82, 0xff][..], &[0x7f], &[0xff; 7], &[0; 4]].concat();
    let long_ping = [&[0x89, 0xfe, 0, 126][..], &[0; 4], &[0; 126]].concat();
    let cases: [(&str, &[u8]); 4] = [
        ("unmasked", &[0x82, 0x01, 0x00]),
        ("reserved bits", &[0xf2, 0x80, 0, 0, 0, 0]),
        ("a length of 2^63-1", &huge),
        ("a long ping", &long_ping),
    ];
    for (what, bytes) in cases {
        let answer = answer_to(&gateway, bytes).await;
        let code = answer.get(2..4).map(|code| u16::from_be_bytes([code[0], code[1]]));
        assert_eq!(answer.first(), Some(&0x88), "{what}: {answer:?}");
        assert!(matches!(code, Some(1002 | 1009)), "{what}: {code:?}");
    }
    assert_eq!(gateway.admin.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_storm_of_sizes_ends_at_the_last_and_none_is_absurd() {
    // RES-17
    let gateway = TestGateway::start();
    let wish = json!({"machine": gateway.machine});
    let mut viewer = RawViewer::redeem(&gateway, &gateway.ticket(&gateway.admin, wish).await).await;
    for (cols, rows) in [(0, 0), (65_535, 65_535), (u32::MAX, 1), (1, u32::MAX)] {
        viewer.say(Up::Resize(pb::Resize { cols, rows })).await;
    }
    for cols in 0..2000 {
        viewer.say(Up::Resize(pb::Resize { cols: 20 + cols % 200, rows: 50 })).await;
    }
    viewer.say(Up::Resize(pb::Resize { cols: 101, rows: 31 })).await;
    let last = |message: &Down| match message {
        Down::Resized(size) => {
            let sane = (1..=1000).contains(&size.cols) && (1..=1000).contains(&size.rows);
            assert!(sane, "{size:?}");
            ((size.cols, size.rows) == (101, 31)).then_some(())
        }
        _ => None,
    };
    viewer.until(last).await;
    viewer.type_frame(b"stty size\r").await;
    viewer.until_text("31 101").await;
}
