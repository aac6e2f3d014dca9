//! `adit play`: a recording, in this terminal, at its own pace or another.

mod cast;
mod filter;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use adit_wire::asciicast;
use adit_wire::recording::{Content, Reader, Step};
use clap::Args;
use tokio::time::Instant;

use super::Ended;
use super::client::Client;
use super::connect::modes::Modes;
use super::connect::raw::{Raw, Size};
use super::failure::Failure;
use super::options::GatewayOptions;
use super::recording::{progress, save};
use super::stream::Input;

use cast::{Cast, What};
use filter::Filter;

/// The largest recording that is played, in bytes of asciicast.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// How a file of Adit's own form begins.
const OWN_FORM: &[u8] = b"ADRC";

/// How far an arrow key moves.
const STEP: Duration = Duration::from_secs(10);

/// Plays a recording; space pauses, arrows move by ten seconds, + and - change the speed, q ends.
#[derive(Args, Debug)]
pub struct Play {
    /// A file (asciicast or Adit's own form), or a recording's id
    #[arg(value_name = "FILE_OR_ID")]
    recording: String,
    /// How many times as fast
    #[arg(long, short, default_value_t = 1.0, value_parser = parse_speed)]
    speed: f64,
    /// The longest pause, in seconds
    #[arg(long, short, value_parser = parse_moment, value_name = "SECONDS")]
    idle_limit: Option<Duration>,
    /// Where to begin, as 90, 1:30 or 1:02:03
    #[arg(long, value_parser = parse_moment, value_name = "TIME")]
    from: Option<Duration>,
    #[command(flatten)]
    gateway: GatewayOptions,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && (0.01..=1000.0).contains(&speed) => Ok(speed),
        _ => Err("a speed is a number from 0.01 to 1000".to_owned()),
    }
}

/// Reads seconds, minutes and seconds, or hours, minutes and seconds.
fn parse_moment(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write it as 90, 1:30 or 1:02:03");
    let mut seconds = 0.0;
    let parts: Vec<&str> = text.trim_end_matches('s').split(':').collect();
    for part in &parts {
        let value: f64 = part.parse().map_err(|_| wrong())?;
        seconds = seconds * 60.0 + value;
    }
    let length = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    if parts.len() > 3 { Err(wrong()) } else { Ok(length) }
}

impl Play {
    /// Plays a recording.
    pub async fn run(self) -> Ended {
        let path = Path::new(&self.recording);
        let bytes = match path.is_file() {
            true => read_file(path)?,
            false => fetch(&self.recording, &self.gateway).await?,
        };
        let mut cast = Cast::parse(&into_text(bytes)?)?;
        // What is looked for by its time in the recording stands there before pauses are cut.
        let from = self.from.unwrap_or_default();
        let begin = cast.events.partition_point(|event| event.at < from);
        if let Some(limit) = self.idle_limit {
            cast.limit_pauses(limit);
        }
        let mut player = Player::new(cast, self.speed);
        player.jump(begin)?;
        let raw = if player.is_watched { Some(Raw::begin()?) } else { None };
        let played = player.play().await;
        player.leave()?;
        drop(raw);
        played?;
        Ok(ExitCode::SUCCESS)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let what = format!("reading {}", path.display());
    let length = std::fs::metadata(path).map_err(Failure::file(&what))?.len();
    if length > MAX_BYTES {
        return Err(Failure::Answer(format!("it is longer than {MAX_BYTES} bytes")));
    }
    std::fs::read(path).map_err(Failure::file(what))
}

async fn fetch(recording: &str, gateway: &GatewayOptions) -> Result<Vec<u8>, Failure> {
    if uuid::Uuid::try_parse(recording).is_err() {
        return Err(Failure::File {
            what: format!("there is no file {recording}, and it is no recording's id"),
            cause: std::io::ErrorKind::NotFound.into(),
        });
    }
    let client = Client::open(gateway)?;
    let answer = client.stream(&["recordings", recording, "cast"], &[]).await?;
    let bar = progress(answer.content_length());
    let mut bytes = Limited(Vec::new());
    save(answer, &mut bytes, bar).await?;
    Ok(bytes.0)
}

/// Memory that takes no more than a recording may have.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > MAX_BYTES {
            let why = format!("the recording is longer than {MAX_BYTES} bytes; export it instead");
            return Err(std::io::Error::other(why));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Gives the asciicast of a file, which may be of Adit's own form.
fn into_text(bytes: Vec<u8>) -> Result<String, Failure> {
    if !bytes.starts_with(OWN_FORM) {
        return String::from_utf8(bytes).map_err(|_| {
            Failure::Answer("it is neither asciicast nor of Adit's own form".to_owned())
        });
    }
    let mut reader = Reader::new();
    reader.push(&bytes);
    reader.close();
    let mut text = String::new();
    let mut cast = None;
    while let Some(step) = reader.next() {
        match (step, &mut cast) {
            (Step::Chunk(_, Content::Header(header)), None) => {
                cast = Some(asciicast::Cast::begin(&header, &mut text));
            }
            (Step::Chunk(_, Content::Items(items)), Some(cast)) => {
                items.iter().for_each(|item| cast.write(item, &mut text));
            }
            (Step::Broken(_), Some(cast)) => cast.broken(&mut text),
            _ => {}
        }
    }
    let Some(cast) = cast else {
        return Err(Failure::Answer("the recording has no beginning".to_owned()));
    };
    cast.finish(&mut text);
    Ok(text)
}

/// A recording at a place.
struct Player {
    cast: Cast,
    next: usize,
    at: Duration,
    speed: f64,
    paused: bool,
    is_watched: bool,
    filter: Filter,
    modes: Modes,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Pause,
    Quit,
    Faster,
    Slower,
    Back,
    On,
}

impl Player {
    fn new(cast: Cast, speed: f64) -> Self {
        let is_watched = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let (filter, modes) = (Filter::default(), Modes::default());
        Self { cast, next: 0, at: Duration::ZERO, speed, paused: false, is_watched, filter, modes }
    }

