//! The agent: one control connection that comes back, and a task for each session.

mod control;
mod host;
mod serve;

use crate::attended::{Attended, Happened};
use crate::identity::Identity;
use crate::job::Sandboxes;
use crate::keys::Enrolment;
use crate::registry::{Outcome, Registry};
use crate::shell::Spawner;
use crate::warrants::Checker;
use adit_domain::{Clock, Code, Ids, SessionId, StreamId};
use adit_link::dial::{AgentConnection, Backoff, DialError};
use adit_link::keys::{Keypair, PublicKey};
use adit_wire::agent::v1::SessionEnded;
use bytes::Bytes;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// What the agent takes from the process that runs it.
pub struct Options {
    /// The folder in which the enrolment is kept, for a new key or certificate; none to keep neither.
    pub dir: Option<PathBuf>,
    /// The binary that calls [`crate::supervise::main`]; none for this very one.
    pub program: Option<PathBuf>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub ids: Arc<dyn Ids>,
    /// What the person at this machine agreed to, if it is here for support: then it serves one session and ends.
    pub attended: Option<Attended>,
    /// Who takes streams of other machines; none to take none.
    pub tunnels: Option<mpsc::Sender<Tunnel>>,
}

/// A stream that a machine opened to this one, by the gateway's word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// The session between the machines.
    pub session: SessionId,
    /// The stream.
    pub stream: StreamId,
    /// For what: `shell:connect`.
    pub capability: String,
    /// Who was let in, by its label.
    pub target: String,
    /// The gateway at which it waits: `https://HOST:PORT`; none for the one that this machine knows.
    pub gateway: Option<String>,
}

/// Why the agent can't run at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The enrolment's address or certificates can't be used.
    #[error("the enrolment can't be used")]
    Enrolment(#[source] DialError),
    /// The process that opens shells can't be started.
    #[error("the process that opens shells can't be started")]
    Spawner(#[source] std::io::Error),
}

/// Serves this machine until `shutdown`, or until support is over, then ends every shell.
///
/// # Errors
/// [`RunError`] before anything is served; afterwards what fails is tried again.
pub async fn run(
    enrolment: Enrolment,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    hide();
    let mut agent = Agent::new(enrolment, options)?;
    let mut backoff = Backoff::new();
    while !agent.is_over {
        let wait = backoff.delay(agent.shared.random());
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = agent.wait(wait) => {}
        }
        if agent.is_over {
            break;
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = agent.connect(&mut backoff) => {}
        }
    }
    agent.end().await;
    Ok(())
}

/// Keeps other processes of the same user from reading the agent's memory, its environment and its open files.
fn hide() {
    let hidden =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    if let Err(error) = hidden {
        tracing::warn!(%error, "the agent can't be hidden from other processes of its user");
    }
}

/// What the tasks of sessions share.
struct Shared {
    keys: Keypair,
    session_service: PublicKey,
    identity: Identity,
    spawner: Spawner,
    sandboxes: Sandboxes,
    checker: Arc<Checker>,
    attended: Option<Attended>,
    tunnels: Option<mpsc::Sender<Tunnel>>,
    ids: Arc<dyn Ids>,
    /// Tells this run of the agent from another.
    instance: Bytes,
}

impl Shared {
    async fn dial_control(&self) -> Result<AgentConnection, DialError> {
        self.identity.dialer().control(&self.keys, self.session_service).await
    }

    fn random(&self) -> u64 {
        let mut random = [0; 8];
        self.ids.fill(&mut random);
        u64::from_ne_bytes(random)
    }
}

struct Agent {
    shared: Arc<Shared>,
    registry: Registry,
    tasks: JoinSet<()>,
    outcomes: mpsc::Receiver<Outcome>,
    outcomes_of_tasks: mpsc::Sender<Outcome>,
    /// Ends that no gateway has heard of yet.
    untold: VecDeque<SessionEnded>,
    /// Support is over: its session has ended, or the gateway ended it.
    is_over: bool,
}

