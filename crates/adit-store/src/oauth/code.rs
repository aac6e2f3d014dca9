//! Authorization codes: what a user's yes becomes, once.

use adit_domain::{Capabilities, FamilyId, PrincipalId, TenantId, Timestamp, TokenId};

use super::family::{self, Issue};
use crate::sql::{Row, args, write_capabilities};
use crate::tx::Scope;
use crate::{NewEvent, SecretHash, Store, StoreError, TenantStore};

/// A code to add.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// Its handle.
    pub id: TokenId,
    /// Its hash.
    pub hash: SecretHash,
    /// Who may redeem it.
    pub client: PrincipalId,
    /// Who said yes.
    pub principal: PrincipalId,
    /// To what.
    pub scopes: Capabilities,
    /// Where it was sent.
    pub redirect_uri: String,
    /// What the verifier must hash to.
    pub challenge: Option<String>,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// When it is made.
    pub at: Timestamp,
}

/// A code as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthCode {
    /// Its handle.
    pub id: TokenId,
    /// Whose data it is.
    pub tenant: TenantId,
    /// Who may redeem it.
    pub client: PrincipalId,
    /// Who said yes.
    pub principal: PrincipalId,
    /// To what.
    pub scopes: Capabilities,
    /// Where it was sent.
    pub redirect_uri: String,
    /// What the verifier must hash to.
    pub challenge: Option<String>,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// When it was redeemed.
    pub used_at: Option<Timestamp>,
    /// What came of it.
    pub family: Option<FamilyId>,
}

impl Store {
    /// Finds a code by its hash, also one that counts no more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_auth_code(&self, hash: SecretHash) -> Result<Option<AuthCode>, StoreError> {
        let sql = "SELECT id, tenant_id, client_id, principal_id, scopes, redirect_uri, challenge, expires_at, used_at, family_id \
             FROM oauth_codes WHERE hash = $1";
        let row = self.reads().row(Scope::System, sql, args![hash]).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }
}

impl TenantStore {
    /// Adds a code.
    ///
    /// # Errors
    /// [`crate::Conflict::Refers`] when the client or the user is not there.
    pub async fn issue_auth_code<E>(&self, new: NewCode, tell: E) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO oauth_codes (tenant_id, id, hash, client_id, principal_id, scopes, redirect_uri, challenge, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let own = args![
            new.id,
            new.hash,
            new.client,
            new.principal,
            write_capabilities(new.scopes),
            new.redirect_uri,
            new.challenge,
            new.at,
            new.expires_at
        ];
        self.write(tell, move |tx| Box::pin(async move { tx.run(sql, own).await.map(|_| ()) }))
            .await
    }

    /// Uses a code up, with what comes of it or for nothing. Of several at once one is told `true`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn use_auth_code<E>(
        &self,
        id: TokenId,
        issue: Option<Issue>,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE oauth_codes SET used_at = $3, family_id = $4 WHERE tenant_id = $1 AND id = $2 \
             AND used_at IS NULL AND expires_at > $3";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let family = issue.as_ref().map(|issue| issue.family.id);
                if tx.run(sql, args![id, at, family]).await? == 0 {
                    return Ok(false);
                }
                if let Some(issue) = issue {
                    family::insert(tx, issue).await?;
                }
                Ok(true)
            })
        })
        .await
    }
}

fn read(row: &mut Row) -> Result<AuthCode, StoreError> {
    Ok(AuthCode {
        id: TokenId(row.uuid()?),
        tenant: TenantId(row.uuid()?),
        client: PrincipalId(row.uuid()?),
        principal: PrincipalId(row.uuid()?),
        scopes: row.capabilities()?,
        redirect_uri: row.text()?,
        challenge: row.maybe_text()?,
        expires_at: row.time()?,
        used_at: row.maybe_time()?,
        family: row.maybe_uuid()?.map(FamilyId),
    })
}
