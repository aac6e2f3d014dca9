//! Support codes, the machine that each lets in, and what its person agreed to.

use std::time::Duration;

use adit_domain::policy::Consent;
use adit_domain::principal::Principal;
use adit_domain::support::Access;
use adit_domain::{
    Code, MachineId, MachineLabel, PrincipalId, SessionId, TenantId, Timestamp, TokenId,
};

use crate::machine::{self, Machine, NewMachine};
use crate::page::{HIGHEST, List, Place};
use crate::principal::read_principal;
use crate::sql::{Row, args, stored, write_capabilities};
use crate::tx::{Scope, Tx};
use crate::{Cursor, NewEvent, Page, Paging, SecretHash, Store, StoreError, TenantStore};

/// A support code to add.
#[derive(Clone, Debug)]
pub struct NewSupportCode {
    /// Its handle.
    pub id: TokenId,
    /// Its keyed hash.
    pub hash: SecretHash,
    /// The technician.
    pub by: PrincipalId,
    /// What the technician asks for.
    pub access: Access,
    /// How long support may last.
    pub length: Duration,
    /// The technician's address.
    pub client: Option<String>,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// When it is made.
    pub at: Timestamp,
}

/// Support, from its code to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Support {
    /// The code's handle.
    pub id: TokenId,
    /// The technician.
    pub technician: Principal,
    /// What the technician asks for.
    pub access: Access,
    /// How long it may last.
    pub length: Duration,
    /// The technician's address.
    pub client: Option<String>,
    /// When the code was made.
    pub created_at: Timestamp,
    /// From when on the code is refused.
    pub expires_at: Timestamp,
    /// When a machine came with it.
    pub used_at: Option<Timestamp>,
    /// From which address.
    pub used_from: Option<String>,
    /// The machine that came with it.
    pub machine: Option<(MachineId, MachineLabel)>,
    /// The session that it became.
    pub session: Option<SessionId>,
    /// When the person agreed.
    pub consented_at: Option<Timestamp>,
    /// When it ends by itself.
    pub ends_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why.
    pub end: Option<Code>,
}

/// A person's yes.
#[derive(Clone, Copy, Debug)]
pub struct Agreed {
    /// To what.
    pub consent: Consent,
    /// When.
    pub at: Timestamp,
    /// Codes that were used before this were answered too late.
    pub asked_after: Timestamp,
}

macro_rules! support {
    ($where:literal) => {
        concat!(
            "SELECT p.id, p.tenant_id, p.kind, p.name, c.id, c.access, c.length_ms, c.client, c.created_at, c.expires_at, c.used_at, \
             c.used_from, c.machine_id, m.label, \
             (SELECT s.id FROM sessions s WHERE s.tenant_id = c.tenant_id AND s.machine_id = c.machine_id AND s.started_at IS NOT NULL \
             ORDER BY s.started_at LIMIT 1), c.consented_at, c.ends_at, c.ended_at, c.end_code \
             FROM support_codes c JOIN principals p ON p.tenant_id = c.tenant_id AND p.id = c.created_by \
             LEFT JOIN machines m ON m.tenant_id = c.tenant_id AND m.id = c.machine_id WHERE ",
            $where
        )
    };
}

const FIND: &str = support!("c.tenant_id = $1 AND c.id = $2");

