//! What a live session rests on, asked again: the rights of its owner and of everybody who watches, and the sign-ins that they came with.

use adit_domain::policy::{self, Circumstances};
use adit_domain::{Capabilities, Code, Facts, JobId, PrincipalId, Timestamp};
use adit_store::Session;

use super::viewer::{Arrival, ViewerId};
use crate::Gateway;
use crate::what_ends::circumstances;

/// What a look at the rights of a session and its viewers gave.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Why the session ends.
    pub(super) owner: Option<Code>,
    /// Whom to send away, and why.
    pub(super) viewers: Vec<(ViewerId, Code)>,
}

impl Gateway {
    /// Looks at the rights of a session's owner and viewers, with today's facts.
    pub(super) async fn look_again(
        &self,
        session: &Session,
        viewers: &[(ViewerId, Arrival)],
    ) -> Verdict {
        let how = circumstances(session);
        let owned = (session.principal.id, session.capabilities, session.job);
        let owner = self.look_at(session, owned, how).await;
        let mut verdict = Verdict { owner, viewers: Vec::new() };
        for (viewer, arrival) in viewers {
            let how = arrival.circumstances.clone();
            let held = (arrival.principal, arrival.capabilities, None);
            let seen = self.look_at(session, held, how).await;
            let code = match seen {
                Some(code) => Some(code),
                None => self.look_at_sign_in(arrival).await,
            };
            verdict.viewers.extend(code.map(|code| (*viewer, code)));
        }
        verdict
    }

    /// Gives the code to send a viewer away with whose sign-in or token has ended.
    async fn look_at_sign_in(&self, arrival: &Arrival) -> Option<Code> {
        let credential = arrival.credential?;
        match self.store.credential_counts(credential, self.clock.now()).await {
            Ok(false) => Some(Code::AuthEnded),
            Ok(true) | Err(_) => None,
        }
    }

    /// Gives the code to end with; none while the right stands, or while the database cannot say.
    async fn look_at(
        &self,
        session: &Session,
        (who, wanted, job): (PrincipalId, Capabilities, Option<JobId>),
        circumstances: Circumstances,
    ) -> Option<Code> {
        let tenant = self.store.tenant(session.tenant);
        let facts = match tenant.load_facts(who).await {
            Ok(Some(facts)) => Facts { circumstances, ..facts },
            Ok(None) => return Some(Code::PrincipalInactive),
            Err(_) => return None,
        };
        let machine = match tenant.find_machine(session.machine).await {
            Ok(Some(machine)) => machine,
            Ok(None) => return Some(Code::TargetInactive),
            Err(_) => return None,
        };
        let now: Timestamp = self.clock.now();
        let target = self.target_of_session(session.tenant, (session.id, job), &machine).await;
        let Ok(target) = target else { return None };
        match policy::authorize(&facts, wanted, &target, now) {
            Ok(_) => None,
            Err(policy::Denial::PrincipalInactive) => Some(Code::PrincipalInactive),
            Err(policy::Denial::TargetInactive) => {
                Some(self.why_support_ended(&machine).await.unwrap_or(Code::TargetInactive))
            }
            Err(_) => Some(Code::AccessRevoked),
        }
    }
}
