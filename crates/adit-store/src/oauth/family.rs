//! Authorizations and their tokens: a family is one authorization, and all its tokens end with it.

use std::str::FromStr;

use adit_domain::principal::Principal;
use adit_domain::{Capabilities, FamilyId, PrincipalId, Timestamp, TokenId};

use crate::page::{HIGHEST, List, Place};
use crate::principal::read_principal;
use crate::sql::{Row, args, write_capabilities};
use crate::tx::{Scope, Tx};
use crate::{Cursor, NewEvent, Page, Paging, SecretHash, Store, StoreError, TenantStore};

/// How an authorization came about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Flow {
    /// A client for itself.
    Client,
    /// A user in a browser.
    Code,
    /// A user for a device.
    Device,
    /// A token of somebody else's.
    Exchange,
}

impl Flow {
    const ALL: [Self; 4] = [Self::Client, Self::Code, Self::Device, Self::Exchange];

    /// Gives the word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Code => "code",
            Self::Device => "device",
            Self::Exchange => "exchange",
        }
    }
}

impl FromStr for Flow {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|flow| flow.as_str() == text).ok_or(())
    }
}

/// An authorization to add.
#[derive(Clone, Debug)]
pub struct NewFamily {
    /// Its id.
    pub id: FamilyId,
    /// For whom its tokens speak.
    pub principal: PrincipalId,
    /// Who holds them; none for the command line.
    pub client: Option<PrincipalId>,
    /// How it came about.
    pub flow: Flow,
    /// The most that its tokens open.
    pub scopes: Capabilities,
    /// Who somebody else's token named.
    pub subject: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it is made.
    pub at: Timestamp,
}

/// An access token to remember, so that it can be taken back.
#[derive(Clone, Copy, Debug)]
pub struct NewAccessToken {
    /// The id that it carries.
    pub id: TokenId,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// A refresh token to add.
#[derive(Clone, Copy, Debug)]
pub struct NewRefreshToken {
    /// Its handle.
    pub id: TokenId,
    /// Its hash.
    pub hash: SecretHash,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

/// An authorization to add, with its first tokens.
#[derive(Clone, Debug)]
pub struct Issue {
    /// The authorization.
    pub family: NewFamily,
    /// Its access token.
    pub access: NewAccessToken,
    /// Its refresh token, where it has one.
    pub refresh: Option<NewRefreshToken>,
}

/// An access token that counts, as its rows have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessToken {
    /// For whom it speaks.
    pub principal: Principal,
    /// The authorization that it came of.
    pub family: FamilyId,
    /// The name of the client that holds it; none for the command line.
    pub client: Option<String>,
    /// The client's id; none for the command line.
    pub client_id: Option<PrincipalId>,
    /// When a second factor was last shown with a token of its authorization.
    pub second_factor_at: Option<Timestamp>,
}

/// An authorization that stands, as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Family {
    /// Its id.
    pub id: FamilyId,
    /// For whom its tokens speak.
    pub principal: Principal,
    /// Who holds them; none for the command line.
    pub client: Option<PrincipalId>,
    /// The client's name; none for the command line.
    pub client_name: Option<String>,
    /// How it came about.
    pub flow: Flow,
    /// The most that its tokens open.
    pub scopes: Capabilities,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A refresh token whose authorization stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefreshToken {
    /// Its handle.
    pub id: TokenId,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// What it renews.
    pub family: Family,
}

const FIND: &str = "SELECT p.id, p.tenant_id, p.kind, p.name, f.id, q.name, f.client_id, f.second_factor_at FROM oauth_tokens t \
     JOIN oauth_families f ON f.tenant_id = t.tenant_id AND f.id = t.family_id \
     JOIN principals p ON p.tenant_id = f.tenant_id AND p.id = f.principal_id \
     LEFT JOIN principals q ON q.tenant_id = f.tenant_id AND q.id = f.client_id \
     WHERE t.id = $1 AND t.kind = 'access' AND t.expires_at > $2 AND t.revoked_at IS NULL AND f.revoked_at IS NULL \
     AND p.active AND p.deleted_at IS NULL AND (f.client_id IS NULL OR (q.active AND q.deleted_at IS NULL))";

macro_rules! family {
    ($first:literal, $from:literal, $where:literal) => {
        concat!(
            "SELECT ",
            $first,
            "p.id, p.tenant_id, p.kind, p.name, f.id, f.client_id, q.name, f.flow, f.scopes, f.created_at, f.expires_at FROM ",
            $from,
            " JOIN principals p ON p.tenant_id = f.tenant_id AND p.id = f.principal_id \
             LEFT JOIN principals q ON q.tenant_id = f.tenant_id AND q.id = f.client_id \
             WHERE f.revoked_at IS NULL AND p.active AND p.deleted_at IS NULL \
             AND (f.client_id IS NULL OR (q.active AND q.deleted_at IS NULL)) AND ",
            $where
        )
    };
}

impl Store {
    /// Finds an access token that counts now: it, its authorization, its principal and its client all stand.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_access_token(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Option<AccessToken>, StoreError> {
        let row = self.reads().row(Scope::System, FIND, args![id, now]).await?;
        let read = |mut row: Row| {
            Ok(AccessToken {
                principal: read_principal(&mut row)?,
                family: FamilyId(row.uuid()?),
                client: row.maybe_text()?,
                client_id: row.maybe_uuid()?.map(PrincipalId),
                second_factor_at: row.maybe_time()?,
            })
        };
        row.map(read).transpose()
    }