impl Store {
    /// Uses a code up and lets its machine in, in one step: of any number at once, one gets in. `None`: used, revoked, expired or never
    /// made.
    ///
    /// # Errors
    /// [`crate::Conflict::Exists`] when a live machine has this link key; the code is not used up then.
    pub async fn redeem_support_code<E>(
        &self,
        hash: SecretHash,
        from: Option<String>,
        new: NewMachine,
        tell: E,
    ) -> Result<Option<(Support, Machine)>, StoreError>
    where
        E: FnOnce(&Option<(Support, Machine)>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE support_codes SET used_at = $2, used_from = $3 WHERE hash = $1 AND used_at IS NULL AND ended_at IS NULL \
             AND expires_at > $2 RETURNING tenant_id, id, created_by";
        let brought = "UPDATE support_codes SET machine_id = $3 WHERE tenant_id = $1 AND id = $2";
        let here_for = "UPDATE machines SET support_for = $3 WHERE tenant_id = $1 AND id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let Some(mut row) = tx.row(sql, args![hash, new.at, from]).await? else {
                    return Ok(None);
                };
                let tenant = TenantId(row.uuid()?);
                let (id, technician) = (TokenId(row.uuid()?), PrincipalId(row.uuid()?));
                tx.enter(Scope::Tenant(tenant)).await?;
                let machine = new.id;
                crate::enrolment::let_in(tx, new).await?;
                tx.run(here_for, args![machine, technician]).await?;
                tx.run(brought, args![id, machine]).await?;
                let machine = machine::find(tx, machine).await?;
                Ok(load(tx, id).await?.zip(machine))
            })
        })
        .await
    }

    /// Lists support that should have ended by now: nobody answered since `asked_before`, the machine was not heard of since
    /// `seen_before`, or its time is over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_overdue_support(
        &self,
        asked_before: Timestamp,
        seen_before: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<(TenantId, TokenId)>, StoreError> {
        let sql = "SELECT c.tenant_id, c.id FROM support_codes c JOIN machines m ON m.tenant_id = c.tenant_id AND m.id = c.machine_id \
             WHERE c.ended_at IS NULL AND c.used_at IS NOT NULL AND ((c.consented_at IS NULL AND c.used_at < $1) OR c.ends_at <= $2 \
             OR (c.consented_at IS NOT NULL AND coalesce(m.last_seen_at, c.consented_at) < $3)) ORDER BY c.used_at LIMIT 200";
        let own = args![asked_before, now, seen_before];
        let rows = self.reads().rows(Scope::System, sql, own).await?;
        rows.into_iter().map(|mut row| Ok((TenantId(row.uuid()?), TokenId(row.uuid()?)))).collect()
    }

    /// Deletes codes that ran out before `before` and let nothing in.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_support_codes(&self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = "DELETE FROM support_codes WHERE used_at IS NULL AND expires_at < $1";
        self.write(crate::silent, move |tx| Box::pin(tx.run(sql, args![before]))).await
    }
}

