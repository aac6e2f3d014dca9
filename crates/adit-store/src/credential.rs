//! Credentials of principals: API tokens, sign-in codes and cookies. Only their hashes are kept.

use std::str::FromStr;

use adit_domain::principal::Principal;
use adit_domain::{PrincipalId, Timestamp, TokenId};

use crate::page::{HIGHEST, List, Place};
use crate::principal::read_principal;
use crate::sql::{Row, args};
use crate::tx::{Scope, Tx};
use crate::{Cursor, NewEvent, Page, Paging, Store, StoreError, TenantStore};

/// The SHA-256 of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SecretHash(pub [u8; 32]);

impl From<SecretHash> for crate::sql::Arg {
    fn from(hash: SecretHash) -> Self {
        Self::from(hash.0)
    }
}

/// What a credential is good for; one kind never passes for another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CredentialKind {
    /// A bearer of the API.
    ApiToken,
    /// A single-use way into the console.
    SignInCode,
    /// A browser that signed in.
    Cookie,
}

impl CredentialKind {
    /// Gives the word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiToken => "api_token",
            Self::SignInCode => "sign_in_code",
            Self::Cookie => "cookie",
        }
    }
}

impl FromStr for CredentialKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::ApiToken, Self::SignInCode, Self::Cookie]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

/// A credential to add.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// Its handle.
    pub id: TokenId,
    /// Whose it is.
    pub principal: PrincipalId,
    /// What it is good for.
    pub kind: CredentialKind,
    /// What its owner calls it.
    pub name: String,
    /// Its hash.
    pub hash: SecretHash,
    /// Its first characters, for lists.
    pub prefix: String,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// When it is made.
    pub at: Timestamp,
}

/// How a credential came to be, and from where.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Origin {
    /// What was shown for it: `link`, `password`, `passkey`. None for a token that was made with another credential.
    pub method: Option<String>,
    /// The address that it was made for.
    pub address: Option<String>,
    /// The browser or program that it was made for.
    pub agent: Option<String>,
    /// When a second factor was last shown with it.
    pub second_factor_at: Option<Timestamp>,
}

/// The cookie that a sign-in code becomes.
#[derive(Clone, Debug)]
pub struct NewCookie {
    /// Its handle.
    pub id: TokenId,
    /// Its hash.
    pub hash: SecretHash,
    /// Its first characters.
    pub prefix: String,
    /// What tells browsers apart in lists.
    pub name: String,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// From where it comes.
    pub origin: Origin,
}

/// A credential as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// Its handle.
    pub id: TokenId,
    /// What it is good for.
    pub kind: CredentialKind,
    /// Whose it is.
    pub principal: Principal,
    /// What its owner calls it.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to a minute or so.
    pub last_used_at: Option<Timestamp>,
    /// When it was used up.
    pub used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// From where it comes.
    pub origin: Origin,
}

/// What is known of a credential that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The OAuth2 client that holds it; none for a sign-in or an API token.
    pub client: Option<String>,
    /// When a second factor was last shown with it.
    pub second_factor_at: Option<Timestamp>,
}

macro_rules! credential {
    ($where:literal) => {
        concat!(
            "SELECT p.id, p.tenant_id, p.kind, p.name, c.id, c.kind, c.name, c.prefix, c.created_at, c.expires_at, \
             c.last_used_at, c.used_at, c.revoked_at, c.method, c.address, c.agent, c.second_factor_at \
             FROM credentials c JOIN principals p ON p.tenant_id = c.tenant_id AND p.id = c.principal_id WHERE ",
            $where
        )
    };
}

const FIND: &str = credential!("c.tenant_id = $1 AND c.id = $2");

