use adit_wire::frame::MAX_INPUT;

use super::*;

const WRITER: &[u8] = b"writer-1";

fn start(resume: Option<Resume>) -> Viewer {
    let ticket = Secret::new("atk_ticket".to_owned());
    Viewer::new(Start { ticket, cols: 80, rows: 24, resume, proof: String::new() })
}

fn tell(viewer: &mut Viewer, message: Down) -> Result<Option<Event>, ProtocolError> {
    let message = write_control(&pb::FromGateway { message: Some(message) });
    viewer.handle_input(message, Instant::now())
}

fn print(viewer: &mut Viewer, position: u64, bytes: &[u8]) -> Result<Option<Event>, ProtocolError> {
    viewer.handle_input(write_data(Kind::Output, position, bytes), Instant::now())
}

fn admitted(input_position: u64) -> Down {
    let writer = Bytes::from_static(WRITER);
    Down::Admitted(pb::Admitted { writer, input_position, ..pb::Admitted::default() })
}

/// Reads what the viewer sends now.
fn says(viewer: &mut Viewer, now: Instant) -> Vec<Result<Data, Up>> {
    std::iter::from_fn(|| viewer.poll_transmit(now))
        .map(|message| match Frame::read(message).unwrap() {
            Frame::Data(data) => Ok(data),
            Frame::Control(message) => {
                Err(pb::FromViewer::decode(message).unwrap().message.unwrap())
            }
        })
        .collect()
}

/// A viewer that was admitted and has a screen up to position 100.
fn at_work() -> Viewer {
    let mut viewer = start(None);
    says(&mut viewer, Instant::now());
    tell(&mut viewer, admitted(0)).unwrap();
    let snapshot = pb::Snapshot { position: 100, cols: 80, rows: 24, screen: Bytes::new() };
    tell(&mut viewer, Down::Snapshot(snapshot)).unwrap();
    viewer
}

fn input(position: u64, bytes: &[u8]) -> Result<Data, Up> {
    Ok(Data { kind: Kind::Input, position, bytes: Bytes::copy_from_slice(bytes) })
}

#[test]
fn the_first_frame_redeems_the_ticket_and_nothing_else_leaves_before_the_answer() {
    let mut viewer = start(None);
    viewer.input(b"typed early");
    let now = Instant::now();
    let redeem =
        pb::Redeem { ticket: "atk_ticket".to_owned(), cols: 80, rows: 24, ..pb::Redeem::default() };
    assert_eq!(says(&mut viewer, now), [Err(Up::Redeem(redeem))]);
    tell(&mut viewer, admitted(7)).unwrap();
    assert_eq!(says(&mut viewer, now), [input(7, b"typed early")]);
}

#[test]
fn a_paste_leaves_in_frames_within_the_window() {
    let mut viewer = at_work();
    let paste = vec![b'p'; 1024 * 1024];
    let taken = viewer.input(&paste);
    assert_eq!(taken, 256 * 1024);
    let sent = says(&mut viewer, Instant::now());
    assert_eq!(sent.len(), taken / MAX_INPUT);
    let ack = pb::InputAck { position: 1000 };
    assert_eq!(tell(&mut viewer, Down::InputAck(ack)), Ok(Some(Event::InputRoom)));
    assert_eq!(viewer.input(&paste[taken..]), 1000);
}

// N2
#[test]
fn each_byte_of_output_comes_once_and_a_gap_ends_the_connection() {
    let mut viewer = at_work();
    let Ok(Some(Event::Output(data))) = print(&mut viewer, 98, b"abcd") else { panic!() };
    assert_eq!((data.position, &data.bytes[..]), (100, &b"cd"[..]));
    assert_eq!(print(&mut viewer, 98, b"abcd"), Ok(None));
    let gap = Gap { expected: 102, found: 103 };
    assert_eq!(print(&mut viewer, 103, b"x"), Err(ProtocolError::Gap(gap)));
}

// R01, R21, N1, N2
#[test]
fn a_new_connection_goes_on_where_the_old_one_stood() {
    let mut viewer = at_work();
    let now = Instant::now();
    print(&mut viewer, 100, b"hello").unwrap();
    viewer.input(b"abcdef");
    viewer.eof();
    says(&mut viewer, now);
    tell(&mut viewer, Down::InputAck(pb::InputAck { position: 2 })).unwrap();

    let mut again = start(Some(viewer.resume()));
    let sent = says(&mut again, now);
    let Err(Up::Redeem(redeem)) = &sent[0] else { panic!() };
    assert_eq!(redeem.output_position, Some(105));
    assert_eq!((&redeem.writer[..], redeem.input_position), (WRITER, 2));
    assert_eq!(sent.len(), 1);
    tell(&mut again, admitted(4)).unwrap();
    let eof = Err(Up::InputEof(pb::InputEof { position: 6 }));
    assert_eq!(says(&mut again, now), [input(4, b"ef"), eof]);
    let Ok(Some(Event::Output(data))) = print(&mut again, 103, b"lo!") else { panic!() };
    assert_eq!((data.position, &data.bytes[..]), (105, &b"!"[..]));
}

#[test]
fn input_that_is_kept_goes_to_no_other_writer() {
    let mut viewer = at_work();
    viewer.input(b"secret");
    let mut again = start(Some(viewer.resume()));
    let other = pb::Admitted { writer: Bytes::from_static(b"2"), ..pb::Admitted::default() };
    assert_eq!(tell(&mut again, Down::Admitted(other)), Err(ProtocolError::Writer));
}

