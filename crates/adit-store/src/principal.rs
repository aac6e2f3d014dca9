//! Principals: users and services, and the facts that decisions about them rest on.

use std::collections::BTreeMap;

use adit_domain::policy::{Circumstances, GrantFacts, Scopes, Selection};
use adit_domain::principal::{Principal, PrincipalKind, PrincipalName};
use adit_domain::role::BuiltInRole;
use adit_domain::{
    Capability, Facts, GrantId, MachineId, PrincipalId, TeamId, TenantId, Timestamp,
};

use crate::page::{LOWEST, List, Place};
use crate::sql::{Row, args};
use crate::tx::Tx;
use crate::{Conflict, Cursor, NewEvent, NewGrant, Page, Paging, StoreError, TenantStore, grant};

/// A principal to add.
#[derive(Clone, Debug)]
pub struct NewPrincipal {
    /// Its id.
    pub id: PrincipalId,
    /// Its name.
    pub name: PrincipalName,
    /// A person's address.
    pub email: Option<String>,
    /// When it is added.
    pub at: Timestamp,
}

/// A principal as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Who it is.
    pub principal: Principal,
    /// A person's address.
    pub email: Option<String>,
    /// False once it was switched off.
    pub active: bool,
    /// When it was added.
    pub created_at: Timestamp,
}

/// What came of adding the first administrator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FirstAdmin {
    /// There was nobody, and now there is.
    Created,
    /// Somebody is there already.
    Exists(Account),
}

macro_rules! account {
    () => {
        "id, tenant_id, kind, name, email, active, created_at"
    };
}

impl TenantStore {
    /// Adds a principal.
    ///
    /// # Errors
    /// [`Conflict::NameTaken`] while a principal of that name lives.
    pub async fn create_principal<E>(&self, new: NewPrincipal, tell: E) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(insert(tx, new))).await
    }

    /// Adds the first user and a grant, unless there is a user; of two at once one is created.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn create_first_admin<E>(
        &self,
        new: NewPrincipal,
        role: NewGrant,
        tell: E,
    ) -> Result<FirstAdmin, StoreError>
    where
        E: FnOnce(&FirstAdmin) -> Vec<NewEvent> + Send + 'static,
    {
        let first = concat!(
            "SELECT ",
            account!(),
            " FROM principals WHERE tenant_id = $1 AND kind = 'user' AND deleted_at IS NULL ORDER BY created_at LIMIT 1"
        );
        self.write(tell, move |tx| {
            Box::pin(async move {
                // Takes the tenant's row, so that two gateways do not both find nobody.
                tx.change_access().await?;
                if let Some(mut row) = tx.row(first, args![]).await? {
                    return Ok(FirstAdmin::Exists(read(&mut row)?));
                }
                insert(tx, new).await?;
                grant::insert(tx, role).await?;
                Ok(FirstAdmin::Created)
            })
        })
        .await
    }

    /// Finds a principal that was not removed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_principal(&self, id: PrincipalId) -> Result<Option<Account>, StoreError> {
        let sql = concat!(
            "SELECT ",
            account!(),
            " FROM principals WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL"
        );
        self.row(sql, args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Finds a principal that was not removed by its name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_principal_named(
        &self,
        name: &PrincipalName,
    ) -> Result<Option<Account>, StoreError> {
        let sql = concat!(
            "SELECT ",
            account!(),
            " FROM principals WHERE tenant_id = $1 AND kind = $2 AND name = $3 AND deleted_at IS NULL"
        );
        let own = args![name.kind().as_str(), name.name()];
        self.row(sql, own).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists the principals that were not removed, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_principals(&self, paging: &Paging) -> Result<Page<Account>, StoreError> {
        let sql = concat!(
            "SELECT ",
            account!(),
            " FROM principals WHERE tenant_id = $1 AND deleted_at IS NULL AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4"
        );
        let place = paging.place(List::Principals, LOWEST)?;
        let rows = self.rows(sql, args![place.first, place.id, paging.rows()]).await?;
        let accounts: Result<Vec<Account>, _> =
            rows.into_iter().map(|mut r| read(&mut r)).collect();
        Ok(Page::of(accounts?, paging, |account| {
            let place =
                Place { first: account.created_at.0, second: 0, id: account.principal.id.0 };
            Cursor::new(List::Principals, place)
        }))
    }

    /// Removes a principal: its credentials are revoked and its grants end. Tells whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn deactivate_principal<E>(
        &self,
        id: PrincipalId,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(deactivate(tx, id, at))).await
    }

    /// Loads what a decision about a principal rests on, in one statement. A removed one has no grants and is not active.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn load_facts(&self, id: PrincipalId) -> Result<Option<Facts>, StoreError> {
        let rows = self.rows(FACTS, args![id]).await?;
        let mut facts: Option<Facts> = None;
        let mut grants: BTreeMap<GrantId, GrantFacts> = BTreeMap::new();
        for mut row in rows {
            let (principal, active) = (read_principal(&mut row)?, row.flag()?);
            facts.get_or_insert_with(|| Facts {
                principal,
                active,
                grants: Vec::new(),
                circumstances: Circumstances::default(),
            });
            if let Some(grant) = row.maybe_uuid()? {
                read_grant(&mut grants, GrantId(grant), &mut row)?;
            }
        }
        Ok(facts.map(|facts| Facts { grants: grants.into_values().collect(), ..facts }))
    }

    /// Loads what everybody in a team holds through it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn load_team_grants(&self, team: TeamId) -> Result<Vec<GrantFacts>, StoreError> {
        let mut grants = BTreeMap::new();
        for mut row in self.rows(TEAM_GRANTS, args![team]).await? {
            let id = GrantId(row.uuid()?);
            read_grant(&mut grants, id, &mut row)?;
        }
        Ok(grants.into_values().collect())
    }
}