    /// Finds a refresh token by its hash, also one that was used, while its authorization stands.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_refresh_token(
        &self,
        hash: SecretHash,
    ) -> Result<Option<RefreshToken>, StoreError> {
        let sql = family!(
            "t.id, t.expires_at, t.used_at, ",
            "oauth_tokens t JOIN oauth_families f ON f.tenant_id = t.tenant_id AND f.id = t.family_id",
            "t.hash = $1 AND t.kind = 'refresh' AND t.revoked_at IS NULL"
        );
        let row = self.reads().row(Scope::System, sql, args![hash]).await?;
        let read = |mut row: Row| {
            Ok(RefreshToken {
                id: TokenId(row.uuid()?),
                expires_at: row.time()?,
                used_at: row.maybe_time()?,
                family: read_family(&mut row)?,
            })
        };
        row.map(read).transpose()
    }

    /// Forgets tokens, codes and requests that ended before a time, and authorizations of which nothing is left.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_oauth(&self, before: Timestamp) -> Result<(), StoreError> {
        let all = [
            "DELETE FROM oauth_codes WHERE expires_at < $1",
            "DELETE FROM oauth_devices WHERE expires_at < $1",
            "DELETE FROM oauth_tokens WHERE expires_at < $1",
            "DELETE FROM oauth_families WHERE created_at < $1 AND NOT EXISTS \
             (SELECT 1 FROM oauth_tokens t WHERE t.tenant_id = oauth_families.tenant_id AND t.family_id = oauth_families.id)",
        ];
        self.write(crate::silent, move |tx| {
            Box::pin(async move {
                for sql in all {
                    tx.run(sql, args![before]).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

impl TenantStore {
    /// Adds an authorization and its first tokens.
    ///
    /// # Errors
    /// [`crate::Conflict::Refers`] when the principal or the client is not there.
    pub async fn create_family<E>(&self, issue: Issue, tell: E) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(insert(tx, issue))).await
    }

    /// Uses a refresh token up for the next ones. Of several at once one is told `true`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn rotate_refresh_token<E>(
        &self,
        used: TokenId,
        family: FamilyId,
        next: (NewAccessToken, NewRefreshToken),
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE oauth_tokens SET used_at = $3 WHERE tenant_id = $1 AND id = $2 AND kind = 'refresh' \
             AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $3";
        let longer = "UPDATE oauth_families SET expires_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL";
        let (access, refresh) = next;
        self.write(tell, move |tx| {
            Box::pin(async move {
                let stands = tx.run(longer, args![family, refresh.expires_at]).await? == 1;
                if !stands || tx.run(sql, args![used, at]).await? == 0 {
                    return Ok(false);
                }
                insert_access(tx, family, access, at).await?;
                insert_refresh(tx, family, refresh, at).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Revokes an authorization: none of its tokens counts from now on. Tells whether it stood.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn revoke_family<E>(
        &self,
        id: FamilyId,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE oauth_families SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(sql, args![id, at]).await? == 0 {
                    return Ok(false);
                }
                tx.change_access().await?;
                Ok(true)
            })
        })
        .await
    }

    /// Revokes one access token. Tells whether it stood.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn revoke_access_token<E>(
        &self,
        id: TokenId,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE oauth_tokens SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND kind = 'access' AND revoked_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(sql, args![id, at]).await? == 0 {
                    return Ok(false);
                }
                tx.change_access().await?;
                Ok(true)
            })
        })
        .await
    }

    /// Finds an authorization that stands.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_family(&self, id: FamilyId) -> Result<Option<Family>, StoreError> {
        let sql = family!("", "oauth_families f", "f.tenant_id = $1 AND f.id = $2");
        self.row(sql, args![id]).await?.map(|mut row| read_family(&mut row)).transpose()
    }

    /// Lists the authorizations of a user that stand, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_families(
        &self,
        of: PrincipalId,
        now: Timestamp,
        paging: &Paging,
    ) -> Result<Page<Family>, StoreError> {
        let sql = family!(
            "",
            "oauth_families f",
            "f.tenant_id = $1 AND f.principal_id = $2 AND (f.expires_at IS NULL OR f.expires_at > $3) \
             AND f.flow IN ('code', 'device') AND (f.created_at, f.id) < ($4, $5) ORDER BY f.created_at DESC, f.id DESC LIMIT $6"
        );
        let place = paging.place(List::Families, HIGHEST)?;
        let rows = self.rows(sql, args![of, now, place.first, place.id, paging.rows()]).await?;
        let all: Result<Vec<Family>, _> =
            rows.into_iter().map(|mut row| read_family(&mut row)).collect();
        Ok(Page::of(all?, paging, |one| {
            let place = Place { first: one.created_at.0, second: 0, id: one.id.0 };
            Cursor::new(List::Families, place)
        }))
    }
}

