//! Which sessions live on this gateway, and the way to each one's task.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::BoxSocket;
use crate::tasks::Tasks;
use adit_domain::{Code, EndReason, MachineId, SessionId, TenantId};
use adit_link::connection::Connection;
use tokio::sync::{mpsc, oneshot};

use super::relay::Screen;
use super::viewer::{Arrival, Seat};

/// How many requests may wait for one session's task: joins, links, ends.
pub(super) const COMMANDS: usize = 64;

/// What a session's task is asked.
pub(super) enum Command {
    Link(Box<Connection<BoxSocket>>),
    Join(Arrival, Vec<u8>, oneshot::Sender<(Seat, [u8; 16], u64)>),
    Screen(oneshot::Sender<Screen>),
    End(EndReason),
    Gone(EndReason),
    Recheck,
    Rechecked(Box<super::recheck::Verdict>),
    Refreshed(Result<adit_wire::agent::v1::SignedWarrant, Code>),
}

/// A viewer as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watcher {
    /// `user:ann`
    pub name: String,
    /// Whether it may type.
    pub can_type: bool,
}

/// What lists show of a live session without asking its task.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes typed.
    pub bytes_in: AtomicU64,
    /// Bytes shown.
    pub bytes_out: AtomicU64,
    viewers: Mutex<Vec<Watcher>>,
}

impl Tally {
    /// Lists who is here.
    pub fn viewers(&self) -> Vec<Watcher> {
        self.viewers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) fn set_viewers(&self, list: Vec<Watcher>) {
        *self.viewers.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = list;
    }