/// A principal beside each grant that it or a team of its holds, each beside each of its machines and of a custom role's capabilities.
const FACTS: &str = "SELECT p.id, p.tenant_id, p.kind, p.name, p.active AND n.deleted_at IS NULL, g.id, g.role, g.expires_at, g.all_machines, g.matcher, g.conditions, \
     g.team_id, g.team_name, m.machine_id, c.capability \
     FROM principals p JOIN tenants n ON n.id = p.tenant_id \
     LEFT JOIN (SELECT h.id, h.tenant_id, h.role, h.expires_at, h.all_machines, h.matcher, h.conditions, h.team_id, NULL AS team_name \
         FROM grants h WHERE h.tenant_id = $1 AND h.principal_id = $2 AND h.deleted_at IS NULL \
         UNION ALL SELECT h.id, h.tenant_id, h.role, h.expires_at, h.all_machines, h.matcher, h.conditions, h.team_id, t.name \
         FROM team_members x JOIN teams t ON t.tenant_id = x.tenant_id AND t.id = x.team_id AND t.deleted_at IS NULL \
         JOIN grants h ON h.tenant_id = x.tenant_id AND h.team_id = x.team_id AND h.deleted_at IS NULL \
         WHERE x.tenant_id = $1 AND x.principal_id = $2) g ON g.tenant_id = p.tenant_id \
     LEFT JOIN grant_machines m ON m.tenant_id = g.tenant_id AND m.grant_id = g.id \
     LEFT JOIN roles r ON r.tenant_id = g.tenant_id AND r.name = g.role AND r.deleted_at IS NULL \
     LEFT JOIN role_capabilities c ON c.tenant_id = r.tenant_id AND c.role_id = r.id \
     WHERE p.tenant_id = $1 AND p.id = $2";

const TEAM_GRANTS: &str = "SELECT g.id, g.role, g.expires_at, g.all_machines, g.matcher, g.conditions, g.team_id, t.name, m.machine_id, c.capability \
     FROM grants g JOIN teams t ON t.tenant_id = g.tenant_id AND t.id = g.team_id \
     LEFT JOIN grant_machines m ON m.tenant_id = g.tenant_id AND m.grant_id = g.id \
     LEFT JOIN roles r ON r.tenant_id = g.tenant_id AND r.name = g.role AND r.deleted_at IS NULL \
     LEFT JOIN role_capabilities c ON c.tenant_id = r.tenant_id AND c.role_id = r.id \
     WHERE g.tenant_id = $1 AND g.team_id = $2 AND g.deleted_at IS NULL";