impl TenantStore {
    /// Adds a code, unless its technician has as many that still count as one may. Tells whether it was added.
    ///
    /// # Errors
    /// [`crate::Conflict::Refers`] when the technician is not there.
    pub async fn issue_support_code<E>(
        &self,
        new: NewSupportCode,
        most: u32,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let open = "SELECT count(*) FROM support_codes WHERE tenant_id = $1 AND created_by = $2 AND used_at IS NULL \
             AND ended_at IS NULL AND expires_at > $3";
        let sql = "INSERT INTO support_codes (tenant_id, id, hash, created_by, access, length_ms, client, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let mut row = tx
                    .row(open, args![new.by, new.at])
                    .await?
                    .ok_or(StoreError::Corrupt("count"))?;
                if row.count::<u32>()? >= most {
                    return Ok(false);
                }
                let length = stored(u64::try_from(new.length.as_millis()).unwrap_or(u64::MAX));
                let own = args![
                    new.id,
                    new.hash,
                    new.by,
                    new.access.as_str(),
                    length,
                    new.client,
                    new.at,
                    new.expires_at
                ];
                tx.run(sql, own).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Writes down that the person at a machine agreed; gives the support as it is now. `None`: answered or ended before, or asked too
    /// long ago.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn agree_to_support<E>(
        &self,
        machine: MachineId,
        agreed: Agreed,
        tell: E,
    ) -> Result<Option<Support>, StoreError>
    where
        E: FnOnce(&Option<Support>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE support_codes SET consented_at = $3, ends_at = $4 WHERE tenant_id = $1 AND machine_id = $2 \
             AND consented_at IS NULL AND ended_at IS NULL AND used_at > $5 RETURNING id";
        let may =
            "UPDATE machines SET consent = $3, consent_until = $4 WHERE tenant_id = $1 AND id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let Agreed { consent, at, asked_after } = agreed;
                let own = args![machine, at, consent.until, asked_after];
                let Some(mut row) = tx.row(sql, own).await? else { return Ok(None) };
                let id = TokenId(row.uuid()?);
                let allows = write_capabilities(consent.allows);
                tx.run(may, args![machine, allows, consent.until]).await?;
                tx.change_access().await?;
                load(tx, id).await
            })
        })
        .await
    }

    /// Ends support: its code opens nothing, its machine is removed. Gives it as it is now; `None` if it was not there or over before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_support<E>(
        &self,
        id: TokenId,
        code: Code,
        at: Timestamp,
        tell: E,
    ) -> Result<Option<Support>, StoreError>
    where
        E: FnOnce(&Option<Support>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE support_codes SET ended_at = $3, end_code = $4 WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL \
             RETURNING machine_id";
        let closed = "UPDATE machines SET consent = NULL, consent_until = NULL WHERE tenant_id = $1 AND id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let Some(mut row) = tx.row(sql, args![id, at, code.as_str()]).await? else {
                    return Ok(None);
                };
                if let Some(machine) = row.maybe_uuid()?.map(MachineId) {
                    tx.run(closed, args![machine]).await?;
                    machine::remove(tx, machine, at).await?;
                }
                load(tx, id).await
            })
        })
        .await
    }

    /// Finds support by its code's handle.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_support(&self, id: TokenId) -> Result<Option<Support>, StoreError> {
        self.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Finds the support that a machine is here for.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_support_of(&self, machine: MachineId) -> Result<Option<Support>, StoreError> {
        let sql = support!("c.tenant_id = $1 AND c.machine_id = $2");
        self.row(sql, args![machine]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists support, the newest first; only a technician's, if one is named.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_support(
        &self,
        of: Option<PrincipalId>,
        paging: &Paging,
    ) -> Result<Page<Support>, StoreError> {
        let all = support!(
            "c.tenant_id = $1 AND (c.created_at, c.id) < ($2, $3) ORDER BY c.created_at DESC, c.id DESC LIMIT $4"
        );
        let own = support!(
            "c.tenant_id = $1 AND (c.created_at, c.id) < ($2, $3) AND c.created_by = $5 ORDER BY c.created_at DESC, c.id DESC LIMIT $4"
        );
        let place = paging.place(List::Support, HIGHEST)?;
        let mut arguments = args![place.first, place.id, paging.rows()];
        arguments.extend(of.map(crate::sql::Arg::from));
        let rows = self.rows(if of.is_some() { own } else { all }, arguments).await?;
        let found: Result<Vec<Support>, _> = rows.into_iter().map(|mut r| read(&mut r)).collect();
        Ok(Page::of(found?, paging, |one| {
            let place = Place { first: one.created_at.0, second: 0, id: one.id.0 };
            Cursor::new(List::Support, place)
        }))
    }
}

async fn load(tx: &mut Tx, id: TokenId) -> Result<Option<Support>, StoreError> {
    tx.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
}

fn read(row: &mut Row) -> Result<Support, StoreError> {
    let corrupt = |_| StoreError::Corrupt("support code");
    Ok(Support {
        technician: read_principal(row)?,
        id: TokenId(row.uuid()?),
        access: row.word("access")?,
        length: Duration::from_millis(row.count()?),
        client: row.maybe_text()?,
        created_at: row.time()?,
        expires_at: row.time()?,
        used_at: row.maybe_time()?,
        used_from: row.maybe_text()?,
        machine: {
            let id = row.maybe_uuid()?.map(MachineId);
            let label = row.maybe_text()?.map(|label| label.parse().map_err(|_| ()));
            id.zip(label.transpose().map_err(corrupt)?)
        },
        session: row.maybe_uuid()?.map(SessionId),
        consented_at: row.maybe_time()?,
        ends_at: row.maybe_time()?,
        ended_at: row.maybe_time()?,
        end: row
            .maybe_text()?
            .map(|code| code.parse().map_err(|_| ()))
            .transpose()
            .map_err(corrupt)?,
    })
}
