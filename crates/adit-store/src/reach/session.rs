//! Sessions between machines: one a ticket, alive as long as both ends may and one is heard of.

use adit_domain::certificate::Carried;
use adit_domain::reach::{Lapse, Life, Reach, Status};
use adit_domain::{CertificateName, InstanceId, SessionId, TenantId, TicketId, Timestamp};

use super::{ReachCutoffs, ReachLimits, read_reach, vouches};
use crate::sql::{Row, args};
use crate::tx::{Scope, Tx};
use crate::{NewEvent, SecretHash, Store, StoreError, TenantStore};

/// A session as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The ticket that opened it, by its row's id.
    pub ticket: TicketId,
    /// For what.
    pub capability: Carried,
    /// To which instance.
    pub instance: InstanceId,
    /// Who offers.
    pub source: CertificateName,
    /// Who was let in.
    pub target: CertificateName,
    /// How it stands.
    pub status: Status,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When an end was last heard of.
    pub heard_at: Timestamp,
    /// When its grace began.
    pub grace_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What ended it.
    pub reason: Option<Lapse>,
}

impl MachineSession {
    fn begun(
        tenant: TenantId,
        (id, ticket): (SessionId, TicketId),
        (capability, instance): (Carried, InstanceId),
        (source, target): (CertificateName, CertificateName),
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            tenant,
            ticket,
            capability,
            instance,
            source,
            target,
            status: Status::Active,
            created_at: now,
            heard_at: now,
            grace_at: None,
            ended_at: None,
            reason: None,
        }
    }

    /// Gives the times that its life depends on.
    pub fn life(&self) -> Life {
        Life { status: self.status, heard_at: self.heard_at, grace_at: self.grace_at }
    }

    /// Tells whether somebody is one of its ends.
    pub fn is_end(&self, name: &CertificateName) -> bool {
        self.source == *name || self.target == *name
    }
}

/// What became of a session that was to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// It is there.
    New(Box<MachineSession>),
    /// The ticket is not the caller's, was not validated, or too long ago.
    State,
    /// The ticket has its session.
    Taken,
    /// There are as many as may be, in all or of this source.
    Full,
}

/// The columns of a session, each with the name of its table before it.
macro_rules! columns {
    ($of:literal) => {
        concat!(
            $of,
            "id, ",
            $of,
            "tenant_id, ",
            $of,
            "ticket_id, ",
            $of,
            "capability, ",
            $of,
            "instance_id, ",
            $of,
            "source, ",
            $of,
            "target, ",
            $of,
            "status, ",
            $of,
            "created_at, ",
            $of,
            "heard_at, ",
            $of,
            "grace_at, ",
            $of,
            "ended_at, ",
            $of,
            "reason"
        )
    };
}

macro_rules! session {
    ($where:literal) => {
        concat!(
            "SELECT ",
            columns!("s."),
            " FROM machine_sessions s WHERE s.tenant_id = $1",
            $where
        )
    };
}

/// A session with what the decision about it rests on: the same as for a ticket, asked by its row.
macro_rules! with_facts {
    ($where:literal) => {
        concat!(
            "SELECT ",
            columns!("s."),
            ", EXISTS (SELECT 1 FROM certificates c WHERE c.tenant_id = s.tenant_id AND c.name = s.source AND c.revoked_at IS NULL AND c.not_after > $2) \
             AND EXISTS (SELECT 1 FROM certificates c WHERE c.tenant_id = s.tenant_id AND c.name = s.source_by AND c.revoked_at IS NULL AND c.not_after > $2), \
             EXISTS (SELECT 1 FROM holdings h WHERE h.tenant_id = s.tenant_id AND h.holder = s.source AND h.capability = s.capability), \
             EXISTS (SELECT 1 FROM certificates c WHERE c.tenant_id = s.tenant_id AND c.name = s.target AND c.revoked_at IS NULL AND c.not_after > $2) \
             AND EXISTS (SELECT 1 FROM certificates c WHERE c.tenant_id = s.tenant_id AND c.name = s.target_by AND c.revoked_at IS NULL AND c.not_after > $2), \
             EXISTS (SELECT 1 FROM holdings h WHERE h.tenant_id = s.tenant_id AND h.holder = s.target AND h.capability = s.capability), \
             EXISTS (SELECT 1 FROM assignments a WHERE a.tenant_id = s.tenant_id AND a.instance_id = s.instance_id AND a.target = s.target), \
             i.owner, i.capability, i.heard_at \
             FROM machine_sessions s LEFT JOIN instances i ON i.tenant_id = s.tenant_id AND i.id = s.instance_id WHERE ",
            $where
        )
    };
}

