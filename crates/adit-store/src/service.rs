//! Services: principals that are clients of the OAuth2 server, and their secrets.

use adit_domain::principal::Principal;
use adit_domain::service::ClientKind;
use adit_domain::{Capabilities, PrincipalId, PrincipalName, Timestamp, TokenId};

use crate::page::{LOWEST, List, Place};
use crate::principal::{self, NewPrincipal, read_principal};
use crate::sql::{Row, args, write_capabilities};
use crate::tx::{Scope, Tx};
use crate::{Cursor, NewEvent, Page, Paging, SecretHash, Store, StoreError, TenantStore};

/// A service to add.
#[derive(Clone, Debug)]
pub struct NewService {
    /// Its id, as a principal and as a client.
    pub id: PrincipalId,
    /// Its name.
    pub name: PrincipalName,
    /// Whether it keeps a secret.
    pub kind: ClientKind,
    /// The most that its tokens open.
    pub scopes: Capabilities,
    /// Where users may be sent back to.
    pub redirect_uris: Vec<String>,
    /// Its secret, where it keeps one.
    pub secret: Option<NewClientSecret>,
    /// When it is added.
    pub at: Timestamp,
}

/// A client's secret to add.
#[derive(Clone, Debug)]
pub struct NewClientSecret {
    /// Its handle.
    pub id: TokenId,
    /// Its hash.
    pub hash: SecretHash,
    /// Its first characters, for lists.
    pub prefix: String,
}

/// A service as its rows have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Who it is.
    pub principal: Principal,
    /// Whether it keeps a secret.
    pub kind: ClientKind,
    /// The most that its tokens open.
    pub scopes: Capabilities,
    /// Where users may be sent back to.
    pub redirect_uris: Vec<String>,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A client's secret that counts, without the secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientSecret {
    /// Its handle.
    pub id: TokenId,
    /// Its first characters.
    pub prefix: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
}

macro_rules! service {
    ($where:literal) => {
        concat!(
            "SELECT p.id, p.tenant_id, p.kind, p.name, c.kind, c.scopes, c.redirect_uris, c.created_at \
             FROM oauth_clients c JOIN principals p ON p.tenant_id = c.tenant_id AND p.id = c.id \
             WHERE c.deleted_at IS NULL AND p.active AND p.deleted_at IS NULL AND ",
            $where
        )
    };
}

impl Store {
    /// Finds the service whose client this is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_client(&self, id: PrincipalId) -> Result<Option<Service>, StoreError> {
        let row = self.reads().row(Scope::System, service!("c.id = $1"), args![id]).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// Tells whether a secret is a client's and counts now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn client_secret_counts(
        &self,
        client: PrincipalId,
        hash: SecretHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM oauth_secrets WHERE hash = $1 AND client_id = $2 \
             AND (expires_at IS NULL OR expires_at > $3) AND deleted_at IS NULL";
        Ok(self.reads().row(Scope::System, sql, args![hash, client, now]).await?.is_some())
    }
}

