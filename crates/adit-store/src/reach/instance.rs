//! Instances that machines offer, and to whom they are assigned.

use adit_domain::certificate::Carried;
use adit_domain::reach::scope::{Direct, Transport, read_strategies};
use adit_domain::{CertificateName, InstanceId, Timestamp};

use super::ReachLimits;
use super::scope::write_strategies;
use super::session::{self, MachineSession};
use crate::sql::{Row, args};
use crate::tx::Tx;
use crate::{NewEvent, StoreError, TenantStore};

/// An instance to offer.
#[derive(Clone, Debug)]
pub struct NewInstance {
    /// Its id, should it be new.
    pub id: InstanceId,
    /// For what.
    pub capability: Carried,
    /// Who offers it.
    pub owner: CertificateName,
    /// How it is reached.
    pub transport: Transport,
    /// When.
    pub at: Timestamp,
}

/// An instance as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// For what.
    pub capability: Carried,
    /// Who offers it.
    pub owner: CertificateName,
    /// How it is reached.
    pub transport: Transport,
    /// When its owner was last heard of.
    pub heard_at: Timestamp,
    /// Since when it is there.
    pub created_at: Timestamp,
}

/// What became of an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Offered {
    /// It is new.
    New(InstanceId),
    /// Its owner offered it before; how it is reached was brought up to date.
    Again(InstanceId),
    /// There are as many as may be, in all or of this owner.
    Full,
}

/// An instance that was removed, and the sessions that went with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removed {
    /// The instance.
    pub instance: Instance,
    /// The sessions that lived.
    pub sessions: Vec<MachineSession>,
}

/// That a target may be let in to an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The instance.
    pub instance: InstanceId,
    /// For what it is.
    pub capability: Carried,
    /// Who may be let in.
    pub target: CertificateName,
    /// Since when.
    pub assigned_at: Timestamp,
    /// By whom.
    pub assigned_by: String,
}

macro_rules! instance {
    ($where:literal) => {
        concat!(
            "SELECT i.id, i.capability, i.owner, i.strategies, i.preferred, i.host, i.port, i.heard_at, i.created_at \
             FROM instances i WHERE i.tenant_id = $1",
            $where
        )
    };
}

macro_rules! assignment {
    ($where:literal) => {
        concat!(
            "SELECT a.instance_id, i.capability, a.target, a.assigned_at, a.assigned_by FROM assignments a \
             JOIN instances i ON i.tenant_id = a.tenant_id AND i.id = a.instance_id WHERE a.tenant_id = $1",
            $where
        )
    };
}