impl TenantStore {
    /// Opens the session of a ticket that its target validated since a time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_machine_session<E>(
        &self,
        (id, hash): (SessionId, SecretHash),
        target: &CertificateName,
        (now, since): (Timestamp, Timestamp),
        limits: ReachLimits,
        tell: E,
    ) -> Result<Opened, StoreError>
    where
        E: FnOnce(&Opened) -> Vec<NewEvent> + Send + 'static,
    {
        let (tenant, target) = (self.id(), target.to_string());
        let ticket = "SELECT t.id, t.capability, t.instance_id, t.source, t.target, EXISTS \
             (SELECT 1 FROM machine_sessions s WHERE s.ticket_id = t.id), t.redeemed_at >= $4, EXISTS \
             (SELECT 1 FROM instances i WHERE i.tenant_id = $1 AND i.id = t.instance_id), \
             (SELECT count(*) FROM (SELECT 1 FROM machine_sessions s WHERE s.tenant_id = $1 AND s.status <> 'dead' LIMIT $5) AS every), \
             (SELECT count(*) FROM (SELECT 1 FROM machine_sessions s WHERE s.tenant_id = $1 AND s.source = t.source AND s.status <> 'dead' \
             LIMIT $6) AS own), \
             (SELECT count(*) FROM (SELECT 1 FROM machine_sessions s WHERE s.tenant_id = $1 AND s.source = t.source AND s.target = t.target \
             AND s.status <> 'dead' LIMIT $7) AS pair) \
             FROM machine_tickets t WHERE t.tenant_id = $1 AND t.hash = $2 AND t.target = $3 AND t.state = 'redeemed'";
        let share = ReachLimits::share(limits.sessions);
        // One target leaves room for the others of its source.
        let (most, own_most, pair_most) = (limits.sessions, share, (share / 5).max(2));
        let sql = "INSERT INTO machine_sessions (tenant_id, id, ticket_id, capability, instance_id, source, target, source_by, target_by, status, \
             created_at, heard_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'active', $10, $10)";
        self.write_once(tell, move |tx| {
            Box::pin(async move {
                let limits = [most, own_most, pair_most].map(i64::from);
                let own = args![hash, target, since, limits[0], limits[1], limits[2]];
                let Some(mut row) = tx.row(ticket, own).await? else {
                    return Ok(Opened::State);
                };
                let (ticket, capability) =
                    (TicketId(row.uuid()?), row.word::<Carried>("capability")?);
                let instance = InstanceId(row.uuid()?);
                let source: CertificateName = row.word("source")?;
                let target: CertificateName = row.word("target")?;
                let (taken, lately, there) = (row.flag()?, row.flag()?, row.flag()?);
                let (every, mine, pair): (i64, i64, i64) = (row.int()?, row.int()?, row.int()?);
                if taken {
                    return Ok(Opened::Taken);
                }
                if !lately || !there {
                    return Ok(Opened::State);
                }
                if every >= limits[0] || mine >= limits[1] || pair >= limits[2] {
                    return Ok(Opened::Full);
                }
                let own = args![
                    id,
                    ticket,
                    capability.as_str(),
                    instance,
                    source.to_string(),
                    target.to_string(),
                    vouches(&source).to_string(),
                    vouches(&target).to_string(),
                    now
                ];
                tx.run(sql, own).await?;
                let ends = (source, target);
                let new =
                    MachineSession::begun(tenant, (id, ticket), (capability, instance), ends, now);
                Ok(Opened::New(Box::new(new)))
            })
        })
        .await
    }

    /// Finds a session with what the decision about it rests on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_machine_session(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<(MachineSession, Reach)>, StoreError> {
        let row = self.row(with_facts!("s.tenant_id = $1 AND s.id = $3"), args![now, id]).await?;
        row.map(|mut row| read_with_facts(&mut row)).transpose()
    }

    /// Lists sessions, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_machine_sessions(
        &self,
        limit: u32,
    ) -> Result<Vec<MachineSession>, StoreError> {
        let sql = session!(" ORDER BY s.created_at DESC, s.id DESC LIMIT $2");
        let rows = self.rows(sql, args![i64::from(limit)]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Lists the live sessions of a source for one capability.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_live_machine_sessions_of(
        &self,
        source: &CertificateName,
        capability: &Carried,
    ) -> Result<Vec<MachineSession>, StoreError> {
        let sql = session!(
            " AND s.source = $2 AND s.capability = $3 AND s.status <> 'dead' ORDER BY s.created_at"
        );
        let rows = self.rows(sql, args![source.to_string(), capability.as_str()]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Finds the session of a ticket.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_session_of_ticket(
        &self,
        ticket: TicketId,
    ) -> Result<Option<MachineSession>, StoreError> {
        let row = self.row(session!(" AND s.ticket_id = $2"), args![ticket]).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// Notes that an end of a session was heard of, and how it is left. Tells whether it lives.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn hear_machine_session(
        &self,
        id: SessionId,
        status: Option<Status>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        // A grace that runs is not begun anew.
        let sql = "UPDATE machine_sessions SET heard_at = CASE WHEN heard_at > $3 THEN heard_at ELSE $3 END, status = coalesce($4, status), \
             grace_at = CASE WHEN $4 = 'active' THEN NULL WHEN $4 = 'grace' THEN coalesce(grace_at, $3) ELSE grace_at END \
             WHERE tenant_id = $1 AND id = $2 AND status <> 'dead'";
        let status = status.map(|one| one.as_str().to_owned());
        let heard =
            self.write_once(crate::silent, move |tx| Box::pin(tx.run(sql, args![id, at, status])));
        Ok(heard.await? > 0)
    }

    /// Ends a session and gives it; `None` if it was over or not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_machine_session<E>(
        &self,
        id: SessionId,
        reason: Lapse,
        at: Timestamp,
        tell: E,
    ) -> Result<Option<MachineSession>, StoreError>
    where
        E: FnOnce(&Option<MachineSession>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = concat!(
            "UPDATE machine_sessions SET status = 'dead', ended_at = $3, reason = $4 \
             WHERE tenant_id = $1 AND id = $2 AND status <> 'dead' RETURNING ",
            columns!("")
        );
        self.write_once(tell, move |tx| {
            Box::pin(async move {
                let row = tx.row(sql, args![id, at, reason.as_str()]).await?;
                row.map(|mut row| read(&mut row)).transpose()
            })
        })
        .await
    }
}

impl Store {
    /// Lists every session that lives, of any tenant, with what the decision about it rests on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_live_reaches(
        &self,
        now: Timestamp,
    ) -> Result<Vec<(MachineSession, Reach)>, StoreError> {
        // `$1` stands for no tenant here; it keeps the numbers of the placeholders.
        let sql = with_facts!("s.status <> 'dead' AND $1 = 0");
        let rows = self.reads().rows(Scope::System, sql, args![0_i64, now]).await?;
        rows.into_iter().map(|mut row| read_with_facts(&mut row)).collect()
    }

    /// Tells whether a session is over, and why; one that is gone is over for no reason.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_ended(&self, id: SessionId) -> Result<Option<Option<Lapse>>, StoreError> {
        let sql = "SELECT status = 'dead', reason FROM machine_sessions WHERE id = $1";
        let Some(mut row) = self.reads().row(Scope::System, sql, args![id]).await? else {
            return Ok(Some(None));
        };
        let dead = row.flag()?;
        let reason = row.maybe_text()?.and_then(|text| text.parse().ok());
        Ok(dead.then_some(reason))
    }
}

