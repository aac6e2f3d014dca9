//! Signing in: what waits between its steps, and the one transaction that ends it.

use adit_domain::principal::Principal;
use adit_domain::{PrincipalId, TenantId, Timestamp, TokenId};

use crate::principal::read_principal;
use crate::sql::args;
use crate::tx::{Scope, Tx};
use crate::{
    Credential, NewCredential, NewEvent, NewGrant, NewPrincipal, Origin, Page, Paging, SecretHash,
    Store, StoreError, TenantStore, authenticator, credential, grant, password, principal,
};

/// What a step waits for; one kind never passes for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepKind {
    /// The first administrator.
    Setup,
    /// Somebody who was invited.
    Invitation,
    /// The second factor of whoever gave a right password.
    SecondFactor,
    /// A new passkey of somebody who is signed in.
    PasskeyAdd,
    /// A passkey that signs in.
    PasskeySignIn,
    /// A passkey that shows a second factor again.
    PasskeyStepUp,
}

impl StepKind {
    /// Gives the word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Invitation => "invitation",
            Self::SecondFactor => "second_factor",
            Self::PasskeyAdd => "passkey_add",
            Self::PasskeySignIn => "passkey_sign_in",
            Self::PasskeyStepUp => "passkey_step_up",
        }
    }
}

/// A step to keep.
#[derive(Clone, Debug)]
pub struct NewStep {
    /// The hash of the secret that goes on with it.
    pub hash: SecretHash,
    /// What it waits for.
    pub kind: StepKind,
    /// Whose it is, where that is known.
    pub principal: Option<PrincipalId>,
    /// What the gateway wants to know again.
    pub state: String,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// When it is made.
    pub at: Timestamp,
}

/// A step as its row has it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whose data it is.
    pub tenant: TenantId,
    /// Whose it is, where that is known.
    pub principal: Option<PrincipalId>,
    /// What the gateway wanted to know again.
    pub state: String,
}

/// What is used up together with a sign-in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Nothing.
    None,
    /// A code of the user's authenticator, by its time step: later ones only from now on.
    Authenticator(i64),
    /// A recovery code.
    Recovery(SecretHash),
}

/// What a sign-in becomes.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The step that it ends, where it has one.
    pub step: Option<SecretHash>,
    /// What is used up.
    pub proof: Proof,
    /// A password that is set on the way.
    pub password: Option<String>,
    /// What its bearer gets.
    pub credential: NewCredential,
    /// From where.
    pub origin: Origin,
}

impl TenantStore {
    /// Keeps a step.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn add_step<E>(&self, new: NewStep, tell: E) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO sign_in_steps (tenant_id, hash, principal_id, kind, state, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let kind = new.kind.as_str();
        let own = args![new.hash, new.principal, kind, new.state, new.at, new.expires_at];
        self.write(tell, move |tx| Box::pin(async move { tx.run(sql, own).await.map(|_| ()) }))
            .await
    }

    /// Ends a sign-in: uses up its step and its proof, sets the password, adds the credential. Tells whose it is; nobody's where a
    /// step or proof was used before, or the user is gone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sign_in<E>(&self, new: SignedIn, tell: E) -> Result<Option<Principal>, StoreError>
    where
        E: FnOnce(&Option<Principal>) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(sign_in(tx, new))).await
    }

    /// Adds the first user with a role and signs them in, unless there is a user; of two at once one is added. Tells whether it was.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    // BRW-40
    pub async fn set_up<E>(
        &self,
        user: NewPrincipal,
        role: NewGrant,
        new: SignedIn,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let first = "SELECT 1 FROM principals WHERE tenant_id = $1 AND kind = 'user' AND deleted_at IS NULL LIMIT 1";
        self.write(tell, move |tx| {
            Box::pin(async move {
                // Takes the tenant's row, so that two gateways do not both find nobody.
                tx.change_access().await?;
                if tx.row(first, args![]).await?.is_some() {
                    return Ok(false);
                }
                if !end_step(tx, new.step, new.credential.at).await? {
                    return Ok(false);
                }
                principal::insert(tx, user).await?;
                grant::insert(tx, role).await?;
                sign_in(tx, SignedIn { step: None, ..new }).await.map(|done| done.is_some())
            })
        })
        .await
    }

    /// Lists where a user is signed in: browsers and command lines, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_sign_ins(
        &self,
        principal: PrincipalId,
        now: Timestamp,
        paging: &Paging,
    ) -> Result<Page<Credential>, StoreError> {
        credential::list_sign_ins(self, principal, now, paging).await
    }

    /// Notes a second factor that was shown with a credential. Tells whether its proof and step were good.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn step_up<E>(
        &self,
        credential: TokenId,
        principal: PrincipalId,
        step: Option<SecretHash>,
        proof: Proof,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE credentials SET second_factor_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL";
        let family = "UPDATE oauth_families SET second_factor_at = $3 WHERE tenant_id = $1 AND revoked_at IS NULL \
             AND id = (SELECT family_id FROM oauth_tokens WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL)";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if !spend(tx, principal, step, &proof, at).await? {
                    return Ok(false);
                }
                if tx.run(sql, args![credential, at]).await? == 1 {
                    return Ok(true);
                }
                let noted = tx.run(family, args![credential, at]).await? == 1;
                // Access tokens that were checked are remembered until something about rights changes.
                tx.change_access().await?;
                Ok(noted)
            })
        })
        .await
    }

    /// Tells whether a user signed in from an address before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn knows_address(
        &self,
        principal: PrincipalId,
        address: String,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM credentials WHERE tenant_id = $1 AND principal_id = $2 AND kind = 'cookie' AND address = $3 LIMIT 1";
        Ok(self.row(sql, args![principal, address]).await?.is_some())
    }
}