impl TenantStore {
    /// Adds a service.
    ///
    /// # Errors
    /// [`crate::Conflict::NameTaken`] while a service of that name lives.
    pub async fn create_service<E>(&self, new: NewService, tell: E) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(insert(tx, new))).await
    }

    /// Finds a service that was not removed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_service(&self, id: PrincipalId) -> Result<Option<Service>, StoreError> {
        let sql = service!("c.tenant_id = $1 AND c.id = $2");
        self.row(sql, args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists the services that were not removed, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_services(&self, paging: &Paging) -> Result<Page<Service>, StoreError> {
        let sql = service!(
            "c.tenant_id = $1 AND (c.created_at, c.id) > ($2, $3) ORDER BY c.created_at, c.id LIMIT $4"
        );
        let place = paging.place(List::Services, LOWEST)?;
        let rows = self.rows(sql, args![place.first, place.id, paging.rows()]).await?;
        let all: Result<Vec<Service>, _> = rows.into_iter().map(|mut row| read(&mut row)).collect();
        Ok(Page::of(all?, paging, |one| {
            let place = Place { first: one.created_at.0, second: 0, id: one.principal.id.0 };
            Cursor::new(List::Services, place)
        }))
    }

    /// Lists the secrets of a service that count, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_client_secrets(
        &self,
        client: PrincipalId,
        now: Timestamp,
    ) -> Result<Vec<ClientSecret>, StoreError> {
        let sql = "SELECT id, prefix, created_at, expires_at FROM oauth_secrets \
             WHERE tenant_id = $1 AND client_id = $2 AND (expires_at IS NULL OR expires_at > $3) AND deleted_at IS NULL \
             ORDER BY created_at DESC";
        let rows = self.rows(sql, args![client, now]).await?;
        rows.into_iter().map(|mut row| read_secret(&mut row)).collect()
    }

    /// Gives a service a new secret; those that it had count until `old_until`. Tells whether the service is there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn rotate_client_secret<E>(
        &self,
        client: PrincipalId,
        new: NewClientSecret,
        old_until: Timestamp,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let there = "SELECT 1 FROM oauth_clients WHERE tenant_id = $1 AND id = $2 AND kind = 'confidential' AND deleted_at IS NULL";
        let old = "UPDATE oauth_secrets SET expires_at = $3 WHERE tenant_id = $1 AND client_id = $2 \
             AND (expires_at IS NULL OR expires_at > $3) AND deleted_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.row(there, args![client]).await?.is_none() {
                    return Ok(false);
                }
                tx.run(old, args![client, old_until]).await?;
                insert_secret(tx, client, new, at).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Removes a service: its secrets, grants and tokens count no more, nor do those that users let it have.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_service<E>(
        &self,
        id: PrincipalId,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let off = "UPDATE oauth_clients SET deleted_at = $3 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
        let secrets = "UPDATE oauth_secrets SET deleted_at = $3 WHERE tenant_id = $1 AND client_id = $2 AND deleted_at IS NULL";
        let families = "UPDATE oauth_families SET revoked_at = $3 WHERE tenant_id = $1 AND client_id = $2 AND revoked_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(off, args![id, at]).await? == 0 {
                    return Ok(false);
                }
                for sql in [secrets, families] {
                    tx.run(sql, args![id, at]).await?;
                }
                principal::deactivate(tx, id, at).await?;
                tx.change_access().await?;
                Ok(true)
            })
        })
        .await
    }
}

async fn insert(tx: &mut Tx, new: NewService) -> Result<(), StoreError> {
    let principal = NewPrincipal { id: new.id, name: new.name, email: None, at: new.at };
    principal::insert(tx, principal).await?;
    let sql = "INSERT INTO oauth_clients (tenant_id, id, kind, scopes, redirect_uris, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    let scopes = write_capabilities(new.scopes);
    let own = args![new.id, new.kind.as_str(), scopes, new.redirect_uris.join("\n"), new.at];
    tx.run(sql, own).await?;
    match new.secret {
        Some(secret) => insert_secret(tx, new.id, secret, new.at).await,
        None => Ok(()),
    }
}

async fn insert_secret(
    tx: &mut Tx,
    client: PrincipalId,
    new: NewClientSecret,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO oauth_secrets (tenant_id, id, client_id, hash, prefix, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    tx.run(sql, args![new.id, client, new.hash, new.prefix, at]).await.map(|_| ())
}

fn read(row: &mut Row) -> Result<Service, StoreError> {
    let principal = read_principal(row)?;
    let kind = row.text()?.parse().map_err(|()| StoreError::Corrupt("kind of client"))?;
    let scopes = row.capabilities()?;
    let uris = row.text()?;
    let redirect_uris = uris.lines().map(str::to_owned).collect();
    Ok(Service { principal, kind, scopes, redirect_uris, created_at: row.time()? })
}

fn read_secret(row: &mut Row) -> Result<ClientSecret, StoreError> {
    Ok(ClientSecret {
        id: TokenId(row.uuid()?),
        prefix: row.text()?,
        created_at: row.time()?,
        expires_at: row.maybe_time()?,
    })
}
