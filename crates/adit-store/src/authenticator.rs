//! Authenticator apps and recovery codes.

use adit_domain::{PrincipalId, Timestamp};

use crate::sql::args;
use crate::tx::Tx;
use crate::{NewEvent, SecretHash, StoreError, TenantStore};

/// An authenticator as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authenticator {
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// When its first code was shown; until then it counts for nothing.
    pub confirmed_at: Option<Timestamp>,
}

/// What a user has to show that it is them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Factors {
    /// Whether there is a password.
    pub password: bool,
    /// Whether there is an authenticator that counts.
    pub authenticator: bool,
    /// How many recovery codes are left.
    pub recovery_codes: u32,
    /// How many passkeys there are.
    pub passkeys: u32,
}

impl Factors {
    /// Tells whether there is a second factor.
    pub fn second(self) -> bool {
        self.authenticator || self.passkeys > 0
    }
}

impl TenantStore {
    /// Finds a user's authenticator, confirmed or not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_authenticator(
        &self,
        principal: PrincipalId,
    ) -> Result<Option<Authenticator>, StoreError> {
        let sql = "SELECT sealed, confirmed_at FROM authenticators WHERE tenant_id = $1 AND principal_id = $2";
        let row = self.row(sql, args![principal]).await?;
        row.map(|mut row| {
            Ok(Authenticator { sealed: row.bytes()?, confirmed_at: row.maybe_time()? })
        })
        .transpose()
    }

    /// Tells what a user has to show that it is them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn load_factors(&self, principal: PrincipalId) -> Result<Factors, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM passwords WHERE tenant_id = $1 AND principal_id = $2), \
             (SELECT count(*) FROM authenticators WHERE tenant_id = $1 AND principal_id = $2 AND confirmed_at IS NOT NULL), \
             (SELECT count(*) FROM recovery_codes WHERE tenant_id = $1 AND principal_id = $2 AND used_at IS NULL), \
             (SELECT count(*) FROM passkeys WHERE tenant_id = $1 AND principal_id = $2 AND deleted_at IS NULL)";
        let row = self.row(sql, args![principal]).await?;
        let mut row = row.ok_or(StoreError::Corrupt("factors"))?;
        Ok(Factors {
            password: row.int()? > 0,
            authenticator: row.int()? > 0,
            recovery_codes: row.count()?,
            passkeys: row.count()?,
        })
    }

    /// Begins an authenticator; one that was never confirmed gives way. Tells whether there was none that counts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_authenticator(
        &self,
        principal: PrincipalId,
        sealed: Vec<u8>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "INSERT INTO authenticators (tenant_id, principal_id, sealed, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id, principal_id) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at, last_step = 0 \
             WHERE authenticators.confirmed_at IS NULL";
        self.write(crate::silent, move |tx| {
            Box::pin(async move { Ok(tx.run(sql, args![principal, sealed, at]).await? == 1) })
        })
        .await
    }

    /// Lets an authenticator count from its first code on, with new recovery codes; the credential has shown it now. Tells whether one waited for that.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn confirm_authenticator<E>(
        &self,
        principal: PrincipalId,
        credential: adit_domain::TokenId,
        step: i64,
        recovery: Vec<SecretHash>,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE authenticators SET confirmed_at = $4, last_step = $3 WHERE tenant_id = $1 AND principal_id = $2 AND confirmed_at IS NULL";
        let shown = "UPDATE credentials SET second_factor_at = $3 WHERE tenant_id = $1 AND id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(sql, args![principal, step, at]).await? == 0 {
                    return Ok(false);
                }
                tx.run(shown, args![credential, at]).await?;
                replace_recovery(tx, principal, recovery, at).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Takes a user's authenticator and recovery codes away. Tells whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_authenticator<E>(
        &self,
        principal: PrincipalId,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "DELETE FROM authenticators WHERE tenant_id = $1 AND principal_id = $2";
        let codes = "DELETE FROM recovery_codes WHERE tenant_id = $1 AND principal_id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let removed = tx.run(sql, args![principal]).await? == 1;
                tx.run(codes, args![principal]).await?;
                Ok(removed)
            })
        })
        .await
    }

    /// Puts new recovery codes in the place of all that there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn replace_recovery_codes<E>(
        &self,
        principal: PrincipalId,
        recovery: Vec<SecretHash>,
        at: Timestamp,
        tell: E,
    ) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(replace_recovery(tx, principal, recovery, at))).await
    }
}

async fn replace_recovery(
    tx: &mut Tx,
    principal: PrincipalId,
    recovery: Vec<SecretHash>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let gone = "DELETE FROM recovery_codes WHERE tenant_id = $1 AND principal_id = $2";
    let new = "INSERT INTO recovery_codes (tenant_id, principal_id, hash, created_at) VALUES ($1, $2, $3, $4)";
    tx.run(gone, args![principal]).await?;
    for hash in recovery {
        tx.run(new, args![principal, hash, at]).await?;
    }
    Ok(())
}

/// Uses a time step up: of two that come with one code, one is first, whichever gateway they come to.
// BRW-47
pub(crate) async fn spend(
    tx: &mut Tx,
    principal: PrincipalId,
    step: i64,
) -> Result<bool, StoreError> {
    let sql = "UPDATE authenticators SET last_step = $3 WHERE tenant_id = $1 AND principal_id = $2 AND confirmed_at IS NOT NULL AND last_step < $3";
    Ok(tx.run(sql, args![principal, step]).await? == 1)
}

/// Uses a recovery code up.
pub(crate) async fn spend_recovery(
    tx: &mut Tx,
    principal: PrincipalId,
    hash: SecretHash,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE recovery_codes SET used_at = $4 WHERE tenant_id = $1 AND principal_id = $2 AND hash = $3 AND used_at IS NULL";
    Ok(tx.run(sql, args![principal, hash, at]).await? == 1)
}
