//! Scopes that operators register, their capabilities, and who holds these.

use adit_domain::certificate::Carried;
use adit_domain::reach::scope::{Action, NewScope, ScopeName, ScopeTransport, read_strategies};
use adit_domain::{CertificateName, Timestamp};

use super::session::{self, MachineSession};
use crate::sql::{Row, args};
use crate::tx::Tx;
use crate::{Conflict, NewEvent, StoreError, TenantStore};

/// A scope as its rows have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredScope {
    /// What was registered.
    pub scope: NewScope,
    /// When.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
}

/// One capability with the transports of its scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScopeAction {
    /// Its whole name.
    pub name: Carried,
    /// What its scope allows.
    pub transport: ScopeTransport,
}

/// That somebody holds a capability.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Who.
    pub holder: CertificateName,
    /// What.
    pub capability: Carried,
    /// Since when.
    pub given_at: Timestamp,
    /// By whom.
    pub given_by: String,
}

impl TenantStore {
    /// Registers a scope.
    ///
    /// # Errors
    /// [`Conflict::NameTaken`].
    pub async fn register_scope<E>(
        &self,
        scope: NewScope,
        at: Timestamp,
        by: String,
        tell: E,
    ) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let there = "SELECT 1 FROM scopes WHERE tenant_id = $1 AND name = $2";
        let sql = "INSERT INTO scopes (tenant_id, name, version, description, strategies, preferred, port, protocol, created_at, created_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let action = "INSERT INTO scope_actions (tenant_id, name, scope, place, description, instance_scoped) VALUES ($1, $2, $3, $4, $5, $6)";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let name = scope.name.as_str().to_owned();
                if tx.row(there, args![name.clone()]).await?.is_some() {
                    return Err(StoreError::Conflict(Conflict::NameTaken));
                }
                let transport = &scope.transport;
                let own = args![
                    name.clone(),
                    scope.version,
                    scope.description,
                    write_strategies(&transport.strategies),
                    transport.preferred.as_str(),
                    i64::from(transport.port),
                    transport.protocol.as_str(),
                    at,
                    by
                ];
                tx.run(sql, own).await?;
                for (place, one) in (0_i64..).zip(scope.actions) {
                    let own = args![
                        one.name.as_str(),
                        name.clone(),
                        place,
                        one.description,
                        one.instance_scoped
                    ];
                    tx.run(action, own).await?;
                }
                tx.change_access().await
            })
        })
        .await
    }

    /// Lists the scopes, by name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_scopes(&self) -> Result<Vec<StoredScope>, StoreError> {
        let sql = "SELECT name, version, description, strategies, preferred, port, protocol, created_at, created_by \
             FROM scopes WHERE tenant_id = $1 ORDER BY name";
        let actions = "SELECT scope, name, description, instance_scoped FROM scope_actions WHERE tenant_id = $1 ORDER BY scope, place";
        let mut all: Vec<StoredScope> = Vec::new();
        for mut row in self.rows(sql, args![]).await? {
            all.push(read_scope(&mut row)?);
        }
        for mut row in self.rows(actions, args![]).await? {
            let of = row.text()?;
            let Some(scope) = all.iter_mut().find(|one| one.scope.name.as_str() == of) else {
                continue;
            };
            scope.scope.actions.push(Action {
                name: row.word("capability")?,
                description: row.text()?,
                instance_scoped: row.flag()?,
            });
        }
        Ok(all)
    }

    /// Finds a capability that is registered.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_scope_action(
        &self,
        name: &Carried,
    ) -> Result<Option<ScopeAction>, StoreError> {
        let sql = "SELECT a.name, s.strategies, s.preferred, s.port, s.protocol FROM scope_actions a \
             JOIN scopes s ON s.tenant_id = a.tenant_id AND s.name = a.scope WHERE a.tenant_id = $1 AND a.name = $2";
        let row = self.row(sql, args![name.as_str()]).await?;
        row.map(|mut row| {
            Ok(ScopeAction { name: row.word("capability")?, transport: read_transport(&mut row)? })
        })
        .transpose()
    }

    /// Tells whether a capability, or a whole scope, is registered.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn knows_capability(&self, name: &Carried) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM scope_actions WHERE tenant_id = $1 AND (name = $2 OR scope = $2) LIMIT 1";
        Ok(self.row(sql, args![name.as_str()]).await?.is_some())
    }

    /// Removes a scope with its capabilities, whoever holds them, and what rests on them. Gives the sessions that were cut; `None` if
    /// it was not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_scope<E>(
        &self,
        name: &ScopeName,
        tell: E,
    ) -> Result<Option<Vec<MachineSession>>, StoreError>
    where
        E: FnOnce(&Option<Vec<MachineSession>>) -> Vec<NewEvent> + Send + 'static,
    {
        let name = name.as_str().to_owned();
        let tickets = "UPDATE machine_tickets SET state = 'revoked' WHERE tenant_id = $1 AND state = 'issued' AND capability IN \
             (SELECT name FROM scope_actions WHERE tenant_id = $1 AND scope = $2)";
        let sql = "DELETE FROM scopes WHERE tenant_id = $1 AND name = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let cut = session::live_for(tx, &name).await?;
                tx.run(tickets, args![name.clone()]).await?;
                if tx.run(sql, args![name]).await? == 0 {
                    return Ok(None);
                }
                tx.change_access().await?;
                Ok(Some(cut))
            })
        })
        .await
    }

    /// Lists who holds what.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_holdings(&self) -> Result<Vec<Holding>, StoreError> {
        let sql = "SELECT holder, capability, given_at, given_by FROM holdings WHERE tenant_id = $1 ORDER BY holder, capability";
        self.rows(sql, args![]).await?.into_iter().map(|mut row| read_holding(&mut row)).collect()
    }

    /// Tells whether somebody holds a capability.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn holds(
        &self,
        holder: &CertificateName,
        capability: &Carried,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM holdings WHERE tenant_id = $1 AND holder = $2 AND capability = $3";
        Ok(self.row(sql, args![holder.to_string(), capability.as_str()]).await?.is_some())
    }

    /// Sets what somebody holds, of what is registered. Gives what that is now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn set_holdings<E>(
        &self,
        holder: &CertificateName,
        capabilities: Vec<Carried>,
        at: Timestamp,
        by: String,
        tell: E,
    ) -> Result<Vec<Holding>, StoreError>
    where
        E: FnOnce(&Vec<Holding>) -> Vec<NewEvent> + Send + 'static,
    {
        let holder = holder.clone();
        let of = "SELECT holder, capability, given_at, given_by FROM holdings WHERE tenant_id = $1 AND holder = $2 ORDER BY capability";
        let gone = "DELETE FROM holdings WHERE tenant_id = $1 AND holder = $2 AND capability = $3";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let name = holder.to_string();
                for mut row in tx.rows(of, args![name.clone()]).await? {
                    let held = read_holding(&mut row)?;
                    if !capabilities.contains(&held.capability) {
                        tx.run(gone, args![name.clone(), held.capability.as_str()]).await?;
                    }
                }
                give(tx, &holder, &capabilities, at, &by).await?;
                tx.change_access().await?;
                let rows = tx.rows(of, args![name]).await?;
                rows.into_iter().map(|mut row| read_holding(&mut row)).collect()
            })
        })
        .await
    }
}

