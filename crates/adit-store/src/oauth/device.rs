//! Requests of devices that have no browser, answered by a user elsewhere (RFC 8628).

use std::str::FromStr;

use adit_domain::{Capabilities, PrincipalId, TenantId, Timestamp, TokenId};

use super::family::{self, Issue};
use crate::sql::{Row, args, write_capabilities};
use crate::tx::Scope;
use crate::{NewEvent, SecretHash, Store, StoreError, TenantStore};

/// A request to add.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Its handle.
    pub id: TokenId,
    /// The client's tenant; the first where the client has none.
    pub tenant: TenantId,
    /// The hash of what the device shows.
    pub hash: SecretHash,
    /// The hash of what the user types.
    pub user_hash: SecretHash,
    /// Who asks; none for the command line.
    pub client: Option<PrincipalId>,
    /// For what.
    pub scopes: Capabilities,
    /// From where.
    pub address: Option<String>,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// When it is made.
    pub at: Timestamp,
}

/// How far a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceState {
    /// Nobody has answered.
    Pending,
    /// A user said yes.
    Approved,
    /// A user said no.
    Denied,
    /// Its token was fetched.
    Used,
}

impl FromStr for DeviceState {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "pending" => Ok(Self::Pending),
            "approved" => Ok(Self::Approved),
            "denied" => Ok(Self::Denied),
            "used" => Ok(Self::Used),
            _ => Err(()),
        }
    }
}

/// A request as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its handle.
    pub id: TokenId,
    /// Whose data it is.
    pub tenant: TenantId,
    /// Who asks; none for the command line.
    pub client: Option<PrincipalId>,
    /// For what.
    pub scopes: Capabilities,
    /// From where.
    pub address: Option<String>,
    /// How far it is.
    pub state: DeviceState,
    /// Who answered.
    pub principal: Option<PrincipalId>,
    /// When the device last asked.
    pub polled_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

macro_rules! device {
    ($where:literal) => {
        concat!(
            "SELECT id, tenant_id, client_id, scopes, address, state, principal_id, polled_at, created_at, expires_at \
             FROM oauth_devices WHERE ",
            $where
        )
    };
}

impl Store {
    /// Adds a request.
    ///
    /// # Errors
    /// [`crate::Conflict::Exists`] when another has the same code, [`StoreError::Unavailable`].
    pub async fn begin_device(&self, new: NewDevice) -> Result<(), StoreError> {
        let sql = "INSERT INTO oauth_devices (tenant_id, id, hash, user_hash, client_id, scopes, address, state, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9)";
        let own = args![
            new.id,
            new.hash,
            new.user_hash,
            new.client,
            write_capabilities(new.scopes),
            new.address,
            new.at,
            new.expires_at
        ];
        self.tenant(new.tenant)
            .write(crate::silent, move |tx| {
                Box::pin(async move { tx.run(sql, own).await.map(|_| ()) })
            })
            .await
    }

    /// Finds a request by what the device shows, also one that is over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_device(&self, hash: SecretHash) -> Result<Option<Device>, StoreError> {
        let row = self.reads().row(Scope::System, device!("hash = $1"), args![hash]).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// Finds a request that waits for an answer by what the user types.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_pending_device(
        &self,
        user_hash: SecretHash,
        now: Timestamp,
    ) -> Result<Option<Device>, StoreError> {
        let sql = device!("user_hash = $1 AND state = 'pending' AND expires_at > $2");
        let row = self.reads().row(Scope::System, sql, args![user_hash, now]).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// Notes that a device asked.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn note_poll(&self, id: TokenId, at: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE oauth_devices SET polled_at = $2 WHERE id = $1";
        let own = args![id, at];
        self.write(crate::silent, move |tx| {
            Box::pin(async move { tx.run(sql, own).await.map(|_| ()) })
        })
        .await
    }

    /// Answers a request that waits: from then on it is of the answering user's tenant. Of several at once one is told `true`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn answer_device<E>(
        &self,
        id: TokenId,
        by: (TenantId, PrincipalId),
        answer: DeviceAnswer,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE oauth_devices SET state = $2, tenant_id = $3, principal_id = $4 WHERE id = $1 \
             AND state = 'pending' AND expires_at > $5 AND (client_id IS NULL OR tenant_id = $3)";
        let (tenant, principal) = by;
        self.write(tell, move |tx| {
            Box::pin(async move {
                let done = tx.run(sql, args![id, answer.as_str(), tenant, principal, at]).await?;
                tx.enter(Scope::Tenant(tenant)).await?;
                Ok(done == 1)
            })
        })
        .await
    }
}

/// What a user says to a device's request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceAnswer {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

impl DeviceAnswer {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Deny => "denied",
        }
    }
}

impl TenantStore {
    /// Uses an approved request up. Of several at once one is told `true`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn use_device<E>(
        &self,
        id: TokenId,
        issue: Issue,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE oauth_devices SET state = 'used' WHERE tenant_id = $1 AND id = $2 AND state = 'approved'";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(sql, args![id]).await? == 0 {
                    return Ok(false);
                }
                family::insert(tx, issue).await?;
                Ok(true)
            })
        })
        .await
    }
}

fn read(row: &mut Row) -> Result<Device, StoreError> {
    Ok(Device {
        id: TokenId(row.uuid()?),
        tenant: TenantId(row.uuid()?),
        client: row.maybe_uuid()?.map(PrincipalId),
        scopes: row.capabilities()?,
        address: row.maybe_text()?,
        state: row.text()?.parse().map_err(|()| StoreError::Corrupt("state of a device"))?,
        principal: row.maybe_uuid()?.map(PrincipalId),
        polled_at: row.maybe_time()?,
        created_at: row.time()?,
        expires_at: row.time()?,
    })
}
