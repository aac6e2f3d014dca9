//! `adit connect`: a shell on a machine, in this terminal.
//!
//! The way of a key: the terminal → `stream.rs` (read without blocking) → `connect/escape.rs` (is it for us?) → `attachment.rs` (which
//! connection) → `adit_link::viewer` (position, one write on the WebSocket). The way back: `adit_link::viewer` (each byte
//! once) → `connect/modes.rs` (what to switch off at the end) → `stream.rs` (write without blocking) → the terminal. One thread, no
//! queue but what the reader of standard output leaves waiting.

pub mod escape;
pub mod modes;
pub mod raw;
mod status;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use adit_link::viewer::Event;
use adit_wire::terminal::v1 as pb;
use bytes::Bytes;
use clap::Args;
use rustix::io::ioctl_fionread;
use rustix::termios::{QueueSelector, tcflush};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::Ended;
use super::attachment::{Attachment, Ending, Happening, Mode};
use super::client::Client;
use super::exec::Exec;
use super::failure::Failure;
use super::held::since_boot;
use super::options::GatewayOptions;
use super::stream::{Input, READ, Sink};
use crate::output::escape;

use escape::{Escapes, HELP, Wish};
use modes::Modes;
use raw::{Raw, Size};
use status::Status;

/// What a shell is told of the terminal that shows it, and of its user's language.
const PASSED_ON: [&str; 4] = ["TERM", "COLORTERM", "LANG", "LC_ALL"];

/// Opens a shell on a machine.
#[derive(Args, Debug)]
pub struct Connect {
    /// The machine's label
    target: String,
    /// The escape character, or "none"
    #[arg(long, short, default_value = "~", value_parser = parse_escape, value_name = "CHARACTER")]
    escape: Escape,
    #[command(flatten)]
    gateway: GatewayOptions,
}

/// The character that begins an escape, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escape(pub Option<u8>);

/// Reads an escape character.
///
/// # Errors
/// It is more than one character, or one that is typed as more than one byte.
pub fn parse_escape(text: &str) -> Result<Escape, String> {
    match text.as_bytes() {
        b"none" => Ok(Escape(None)),
        [sign @ 0x21..=0x7e] => Ok(Escape(Some(*sign))),
        _ => Err("one character such as ~, or none".to_owned()),
    }
}

impl Connect {
    /// Opens a shell; without a terminal it is one that reads its commands from standard input.
    pub async fn run(self) -> Ended {
        if !std::io::stdin().is_terminal() {
            return Exec::shell(self.target, self.gateway).run().await;
        }
        let client = Client::open(&self.gateway)?;
        let body = request(&self.target, &[]);
        connect(client, &body, Mode::Control, self.escape).await
    }
}

/// Writes the ticket request for a new session with a terminal.
pub fn request(target: &str, command: &[String]) -> Value {
    let known = PASSED_ON.iter().filter_map(|name| {
        Some((*name, std::env::var(name).ok().filter(|value| !value.is_empty())?))
    });
    let env: BTreeMap<&str, String> = known.collect();
    let mut body = json!({ "machine": machine(target), "pty": true, "env": env });
    if !command.is_empty() {
        body["command"] = Value::from(command.to_vec());
    }
    body
}

/// Gives the label of a target that is written as a principal, `machine:web-1`, or plainly.
pub fn machine(target: &str) -> &str {
    target.strip_prefix("machine:").unwrap_or(target)
}

/// Opens a session with a terminal and stays with it until it ends or its user leaves.
///
/// # Errors
/// The gateway refused, or the session ended for a reason that is not the shell's own.
pub async fn connect(client: Client, body: &Value, mode: Mode, escape: Escape) -> Ended {
    let mut attachment = Attachment::open(client, body, mode, Size::now()).await?;
    if std::io::stdin().is_terminal() {
        attachment.typed_by_hand();
    }
    let mut console = Console::new(attachment, mode, escape)?;
    // Not before, so that Ctrl-C still ends a client that gets no answer.
    let raw = if std::io::stdin().is_terminal() { Some(Raw::begin()?) } else { None };
    let left = console.stay().await;
    console.leave().await;
    drop(raw);
    left?.report(&console)
}

/// How often the client looks whether it stood still, as it does while its machine sleeps.
const TICK: Duration = Duration::from_secs(1);

/// What the client woke up for.
enum Step {
    Happened(Happening),
    Read(usize),
    Drained,
    Resized,
    Signalled(u8),
    Ticked,
}

/// How the stay ended.
enum Left {
    Ended(Ending),
    Detached,
    Signalled(u8),
}

