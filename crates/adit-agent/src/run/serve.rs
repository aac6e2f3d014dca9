//! The task of one session: its shell, and a connection that comes back.

use super::Shared;
use crate::dialled::Dialled;
use crate::registry::Outcome;
use crate::session::{Command, Opening, Program, Rights, Session, SessionLink};
use crate::shell::{self, Size, SpawnError};
use crate::warrants::Warrants;
use adit_domain::{Code, SessionId};
use adit_link::dial::{AgentConnection, Backoff, DialError};
use adit_wire::agent::v1::{OpenRefused, Spawn};
use adit_wire::warrant::Checked;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, mpsc};

/// What a session's task needs.
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) checked: Checked,
    pub(super) warrants: Arc<Warrants>,
    /// The gateway at which the session lives; none for the one that this machine knows.
    pub(super) gateway: Option<String>,
    pub(super) gateway_is_back: Arc<Notify>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) outcomes: mpsc::Sender<Outcome>,
}

impl Task {
    /// Opens the shell and serves it to its end.
    pub(super) async fn run(self, spawn: Spawn) {
        let id = self.checked.session;
        let outcomes = self.outcomes.clone();
        let size = Size::clamped(spawn.cols, spawn.rows);
        let outcome = match Box::pin(self.begin(spawn, size)).await {
            Ok(program) => Outcome::Ended { id, ended: self.serve(program, size).await },
            Err(error) => refused(id, &error),
        };
        // Without a receiver the agent itself ends.
        let _ = outcomes.send(outcome).await;
    }

    async fn begin(&self, spawn: Spawn, size: Size) -> Result<Program, SpawnError> {
        if let Some(job) = &spawn.job {
            let hidden = self.shared.identity.dir();
            let started = self.shared.sandboxes.start(job, hidden).await;
            return started.map(|job| Program::Job(Box::new(job)));
        }
        let wanted = command(spawn, &self.checked, size);
        self.shared.spawner.spawn(&wanted).await.map(Program::Shell)
    }

    async fn serve(self, program: Program, size: Size) -> crate::session::Ended {
        let Self { shared, checked, warrants, gateway, gateway_is_back, commands, .. } = self;
        let link_is_lost = Arc::new(Notify::new());
        let (links, links_of_session) = mpsc::channel(1);
        let renewing = Arc::clone(&warrants);
        let opening = Opening {
            id: checked.session,
            instance: shared.instance.clone(),
            program,
            size,
            rights: Rights::of(&checked, shared.checker.now()),
            check_warrant: Box::new(move |signed| renewing.renew(signed)),
            link_is_lost: Arc::clone(&link_is_lost),
        };
        let session = Box::pin(Session::new(opening, commands, links_of_session).run());
        let dialler = Dialler {
            shared: &shared,
            id: checked.session,
            warrants: &warrants,
            gateway: gateway.as_deref(),
            link_is_lost,
            gateway_is_back,
        };
        let dialling = dialler.run(&links);
        tokio::select! {
            biased;
            ended = session => ended,
            never = dialling => match never {},
        }
    }
}

/// Dials whenever the session has no link.
struct Dialler<'a> {
    shared: &'a Shared,
    id: SessionId,
    warrants: &'a Warrants,
    gateway: Option<&'a str>,
    link_is_lost: Arc<Notify>,
    /// Ends a wait: the control connection knows first when a gateway is back.
    gateway_is_back: Arc<Notify>,
}

impl Dialler<'_> {
    async fn run(&self, links: &mpsc::Sender<Box<dyn SessionLink>>) -> std::convert::Infallible {
        let mut backoff = Backoff::new();
        loop {
            match self.dial().await {
                Ok(connection) => {
                    backoff.connected(Instant::now());
                    // The session takes it: both are polled by the same task.
                    let _ = links.send(Box::new(Dialled(connection))).await;
                    self.link_is_lost.notified().await;
                    backoff.lost(Instant::now());
                }
                Err(error) => {
                    tracing::debug!(session.id = %self.id, %error, "session can't be dialled")
                }
            }
            tokio::select! {
                biased;
                () = self.gateway_is_back.notified() => {}
                () = tokio::time::sleep(backoff.delay(self.shared.random())) => {}
            }
        }
    }

    /// Dials once. Boxed, because a handshake's state is many times that of an idle session.
    fn dial(
        &self,
    ) -> Pin<Box<dyn Future<Output = Result<AgentConnection, DialError>> + Send + '_>> {
        let Shared { identity, keys, session_service, .. } = self.shared;
        // Today's: a new key or certificate may have come since the last time.
        let dialer = match self.gateway {
            Some(gateway) => identity.dialer().at(gateway),
            None => Ok(identity.dialer()),
        };
        Box::pin(async move {
            let dialer = dialer?;
            dialer.session(keys, *session_service, self.id, self.warrants.newest()).await
        })
    }
}

fn command(spawn: Spawn, checked: &Checked, size: Size) -> shell::Command {
    shell::Command {
        arguments: spawn.command,
        env: spawn.env.into_iter().collect(),
        run_as: checked.warrant.run_as.clone(),
        terminal: spawn.pty.then_some(size),
    }
}

fn refused(id: SessionId, error: &SpawnError) -> Outcome {
    let code = match error {
        SpawnError::Account(_) => Code::RunAsRefused,
        SpawnError::Exhausted(_) | SpawnError::Spawner(_) | SpawnError::Program(_) => {
            Code::TargetFailed
        }
    };
    tracing::warn!(session.id = %id, %error, "shell could not be opened");
    Outcome::Refused { id, code, sentence: error.to_string() }
}

pub(super) fn refusal_of(id: SessionId, code: Code, sentence: String) -> OpenRefused {
    OpenRefused { session_id: id.as_bytes().to_vec().into(), code: code.to_string(), sentence }
}
