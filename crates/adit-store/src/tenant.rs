//! Tenants: whose data a row is.

use adit_domain::{TenantId, Timestamp};

use crate::sql::args;
use crate::tx::Scope;
use crate::{NewEvent, Store, StoreError};

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