/// Adds an authorization and its first tokens.
pub(super) async fn insert(tx: &mut Tx, issue: Issue) -> Result<(), StoreError> {
    let sql = "INSERT INTO oauth_families (tenant_id, id, principal_id, client_id, flow, scopes, subject, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let NewFamily { id, principal, client, flow, scopes, subject, expires_at, at } = issue.family;
    let scopes = write_capabilities(scopes);
    let own = args![id, principal, client, flow.as_str(), scopes, subject, at, expires_at];
    tx.run(sql, own).await?;
    insert_access(tx, id, issue.access, at).await?;
    match issue.refresh {
        Some(refresh) => insert_refresh(tx, id, refresh, at).await,
        None => Ok(()),
    }
}

async fn insert_access(
    tx: &mut Tx,
    family: FamilyId,
    access: NewAccessToken,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO oauth_tokens (tenant_id, id, family_id, kind, created_at, expires_at) VALUES ($1, $2, $3, 'access', $4, $5)";
    tx.run(sql, args![access.id, family, at, access.expires_at]).await.map(|_| ())
}

async fn insert_refresh(
    tx: &mut Tx,
    family: FamilyId,
    refresh: NewRefreshToken,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO oauth_tokens (tenant_id, id, family_id, kind, hash, created_at, expires_at) VALUES ($1, $2, $3, 'refresh', $4, $5, $6)";
    let own = args![refresh.id, family, refresh.hash, at, refresh.expires_at];
    tx.run(sql, own).await.map(|_| ())
}

fn read_family(row: &mut Row) -> Result<Family, StoreError> {
    Ok(Family {
        principal: read_principal(row)?,
        id: FamilyId(row.uuid()?),
        client: row.maybe_uuid()?.map(PrincipalId),
        client_name: row.maybe_text()?,
        flow: row.text()?.parse().map_err(|()| StoreError::Corrupt("flow"))?,
        scopes: row.capabilities()?,
        created_at: row.time()?,
        expires_at: row.maybe_time()?,
    })
}
