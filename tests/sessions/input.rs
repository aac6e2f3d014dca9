//! Input: all of it, once, in order, however much comes at once.

use adit_testkit::TestGateway;
use adit_wire::terminal::v1 as pb;
use pb::from_gateway::Message as Down;
use serde_json::json;

use crate::sessions::raw::{RawViewer, Told};

#[tokio::test]
async fn a_paste_of_a_mebibyte_arrives_whole() {
    // SES-31
    let gateway = TestGateway::start();
    let path = gateway.data().with_file_name("pasted");
    let script =
        format!("stty raw -echo; echo ready; head -c 1048576 > {}; echo saved", path.display());
    let mut viewer = gateway.open(&gateway.admin, &["sh", "-c", &script]).await;
    viewer.until_text("ready").await;
    let bytes: Vec<u8> =
        (0..1_048_576_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    viewer.write(&bytes);
    viewer.until_text("saved").await;
    assert!(std::fs::read(path).unwrap() == bytes, "the bytes differ");
}

#[tokio::test]
async fn a_burst_over_the_limit_is_held_and_arrives_in_order() {
    // SES-31, TOK-25
    let gateway = TestGateway::start();
    let script = "stty raw -echo; echo ready; head -c 400; echo; echo over";
    let wish = json!({"machine": gateway.machine, "command": ["sh", "-c", script], "pty": true});
    let mut viewer = RawViewer::redeem(&gateway, &gateway.ticket(&gateway.admin, wish).await).await;
    viewer.until_text("ready").await;
    let typed: Vec<u8> = (0..400_u32).map(|i| b'a' + (i % 26) as u8).collect();
    let start = viewer.position;
    for byte in &typed {
        viewer.type_frame(&[*byte]).await;
    }
    let mut held = Vec::new();
    while !String::from_utf8_lossy(&viewer.output).contains("over") {
        match viewer.told().await {
            Told::Message(Down::InputRewind(rewind)) => {
                let from = usize::try_from(rewind.position - start).unwrap();
                viewer.position = rewind.position;
                viewer.type_frame(&typed[from..]).await;
                held.push((from, rewind.code, rewind.retry_after_ms));
            }
            Told::Message(Down::Ended(_)) => break,
            Told::Message(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let (first, code, wait) = &held[0];
    assert_eq!(code, "rate_limited");
    assert!((100..400).contains(first) && *wait > 0, "{held:?}");
    let output = String::from_utf8_lossy(&viewer.output).into_owned();
    let echoed = output.split_once("ready").unwrap().1.trim_start_matches(['\r', '\n']);
    assert_eq!(&echoed.as_bytes()[..400], typed, "{output}");
}

/// Opens a terminal that says each line that it reads, once.
async fn repeating(gateway: &TestGateway) -> RawViewer {
    let command = ["sh", "-c", "stty -echo; echo ready; cat"];
    let wish = json!({"machine": gateway.machine, "command": command, "pty": true});
    let mut viewer = RawViewer::redeem(gateway, &gateway.ticket(&gateway.admin, wish).await).await;
    viewer.until_text("ready").await;
    viewer
}

#[tokio::test]
async fn input_that_skips_ahead_is_asked_for_again() {
    // TOK-16, SES-31
    let gateway = TestGateway::start();
    let mut viewer = repeating(&gateway).await;
    viewer.type_frame(b"first\r").await;
    viewer.until_text("first\r\n").await;
    let start = viewer.position;
    viewer.position += 5;
    viewer.type_frame(b"lost\r").await;
    let asked = viewer
        .until(|message| match message {
            Down::InputRewind(rewind) => Some(rewind.clone()),
            _ => None,
        })
        .await;
    assert_eq!((asked.position, asked.code.as_str()), (start, "stream_gap"));
    viewer.position = start;
    viewer.type_frame(b"all of it\r").await;
    viewer.until_text("all of it\r\n").await;
    assert!(!String::from_utf8_lossy(&viewer.output).contains("lost"));
}

#[tokio::test]
async fn input_that_comes_twice_is_taken_once() {
    // TOK-01
    let gateway = TestGateway::start();
    let mut viewer = repeating(&gateway).await;
    let start = viewer.position;
    viewer.type_frame(b"once\r").await;
    viewer.position = start;
    viewer.type_frame(b"once\r").await;
    viewer.type_frame(b"after\r").await;
    viewer.until_text("after\r\n").await;
    let output = String::from_utf8_lossy(&viewer.output).into_owned();
    assert_eq!(output.matches("once").count(), 1, "{output}");
}

#[tokio::test]
async fn what_is_typed_before_the_shell_is_there_reaches_it() {
    // SES-31, TERM-1
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &[]).await;
    viewer.write(b": early; exit 4\r");
    viewer.until("end", |viewer| viewer.ended.is_some()).await;
    assert_eq!(viewer.ended.unwrap().exit_status, Some(4));
}