impl Agent {
    fn new(enrolment: Enrolment, options: Options) -> Result<Self, RunError> {
        let identity = Identity::of(&enrolment, options.dir).map_err(RunError::Enrolment)?;
        let spawner = match options.program {
            Some(program) => Spawner::with_program(program),
            None => Spawner::start(),
        };
        let spawner = spawner.map_err(RunError::Spawner)?;
        let sandboxes = Sandboxes::new(spawner.program().to_owned());
        let attended = options.attended;
        let checker = Arc::new(Checker::new(&enrolment, options.clock, attended.clone()));
        let mut instance = [0; 16];
        options.ids.fill(&mut instance);
        let shared = Shared {
            keys: enrolment.link_key,
            session_service: enrolment.session_service,
            identity,
            spawner,
            sandboxes,
            checker,
            attended,
            tunnels: options.tunnels,
            ids: options.ids,
            instance: Bytes::copy_from_slice(&instance),
        };
        let (outcomes_of_tasks, outcomes) = mpsc::channel(OUTCOMES);
        Ok(Self {
            shared: Arc::new(shared),
            registry: Registry::default(),
            tasks: JoinSet::new(),
            outcomes,
            outcomes_of_tasks,
            untold: VecDeque::new(),
            is_over: false,
        })
    }

    /// Lets time pass without a control connection; sessions may end meanwhile.
    async fn wait(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        while !self.is_over {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => return,
                Some(outcome) = self.outcomes.recv() => drop(self.note(outcome)),
                Some(ended) = self.tasks.join_next() => note_panic(ended),
            }
        }
    }

    /// Dials the control connection and serves it while it stands.
    async fn connect(&mut self, backoff: &mut Backoff) {
        let shared = Arc::clone(&self.shared);
        match shared.dial_control().await {
            Ok(connection) => {
                backoff.connected(std::time::Instant::now());
                self.tell(Happened::Connected);
                let why = self.serve_control(connection).await;
                tracing::warn!(error = %why, "control connection is lost");
                if !self.is_over {
                    self.tell(Happened::Lost);
                }
                backoff.lost(std::time::Instant::now());
            }
            Err(DialError::Refused { status: 401 }) if self.shared.attended.is_some() => {
                self.is_over = true;
                self.tell(Happened::Over);
            }
            Err(error) => {
                match advice(&error) {
                    Some(advice) => {
                        tracing::error!(%error, advice, "the gateway turns this machine away");
                    }
                    None => tracing::warn!(%error, "the gateway can't be reached"),
                }
                // Whoever is no machine of the gateway's any more has nobody to keep shells for. What TLS says of times is another
                // matter: a clock may be wrong.
                let is_unknown = matches!(error, DialError::Refused { status: 401 });
                if is_unknown && self.shared.identity.is_direct() {
                    self.registry.close_all(Code::TargetInactive);
                }
            }
        }
    }

    /// Tells the person at this machine, if it is here for support.
    fn tell(&self, happened: Happened) {
        if let Some(attended) = &self.shared.attended {
            attended.tell(happened);
        }
    }

    /// Ends every session and waits until its processes are gone.
    async fn end(mut self) {
        let code = match self.shared.attended {
            Some(_) => Code::SupportStopped,
            None => Code::SessionLostAgent,
        };
        self.registry.close_all(code);
        let ended = async {
            loop {
                tokio::select! {
                    outcome = self.outcomes.recv() => drop(outcome),
                    ended = self.tasks.join_next() => match ended {
                        Some(ended) => note_panic(ended),
                        None => return,
                    },
                }
            }
        };
        if timeout(END_LIMIT, ended).await.is_err() {
            tracing::warn!("some sessions did not end in time; their supervisors kill them");
        }
    }
}

/// Says what to do about a refusal that trying again does not mend.
fn advice(error: &DialError) -> Option<&'static str> {
    let text = format!("{error:?}");
    // TLS says it in an alert, which comes with whatever is read first.
    if text.contains("CertificateExpired") || text.contains("certificate expired") {
        return Some(
            "its certificate has expired, and the time to renew it is over; ask for an enrolment token that replaces the machine, and run `adit agent join --replace`",
        );
    }
    matches!(error, DialError::Refused { status: 401 }).then_some(
        "its key or certificate does not count any more; ask for an enrolment token that replaces the machine, and run `adit agent join --replace`",
    )
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of a session failed; its supervisor ends the shell");
    }
}

/// Outcomes that the control connection has not taken yet; a task that ends waits.
const OUTCOMES: usize = 64;
/// Hang up, kill, and the last output: a session needs half a second of it.
const END_LIMIT: Duration = Duration::from_secs(3);
