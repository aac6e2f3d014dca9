//! A client's hold on a session, through lost networks and restarted gateways.
//!
//! It asks for a ticket, redeems it on a WebSocket, and does both again when the connection is lost, with
//! [`adit_link::viewer::Resume`] saying what the two sides have: every byte arrives once and in order. What is typed meanwhile waits here.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use adit_domain::{Code, Secret};
use adit_link::dial::Backoff;
use adit_link::viewer::{Event, Resume, Start, Terminal, ViewerError};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read};
use super::connect::raw::Size;
use super::failure::{Failure, Problem};
use super::held::{Held, since_boot};
use super::proof::ProofKey;

/// How long keys count on coming back, to a gateway that does not say: its usual grace.
const KEYS_LAST: Duration = Duration::from_secs(60);

/// What happens to a session.
#[derive(Debug)]
pub enum Happening {
    /// The gateway said something.
    Event(Event),
    /// The connection is lost; it is being made again.
    Away,
    /// The connection is back.
    Back,
    /// The session is over.
    Ended(Ending),
}

/// How a session ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The stable code.
    pub code: String,
    /// Why, in words.
    pub sentence: String,
    /// The exit status, where the shell or command ended by itself.
    pub exit_status: Option<i32>,
    /// The signal that ended it, without SIG.
    pub signal: Option<String>,
}

/// What a session is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To type.
    Control,
    /// To watch.
    View,
}

/// A client's hold on a session.
pub struct Attachment {
    client: Client,
    key: ProofKey,
    session: String,
    mode: Mode,
    size: Size,
    state: State,
    backoff: Backoff,
    lost_at: Option<Instant>,
    give_up_after: Option<Duration>,
    held: Held,
    keys: Keys,
    eof: Eof,
}

/// How old input may get.
struct Keys {
    /// A person types; what is read from a file or a pipe never gets too old.
    by_hand: bool,
    /// The session's grace.
    last: Duration,
    /// Since when input waits for the machine's word, and where that stood then.
    waiting: (Duration, u64),
    forgotten: bool,
}

impl Keys {
    /// Sends what was typed at a time, as much as there is room for, and says how much.
    fn send(&mut self, terminal: &mut Terminal, bytes: &[u8], at: Duration) -> usize {
        let acknowledged = terminal.input_acknowledged();
        if !terminal.input_waits() || acknowledged != self.waiting.1 {
            self.waiting = (at, acknowledged);
        }
        terminal.input(bytes)
    }

    /// Gives the moment before which keys are too old.
    fn oldest(&self) -> Option<Duration> {
        self.by_hand.then(|| since_boot().saturating_sub(self.last))
    }
}

enum State {
    Live(Box<Terminal>),
    Away(Coming),
}

type Coming = Pin<Box<dyn Future<Output = Result<Terminal, Missed>>>>;

/// Whether standard input ended, and whether the session was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Eof {
    NotYet,
    Untold,
    Told,
}

/// Why a connection could not be made again.
enum Missed {
    /// It may be possible later; the resume is given back.
    ForNow(Option<Resume>),
    /// It will not be.
    ForGood(Failure),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ticket {
    ticket: String,
    session_id: String,
    #[serde(default)]
    url: String,
}

impl Attachment {
    /// Asks for a session, by the body of a ticket request, and opens it.
    ///
    /// # Errors
    /// The gateway refused or did not answer.
    pub async fn open(
        client: Client,
        body: &Value,
        mode: Mode,
        size: Size,
    ) -> Result<Self, Failure> {
        let key = ProofKey::new()?;
        let ticket: Ticket = read(client.create(&["tickets"], &key.binds(body)).await?)?;
        let session = ticket.session_id.clone();
        let terminal = redeem(&client, first(&client, &key, ticket, size, None)?).await;
        let terminal = terminal.map_err(|error| unreachable(&client, &error))?;
        Ok(Self {
            client,
            key,
            session,
            mode,
            size,
            state: State::Live(Box::new(terminal)),
            backoff: Backoff::new(),
            lost_at: None,
            give_up_after: None,
            held: Held::default(),
            keys: Keys {
                by_hand: false,
                last: KEYS_LAST,
                waiting: (Duration::ZERO, 0),
                forgotten: false,
            },
            eof: Eof::NotYet,
        })
    }

