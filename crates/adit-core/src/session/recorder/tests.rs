use std::os::unix::fs::PermissionsExt as _;

use adit_domain::Timestamp;
use adit_wire::recording::{Expected, Mode, Outcome, verify};
use aws_lc_rs::signature::KeyPair as _;
use bytes::Bytes;
use uuid::Uuid;

use super::*;

const SESSION: SessionId = SessionId(Uuid::from_u128(7));

fn header() -> Header {
    Header {
        session: SESSION,
        machine: "web-1".into(),
        principal: "user:ann".into(),
        command: vec![],
        started_at: Timestamp(0),
        cols: 80,
        rows: 24,
        mode: Mode::Output,
        salt: [1; 16],
    }
}

fn end() -> End {
    End { reason: "session.exited".into(), exit_status: Some(0), signal: None, length_ms: 5 }
}

fn start(folder: &Path) -> (Recorder, [u8; 32]) {
    let key = Arc::new(Ed25519KeyPair::generate().unwrap());
    let public = key.public_key().as_ref().try_into().unwrap();
    (Recorder::start(folder, key, Duration::from_millis(1)).unwrap(), public)
}

#[tokio::test]
async fn a_recording_is_durable_signed_and_private() {
    // TERM-42, N4
    let dir = tempfile::tempdir().unwrap();
    let (recorder, key) = start(&dir.path().join("recordings"));
    let tape = recorder.begin(&header(), true).unwrap();
    tape.output(1, 0, Bytes::from_static(b"hello"));
    while tape.durable() < 5 {
        tape.moved().await;
    }
    let finished = tape.end(5, end()).await.unwrap();
    assert!(finished.complete);
    let bytes = fs::read(recorder.path(SESSION)).unwrap();
    let expected = Expected {
        session: Some(SESSION),
        hash: Some(adit_wire::digest::Digest(finished.hash)),
        keys: &[key],
    };
    assert_eq!(verify(&recover(&bytes), &expected).outcome, Outcome::Proven);
    let mode = fs::metadata(recorder.path(SESSION)).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
    recorder.stop();
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_written_again() {
    // R05, R07, TERM-43
    let dir = tempfile::tempdir().unwrap();
    let (recorder, _) = start(dir.path());
    let tape = recorder.begin(&header(), false).unwrap();
    tape.output(1, 0, Bytes::from_static(b"whole"));
    while tape.durable() < 5 {
        tape.moved().await;
    }
    recorder.stop();
    let path = recorder.path(SESSION);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"ADRC torn by a crash");
    fs::write(&path, bytes).unwrap();
    let (again, key) = start(dir.path());
    let tape = again.resume(SESSION, false).unwrap();
    assert_eq!(tape.durable(), 5, "the machine sends from here");
    tape.output(2, 5, Bytes::from_static(b" again"));
    let finished = tape.end(5, end()).await.unwrap();
    assert_eq!(finished.output_bytes, 11);
    let found = recover(&fs::read(&path).unwrap());
    let expected = Expected { session: Some(SESSION), hash: None, keys: &[key] };
    assert!(found.broken.is_empty());
    assert_eq!(verify(&found, &expected).first_bad, None);
    again.stop();
}

#[tokio::test]
async fn what_was_recorded_before_is_not_recorded_twice() {
    // R05
    let dir = tempfile::tempdir().unwrap();
    let (recorder, _) = start(dir.path());
    let tape = recorder.begin(&header(), false).unwrap();
    tape.output(1, 0, Bytes::from_static(b"abc"));
    tape.output(2, 1, Bytes::from_static(b"bcd"));
    let finished = tape.end(5, end()).await.unwrap();
    assert_eq!(finished.output_bytes, 4);
    recorder.stop();
}

#[test]
fn a_recording_is_not_begun_over_another() {
    let dir = tempfile::tempdir().unwrap();
    let (recorder, _) = start(dir.path());
    let _first = recorder.begin(&header(), false).unwrap();
    assert!(matches!(recorder.begin(&header(), false), Err(RecorderError::Io(_))));
    recorder.stop();
}
