//! Machines: what they say of themselves, what operators say of them, and their end.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_domain::policy::{Attended, Consent};
use adit_domain::{
    GatewayId, MachineId, MachineLabel, PrincipalId, TeamId, TenantId, Timestamp, TokenId,
};
use uuid::Uuid;

use crate::certificate::revoke_of_machine;
use crate::page::{LOWEST, List, Place};
use crate::sql::{Row, args, stored};
use crate::tx::Tx;
use crate::{Conflict, Cursor, NewEvent, Page, Paging, SecretHash, StoreError, TenantStore};

/// What a machine says of itself, made harmless by whoever read it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MachineFacts {
    /// What it calls itself.
    pub hostname: String,
    /// Its system.
    pub os: String,
    /// Its processor's architecture.
    pub arch: String,
    /// Its agent's version.
    pub version: String,
    /// How many processors.
    pub cores: u32,
    /// How much memory.
    pub memory_bytes: u64,
}

/// A machine as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Its id.
    pub id: MachineId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its label.
    pub label: MachineLabel,
    /// What it says of itself.
    pub facts: MachineFacts,
    /// What operators say of it.
    pub tags: Arc<BTreeMap<String, String>>,
    /// The team that it belongs to.
    pub team: Option<(TeamId, String)>,
    /// The public half of its Noise static key.
    pub link_key: [u8; 32],
    /// The run of its agent that was seen last.
    pub instance: Option<Uuid>,
    /// When it was enrolled.
    pub added_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// The gateway at which it is connected, as that one said when it last heard of it.
    pub gateway: Option<GatewayId>,
    /// When it was removed.
    pub removed_at: Option<Timestamp>,
    /// Whose support it is here for, and what its person agreed to.
    pub attended: Option<Attended>,
}

/// A machine that comes in.
#[derive(Clone, Debug)]
pub struct NewMachine {
    /// Its id.
    pub id: MachineId,
    /// The label that it would like.
    pub label: MachineLabel,
    /// What it says of itself.
    pub facts: MachineFacts,
    /// The public half of its Noise static key.
    pub link_key: [u8; 32],
    /// Its key.
    pub key: NewMachineKey,
    /// When it comes in.
    pub at: Timestamp,
}

/// A machine's key (`cak_…`) to add.
#[derive(Clone, Debug)]
pub struct NewMachineKey {
    /// Its handle.
    pub id: TokenId,
    /// Its hash.
    pub hash: SecretHash,
    /// Its first characters.
    pub prefix: String,
}

/// Selects machines, with columns before theirs.
macro_rules! machine {
    ($before:literal, $from_where:literal) => {
        concat!(
            "SELECT ",
            $before,
            "m.id, m.tenant_id, m.label, m.hostname, m.os, m.arch, m.version, m.cores, m.memory_bytes, m.tags, m.team_id, \
             (SELECT t.name FROM teams t WHERE t.tenant_id = m.tenant_id AND t.id = m.team_id), \
             m.link_key, m.instance, m.created_at, m.last_seen_at, m.gateway_id, m.deleted_at, m.support_for, m.consent, m.consent_until FROM ",
            $from_where
        )
    };
}

pub(crate) use machine;

const FIND: &str = machine!("", "machines m WHERE m.tenant_id = $1 AND m.id = $2");