impl TenantStore {
    /// Offers an instance, or the same again: one a capability and machine.
    ///
    /// # Errors
    /// [`crate::Conflict::Refers`] when the capability is not registered.
    pub async fn offer_instance<E>(
        &self,
        new: NewInstance,
        limits: ReachLimits,
        tell: E,
    ) -> Result<Offered, StoreError>
    where
        E: FnOnce(&Offered) -> Vec<NewEvent> + Send + 'static,
    {
        let there =
            "SELECT id FROM instances WHERE tenant_id = $1 AND capability = $2 AND owner = $3";
        let again = "UPDATE instances SET strategies = $3, preferred = $4, host = $5, port = $6, heard_at = $7 WHERE tenant_id = $1 AND id = $2";
        let counts = "SELECT count(*), CAST(coalesce(sum(CASE WHEN owner = $2 THEN 1 ELSE 0 END), 0) AS BIGINT) FROM instances WHERE tenant_id = $1";
        let sql = "INSERT INTO instances (tenant_id, id, strategies, preferred, host, port, heard_at, capability, owner, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $7)";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let owner = new.owner.to_string();
                let capability = new.capability.as_str();
                let row = tx.row(there, args![capability, owner.clone()]).await?;
                let old = row.map(|mut row| row.uuid().map(InstanceId)).transpose()?;
                let id = old.unwrap_or(new.id);
                let direct = new.transport.direct.as_ref();
                let mut own = args![
                    id,
                    write_strategies(&new.transport.strategies),
                    new.transport.preferred.map(|one| one.as_str().to_owned()),
                    direct.map(|direct| direct.host.to_string()),
                    direct.map(|direct| i64::from(direct.port)),
                    new.at
                ];
                if old.is_some() {
                    tx.run(again, own).await?;
                    return Ok(Offered::Again(id));
                }
                let row = tx.row(counts, args![owner.clone()]).await?;
                let mut row = row.ok_or(StoreError::Corrupt("count"))?;
                let (all, mine): (u32, u32) = (row.count()?, row.count()?);
                if all >= limits.instances || mine >= ReachLimits::share(limits.instances) {
                    return Ok(Offered::Full);
                }
                own.extend(args![capability, owner]);
                tx.run(sql, own).await?;
                Ok(Offered::New(id))
            })
        })
        .await
    }

    /// Finds an instance.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_instance(&self, id: InstanceId) -> Result<Option<Instance>, StoreError> {
        let row = self.row(instance!(" AND i.id = $2"), args![id]).await?;
        row.map(|mut row| read_instance(&mut row)).transpose()
    }

    /// Lists the instances, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_instances(&self) -> Result<Vec<Instance>, StoreError> {
        let rows = self.rows(instance!(" ORDER BY i.created_at, i.id"), args![]).await?;
        rows.into_iter().map(|mut row| read_instance(&mut row)).collect()
    }

    /// Notes that the owner of an instance was heard of. Tells whether it is there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn hear_instance(&self, id: InstanceId, at: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE instances SET heard_at = CASE WHEN heard_at > $3 THEN heard_at ELSE $3 END WHERE tenant_id = $1 AND id = $2";
        let heard =
            self.write(crate::silent, move |tx| Box::pin(tx.run(sql, args![id, at]))).await?;
        Ok(heard > 0)
    }

    /// Removes an instance with its assignments, tickets and sessions; `None` if it was not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_instance<E>(
        &self,
        id: InstanceId,
        tell: E,
    ) -> Result<Option<Removed>, StoreError>
    where
        E: FnOnce(&Option<Removed>) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(async move { remove(tx, id).await })).await
    }

    /// Assigns a target to an instance. Gives the assignment, and whether it is new; `None` when the instance is not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn assign<E>(
        &self,
        instance: InstanceId,
        target: &CertificateName,
        at: Timestamp,
        by: String,
        tell: E,
    ) -> Result<Option<(Assignment, bool)>, StoreError>
    where
        E: FnOnce(&Option<(Assignment, bool)>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO assignments (tenant_id, instance_id, target, assigned_at, assigned_by) SELECT $1, id, $3, $4, $5 FROM instances \
             WHERE tenant_id = $1 AND id = $2 ON CONFLICT (tenant_id, instance_id, target) DO NOTHING";
        let target = target.to_string();
        self.write(tell, move |tx| {
            Box::pin(async move {
                let made = tx.run(sql, args![instance, target.clone(), at, by]).await?;
                if made > 0 {
                    tx.change_access().await?;
                }
                let find = assignment!(" AND a.instance_id = $2 AND a.target = $3");
                let row = tx.row(find, args![instance, target]).await?;
                let found = row.map(|mut row| read_assignment(&mut row)).transpose()?;
                Ok(found.map(|found| (found, made > 0)))
            })
        })
        .await
    }

    /// Takes an assignment back, and the tickets that rest on it. Tells whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn unassign<E>(
        &self,
        instance: InstanceId,
        target: &CertificateName,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql =
            "DELETE FROM assignments WHERE tenant_id = $1 AND instance_id = $2 AND target = $3";
        let tickets = "UPDATE machine_tickets SET state = 'revoked' WHERE tenant_id = $1 AND instance_id = $2 AND target = $3 AND state = 'issued'";
        let target = target.to_string();
        self.write(tell, move |tx| {
            Box::pin(async move {
                let gone = tx.run(sql, args![instance, target.clone()]).await? > 0;
                if gone {
                    tx.run(tickets, args![instance, target]).await?;
                    tx.change_access().await?;
                }
                Ok(gone)
            })
        })
        .await
    }

    /// Lists assignments, the oldest first: all, or those of a target or an instance.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_assignments(
        &self,
        target: Option<&CertificateName>,
        instance: Option<InstanceId>,
    ) -> Result<Vec<Assignment>, StoreError> {
        let target = target.map(ToString::to_string);
        let rows = match (target, instance) {
            (Some(target), Some(instance)) => {
                let sql = assignment!(" AND a.target = $2 AND a.instance_id = $3");
                self.rows(sql, args![target, instance]).await?
            }
            (Some(target), None) => {
                let sql = assignment!(" AND a.target = $2 ORDER BY a.assigned_at, a.instance_id");
                self.rows(sql, args![target]).await?
            }
            (None, Some(instance)) => {
                let sql = assignment!(" AND a.instance_id = $2 ORDER BY a.assigned_at, a.target");
                self.rows(sql, args![instance]).await?
            }
            (None, None) => {
                let sql = assignment!(" ORDER BY a.assigned_at, a.instance_id, a.target");
                self.rows(sql, args![]).await?
            }
        };
        rows.into_iter().map(|mut row| read_assignment(&mut row)).collect()
    }
}

