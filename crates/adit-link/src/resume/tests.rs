use std::time::{Duration, Instant};

use adit_wire::frame::MAX_INPUT;
use bytes::Bytes;

use super::*;

fn sent(sender: &mut InputSender, now: Instant) -> Vec<(u64, usize)> {
    std::iter::from_fn(|| sender.poll_transmit(now))
        .map(|transmit| match transmit {
            Transmit::Data { position, bytes } => (position, bytes.len()),
            Transmit::Eof { position } => (position, 0),
        })
        .collect()
}

fn typing(bytes: &[u8]) -> (InputSender, Instant) {
    let mut sender = InputSender::new();
    sender.resume(0).unwrap();
    assert_eq!(sender.push(bytes), bytes.len());
    (sender, Instant::now())
}

#[test]
fn input_leaves_in_frames_of_at_most_16_kib() {
    let (mut sender, now) = typing(&[b'x'; MAX_INPUT + 1]);
    assert_eq!(sent(&mut sender, now), [(0, MAX_INPUT), (MAX_INPUT as u64, 1)]);
    assert_eq!(sent(&mut sender, now), []);
}

// N1
#[test]
fn at_most_a_window_of_input_is_unacknowledged() {
    let (mut sender, now) = typing(&[b'x'; INPUT_WINDOW]);
    assert_eq!(sender.push(b"y"), 0);
    sent(&mut sender, now);
    sender.acked(10).unwrap();
    assert_eq!(sender.push(&[b'y'; 20]), 10);
}

#[test]
fn a_rewind_sends_everything_from_there_again_after_the_wait() {
    let (mut sender, now) = typing(b"0123456789");
    sent(&mut sender, now);
    let wait = Duration::from_millis(200);
    sender.rewind(4, wait, now).unwrap();
    assert_eq!(sent(&mut sender, now), []);
    assert_eq!(sender.poll_timeout(), Some(now + wait));
    assert_eq!(sent(&mut sender, now + wait), [(4, 6)]);
}

#[test]
fn the_end_of_input_follows_the_last_byte_and_again_after_a_rewind() {
    let (mut sender, now) = typing(b"abc");
    sender.eof();
    assert_eq!(sender.push(b"more"), 0);
    assert_eq!(sent(&mut sender, now), [(0, 3), (3, 0)]);
    sender.rewind(1, Duration::ZERO, now).unwrap();
    assert_eq!(sent(&mut sender, now), [(1, 2), (3, 0)]);
}

#[test]
fn nothing_leaves_while_there_is_no_connection() {
    let (mut sender, now) = typing(b"abc");
    sender.lost();
    assert_eq!(sent(&mut sender, now), []);
    sender.resume(0).unwrap();
    assert_eq!(sent(&mut sender, now), [(0, 3)]);
}

#[test]
fn input_that_arrived_before_the_break_is_not_sent_again() {
    let (mut sender, now) = typing(b"abcdef");
    sent(&mut sender, now);
    sender.lost();
    sender.resume(4).unwrap();
    assert_eq!(sent(&mut sender, now), [(4, 2)]);
}

#[test]
fn an_acknowledgement_may_run_ahead_of_what_is_sent_again() {
    let (mut sender, now) = typing(b"abcdef");
    sent(&mut sender, now);
    sender.rewind(0, Duration::ZERO, now).unwrap();
    sender.acked(6).unwrap();
    assert_eq!(sent(&mut sender, now), []);
}

#[test]
fn positions_that_cannot_be_are_refused() {
    let (mut sender, now) = typing(b"abc");
    assert_eq!(sender.acked(1), Err(Gap { expected: 0, found: 1 }));
    assert!(sender.resume(3).is_err());
    sent(&mut sender, now);
    sender.acked(2).unwrap();
    assert!(sender.rewind(1, Duration::ZERO, now).is_err());
    assert!(sender.rewind(4, Duration::ZERO, now).is_err());
    assert!(sender.resume(1).is_err());
}

// TOK-15, TOK-16
#[test]
fn a_gap_at_the_gateway_asks_once_and_drops_what_was_on_its_way() {
    let mut relay = InputRelay::new(0);
    assert_eq!(relay.admit(0, 3), Admit::Forward);
    assert_eq!(relay.admit(6, 3), Admit::Rewind { position: 3 });
    assert_eq!(relay.admit(9, 3), Admit::Ignore);
    assert_eq!(relay.admit(3, 3), Admit::Forward);
    assert_eq!(relay.admit(9, 3), Admit::Rewind { position: 6 });
}

// TOK-25
#[test]
fn input_over_the_rate_limit_is_sent_again_from_the_first_refused_byte() {
    let mut relay = InputRelay::new(0);
    assert_eq!(relay.admit(0, 3), Admit::Forward);
    assert_eq!(relay.admit(3, 3), Admit::Forward);
    assert_eq!(relay.refuse(), 3);
    assert_eq!(relay.admit(6, 3), Admit::Ignore);
    assert_eq!(relay.admit(3, 3), Admit::Forward);
    assert_eq!(relay.admit(6, 3), Admit::Forward);
}

#[test]
fn a_frame_that_is_here_already_is_dropped_at_the_gateway() {
    let mut relay = InputRelay::new(10);
    assert_eq!(relay.admit(7, 3), Admit::Ignore);
    assert_eq!(relay.admit(7, 4), Admit::Rewind { position: 10 });
}

fn writers(id: &'static [u8]) -> Writers {
    let mut writers = Writers::new();
    writers.select(&Bytes::from_static(id), 0);
    writers
}

