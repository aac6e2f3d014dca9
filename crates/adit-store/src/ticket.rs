//! Tickets: issued with the session that they open, redeemed once. Only their hashes are kept.

use adit_domain::ticket::{Purpose, Thumbprint, Ticket};
use adit_domain::{
    Code, MachineId, PrincipalId, SessionId, TenantId, TicketId, Timestamp, TokenId,
};

use crate::sql::{Row, args, write_capabilities};
use crate::tx::Scope;
use crate::{NewEvent, NewSession, SecretHash, Store, StoreError, TenantStore, session};

/// What [`Store::forget_tickets`] tidied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Forgotten {
    /// How many tickets were deleted.
    pub tickets: u64,
    /// The reserved sessions that nobody opened in time; they ended.
    pub sessions: Vec<(TenantId, SessionId)>,
}

/// What became of a ticket that was presented.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redemption {
    /// It is spent, for whoever presented it.
    Redeemed(Ticket),
    /// It is bound to a key that was not proved, and still counts.
    OtherKey(Ticket),
    /// It was redeemed, revoked, has expired or never was.
    Unknown,
}

impl TenantStore {
    /// Adds a ticket, and the session that it opens where it opens one.
    ///
    /// # Errors
    /// [`crate::Conflict::Refers`] when the principal, the machine or the session to join is not there.
    pub async fn issue_ticket<E>(
        &self,
        ticket: Ticket,
        hash: SecretHash,
        reserve: Option<NewSession>,
        tell: E,
    ) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO tickets (tenant_id, id, hash, principal_id, machine_id, session_id, purpose, capabilities, state, issued_at, expires_at, credential_id, key_thumbprint) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'issued', $9, $10, $11, $12)";
        let own = args![
            ticket.id,
            hash,
            ticket.principal,
            ticket.machine,
            ticket.session,
            ticket.purpose.as_str(),
            write_capabilities(ticket.capabilities),
            ticket.issued_at,
            ticket.expires_at,
            ticket.credential,
            ticket.key.map(|key| key.0)
        ];
        self.write(tell, move |tx| {
            Box::pin(async move {
                if let Some(session) = reserve {
                    session::reserve(tx, session).await?;
                }
                tx.run(sql, own).await.map(|_| ())
            })
        })
        .await
    }

    /// Makes every ticket of a session void and tells how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn revoke_tickets_of<E>(
        &self,
        session: SessionId,
        at: Timestamp,
        tell: E,
    ) -> Result<u64, StoreError>
    where
        E: FnOnce(&u64) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE tickets SET state = 'revoked', redeemed_at = $3 WHERE tenant_id = $1 AND session_id = $2 AND state = 'issued'";
        self.write(tell, move |tx| Box::pin(tx.run(sql, args![session, at]))).await
    }
}

impl Store {
    /// Redeems a ticket: of any number at once, one gets it. One that is bound to a key goes to whoever proved that key, and stays
    /// as it is when another comes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn redeem_ticket<E>(
        &self,
        hash: SecretHash,
        proved: Option<Thumbprint>,
        now: Timestamp,
        tell: E,
    ) -> Result<Redemption, StoreError>
    where
        E: FnOnce(&Redemption) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE tickets SET state = 'redeemed', redeemed_at = $2 WHERE hash = $1 AND state = 'issued' AND expires_at > $2 \
             AND (key_thumbprint IS NULL OR key_thumbprint = $3) \
             RETURNING id, tenant_id, principal_id, machine_id, session_id, purpose, capabilities, issued_at, expires_at, credential_id, key_thumbprint";
        let bound = "SELECT id, tenant_id, principal_id, machine_id, session_id, purpose, capabilities, issued_at, expires_at, credential_id, key_thumbprint \
             FROM tickets WHERE hash = $1 AND state = 'issued'";
        // One that came too late stays refused, should the clock be set back.
        let late = "UPDATE tickets SET state = 'revoked' WHERE hash = $1 AND state = 'issued' AND expires_at <= $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let proved = proved.map(|key| key.0);
                if let Some(mut row) = tx.row(sql, args![hash, now, proved]).await? {
                    let ticket = read(&mut row)?;
                    tx.enter(Scope::Tenant(ticket.tenant)).await?;
                    return Ok(Redemption::Redeemed(ticket));
                }
                tx.run(late, args![hash, now]).await?;
                let Some(mut row) = tx.row(bound, args![hash]).await? else {
                    return Ok(Redemption::Unknown);
                };
                let ticket = read(&mut row)?;
                tx.enter(Scope::Tenant(ticket.tenant)).await?;
                Ok(Redemption::OtherKey(ticket))
            })
        })
        .await
    }

    /// Deletes tickets that ended before `before`, and ends the reserved sessions whose last ticket has run out by `now`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_tickets(
        &self,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<Forgotten, StoreError> {
        let unused = "UPDATE sessions SET state = 'ended', ended_at = $1, reason = $2, env = '[]' WHERE state <> 'ended' AND state = 'reserved' \
             AND NOT EXISTS (SELECT 1 FROM tickets t WHERE t.tenant_id = sessions.tenant_id AND t.session_id = sessions.id \
             AND t.state = 'issued' AND t.expires_at > $1) \
             AND NOT EXISTS (SELECT 1 FROM tickets t WHERE t.tenant_id = sessions.tenant_id AND t.session_id = sessions.id \
             AND t.state = 'redeemed' AND t.redeemed_at > $3) \
             RETURNING tenant_id, id";
        let old = "DELETE FROM tickets WHERE expires_at < $1";
        self.write(crate::silent, move |tx| {
            Box::pin(async move {
                let grace = now - REDEEMED_GRACE;
                let rows = tx.rows(unused, args![now, Code::SessionUnused.as_str(), grace]).await?;
                let ended = |mut row: Row| -> Result<(TenantId, SessionId), StoreError> {
                    Ok((TenantId(row.uuid()?), SessionId(row.uuid()?)))
                };
                let sessions = rows.into_iter().map(ended).collect::<Result<_, _>>()?;
                Ok(Forgotten { tickets: tx.run(old, args![before]).await?, sessions })
            })
        })
        .await
    }
}

/// How long a session may stay reserved after its ticket was redeemed: whoever redeemed it opens it at once or never.
const REDEEMED_GRACE: std::time::Duration = std::time::Duration::from_secs(60);

fn read(row: &mut Row) -> Result<Ticket, StoreError> {
    Ok(Ticket {
        id: TicketId(row.uuid()?),
        tenant: TenantId(row.uuid()?),
        principal: PrincipalId(row.uuid()?),
        machine: MachineId(row.uuid()?),
        session: SessionId(row.uuid()?),
        purpose: match row.text()?.as_str() {
            "open" => Purpose::Open,
            "join" => Purpose::Join,
            _ => return Err(StoreError::Corrupt("purpose of a ticket")),
        },
        capabilities: row.capabilities()?,
        issued_at: row.time()?,
        expires_at: row.time()?,
        credential: row.maybe_uuid()?.map(TokenId),
        key: row.maybe_hash()?.map(Thumbprint),
    })
}
