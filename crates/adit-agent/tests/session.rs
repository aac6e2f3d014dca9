//! Sessions over real terminals, with the test in the gateway's place.

mod gateway;

use adit_agent::session::Ended;
use adit_agent::shell::Exit;
use adit_domain::{Capability, Code};
use adit_wire::agent::v1::from_shell::Message as From;
use adit_wire::agent::v1::{
    Attach, Close, InputEof, OutputAck, Resize, SetWriter, ShellWelcome, Signal, Snapshot,
    to_shell::Message as To,
};
use gateway::{Plan, Rig};
use std::time::Duration;

const ANN: &[u8] = b"ann-ann-ann-ann-";

/// Moves the clock; everything but the kernel sees it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn set_writer(position: u64) -> To {
    To::Writer(SetWriter { writer: ANN.into(), position })
}

fn welcome(output_position: u64) -> To {
    To::Welcome(ShellWelcome { output_position })
}

// TERM-1
#[tokio::test]
async fn what_is_typed_reaches_the_shell_and_its_answer_comes_back() {
    let mut rig = Rig::start(Plan::terminal("read line; echo got $line; exit 4")).await;
    rig.greet().await;
    rig.send(set_writer(0));
    rig.input(0, b"hello\n");
    rig.until_output("got hello").await;
    let exited = rig.until_exited().await;
    assert_eq!((exited.status, exited.output_position), (Some(4), rig.position()));
    let ended = rig.finish().await;
    assert!(
        matches!(ended, Ended { exit: Exit::Status(4), code: None, delivered: true, .. }),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_command_has_its_standard_input_until_its_end() {
    let mut rig = Rig::start(Plan::pipes("cat; echo done >&2")).await;
    rig.greet().await;
    rig.send(set_writer(0));
    rig.input(0, b"a\0b");
    rig.send(To::InputEof(InputEof { writer: ANN.into(), position: 3 }));
    rig.until_exited().await;
    assert_eq!(rig.output(), b"a\0bdone\n");
}

// CMD-23: nothing else has to happen for the end to be told.
#[tokio::test]
async fn a_command_that_ended_before_anybody_came_tells_what_it_wrote_and_its_end() {
    let mut rig = Rig::start(Plan::pipes("echo done; exit 3")).await;
    while rig.connect().await.exited.is_none() {
        rig.lose();
    }
    rig.send(welcome(0));
    let exited = rig.until_exited().await;
    assert_eq!((exited.status, rig.output()), (Some(3), &b"done\n"[..]));
}

// TERM-5, N2
#[tokio::test]
async fn output_goes_on_after_a_lost_link_byte_for_byte() {
    let mut rig =
        Rig::start(Plan::terminal("for i in $(seq 1 2000); do echo line $i; done; read x")).await;
    rig.greet().await;
    rig.until_output("line 100\r\n").await;
    let had = rig.position();
    rig.lose();
    let hello = rig.connect().await;
    assert!(hello.output_start <= had && hello.output_position >= had);
    rig.send(welcome(had));
    rig.until_output("line 2000\r\n").await;
    let wanted: String = (1..=2000).map(|line| format!("line {line}\r\n")).collect();
    assert_eq!(String::from_utf8_lossy(rig.output()), wanted);
}

// N1
#[tokio::test]
async fn input_is_written_once_though_it_is_sent_twice() {
    let mut rig = Rig::start(Plan::terminal("stty -echo; echo ready; cat")).await;
    rig.greet().await;
    rig.until_output("ready").await;
    rig.send(set_writer(0));
    rig.input(0, b"one\n");
    rig.until(|message| matches!(message, From::InputAck(ack) if ack.position == 4)).await;
    rig.lose();
    let hello = rig.connect().await;
    assert_eq!(hello.writers[0].position, 4);
    rig.send(welcome(rig.position()));
    rig.send(set_writer(0));
    rig.input(0, b"one\ntwo\n");
    rig.until_output("two\r\n").await;
    assert!(
        String::from_utf8_lossy(rig.output()).ends_with("ready\r\none\r\ntwo\r\n"),
        "{:?}",
        rig.text()
    );
}

// TERM-1: a bracketed paste of 1 MiB arrives whole and in order.
#[tokio::test]
async fn a_paste_of_a_mebibyte_arrives_whole() {
    let script = "stty raw -echo; printf ready; head -c 1048588 | sha256sum; read x";
    let mut rig = Rig::start(Plan::terminal(script)).await;
    rig.greet().await;
    rig.until_output("ready").await;
    let body: Vec<u8> =
        (0..1_048_576_u32).map(|at| b'a' + (at % 26 + at / 4096) as u8 % 26).collect();
    let paste = [b"\x1b[200~", &body[..], b"\x1b[201~"].concat();
    rig.send(set_writer(0));
    rig.paste(&paste).await;
    let wanted = sha256(&paste);
    rig.until_output(&wanted).await;
}

fn sha256(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sha256sum is there");
    child.stdin.take().expect("piped").write_all(bytes).expect("it reads");
    let out = child.wait_with_output().expect("it ends").stdout;
    String::from_utf8_lossy(&out[..64]).into_owned()
}

// RES-11, SES-33, R35
#[tokio::test]
async fn a_flood_waits_for_a_slow_reader_and_ctrl_c_still_works() {
    let mut rig =
        Rig::start(Plan::terminal("trap 'echo caught; exit 0' INT; while :; do echo flood; done"))
            .await;
    rig.greet().await;
    rig.until_output("flood").await;
    rig.send(set_writer(0));
    let unread = rig.unread_until_stalled().await;
    assert!(unread <= 64, "{unread} frames were sent to a reader that reads nothing");
    rig.input(0, b"\x03");
    rig.until_output("caught").await;
    assert_eq!(rig.until_exited().await.status, Some(0));
}

// RES-17
#[tokio::test]
async fn sizes_are_clamped_and_the_newest_counts() {
    let script = "trap 'echo winch' WINCH; echo ready; while :; do stty size; sleep 0.05; done";
    let mut rig = Rig::start(Plan::terminal(script)).await;
    rig.greet().await;
    rig.until_output("ready").await;
    rig.send(To::Resize(Resize { cols: 100, rows: 50 }));
    rig.until_output("winch").await;
    rig.until_output("50 100").await;
    rig.send(To::Resize(Resize { cols: 65_535, rows: 0 }));
    rig.until_output("1 1000").await;
}

// AGT-17, AGT-18: what the warrant does not cover is dropped.
#[tokio::test]
async fn a_viewers_warrant_lets_nobody_type() {
    let plan = Plan::terminal("read line; echo got $line").allow(&[Capability::TerminalView]);
    let mut rig = Rig::start(plan).await;
    rig.greet().await;
    rig.send(set_writer(0));
    rig.input(0, b"hello\n");
    rig.send(To::Resize(Resize { cols: 10, rows: 10 }));
    rig.send(To::Close(Close { session_id: Vec::new().into(), code: "session.killed".to_owned() }));
    rig.until_exited().await;
    let ended = rig.finish().await;
    assert_eq!(ended.refused_frames, 3);
    assert!(!rig.text().contains("got"), "{:?}", rig.text());
}

// SES-15, SES-16
#[tokio::test]
async fn a_closed_session_says_why_and_loses_no_output() {
    let mut rig = Rig::start(Plan::terminal(
        "trap 'echo last words; exit 9' HUP; echo ready; while :; do sleep 0.05; done",
    ))
    .await;
    rig.greet().await;
    rig.until_output("ready").await;
    rig.close(Code::SessionKilled);
    rig.close(Code::SessionExpired);
    let exited = rig.until_exited().await;
    assert_eq!((exited.status, exited.code.as_str()), (Some(9), "session.killed"));
    assert!(rig.text().contains("last words"), "{:?}", rig.text());
    assert_eq!(exited.output_position, rig.position());
}

#[tokio::test]
async fn a_signal_by_name_reaches_the_foreground() {
    let mut rig = Rig::start(Plan::terminal(
        "trap 'echo usr1; exit 3' USR1; echo ready; while :; do sleep 0.05; done",
    ))
    .await;
    rig.greet().await;
    rig.until_output("ready").await;
    rig.send(To::Signal(Signal { name: "USR1".to_owned() }));
    rig.until_output("usr1").await;
}

// TERM-40: input is never recorded while the terminal does not echo.
#[tokio::test]
async fn a_hidden_input_is_announced_before_it_is_acknowledged() {
    let mut rig =
        Rig::start(Plan::terminal("stty -echo; echo ready; read x; stty echo; echo on; read y"))
            .await;
    rig.greet().await;
    rig.until_output("ready").await;
    rig.send(set_writer(0));
    rig.input(0, b"secret\n");
    let before = rig.until(|message| matches!(message, From::InputAck(_))).await;
    assert!(
        before.iter().any(|message| matches!(message, From::Echo(echo) if !echo.on)),
        "{before:?}"
    );
}

// Decision 13
#[tokio::test]
async fn a_late_viewer_gets_the_screen_and_goes_on_exactly_there() {
    let mut rig =
        Rig::start(Plan::terminal("printf 'one\\r\\ntwo'; read x; echo three; read y")).await;
    rig.greet().await;
    rig.until_output("two").await;
    rig.send(To::Attach(Attach { viewer: 7, from: None }));
    let snapshot = rig.until_snapshot(7).await;
    assert_eq!(snapshot.lines[..2], ["one", "two"].map(|line| format!("{line:80}")));
    let done = rig.until(|message| matches!(message, From::AttachDone(_))).await;
    assert!(
        matches!(done.last(), Some(From::AttachDone(done)) if done.position == snapshot.position)
    );
}

// TERM-5
#[tokio::test]
async fn a_viewer_that_comes_back_gets_what_it_missed_and_no_more() {
    let mut rig = Rig::start(Plan::terminal("echo 0123456789; read x")).await;
    rig.greet().await;
    rig.until_output("789").await;
    rig.send(To::Attach(Attach { viewer: 3, from: Some(4) }));
    rig.until(|message| matches!(message, From::AttachDone(done) if done.viewer == 3)).await;
    assert_eq!(rig.backlog(3), &rig.output()[4..]);
}

#[tokio::test]
async fn what_is_durable_and_seen_is_forgotten() {
    let mut rig = Rig::start(Plan::terminal("seq 1 5000; echo end; read x")).await;
    rig.greet().await;
    rig.until_output("end\r\n").await;
    let end = rig.position();
    rig.send(To::OutputAck(OutputAck { durable: end, viewed: end }));
    rig.send(To::Attach(Attach { viewer: 3, from: Some(0) }));
    let snapshot: Snapshot = rig.until_snapshot(3).await;
    assert!(snapshot.lines[22].starts_with("end"), "{:?}", snapshot.lines);
}

// TERM-5, N7, R22
#[tokio::test]
async fn a_session_without_a_link_ends_after_its_grace() {
    let mut rig = Rig::start(Plan::terminal("echo ready; cat")).await;
    rig.greet().await;
    rig.until_output("ready").await;
    rig.lose();
    pass(Duration::from_secs(11)).await;
    let ended = rig.finish().await;
    assert!(
        matches!(ended, Ended { code: Some(Code::SessionLostLink), delivered: false, .. }),
        "{ended:?}"
    );
}

// SES-15: the length limit.
#[tokio::test]
async fn a_session_ends_at_its_length_limit() {
    let mut rig = Rig::start(Plan::terminal("echo ready; cat").ending_in_ms(5000)).await;
    rig.greet().await;
    rig.until_output("ready").await;
    pass(Duration::from_secs(6)).await;
    let exited = rig.until_exited().await;
    assert_eq!(exited.code, "session.expired");
}

// Decision 8: an expired warrant stops frames at once, the shell only after the grace.
#[tokio::test]
async fn an_expired_warrant_stops_frames_before_it_stops_the_shell() {
    let mut rig =
        Rig::start(Plan::terminal("echo ready; read x; echo got $x; cat").valid_for_ms(1000)).await;
    rig.greet().await;
    rig.until_output("ready").await;
    pass(Duration::from_millis(1500)).await;
    rig.send(set_writer(0));
    rig.input(0, b"late\n");
    pass(Duration::from_secs(11)).await;
    let exited = rig.until_exited().await;
    assert_eq!(exited.code, "session.lost_link");
    assert!(!rig.text().contains("got"), "{:?}", rig.text());
}

// Decision 9: three damaged frames within a minute end a session.
#[tokio::test]
async fn damaged_frames_again_and_again_end_the_session() {
    let mut rig = Rig::start(Plan::terminal("echo ready; cat")).await;
    for _ in 0..3 {
        rig.greet().await;
        rig.damage().await;
    }
    rig.greet().await;
    assert_eq!(rig.until_exited().await.code, "session.corrupted");
}
