//! `adit exec`: a command on a machine, with this command's standard streams, signals and exit status.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use adit_link::viewer::Event;
use adit_wire::frame::{Data, Kind};
use adit_wire::terminal::v1 as pb;
use clap::Args;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Ended;
use super::attachment::{Attachment, Ending, Happening, Mode};
use super::client::Client;
use super::connect::raw::Size;
use super::connect::{self, Escape, machine, parse_escape};
use super::failure::Failure;
use super::options::GatewayOptions;
use super::stream::{Input, READ, Sink};
use crate::output::escape;

/// How long a script waits for a gateway that is away: more than a restart, less than a night.
const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// As many interrupts within [`IMPATIENCE`] end a session whose command does not listen.
const INTERRUPTS: usize = 3;

/// See [`INTERRUPTS`].
const IMPATIENCE: Duration = Duration::from_secs(2);

/// A session without a command always has a terminal, so the login shell is named as one.
const LOGIN_SHELL: [&str; 3] = ["sh", "-c", "exec \"${SHELL:-/bin/sh}\" -l"];

/// Runs a command on a machine.
#[derive(Args, Debug)]
pub struct Exec {
    /// The machine's label
    target: String,
    /// Give the command a terminal, as `adit connect` does
    #[arg(long, short)]
    tty: bool,
    /// Set a variable of the command's environment; may be given again
    #[arg(long = "env", short, value_name = "NAME=VALUE", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    /// The escape character with -t, or "none"
    #[arg(long, default_value = "~", value_parser = parse_escape, value_name = "CHARACTER")]
    escape: Escape,
    /// The command and its arguments; no shell reads them
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    gateway: GatewayOptions,
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

impl Exec {
    /// Makes one that runs the login shell without a terminal; it reads its commands from standard input.
    pub fn shell(target: String, gateway: GatewayOptions) -> Self {
        let (env, command) = (Vec::new(), LOGIN_SHELL.map(str::to_owned).to_vec());
        Self { target, tty: false, env, escape: Escape(None), command, gateway }
    }

    /// Runs the command.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.gateway)?;
        let command = with_variables(self.env, self.command);
        if self.tty {
            let body = connect::request(&self.target, &command);
            return connect::connect(client, &body, Mode::Control, self.escape).await;
        }
        let body = json!({ "machine": machine(&self.target), "pty": false, "command": command });
        let mut attachment = Attachment::open(client, &body, Mode::Control, Size::USUAL).await?;
        attachment.give_up_after(GIVE_UP_AFTER);
        let mut streams = Streams::new(attachment)?;
        match streams.pass_on().await {
            Err(Failure::Pipe) => {
                streams.give_up().await;
                Err(Failure::Pipe)
            }
            ended => conclude(ended?),
        }
    }
}

/// Puts `env` before the command where it is to have variables: the gateway passes on none but the terminal's and the language's.
fn with_variables(variables: Vec<(String, String)>, command: Vec<String>) -> Vec<String> {
    if variables.is_empty() {
        return command;
    }
    let set = variables.into_iter().map(|(name, value)| format!("{name}={value}"));
    std::iter::once("env".to_owned()).chain(set).chain(command).collect()
}

/// Gives the command's own exit status, or says why there is none.
fn conclude(ending: Ending) -> Ended {
    match ending.status() {
        Some(status) => Ok(ExitCode::from(status)),
        None => Err(ending.into_failure()),
    }
}

/// This command's standard streams and the session that they belong to.
struct Streams {
    attachment: Attachment,
    input: Input,
    input_ended: bool,
    unsent: Vec<u8>,
    stdout: Sink,
    stderr: Sink,
    position: u64,
    interrupts: Vec<Instant>,
}

impl Streams {
    fn new(attachment: Attachment) -> Result<Self, Failure> {
        Ok(Self {
            attachment,
            input: Input::open().map_err(Failure::file("opening standard input"))?,
            input_ended: false,
            unsent: Vec::new(),
            stdout: Sink::stdout(),
            stderr: Sink::stderr(),
            position: 0,
            interrupts: Vec::new(),
        })
    }

    /// Passes everything on until the command ends and its output is written.
    async fn pass_on(&mut self) -> Result<Ending, Failure> {
        let mut buffer = vec![0; READ];
        let mut signals = Signals::listen()?;
        loop {
            let takes_input =
                !self.input_ended && self.unsent.is_empty() && self.attachment.has_room();
            tokio::select! {
                biased;
                happening = self.attachment.next() => if let Some(ending) = self.take(happening?)? {
                    self.stdout.flush().await?;
                    self.stderr.flush().await?;
                    return Ok(ending);
                },
                read = self.input.read(&mut buffer), if takes_input => {
                    let length = read.map_err(Failure::file("reading standard input"))?;
                    self.read(&buffer[..length]);
                }
                drained = self.stdout.drain() => { drained?; self.written(); }
                drained = self.stderr.drain() => { drained?; self.written(); }
                name = signals.next() => self.signal(name)?,
            }
            self.send();
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.input_ended = true;
            self.attachment.end_input();
        }
        self.unsent.extend_from_slice(bytes);
    }