    /// Shows everything to its end. Nobody waits where no terminal shows it.
    async fn play(&mut self) -> Result<(), Failure> {
        let mut keys = match self.is_watched {
            true => Some(Input::open().map_err(Failure::file("opening the terminal"))?),
            false => None,
        };
        let mut buffer = [0; 64];
        while let Some(event) = self.cast.events.get(self.next) {
            let Some(keys) = &mut keys else {
                self.show_next()?;
                continue;
            };
            let wait = event.at.saturating_sub(self.at).div_f64(self.speed);
            let began = Instant::now();
            tokio::select! {
                biased;
                read = keys.read(&mut buffer) => {
                    let length = read.map_err(Failure::file("reading the terminal"))?;
                    if !self.paused {
                        self.at += began.elapsed().mul_f64(self.speed);
                    }
                    if length == 0 || self.press(&buffer[..length])? {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(began + wait), if !self.paused => self.show_next()?,
            }
        }
        Ok(())
    }

    fn show_next(&mut self) -> Result<(), Failure> {
        let event = &self.cast.events[self.next];
        self.at = self.at.max(event.at);
        self.next += 1;
        if let What::Output(text) = &event.what {
            let mut shown = String::with_capacity(text.len());
            self.filter.pass(text, &mut shown);
            self.modes.wrote(shown.as_bytes());
            write(shown.as_bytes())?;
        }
        Ok(())
    }

    /// Does what keys ask for; says whether to end.
    fn press(&mut self, typed: &[u8]) -> Result<bool, Failure> {
        for key in keys(typed) {
            match key {
                Key::Quit => return Ok(true),
                Key::Pause => self.paused = !self.paused,
                Key::Faster => self.speed = (self.speed * 2.0).min(64.0),
                Key::Slower => self.speed = (self.speed / 2.0).max(0.125),
                Key::Back => self.seek(self.at.saturating_sub(STEP))?,
                Key::On => self.seek((self.at + STEP).min(self.cast.length()))?,
            }
        }
        Ok(false)
    }

    fn seek(&mut self, to: Duration) -> Result<(), Failure> {
        let index = self.cast.events.partition_point(|event| event.at < to);
        self.jump(index)?;
        self.at = to;
        Ok(())
    }

    /// Draws the screen as it stood before an event, without showing what led there.
    fn jump(&mut self, index: usize) -> Result<(), Failure> {
        if index == 0 && self.next == 0 {
            return Ok(());
        }
        let size = self.cast.size;
        let mut screen = new_screen(size)?;
        self.filter = Filter::default();
        let mut shown = String::new();
        for event in &self.cast.events[..index] {
            match &event.what {
                What::Output(text) => {
                    shown.clear();
                    self.filter.pass(text, &mut shown);
                    screen.feed(shown.as_str());
                }
                What::Resize(size) => screen.resize(size.cols.into(), size.rows.into()),
            }
        }
        self.next = index;
        self.at = self.cast.events.get(index).map_or(self.cast.length(), |event| event.at);
        let mut out = self.modes.undo();
        out.extend(b"\x1b[!p\x1b[H\x1b[2J");
        out.extend(screen.dump().bytes());
        self.modes.wrote(&out);
        write(&out)
    }

    fn leave(&mut self) -> Result<(), Failure> {
        let mut last = self.modes.undo();
        if self.is_watched {
            last.extend(b"\r\n");
            write(&last)?;
        }
        Ok(())
    }
}

fn new_screen(size: Size) -> Result<avt::Terminal, Failure> {
    avt::Terminal::new(size.cols.into(), size.rows.into())
        .map_err(|error| Failure::Answer(error.to_string()))
}

fn keys(typed: &[u8]) -> Vec<Key> {
    match typed {
        b"\x1b[C" | b"\x1bOC" => return vec![Key::On],
        b"\x1b[D" | b"\x1bOD" => return vec![Key::Back],
        _ => {}
    }
    let key = |byte: &u8| match byte {
        b' ' => Some(Key::Pause),
        b'q' | 3 | 4 => Some(Key::Quit),
        b'+' | b'>' => Some(Key::Faster),
        b'-' | b'<' => Some(Key::Slower),
        _ => None,
    };
    if typed.first() == Some(&0x1b) { Vec::new() } else { typed.iter().filter_map(key).collect() }
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_with_its_minutes_and_hours() {
        // TERM-41
        assert_eq!(parse_moment("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_moment("1:30.5"), Ok(Duration::from_millis(90_500)));
        assert_eq!(parse_moment("1:02:03"), Ok(Duration::from_secs(3723)));
        for bad in ["", "x", "1:2:3:4", "-1", "inf"] {
            assert!(parse_moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_read_one_by_one_and_arrows_as_one() {
        assert_eq!(keys(b" q"), [Key::Pause, Key::Quit]);
        assert_eq!(keys(b"\x1b[C"), [Key::On]);
        assert_eq!(keys(b"\x1b[A"), []);
    }

    #[test]
    fn a_file_that_is_no_recording_is_refused() {
        assert!(into_text(vec![0xff, 0xfe]).is_err());
        assert!(into_text(b"ADRC".to_vec()).is_err());
    }
}
