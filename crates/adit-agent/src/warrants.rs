//! Warrants as this machine checks them, trusting nobody but the authority of its enrolment.

use crate::attended::Attended;
use crate::keys::Enrolment;
use crate::session::Rights;
use adit_domain::{Clock, MachineId, SessionId, Timestamp};
use adit_link::keys::PublicKey;
use adit_wire::agent::v1::SignedWarrant;
use adit_wire::warrant::{self, Checked, Expected, Refusal};
use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Checks warrants for this machine.
pub(crate) struct Checker {
    machine: MachineId,
    authority: [u8; 32],
    session_service: PublicKey,
    clock: Arc<dyn Clock>,
    /// What the person at this machine agreed to, if it is here for support.
    attended: Option<Attended>,
    /// The gateway's time when it was last told, and when that was by a clock that nobody sets.
    told: Mutex<Option<(Timestamp, Duration)>>,
    /// The highest that any warrant of the authority had.
    epoch: AtomicU64,
}

impl Checker {
    pub(crate) fn new(
        enrolment: &Enrolment,
        clock: Arc<dyn Clock>,
        attended: Option<Attended>,
    ) -> Self {
        Self {
            machine: enrolment.machine,
            authority: enrolment.authority,
            session_service: enrolment.session_service,
            clock,
            attended,
            told: Mutex::new(None),
            epoch: AtomicU64::new(0),
        }
    }

    /// Notes the gateway's time, to allow for a clock that is off or is set while sessions live. A gateway may not turn the time back
    /// further than that: it could make old warrants good again.
    pub(crate) fn note_time(&self, gateway: Timestamp) {
        let own = self.clock.now().0;
        let near = own.saturating_sub(SKEW_MS)..=own.saturating_add(SKEW_MS);
        let told = Timestamp(gateway.0.clamp(*near.start(), *near.end()));
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((told, since_boot()));
    }

    /// The gateway's time, or before it was told the machine's own.
    pub(crate) fn now(&self) -> Timestamp {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.map_or_else(|| self.clock.now(), |(told, at)| told + since_boot().saturating_sub(at))
    }

    /// The machine's own time.
    pub(crate) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Checks a warrant.
    pub(crate) fn check(&self, signed: &SignedWarrant) -> Result<Checked, Refusal> {
        let expected = Expected {
            authority: &self.authority,
            machine: self.machine,
            session_service: &self.session_service.0,
            epoch: self.epoch.load(Ordering::Relaxed),
            now: self.now(),
        };
        let checked = warrant::check(signed, expected)?;
        if self.attended.as_ref().is_some_and(|attended| !attended.covers(&checked)) {
            return Err(Refusal::Consent);
        }
        self.epoch.fetch_max(checked.warrant.epoch, Ordering::Relaxed);
        Ok(checked)
    }
}

/// The newest warrant of one session, for its frames and for its next dial.
pub(crate) struct Warrants {
    session: SessionId,
    /// What no refresh may change.
    run_as: String,
    principal: bytes::Bytes,
    checker: Arc<Checker>,
    newest: Mutex<SignedWarrant>,
}

impl Warrants {
    pub(crate) fn new(checker: Arc<Checker>, checked: &Checked, signed: SignedWarrant) -> Self {
        Self {
            session: checked.session,
            run_as: checked.warrant.run_as.clone(),
            principal: checked.warrant.principal_id.clone(),
            checker,
            newest: Mutex::new(signed),
        }
    }

    /// The warrant to dial with.
    pub(crate) fn newest(&self) -> SignedWarrant {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a newer warrant for the same session, person and account; says what it allows.
    pub(crate) fn renew(&self, signed: &SignedWarrant) -> Option<Rights> {
        let checked = match self.checker.check(signed) {
            Ok(checked) => checked,
            Err(refusal) => {
                tracing::warn!(session.id = %self.session, %refusal, "newer warrant was refused");
                return None;
            }
        };
        let same = checked.session == self.session
            && checked.warrant.run_as == self.run_as
            && checked.warrant.principal_id == self.principal;
        if !same {
            tracing::warn!(session.id = %self.session, "newer warrant is for somebody or something else and was refused");
            return None;
        }
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = signed.clone();
        Some(Rights::of(&checked, self.checker.now()))
    }
}

/// Gives the time since the machine was started, its sleep included.
fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// The most by which a machine's clock may be corrected; past it, set the clock. Chosen: ten minutes must not matter, and an old
/// warrant counts no longer than this beyond its end, whatever a gateway says.
const SKEW_MS: i64 = Duration::from_secs(15 * 60).as_millis() as i64;
