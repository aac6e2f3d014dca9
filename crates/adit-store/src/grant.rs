//! Grants: a role given to a principal or a team, on a selection of machines, under conditions.

use adit_domain::policy::{Conditions, Selection};
use adit_domain::principal::Principal;
use adit_domain::role::BuiltInRole;
use adit_domain::{GrantId, MachineId, PrincipalId, TeamId, Timestamp};

use crate::page::{LOWEST, List, Place};
use crate::principal::read_principal;
use crate::sql::{Row, args};
use crate::tx::Tx;
use crate::{Conflict, Cursor, NewEvent, Page, Paging, StoreError, TenantStore};

pub(crate) mod terms;

/// A grant to add.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Its id.
    pub id: GrantId,
    /// Who gets the role.
    pub holder: Holder,
    /// The role's name.
    pub role: String,
    /// On what.
    pub on: Selection,
    /// When it counts.
    pub conditions: Conditions,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it is given.
    pub at: Timestamp,
}

/// Who a grant is given to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A principal.
    Principal(PrincipalId),
    /// Everybody in a team.
    Team(TeamId),
}

/// Who holds a grant, by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HolderName {
    /// A principal.
    Principal(Principal),
    /// A team.
    Team(TeamId, String),
}

impl std::fmt::Display for HolderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Principal(principal) => principal.name.fmt(f),
            Self::Team(_, name) => write!(f, "team:{name}"),
        }
    }
}

/// A grant as its rows have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// Who has the role.
    pub holder: HolderName,
    /// The role's name.
    pub role: String,
    /// On what.
    pub on: Selection,
    /// The labels of the machines, in the order of `on`; empty when it is on all.
    pub machine_labels: Vec<String>,
    /// When it counts.
    pub conditions: Conditions,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was given.
    pub created_at: Timestamp,
}

macro_rules! grant {
    ($where:literal) => {
        concat!(
            "SELECT g.id, g.role, g.all_machines, g.matcher, g.conditions, g.expires_at, g.created_at, t.id, t.name, \
             p.id, p.tenant_id, p.kind, p.name, m.id, m.label \
             FROM grants g \
             LEFT JOIN principals p ON p.tenant_id = g.tenant_id AND p.id = g.principal_id \
             LEFT JOIN teams t ON t.tenant_id = g.tenant_id AND t.id = g.team_id \
             LEFT JOIN grant_machines x ON x.tenant_id = g.tenant_id AND x.grant_id = g.id \
             LEFT JOIN machines m ON m.tenant_id = x.tenant_id AND m.id = x.machine_id \
             WHERE g.tenant_id = $1 AND g.deleted_at IS NULL AND ",
            $where,
            " ORDER BY g.created_at, g.id, m.label"
        )
    };
}

const FIND: &str = grant!("g.id = $2");

impl TenantStore {
    /// Gives a role to a principal.
    ///
    /// # Errors
    /// [`Conflict::Refers`] when the principal, the role or a machine is not there or was removed.
    pub async fn add_grant<E>(&self, new: NewGrant, tell: E) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| {
            Box::pin(async move {
                insert(tx, new).await?;
                tx.change_access().await
            })
        })
        .await
    }

    /// Takes a grant away and gives it as it was; `None` if it was not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_grant<E>(
        &self,
        id: GrantId,
        at: Timestamp,
        tell: E,
    ) -> Result<Option<Grant>, StoreError>
    where
        E: FnOnce(&Option<Grant>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE grants SET deleted_at = $3 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let grant = read_all(tx.rows(FIND, args![id]).await?)?.pop();
                if tx.run(sql, args![id, at]).await? == 0 {
                    return Ok(None);
                }
                tx.change_access().await?;
                Ok(grant)
            })
        })
        .await
    }

    /// Finds a grant that was not taken away.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        Ok(read_all(self.rows(FIND, args![id]).await?)?.pop())
    }

    /// Lists the grants that were not taken away, of one principal or team or of all, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_grants(
        &self,
        of: Option<Holder>,
        paging: &Paging,
    ) -> Result<Page<Grant>, StoreError> {
        let sql = grant!(
            "g.id IN (SELECT id FROM grants WHERE tenant_id = $1 AND deleted_at IS NULL AND ($2 IS NULL OR principal_id = $2) \
             AND ($3 IS NULL OR team_id = $3) AND (created_at, id) > ($4, $5) ORDER BY created_at, id LIMIT $6)"
        );
        let place = paging.place(List::Grants, LOWEST)?;
        let (principal, team) = of.map_or((None, None), Holder::columns);
        let own = args![principal, team, place.first, place.id, paging.rows()];
        let rows = self.rows(sql, own).await?;
        Ok(Page::of(read_all(rows)?, paging, |grant| {
            let place = Place { first: grant.created_at.0, second: 0, id: grant.id.0 };
            Cursor::new(List::Grants, place)
        }))
    }
}