async fn sign_in(tx: &mut Tx, new: SignedIn) -> Result<Option<Principal>, StoreError> {
    let SignedIn { step, proof, password, credential, origin } = new;
    let who = "SELECT id, tenant_id, kind, name FROM principals WHERE tenant_id = $1 AND id = $2 AND active AND deleted_at IS NULL";
    let (id, at) = (credential.principal, credential.at);
    let Some(mut row) = tx.row(who, args![id]).await? else { return Ok(None) };
    let principal = read_principal(&mut row)?;
    if !spend(tx, id, step, &proof, at).await? {
        return Ok(None);
    }
    if let Some(hash) = password {
        password::put(tx, id, hash, at).await?;
    }
    credential::insert(tx, credential, origin).await?;
    Ok(Some(principal))
}

async fn spend(
    tx: &mut Tx,
    principal: PrincipalId,
    step: Option<SecretHash>,
    proof: &Proof,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let fresh = match proof {
        Proof::None => true,
        Proof::Authenticator(number) => authenticator::spend(tx, principal, *number).await?,
        Proof::Recovery(hash) => authenticator::spend_recovery(tx, principal, *hash, at).await?,
    };
    Ok(fresh && end_step(tx, step, at).await?)
}

/// Uses a step up; none is no hindrance.
pub(crate) async fn end_step(
    tx: &mut Tx,
    step: Option<SecretHash>,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let Some(hash) = step else { return Ok(true) };
    let sql = "UPDATE sign_in_steps SET used_at = $3 WHERE tenant_id = $1 AND hash = $2 AND used_at IS NULL AND expires_at > $3";
    Ok(tx.run(sql, args![hash, at]).await? == 1)
}

impl Store {
    /// Goes on with a step and counts the try. `None`: used, expired, tried too often or never made.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn try_step(
        &self,
        kind: StepKind,
        hash: SecretHash,
        now: Timestamp,
        most_tries: u32,
    ) -> Result<Option<Step>, StoreError> {
        let sql = "UPDATE sign_in_steps SET tries = tries + 1 WHERE hash = $1 AND kind = $2 AND expires_at > $3 AND used_at IS NULL \
             AND tries < $4 RETURNING tenant_id, principal_id, state";
        let own = args![hash, kind.as_str(), now, i64::from(most_tries)];
        self.write(crate::silent, move |tx| {
            Box::pin(async move {
                let row = tx.row(sql, own).await?;
                row.map(|mut row| {
                    let tenant = TenantId(row.uuid()?);
                    let principal = row.maybe_uuid()?.map(PrincipalId);
                    Ok(Step { tenant, principal, state: row.text()? })
                })
                .transpose()
            })
        })
        .await
    }

    /// Clears away steps that ended before `before`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_steps(&self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = "DELETE FROM sign_in_steps WHERE expires_at < $1";
        self.write(crate::silent, move |tx| {
            Box::pin(async move {
                tx.enter(Scope::System).await?;
                tx.run(sql, args![before]).await
            })
        })
        .await
    }
}
