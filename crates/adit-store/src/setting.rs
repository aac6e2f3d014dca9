//! A tenant's settings: named texts.

use adit_domain::Timestamp;

use crate::sql::args;
use crate::{NewEvent, StoreError, TenantStore};

/// The setting that counts how often every ticket and warrant was made void at once.
const EPOCH: &str = "epoch";

impl TenantStore {
    /// Loads a setting.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM settings WHERE tenant_id = $1 AND name = $2";
        self.row(sql, args![name]).await?.map(|mut row| row.text()).transpose()
    }

    /// Sets a setting.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn set_setting<E>(
        &self,
        name: &str,
        value: &str,
        at: Timestamp,
        tell: E,
    ) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO settings (tenant_id, name, value, changed_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id, name) DO UPDATE SET value = $3, changed_at = $4";
        let own = args![name, value, at];
        self.write(tell, move |tx| Box::pin(async move { tx.run(sql, own).await.map(|_| ()) }))
            .await
    }

    /// Loads the epoch, 0 before the first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`] when the setting is no number.
    pub async fn load_epoch(&self) -> Result<i64, StoreError> {
        let text = self.find_setting(EPOCH).await?;
        text.map_or(Ok(0), |text| text.parse().map_err(|_| StoreError::Corrupt("epoch")))
    }

    /// Begins the next epoch and gives its number.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_epoch<E>(&self, at: Timestamp, tell: E) -> Result<i64, StoreError>
    where
        E: FnOnce(&i64) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO settings (tenant_id, name, value, changed_at) VALUES ($1, $2, '1', $3) \
             ON CONFLICT (tenant_id, name) \
             DO UPDATE SET value = CAST(CAST(settings.value AS BIGINT) + 1 AS TEXT), changed_at = $3 \
             RETURNING value";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let row = tx.row(sql, args![EPOCH, at]).await?;
                let text = row.ok_or(StoreError::Corrupt("epoch"))?.text()?;
                tx.change_access().await?;
                text.parse().map_err(|_| StoreError::Corrupt("epoch"))
            })
        })
        .await
    }
}
