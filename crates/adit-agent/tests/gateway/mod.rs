//! The gateway's end of a session, for tests: a link in memory that can be lost, damaged and left unread.

use adit_agent::ring::Kind;
use adit_agent::session::{
    Command, Ended, FromShellFrame, LinkLost, Opening, Program, Received, Rights, Session,
    SessionLink, ToShellFrame,
};
use adit_agent::shell::{self, Size, Spawner};
use adit_domain::{Capabilities, Capability, Code, SessionId, Timestamp};
use adit_wire::agent::v1::from_shell::Message as From;
use adit_wire::agent::v1::to_shell::Message as To;
use adit_wire::agent::v1::{
    Exited, FromShell, OutputAck, ShellHello, ShellWelcome, Snapshot, ToShell, Warrant,
};
use adit_wire::warrant::Checked;
use bytes::Bytes;
use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// What the session under test is.
pub struct Plan {
    command: shell::Command,
    capabilities: Capabilities,
    valid_for_ms: u64,
    ending_in_ms: u64,
}

const LIMIT: Duration = Duration::from_secs(100);
const GRACE_MS: u64 = 10_000;
/// Frames that a link holds before it has no room.
const LINK_FRAMES: usize = 16;

impl Plan {
    pub fn terminal(script: &str) -> Self {
        Self::of(script, Some(Size::clamped(80, 24)))
    }

    pub fn pipes(script: &str) -> Self {
        Self::of(script, None)
    }

    fn of(script: &str, terminal: Option<Size>) -> Self {
        let arguments = ["bash", "-c", script].map(str::to_owned).to_vec();
        let command = shell::Command { arguments, terminal, ..shell::Command::default() };
        Self {
            command,
            capabilities: Capabilities::all(),
            valid_for_ms: 3_600_000,
            ending_in_ms: 3_600_000,
        }
    }

    pub fn allow(self, capabilities: &[Capability]) -> Self {
        Self { capabilities: Capabilities::of(capabilities), ..self }
    }

    pub fn valid_for_ms(self, valid_for_ms: u64) -> Self {
        Self { valid_for_ms, ..self }
    }

    pub fn ending_in_ms(self, ending_in_ms: u64) -> Self {
        Self { ending_in_ms, ..self }
    }

    fn rights(&self) -> Rights {
        let warrant = Warrant {
            expires_at_ms: 1000 + self.valid_for_ms,
            ends_at_ms: 1000 + self.ending_in_ms,
            grace_ms: GRACE_MS,
            ..Warrant::default()
        };
        let session = SessionId::from_bytes(&[7; 16]).expect("sixteen bytes");
        Rights::of(&Checked { session, capabilities: self.capabilities, warrant }, Timestamp(1000))
    }
}

#[derive(Debug)]
enum Frame {
    Output { position: u64, bytes: Vec<u8> },
    Backlog { viewer: u32, bytes: Vec<u8> },
    Message(From),
}

type Waiting = Pin<Box<dyn Future<Output = Option<mpsc::OwnedPermit<Frame>>> + Send>>;

struct MemoryLink {
    to_shell: mpsc::Receiver<Received>,
    from_shell: mpsc::Sender<Frame>,
    permit: Option<mpsc::OwnedPermit<Frame>>,
    waiting: Option<Waiting>,
}

impl SessionLink for MemoryLink {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        self.to_shell.poll_recv(cx).map(|received| received.unwrap_or(Received::Lost))
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkLost>> {
        if self.permit.is_none() {
            let from_shell = self.from_shell.clone();
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::pin(async { from_shell.reserve_owned().await.ok() }));
            self.permit = std::task::ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
        Poll::Ready(self.permit.as_ref().map(|_| ()).ok_or(LinkLost))
    }

