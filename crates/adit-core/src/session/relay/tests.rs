use std::collections::VecDeque;
use std::time::Duration;

use adit_domain::{Capabilities, PrincipalId};
use uuid::Uuid;

use super::*;
use crate::session::outbox::Inbox;

const AT: Timestamp = Timestamp(1_000_000);
const DRIVER: Capabilities = Capabilities::of(&[
    Capability::TerminalInput,
    Capability::TerminalResize,
    Capability::TerminalView,
]);
const WATCHER: Capabilities = Capabilities::of(&[Capability::TerminalView]);

fn relay(tokens: u32) -> Relay {
    let bucket = TokenBucket::new(tokens, tokens, Instant::now());
    Relay::new(Plan { started_at: AT, tape: None, bucket, position: 0 })
}

fn linked() -> Relay {
    let mut relay = relay(100);
    relay.on_linked(&agent::ShellHello::default());
    drain(&mut relay);
    relay
}

fn join(
    relay: &mut Relay,
    capabilities: Capabilities,
    opens: bool,
    writer: u8,
) -> (ViewerId, Inbox) {
    let (outbox, inbox) = Outbox::new();
    let arrival = Arrival {
        principal: PrincipalId(Uuid::from_u128(u128::from(writer))),
        credential: None,
        name: Arc::from("user:ann"),
        circumstances: adit_domain::policy::Circumstances::default(),
        capabilities,
        size: None,
        from: opens.then_some(0),
        writer: None,
        input_position: 0,
        opens,
    };
    let (id, _) = relay.join(arrival, WriterId([writer; 16]), outbox);
    (id, inbox)
}

fn drain(relay: &mut Relay) -> Vec<ToMachine> {
    std::iter::from_fn(|| relay.poll_machine()).collect()
}

fn output(position: u64, bytes: &'static [u8]) -> Frame {
    Frame::Data(Data { kind: Kind::Output, position, bytes: Bytes::from_static(bytes) })
}

fn said(message: FromShellMessage) -> Frame {
    let message = agent::FromShell { message: Some(message) };
    Frame::Control(message.encode_to_vec().into())
}

async fn taken(inbox: &Inbox) -> VecDeque<ToViewer> {
    let mut items = VecDeque::new();
    inbox.take(&mut items).await;
    items
}

fn shown(items: &VecDeque<ToViewer>) -> Vec<u8> {
    items
        .iter()
        .filter_map(|item| match item {
            ToViewer::Data { bytes, .. } => Some(bytes.to_vec()),
            _ => None,
        })
        .flatten()
        .collect()
}

fn type_at(relay: &mut Relay, id: ViewerId, position: u64, bytes: &'static [u8]) {
    let input = FromViewer::Input { position, bytes: Bytes::from_static(bytes) };
    relay.on_viewer(id, input, AT, Instant::now());
}

fn typed(sent: &[ToMachine]) -> Vec<(u64, Vec<u8>)> {
    sent.iter()
        .filter_map(|what| match what {
            ToMachine::Input { position, bytes } => Some((*position, bytes.to_vec())),
            ToMachine::Control(_) => None,
        })
        .collect()
}

#[tokio::test]
async fn a_viewer_that_opens_gets_every_byte() {
    let mut relay = linked();
    let (_, inbox) = join(&mut relay, DRIVER, true, 1);
    relay.on_frame(output(0, b"he"), AT).unwrap();
    relay.on_frame(output(2, b"llo"), AT).unwrap();
    assert_eq!(shown(&taken(&inbox).await), b"hello");
}

#[test]
fn output_that_skips_or_repeats_drops_the_link() {
    // TOK-15, TOK-16
    let mut relay = linked();
    relay.on_frame(output(0, b"abc"), AT).unwrap();
    assert_eq!(relay.on_frame(output(4, b"d"), AT), Err(LinkFault::Order));
    assert_eq!(relay.on_frame(output(0, b"abc"), AT), Err(LinkFault::Order));
    assert_eq!(relay.position(), 3);
}

#[test]
fn a_machine_cannot_type() {
    let mut relay = linked();
    let frame =
        Frame::Data(Data { kind: Kind::Input, position: 0, bytes: Bytes::from_static(b"x") });
    assert_eq!(relay.on_frame(frame, AT), Err(LinkFault::Form));
}

#[tokio::test]
async fn a_slow_watcher_gets_a_snapshot_and_slows_nobody() {
    // R34, RES-11
    let mut relay = linked();
    let (driver, _driving) = join(&mut relay, DRIVER, true, 1);
    let (watcher, inbox) = join(&mut relay, WATCHER, true, 2);
    drain(&mut relay);
    let chunk: &'static [u8] = Box::leak(vec![b'x'; 32 * 1024].into_boxed_slice());
    let mut position = 0;
    while position < VIEWER_WINDOW + 2 * chunk.len() as u64 {
        relay.on_frame(output(position, chunk), AT).unwrap();
        position += chunk.len() as u64;
        relay.on_viewer(driver, FromViewer::Ack { position }, AT, Instant::now());
        assert!(relay.may_read(), "a watcher holds nobody up");
    }
    let sent = shown(&taken(&inbox).await).len() as u64;
    assert_eq!(sent, VIEWER_WINDOW, "no more waits for a watcher than its window");
    relay.on_viewer(watcher, FromViewer::Ack { position: sent }, AT, Instant::now());
    let asked = drain(&mut relay).into_iter().any(|what| matches!(
        what,
        ToMachine::Control(agent::ToShell { message: Some(ToShellMessage::Attach(agent::Attach { viewer, from: None })) }) if viewer == watcher
    ));
    assert!(asked, "it is drawn anew");
}

