//! Keys that sign access tokens, their private halves sealed by whoever stores them.

use adit_domain::{KeyId, TenantId, Timestamp};

use crate::sql::{Row, args};
use crate::{NewEvent, Store, StoreError};

/// A key to add.
#[derive(Clone, Debug)]
pub struct NewSigningKey {
    /// Its id.
    pub id: KeyId,
    /// Its public half.
    pub public: Vec<u8>,
    /// Its private half, sealed.
    pub sealed: Vec<u8>,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// When it is made.
    pub at: Timestamp,
}

/// A key as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SigningKeyRow {
    /// Its id.
    pub id: KeyId,
    /// Its public half.
    pub public: Vec<u8>,
    /// Its private half, sealed.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
}

/// The most keys that are read: a year of a new one a day.
const MOST: i64 = 400;

// The keys are the gateway's own and serve every tenant; they stand under the first.
impl Store {
    /// Lists the keys that were not removed, in the order in which they sign.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        let sql = "SELECT id, public, sealed, created_at, signs_from FROM oauth_keys \
             WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY signs_from, id LIMIT $2";
        let rows = self.tenant(TenantId::SEED).rows(sql, args![MOST]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn add_signing_key<E>(&self, new: NewSigningKey, tell: E) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO oauth_keys (tenant_id, id, public, sealed, created_at, signs_from) VALUES ($1, $2, $3, $4, $5, $6)";
        self.tenant(TenantId::SEED)
            .write(tell, move |tx| {
                Box::pin(async move {
                    tx.run(sql, args![new.id, new.public, new.sealed, new.at, new.signs_from])
                        .await?;
                    tx.change_access().await
                })
            })
            .await
    }

    /// Removes keys: nothing that they signed is accepted from now on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_signing_keys<E>(
        &self,
        ids: Vec<KeyId>,
        at: Timestamp,
        tell: E,
    ) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE oauth_keys SET deleted_at = $3, sealed = $4 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
        self.tenant(TenantId::SEED)
            .write(tell, move |tx| {
                Box::pin(async move {
                    for id in ids {
                        tx.run(sql, args![id, at, Vec::<u8>::new()]).await?;
                    }
                    tx.change_access().await
                })
            })
            .await
    }
}

fn read(row: &mut Row) -> Result<SigningKeyRow, StoreError> {
    Ok(SigningKeyRow {
        id: KeyId(row.uuid()?),
        public: row.bytes()?,
        sealed: row.bytes()?,
        created_at: row.time()?,
        signs_from: row.time()?,
    })
}