    fn send(&mut self, frame: FromShellFrame<'_>) -> Result<(), LinkLost> {
        let permit = self.permit.take().ok_or(LinkLost)?;
        permit.send(match frame {
            FromShellFrame::Output { position, bytes, kind: Kind::Output | Kind::Error } => {
                Frame::Output { position, bytes: bytes.to_vec() }
            }
            FromShellFrame::Backlog { viewer, bytes, .. } => {
                Frame::Backlog { viewer, bytes: bytes.to_vec() }
            }
            FromShellFrame::Message(FromShell { message }) => {
                Frame::Message(message.clone().expect("a message"))
            }
        });
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LinkLost>> {
        Poll::Ready(Ok(()))
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// A session, and the test that serves it as its gateway.
pub struct Rig {
    _commands: mpsc::Sender<Command>,
    links: mpsc::Sender<Box<dyn SessionLink>>,
    to_shell: Option<mpsc::Sender<Received>>,
    from_shell: Option<mpsc::Receiver<Frame>>,
    task: JoinHandle<Ended>,
    output: Vec<u8>,
    backlogs: HashMap<u32, Vec<u8>>,
    acked: u64,
    _spawner: Spawner,
}

impl Rig {
    pub async fn start(plan: Plan) -> Self {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_adit-supervise"));
        let spawner = Spawner::with_program(program).expect("the spawner starts");
        let shell = spawner.spawn(&plan.command).await.expect("the shell starts");
        let (commands, commands_of_session) = mpsc::channel(16);
        let (links, links_of_session) = mpsc::channel(1);
        let opening = Opening {
            id: SessionId::from_bytes(&[7; 16]).expect("sixteen bytes"),
            instance: Bytes::from_static(b"instance"),
            program: Program::Shell(shell),
            size: Size::clamped(80, 24),
            rights: plan.rights(),
            check_warrant: Box::new(|_| None),
            link_is_lost: Arc::new(Notify::new()),
        };
        let session = Session::new(opening, commands_of_session, links_of_session);
        Self {
            _commands: commands,
            links,
            to_shell: None,
            from_shell: None,
            task: tokio::spawn(session.run()),
            output: Vec::new(),
            backlogs: HashMap::new(),
            acked: 0,
            _spawner: spawner,
        }
    }

    /// Connects and says where to go on: where this gateway stands.
    pub async fn greet(&mut self) {
        self.connect().await;
        let output_position = self.position();
        self.send(To::Welcome(ShellWelcome { output_position }));
    }

    pub async fn connect(&mut self) -> ShellHello {
        let (to_shell, to_shell_of_link) = mpsc::channel(4096);
        let (from_shell_of_link, from_shell) = mpsc::channel(LINK_FRAMES);
        let link = MemoryLink {
            to_shell: to_shell_of_link,
            from_shell: from_shell_of_link,
            permit: None,
            waiting: None,
        };
        assert!(self.links.send(Box::new(link)).await.is_ok(), "the session has ended");
        self.to_shell = Some(to_shell);
        self.from_shell = Some(from_shell);
        match self.next().await {
            Frame::Message(From::Hello(hello)) => hello,
            other => panic!("{other:?} came before the hello"),
        }
    }

    pub fn lose(&mut self) {
        self.to_shell = None;
        self.from_shell = None;
    }

    pub async fn damage(&mut self) {
        self.receive(Received::Damaged);
        let mut from_shell = self.from_shell.take().expect("linked");
        let lost = async { while from_shell.recv().await.is_some() {} };
        tokio::time::timeout(LIMIT, lost).await.expect("the session drops the link");
    }

    pub fn send(&self, message: To) {
        self.receive(Received::Frame(ToShellFrame::Message(ToShell { message: Some(message) })));
    }

    pub fn input(&self, position: u64, bytes: &[u8]) {
        self.receive(Received::Frame(ToShellFrame::Input {
            position,
            bytes: Bytes::copy_from_slice(bytes),
        }));
    }

    fn receive(&self, received: Received) {
        self.to_shell.as_ref().expect("linked").try_send(received).expect("there is room");
    }

    pub fn close(&self, code: Code) {
        self.send(To::Close(adit_wire::agent::v1::Close {
            session_id: Bytes::new(),
            code: code.to_string(),
        }));
    }

    /// Types as a viewer does: 16 KiB a frame, at most 256 KiB unacknowledged.
    pub async fn paste(&mut self, bytes: &[u8]) {
        let mut sent = 0;
        while sent < bytes.len() {
            if sent as u64 + (16 << 10) - self.acked <= 256 << 10 {
                let end = (sent + (16 << 10)).min(bytes.len());
                self.input(sent as u64, &bytes[sent..end]);
                sent = end;
            } else {
                self.step().await;
            }
        }
    }

    async fn next(&mut self) -> Frame {
        let from_shell = self.from_shell.as_mut().expect("linked");
        let frame = tokio::time::timeout(LIMIT, from_shell.recv()).await;
        frame.expect("a frame comes").expect("the session holds its link")
    }

    /// Takes one frame as a gateway does: output must come in order, without a gap.
    async fn step(&mut self) -> Option<From> {
        match self.next().await {
            Frame::Output { position, bytes } => {
                assert_eq!(position, self.position(), "output came out of order");
                self.output.extend_from_slice(&bytes);
                None
            }
            Frame::Backlog { viewer, bytes } => {
                self.backlogs.entry(viewer).or_default().extend_from_slice(&bytes);
                None
            }
            Frame::Message(message) => {
                if let From::InputAck(ack) = &message {
                    self.acked = ack.position;
                }
                Some(message)
            }
        }
    }

    pub fn position(&self) -> u64 {
        self.output.len() as u64
    }

    pub fn output(&self) -> &[u8] {
        &self.output
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    pub fn backlog(&self, viewer: u32) -> &[u8] {
        self.backlogs.get(&viewer).map_or(&[], |bytes| bytes)
    }

    pub async fn until_output(&mut self, wanted: &str) {
        while !self.text().contains(wanted) {
            if let Some(From::Exited(exited)) = self.step().await {
                panic!("{wanted:?} did not come before {exited:?}: {:?}", self.text());
            }
        }
    }

    /// Takes frames until a message is there; gives all messages on the way.
    pub async fn until(&mut self, is_it: impl Fn(&From) -> bool) -> Vec<From> {
        let mut messages = Vec::new();
        loop {
            if let Some(message) = self.step().await {
                let found = is_it(&message);
                messages.push(message);
                if found {
                    return messages;
                }
            }
        }
    }

    pub async fn until_snapshot(&mut self, viewer: u32) -> Snapshot {
        let messages = self.until(|message| matches!(message, From::Attached(_))).await;
        match messages.into_iter().next_back() {
            Some(From::Attached(attached)) if attached.viewer == viewer => {
                attached.snapshot.expect("a snapshot")
            }
            other => panic!("{other:?} is no snapshot"),
        }
    }

    pub async fn until_exited(&mut self) -> Exited {
        let messages = self.until(|message| matches!(message, From::Exited(_))).await;
        match messages.into_iter().next_back() {
            Some(From::Exited(exited)) => exited,
            other => panic!("{other:?} is no end"),
        }
    }

    /// Acknowledges everything and waits for the session's task.
    pub async fn finish(&mut self) -> Ended {
        let end = self.position();
        let ack = To::OutputAck(OutputAck { durable: end, viewed: end });
        if let Some(to_shell) = &self.to_shell {
            // A session without output has nothing to wait for and may be over.
            let _ = to_shell
                .try_send(Received::Frame(ToShellFrame::Message(ToShell { message: Some(ack) })));
        }
        tokio::time::timeout(LIMIT, &mut self.task)
            .await
            .expect("the session ends")
            .expect("without a panic")
    }

    /// How many frames are sent to a gateway that has stopped reading.
    pub async fn unread_until_stalled(&mut self) -> usize {
        let mut before = usize::MAX;
        loop {
            let unread = self.from_shell.as_ref().expect("linked").len();
            if unread == before {
                return unread;
            }
            before = unread;
            tokio::time::interval(Duration::from_millis(50)).tick().await;
            tokio::task::yield_now().await;
        }
    }
}