fn accept(writers: &mut Writers, position: u64, bytes: &'static [u8]) -> Accept {
    writers.accept(position, &Bytes::from_static(bytes))
}

// N1
#[test]
fn the_agent_takes_each_byte_once() {
    let mut writers = writers(b"w");
    assert_eq!(accept(&mut writers, 0, b"abc"), Accept::Take(Bytes::from_static(b"abc")));
    assert_eq!(accept(&mut writers, 0, b"abc"), Accept::Ignore);
    assert_eq!(accept(&mut writers, 1, b"bcd"), Accept::Take(Bytes::from_static(b"d")));
    assert_eq!(writers.written(b"w", 3), Some(3));
}

// TOK-15, TOK-16
#[test]
fn a_gap_at_the_agent_asks_once_until_it_is_filled() {
    let mut writers = writers(b"w");
    let rewind = Accept::Rewind { writer: Bytes::from_static(b"w"), position: 0 };
    assert_eq!(accept(&mut writers, 3, b"def"), rewind);
    assert_eq!(accept(&mut writers, 6, b"ghi"), Accept::Ignore);
    assert_eq!(accept(&mut writers, 0, b"abc"), Accept::Take(Bytes::from_static(b"abc")));
    assert!(matches!(accept(&mut writers, 6, b"ghi"), Accept::Rewind { position: 3, .. }));
}

#[test]
fn writers_do_not_disturb_each_other() {
    let mut writers = writers(b"one");
    accept(&mut writers, 0, b"abc");
    writers.select(&Bytes::from_static(b"two"), 7);
    assert_eq!(accept(&mut writers, 7, b"x"), Accept::Take(Bytes::from_static(b"x")));
    writers.select(&Bytes::from_static(b"one"), 99);
    assert_eq!(accept(&mut writers, 3, b"d"), Accept::Take(Bytes::from_static(b"d")));
}

#[test]
fn input_of_nobody_is_not_taken() {
    assert_eq!(accept(&mut Writers::new(), 0, b"abc"), Accept::Unknown);
    let mut after_break = writers(b"w");
    after_break.hello();
    assert_eq!(accept(&mut after_break, 0, b"abc"), Accept::Unknown);
    let mut nameless = writers(b"");
    assert_eq!(accept(&mut nameless, 0, b"abc"), Accept::Unknown);
}

#[test]
fn a_sender_that_ignores_the_window_is_sent_back() {
    let mut writers = writers(b"w");
    let window = Bytes::from(vec![0; INPUT_WINDOW]);
    assert!(matches!(writers.accept(0, &window), Accept::Take(_)));
    assert!(matches!(accept(&mut writers, INPUT_WINDOW as u64, b"x"), Accept::Rewind { .. }));
    writers.written(b"w", 1);
    assert!(matches!(accept(&mut writers, INPUT_WINDOW as u64, b"x"), Accept::Take(_)));
}

#[test]
fn a_new_connection_is_told_what_was_written_and_not_what_was_taken() {
    let mut writers = writers(b"w");
    accept(&mut writers, 0, b"abc");
    writers.written(b"w", 2);
    assert_eq!(writers.hello()[0].position, 2);
}

#[test]
fn the_quietest_writer_is_forgotten_first_and_none_with_input_on_its_way() {
    let mut writers = writers(b"busy");
    accept(&mut writers, 0, b"abc");
    for index in 0..writers::MAX_WRITERS {
        writers.select(&Bytes::from(vec![index as u8 + 1]), 0);
        accept(&mut writers, 0, b"x");
        writers.written(&[index as u8 + 1], 1);
    }
    let known = writers.hello();
    assert_eq!(known.len(), writers::MAX_WRITERS);
    assert!(known.iter().any(|w| w.writer[..] == *b"busy"));
    assert!(!known.iter().any(|w| w.writer[..] == [1]));
}

#[test]
fn the_end_of_input_waits_for_what_is_missing_before_it() {
    let mut writers = writers(b"w");
    accept(&mut writers, 0, b"abc");
    assert_eq!(writers.accept_eof(b"w", 5), AcceptEof::Rewind { position: 3 });
    assert_eq!(writers.accept_eof(b"w", 5), AcceptEof::Ignore);
    accept(&mut writers, 3, b"de");
    assert_eq!(writers.accept_eof(b"w", 4), AcceptEof::Ignore);
    assert_eq!(writers.accept_eof(b"w", 5), AcceptEof::Take);
}

#[test]
fn the_sender_of_output_stops_at_its_window() {
    let mut sender = OutputSender::new(100, 10);
    sender.sent(8);
    assert_eq!(sender.room(), 2);
    sender.acked(105).unwrap();
    sender.acked(103).unwrap();
    assert_eq!((sender.room(), sender.next()), (7, 108));
    assert_eq!(sender.acked(109), Err(Gap { expected: 108, found: 109 }));
    sender.resume(102);
    assert_eq!((sender.room(), sender.next()), (10, 102));
}

// N2
#[test]
fn the_receiver_of_output_takes_each_byte_once_and_sees_what_is_missing() {
    let mut receiver = OutputReceiver::new(10);
    let frame = Bytes::from_static(b"abcd");
    assert_eq!(receiver.accept(8, &frame), Ok(Some(Bytes::from_static(b"cd"))));
    assert_eq!(receiver.accept(8, &frame), Ok(None));
    assert_eq!(receiver.accept(13, &frame), Err(Gap { expected: 12, found: 13 }));
    assert_eq!(receiver.accept(0, &frame), Ok(None));
}
