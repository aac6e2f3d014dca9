//! Teams: principals that hold roles together, and to whom machines belong.
//!
//! A membership has a source: `local` for those that people made, a provider's name for those that follow its groups.

use adit_domain::{Principal, PrincipalId, TeamId, Timestamp};

use crate::page::{LOWEST, List, Place};
use crate::principal::read_principal;
use crate::sql::{Row, args};
use crate::tx::Tx;
use crate::{Conflict, Cursor, NewEvent, Page, Paging, StoreError, TenantStore};

/// The source of memberships that people made.
pub const LOCAL: &str = "local";

/// A team.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Team {
    /// Its id.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// How many principals are in it.
    pub members: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A principal in a team.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Who.
    pub principal: Principal,
    /// Who says so.
    pub source: String,
}

macro_rules! team {
    ($where:literal) => {
        concat!(
            "SELECT t.id, t.name, (SELECT count(DISTINCT m.principal_id) FROM team_members m WHERE m.tenant_id = t.tenant_id AND m.team_id = t.id), \
             t.created_at FROM teams t WHERE t.tenant_id = $1 AND t.deleted_at IS NULL AND ",
            $where
        )
    };
}

impl TenantStore {
    /// Adds a team.
    ///
    /// # Errors
    /// [`Conflict::NameTaken`] while a team of that name lives.
    pub async fn add_team<E>(
        &self,
        id: TeamId,
        name: &str,
        at: Timestamp,
        tell: E,
    ) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO teams (tenant_id, id, name, created_at) VALUES ($1, $2, $3, $4)";
        let own = args![id, name, at];
        self.write(tell, move |tx| {
            Box::pin(async move {
                match tx.run(sql, own).await {
                    Err(StoreError::Conflict(Conflict::Exists)) => {
                        Err(StoreError::Conflict(Conflict::NameTaken))
                    }
                    other => other.map(|_| ()),
                }
            })
        })
        .await
    }

    /// Removes a team: its grants end, its machines belong to nobody. Tells whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_team<E>(
        &self,
        id: TeamId,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let off = "UPDATE teams SET deleted_at = $3 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
        let grants = "UPDATE grants SET deleted_at = $3 WHERE tenant_id = $1 AND team_id = $2 AND deleted_at IS NULL";
        let members = "DELETE FROM team_members WHERE tenant_id = $1 AND team_id = $2";
        let machines = "UPDATE machines SET team_id = NULL WHERE tenant_id = $1 AND team_id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(off, args![id, at]).await? == 0 {
                    return Ok(false);
                }
                tx.run(grants, args![id, at]).await?;
                tx.run(members, args![id]).await?;
                tx.run(machines, args![id]).await?;
                tx.change_access().await?;
                Ok(true)
            })
        })
        .await
    }

    /// Finds a team by its name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_team_named(&self, name: &str) -> Result<Option<Team>, StoreError> {
        self.row(team!("t.name = $2"), args![name]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Finds a team by its id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_team(&self, id: TeamId) -> Result<Option<Team>, StoreError> {
        self.row(team!("t.id = $2"), args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists teams, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_teams(&self, paging: &Paging) -> Result<Page<Team>, StoreError> {
        let sql = team!("(t.created_at, t.id) > ($2, $3) ORDER BY t.created_at, t.id LIMIT $4");
        let place = paging.place(List::Teams, LOWEST)?;
        let rows = self.rows(sql, args![place.first, place.id, paging.rows()]).await?;
        let teams: Result<Vec<Team>, _> = rows.into_iter().map(|mut row| read(&mut row)).collect();
        Ok(Page::of(teams?, paging, |team| {
            let place = Place { first: team.created_at.0, second: 0, id: team.id.0 };
            Cursor::new(List::Teams, place)
        }))
    }

    /// Lists the teams that a principal is in, by name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_teams_of(&self, principal: PrincipalId) -> Result<Vec<Team>, StoreError> {
        let sql = team!(
            "t.id IN (SELECT team_id FROM team_members WHERE tenant_id = $1 AND principal_id = $2) ORDER BY t.name"
        );
        let rows = self.rows(sql, args![principal]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Lists who is in a team.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_members(&self, team: TeamId) -> Result<Vec<Member>, StoreError> {
        let sql = "SELECT p.id, p.tenant_id, p.kind, p.name, m.source FROM team_members m \
             JOIN principals p ON p.tenant_id = m.tenant_id AND p.id = m.principal_id \
             WHERE m.tenant_id = $1 AND m.team_id = $2 AND p.deleted_at IS NULL ORDER BY p.name, m.source";
        let read =
            |mut row: Row| Ok(Member { principal: read_principal(&mut row)?, source: row.text()? });
        self.rows(sql, args![team]).await?.into_iter().map(read).collect()
    }

    /// Takes a principal into a team. Tells whether that is new.
    ///
    /// # Errors
    /// [`Conflict::Refers`] when the team or the principal is not there.
    pub async fn add_member<E>(
        &self,
        team: TeamId,
        principal: PrincipalId,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| {
            Box::pin(async move {
                let new = join(tx, team, principal, LOCAL.to_owned(), at).await?;
                tx.change_access().await?;
                Ok(new)
            })
        })
        .await
    }

    /// Takes a principal out of a team, whoever put it there. Tells whether it was in.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_member<E>(
        &self,
        team: TeamId,
        principal: PrincipalId,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql =
            "DELETE FROM team_members WHERE tenant_id = $1 AND team_id = $2 AND principal_id = $3";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let done = tx.run(sql, args![team, principal]).await? > 0;
                tx.change_access().await?;
                Ok(done)
            })
        })
        .await
    }

    /// Makes the memberships that a source says of a principal equal to a list. Tells whether anything changed.
    ///
    /// # Errors
    /// [`Conflict::Refers`] when a team or the principal is not there.
    pub async fn set_memberships<E>(
        &self,
        principal: PrincipalId,
        source: &str,
        teams: Vec<TeamId>,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let held = "SELECT team_id FROM team_members WHERE tenant_id = $1 AND principal_id = $2 AND source = $3";
        let leave = "DELETE FROM team_members WHERE tenant_id = $1 AND principal_id = $2 AND source = $3 AND team_id = $4";
        let source = source.to_owned();
        self.write(tell, move |tx| {
            Box::pin(async move {
                let rows = tx.rows(held, args![principal, source.as_str()]).await?;
                let before: Result<Vec<TeamId>, _> =
                    rows.into_iter().map(|mut row| row.uuid().map(TeamId)).collect();
                let before = before?;
                let mut changed = false;
                for gone in before.iter().filter(|team| !teams.contains(team)) {
                    let own = args![principal, source.as_str(), *gone];
                    changed |= tx.run(leave, own).await? > 0;
                }
                for new in teams.iter().filter(|team| !before.contains(team)) {
                    changed |= join(tx, *new, principal, source.clone(), at).await?;
                }
                if changed {
                    tx.change_access().await?;
                }
                Ok(changed)
            })
        })
        .await
    }
}

/// Takes a principal into a team, as a source says. Tells whether that is new.
pub(crate) async fn join(
    tx: &mut Tx,
    team: TeamId,
    principal: PrincipalId,
    source: String,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let stands = "SELECT 1 FROM teams t JOIN principals p ON p.tenant_id = t.tenant_id \
         WHERE t.tenant_id = $1 AND t.id = $2 AND t.deleted_at IS NULL AND p.id = $3 AND p.deleted_at IS NULL";
    let sql = "INSERT INTO team_members (tenant_id, team_id, principal_id, source, created_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT DO NOTHING";
    let found = tx.row(stands, args![team, principal]).await?;
    found.ok_or(StoreError::Conflict(Conflict::Refers))?;
    Ok(tx.run(sql, args![team, principal, source, at]).await? > 0)
}

fn read(row: &mut Row) -> Result<Team, StoreError> {
    Ok(Team {
        id: TeamId(row.uuid()?),
        name: row.text()?,
        members: row.count()?,
        created_at: row.time()?,
    })
}
