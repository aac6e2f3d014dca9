//! Tickets between machines: issued to a source for a target, used once. Only a keyed hash of their ids is kept.

use adit_domain::certificate::Carried;
use adit_domain::reach::scope::Transport;
use adit_domain::{CertificateName, InstanceId, TicketId, Timestamp};

use super::{ReachLimits, instance};
use crate::sql::{Row, args};
use crate::tx::Tx;
use crate::{NewEvent, SecretHash, StoreError, TenantStore};

/// A ticket to issue.
#[derive(Clone, Debug)]
pub struct NewMachineTicket {
    /// Its row's id.
    pub id: TicketId,
    /// The keyed hash of the id that its target presents.
    pub hash: SecretHash,
    /// For what.
    pub capability: Carried,
    /// To which instance.
    pub instance: InstanceId,
    /// Who asked.
    pub source: CertificateName,
    /// Who is let in.
    pub target: CertificateName,
    /// When.
    pub at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

/// What became of a ticket that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssuedMachineTicket {
    /// It is there.
    Issued,
    /// Its source had as many as it may within the minute; when the oldest of these leaves the minute.
    TooOften(Timestamp),
    /// There are as many live ones as may be, in all or of this source.
    Full,
    /// What it rests on went in the meantime.
    Gone,
}

/// How a ticket stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MachineTicketState {
    /// It may be used, unless it has expired.
    Issued,
    /// It was used.
    Redeemed,
    /// It was taken back.
    Revoked,
}

/// A ticket as its row has it, with how its instance is reached where that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineTicket {
    /// Its row's id.
    pub id: TicketId,
    /// For what.
    pub capability: Carried,
    /// To which instance.
    pub instance: InstanceId,
    /// Who asked.
    pub source: CertificateName,
    /// Who is let in.
    pub target: CertificateName,
    /// How it stands.
    pub state: MachineTicketState,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// When it was used.
    pub redeemed_at: Option<Timestamp>,
    /// How the instance is reached.
    pub transport: Option<Transport>,
}

/// What became of a ticket that was presented.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Used {
    /// It is used now, or was by this very request, whose answer was lost.
    Once(Box<MachineTicket>),
    /// It was used, taken back, has expired, is another's or never was.
    Invalid,
}

/// Adds a ticket if everything is as it should be: its target is still assigned, its source has room, and so have all. One statement, so
/// that nothing comes between.
const ISSUE: &str = "INSERT INTO machine_tickets (tenant_id, id, hash, capability, instance_id, source, target, state, issued_at, expires_at) \
     SELECT $1, $2, $3, $4, $5, $6, $7, 'issued', $8, $9 FROM assignments a WHERE a.tenant_id = $1 AND a.instance_id = $5 AND a.target = $7 \
     AND (SELECT count(*) FROM (SELECT 1 FROM machine_tickets WHERE tenant_id = $1 AND source = $6 AND state = 'issued' AND expires_at > $8 \
     LIMIT $10) AS own) < $10 \
     AND (SELECT count(*) FROM (SELECT 1 FROM machine_tickets WHERE tenant_id = $1 AND state = 'issued' AND expires_at > $8 LIMIT $11) AS every) < $11 \
     AND ($12 = 0 OR (SELECT count(*) FROM (SELECT 1 FROM machine_tickets WHERE tenant_id = $1 AND source = $6 AND issued_at > $13 \
     AND issued_at <= $8 LIMIT $12) AS recent) < $12)";

/// Finds out what stood against a ticket.
async fn why_not(
    tx: &mut Tx,
    new: &NewMachineTicket,
    limits: ReachLimits,
) -> Result<IssuedMachineTicket, StoreError> {
    let recent = "SELECT issued_at FROM machine_tickets WHERE tenant_id = $1 AND source = $2 AND issued_at > $3 AND issued_at <= $5 \
         ORDER BY issued_at DESC LIMIT $4";
    let assigned =
        "SELECT 1 FROM assignments WHERE tenant_id = $1 AND instance_id = $2 AND target = $3";
    let target = new.target.to_string();
    if tx.row(assigned, args![new.instance, target]).await?.is_none() {
        return Ok(IssuedMachineTicket::Gone);
    }
    if limits.tickets_per_minute > 0 {
        let most = i64::from(limits.tickets_per_minute);
        let since = new.at - adit_domain::reach::WINDOW;
        let rows = tx.rows(recent, args![new.source.to_string(), since, most, new.at]).await?;
        if rows.len() as u64 >= u64::from(limits.tickets_per_minute) {
            let oldest = rows.into_iter().next_back();
            let at = oldest.map(|mut row| row.time()).transpose()?.unwrap_or(new.at);
            return Ok(IssuedMachineTicket::TooOften(at + adit_domain::reach::WINDOW));
        }
    }
    Ok(IssuedMachineTicket::Full)
}

macro_rules! ticket {
    ($where:literal) => {
        concat!(
            "SELECT t.id, t.capability, t.instance_id, t.source, t.target, t.state, t.issued_at, t.expires_at, t.redeemed_at, \
             i.strategies, i.preferred, i.host, i.port FROM machine_tickets t \
             LEFT JOIN instances i ON i.tenant_id = t.tenant_id AND i.id = t.instance_id WHERE t.tenant_id = $1",
            $where
        )
    };
}

/// A column of a ticket's instance.
macro_rules! of_instance {
    ($column:literal) => {
        concat!(
            "(SELECT i.",
            $column,
            " FROM instances i WHERE i.tenant_id = $1 AND i.id = machine_tickets.instance_id)"
        )
    };
}