    pub(super) fn count(&self, input: u64, output: u64) {
        self.bytes_in.store(input, Ordering::Relaxed);
        self.bytes_out.store(output, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub machine: MachineId,
    pub tenant: TenantId,
    pub commands: mpsc::Sender<Command>,
    pub tally: Arc<Tally>,
}

/// Which of a machine's sessions go on, and which are over.
#[derive(Debug, Default)]
pub struct Standing {
    /// Known on both ends.
    pub live: Vec<SessionId>,
    /// The machine has them, this gateway has not.
    pub ended: Vec<SessionId>,
}

/// The live sessions.
#[derive(Debug, Default)]
pub struct Registry {
    map: Mutex<HashMap<SessionId, Entry>>,
    tasks: Tasks,
}

impl Registry {
    /// Makes an empty one, whose late messages are tasks of the gateway.
    pub fn new(tasks: Tasks) -> Self {
        Self { map: Mutex::default(), tasks }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.map.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn enter(&self, id: SessionId, entry: Entry) {
        self.lock().insert(id, entry);
    }

    pub(super) fn leave(&self, id: SessionId) {
        self.lock().remove(&id);
    }

    fn find(&self, id: SessionId) -> Option<Entry> {
        self.lock().get(&id).cloned()
    }

    /// Counts the live sessions.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Counts the live sessions of a tenant.
    pub fn count_of(&self, tenant: TenantId) -> usize {
        self.lock().values().filter(|e| e.tenant == tenant).count()
    }

    /// Counts the live sessions of a machine.
    pub fn count_on(&self, machine: MachineId) -> usize {
        self.lock().values().filter(|e| e.machine == machine).count()
    }

    /// Gives what lists show of a session.
    pub fn tally(&self, id: SessionId) -> Option<Arc<Tally>> {
        self.find(id).map(|e| e.tally)
    }

    /// Gives whose data a live session is.
    pub fn tenant(&self, id: SessionId) -> Option<TenantId> {
        self.find(id).map(|e| e.tenant)
    }

    /// Ends a session. One that is not live is no error.
    pub fn end(&self, id: SessionId, reason: EndReason) {
        self.command(id, Command::End(reason));
    }

    /// Takes a machine's word that it will not open one of its sessions.
    pub fn refused(&self, id: SessionId, machine: MachineId, code: Code) {
        self.over_by_word_of(id, machine, EndReason::Because(code));
    }

    /// Takes a machine's word that one of its sessions is over.
    pub fn ended_by_machine(&self, id: SessionId, machine: MachineId, reason: EndReason) {
        self.over_by_word_of(id, machine, reason);
    }

    fn over_by_word_of(&self, id: SessionId, machine: MachineId, reason: EndReason) {
        if self.find(id).is_some_and(|e| e.machine == machine) {
            self.command(id, Command::Gone(reason));
        }
    }

    /// Compares a machine's sessions with ours: those that it lost are over.
    pub fn reconcile(&self, machine: MachineId, said: &[SessionId]) -> Standing {
        let ours: Vec<SessionId> =
            self.lock().iter().filter(|(_, e)| e.machine == machine).map(|(id, _)| *id).collect();
        let mut standing = Standing::default();
        for id in said {
            if ours.contains(id) { standing.live.push(*id) } else { standing.ended.push(*id) }
        }
        for lost in ours.into_iter().filter(|id| !said.contains(id)) {
            self.command(lost, Command::Gone(EndReason::Because(Code::SessionLostAgent)));
        }
        standing
    }

    /// Hands a machine's session connection to its session.
    ///
    /// # Errors
    /// The connection again, when there is no such session on that machine.
    pub fn link(
        &self,
        id: SessionId,
        machine: MachineId,
        link: Connection<BoxSocket>,
    ) -> Result<(), Box<Connection<BoxSocket>>> {
        let link = Box::new(link);
        match self.find(id).filter(|e| e.machine == machine) {
            None => Err(link),
            Some(entry) => {
                entry.commands.try_send(Command::Link(link)).map_err(|error| {
                    match error.into_inner() {
                        Command::Link(link) => link,
                        _ => unreachable!("what was sent comes back"),
                    }
                })
            }
        }
    }

    /// Gives a viewer a place in a session.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`] when it is not live here.
    pub async fn join(
        &self,
        id: SessionId,
        arrival: Arrival,
        writer: &[u8],
    ) -> Result<(Seat, [u8; 16], u64), Code> {
        let entry = self.find(id).ok_or(Code::SessionUnknown)?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Join(arrival, writer.to_vec(), reply);
        entry.commands.send(command).await.map_err(|_| Code::SessionUnknown)?;
        answer.await.map_err(|_| Code::SessionUnknown)
    }

    /// Asks for a session's screen; no answer comes when it is not live.
    pub fn ask_screen(&self, id: SessionId, reply: oneshot::Sender<Screen>) {
        self.command(id, Command::Screen(reply));
    }

    /// Lets every session look at its rights again.
    pub fn recheck_all(&self) {
        let ids: Vec<SessionId> = self.lock().keys().copied().collect();
        for id in ids {
            self.command(id, Command::Recheck);
        }
    }

    /// Ends every session on a machine.
    pub fn end_on(&self, machine: MachineId, code: Code) {
        let on = |(id, entry): (&SessionId, &Entry)| (entry.machine == machine).then_some(*id);
        let ids: Vec<SessionId> = self.lock().iter().filter_map(on).collect();
        for id in ids {
            self.end(id, EndReason::Because(code));
        }
    }

    /// Ends every session: the source of truth is out of reach.
    pub fn end_all(&self, code: Code) {
        let ids: Vec<SessionId> = self.lock().keys().copied().collect();
        for id in ids {
            self.end(id, EndReason::Because(code));
        }
    }

    /// Hands a session's task the answer that it asked for.
    pub(super) async fn answer(&self, id: SessionId, command: Command) {
        if let Some(entry) = self.find(id) {
            // A task that is gone needs no answer.
            let _ = entry.commands.send(command).await;
        }
    }

    fn command(&self, id: SessionId, command: Command) {
        let Some(entry) = self.find(id) else { return };
        let Err(error) = entry.commands.try_send(command) else { return };
        let command = error.into_inner();
        if matches!(command, Command::Screen(_)) {
            // Whoever asked for a picture hears that there is none now.
            return;
        }
        // A full queue means that the task has dozens of requests before it; an end or a look at rights must not be lost behind them.
        self.tasks.spawn(async move {
            // A task that is gone has ended, which is all that could be asked of it.
            let _ = entry.commands.send(command).await;
        });
    }
}
