//! Tenants: whose data a row is.

use adit_domain::{TenantId, Timestamp};

use crate::sql::args;
use crate::tx::Scope;
use crate::{
    Conflict, NewCredential, NewEvent, NewGrant, NewPrincipal, Store, StoreError, credential,
    grant, principal,
};

/// A tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The first administrator of a new tenant, and the code that lets it in.
#[derive(Clone, Debug)]
pub struct TenantAdmin {
    /// Who.
    pub principal: NewPrincipal,
    /// Its role.
    pub role: NewGrant,
    /// Its way in.
    pub code: NewCredential,
}

impl Store {
    /// Adds a tenant; the seed tenant is there from the beginning.
    ///
    /// # Errors
    /// [`crate::Conflict::Exists`] when it is there.
    pub async fn create_tenant<E>(
        &self,
        id: TenantId,
        name: &str,
        at: Timestamp,
        tell: E,
    ) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3)";
        let own = args![name, at];
        self.write(tell, move |tx| {
            Box::pin(async move {
                tx.enter(Scope::Tenant(id)).await?;
                tx.run(sql, own).await.map(|_| ())
            })
        })
        .await
    }

    /// Adds a tenant with its first administrator, in one step.
    ///
    /// # Errors
    /// [`Conflict::NameTaken`] while a tenant of that name lives.
    pub async fn add_tenant<E>(
        &self,
        tenant: Tenant,
        admin: TenantAdmin,
        tell: E,
    ) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let taken = "SELECT 1 FROM tenants WHERE name = $1 AND deleted_at IS NULL";
        let sql = "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3)";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.row(taken, args![tenant.name.as_str()]).await?.is_some() {
                    return Err(StoreError::Conflict(Conflict::NameTaken));
                }
                tx.enter(Scope::Tenant(tenant.id)).await?;
                tx.run(sql, args![tenant.name, tenant.created_at]).await?;
                principal::insert(tx, admin.principal).await?;
                grant::insert(tx, admin.role).await?;
                credential::insert(tx, admin.code, crate::Origin::default()).await?;
                // Its event is for those who made it.
                tx.enter(Scope::Tenant(TenantId::SEED)).await
            })
        })
        .await
    }

    /// Removes a tenant: whatever its people and machines hold opens nothing any more. Tells whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_tenant<E>(
        &self,
        id: TenantId,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE tenants SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
        let certificates =
            "UPDATE certificates SET revoked_at = $2 WHERE tenant_id = $1 AND revoked_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                tx.enter(Scope::Tenant(id)).await?;
                let done = tx.run(sql, args![at]).await? > 0;
                if done {
                    // Whatever its machines, and who speaks for them, would show.
                    tx.run(certificates, args![at]).await?;
                }
                tx.change_access().await?;
                tx.enter(Scope::Tenant(TenantId::SEED)).await?;
                Ok(done)
            })
        })
        .await
    }

    /// Lists the tenants that were not removed, with their names, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_named_tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let sql = "SELECT id, name, created_at FROM tenants WHERE deleted_at IS NULL ORDER BY created_at, id LIMIT 1000";
        let rows = self.reads().rows(Scope::System, sql, args![]).await?;
        rows.into_iter()
            .map(|mut row| {
                let id = TenantId(row.uuid()?);
                Ok(Tenant { id, name: row.text()?, created_at: row.time()? })
            })
            .collect()
    }

    /// Lists the tenants that were not removed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let sql = "SELECT id FROM tenants WHERE deleted_at IS NULL ORDER BY created_at, id";
        let rows = self.reads().rows(Scope::System, sql, args![]).await?;
        rows.into_iter().map(|mut row| row.uuid().map(TenantId)).collect()
    }
}
