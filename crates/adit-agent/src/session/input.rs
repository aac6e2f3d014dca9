//! Input by its writers: each has positions of its own, so that what is sent again after a break is written once.

use super::stream::Waiting;
use adit_wire::agent::v1::{InputAck, InputRewind, Writer};
use bytes::Bytes;

/// The writers of a session and what waits to be written.
#[derive(Debug, Default)]
pub(super) struct Input {
    writers: Vec<WriterState>,
    /// Which of them the next frames come from.
    current: Option<usize>,
    waiting: Waiting,
    waiting_bytes: usize,
}

#[derive(Debug)]
struct WriterState {
    id: Bytes,
    /// The next byte that is expected.
    taken: u64,
    /// Everything before it is in the shell's hands.
    written: u64,
    /// Everything before it was said to be.
    acked: u64,
    ack_is_due: bool,
    rewind: Rewind,
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewind {
    None,
    /// To be said as soon as there is room.
    Due,
    /// Said; what comes from further on is ignored.
    Said,
}

/// What became of an input frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of it was taken, now or before.
    Yes,
    /// It is beyond what is expected, or there is no room: to be sent again.
    Rewind,
    /// No writer was named.
    NoWriter,
}

impl Input {
    /// Names whose input follows. A writer that is not known begins at `position`.
    pub(super) fn set_writer(&mut self, id: &Bytes, position: u64) {
        let known = self.writers.iter().position(|writer| writer.id == *id);
        self.current = Some(known.unwrap_or_else(|| self.add(id.clone(), position)));
    }

    fn add(&mut self, id: Bytes, position: u64) -> usize {
        if self.writers.len() >= WRITERS_MAX
            && let Some(idle) = (0..self.writers.len()).find(|at| self.is_idle(*at))
        {
            self.writers[idle] = WriterState::new(id, position);
            return idle;
        }
        self.writers.push(WriterState::new(id, position));
        self.writers.len() - 1
    }

    fn is_idle(&self, at: usize) -> bool {
        self.waiting.iter().all(|(writer, _)| *writer != at) && self.current != Some(at)
    }

    /// Takes what is new of a frame.
    pub(super) fn take(&mut self, position: u64, bytes: &Bytes) -> Taken {
        let full = self.waiting_bytes + bytes.len() > WAITING_BYTES;
        let Some(current) = self.current else { return Taken::NoWriter };
        let writer = &mut self.writers[current];
        let end = position.saturating_add(bytes.len() as u64);
        if end <= writer.taken {
            writer.ack_is_due = true;
            return Taken::Yes;
        }
        if position > writer.taken || full {
            if writer.rewind == Rewind::None || position <= writer.taken {
                writer.rewind = Rewind::Due;
            }
            return Taken::Rewind;
        }
        let known = usize::try_from(writer.taken - position).unwrap_or(usize::MAX);
        let fresh = bytes.slice(known..);
        writer.rewind = Rewind::None;
        writer.taken = end;
        self.waiting_bytes += fresh.len();
        self.waiting.push_back((current, Some(fresh)));
        Taken::Yes
    }

    /// Notes that a writer's input ends at a position; before it, the end is ignored and comes again.
    pub(super) fn end(&mut self, id: &Bytes, position: u64) {
        let Some(at) = self.writers.iter().position(|writer| writer.id == *id) else { return };
        let writer = &mut self.writers[at];
        if writer.taken != position {
            writer.rewind = Rewind::Due;
        } else if !writer.ended {
            writer.ended = true;
            self.waiting.push_back((at, None));
        }
    }

    /// The next input to write: bytes, or the end.
    pub(super) fn next(&self) -> Option<Option<Bytes>> {
        self.waiting.front().map(|(_, bytes)| bytes.clone())
    }

    /// Notes how much of the next input was written.
    pub(super) fn written(&mut self, len: usize) {
        let Some((at, bytes)) = self.waiting.pop_front() else { return };
        let writer = &mut self.writers[at];
        writer.written += len as u64;
        writer.ack_is_due = true;
        self.waiting_bytes -= len;
        if let Some(rest) = bytes.map(|bytes| bytes.slice(len..)).filter(|rest| !rest.is_empty()) {
            self.waiting.push_front((at, Some(rest)));
        }
        if self.waiting.is_empty() {
            self.waiting = Waiting::new();
        }
    }

    /// Whether the acknowledgement of a few bytes is due, which may wait for the answer of the shell and leave with it.
    pub(super) fn few_are_due(&self) -> bool {
        self.writers.iter().any(|writer| writer.ack_is_due && writer.is_few())
    }

    /// What to tell a writer next, an acknowledgement or a rewind; of a few bytes not yet, if that may wait.
    pub(super) fn next_answer(&mut self, few_may_wait: bool) -> Option<Answer> {
        let room = self.waiting_bytes <= WAITING_BYTES / 2;
        self.writers.iter_mut().find_map(|writer| {
            if writer.ack_is_due && !(few_may_wait && writer.is_few()) {
                writer.ack_is_due = false;
                writer.acked = writer.written;
                return Some(Answer::Ack(InputAck {
                    writer: writer.id.clone(),
                    position: writer.written,
                }));
            }
            if writer.rewind == Rewind::Due && room {
                writer.rewind = Rewind::Said;
                return Some(Answer::Rewind(InputRewind {
                    writer: writer.id.clone(),
                    position: writer.taken,
                }));
            }
            None
        })
    }

    /// What a gateway is told on a new connection.
    pub(super) fn writers(&self) -> Vec<Writer> {
        let tell =
            |writer: &WriterState| Writer { writer: writer.id.clone(), position: writer.written };
        self.writers.iter().map(tell).collect()
    }