/// Uses a ticket, and gives the columns that `ticket!` gives.
const USE: &str = concat!(
    "UPDATE machine_tickets SET state = 'redeemed', redeemed_at = $4, retry = $5 WHERE tenant_id = $1 AND hash = $2 AND target = $3 \
     AND state = 'issued' AND expires_at > $4 AND EXISTS \
     (SELECT 1 FROM instances i WHERE i.tenant_id = $1 AND i.id = machine_tickets.instance_id) \
     RETURNING id, capability, instance_id, source, target, state, issued_at, expires_at, redeemed_at, ",
    of_instance!("strategies"),
    ", ",
    of_instance!("preferred"),
    ", ",
    of_instance!("host"),
    ", ",
    of_instance!("port")
);

impl TenantStore {
    /// Issues a ticket, as far as the limits allow.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn issue_machine_ticket<E>(
        &self,
        new: NewMachineTicket,
        limits: ReachLimits,
        tell: E,
    ) -> Result<IssuedMachineTicket, StoreError>
    where
        E: FnOnce(&IssuedMachineTicket) -> Vec<NewEvent> + Send + 'static,
    {
        let own = args![
            new.id,
            new.hash,
            new.capability.as_str(),
            new.instance,
            new.source.to_string(),
            new.target.to_string(),
            new.at,
            new.expires_at,
            i64::from(ReachLimits::share(limits.tickets)),
            i64::from(limits.tickets),
            i64::from(limits.tickets_per_minute),
            new.at - adit_domain::reach::WINDOW
        ];
        self.write_once(tell, move |tx| {
            Box::pin(async move {
                if tx.run(ISSUE, own).await? > 0 {
                    return Ok(IssuedMachineTicket::Issued);
                }
                why_not(tx, &new, limits).await
            })
        })
        .await
    }

    /// Lists the live tickets whose target is a machine, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_inbox(
        &self,
        target: &CertificateName,
        now: Timestamp,
    ) -> Result<Vec<MachineTicket>, StoreError> {
        let sql = ticket!(
            " AND t.target = $2 AND t.state = 'issued' AND t.expires_at > $3 AND i.id IS NOT NULL ORDER BY t.expires_at DESC, t.id DESC LIMIT 1000"
        );
        let rows = self.rows(sql, args![target.to_string(), now]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Uses a ticket: of any number at once, one does. `retry` is the hash of what the caller sent to get the same answer again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn use_machine_ticket<E>(
        &self,
        hash: SecretHash,
        target: &CertificateName,
        now: Timestamp,
        retry: Option<[u8; 32]>,
        tell: E,
    ) -> Result<Used, StoreError>
    where
        E: FnOnce(&Used) -> Vec<NewEvent> + Send + 'static,
    {
        let target = target.to_string();
        let late = "UPDATE machine_tickets SET state = 'revoked' WHERE tenant_id = $1 AND hash = $2 AND state = 'issued' AND expires_at <= $3";
        let again = ticket!(
            " AND t.hash = $2 AND t.target = $3 AND t.state = 'redeemed' AND t.retry = $4 AND t.redeemed_at >= $5"
        );
        self.write_once(tell, move |tx| {
            Box::pin(async move {
                let mut found = tx.row(USE, args![hash, target.clone(), now, retry]).await?;
                if found.is_none() {
                    // One that came too late stays refused, should the clock be set back.
                    tx.run(late, args![hash, now]).await?;
                    let since = now - adit_domain::reach::VALIDATED_FOR;
                    found = tx.row(again, args![hash, target, retry, since]).await?;
                }
                Ok(match found {
                    Some(mut row) => Used::Once(Box::new(read(&mut row)?)),
                    None => Used::Invalid,
                })
            })
        })
        .await
    }

    /// Lists tickets, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_machine_tickets(&self, limit: u32) -> Result<Vec<MachineTicket>, StoreError> {
        let sql = ticket!(" ORDER BY t.issued_at DESC, t.id DESC LIMIT $2");
        let rows = self.rows(sql, args![i64::from(limit)]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Finds a ticket by its row's id or by the hash of what its target presents.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_machine_ticket(
        &self,
        id: Option<TicketId>,
        hash: Option<SecretHash>,
    ) -> Result<Option<MachineTicket>, StoreError> {
        let row = match (id, hash) {
            (Some(id), _) => self.row(ticket!(" AND t.id = $2"), args![id]).await?,
            (None, Some(hash)) => self.row(ticket!(" AND t.hash = $2"), args![hash]).await?,
            (None, None) => None,
        };
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// Marks a ticket as used, so that nobody uses it. Tells whether it is there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn revoke_machine_ticket<E>(
        &self,
        id: TicketId,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE machine_tickets SET state = 'revoked', redeemed_at = coalesce(redeemed_at, $3) WHERE tenant_id = $1 AND id = $2";
        self.write_once(tell, move |tx| {
            Box::pin(async move { Ok(tx.run(sql, args![id, at]).await? > 0) })
        })
        .await
    }
}

pub(super) fn read(row: &mut Row) -> Result<MachineTicket, StoreError> {
    Ok(MachineTicket {
        id: TicketId(row.uuid()?),
        capability: row.word("capability")?,
        instance: InstanceId(row.uuid()?),
        source: row.word("source")?,
        target: row.word("target")?,
        state: match row.text()?.as_str() {
            "issued" => MachineTicketState::Issued,
            "redeemed" => MachineTicketState::Redeemed,
            "revoked" => MachineTicketState::Revoked,
            _ => return Err(StoreError::Corrupt("state of a ticket")),
        },
        issued_at: row.time()?,
        expires_at: row.time()?,
        redeemed_at: row.maybe_time()?,
        transport: read_optional(row)?,
    })
}

fn read_optional(row: &mut Row) -> Result<Option<Transport>, StoreError> {
    if row.peek_empty()? { Ok(None) } else { instance::read_transport(row).map(Some) }
}