#[test]
fn a_slow_driver_slows_its_own_shell() {
    // SES-33
    let mut relay = linked();
    let (driver, _inbox) = join(&mut relay, DRIVER, true, 1);
    let chunk: &'static [u8] = Box::leak(vec![b'x'; 32 * 1024].into_boxed_slice());
    let mut position = 0;
    while relay.may_read() {
        relay.on_frame(output(position, chunk), AT).unwrap();
        position += chunk.len() as u64;
    }
    assert_eq!(position, VIEWER_WINDOW);
    relay.on_viewer(driver, FromViewer::Ack { position: 1 }, AT, Instant::now());
    assert!(relay.may_read());
}

#[test]
fn input_goes_to_the_machine_once_and_in_order() {
    // TOK-01, TOK-15
    let mut relay = linked();
    let (id, _inbox) = join(&mut relay, DRIVER, true, 1);
    drain(&mut relay);
    type_at(&mut relay, id, 0, b"ab");
    type_at(&mut relay, id, 0, b"ab");
    type_at(&mut relay, id, 5, b"zz");
    type_at(&mut relay, id, 2, b"c");
    assert_eq!(typed(&drain(&mut relay)), [(0, b"ab".to_vec()), (2, b"c".to_vec())]);
}

#[tokio::test]
async fn input_over_the_rate_is_refused_with_when_to_send_it_again() {
    // SES-30, SES-31, TOK-25
    let mut relay = relay(2);
    relay.on_linked(&agent::ShellHello::default());
    let (id, inbox) = join(&mut relay, DRIVER, true, 1);
    drain(&mut relay);
    for (position, bytes) in [(0, b"a"), (1, b"b"), (2, b"c"), (3, b"d")] {
        type_at(&mut relay, id, position, bytes);
    }
    assert_eq!(typed(&drain(&mut relay)).len(), 2);
    let rewinds: Vec<terminal::InputRewind> = taken(&inbox)
        .await
        .into_iter()
        .filter_map(|item| match item {
            ToViewer::Control(message) => match *message {
                ToViewerMessage::InputRewind(rewind) => Some(rewind),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(rewinds.len(), 1, "one notice, not one a message");
    assert_eq!(rewinds[0].position, 2);
    assert_eq!(rewinds[0].code, "rate_limited");
    assert!(rewinds[0].retry_after_ms > 0);
    let later = Instant::now() + Duration::from_secs(2);
    let again = FromViewer::Input { position: 2, bytes: Bytes::from_static(b"c") };
    relay.on_viewer(id, again, AT, later);
    assert_eq!(typed(&drain(&mut relay)), [(2, b"c".to_vec())]);
}

#[tokio::test]
async fn a_new_link_says_where_input_goes_on() {
    // R01, R27
    let mut relay = linked();
    let (id, inbox) = join(&mut relay, DRIVER, true, 1);
    type_at(&mut relay, id, 0, b"abcd");
    relay.on_unlinked();
    type_at(&mut relay, id, 4, b"lost");
    taken(&inbox).await;
    let known = agent::Writer { writer: vec![1; 16].into(), position: 2 };
    relay.on_linked(&agent::ShellHello { writers: vec![known], ..agent::ShellHello::default() });
    let rewound = taken(&inbox).await.into_iter().any(|item| matches!(
        item,
        ToViewer::Control(message) if matches!(&*message, ToViewerMessage::InputRewind(r) if r.position == 2 && r.code == "reconnected")
    ));
    assert!(rewound);
    drain(&mut relay);
    type_at(&mut relay, id, 2, b"cdlost");
    assert_eq!(typed(&drain(&mut relay)), [(2, b"cdlost".to_vec())]);
}

#[test]
fn a_new_link_goes_on_from_what_is_here() {
    // R01, R67
    let mut relay = linked();
    relay.on_frame(output(0, b"abcdef"), AT).unwrap();
    relay.on_unlinked();
    let hello =
        agent::ShellHello { output_start: 0, output_position: 9, ..agent::ShellHello::default() };
    relay.on_linked(&hello);
    let welcome = drain(&mut relay).into_iter().find_map(|what| match what {
        ToMachine::Control(agent::ToShell { message: Some(ToShellMessage::Welcome(w)) }) => {
            Some(w.output_position)
        }
        _ => None,
    });
    assert_eq!(welcome, Some(6));
    relay.on_frame(output(6, b"ghi"), AT).unwrap();
}

#[tokio::test]
async fn a_joiner_gets_the_snapshot_and_then_only_what_follows() {
    // BEY-9
    let mut relay = linked();
    relay.on_frame(output(0, b"abc"), AT).unwrap();
    let (id, inbox) = join(&mut relay, WATCHER, false, 2);
    relay.on_frame(output(3, b"d"), AT).unwrap();
    let snapshot =
        agent::Snapshot { position: 4, cols: 80, rows: 24, ..agent::Snapshot::default() };
    let attached = agent::Attached { viewer: id, snapshot: Some(snapshot), position: 4 };
    relay.on_frame(said(FromShellMessage::Attached(attached)), AT).unwrap();
    let done = agent::AttachDone { viewer: id, position: 4 };
    relay.on_frame(said(FromShellMessage::AttachDone(done)), AT).unwrap();
    relay.on_frame(output(4, b"e"), AT).unwrap();
    let items = taken(&inbox).await;
    assert_eq!(shown(&items), b"e");
}

#[tokio::test]
async fn a_viewer_that_is_ahead_of_what_was_durable_sees_nothing_twice() {
    // R01, TERM-5
    let mut relay = linked();
    let (outbox, inbox) = Outbox::new();
    let arrival = Arrival {
        principal: PrincipalId(Uuid::from_u128(1)),
        credential: None,
        name: Arc::from("user:ann"),
        circumstances: adit_domain::policy::Circumstances::default(),
        capabilities: DRIVER,
        size: None,
        from: Some(5),
        writer: None,
        input_position: 0,
        opens: false,
    };
    let (id, _) = relay.join(arrival, WriterId([1; 16]), outbox);
    let attached = agent::Attached { viewer: id, snapshot: None, position: 5 };
    relay.on_frame(said(FromShellMessage::Attached(attached)), AT).unwrap();
    let done = agent::AttachDone { viewer: id, position: 0 };
    relay.on_frame(said(FromShellMessage::AttachDone(done)), AT).unwrap();
    relay.on_frame(output(0, b"abc"), AT).unwrap();
    relay.on_frame(output(3, b"defg"), AT).unwrap();
    assert_eq!(shown(&taken(&inbox).await), b"fg");
}

#[tokio::test]
async fn whoever_loses_the_right_is_told_why_and_sees_nothing_more() {
    // TOK-21, BEY-3
    let mut relay = linked();
    let (id, inbox) = join(&mut relay, WATCHER, true, 2);
    relay.on_frame(output(0, b"secret"), AT).unwrap();
    relay.dismiss(id, &EndReason::Because(Code::AccessRevoked));
    relay.on_frame(output(6, b"more"), AT).unwrap();
    let items = taken(&inbox).await;
    assert_eq!(shown(&items), b"");
    assert!(matches!(items.back(), Some(ToViewer::Close(EndReason::Because(Code::AccessRevoked)))));
}

#[test]
fn a_window_is_clamped_and_a_storm_is_one_message() {
    // RES-17
    let mut relay = linked();
    let (id, _inbox) = join(&mut relay, DRIVER, true, 1);
    drain(&mut relay);
    for cols in [0, 5, 65_535] {
        relay.on_viewer(id, FromViewer::Resize { cols, rows: cols }, AT, Instant::now());
    }
    let sizes: Vec<(u32, u32)> = drain(&mut relay)
        .into_iter()
        .filter_map(|what| match what {
            ToMachine::Control(agent::ToShell { message: Some(ToShellMessage::Resize(r)) }) => {
                Some((r.cols, r.rows))
            }
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [(1000, 1000)]);
}

#[test]
fn who_may_not_resize_or_end_does_neither() {
    // SES-12
    let mut relay = linked();
    let (id, _inbox) = join(&mut relay, WATCHER, true, 1);
    drain(&mut relay);
    while relay.poll_happened().is_some() {}
    relay.on_viewer(id, FromViewer::Resize { cols: 10, rows: 10 }, AT, Instant::now());
    relay.on_viewer(id, FromViewer::End, AT, Instant::now());
    relay.on_viewer(id, FromViewer::Signal { name: "INT".into() }, AT, Instant::now());
    assert!(drain(&mut relay).is_empty());
    assert!(relay.poll_happened().is_none());
}

#[test]
fn the_end_comes_after_the_last_output() {
    // SES-16
    let mut relay = linked();
    let exited = agent::Exited { status: Some(0), output_position: 3, ..agent::Exited::default() };
    let early = relay.on_frame(said(FromShellMessage::Exited(exited.clone())), AT);
    assert_eq!(early, Err(LinkFault::Order));
    relay.on_frame(output(0, b"bye"), AT).unwrap();
    relay.on_frame(said(FromShellMessage::Exited(exited)), AT).unwrap();
    assert!(matches!(relay.poll_happened(), Some(Happened::Exited(EndReason::Exited(0)))));
}
