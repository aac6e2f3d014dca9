//! Who may use which machine: asked before a session is made, and again at every refresh.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::capability::Capabilities;

/// Decides about access; the library itself knows no users and no machines.
pub trait AccessCheck: Send + Sync {
    /// Says whether this user may do all this on this machine, now.
    ///
    /// # Errors
    /// Why not. [`AccessRefusal::Unavailable`] where it cannot be found out.
    fn check(
        &self,
        user: Uuid,
        machine: Uuid,
        capabilities: &Capabilities,
    ) -> impl Future<Output = Result<(), AccessRefusal>> + Send;
}

/// Why a user may not use a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AccessRefusal {
    /// There is no such machine.
    #[error("there is no such machine")]
    UnknownMachine,
    /// The user is unknown, suspended or deleted.
    #[error("the user is not active")]
    InactiveUser,
    /// The user may watch only.
    #[error("the role allows watching only")]
    ViewerRole,
    /// Nothing allows it.
    #[error("no grant allows this")]
    NoGrant,
    /// It could not be found out, which is no.
    #[error("access could not be checked")]
    Unavailable,
}

impl AccessRefusal {
    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownMachine => "access.unknown_machine",
            Self::InactiveUser => "access.inactive_user",
            Self::ViewerRole => "access.viewer_role",
            Self::NoGrant => "access.no_grant",
            Self::Unavailable => "access.unavailable",
        }
    }
}

/// Access by a table in memory.
#[derive(Debug, Default)]
pub struct MemoryAccess(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    machines: HashSet<Uuid>,
    users: HashSet<Uuid>,
    grants: HashMap<(Uuid, Uuid), Capabilities>,
}

impl MemoryAccess {
    /// Lets a user do this on a machine; both are known from then on.
    pub fn grant(&self, user: Uuid, machine: Uuid, capabilities: Capabilities) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.machines.insert(machine);
        table.users.insert(user);
        table.grants.insert((user, machine), capabilities);
    }

    /// Takes that away; both stay known.
    pub fn revoke(&self, user: Uuid, machine: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).grants.remove(&(user, machine));
    }

    /// Makes a user inactive.
    pub fn deactivate(&self, user: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).users.remove(&user);
    }
}

impl AccessCheck for MemoryAccess {
    async fn check(
        &self,
        user: Uuid,
        machine: Uuid,
        capabilities: &Capabilities,
    ) -> Result<(), AccessRefusal> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !table.machines.contains(&machine) {
            return Err(AccessRefusal::UnknownMachine);
        }
        if !table.users.contains(&user) {
            return Err(AccessRefusal::InactiveUser);
        }
        let granted = table.grants.get(&(user, machine)).ok_or(AccessRefusal::NoGrant)?;
        if capabilities.iter().all(|one| granted.contains(one)) {
            return Ok(());
        }
        let views_only = granted.iter().all(|one| *one == crate::Capability::VIEW);
        Err(if views_only { AccessRefusal::ViewerRole } else { AccessRefusal::NoGrant })
    }
}

impl<A: AccessCheck> AccessCheck for std::sync::Arc<A> {
    fn check(
        &self,
        user: Uuid,
        machine: Uuid,
        capabilities: &Capabilities,
    ) -> impl Future<Output = Result<(), AccessRefusal>> + Send {
        (**self).check(user, machine, capabilities)
    }
}