/// Ends the sessions that time has ended.
pub(super) async fn lapse(
    tx: &mut Tx,
    cutoffs: ReachCutoffs,
) -> Result<Vec<MachineSession>, StoreError> {
    let over = "SELECT id, tenant_id FROM machine_sessions WHERE status <> 'dead' AND heard_at < $1 \
         UNION SELECT id, tenant_id FROM machine_sessions WHERE status = 'grace' AND grace_at < $2";
    let sql = "UPDATE machine_sessions SET status = 'dead', ended_at = $3, reason = CASE WHEN status = 'grace' AND grace_at < $4 THEN 'grace_expired' ELSE 'inactive' END \
         WHERE tenant_id = $1 AND id = $2";
    let mut ended = Vec::new();
    for mut row in tx.rows(over, args![cutoffs.silent, cutoffs.grace]).await? {
        let (id, tenant) = (SessionId(row.uuid()?), TenantId(row.uuid()?));
        tx.enter(Scope::Tenant(tenant)).await?;
        tx.run(sql, args![id, cutoffs.now, cutoffs.grace]).await?;
        if let Some(mut row) = tx.row(session!(" AND s.id = $2"), args![id]).await? {
            ended.push(read(&mut row)?);
        }
        tx.enter(Scope::System).await?;
    }
    Ok(ended)
}

/// Lists the live sessions on an instance.
pub(super) async fn live_on(
    tx: &mut Tx,
    instance: InstanceId,
) -> Result<Vec<MachineSession>, StoreError> {
    let sql = session!(" AND s.instance_id = $2 AND s.status <> 'dead'");
    let rows = tx.rows(sql, args![instance]).await?;
    rows.into_iter().map(|mut row| read(&mut row)).collect()
}

/// Lists the live sessions for the capabilities of a scope.
pub(super) async fn live_for(tx: &mut Tx, scope: &str) -> Result<Vec<MachineSession>, StoreError> {
    let sql = session!(
        " AND s.status <> 'dead' AND s.capability IN (SELECT name FROM scope_actions WHERE tenant_id = $1 AND scope = $2)"
    );
    let rows = tx.rows(sql, args![scope]).await?;
    rows.into_iter().map(|mut row| read(&mut row)).collect()
}

fn read_with_facts(row: &mut Row) -> Result<(MachineSession, Reach), StoreError> {
    let session = read(row)?;
    let ends = (session.source.clone(), session.target.clone());
    let reach = read_reach(row, session.tenant, session.capability.clone(), ends)?;
    Ok((session, reach))
}

fn read(row: &mut Row) -> Result<MachineSession, StoreError> {
    Ok(MachineSession {
        id: SessionId(row.uuid()?),
        tenant: TenantId(row.uuid()?),
        ticket: TicketId(row.uuid()?),
        capability: row.word("capability")?,
        instance: InstanceId(row.uuid()?),
        source: row.word("source")?,
        target: row.word("target")?,
        status: row.word("status")?,
        created_at: row.time()?,
        heard_at: row.time()?,
        grace_at: row.maybe_time()?,
        ended_at: row.maybe_time()?,
        reason: row
            .maybe_text()?
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| StoreError::Corrupt("reason"))?,
    })
}