impl TenantStore {
    /// Finds a machine, also one that was removed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_machine(&self, id: MachineId) -> Result<Option<Machine>, StoreError> {
        self.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Finds a machine that was not removed by its label.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_machine_labelled(
        &self,
        label: &MachineLabel,
    ) -> Result<Option<Machine>, StoreError> {
        let sql = machine!(
            "",
            "machines m WHERE m.tenant_id = $1 AND m.label = $2 AND m.deleted_at IS NULL"
        );
        self.row(sql, args![label.as_str()]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists the machines that were not removed, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_machines(&self, paging: &Paging) -> Result<Page<Machine>, StoreError> {
        let sql = machine!(
            "",
            "machines m WHERE m.tenant_id = $1 AND m.deleted_at IS NULL AND (m.created_at, m.id) > ($2, $3) \
             ORDER BY m.created_at, m.id LIMIT $4"
        );
        let place = paging.place(List::Machines, LOWEST)?;
        let rows = self.rows(sql, args![place.first, place.id, paging.rows()]).await?;
        let machines: Result<Vec<Machine>, _> =
            rows.into_iter().map(|mut r| read(&mut r)).collect();
        Ok(Page::of(machines?, paging, |machine| {
            let place = Place { first: machine.added_at.0, second: 0, id: machine.id.0 };
            Cursor::new(List::Machines, place)
        }))
    }

    /// Notes that a machine was heard of at this gateway, and what it says of itself where that is new.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn touch_machine(
        &self,
        id: MachineId,
        at: Timestamp,
        instance: Option<Uuid>,
        facts: Option<MachineFacts>,
    ) -> Result<(), StoreError> {
        let seen = "UPDATE machines SET last_seen_at = $3, instance = coalesce($4, instance), gateway_id = $5 WHERE tenant_id = $1 AND id = $2";
        let says = "UPDATE machines SET hostname = $3, os = $4, arch = $5, version = $6, cores = $7, memory_bytes = $8 \
             WHERE tenant_id = $1 AND id = $2";
        self.write(crate::silent, move |tx| {
            Box::pin(async move {
                let gateway = tx.gateway;
                tx.run(seen, args![id, at, instance, gateway]).await?;
                let Some(MachineFacts { hostname, os, arch, version, cores, memory_bytes }) = facts
                else {
                    return Ok(());
                };
                let (cores, memory) = (i64::from(cores), stored(memory_bytes));
                tx.run(says, args![id, hostname, os, arch, version, cores, memory]).await?;
                Ok(())
            })
        })
        .await
    }

    /// Notes that a machine is not at this gateway any more; it may be at another already.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn leave_machine(&self, id: MachineId, at: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE machines SET last_seen_at = $3, gateway_id = NULL WHERE tenant_id = $1 AND id = $2 AND gateway_id = $4";
        self.write(crate::silent, move |tx| {
            let gateway = tx.gateway;
            Box::pin(async move { tx.run(sql, args![id, at, gateway]).await.map(|_| ()) })
        })
        .await
    }

    /// Replaces what operators say of a machine: its tags and its team. Tells whether it is there.
    ///
    /// # Errors
    /// [`Conflict::Refers`] for a team that is not there.
    pub async fn describe_machine<E>(
        &self,
        id: MachineId,
        tags: &BTreeMap<String, String>,
        team: Option<TeamId>,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let stands = "SELECT 1 FROM teams WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
        let sql = "UPDATE machines SET tags = $3, team_id = $4 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
        let own = args![id, crate::session::json(tags)?, team];
        self.write(tell, move |tx| {
            Box::pin(async move {
                if let Some(team) = team {
                    let found = tx.row(stands, args![team]).await?;
                    found.ok_or(StoreError::Conflict(Conflict::Refers))?;
                }
                let done = tx.run(sql, own).await? > 0;
                tx.change_access().await?;
                Ok(done)
            })
        })
        .await
    }

    /// Removes a machine and revokes its keys; gives it as it was, `None` if it was not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_machine<E>(
        &self,
        id: MachineId,
        at: Timestamp,
        tell: E,
    ) -> Result<Option<Machine>, StoreError>
    where
        E: FnOnce(&Option<Machine>) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| {
            Box::pin(async move {
                if remove(tx, id, at).await? { find(tx, id).await } else { Ok(None) }
            })
        })
        .await
    }
}

/// Removes a machine with what it shows and the tickets for it. Tells whether it was there.
pub(crate) async fn remove(tx: &mut Tx, id: MachineId, at: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE machines SET deleted_at = $3 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
    if tx.run(sql, args![id, at]).await? == 0 {
        return Ok(false);
    }
    close_doors(tx, id, at).await?;
    tx.change_access().await?;
    Ok(true)
}