fn read_grant(
    grants: &mut BTreeMap<GrantId, GrantFacts>,
    id: GrantId,
    row: &mut Row,
) -> Result<(), StoreError> {
    let role = row.text()?;
    let expires_at = row.maybe_time()?;
    let on = grant::read_selection(row)?;
    let conditions = grant::terms::read_conditions(&row.text()?)?;
    let team = row.maybe_uuid()?.map(TeamId).zip(row.maybe_text()?);
    let built_in = BuiltInRole::find(&role);
    let grant = grants.entry(id).or_insert_with(|| GrantFacts {
        id,
        capabilities: built_in.map(BuiltInRole::capabilities).unwrap_or_default(),
        scopes: built_in.map(BuiltInRole::scopes).unwrap_or_default(),
        role,
        on,
        expires_at,
        conditions,
        team,
    });
    if let (Some(machine), Selection::Machines(list)) = (row.maybe_uuid()?, &mut grant.on)
        && !list.contains(&MachineId(machine))
    {
        list.push(MachineId(machine));
    }
    if built_in.is_none()
        && let Some(name) = row.maybe_text()?
    {
        match (name.parse::<Capability>(), &mut grant.scopes) {
            (Ok(one), _) => {
                grant.capabilities = grant.capabilities.or(adit_domain::Capabilities::of(&[one]));
            }
            (Err(_), Scopes::Listed(list)) => {
                list.insert(name.parse().map_err(|_| StoreError::Corrupt("capability"))?);
            }
            (Err(_), Scopes::All) => {}
        }
    }
    Ok(())
}

/// Switches a principal off and ends everything that is its own. Tells whether it was there.
pub(crate) async fn deactivate(
    tx: &mut Tx,
    id: PrincipalId,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let off = "UPDATE principals SET active = FALSE, deleted_at = $3 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
    let credentials = "UPDATE credentials SET revoked_at = $3 WHERE tenant_id = $1 AND principal_id = $2 AND revoked_at IS NULL";
    let families = "UPDATE oauth_families SET revoked_at = $3 WHERE tenant_id = $1 AND principal_id = $2 AND revoked_at IS NULL";
    let grants = "UPDATE grants SET deleted_at = $3 WHERE tenant_id = $1 AND principal_id = $2 AND deleted_at IS NULL";
    let tickets = "UPDATE tickets SET state = 'revoked', redeemed_at = $3 WHERE tenant_id = $1 AND principal_id = $2 AND state = 'issued'";
    if tx.run(off, args![id, at]).await? == 0 {
        return Ok(false);
    }
    for sql in [credentials, families, grants, tickets] {
        tx.run(sql, args![id, at]).await?;
    }
    tx.run("DELETE FROM team_members WHERE tenant_id = $1 AND principal_id = $2", args![id])
        .await?;
    tx.change_access().await?;
    Ok(true)
}

/// Adds a principal in a transaction.
pub(crate) async fn insert(tx: &mut Tx, new: NewPrincipal) -> Result<(), StoreError> {
    let sql = "INSERT INTO principals (tenant_id, id, kind, name, email, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    let own = args![new.id, new.name.kind().as_str(), new.name.name(), new.email, new.at];
    match tx.run(sql, own).await {
        Err(StoreError::Conflict(Conflict::Exists)) => {
            Err(StoreError::Conflict(Conflict::NameTaken))
        }
        other => other.map(|_| ()),
    }
}

fn read(row: &mut Row) -> Result<Account, StoreError> {
    Ok(Account {
        principal: read_principal(row)?,
        email: row.maybe_text()?,
        active: row.flag()?,
        created_at: row.time()?,
    })
}

/// Reads id, tenant, kind and name.
pub(crate) fn read_principal(row: &mut Row) -> Result<Principal, StoreError> {
    let (id, tenant) = (PrincipalId(row.uuid()?), TenantId(row.uuid()?));
    let kind: PrincipalKind = row.word("kind of principal")?;
    let name = PrincipalName::new(kind, &row.text()?);
    Ok(Principal { id, tenant, name: name.map_err(|_| StoreError::Corrupt("principal's name"))? })
}
