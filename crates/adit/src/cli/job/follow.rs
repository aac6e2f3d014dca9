//! What a job writes, on this command's own standard output and error.
//!
//! Into a file or a pipe the bytes go as they are. A terminal gets colours and nothing else that it would obey.

use std::io::{self, IsTerminal as _, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Listed;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::output::Output;

/// The longest event of a follower, in bytes: one frame of output in base64 with room.
const MAX_EVENT: usize = 4 * 1024 * 1024;

/// Follows a job until it is over and gives it.
///
/// # Errors
/// The gateway refused or did not answer, or the connection broke.
pub async fn follow(client: &Client, output: Output, job: &str) -> Result<Listed, Failure> {
    let mut streams = Streams::default();
    let mut from = 0;
    let mut broken = 0;
    loop {
        let offset = from.to_string();
        let mut response = client.events(&[job, "output"], &[("offset", &offset)]).await?;
        let mut events = Events::default();
        while let Ok(Some(bytes)) = response.chunk().await {
            for event in events.push(&bytes)? {
                broken = 0;
                match event {
                    Event::Output(piece) => from = streams.write(&piece, output)?,
                    Event::End(job) => return Ok(*job),
                }
            }
        }
        // The gateway went, or restarts: what was not seen comes again. One that does not come back is heard of above.
        broken += 1;
        if broken > MOST_BROKEN {
            return Err(Failure::Answer(
                "the stream of the job's output ends again and again".into(),
            ));
        }
    }
}

/// How often a stream may end before anything comes.
const MOST_BROKEN: u32 = 5;

/// Prints what a job wrote so far.
///
/// # Errors
/// The gateway refused or did not answer.
pub async fn print(client: &Client, job: &str) -> Result<(), Failure> {
    copy(client, &[job, "output"]).await
}

/// Writes an answer as it is; to a terminal, without what a terminal obeys.
pub async fn copy(client: &Client, path: &[&str]) -> Result<(), Failure> {
    let mut response = client.stream(path, &[]).await?;
    let mut filter = Filter::default();
    let mut out = io::stdout();
    let is_terminal = out.is_terminal();
    while let Some(bytes) =
        response.chunk().await.map_err(|cause| Failure::Answer(cause.to_string()))?
    {
        if is_terminal {
            out.write_all(&filter.pass(&bytes))?;
        } else {
            out.write_all(&bytes)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Gives the number of a signal by its name without SIG (POSIX.1 and Linux).
pub fn signal_number(name: &str) -> Option<u8> {
    let known = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("TRAP", 5),
        ("ABRT", 6),
        ("BUS", 7),
        ("FPE", 8),
        ("KILL", 9),
        ("SEGV", 11),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("XCPU", 24),
        ("XFSZ", 25),
        ("SYS", 31),
    ];
    known.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

#[derive(Debug, Deserialize)]
struct Piece {
    stream: String,
    position: u64,
    base64: String,
}

enum Event {
    Output(Piece),
    End(Box<Listed>),
}

/// Cuts a stream of Server-Sent Events into events.
#[derive(Default)]
struct Events {
    buffer: Vec<u8>,
}

impl Events {
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Failure> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            events.extend(read_event(&String::from_utf8_lossy(&block))?);
        }
        if self.buffer.len() > MAX_EVENT {
            return Err(Failure::Answer("an event is too long".into()));
        }
        Ok(events)
    }
}

/// Reads one event; none of another kind, and none of a remark that the stream lives.
fn read_event(block: &str) -> Result<Option<Event>, Failure> {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect::<Vec<_>>().join("\n")
    };
    let bad = |cause: serde_json::Error| Failure::Answer(cause.to_string());
    let data = field("data");
    Ok(match field("event").as_str() {
        "output" => Some(Event::Output(serde_json::from_str(&data).map_err(bad)?)),
        "end" => Some(Event::End(Box::new(serde_json::from_str(&data).map_err(bad)?))),
        _ => None,
    })
}

/// This command's own streams, each with what it lets pass.
#[derive(Default)]
struct Streams {
    out: Filter,
    err: Filter,
}

impl Streams {
    /// Writes a piece and gives the position after it. As JSON nothing is written: the job itself is the answer.
    fn write(&mut self, piece: &Piece, output: Output) -> Result<u64, Failure> {
        let bytes = STANDARD.decode(&piece.base64);
        let bytes = bytes.map_err(|cause| Failure::Answer(cause.to_string()))?;
        let end = piece.position + bytes.len() as u64;
        if output.is_json() {
            return Ok(end);
        }
        if piece.stream == "stderr" {
            put(&mut io::stderr().lock(), &mut self.err, &bytes, io::stderr().is_terminal())?;
        } else {
            put(&mut io::stdout().lock(), &mut self.out, &bytes, io::stdout().is_terminal())?;
        }
        Ok(end)
    }
}

fn put(
    to: &mut impl Write,
    filter: &mut Filter,
    bytes: &[u8],
    is_terminal: bool,
) -> io::Result<()> {
    if is_terminal {
        to.write_all(&filter.pass(bytes))?;
    } else {
        to.write_all(bytes)?;
    }
    to.flush()
}

/// Lets text, line ends, tabs and colours (SGR, ECMA-48 §8.3.117) pass.
#[derive(Debug, Default)]
struct Filter {
    /// An escape sequence that is not over.
    pending: Vec<u8>,
    /// The last byte was the first of a sign of U+0080 to U+00BF, half of which terminals obey.
    latin: bool,
}

/// The longest sequence of colours that is waited for, in bytes.
const MAX_SEQUENCE: usize = 64;

impl Filter {
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.step(*byte, &mut out);
        }
        out
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.latin) && (0x80..=0xbf).contains(&byte) {
            // U+0080 to U+009F are controls as the escape sequences are (ECMA-48 §5.3).
            if byte >= 0xa0 {
                out.extend([0xc2, byte]);
            }
            return;
        }
        match (self.pending.len(), byte) {
            (0, 0xc2) => self.latin = true,
            (0, 0x1b) => self.pending.push(byte),
            (0, b'\n' | b'\t' | b'\r' | 0x20..=0x7e | 0x80..) => out.push(byte),
            (0, _) => {}
            (1, b'[') => self.pending.push(byte),
            (2.., b'0'..=b'9' | b';' | b':') if self.pending.len() < MAX_SEQUENCE => {
                self.pending.push(byte);
            }
            (2.., b'm') => {
                out.append(&mut self.pending);
                out.push(byte);
            }
            // Any other sequence: its letters are shown, and nobody obeys them.
            (_, _) => {
                let letters = std::mem::take(&mut self.pending);
                out.extend(letters.into_iter().filter(|byte| *byte != 0x1b));
                self.step(byte, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_colours_and_nothing_else_that_it_obeys() {
        // JOB-31
        let mut filter = Filter::default();
        let hostile = b"\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2J\x08\x00plain\n";
        let shown = filter.pass(hostile);
        assert_eq!(shown, b"\x1b[31mred\x1b[0m]0;title[2Jplain\n");
    }

    #[test]
    fn controls_of_two_bytes_do_not_pass_and_letters_do() {
        // JOB-31
        let hostile = "a\u{9b}2Jb\u{9d}0;t\u{9c}c \u{a9} \u{e9} \u{4e2d}";
        let shown = Filter::default().pass(hostile.as_bytes());
        assert_eq!(String::from_utf8(shown).unwrap(), "a2Jb0;tc \u{a9} \u{e9} \u{4e2d}");
    }

    #[test]
    fn a_sequence_that_is_cut_anywhere_is_read_alike() {
        let text = b"a\x1b[1;31mb\x1b]2;x\x07c\xc2\x9bd\xc2\xa9";
        let whole = Filter::default().pass(text);
        for cut in 0..text.len() {
            let mut filter = Filter::default();
            let mut parts = filter.pass(&text[..cut]);
            parts.extend(filter.pass(&text[cut..]));
            assert_eq!(parts, whole, "{cut}");
        }
    }

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let stream = b": alive\n\nevent: output\nid: 3\ndata: {\"stream\":\"stdout\",\"position\":0,\"base64\":\"YWJj\"}\n\n";
        for cut in 0..stream.len() {
            let mut events = Events::default();
            let mut found = events.push(&stream[..cut]).unwrap();
            found.extend(events.push(&stream[cut..]).unwrap());
            assert!(
                matches!(&found[..], [Event::Output(piece)] if piece.base64 == "YWJj"),
                "{cut}"
            );
        }
    }
}
