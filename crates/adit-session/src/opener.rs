//! One machine's end of the JSON form, for an agent that has no session service.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::doctor::Counts;
use crate::message::{self, Expected, Receiver, SecureMessage};
use crate::nonces::{NoLog, NonceHistory, NonceLog};
use crate::refusal::{Refusal, Validation};
use crate::secret::MachineSecret;

/// Opens the messages of one machine, in one direction.
#[derive(Debug)]
pub struct Opener<L = NoLog> {
    receiver: Receiver,
    machine_id: Uuid,
    secret: MachineSecret,
    /// The secret before a rotation, and until when messages under it are taken.
    former: Option<(MachineSecret, SystemTime)>,
    history: NonceHistory<L>,
    run: BadRun,
    counts: Counts,
}

impl<L: NonceLog> Opener<L> {
    /// Makes the receiving end of a machine's messages.
    pub fn new(
        receiver: Receiver,
        machine: Uuid,
        secret: MachineSecret,
        history: NonceHistory<L>,
    ) -> Self {
        Self {
            receiver,
            machine_id: machine,
            secret,
            former: None,
            history,
            run: BadRun::default(),
            counts: Counts::default(),
        }
    }

    /// Takes a new secret; messages under the old one are taken for `overlap` more, so that no session is lost.
    pub fn rotate(&mut self, secret: MachineSecret, overlap: Duration, now: SystemTime) {
        let former = std::mem::replace(&mut self.secret, secret);
        self.former = Some((former, now + overlap));
    }

    /// Checks a message: shape and size, time, HMAC, nonce, in this order.
    pub fn validate_secure_message(&mut self, message: &[u8], now: SystemTime) -> Validation {
        self.open(None, message, now).map(drop).into()
    }

    /// Opens a message; with a session it must be of that session.
    ///
    /// # Errors
    /// Why the message is dropped; after [`is_over`](BadRun::is_over) of [`run`](Self::run) the sessions on this connection end.
    pub fn open(
        &mut self,
        session: Option<Uuid>,
        message: &[u8],
        now: SystemTime,
    ) -> Result<SecureMessage, Refusal> {
        let outcome = self.check(session, message, now).and_then(|opened| {
            self.history.spend(&opened, now)?;
            Ok(opened)
        });
        if let Err(refusal) = &outcome {
            self.counts.count(refusal);
        }
        match &outcome {
            Ok(_) => self.run.count_good(),
            Err(refusal) if refusal.is_bad_message() => self.run.count_bad(),
            Err(_) => {}
        }
        outcome
    }

    /// The bad messages so far.
    pub fn run(&self) -> BadRun {
        self.run
    }

    /// Refusals so far, for [`examine`](crate::examine).
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The nonces that are remembered.
    pub fn history(&self) -> &NonceHistory<L> {
        &self.history
    }

    fn check(
        &self,
        session: Option<Uuid>,
        message: &[u8],
        now: SystemTime,
    ) -> Result<SecureMessage, Refusal> {
        let expected = Expected {
            receiver: Some(self.receiver),
            machine_id: self.machine_id,
            session_id: session,
            skew: self.history.limits().skew,
        };
        let outcome = message::check(message, &expected, &self.secret, now);
        match &self.former {
            Some((former, until))
                if outcome.as_ref().err() == Some(&Refusal::HmacMismatch) && now < *until =>
            {
                message::check(message, &expected, former, now)
            }
            _ => outcome,
        }
    }
}

/// Counts wrong and repeated messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct BadRun {
    in_a_row: u32,
    total: u64,
}

impl BadRun {
    /// Counts a message that was refused as bad.
    pub fn count_bad(&mut self) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.total = self.total.saturating_add(1);
    }

    /// Counts a good message, which ends a run.
    pub fn count_good(&mut self) {
        self.in_a_row = 0;
    }

    /// Says whether the session is to be ended.
    pub fn is_over(&self) -> bool {
        self.in_a_row >= BAD_RUN_MAX
    }

    /// How many were bad so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.in_a_row == 0
    }
}

/// Chosen: bad messages in a row that end a session. A sender that is merely confused, with a wrong clock or secret, never gets one through;
/// twice as many would let one look for holes twice as long.
pub const BAD_RUN_MAX: u32 = 10;