    fn send(&mut self) {
        if !self.unsent.is_empty() {
            let taken = self.attachment.input(&self.unsent);
            self.unsent.drain(..taken);
        }
    }

    fn take(&mut self, happening: Happening) -> Result<Option<Ending>, Failure> {
        match happening {
            Happening::Event(Event::Output(data)) => self.write(data)?,
            Happening::Event(Event::Snapshot(snapshot)) => self.refuse_gap(&snapshot)?,
            Happening::Event(Event::Notice(notice)) => {
                eprintln!("adit: {} [{}]", escape(&notice.sentence), escape(&notice.code));
            }
            Happening::Event(_) | Happening::Away | Happening::Back => {}
            Happening::Ended(ending) => return Ok(Some(ending)),
        }
        Ok(None)
    }

    fn write(&mut self, data: Data) -> Result<(), Failure> {
        self.position = data.position + data.bytes.len() as u64;
        match data.kind {
            Kind::Stderr => self.stderr.take(data.position, data.bytes)?,
            _ => self.stdout.take(data.position, data.bytes)?,
        }
        self.written();
        Ok(())
    }

    /// A screen stands for output that is gone; a command's output has none, so nothing may be missing.
    fn refuse_gap(&mut self, snapshot: &pb::Snapshot) -> Result<(), Failure> {
        if snapshot.position == self.position {
            return Ok(());
        }
        Err(Failure::Ended {
            sentence: "output of the command was lost while the connection was away".to_owned(),
            code: "client.output_lost".to_owned(),
        })
    }

    fn written(&mut self) {
        let unwritten = [self.stdout.unwritten(), self.stderr.unwritten()];
        let position = unwritten.into_iter().flatten().min().unwrap_or(self.position);
        self.attachment.shown(position);
    }

    /// Passes a signal on; a user who insists gets out.
    fn signal(&mut self, name: &'static str) -> Result<(), Failure> {
        let was_sent = self.attachment.signal(name);
        if name == "INT" {
            let now = Instant::now();
            self.interrupts.retain(|at| now.duration_since(*at) < IMPATIENCE);
            self.interrupts.push(now);
        }
        if was_sent && self.interrupts.len() < INTERRUPTS {
            return Ok(());
        }
        self.attachment.end();
        Err(Failure::Ended {
            sentence: format!("SIG{name} ended this command; the one on the machine is ended too"),
            code: "client.interrupted".to_owned(),
        })
    }

    /// Ends the session, because nobody reads what it says.
    async fn give_up(&mut self) {
        if self.attachment.end() {
            let told = tokio::time::timeout(IMPATIENCE, self.ended()).await;
            // The gateway ends the session by itself when this client is gone.
            drop(told);
        }
    }

    async fn ended(&mut self) {
        while let Ok(happening) = self.attachment.next().await {
            if matches!(happening, Happening::Ended(_) | Happening::Away) {
                return;
            }
        }
    }
}

/// The signals that are passed on.
struct Signals([(&'static str, Signal); 6]);

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |name, kind| {
            let signal = signal(kind).map_err(Failure::file("listening for signals"))?;
            Ok::<_, Failure>((name, signal))
        };
        Ok(Self([
            listen("INT", SignalKind::interrupt())?,
            listen("TERM", SignalKind::terminate())?,
            listen("HUP", SignalKind::hangup())?,
            listen("QUIT", SignalKind::quit())?,
            listen("USR1", SignalKind::user_defined1())?,
            listen("USR2", SignalKind::user_defined2())?,
        ]))
    }

    async fn next(&mut self) -> &'static str {
        std::future::poll_fn(|cx| {
            for (name, signal) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_with_its_own_status_and_a_refusal_with_125() {
        let refused = Ending { code: "session.killed".to_owned(), ..Ending::default() };
        assert_eq!(conclude(refused).unwrap_err().status(), 125);
        assert!(conclude(Ending { exit_status: Some(0), ..Ending::default() }).is_ok());
    }

    #[test]
    fn variables_go_before_the_command() {
        let command = || vec!["make".to_owned()];
        assert_eq!(with_variables(vec![], command()), ["make"]);
        let set = vec![("A".to_owned(), "b c".to_owned())];
        assert_eq!(with_variables(set, command()), ["env", "A=b c", "make"]);
    }

    #[test]
    fn a_variable_has_a_name() {
        assert_eq!(parse_variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(parse_variable("=x").is_err() && parse_variable("x").is_err());
    }
}