    /// Forgets what was meant for a lost connection.
    pub(super) fn reconnect(&mut self) {
        self.current = None;
        for writer in &mut self.writers {
            writer.rewind = Rewind::None;
            writer.ack_is_due = false;
            writer.acked = writer.written;
        }
    }
}

impl WriterState {
    fn is_few(&self) -> bool {
        self.written - self.acked < FEW
    }

    fn new(id: Bytes, position: u64) -> Self {
        Self {
            id,
            taken: position,
            written: position,
            acked: position,
            ack_is_due: false,
            rewind: Rewind::None,
            ended: false,
        }
    }
}

/// What a writer is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Ack(InputAck),
    Rewind(InputRewind),
}

/// What a viewer may have in flight (256 KiB); a second writer's is sent again when there is room.
const WAITING_BYTES: usize = 256 << 10;
/// Fewer bytes than this are a few: keys, not a paste.
const FEW: u64 = 1024;
/// People who type in one session, with those who came back under a new name; the idle ones are forgotten first.
const WRITERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::{Answer, Input, InputAck, Taken, WAITING_BYTES};
    use bytes::Bytes;

    const ANN: Bytes = Bytes::from_static(b"ann");
    const BOB: Bytes = Bytes::from_static(b"bob");

    fn input_of(writer: &Bytes) -> Input {
        let mut input = Input::default();
        input.set_writer(writer, 0);
        input
    }

    fn write_all(input: &mut Input) -> Vec<u8> {
        let mut written = Vec::new();
        while let Some(Some(bytes)) = input.next() {
            written.extend_from_slice(&bytes);
            input.written(bytes.len());
        }
        written
    }

    fn answers(input: &mut Input) -> Vec<Answer> {
        std::iter::from_fn(|| input.next_answer(false)).collect()
    }

    #[test]
    fn the_acknowledgement_of_a_key_may_wait_and_that_of_a_paste_may_not() {
        let mut input = input_of(&ANN);
        input.take(0, &Bytes::from_static(b"x"));
        write_all(&mut input);
        assert!(input.few_are_due());
        assert_eq!(input.next_answer(true), None);
        let ack = |position| Some(Answer::Ack(InputAck { writer: ANN, position }));
        assert_eq!(input.next_answer(false), ack(1));
        assert!(!input.few_are_due());
        input.take(1, &Bytes::from(vec![b'y'; 2000]));
        write_all(&mut input);
        assert!(!input.few_are_due());
        assert_eq!(input.next_answer(true), ack(2001));
    }

    // N1
    #[test]
    fn input_that_is_sent_again_is_written_once() {
        let mut input = input_of(&ANN);
        input.take(0, &Bytes::from_static(b"hel"));
        input.reconnect();
        input.set_writer(&ANN, 0);
        assert_eq!(input.take(0, &Bytes::from_static(b"hello")), Taken::Yes);
        assert_eq!(write_all(&mut input), b"hello");
    }

    // N1
    #[test]
    fn a_gap_is_answered_once_with_the_expected_position() {
        let mut input = input_of(&ANN);
        input.take(0, &Bytes::from_static(b"ab"));
        assert_eq!(input.take(5, &Bytes::from_static(b"x")), Taken::Rewind);
        assert_eq!(input.take(6, &Bytes::from_static(b"y")), Taken::Rewind);
        let rewinds = answers(&mut input)
            .into_iter()
            .filter(|answer| matches!(answer, Answer::Rewind(to) if to.position == 2));
        assert_eq!(rewinds.count(), 1);
        assert_eq!(input.take(2, &Bytes::from_static(b"cdef")), Taken::Yes);
        assert_eq!(write_all(&mut input), b"abcdef");
    }

    // N1: what is acknowledged was written.
    #[test]
    fn input_is_acknowledged_when_it_is_written() {
        let mut input = input_of(&ANN);
        input.take(0, &Bytes::from_static(b"abc"));
        assert_eq!(answers(&mut input), []);
        input.written(2);
        let ack = |position| Answer::Ack(super::InputAck { writer: ANN, position });
        assert_eq!(answers(&mut input), [ack(2)]);
        input.written(1);
        assert_eq!(answers(&mut input), [ack(3)]);
    }

    #[test]
    fn writers_do_not_share_positions() {
        let mut input = input_of(&ANN);
        input.take(0, &Bytes::from_static(b"a"));
        input.set_writer(&BOB, 100);
        input.take(100, &Bytes::from_static(b"b"));
        input.set_writer(&ANN, 0);
        input.take(1, &Bytes::from_static(b"c"));
        assert_eq!(write_all(&mut input), b"abc");
    }

    // SES-33
    #[test]
    fn what_has_no_room_is_sent_again_later() {
        let mut input = input_of(&ANN);
        let piece = Bytes::from(vec![b'x'; 16 << 10]);
        let mut position = 0;
        while input.take(position, &piece) == Taken::Yes {
            position += piece.len() as u64;
        }
        assert_eq!(position, WAITING_BYTES as u64);
        assert_eq!(answers(&mut input), []);
        write_all(&mut input);
        let told = answers(&mut input);
        assert!(told.contains(&Answer::Ack(super::InputAck { writer: ANN, position })));
        assert!(
            told.contains(&Answer::Rewind(super::InputRewind { writer: ANN, position }))
                || input.take(position, &piece) == Taken::Yes
        );
    }

    #[test]
    fn the_end_comes_after_everything_before_it() {
        let mut input = input_of(&ANN);
        input.take(0, &Bytes::from_static(b"ab"));
        input.end(&ANN, 2);
        assert_eq!(write_all(&mut input), b"ab");
        assert_eq!(input.next(), Some(None));
    }

    #[test]
    fn input_of_nobody_is_not_taken() {
        assert_eq!(Input::default().take(0, &Bytes::from_static(b"x")), Taken::NoWriter);
    }
}
