//! Roles that a tenant made for itself; the built-in ones have no row.

use std::collections::{BTreeMap, BTreeSet};

use adit_domain::policy::Scopes;
use adit_domain::role::BuiltInRole;
use adit_domain::template::NeededScope;
use adit_domain::{Capabilities, Capability, RoleId, Timestamp};

use crate::sql::args;
use crate::{Conflict, NewEvent, StoreError, TenantStore};

/// A named set of capabilities.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// What it allows.
    pub capabilities: Capabilities,
    /// The templates' scopes that it holds; they lie beside the capabilities, and no capability is named like one.
    pub scopes: Scopes,
}

impl Role {
    /// Lists what its rows say.
    fn names(&self) -> Vec<String> {
        let capabilities = self.capabilities.iter().map(|one| one.as_str().to_owned());
        let scopes = match &self.scopes {
            Scopes::All => Vec::new(),
            Scopes::Listed(list) => list.iter().map(ToString::to_string).collect(),
        };
        capabilities.chain(scopes).collect()
    }
}

impl TenantStore {
    /// Adds a role.
    ///
    /// # Errors
    /// [`Conflict::NameTaken`] for a built-in role's name or one that is there.
    pub async fn add_role<E>(
        &self,
        id: RoleId,
        role: Role,
        at: Timestamp,
        tell: E,
    ) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO roles (tenant_id, id, name, created_at) VALUES ($1, $2, $3, $4)";
        let each =
            "INSERT INTO role_capabilities (tenant_id, role_id, capability) VALUES ($1, $2, $3)";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let taken = StoreError::Conflict(Conflict::NameTaken);
                if BuiltInRole::find(&role.name).is_some() {
                    return Err(taken);
                }
                match tx.run(sql, args![id, role.name.as_str(), at]).await {
                    Err(StoreError::Conflict(Conflict::Exists)) => return Err(taken),
                    other => other?,
                };
                for one in role.names() {
                    tx.run(each, args![id, one]).await?;
                }
                tx.change_access().await
            })
        })
        .await
    }

    /// Replaces what a role allows; what it no longer does ends. Tells whether the role is there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn change_role<E>(&self, role: Role, tell: E) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let find = "SELECT id FROM roles WHERE tenant_id = $1 AND name = $2 AND deleted_at IS NULL";
        let clear = "DELETE FROM role_capabilities WHERE tenant_id = $1 AND role_id = $2";
        let each =
            "INSERT INTO role_capabilities (tenant_id, role_id, capability) VALUES ($1, $2, $3)";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let Some(mut row) = tx.row(find, args![role.name.as_str()]).await? else {
                    return Ok(false);
                };
                let id = RoleId(row.uuid()?);
                tx.run(clear, args![id]).await?;
                for one in role.names() {
                    tx.run(each, args![id, one]).await?;
                }
                tx.change_access().await?;
                Ok(true)
            })
        })
        .await
    }

    /// Removes a role and takes away every grant of it. Tells whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_role<E>(
        &self,
        name: &str,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let off = "UPDATE roles SET deleted_at = $3 WHERE tenant_id = $1 AND name = $2 AND deleted_at IS NULL";
        let grants = "UPDATE grants SET deleted_at = $3 WHERE tenant_id = $1 AND role = $2 AND deleted_at IS NULL";
        let name = name.to_owned();
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(off, args![name.as_str(), at]).await? == 0 {
                    return Ok(false);
                }
                tx.run(grants, args![name, at]).await?;
                tx.change_access().await?;
                Ok(true)
            })
        })
        .await
    }

    /// Lists every role, the built-in ones first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_roles(&self) -> Result<Vec<Role>, StoreError> {
        let sql = "SELECT r.name, coalesce(c.capability, '') FROM roles r \
             LEFT JOIN role_capabilities c ON c.tenant_id = r.tenant_id AND c.role_id = r.id \
             WHERE r.tenant_id = $1 AND r.deleted_at IS NULL";
        let mut own: BTreeMap<String, (Capabilities, BTreeSet<NeededScope>)> = BTreeMap::new();
        for mut row in self.rows(sql, args![]).await? {
            let (capabilities, scopes) = own.entry(row.text()?).or_default();
            let name = row.text()?;
            match name.parse::<Capability>() {
                Ok(one) => *capabilities = capabilities.or(Capabilities::of(&[one])),
                Err(_) if name.is_empty() => {}
                Err(_) => {
                    scopes.insert(name.parse().map_err(|_| StoreError::Corrupt("capability"))?);
                }
            }
        }
        let built_in = BuiltInRole::ALL.iter().map(|role| Role {
            name: role.as_str().to_owned(),
            capabilities: role.capabilities(),
            scopes: role.scopes(),
        });
        let own = own.into_iter().map(|(name, (capabilities, scopes))| Role {
            name,
            capabilities,
            scopes: Scopes::Listed(scopes),
        });
        Ok(built_in.chain(own).collect())
    }
}
