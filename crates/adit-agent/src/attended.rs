//! A machine that is here for support: it serves one session, within what its person agreed to, and then goes.

use adit_domain::policy::Consent;
use adit_domain::{Code, PrincipalId, Timestamp};
use adit_wire::warrant::Checked;
use tokio::sync::mpsc;

/// What the person at this machine agreed to, and whom to tell what comes of it.
#[derive(Clone, Debug)]
pub struct Attended {
    /// Who may.
    pub technician: PrincipalId,
    /// What, and until when, by the gateway's clock.
    pub consent: Consent,
    /// Told what happens. A slow listener misses what is in between, never the end: it ends with the agent.
    pub happened: mpsc::Sender<Happened>,
}

/// What happens on a machine that is here for support.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
    /// The gateway can be reached; the technician may come.
    Connected,
    /// The gateway cannot be reached any more.
    Lost,
    /// The technician has a terminal.
    Opened,
    /// The session is over, for a reason that is not the shell's own doing where there is one.
    Ended(Option<Code>),
    /// The gateway has ended it.
    Over,
}

impl Attended {
    /// Tells whether a warrant stays within what was agreed to.
    // DESK-20, P10
    pub(crate) fn covers(&self, checked: &Checked) -> bool {
        let warrant = &checked.warrant;
        warrant.principal_id[..] == *self.technician.as_bytes()
            && self.consent.allows.has_all(checked.capabilities)
            && Timestamp::from_wire(warrant.ends_at_ms) <= self.consent.until
            && warrant.run_as.is_empty()
    }

    pub(crate) fn tell(&self, happened: Happened) {
        // The listener shows what is new to a person; what it has not shown yet is new enough.
        let _ = self.happened.try_send(happened);
    }
}