impl Left {
    fn report(self, console: &Console) -> Ended {
        let machine = escape(&console.machine).into_owned();
        match self {
            Self::Ended(ending) => {
                eprintln!("adit: {machine}: {} [{}]", escape(&ending.sentence), ending.code);
                match ending.status() {
                    Some(status) => Ok(ExitCode::from(status)),
                    None if ending.is_own() => Ok(ExitCode::SUCCESS),
                    None => Ok(ExitCode::from(super::failure::FAILED)),
                }
            }
            Self::Detached => {
                let session = console.attachment.session();
                eprintln!(
                    "adit: detached from {machine}; `adit sessions join {session}` comes back"
                );
                Ok(ExitCode::SUCCESS)
            }
            Self::Signalled(number) => Ok(ExitCode::from(128 + number)),
        }
    }
}

/// This terminal and the session that it shows.
struct Console {
    attachment: Attachment,
    machine: String,
    mode: Mode,
    input: Input,
    input_ended: bool,
    escapes: Escapes,
    typed: Vec<u8>,
    out: Sink,
    is_terminal: bool,
    position: u64,
    modes: Modes,
    status: Status,
    ending: bool,
    /// Keys were dropped, and nobody was told yet.
    dropped: bool,
}

impl Console {
    fn new(attachment: Attachment, mode: Mode, escape: Escape) -> Result<Self, Failure> {
        Ok(Self {
            attachment,
            machine: String::new(),
            mode,
            input: Input::open().map_err(Failure::file("opening standard input"))?,
            input_ended: false,
            escapes: Escapes::new(escape.0),
            typed: Vec::new(),
            out: Sink::stdout(),
            is_terminal: std::io::stdout().is_terminal(),
            position: 0,
            modes: Modes::default(),
            status: Status::default(),
            ending: false,
            dropped: false,
        })
    }

    async fn stay(&mut self) -> Result<Left, Failure> {
        let mut buffer = vec![0; READ];
        let mut resized = listen(SignalKind::window_change())?;
        let mut hung_up = listen(SignalKind::hangup())?;
        let mut terminated = listen(SignalKind::terminate())?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut awake = since_boot();
        loop {
            let takes_input = !self.input_ended && self.typed.len() < READ;
            let step = tokio::select! {
                biased;
                happening = self.attachment.next() => Step::Happened(happening?),
                read = self.input.read(&mut buffer), if takes_input => {
                    Step::Read(read.map_err(Failure::file("reading the terminal"))?)
                }
                drained = self.out.drain() => { drained?; Step::Drained }
                _ = resized.recv() => Step::Resized,
                _ = hung_up.recv() => Step::Signalled(1),
                _ = terminated.recv() => Step::Signalled(15),
                _ = tick.tick() => Step::Ticked,
            };
            let before = std::mem::replace(&mut awake, since_boot());
            let slept = self.overslept(awake.saturating_sub(before));
            let left = match step {
                Step::Happened(happening) => self.take(happening)?,
                Step::Read(length) if slept && length > 0 => {
                    self.dropped = true;
                    None
                }
                Step::Read(length) => self.typed(&buffer[..length]).await?,
                Step::Drained => {
                    self.written();
                    None
                }
                Step::Resized => {
                    self.attachment.resize(Size::now());
                    None
                }
                Step::Signalled(number) => Some(Left::Signalled(number)),
                Step::Ticked => None,
            };
            if let Some(left) = left {
                return Ok(left);
            }
            self.type_on();
        }
    }

    /// Drops what was typed while this process stood still for longer than keys count; says whether it did.
    fn overslept(&mut self, gap: Duration) -> bool {
        let slept = self.attachment.keys_last().is_some_and(|last| gap > last + TICK);
        if slept {
            self.dropped |= !self.typed.is_empty() || ioctl_fionread(std::io::stdin()) != Ok(0);
            self.typed.clear();
            // A terminal that is gone has no keys either.
            let _ = tcflush(std::io::stdin(), QueueSelector::IFlush);
        }
        slept
    }

    /// Takes what was typed, up to the wish that ends the stay.
    async fn typed(&mut self, mut bytes: &[u8]) -> Result<Option<Left>, Failure> {
        if bytes.is_empty() {
            self.input_ended = true;
            self.attachment.end_input();
        }
        while !bytes.is_empty() {
            let (taken, wish) = self.escapes.read(bytes, &mut self.typed);
            bytes = &bytes[taken..];
            match wish {
                Some(Wish::Help) => self.show(HELP.as_bytes())?,
                Some(Wish::Detach) => {
                    self.attachment.detach().await?;
                    return Ok(Some(Left::Detached));
                }
                Some(Wish::End) => self.end()?,
                None => {}
            }
        }
        Ok(None)
    }

