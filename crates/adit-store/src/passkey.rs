//! Passkeys: public keys that sign a user in.

use adit_domain::{PrincipalId, Timestamp, TokenId};

use crate::sign_in::end_step;
use crate::sql::{Row, args};
use crate::{Conflict, NewEvent, SecretHash, Store, StoreError, TenantStore};

/// A passkey to add.
#[derive(Clone, Debug)]
pub struct NewPasskey {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub principal: PrincipalId,
    /// What its owner calls it.
    pub name: String,
    /// The id that the authenticator gave it.
    pub handle: Vec<u8>,
    /// The public key and what is known of the authenticator, as JSON.
    pub credential: String,
    /// When it is added.
    pub at: Timestamp,
}

/// A passkey as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passkey {
    /// Its id.
    pub id: TokenId,
    /// What its owner calls it.
    pub name: String,
    /// The public key and what is known of the authenticator, as JSON.
    pub credential: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last signed in.
    pub last_used_at: Option<Timestamp>,
}

macro_rules! passkey {
    () => {
        "SELECT id, name, credential, created_at, last_used_at FROM passkeys WHERE "
    };
}

impl Store {
    /// Finds the user of a passkey's id, and the passkey.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_passkey_owner(
        &self,
        handle: Vec<u8>,
    ) -> Result<Option<(adit_domain::TenantId, PrincipalId)>, StoreError> {
        let sql =
            "SELECT tenant_id, principal_id FROM passkeys WHERE handle = $1 AND deleted_at IS NULL";
        let row = self.reads().row(crate::tx::Scope::System, sql, args![handle]).await?;
        row.map(|mut row| Ok((adit_domain::TenantId(row.uuid()?), PrincipalId(row.uuid()?))))
            .transpose()
    }
}

impl TenantStore {
    /// Adds a passkey and uses up the step that it was made in; the credential has shown it now. Tells whether the step was good.
    ///
    /// # Errors
    /// [`Conflict::Exists`] where the passkey is there already.
    pub async fn add_passkey<E>(
        &self,
        new: NewPasskey,
        step: SecretHash,
        credential: TokenId,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO passkeys (tenant_id, id, principal_id, name, handle, credential, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let shown = "UPDATE credentials SET second_factor_at = $3 WHERE tenant_id = $1 AND id = $2";
        let at = new.at;
        let own = args![new.id, new.principal, new.name, new.handle, new.credential, at];
        self.write(tell, move |tx| {
            Box::pin(async move {
                if !end_step(tx, Some(step), at).await? {
                    return Ok(false);
                }
                match tx.run(sql, own).await {
                    Err(StoreError::Conflict(_)) => Err(StoreError::Conflict(Conflict::Exists)),
                    Err(error) => Err(error),
                    Ok(_) => {
                        tx.run(shown, args![credential, at]).await?;
                        Ok(true)
                    }
                }
            })
        })
        .await
    }

    /// Lists a user's passkeys, the oldest first; there are few.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_passkeys(&self, principal: PrincipalId) -> Result<Vec<Passkey>, StoreError> {
        let sql = concat!(
            passkey!(),
            "tenant_id = $1 AND principal_id = $2 AND deleted_at IS NULL ORDER BY created_at, id"
        );
        let rows = self.rows(sql, args![principal]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Notes what an authenticator told of itself when its passkey was used.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn touch_passkey(
        &self,
        id: TokenId,
        credential: String,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE passkeys SET credential = $3, last_used_at = $4 WHERE tenant_id = $1 AND id = $2";
        self.write(crate::silent, move |tx| {
            Box::pin(async move { tx.run(sql, args![id, credential, at]).await.map(|_| ()) })
        })
        .await
    }

    /// Removes a passkey of a user and gives it; `None` if it was not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_passkey<E>(
        &self,
        principal: PrincipalId,
        id: TokenId,
        at: Timestamp,
        tell: E,
    ) -> Result<Option<Passkey>, StoreError>
    where
        E: FnOnce(&Option<Passkey>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE passkeys SET deleted_at = $4 WHERE tenant_id = $1 AND principal_id = $2 AND id = $3 AND deleted_at IS NULL \
             RETURNING id, name, credential, created_at, last_used_at";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let row = tx.row(sql, args![principal, id, at]).await?;
                row.map(|mut row| read(&mut row)).transpose()
            })
        })
        .await
    }
}

fn read(row: &mut Row) -> Result<Passkey, StoreError> {
    Ok(Passkey {
        id: TokenId(row.uuid()?),
        name: row.text()?,
        credential: row.text()?,
        created_at: row.time()?,
        last_used_at: row.maybe_time()?,
    })
}
