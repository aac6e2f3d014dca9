//! Requests for access: somebody wishes for a role for a time, somebody else decides.

use std::str::FromStr;

use adit_domain::{GrantId, Principal, PrincipalId, RequestId, Timestamp};

use crate::page::{HIGHEST, List, Place};
use crate::principal::read_principal;
use crate::sql::{Row, args, stored};
use crate::{Cursor, NewEvent, NewGrant, Page, Paging, StoreError, TenantStore, grant};

/// A request to add.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// Its id.
    pub id: RequestId,
    /// Who asks.
    pub principal: PrincipalId,
    /// For which role.
    pub role: String,
    /// On which machines, by label as the requester wrote them; empty for all.
    pub labels: Vec<String>,
    /// Why.
    pub reason: String,
    /// For how long, in seconds.
    pub seconds: u64,
    /// Until when somebody may decide.
    pub expires_at: Timestamp,
    /// When it is made.
    pub at: Timestamp,
}

/// How far a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestState {
    /// Nobody has decided.
    Pending,
    /// It became a grant.
    Approved,
    /// Somebody said no.
    Denied,
    /// The requester took it back.
    Withdrawn,
}

impl RequestState {
    /// Gives the word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl FromStr for RequestState {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Pending, Self::Approved, Self::Denied, Self::Withdrawn]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// A request as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessRequest {
    /// Its id.
    pub id: RequestId,
    /// Who asks.
    pub principal: Principal,
    /// For which role.
    pub role: String,
    /// On which machines; empty for all.
    pub labels: Vec<String>,
    /// Why.
    pub reason: String,
    /// For how long, in seconds.
    pub seconds: u64,
    /// How far it is.
    pub state: RequestState,
    /// What the one who decided said.
    pub note: Option<String>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// What it became.
    pub grant: Option<GrantId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when somebody may decide.
    pub expires_at: Timestamp,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
}

/// What is decided about a request.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Who decides; never the one who asked.
    pub by: PrincipalId,
    /// What is said to it.
    pub note: Option<String>,
    /// The grant that it becomes; none for a no.
    pub grant: Option<NewGrant>,
    /// When.
    pub at: Timestamp,
}

macro_rules! request {
    ($where:literal) => {
        concat!(
            "SELECT r.id, p.id, p.tenant_id, p.kind, p.name, r.role, r.labels, r.reason, r.seconds, r.state, r.note, d.name, r.grant_id, \
             r.created_at, r.expires_at, r.decided_at FROM access_requests r \
             JOIN principals p ON p.tenant_id = r.tenant_id AND p.id = r.principal_id \
             LEFT JOIN principals d ON d.tenant_id = r.tenant_id AND d.id = r.decided_by \
             WHERE r.tenant_id = $1 AND ",
            $where
        )
    };
}

const FIND: &str = request!("r.id = $2");

impl TenantStore {
    /// Adds a request. Tells whether there was room: of one principal at most `most` may wait.
    ///
    /// # Errors
    /// [`crate::Conflict::Refers`] when the principal is not there.
    pub async fn add_request<E>(
        &self,
        new: NewRequest,
        most: u64,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let count = "SELECT count(*) FROM access_requests WHERE tenant_id = $1 AND principal_id = $2 AND state = 'pending' AND expires_at > $3";
        let sql = "INSERT INTO access_requests (tenant_id, id, principal_id, role, labels, reason, seconds, state, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9)";
        let labels = crate::session::json(&new.labels)?;
        self.write(tell, move |tx| {
            Box::pin(async move {
                let row = tx.row(count, args![new.principal, new.at]).await?;
                let waiting: u64 = row.map_or(Ok(0), |mut row| row.count())?;
                if waiting >= most {
                    return Ok(false);
                }
                let own = args![
                    new.id,
                    new.principal,
                    new.role,
                    labels,
                    new.reason,
                    stored(new.seconds),
                    new.at,
                    new.expires_at
                ];
                tx.run(sql, own).await.map(|_| true)
            })
        })
        .await
    }

