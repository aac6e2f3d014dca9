//! The sessions of this machine, by their ids; they outlive the control connection.

use crate::session::{Command, Ended};
use crate::warrants::Warrants;
use adit_domain::{Code, SessionId};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// The live sessions. Each has a task of its own; this is the end that talks to it.
#[derive(Default)]
pub(crate) struct Registry {
    sessions: HashMap<SessionId, Entry>,
}

/// How a session's task is reached.
pub(crate) struct Entry {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) warrants: Arc<Warrants>,
    /// Told that a gateway is there: who waits to dial again need not.
    pub(crate) gateway_is_back: Arc<Notify>,
}

/// What a session's task tells when it is over.
pub(crate) enum Outcome {
    /// There never was a shell.
    Refused {
        /// Which session.
        id: SessionId,
        /// Why, for the gateway.
        code: Code,
        /// Why, for the person.
        sentence: String,
    },
    /// The shell has ended.
    Ended {
        /// Which session.
        id: SessionId,
        /// How.
        ended: Ended,
    },
}

impl Registry {
    /// Enters a session; false when it is here already or the machine has as many as it takes.
    pub(crate) fn open(&mut self, id: SessionId, entry: Entry) -> bool {
        if self.sessions.len() >= SESSIONS_MAX || self.sessions.contains_key(&id) {
            return false;
        }
        self.sessions.insert(id, entry);
        true
    }

    /// Tells whether a session lives here.
    pub(crate) fn has(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// Gives a session a newer warrant and lets it dial at once.
    pub(crate) fn resume(&self, id: SessionId, warrant: &adit_wire::agent::v1::SignedWarrant) {
        let Some(entry) = self.sessions.get(&id) else { return };
        if let Some(rights) = entry.warrants.renew(warrant) {
            self.tell(id, Command::Refresh(rights));
        }
        entry.gateway_is_back.notify_one();
    }

    /// Ends a session.
    pub(crate) fn close(&self, id: SessionId, code: Code) {
        self.tell(id, Command::Close(code));
    }

    /// Ends every session.
    pub(crate) fn close_all(&self, code: Code) {
        for id in self.sessions.keys() {
            self.close(*id, code);
        }
    }

    /// Lets go of a session whose task is over.
    pub(crate) fn leave(&mut self, id: SessionId) {
        self.sessions.remove(&id);
    }

    /// Lists the sessions.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.keys().copied()
    }

    /// A session that does not listen has ended, or has as many commands before it as it takes and the newest is like them.
    fn tell(&self, id: SessionId, command: Command) {
        if let Some(entry) = self.sessions.get(&id)
            && entry.commands.try_send(command).is_err()
        {
            tracing::warn!(session.id = %id, "session takes no more commands");
        }
    }
}

/// Commands that a session has not taken yet.
pub(crate) const COMMANDS: usize = 16;
/// Sessions of one machine: at a few descriptors each, well below what a process may have open.
const SESSIONS_MAX: usize = 4000;