impl Store {
    /// Finds a credential that counts now: of this kind, not expired, revoked or used up, its principal active.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_credential(
        &self,
        kind: CredentialKind,
        hash: SecretHash,
        now: Timestamp,
    ) -> Result<Option<Credential>, StoreError> {
        let sql = credential!(
            "c.hash = $1 AND c.kind = $2 AND (c.expires_at IS NULL OR c.expires_at > $3) \
             AND c.revoked_at IS NULL AND c.used_at IS NULL AND p.active AND p.deleted_at IS NULL"
        );
        let row = self.reads().row(Scope::System, sql, args![hash, kind.as_str(), now]).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// Tells whether a credential still counts for what rests on it: not expired, not revoked. An access token counts for as long as
    /// the authorization that it came of, because its bearer may always have another by the same one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn credential_counts(&self, id: TokenId, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.find_standing(id, now).await?.is_some())
    }

    /// Finds what a credential that counts still is, as [`Store::credential_counts`] means it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_standing(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Option<Standing>, StoreError> {
        let sql = "SELECT NULL, second_factor_at FROM credentials WHERE id = $1 AND (expires_at IS NULL OR expires_at > $2) AND revoked_at IS NULL \
             UNION ALL \
             SELECT coalesce(q.name, 'adit-cli'), f.second_factor_at FROM oauth_tokens t \
             JOIN oauth_families f ON f.tenant_id = t.tenant_id AND f.id = t.family_id \
             LEFT JOIN principals q ON q.tenant_id = f.tenant_id AND q.id = f.client_id \
             WHERE t.id = $1 AND t.kind = 'access' AND t.revoked_at IS NULL AND f.revoked_at IS NULL \
             AND (f.expires_at IS NULL OR f.expires_at > $2)";
        let row = self.reads().row(Scope::System, sql, args![id, now]).await?;
        row.map(|mut row| {
            Ok(Standing { client: row.maybe_text()?, second_factor_at: row.maybe_time()? })
        })
        .transpose()
    }

    /// Uses a sign-in code up and makes a cookie of it, in one step. `None`: used, expired, revoked or never made.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn consume_sign_in_code<E>(
        &self,
        hash: SecretHash,
        now: Timestamp,
        cookie: NewCookie,
        tell: E,
    ) -> Result<Option<Principal>, StoreError>
    where
        E: FnOnce(&Option<Principal>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE credentials SET used_at = $2 WHERE hash = $1 AND kind = 'sign_in_code' \
             AND expires_at > $2 AND used_at IS NULL AND revoked_at IS NULL RETURNING tenant_id, principal_id";
        let who = "SELECT id, tenant_id, kind, name FROM principals WHERE tenant_id = $1 AND id = $2 AND active AND deleted_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let Some(mut row) = tx.row(sql, args![hash, now]).await? else { return Ok(None) };
                let (tenant, id) = (row.uuid()?, PrincipalId(row.uuid()?));
                tx.enter(Scope::Tenant(adit_domain::TenantId(tenant))).await?;
                let Some(mut row) = tx.row(who, args![id]).await? else { return Ok(None) };
                let principal = read_principal(&mut row)?;
                let (cookie, origin) = cookie.of(id, now);
                insert(tx, cookie, origin).await?;
                Ok(Some(principal))
            })
        })
        .await
    }

    /// Notes that a credential was used.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn touch_credential(&self, id: TokenId, at: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE credentials SET last_used_at = $2 WHERE id = $1";
        let work = args![id, at];
        self.write(crate::silent, move |tx| {
            Box::pin(async move { tx.run(sql, work).await.map(|_| ()) })
        })
        .await
    }
}

impl NewCookie {
    pub(crate) fn of(self, principal: PrincipalId, at: Timestamp) -> (NewCredential, Origin) {
        let credential = NewCredential {
            id: self.id,
            principal,
            kind: CredentialKind::Cookie,
            name: self.name,
            hash: self.hash,
            prefix: self.prefix,
            expires_at: Some(self.expires_at),
            at,
        };
        (credential, self.origin)
    }
}

