//! Passwords: one hash a user, in the PHC string format.

use adit_domain::principal::Principal;
use adit_domain::{PrincipalId, Timestamp, TokenId};

use crate::principal::read_principal;
use crate::sql::args;
use crate::tx::{Scope, Tx};
use crate::{NewEvent, Store, StoreError, TenantStore};

/// A user's password as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredPassword {
    /// Whose it is.
    pub principal: Principal,
    /// The hash, with its parameters and salt.
    pub hash: String,
}

impl Store {
    /// Finds the password of an active user by the names of the tenant and of the user.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_password(
        &self,
        tenant: &str,
        user: &str,
    ) -> Result<Option<StoredPassword>, StoreError> {
        let sql = "SELECT p.id, p.tenant_id, p.kind, p.name, w.hash FROM tenants t \
             JOIN principals p ON p.tenant_id = t.id JOIN passwords w ON w.tenant_id = p.tenant_id AND w.principal_id = p.id \
             WHERE t.name = $1 AND t.deleted_at IS NULL AND p.kind = 'user' AND p.name = $2 AND p.active AND p.deleted_at IS NULL";
        let row = self.reads().row(Scope::System, sql, args![tenant, user]).await?;
        row.map(|mut row| {
            Ok(StoredPassword { principal: read_principal(&mut row)?, hash: row.text()? })
        })
        .transpose()
    }
}

impl TenantStore {
    /// Finds a user's password hash.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_password_of(
        &self,
        principal: PrincipalId,
    ) -> Result<Option<String>, StoreError> {
        let sql = "SELECT hash FROM passwords WHERE tenant_id = $1 AND principal_id = $2";
        self.row(sql, args![principal]).await?.map(|mut row| row.text()).transpose()
    }

    /// Sets a user's password and ends every other sign-in of theirs; `keep` goes on. Tells how many ended.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn set_password<E>(
        &self,
        principal: PrincipalId,
        hash: String,
        at: Timestamp,
        keep: Option<TokenId>,
        tell: E,
    ) -> Result<u64, StoreError>
    where
        E: FnOnce(&u64) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| {
            Box::pin(async move {
                put(tx, principal, hash, at).await?;
                end_sign_ins(tx, principal, at, keep).await
            })
        })
        .await
    }

    /// Puts a newer hash of the same password in the place of an older one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn rehash_password(
        &self,
        principal: PrincipalId,
        old: String,
        new: String,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE passwords SET hash = $4 WHERE tenant_id = $1 AND principal_id = $2 AND hash = $3";
        self.write(crate::silent, move |tx| {
            Box::pin(async move { tx.run(sql, args![principal, old, new]).await.map(|_| ()) })
        })
        .await
    }

    /// Ends a user's sign-ins, but for `keep`. Tells how many ended.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_sign_ins<E>(
        &self,
        principal: PrincipalId,
        at: Timestamp,
        keep: Option<TokenId>,
        tell: E,
    ) -> Result<u64, StoreError>
    where
        E: FnOnce(&u64) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(end_sign_ins(tx, principal, at, keep))).await
    }
}

/// Sets a password in a transaction.
pub(crate) async fn put(
    tx: &mut Tx,
    principal: PrincipalId,
    hash: String,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO passwords (tenant_id, principal_id, hash, changed_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant_id, principal_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at";
    tx.run(sql, args![principal, hash, at]).await.map(|_| ())
}

/// Ends what a user signed in with: cookies, what command lines got, links and half-done sign-ins. API tokens and services that
/// were made for programs stay.
async fn end_sign_ins(
    tx: &mut Tx,
    principal: PrincipalId,
    at: Timestamp,
    keep: Option<TokenId>,
) -> Result<u64, StoreError> {
    let credentials = "UPDATE credentials SET revoked_at = $3 WHERE tenant_id = $1 AND principal_id = $2 \
         AND revoked_at IS NULL AND (kind <> 'api_token' OR method IS NOT NULL) AND id <> $4";
    let families = "UPDATE oauth_families SET revoked_at = $3 WHERE tenant_id = $1 AND principal_id = $2 \
         AND client_id IS NULL AND revoked_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM oauth_tokens t WHERE t.tenant_id = $1 AND t.family_id = oauth_families.id AND t.id = $4)";
    let steps = "UPDATE sign_in_steps SET used_at = $3 WHERE tenant_id = $1 AND principal_id = $2 AND used_at IS NULL";
    let keep = keep.unwrap_or(TokenId(principal.0));
    let ended = tx.run(credentials, args![principal, at, keep]).await?
        + tx.run(families, args![principal, at, keep]).await?;
    tx.run(steps, args![principal, at]).await?;
    tx.change_access().await?;
    Ok(ended)
}