/// Adds a machine.
pub(crate) async fn insert(
    tx: &mut Tx,
    new: &NewMachine,
    label: &str,
    tags: &str,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO machines (tenant_id, id, label, hostname, os, arch, version, cores, memory_bytes, link_key, created_at, tags) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let facts = &new.facts;
    let own = args![
        new.id,
        label,
        facts.hostname.as_str(),
        facts.os.as_str(),
        facts.arch.as_str(),
        facts.version.as_str(),
        i64::from(facts.cores),
        stored(facts.memory_bytes),
        new.link_key,
        new.at,
        tags
    ];
    tx.run(sql, own).await.map(|_| ())
}

/// Gives a machine the keys of a new installation: what the old ones opened is over (R38).
pub(crate) async fn replace(
    tx: &mut Tx,
    machine: MachineId,
    new: &NewMachine,
) -> Result<(), StoreError> {
    let sql = "UPDATE machines SET link_key = $3, instance = NULL, hostname = $4, os = $5, arch = $6, version = $7 \
         WHERE tenant_id = $1 AND id = $2";
    let facts = &new.facts;
    let own = args![
        machine,
        new.link_key,
        facts.hostname.as_str(),
        facts.os.as_str(),
        facts.arch.as_str(),
        facts.version.as_str()
    ];
    close_doors(tx, machine, new.at).await?;
    tx.run(sql, own).await.map(|_| ())
}

/// Revokes what a machine shows, and the tickets for it.
async fn close_doors(tx: &mut Tx, machine: MachineId, at: Timestamp) -> Result<(), StoreError> {
    let tickets = "UPDATE tickets SET state = 'revoked', redeemed_at = $3 WHERE tenant_id = $1 AND machine_id = $2 AND state = 'issued'";
    revoke_keys(tx, machine, at).await?;
    revoke_of_machine(tx, machine, at).await?;
    tx.run(tickets, args![machine, at]).await.map(|_| ())
}

/// Finds a machine inside a transaction.
pub(crate) async fn find(tx: &mut Tx, id: MachineId) -> Result<Option<Machine>, StoreError> {
    tx.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
}

/// Adds a key of a machine.
pub(crate) async fn insert_key(
    tx: &mut Tx,
    machine: MachineId,
    key: NewMachineKey,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO machine_keys (tenant_id, id, machine_id, hash, prefix, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    tx.run(sql, args![key.id, machine, key.hash, key.prefix, at]).await.map(|_| ())
}

/// Revokes every key of a machine.
pub(crate) async fn revoke_keys(
    tx: &mut Tx,
    machine: MachineId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE machine_keys SET revoked_at = $3 WHERE tenant_id = $1 AND machine_id = $2 AND revoked_at IS NULL";
    tx.run(sql, args![machine, at]).await.map(|_| ())
}

fn read_tags(text: &str) -> Result<Arc<BTreeMap<String, String>>, StoreError> {
    serde_json::from_str(text).map(Arc::new).map_err(|_| StoreError::Corrupt("tags"))
}

/// Reads a machine of a row.
pub(crate) fn read(row: &mut Row) -> Result<Machine, StoreError> {
    Ok(Machine {
        id: MachineId(row.uuid()?),
        tenant: TenantId(row.uuid()?),
        label: row.word("machine's label")?,
        facts: MachineFacts {
            hostname: row.text()?,
            os: row.text()?,
            arch: row.text()?,
            version: row.text()?,
            cores: row.count()?,
            memory_bytes: row.count()?,
        },
        tags: read_tags(&row.text()?)?,
        team: row.maybe_uuid()?.map(TeamId).zip(row.maybe_text()?),
        link_key: row.hash()?,
        instance: row.maybe_uuid()?,
        added_at: row.time()?,
        last_seen_at: row.maybe_time()?,
        gateway: row.maybe_uuid()?.map(GatewayId),
        removed_at: row.maybe_time()?,
        attended: read_attended(row)?,
    })
}

fn read_attended(row: &mut Row) -> Result<Option<Attended>, StoreError> {
    let technician = row.maybe_uuid()?.map(PrincipalId);
    let allows = row.maybe_capabilities()?;
    let until = row.maybe_time()?;
    let consent = allows.zip(until).map(|(allows, until)| Consent { allows, until });
    Ok(technician.map(|technician| Attended { technician, consent }))
}