    /// Decides about a request that waits, with the grant that it becomes, in one step. `None`: it does not wait any more, or its
    /// requester would decide about itself.
    ///
    /// # Errors
    /// [`crate::Conflict::Refers`] when what is granted is not there any more.
    pub async fn decide_request<E>(
        &self,
        id: RequestId,
        decision: Decision,
        tell: E,
    ) -> Result<Option<AccessRequest>, StoreError>
    where
        E: FnOnce(&Option<AccessRequest>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE access_requests SET state = $3, note = $4, decided_by = $5, decided_at = $6 \
             WHERE tenant_id = $1 AND id = $2 AND state = 'pending' AND expires_at > $6 AND principal_id <> $5";
        let became = "UPDATE access_requests SET grant_id = $3 WHERE tenant_id = $1 AND id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let Decision { by, note, grant, at } = decision;
                let state = match grant {
                    Some(_) => RequestState::Approved,
                    None => RequestState::Denied,
                };
                let own = args![id, state.as_str(), note, by, at];
                if tx.run(sql, own).await? == 0 {
                    return Ok(None);
                }
                if let Some(grant) = grant {
                    let given = args![id, grant.id];
                    grant::insert(tx, grant).await?;
                    tx.run(became, given).await?;
                }
                tx.change_access().await?;
                tx.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
            })
        })
        .await
    }

    /// Takes a request back. Tells whether it waited.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn withdraw_request<E>(
        &self,
        id: RequestId,
        principal: PrincipalId,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE access_requests SET state = 'withdrawn', decided_at = $4 \
             WHERE tenant_id = $1 AND id = $2 AND principal_id = $3 AND state = 'pending'";
        let own = args![id, principal, at];
        self.write(tell, move |tx| Box::pin(async move { Ok(tx.run(sql, own).await? > 0) })).await
    }

    /// Finds a request.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_request(&self, id: RequestId) -> Result<Option<AccessRequest>, StoreError> {
        self.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists requests, of one principal or of all, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_requests(
        &self,
        of: Option<PrincipalId>,
        paging: &Paging,
    ) -> Result<Page<AccessRequest>, StoreError> {
        let all = request!(
            "(r.created_at, r.id) < ($2, $3) ORDER BY r.created_at DESC, r.id DESC LIMIT $4"
        );
        let own = request!(
            "r.principal_id = $5 AND (r.created_at, r.id) < ($2, $3) ORDER BY r.created_at DESC, r.id DESC LIMIT $4"
        );
        let place = paging.place(List::Requests, HIGHEST)?;
        let mut values = args![place.first, place.id, paging.rows()];
        values.extend(of.map(crate::sql::Arg::from));
        let sql = if of.is_some() { own } else { all };
        let rows = self.rows(sql, values).await?;
        let found: Result<Vec<AccessRequest>, _> =
            rows.into_iter().map(|mut row| read(&mut row)).collect();
        Ok(Page::of(found?, paging, |one| {
            let place = Place { first: one.created_at.0, second: 0, id: one.id.0 };
            Cursor::new(List::Requests, place)
        }))
    }
}

fn read(row: &mut Row) -> Result<AccessRequest, StoreError> {
    Ok(AccessRequest {
        id: RequestId(row.uuid()?),
        principal: read_principal(row)?,
        role: row.text()?,
        labels: serde_json::from_str(&row.text()?).map_err(|_| StoreError::Corrupt("labels"))?,
        reason: row.text()?,
        seconds: row.count()?,
        state: row.word("state of a request")?,
        note: row.maybe_text()?,
        decided_by: row.maybe_text()?,
        grant: row.maybe_uuid()?.map(GrantId),
        created_at: row.time()?,
        expires_at: row.time()?,
        decided_at: row.maybe_time()?,
    })
}