impl TenantStore {
    /// Adds a credential.
    ///
    /// # Errors
    /// [`crate::Conflict::Refers`] when the principal is not there.
    pub async fn issue_credential<E>(&self, new: NewCredential, tell: E) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(insert(tx, new, Origin::default()))).await
    }

    /// Revokes a credential and gives it; `None` if it was not there or revoked before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn revoke_credential<E>(
        &self,
        id: TokenId,
        at: Timestamp,
        tell: E,
    ) -> Result<Option<Credential>, StoreError>
    where
        E: FnOnce(&Option<Credential>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE credentials SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(sql, args![id, at]).await? == 0 {
                    return Ok(None);
                }
                tx.change_access().await?;
                tx.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
            })
        })
        .await
    }

    /// Revokes every credential of a principal and tells how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn revoke_credentials_of<E>(
        &self,
        principal: PrincipalId,
        at: Timestamp,
        tell: E,
    ) -> Result<u64, StoreError>
    where
        E: FnOnce(&u64) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE credentials SET revoked_at = $3 WHERE tenant_id = $1 AND principal_id = $2 AND revoked_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let revoked = tx.run(sql, args![principal, at]).await?;
                tx.change_access().await?;
                Ok(revoked)
            })
        })
        .await
    }

    /// Finds a credential by its handle, also one that no longer counts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_credential_by_id(
        &self,
        id: TokenId,
    ) -> Result<Option<Credential>, StoreError> {
        self.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists a principal's credentials of one kind that were not revoked, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_credentials(
        &self,
        principal: PrincipalId,
        kind: CredentialKind,
        paging: &Paging,
    ) -> Result<Page<Credential>, StoreError> {
        let sql = credential!(
            "c.tenant_id = $1 AND c.principal_id = $2 AND c.kind = $3 AND c.revoked_at IS NULL \
             AND (c.created_at, c.id) < ($4, $5) ORDER BY c.created_at DESC, c.id DESC LIMIT $6"
        );
        let place = paging.place(List::Credentials, HIGHEST)?;
        let own = args![principal, kind.as_str(), place.first, place.id, paging.rows()];
        let rows = self.rows(sql, own).await?;
        let all: Result<Vec<Credential>, _> =
            rows.into_iter().map(|mut row| read(&mut row)).collect();
        Ok(Page::of(all?, paging, |one| {
            let place = Place { first: one.created_at.0, second: 0, id: one.id.0 };
            Cursor::new(List::Credentials, place)
        }))
    }
}

/// Lists what somebody signed in with and what counts still.
pub(crate) async fn list_sign_ins(
    tenant: &TenantStore,
    principal: PrincipalId,
    now: Timestamp,
    paging: &Paging,
) -> Result<Page<Credential>, StoreError> {
    let sql = credential!(
        "c.tenant_id = $1 AND c.principal_id = $2 AND c.kind IN ('cookie', 'api_token') AND (c.kind = 'cookie' OR c.method IS NOT NULL) \
         AND c.revoked_at IS NULL AND c.expires_at > $3 AND (c.created_at, c.id) < ($4, $5) ORDER BY c.created_at DESC, c.id DESC LIMIT $6"
    );
    let place = paging.place(List::Credentials, HIGHEST)?;
    let rows =
        tenant.rows(sql, args![principal, now, place.first, place.id, paging.rows()]).await?;
    let all: Result<Vec<Credential>, _> = rows.into_iter().map(|mut row| read(&mut row)).collect();
    Ok(Page::of(all?, paging, |one| {
        let place = Place { first: one.created_at.0, second: 0, id: one.id.0 };
        Cursor::new(List::Credentials, place)
    }))
}

/// Adds a credential in a transaction.
pub(crate) async fn insert(
    tx: &mut Tx,
    new: NewCredential,
    origin: Origin,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO credentials (tenant_id, id, principal_id, kind, name, hash, prefix, created_at, expires_at, \
         method, address, agent, second_factor_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let own = args![
        new.id,
        new.principal,
        new.kind.as_str(),
        new.name,
        new.hash,
        new.prefix,
        new.at,
        new.expires_at,
        origin.method,
        origin.address,
        origin.agent,
        origin.second_factor_at,
    ];
    tx.run(sql, own).await.map(|_| ())
}

fn read(row: &mut Row) -> Result<Credential, StoreError> {
    let principal = read_principal(row)?;
    Ok(Credential {
        principal,
        id: TokenId(row.uuid()?),
        kind: row.word("kind of credential")?,
        name: row.text()?,
        prefix: row.text()?,
        created_at: row.time()?,
        expires_at: row.maybe_time()?,
        last_used_at: row.maybe_time()?,
        used_at: row.maybe_time()?,
        revoked_at: row.maybe_time()?,
        origin: Origin {
            method: row.maybe_text()?,
            address: row.maybe_text()?,
            agent: row.maybe_text()?,
            second_factor_at: row.maybe_time()?,
        },
    })
}
