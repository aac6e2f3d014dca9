//! Machines' keys (`cak_…`): found, rotated, revoked.

use adit_domain::{MachineId, Timestamp, TokenId};

use crate::machine::{self, Machine, NewMachineKey, insert_key, machine, revoke_keys};
use crate::sql::{Row, args};
use crate::tx::Scope;
use crate::{NewEvent, SecretHash, Store, StoreError, TenantStore};

/// A machine's key, with the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineKey {
    /// The key's handle.
    pub id: TokenId,
    /// When it was first used; none for one that the machine has not used yet.
    pub used_at: Option<Timestamp>,
    /// The machine.
    pub machine: Machine,
}

/// A machine's key as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedKey {
    /// The key's handle.
    pub id: TokenId,
    /// Its first characters.
    pub prefix: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was first used.
    pub used_at: Option<Timestamp>,
}

impl Store {
    /// Finds a machine by its key, if neither was taken away.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_machine_key(
        &self,
        hash: SecretHash,
    ) -> Result<Option<MachineKey>, StoreError> {
        let sql = machine!(
            "k.id, k.used_at, ",
            "machine_keys k JOIN machines m ON m.tenant_id = k.tenant_id AND m.id = k.machine_id \
             WHERE k.hash = $1 AND k.revoked_at IS NULL AND m.deleted_at IS NULL"
        );
        let Some(mut row) = self.reads().row(Scope::System, sql, args![hash]).await? else {
            return Ok(None);
        };
        let (id, used_at) = (TokenId(row.uuid()?), row.maybe_time()?);
        Ok(Some(MachineKey { id, used_at, machine: machine::read(&mut row)? }))
    }
}

impl TenantStore {
    /// Adds a key to a machine; the ones before it end when it is first used. Tells whether the machine is there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn add_machine_key<E>(
        &self,
        machine: MachineId,
        key: NewMachineKey,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let there =
            "SELECT 1 FROM machines WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.row(there, args![machine]).await?.is_none() {
                    return Ok(false);
                }
                insert_key(tx, machine, key, at).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Notes the first use of a key, and revokes the machine's other keys. Tells how many those were; `None` when the key was used before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn use_machine_key<E>(
        &self,
        machine: MachineId,
        key: TokenId,
        at: Timestamp,
        tell: E,
    ) -> Result<Option<u64>, StoreError>
    where
        E: FnOnce(&Option<u64>) -> Vec<NewEvent> + Send + 'static,
    {
        let first = "UPDATE machine_keys SET used_at = $3 WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND revoked_at IS NULL";
        let others = "UPDATE machine_keys SET revoked_at = $4 WHERE tenant_id = $1 AND machine_id = $2 AND id <> $3 AND revoked_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(first, args![key, at]).await? == 0 {
                    return Ok(None);
                }
                let ended = tx.run(others, args![machine, key, at]).await?;
                if ended > 0 {
                    tx.change_access().await?;
                }
                Ok(Some(ended))
            })
        })
        .await
    }

    /// Revokes the keys of a machine but one, or all. Tells how many those were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn revoke_machine_keys<E>(
        &self,
        machine: MachineId,
        keep: Option<TokenId>,
        at: Timestamp,
        tell: E,
    ) -> Result<u64, StoreError>
    where
        E: FnOnce(&u64) -> Vec<NewEvent> + Send + 'static,
    {
        let others = "UPDATE machine_keys SET revoked_at = $4 WHERE tenant_id = $1 AND machine_id = $2 AND id <> $3 AND revoked_at IS NULL";
        let live = "SELECT id FROM machine_keys WHERE tenant_id = $1 AND machine_id = $2 AND revoked_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let ended = match keep {
                    Some(key) => tx.run(others, args![machine, key, at]).await?,
                    None => {
                        let keys = tx.rows(live, args![machine]).await?.len() as u64;
                        revoke_keys(tx, machine, at).await?;
                        keys
                    }
                };
                tx.change_access().await?;
                Ok(ended)
            })
        })
        .await
    }

    /// Lists the keys of a machine that count, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_machine_keys(
        &self,
        machine: MachineId,
    ) -> Result<Vec<ListedKey>, StoreError> {
        let sql = "SELECT id, prefix, created_at, used_at FROM machine_keys WHERE tenant_id = $1 AND machine_id = $2 \
             AND revoked_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 16";
        let rows = self.rows(sql, args![machine]).await?;
        rows.into_iter().map(|mut row| listed(&mut row)).collect()
    }
}

fn listed(row: &mut Row) -> Result<ListedKey, StoreError> {
    Ok(ListedKey {
        id: TokenId(row.uuid()?),
        prefix: row.text()?,
        created_at: row.time()?,
        used_at: row.maybe_time()?,
    })
}
