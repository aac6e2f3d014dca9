//! A viewer of a session, and all that it was told.

use adit_link::viewer::{Event, Resume, Terminal, ViewerError};
use adit_wire::terminal::v1 as pb;

use tokio::time::timeout;

use crate::wait::{LIMIT, within};

/// A viewer of a session.
pub struct TestViewer {
    terminal: Terminal,
    /// What it was told when it was admitted.
    pub admitted: pb::Admitted,
    /// Every byte of output since the first.
    pub output: Vec<u8>,
    /// The position of the first byte of `output`.
    pub began: Option<u64>,
    /// The snapshots that it was given.
    pub snapshots: Vec<pb::Snapshot>,
    /// The codes of notices, and of input that was held.
    pub notices: Vec<String>,
    /// Every size that it was told.
    pub sizes: Vec<(u32, u32)>,
    /// Everybody who was last said to be here.
    pub participants: Vec<pb::Participant>,
    /// How it ended.
    pub ended: Option<pb::Ended>,
    waiting: Vec<u8>,
}

impl TestViewer {
    /// Waits until a ticket is redeemed.
    ///
    /// # Panics
    /// When it is not.
    pub async fn admitted(mut terminal: Terminal) -> Self {
        let event = within("admission", terminal.next()).await;
        let Ok(Event::Admitted(admitted)) = event else { panic!("not admitted: {event:?}") };
        Self {
            terminal,
            admitted,
            output: vec![],
            began: None,
            snapshots: vec![],
            notices: vec![],
            sizes: vec![],
            participants: vec![],
            ended: None,
            waiting: vec![],
        }
    }

    /// Gives the session's id.
    pub fn session(&self) -> String {
        self.admitted.session_id.clone()
    }

    /// Gives the output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// When the connection is over.
    ///
    /// # Panics
    /// When output is missing or comes twice.
    pub async fn next(&mut self) -> Result<Event, ViewerError> {
        let event = self.terminal.next().await?;
        match &event {
            Event::Output(data) => {
                let began = *self.began.get_or_insert(data.position);
                let expected = began + self.output.len() as u64;
                assert_eq!(data.position, expected, "output comes once and in order");
                self.output.extend_from_slice(&data.bytes);
                self.terminal.shown(data.position + data.bytes.len() as u64);
            }
            Event::Snapshot(snapshot) => {
                self.snapshots.push(snapshot.clone());
                self.output.clear();
                self.began = Some(snapshot.position);
            }
            Event::Resized(size) => self.sizes.push((size.cols, size.rows)),
            Event::Participants(list) => self.participants.clone_from(list),
            Event::Notice(notice) => self.notices.push(notice.code.clone()),
            Event::Held { code, .. } => self.notices.push(code.clone()),
            Event::Ended(ended) => self.ended = Some(ended.clone()),
            Event::InputRoom => self.push_waiting(),
            Event::Admitted(_) | Event::State(_) => {}
        }
        Ok(event)
    }

    /// Waits until it is as wanted.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let came = timeout(LIMIT, async {
            while !wanted(self) {
                self.next().await.map_err(|error| error.to_string())?;
            }
            Ok(())
        });
        let came = came.await.unwrap_or_else(|late| Err(late.to_string()));
        self.must(what, came);
    }

    /// Waits until the output holds a text, or the screen that a snapshot showed does.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn until_text(&mut self, text: &str) {
        let mut seen = 0;
        let came = timeout(LIMIT, async {
            loop {
                let from = usize::min(seen, self.output.len()).saturating_sub(text.len());
                let screen = self.snapshots.last().map_or(&[][..], |snapshot| &snapshot.screen);
                if holds(&self.output[from..], text) || holds(screen, text) {
                    return Ok(());
                }
                seen = self.output.len();
                self.next().await.map_err(|error| error.to_string())?;
            }
        });
        let came = came.await.unwrap_or_else(|late| Err(late.to_string()));
        self.must(text, came);
    }

    fn must(&self, what: &str, came: Result<(), String>) {
        let Err(why) = came else { return };
        let text = self.text();
        panic!("no {what:?}: {why}; ended: {:?}; the output is {text:?}", self.ended);
    }

    /// Waits until the connection is lost.
    ///
    /// # Panics
    /// When the session ends instead.
    pub async fn until_lost(&mut self) -> ViewerError {
        within("loss of the connection", async {
            loop {
                match self.next().await {
                    Ok(Event::Ended(ended)) => panic!("it ended: {ended:?}"),
                    Ok(_) => {}
                    Err(error) => return error,
                }
            }
        })
        .await
    }

    /// Waits until the connection is over, with an end or without.
    pub async fn until_lost_or_ended(&mut self) {
        within("end of the connection", async { while self.next().await.is_ok() {} }).await;
    }

    /// Waits for the session's end, and gives it with the code that the connection was closed with.
    ///
    /// # Panics
    /// When the connection is lost without one.
    pub async fn end(&mut self) -> (pb::Ended, Option<u16>) {
        let error = within("end", async {
            loop {
                if let Err(error) = self.next().await {
                    return error;
                }
            }
        })
        .await;
        let ended = self.ended.clone();
        let ended = ended.unwrap_or_else(|| panic!("lost without an end: {error}"));
        let code = if let ViewerError::Closed { code } = error { code } else { None };
        (ended, code)
    }

    /// Types, once the next event is waited for; what there is no room for yet follows by itself.
    pub fn write(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        self.push_waiting();
    }

    /// Waits until the machine has acknowledged all that was typed, from the first byte of this viewer's on.
    pub async fn until_written(&mut self, position: u64) {
        self.until("acknowledgement", |v| v.terminal.input_acknowledged() >= position).await;
    }

    /// Tells a size.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        self.terminal.resize(cols, rows);
    }

    /// Leaves on purpose.
    pub async fn detach(mut self) {
        self.terminal.detach();
        within("flush", self.terminal.flush()).await.unwrap();
    }

    /// Gives what the next connection needs.
    pub fn resume(&self) -> Resume {
        self.terminal.resume()
    }

    /// Goes on over another connection.
    ///
    /// # Panics
    /// When the ticket is not redeemed.
    pub async fn go_on(&mut self, terminal: Terminal) {
        self.terminal = terminal;
        let event = within("admission", self.terminal.next()).await;
        let Ok(Event::Admitted(admitted)) = event else { panic!("not admitted: {event:?}") };
        self.admitted = admitted;
        self.push_waiting();
    }

    fn push_waiting(&mut self) {
        let taken = self.terminal.input(&self.waiting);
        self.waiting.drain(..taken);
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