/// Removes an instance: its assignments and sessions go by reference, its tickets are void.
pub(super) async fn remove(tx: &mut Tx, id: InstanceId) -> Result<Option<Removed>, StoreError> {
    let tickets = "UPDATE machine_tickets SET state = 'revoked' WHERE tenant_id = $1 AND instance_id = $2 AND state = 'issued'";
    let sql = "DELETE FROM instances WHERE tenant_id = $1 AND id = $2";
    let Some(mut row) = tx.row(instance!(" AND i.id = $2"), args![id]).await? else {
        return Ok(None);
    };
    let instance = read_instance(&mut row)?;
    let sessions = session::live_on(tx, id).await?;
    tx.run(tickets, args![id]).await?;
    tx.run(sql, args![id]).await?;
    if !sessions.is_empty() {
        tx.change_access().await?;
    }
    Ok(Some(Removed { instance, sessions }))
}

fn read_instance(row: &mut Row) -> Result<Instance, StoreError> {
    let (id, capability, owner) =
        (InstanceId(row.uuid()?), row.word("capability")?, row.word("owner")?);
    let transport = read_transport(row)?;
    Ok(Instance {
        id,
        capability,
        owner,
        transport,
        heard_at: row.time()?,
        created_at: row.time()?,
    })
}

pub(super) fn read_transport(row: &mut Row) -> Result<Transport, StoreError> {
    let corrupt = |_| StoreError::Corrupt("transport");
    let strategies = read_strategies(row.text()?.split(' ')).map_err(corrupt)?;
    let preferred = row.maybe_text()?.map(|text| text.parse()).transpose().map_err(corrupt)?;
    let (host, port) = (row.maybe_text()?, row.maybe_int()?);
    let direct = match (host, port) {
        (Some(host), Some(port)) => Some(Direct {
            host: host.parse().map_err(|_| StoreError::Corrupt("host"))?,
            port: u16::try_from(port).map_err(|_| StoreError::Corrupt("port"))?,
        }),
        _ => None,
    };
    Ok(Transport { strategies, preferred, direct })
}

fn read_assignment(row: &mut Row) -> Result<Assignment, StoreError> {
    Ok(Assignment {
        instance: InstanceId(row.uuid()?),
        capability: row.word("capability")?,
        target: row.word("target")?,
        assigned_at: row.time()?,
        assigned_by: row.text()?,
    })
}
