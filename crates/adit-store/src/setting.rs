//! A tenant's settings: named texts.

use adit_domain::{TenantId, Timestamp};

use crate::sql::args;
use crate::tx::Scope;
use crate::{NewEvent, Store, StoreError, TenantStore};

/// The setting of the epoch: whatever was handed out in an earlier one is void.
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
}

/// What was handed out and is taken back, `$1` being the time.
const TAKEN_BACK: &[&str] = &[
    "UPDATE credentials SET revoked_at = $1 WHERE revoked_at IS NULL",
    "UPDATE oauth_families SET revoked_at = $1 WHERE revoked_at IS NULL",
    "UPDATE oauth_tokens SET revoked_at = $1 WHERE revoked_at IS NULL",
    "UPDATE enrolment_tokens SET deleted_at = $1 WHERE deleted_at IS NULL",
    "UPDATE tickets SET state = 'revoked', redeemed_at = $1 WHERE state = 'issued'",
    "UPDATE machine_tickets SET state = 'revoked', redeemed_at = $1 WHERE state = 'issued'",
    "UPDATE machine_sessions SET status = 'dead', ended_at = $1, reason = 'restored' WHERE status <> 'dead'",
];

/// What was begun and is forgotten.
const FORGOTTEN: &[&str] = &[
    "DELETE FROM oauth_codes",
    "DELETE FROM oauth_devices",
    "DELETE FROM sign_in_steps",
    "DELETE FROM company_sign_ins",
    "DELETE FROM support_codes WHERE used_at IS NULL",
];

impl Store {
    /// Begins an epoch and gives its number: whatever secret was handed out before counts no more, in any tenant.
    ///
    /// The number is the time in seconds, or one more than the last where that is higher: of two epochs that begin from the same backup
    /// the later is the higher.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_epoch<E>(&self, at: Timestamp, tell: E) -> Result<i64, StoreError>
    where
        E: FnOnce(&i64) -> Vec<NewEvent> + Send + 'static,
    {
        let last = "SELECT value FROM settings WHERE tenant_id = $1 AND name = $2";
        let sql = "INSERT INTO settings (tenant_id, name, value, changed_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id, name) DO UPDATE SET value = $3, changed_at = $4";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let row = tx.row(last, args![TenantId::SEED, EPOCH]).await?;
                let text = row.map(|mut row| row.text()).transpose()?.unwrap_or_default();
                let next = text.parse().unwrap_or(0_i64).saturating_add(1).max(at.seconds());
                tx.run(sql, args![TenantId::SEED, EPOCH, next.to_string(), at]).await?;
                for sql in TAKEN_BACK {
                    tx.run(sql, args![at]).await?;
                }
                for sql in FORGOTTEN {
                    tx.run(sql, args![]).await?;
                }
                tx.enter(Scope::Tenant(TenantId::SEED)).await?;
                tx.change_access().await?;
                Ok(next)
            })
        })
        .await
    }
}