    /// Ends the session, or only the watching of it.
    fn end(&mut self) -> Result<(), Failure> {
        if self.mode == Mode::View || self.ending {
            return Err(Failure::Ended {
                sentence: "you left; the session itself goes on".to_owned(),
                code: "client.left".to_owned(),
            });
        }
        self.ending = self.attachment.end();
        if self.ending {
            return Ok(());
        }
        Err(Failure::Ended {
            sentence: "you left while the gateway was away; the session ends by itself unless \
                `adit sessions join` comes back within the grace"
                .to_owned(),
            code: "client.away".to_owned(),
        })
    }

    fn type_on(&mut self) {
        if self.mode == Mode::View {
            self.typed.clear();
        } else if !self.typed.is_empty() && self.attachment.has_room() {
            let taken = self.attachment.input(&self.typed);
            self.typed.drain(..taken);
        }
    }

    fn take(&mut self, happening: Happening) -> Result<Option<Left>, Failure> {
        match happening {
            Happening::Event(event) => self.event(event)?,
            Happening::Away => self.say("reconnecting to the gateway")?,
            Happening::Back if self.attachment.take_forgotten() => {
                self.dropped = true;
                self.typed.clear();
            }
            Happening::Back => {}
            Happening::Ended(ending) => return Ok(Some(Left::Ended(ending))),
        }
        Ok(None)
    }

    fn event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Output(data) => {
                self.position = data.position + data.bytes.len() as u64;
                self.draw(data.position, data.bytes)?;
            }
            Event::Snapshot(snapshot) => self.redraw(snapshot)?,
            Event::Admitted(admitted) => {
                self.machine = admitted.machine_label;
                self.unsay()?;
            }
            Event::State(state) if state.kind() == pb::state::Kind::Reconnecting => {
                self.say("reconnecting to the machine")?;
            }
            Event::State(_) => {
                self.unsay()?;
                if std::mem::take(&mut self.dropped) {
                    self.say("keys from before the break were too old and were dropped")?;
                }
            }
            Event::Notice(notice) => self.say(&notice.sentence)?,
            Event::Resized(_) | Event::Participants(_) | Event::Held { .. } | Event::InputRoom => {}
            Event::Ended(_) => unreachable!("the attachment tells an end as such"),
        }
        Ok(())
    }

    fn draw(&mut self, position: u64, bytes: Bytes) -> Result<(), Failure> {
        self.modes.wrote(&bytes);
        self.out.take(position, bytes)?;
        self.written();
        Ok(())
    }

    /// Tells the gateway up to where the terminal took the output.
    fn written(&mut self) {
        self.attachment.shown(self.out.unwritten().unwrap_or(self.position));
    }

    /// Draws the screen anew: whatever was switched on is switched off, and the window is cleared without its history.
    fn redraw(&mut self, snapshot: pb::Snapshot) -> Result<(), Failure> {
        let mut screen = self.modes.undo();
        screen.extend(b"\x1b[!p\x1b[H\x1b[2J");
        screen.extend(&snapshot.screen);
        self.position = snapshot.position;
        self.draw(snapshot.position, screen.into())
    }

    /// Writes something of the client's own.
    fn show(&mut self, text: &[u8]) -> Result<(), Failure> {
        Ok(self.out.take(self.position, Bytes::copy_from_slice(text))?)
    }

    fn say(&mut self, sentence: &str) -> Result<(), Failure> {
        let may_be_said = self.is_terminal && self.modes.is_settled();
        let Some(drawn) = self.status.say(&self.machine, sentence, may_be_said) else {
            return Ok(());
        };
        self.show(&drawn)
    }

    fn unsay(&mut self) -> Result<(), Failure> {
        match self.status.unsay(self.modes.is_settled()) {
            Some(drawn) => self.show(&drawn),
            None => Ok(()),
        }
    }

    /// Writes what is left, and leaves the terminal as it was found.
    async fn leave(&mut self) {
        let mut last = Vec::new();
        if self.is_terminal {
            last.extend(self.status.unsay(true).unwrap_or_default());
            last.extend(self.modes.undo());
        }
        let written = match self.show(&last) {
            Ok(()) => self.out.flush().await,
            Err(_) => Ok(()),
        };
        // A terminal or a reader that is gone needs nothing more.
        drop(written);
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(Failure::file("listening for signals"))
}
