//! Machines that reach each other: what a decision rests on, and what time clears away.

use adit_domain::certificate::Carried;
use adit_domain::reach::{End, Offer, Reach};
use adit_domain::{CertificateName, InstanceId, TenantId, Timestamp};

use crate::sql::{Row, args};
use crate::tx::Scope;
use crate::{Store, StoreError, TenantStore};

mod instance;
mod scope;
mod session;
mod ticket;

pub use instance::{Assignment, Instance, NewInstance, Offered, Removed};
pub use scope::{Holding, ScopeAction, StoredScope};
pub(crate) use scope::{forget, forget_holdings, give};
pub use session::{MachineSession, Opened};
pub use ticket::{IssuedMachineTicket, MachineTicket, MachineTicketState, NewMachineTicket, Used};

/// How much of each there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReachLimits {
    /// Tickets that a source gets within a minute; 0 for no limit.
    pub tickets_per_minute: u32,
    /// Live tickets.
    pub tickets: u32,
    /// Instances.
    pub instances: u32,
    /// Sessions that live.
    pub sessions: u32,
}

impl ReachLimits {
    /// Gives what one source may have of a limit, so that none fills it for all.
    pub fn share(limit: u32) -> u32 {
        (limit / 10).max(1)
    }
}

/// Which reach is asked about.
#[derive(Clone, Debug)]
pub struct Question {
    /// For what.
    pub capability: Carried,
    /// Who offers.
    pub source: CertificateName,
    /// Who is to be let in.
    pub target: CertificateName,
    /// What is offered.
    pub instance: InstanceId,
}

/// Gives whose certificate has to count beside a name's own: the machine's that it speaks for, or its own again.
pub(crate) fn vouches(name: &CertificateName) -> CertificateName {
    match name {
        CertificateName::Delegated { delegator, .. } => CertificateName::Agent(delegator.clone()),
        other => other.clone(),
    }
}

/// Whether a certificate of a name counts.
macro_rules! counts {
    ($name:literal, $now:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM certificates c WHERE c.tenant_id = $1 AND c.name = ",
            $name,
            " AND c.revoked_at IS NULL AND c.not_after > ",
            $now,
            ")"
        )
    };
}

const FACTS: &str = concat!(
    "SELECT ",
    counts!("$4", "$8"),
    " AND ",
    counts!("$5", "$8"),
    ", EXISTS (SELECT 1 FROM holdings h WHERE h.tenant_id = $1 AND h.holder = $4 AND h.capability = $2), ",
    counts!("$6", "$8"),
    " AND ",
    counts!("$7", "$8"),
    ", EXISTS (SELECT 1 FROM holdings h WHERE h.tenant_id = $1 AND h.holder = $6 AND h.capability = $2), \
     EXISTS (SELECT 1 FROM assignments a WHERE a.tenant_id = $1 AND a.instance_id = $3 AND a.target = $6), \
     i.owner, i.capability, i.heard_at FROM (SELECT 1 AS one) AS o LEFT JOIN instances i ON i.tenant_id = $1 AND i.id = $3"
);

impl TenantStore {
    /// Loads what a decision about one machine reaching another rests on. It asks the same of what is not there as of what is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn load_reach(
        &self,
        question: Question,
        now: Timestamp,
    ) -> Result<Reach, StoreError> {
        let Question { capability, source, target, instance } = question;
        let own = args![
            capability.as_str(),
            instance,
            source.to_string(),
            vouches(&source).to_string(),
            target.to_string(),
            vouches(&target).to_string(),
            now
        ];
        let row = self.row(FACTS, own).await?;
        let mut row = row.ok_or(StoreError::Corrupt("reach"))?;
        read_reach(&mut row, self.id(), capability, (source, target))
    }
}

/// Reads the columns of [`FACTS`].
fn read_reach(
    row: &mut Row,
    tenant: TenantId,
    scope: Carried,
    (source, target): (CertificateName, CertificateName),
) -> Result<Reach, StoreError> {
    let source = End { name: source, active: row.flag()?, capable: row.flag()? };
    let target = End { name: target, active: row.flag()?, capable: row.flag()? };
    let assigned = row.flag()?;
    let offer = match row.maybe_text()? {
        None => None,
        Some(owner) => Some(Offer {
            owner: owner.parse().map_err(|_| StoreError::Corrupt("owner of an instance"))?,
            scope: row.word("capability of an instance")?,
            heard_at: row.time()?,
            assigned,
        }),
    };
    Ok(Reach { tenant, scope, source, target, offer })
}

/// What was cleared away.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ReachTidied {
    /// Instances that were not heard of for an hour.
    pub instances: Vec<(TenantId, Removed)>,
    /// Sessions that time ended.
    pub lapsed: Vec<MachineSession>,
    /// How many old rows were deleted.
    pub deleted: u64,
}

/// The times up to which things are cleared away.
#[derive(Clone, Copy, Debug)]
pub struct ReachCutoffs {
    /// Now.
    pub now: Timestamp,
    /// Instances that were last heard of before this are dead.
    pub instances: Timestamp,
    /// Tickets that were issued before this are deleted.
    pub tickets: Timestamp,
    /// Sessions that were last heard of before this are over.
    pub silent: Timestamp,
    /// Sessions whose grace began before this are over.
    pub grace: Timestamp,
    /// Sessions that ended before this are deleted.
    pub ended: Timestamp,
}

/// The most rows that one clearing takes, so that it is no burden to what else is written.
const AT_ONCE: i64 = 500;

impl Store {
    /// Clears away what time has ended: dead instances with what hangs on them, silent sessions, old tickets and sessions.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn tidy_reach(&self, cutoffs: ReachCutoffs) -> Result<ReachTidied, StoreError> {
        let dead =
            "SELECT tenant_id, id FROM instances WHERE heard_at < $1 ORDER BY heard_at LIMIT $2";
        let tickets = "DELETE FROM machine_tickets WHERE id IN (SELECT id FROM machine_tickets WHERE issued_at < $1 ORDER BY issued_at LIMIT $2)";
        let sessions = "DELETE FROM machine_sessions WHERE id IN (SELECT id FROM machine_sessions WHERE ended_at IS NOT NULL AND ended_at < $1 LIMIT $2)";
        self.write(crate::silent, move |tx| {
            Box::pin(async move {
                let mut tidied = ReachTidied::default();
                for mut row in tx.rows(dead, args![cutoffs.instances, AT_ONCE]).await? {
                    let (tenant, id) = (TenantId(row.uuid()?), InstanceId(row.uuid()?));
                    tx.enter(Scope::Tenant(tenant)).await?;
                    if let Some(removed) = instance::remove(tx, id).await? {
                        tidied.instances.push((tenant, removed));
                    }
                    tx.enter(Scope::System).await?;
                }
                tidied.lapsed = session::lapse(tx, cutoffs).await?;
                tidied.deleted = tx.run(tickets, args![cutoffs.tickets, AT_ONCE]).await?;
                tidied.deleted += tx.run(sessions, args![cutoffs.ended, AT_ONCE]).await?;
                Ok(tidied)
            })
        })
        .await
    }
}
