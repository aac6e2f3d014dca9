//! Memberships that follow a provider's groups.

use adit_domain::{PrincipalId, TeamId, Timestamp};

use crate::StoreError;
use crate::sql::args;
use crate::team;
use crate::tx::Tx;

/// The teams that a provider's groups stand for.
#[derive(Clone, Debug, Default)]
pub struct GroupTeams {
    /// Their names, each with the id that it gets if it is made.
    pub wanted: Vec<(String, TeamId)>,
    /// Whether a team that is not there is made.
    pub make: bool,
}

/// What changed because of a provider's groups: names of teams.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TeamsChanged {
    /// Teams that were made.
    pub made: Vec<(String, TeamId)>,
    /// Teams that the principal is in now.
    pub joined: Vec<String>,
    /// Teams that the principal left.
    pub left: Vec<String>,
}

/// Makes the memberships that a provider says of a principal equal to its groups; those of other sources stay.
pub(super) async fn follow(
    tx: &mut Tx,
    principal: PrincipalId,
    provider: &str,
    teams: GroupTeams,
    now: Timestamp,
) -> Result<TeamsChanged, StoreError> {
    let leave = "DELETE FROM team_members WHERE tenant_id = $1 AND team_id = $2 AND principal_id = $3 AND source = $4";
    let held = held(tx, principal, provider).await?;
    let mut changed = TeamsChanged::default();
    let is_wanted = |name: &String| teams.wanted.iter().any(|(wanted, _)| wanted == name);
    for (id, name) in held.iter().filter(|(_, name)| !is_wanted(name)) {
        tx.run(leave, args![*id, principal, provider]).await?;
        changed.left.push(name.clone());
    }
    let is_held = |name: &String| held.iter().any(|(_, has)| has == name);
    for (name, new) in teams.wanted.iter().filter(|(name, _)| !is_held(name)) {
        let id = match find(tx, name).await? {
            Some(id) => id,
            None if teams.make => {
                make(tx, *new, name, now).await?;
                changed.made.push((name.clone(), *new));
                *new
            }
            None => continue,
        };
        if team::join(tx, id, principal, provider.to_owned(), now).await? {
            changed.joined.push(name.clone());
        }
    }
    if changed != TeamsChanged::default() {
        tx.change_access().await?;
    }
    Ok(changed)
}

async fn held(
    tx: &mut Tx,
    principal: PrincipalId,
    provider: &str,
) -> Result<Vec<(TeamId, String)>, StoreError> {
    let sql = "SELECT t.id, t.name FROM team_members m JOIN teams t ON t.tenant_id = m.tenant_id AND t.id = m.team_id \
         WHERE m.tenant_id = $1 AND m.principal_id = $2 AND m.source = $3";
    let rows = tx.rows(sql, args![principal, provider]).await?;
    rows.into_iter().map(|mut row| Ok((TeamId(row.uuid()?), row.text()?))).collect()
}

async fn find(tx: &mut Tx, name: &str) -> Result<Option<TeamId>, StoreError> {
    let sql = "SELECT id FROM teams WHERE tenant_id = $1 AND name = $2 AND deleted_at IS NULL";
    tx.row(sql, args![name]).await?.map(|mut row| row.uuid().map(TeamId)).transpose()
}

async fn make(tx: &mut Tx, id: TeamId, name: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO teams (tenant_id, id, name, created_at) VALUES ($1, $2, $3, $4)";
    tx.run(sql, args![id, name, now]).await.map(|_| ())
}