#[test]
fn input_that_is_forgotten_is_not_sent_and_another_writer_goes_on() {
    // R31
    let mut viewer = at_work();
    viewer.input(b"old");
    says(&mut viewer, Instant::now());
    let mut resume = viewer.resume();
    assert!(resume.forget_input());
    assert!(!resume.forget_input());
    let mut again = start(Some(resume));
    let sent = says(&mut again, Instant::now());
    let Err(Up::Redeem(redeem)) = &sent[0] else { panic!() };
    assert_eq!((redeem.writer.len(), redeem.output_position), (0, viewer.resume().output_position));
    let other = Bytes::from_static(b"2");
    let other = pb::Admitted { writer: other, input_position: 9, ..pb::Admitted::default() };
    tell(&mut again, Down::Admitted(other)).unwrap();
    again.input(b"new");
    assert_eq!(says(&mut again, Instant::now()), [input(9, b"new")]);
}

#[test]
fn refused_input_is_sent_again_after_the_wait() {
    let mut viewer = at_work();
    let now = Instant::now();
    viewer.input(b"abcdef");
    says(&mut viewer, now);
    let code = "rate_limited".to_owned();
    let rewind = pb::InputRewind { position: 3, retry_after_ms: 50, code };
    let held = tell(&mut viewer, Down::InputRewind(rewind)).unwrap();
    assert!(matches!(held, Some(Event::Held { retry_after, .. }) if retry_after.as_millis() == 50));
    assert_eq!(says(&mut viewer, now), []);
    let due = viewer.poll_timeout().unwrap();
    assert_eq!(says(&mut viewer, due), [input(3, b"def")]);
}

#[test]
fn who_may_not_type_has_no_room_for_input() {
    let mut viewer = start(None);
    says(&mut viewer, Instant::now());
    tell(&mut viewer, Down::Admitted(pb::Admitted::default())).unwrap();
    assert_eq!((viewer.input(b"x"), viewer.input_room()), (0, 0));
    assert_eq!(says(&mut viewer, Instant::now()), []);
}

#[test]
fn shown_output_is_acknowledged_soon_and_much_of_it_at_once() {
    let mut viewer = at_work();
    let now = Instant::now();
    let ack = |position| [Err(Up::OutputAck(pb::OutputAck { position }))];
    viewer.shown(101, now);
    assert_eq!(says(&mut viewer, now), []);
    assert_eq!(viewer.poll_timeout(), Some(now + ACK_WITHIN));
    assert_eq!(says(&mut viewer, now + ACK_WITHIN), ack(101));
    viewer.shown(101 + FEW, now);
    assert_eq!(viewer.poll_timeout(), Some(now + ACK_BULK_WITHIN));
    viewer.shown(101 + ACK_EVERY, now);
    assert_eq!(says(&mut viewer, now), ack(101 + ACK_EVERY));
    assert_eq!(viewer.poll_timeout(), None);
}

#[test]
fn of_many_resizes_the_last_is_sent() {
    let mut viewer = at_work();
    viewer.resize(100, 30);
    viewer.resize(120, 40);
    let resize = Err(Up::Resize(pb::Resize { cols: 120, rows: 40 }));
    assert_eq!(says(&mut viewer, Instant::now()), [resize]);
}

#[test]
fn a_gateway_that_says_what_it_must_not_is_not_believed() {
    let mut early = start(None);
    assert_eq!(print(&mut early, 0, b"x"), Err(ProtocolError::Order));
    let ack = Down::InputAck(pb::InputAck { position: 0 });
    assert_eq!(tell(&mut early, ack), Err(ProtocolError::Order));
    let mut viewer = at_work();
    assert_eq!(tell(&mut viewer, admitted(0)), Err(ProtocolError::Order));
    let ack = Down::InputAck(pb::InputAck { position: 1 });
    assert!(matches!(tell(&mut viewer, ack), Err(ProtocolError::Gap(_))));
    let typed = viewer.handle_input(write_data(Kind::Input, 0, b"x"), Instant::now());
    assert_eq!(typed, Err(ProtocolError::Kind(Kind::Input)));
    let garbage = viewer.handle_input(Bytes::from_static(&[0, 0xff]), Instant::now());
    assert_eq!(garbage, Err(ProtocolError::Message));
}

#[test]
fn a_refusal_comes_as_the_end() {
    let mut viewer = start(None);
    let ended = pb::Ended { code: "ticket.invalid".to_owned(), ..pb::Ended::default() };
    assert_eq!(tell(&mut viewer, Down::Ended(ended.clone())), Ok(Some(Event::Ended(ended))));
}

#[test]
fn what_was_typed_is_not_printed() {
    let mut viewer = at_work();
    viewer.input(b"hunter2");
    let shown = format!("{:?}", viewer.resume());
    assert!(!shown.contains("hunter2"), "{shown}");
}

proptest::proptest! {
    #[test]
    fn no_message_makes_the_viewer_panic(
        messages in proptest::collection::vec(
            (0_u8..6, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)),
            0..8,
        ),
    ) {
        let mut viewer = at_work();
        let now = Instant::now();
        viewer.input(b"typed");
        for (kind, rest) in messages {
            let message = [&[kind], &rest[..]].concat();
            // Refused or not, the next one is taken too.
            let _ = viewer.handle_input(message.into(), now);
            while viewer.poll_transmit(now).is_some() {}
        }
    }
}