/// Gives somebody capabilities, those that are registered; a whole scope means all that it has today.
pub(crate) async fn give(
    tx: &mut Tx,
    holder: &CertificateName,
    capabilities: &[Carried],
    at: Timestamp,
    by: &str,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO holdings (tenant_id, holder, capability, given_at, given_by) SELECT $1, $2, name, $4, $5 FROM scope_actions \
         WHERE tenant_id = $1 AND (name = $3 OR scope = $3) ON CONFLICT (tenant_id, holder, capability) DO NOTHING";
    for one in capabilities {
        tx.run(sql, args![holder.to_string(), one.as_str(), at, by]).await?;
    }
    Ok(())
}

/// Takes away what somebody of a name held.
pub(crate) async fn forget_holdings(tx: &mut Tx, name: &CertificateName) -> Result<(), StoreError> {
    let held = "DELETE FROM holdings WHERE tenant_id = $1 AND holder = $2";
    tx.run(held, args![name.to_string()]).await.map(|_| ())
}

/// Takes everything away that a machine of a label had before another gets that label: capabilities, instances, assignments.
pub(crate) async fn forget(tx: &mut Tx, label: &str, at: Timestamp) -> Result<(), StoreError> {
    let name = CertificateName::Agent(label.parse().map_err(|_| StoreError::Corrupt("label"))?);
    // Whoever spoke for that machine does not speak for the next one of its label.
    let speaks = "SELECT DISTINCT name FROM certificates WHERE tenant_id = $1 AND name LIKE $2 AND revoked_at IS NULL";
    let silenced = "UPDATE certificates SET revoked_at = $3 WHERE tenant_id = $1 AND name = $2 AND revoked_at IS NULL";
    for mut row in tx.rows(speaks, args![format!("plugin-agent:{label}:%")]).await? {
        let delegated: CertificateName = row.word("name of a certificate")?;
        tx.run(silenced, args![delegated.to_string(), at]).await?;
        forget_one(tx, &delegated).await?;
    }
    forget_one(tx, &name).await
}

async fn forget_one(tx: &mut Tx, name: &CertificateName) -> Result<(), StoreError> {
    let assigned = "DELETE FROM assignments WHERE tenant_id = $1 AND target = $2";
    let owned = "SELECT id FROM instances WHERE tenant_id = $1 AND owner = $2";
    forget_holdings(tx, name).await?;
    tx.run(assigned, args![name.to_string()]).await?;
    for mut row in tx.rows(owned, args![name.to_string()]).await? {
        super::instance::remove(tx, adit_domain::InstanceId(row.uuid()?)).await?;
    }
    Ok(())
}

pub(super) fn write_strategies(list: &[adit_domain::reach::Strategy]) -> String {
    list.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(" ")
}

fn read_transport(row: &mut Row) -> Result<ScopeTransport, StoreError> {
    let strategies = read_strategies(row.text()?.split(' '));
    Ok(ScopeTransport {
        strategies: strategies.map_err(|_| StoreError::Corrupt("strategies"))?,
        preferred: row.word("strategy")?,
        port: row.count()?,
        protocol: row.word("protocol")?,
    })
}

fn read_scope(row: &mut Row) -> Result<StoredScope, StoreError> {
    let (name, version, description) = (row.word("scope")?, row.text()?, row.text()?);
    let transport = read_transport(row)?;
    let scope = NewScope { name, version, description, actions: Vec::new(), transport };
    Ok(StoredScope { scope, created_at: row.time()?, created_by: row.text()? })
}

fn read_holding(row: &mut Row) -> Result<Holding, StoreError> {
    Ok(Holding {
        holder: row.word("holder")?,
        capability: row.word("capability")?,
        given_at: row.time()?,
        given_by: row.text()?,
    })
}