impl Holder {
    fn columns(self) -> (Option<PrincipalId>, Option<TeamId>) {
        match self {
            Self::Principal(id) => (Some(id), None),
            Self::Team(id) => (None, Some(id)),
        }
    }
}

/// Adds a grant; the caller marks the change.
pub(crate) async fn insert(tx: &mut Tx, new: NewGrant) -> Result<(), StoreError> {
    let (sql, holder) = match new.holder {
        Holder::Principal(id) => (
            "SELECT 1 FROM principals WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL",
            id.0,
        ),
        Holder::Team(id) => {
            ("SELECT 1 FROM teams WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL", id.0)
        }
    };
    stands(tx, sql, holder).await?;
    if BuiltInRole::find(&new.role).is_none() {
        let role = "SELECT 1 FROM roles WHERE tenant_id = $1 AND name = $2 AND deleted_at IS NULL";
        let found = tx.row(role, args![new.role.as_str()]).await?;
        found.ok_or(StoreError::Conflict(Conflict::Refers))?;
    }
    insert_row(tx, &new).await?;
    let Selection::Machines(machines) = new.on else { return Ok(()) };
    for machine in machines {
        let sql = "SELECT 1 FROM machines WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
        stands(tx, sql, machine.0).await?;
        let sql = "INSERT INTO grant_machines (tenant_id, grant_id, machine_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        tx.run(sql, args![new.id, machine]).await?;
    }
    Ok(())
}

async fn insert_row(tx: &mut Tx, new: &NewGrant) -> Result<(), StoreError> {
    let sql = "INSERT INTO grants (tenant_id, id, principal_id, team_id, role, all_machines, matcher, conditions, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let (principal, team) = new.holder.columns();
    let all = new.on == Selection::All;
    let matcher = match &new.on {
        Selection::Matching(matcher) => Some(terms::write_matcher(matcher)?),
        Selection::All | Selection::Machines(_) => None,
    };
    let conditions = terms::write_conditions(&new.conditions)?;
    let role = new.role.as_str();
    let own =
        args![new.id, principal, team, role, all, matcher, conditions, new.at, new.expires_at];
    tx.run(sql, own).await.map(|_| ())
}

async fn stands(tx: &mut Tx, sql: &'static str, id: uuid::Uuid) -> Result<(), StoreError> {
    let found = tx.row(sql, args![id]).await?;
    found.map(|_| ()).ok_or(StoreError::Conflict(Conflict::Refers))
}

/// Gathers a grant from its rows, one for each machine.
fn read_all(rows: Vec<Row>) -> Result<Vec<Grant>, StoreError> {
    let mut grants: Vec<Grant> = Vec::new();
    for mut row in rows {
        let grant = read(&mut row)?;
        let machine = row.maybe_uuid()?.map(MachineId).zip(row.maybe_text()?);
        if grants.last().is_none_or(|last| last.id != grant.id) {
            grants.push(grant);
        }
        if let (Some((id, label)), Some(last)) = (machine, grants.last_mut())
            && let Selection::Machines(list) = &mut last.on
        {
            list.push(id);
            last.machine_labels.push(label);
        }
    }
    Ok(grants)
}

fn read(row: &mut Row) -> Result<Grant, StoreError> {
    let id = GrantId(row.uuid()?);
    let role = row.text()?;
    let on = read_selection(row)?;
    let conditions = terms::read_conditions(&row.text()?)?;
    let (expires_at, created_at) = (row.maybe_time()?, row.time()?);
    let team = row.maybe_uuid()?.map(TeamId).zip(row.maybe_text()?);
    let holder = match team {
        Some((id, name)) => {
            row.skip(4);
            HolderName::Team(id, name)
        }
        None => HolderName::Principal(read_principal(row)?),
    };
    let machine_labels = Vec::new();
    Ok(Grant { id, holder, role, on, machine_labels, conditions, expires_at, created_at })
}

/// Reads `all_machines` and `matcher`; listed machines come in rows of their own.
pub(crate) fn read_selection(row: &mut Row) -> Result<Selection, StoreError> {
    let (all, matcher) = (row.flag()?, row.maybe_text()?);
    Ok(match matcher {
        Some(text) => Selection::Matching(terms::read_matcher(&text)?),
        None if all => Selection::All,
        None => Selection::Machines(Vec::new()),
    })
}