    /// Stops trying to come back after this time.
    pub fn give_up_after(&mut self, limit: Duration) {
        self.give_up_after = Some(limit);
    }

    /// Drops what is older than the session's grace on coming back: a person types, at a screen that has changed since.
    pub fn typed_by_hand(&mut self) {
        self.keys.by_hand = true;
    }

    /// Gives how long keys count, where a person types.
    pub fn keys_last(&self) -> Option<Duration> {
        self.keys.by_hand.then_some(self.keys.last)
    }

    /// Tells whether keys were dropped since this was asked before.
    pub fn take_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.keys.forgotten)
    }

    /// Gives the session's id.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Waits for what happens next. Cancelling it loses nothing.
    ///
    /// # Errors
    /// The session cannot be reached any more.
    pub async fn next(&mut self) -> Result<Happening, Failure> {
        match &mut self.state {
            State::Live(terminal) => match terminal.next().await {
                Ok(Event::Ended(ended)) => Ok(Happening::Ended(Ending::of(ended))),
                Ok(event) => {
                    if let Event::Admitted(admitted) = &event
                        && admitted.grace_ms > 0
                    {
                        self.keys.last = Duration::from_millis(admitted.grace_ms);
                    }
                    self.push_held();
                    Ok(Happening::Event(event))
                }
                Err(error) => self.lost(&error).await,
            },
            State::Away(coming) => match coming.await {
                Ok(terminal) => {
                    self.back(terminal);
                    Ok(Happening::Back)
                }
                Err(Missed::ForNow(resume)) => {
                    self.try_again(resume)?;
                    Ok(Happening::Away)
                }
                Err(Missed::ForGood(failure)) => self.why_gone(failure).await,
            },
        }
    }

    /// Takes input, as much as there is room for, and says how much.
    pub fn input(&mut self, bytes: &[u8]) -> usize {
        match &mut self.state {
            State::Live(terminal) if self.held.is_empty() => {
                self.keys.send(terminal, bytes, since_boot())
            }
            _ => self.held.take(bytes, since_boot()),
        }
    }

    /// Tells whether there is room for input.
    pub fn has_room(&self) -> bool {
        match &self.state {
            State::Live(terminal) if self.held.is_empty() => terminal.input_room() > 0,
            _ => self.held.has_room(),
        }
    }

    /// Says that no input follows.
    pub fn end_input(&mut self) {
        self.eof = Eof::Untold;
        self.push_held();
    }

    /// Tells the window's new size, now or when the connection is back.
    pub fn resize(&mut self, size: Size) {
        self.size = size;
        if let State::Live(terminal) = &mut self.state {
            terminal.resize(size.cols, size.rows);
        }
    }

    /// Sends a signal by its name without SIG; says whether the connection was there to take it.
    pub fn signal(&mut self, name: &str) -> bool {
        self.live().map(|terminal| terminal.signal(name)).is_some()
    }

    /// Asks for the session's end; says whether the connection was there to take it.
    pub fn end(&mut self) -> bool {
        self.live().map(Terminal::end).is_some()
    }

    /// Leaves on purpose: the session goes on for as long as it may.
    ///
    /// # Errors
    /// The connection is away, so the gateway does not know.
    pub async fn detach(&mut self) -> Result<(), Failure> {
        let away = || Failure::Ended {
            sentence: "the gateway is away, so the session was not detached: it ends by itself \
                unless `adit sessions join` comes back within the grace"
                .to_owned(),
            code: "client.away".to_owned(),
        };
        let terminal = self.live().ok_or_else(away)?;
        terminal.detach();
        terminal.flush().await.map_err(|_| away())
    }

    /// Says that output before a position is written.
    pub fn shown(&mut self, position: u64) {
        if let Some(terminal) = self.live() {
            terminal.shown(position);
        }
    }

    fn live(&mut self) -> Option<&mut Terminal> {
        match &mut self.state {
            State::Live(terminal) => Some(terminal),
            State::Away(_) => None,
        }
    }

    fn push_held(&mut self) {
        let State::Live(terminal) = &mut self.state else { return };
        if let Some(oldest) = self.keys.oldest() {
            self.keys.forgotten |= self.held.forget(oldest);
        }
        self.held.give(|at, bytes| self.keys.send(terminal, bytes, at));
        if self.held.is_empty() && self.eof == Eof::Untold {
            terminal.eof();
            self.eof = Eof::Told;
        }
    }

    async fn lost(&mut self, error: &ViewerError) -> Result<Happening, Failure> {
        if !error.may_resume() {
            let failure = unreachable(&self.client, error);
            return self.why_gone(failure).await;
        }
        let resume = self.live().map(|terminal| terminal.resume());
        let now = Instant::now();
        self.backoff.lost(now);
        self.lost_at = Some(now);
        self.try_again(resume)?;
        Ok(Happening::Away)
    }

    fn try_again(&mut self, mut resume: Option<Resume>) -> Result<(), Failure> {
        self.forget_sent(resume.as_mut());
        let away = self.lost_at.map_or(Duration::ZERO, |lost| lost.elapsed());
        if self.give_up_after.is_some_and(|limit| away > limit) {
            return Err(Failure::Ended {
                sentence: format!(
                    "the gateway has been away for {} s, so the command was given up",
                    away.as_secs()
                ),
                code: "client.away".to_owned(),
            });
        }
        let wait = self.backoff.delay(rand::random());
        let (client, key, session) = (self.client.clone(), self.key.clone(), self.session.clone());
        let (mode, size) = (self.mode, self.size);
        self.state = State::Away(Box::pin(async move {
            tokio::time::sleep(wait).await;
            come_back(&client, &key, &session, mode, size, resume).await
        }));
        Ok(())
    }

    /// Drops what was sent and never acknowledged, once it is too old: it may not have arrived, and must not arrive now.
    fn forget_sent(&mut self, resume: Option<&mut Resume>) {
        let is_old = self.keys.oldest().is_some_and(|oldest| self.keys.waiting.0 < oldest);
        if is_old && resume.is_some_and(Resume::forget_input) {
            self.keys.forgotten = true;
            if self.eof == Eof::Told {
                self.eof = Eof::Untold;
            }
        }
    }

    fn back(&mut self, terminal: Terminal) {
        self.state = State::Live(Box::new(terminal));
        self.backoff.connected(Instant::now());
        self.lost_at = None;
        self.resize(self.size);
        self.push_held();
    }

    /// Asks why a session is gone; its own end is told rather than the failure.
    async fn why_gone(&self, failure: Failure) -> Result<Happening, Failure> {
        let Ok(session) = self.client.read::<Gone>(&["sessions", &self.session], &[]).await else {
            return Err(failure);
        };
        match session.reason {
            Some(reason) if session.state == "ended" => Ok(Happening::Ended(Ending {
                code: reason.code,
                sentence: reason.sentence,
                exit_status: session.exit_status,
                signal: session.signal.filter(|name| !name.is_empty()),
            })),
            _ => Err(failure),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gone {
    state: String,
    reason: Option<Reason>,
    exit_status: Option<i32>,
    signal: Option<String>,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    sentence: String,
}

impl Ending {
    fn of(ended: adit_wire::terminal::v1::Ended) -> Self {
        Self {
            code: ended.code,
            sentence: ended.sentence,
            exit_status: ended.exit_status,
            signal: Some(ended.signal).filter(|name| !name.is_empty()),
        }
    }

    /// Tells whether the user of this session ended it.
    pub fn is_own(&self) -> bool {
        self.code == Code::SessionClosed.as_str()
    }

    /// Gives the exit status of the shell or command, as a shell would report it.
    pub fn status(&self) -> Option<u8> {
        match (self.exit_status, &self.signal) {
            (Some(status), _) => Some(u8::try_from(status & 0xff).unwrap_or(u8::MAX)),
            (None, Some(name)) => Some(128 + signal_number(name)),
            (None, None) => None,
        }
    }

    /// Turns an end that is not the command's own into a failure.
    pub fn into_failure(self) -> Failure {
        Failure::Ended { sentence: self.sentence, code: self.code }
    }
}

/// Gives the number of a signal (POSIX.1-2024, as Linux numbers it), or that of SIGTERM for a name it does not know.
fn signal_number(name: &str) -> u8 {
    const NAMES: [(&str, u8); 17] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("TRAP", 5),
        ("ABRT", 6),
        ("BUS", 7),
        ("FPE", 8),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("XCPU", 24),
        ("XFSZ", 25),
    ];
    NAMES.iter().find(|(known, _)| *known == name).map_or(15, |(_, number)| *number)
}

/// A first frame and where it goes.
struct First {
    url: Url,
    start: Start,
}

fn first(
    client: &Client,
    key: &ProofKey,
    ticket: Ticket,
    size: Size,
    resume: Option<Resume>,
) -> Result<First, Failure> {
    let url = client.websocket(&ticket.url);
    let ticket = Secret::new(ticket.ticket);
    let proof = key.proves(ticket.expose(), url.as_str())?;
    Ok(First { url, start: Start { ticket, cols: size.cols, rows: size.rows, resume, proof } })
}

async fn redeem(client: &Client, first: First) -> Result<Terminal, ViewerError> {
    Terminal::connect(first.url.as_str(), client.trust(), first.start).await
}

async fn come_back(
    client: &Client,
    key: &ProofKey,
    session: &str,
    mode: Mode,
    size: Size,
    resume: Option<Resume>,
) -> Result<Terminal, Missed> {
    let wish = key.binds(&request(session, mode));
    let ticket = client.create(&["tickets"], &wish).await.and_then(read);
    let first = ticket.and_then(|ticket| first(client, key, ticket, size, resume.clone()));
    let first = match first {
        Ok(first) => first,
        Err(failure) if is_passing(&failure) => return Err(Missed::ForNow(resume)),
        Err(failure) => return Err(Missed::ForGood(failure)),
    };
    match redeem(client, first).await {
        Ok(terminal) => Ok(terminal),
        Err(error) if error.may_resume() => Err(Missed::ForNow(resume)),
        Err(error) => Err(Missed::ForGood(unreachable(client, &error))),
    }
}

/// Writes the ticket request for a session that exists.
pub fn request(session: &str, mode: Mode) -> Value {
    let mode = match mode {
        Mode::Control => "control",
        Mode::View => "view",
    };
    json!({ "session": session, "mode": mode })
}

/// Tells whether a refusal may be over in a moment: the gateway restarts, or the machine has not come back to it yet.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } => true,
        Failure::Refused(Problem { status, .. }) => matches!(status, 429 | 500..),
        _ => false,
    }
}

fn unreachable(client: &Client, error: &ViewerError) -> Failure {
    Failure::unreachable(client.name(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_with_its_own_status() {
        let exited = Ending { exit_status: Some(7), ..Ending::default() };
        assert_eq!(exited.status(), Some(7));
        let killed = Ending { signal: Some("KILL".to_owned()), ..Ending::default() };
        assert_eq!(killed.status(), Some(137));
        let taken = Ending { code: "access.revoked".to_owned(), ..Ending::default() };
        assert_eq!(taken.status(), None);
        assert_eq!(taken.into_failure().status(), 125);
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let refused = |status| Failure::Refused(Problem { status, ..Problem::default() });
        assert!(is_passing(&refused(503)) && is_passing(&refused(429)));
        assert!(!is_passing(&refused(403)) && !is_passing(&refused(404)));
    }
}
