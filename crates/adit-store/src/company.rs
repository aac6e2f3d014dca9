//! Accounts that a company's issuer vouches for, and the sign-ins with them that are on their way.

use adit_domain::principal::{Principal, PrincipalKind, PrincipalName};
use adit_domain::{IdentityId, PrincipalId, Timestamp, TokenId};

use crate::principal::read_principal;
use crate::sql::{Row, args};
use crate::tx::Tx;
use crate::{
    NewCookie, NewEvent, NewPrincipal, SecretHash, StoreError, TenantStore, credential, principal,
};

mod teams;

pub use teams::{GroupTeams, TeamsChanged};

/// A sign-in that begins: the browser goes to the issuer, and must come back with what is here.
#[derive(Clone, Debug)]
pub struct NewCompanySignIn {
    /// The hash of the state that goes through the issuer.
    pub state: SecretHash,
    /// The hash of the cookie that stays in this browser.
    pub browser: SecretHash,
    /// Which provider.
    pub provider: String,
    /// The hash of the nonce that the ID token must carry.
    pub nonce: SecretHash,
    /// The PKCE verifier, sealed.
    pub verifier: Vec<u8>,
    /// Whom the account is to be linked to, and the sign-in that asked for it; none to sign in.
    pub link: Option<(PrincipalId, TokenId)>,
    /// Where in the console it goes on.
    pub back: Option<String>,
    /// The address of the browser, where it counts against a cap.
    pub client: Option<String>,
    /// When it begins.
    pub at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

/// How many sign-ins may be on their way.
#[derive(Clone, Copy, Debug)]
pub struct SignInCaps {
    /// From one address.
    pub client: i64,
    /// Of the whole tenant.
    pub all: i64,
}

/// A sign-in that came back; it is not there any more.
#[derive(Clone, Debug)]
pub struct CompanySignIn {
    /// The hash of the browser's cookie.
    pub browser: SecretHash,
    /// The hash of the nonce.
    pub nonce: SecretHash,
    /// The PKCE verifier, sealed.
    pub verifier: Vec<u8>,
    /// Whom the account is to be linked to, and the sign-in that asked for it.
    pub link: Option<(PrincipalId, TokenId)>,
    /// Where in the console it goes on.
    pub back: Option<String>,
}

/// An account as its issuer tells of it.
#[derive(Clone, Debug)]
pub struct ExternalAccount {
    /// The id of its row, if it gets one.
    pub id: IdentityId,
    /// Which provider vouches for it.
    pub provider: String,
    /// The issuer's lasting name for it.
    pub subject: String,
    /// What people call it there.
    pub name: String,
    /// Its address, where the issuer says that it was verified.
    pub email: Option<String>,
    /// What the issuer is asked again with, sealed.
    pub refresh: Option<Vec<u8>>,
    /// The issuer's session.
    pub sid: Option<String>,
}

/// The user to make for an account that nobody has yet: names in the order of liking.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// Its id.
    pub id: PrincipalId,
    /// Its names, of which the first that is free is taken.
    pub names: Vec<PrincipalName>,
}

/// A sign-in with an account.
#[derive(Clone, Debug)]
pub struct CompanyEntry {
    /// The account.
    pub account: ExternalAccount,
    /// The user to make where nobody has it; none to make none.
    pub newcomer: Option<Newcomer>,
    /// What the browser gets.
    pub cookie: NewCookie,
    /// The teams that its groups stand for; none to leave teams alone.
    pub teams: Option<GroupTeams>,
}

/// What came of a sign-in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CompanyOutcome {
    /// Somebody whom this gateway knew signed in.
    Known(Principal, TeamsChanged),
    /// A user was made and signed in.
    Made(Principal, TeamsChanged),
    /// The user was switched off or removed.
    Inactive(Principal),
    /// Nobody here has the account, and none was to be made.
    Unknown,
    /// Every name was taken.
    NamesTaken,
}

/// What came of linking an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Linked {
    /// It is the principal's now.
    Linked,
    /// It was the principal's before.
    Already,
    /// Somebody else has it.
    Taken,
    /// The principal has as many as it may.
    TooMany,
}

/// An account that a principal signs in with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its id.
    pub id: IdentityId,
    /// Whose it is.
    pub principal: Principal,
    /// Which provider vouches for it.
    pub provider: String,
    /// The issuer's lasting name for it.
    pub subject: String,
    /// What people call it there.
    pub name: String,
    /// Its address.
    pub email: Option<String>,
    /// When it was linked.
    pub created_at: Timestamp,
    /// When somebody last signed in with it.
    pub last_used_at: Option<Timestamp>,
}

/// An account that its issuer is to be asked about.
#[derive(Clone, Debug)]
pub struct AskedIdentity {
    /// Its id.
    pub id: IdentityId,
    /// The issuer's lasting name for it.
    pub subject: String,
    /// What the issuer is asked with, sealed.
    pub refresh: Vec<u8>,
}

/// What ended with an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndedIdentity {
    /// Whose it is.
    pub principal: Principal,
    /// How many sign-ins ended.
    pub sign_ins: u64,
    /// The teams that it left.
    pub teams: TeamsChanged,
}

/// An issuer's word that sign-ins are over.
#[derive(Clone, Debug)]
pub struct LogoutWord {
    /// Which provider.
    pub provider: String,
    /// Whose sign-ins; none for everybody's in the session.
    pub subject: Option<String>,
    /// In which of the issuer's sessions; none for all.
    pub sid: Option<String>,
    /// The hash of what tells this word from others.
    pub hash: SecretHash,
    /// How long it is remembered.
    pub remembered_until: Timestamp,
}

/// What came of an issuer's word that sign-ins are over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogoutOutcome {
    /// So many ended.
    Ended(u64),
    /// The same word came before.
    Repeated,
}

/// The most accounts of one principal: a person has one with each employer, and a few to spare.
pub const MAX_IDENTITIES: i64 = 16;

macro_rules! identity {
    ($where:literal) => {
        concat!(
            "SELECT p.id, p.tenant_id, p.kind, p.name, i.id, i.provider, i.subject, i.name, i.email, i.created_at, i.last_used_at \
             FROM external_identities i JOIN principals p ON p.tenant_id = i.tenant_id AND p.id = i.principal_id \
             WHERE i.tenant_id = $1 AND ",
            $where
        )
    };
}

impl TenantStore {
    /// Notes that a sign-in is on its way; tells false when too many are.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_company_sign_in<E>(
        &self,
        new: NewCompanySignIn,
        caps: SignInCaps,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let clear = "DELETE FROM company_sign_ins WHERE tenant_id = $1 AND expires_at <= $2";
        let all = "SELECT count(*) FROM company_sign_ins WHERE tenant_id = $1";
        let one = "SELECT count(*) FROM company_sign_ins WHERE tenant_id = $1 AND client = $2";
        let insert = "INSERT INTO company_sign_ins (tenant_id, state, provider, browser, nonce, verifier, link_principal, \
             link_credential, back, client, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        self.write(tell, move |tx| {
            Box::pin(async move {
                tx.run(clear, args![new.at]).await?;
                if count(tx, all, args![]).await? >= caps.all
                    || count(tx, one, args![new.client.clone()]).await? >= caps.client
                {
                    return Ok(false);
                }
                let (principal, credential) = new.link.unzip();
                let own = args![
                    new.state,
                    new.provider,
                    new.browser,
                    new.nonce,
                    new.verifier,
                    principal,
                    credential,
                    new.back,
                    new.client,
                    new.at,
                    new.expires_at,
                ];
                tx.run(insert, own).await.map(|_| true)
            })
        })
        .await
    }

    /// Takes a sign-in that came back, once. `None`: it came back before, is too old, or never began.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn take_company_sign_in(
        &self,
        provider: &str,
        state: SecretHash,
        now: Timestamp,
    ) -> Result<Option<CompanySignIn>, StoreError> {
        let sql = "DELETE FROM company_sign_ins WHERE tenant_id = $1 AND state = $2 AND provider = $3 AND expires_at > $4 \
             RETURNING browser, nonce, verifier, link_principal, link_credential, back";
        let own = args![state, provider, now];
        self.write(crate::silent, move |tx| {
            Box::pin(async move {
                let Some(mut row) = tx.row(sql, own).await? else { return Ok(None) };
                Ok(Some(CompanySignIn {
                    browser: SecretHash(row.hash()?),
                    nonce: SecretHash(row.hash()?),
                    verifier: row.bytes()?,
                    link: row.maybe_uuid()?.map(PrincipalId).zip(row.maybe_uuid()?.map(TokenId)),
                    back: row.maybe_text()?,
                }))
            })
        })
        .await
    }

    /// Signs the owner of an account in, making a user for it where that is wanted, in one step.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sign_in_with_company<E>(
        &self,
        entry: CompanyEntry,
        now: Timestamp,
        tell: E,
    ) -> Result<CompanyOutcome, StoreError>
    where
        E: FnOnce(&CompanyOutcome) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(sign_in(tx, entry, now))).await
    }

    /// Gives an account to a principal.
    ///
    /// # Errors
    /// [`crate::Conflict::Refers`] when the principal is not there.
    pub async fn link_identity<E>(
        &self,
        to: PrincipalId,
        account: ExternalAccount,
        now: Timestamp,
        tell: E,
    ) -> Result<Linked, StoreError>
    where
        E: FnOnce(&Linked) -> Vec<NewEvent> + Send + 'static,
    {
        let of =
            "SELECT count(*) FROM external_identities WHERE tenant_id = $1 AND principal_id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                match find(tx, &account).await? {
                    Some(owner) if owner.principal.id == to => return Ok(Linked::Already),
                    Some(_) => return Ok(Linked::Taken),
                    None => {}
                }
                if count(tx, of, args![to]).await? >= MAX_IDENTITIES {
                    return Ok(Linked::TooMany);
                }
                insert(tx, to, &account, now).await?;
                Ok(Linked::Linked)
            })
        })
        .await
    }

    /// Takes an account away from its principal, ends the sign-ins that came by it, and gives it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn unlink_identity<E>(
        &self,
        id: IdentityId,
        now: Timestamp,
        tell: E,
    ) -> Result<Option<Identity>, StoreError>
    where
        E: FnOnce(&Option<Identity>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "DELETE FROM external_identities WHERE tenant_id = $1 AND id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let Some(mut row) = tx.row(identity!("i.id = $2"), args![id]).await? else {
                    return Ok(None);
                };
                let identity = read(&mut row)?;
                end_sign_ins(tx, id, now).await?;
                let none = GroupTeams::default();
                teams::follow(tx, identity.principal.id, &identity.provider, none, now).await?;
                tx.run(sql, args![id]).await?;
                tx.change_access().await?;
                Ok(Some(identity))
            })
        })
        .await
    }

    /// Takes on accounts that their issuer was last asked about before some time, the longest ago first; nobody else takes them on too.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn take_identities_to_ask(
        &self,
        provider: &str,
        before: Timestamp,
        now: Timestamp,
        most: i64,
    ) -> Result<Vec<AskedIdentity>, StoreError> {
        let due = "SELECT 1 FROM external_identities WHERE tenant_id = $1 AND provider = $2 AND refresh IS NOT NULL AND asked_at <= $3 LIMIT 1";
        if self.row(due, args![provider, before]).await?.is_none() {
            return Ok(vec![]);
        }
        let sql = "UPDATE external_identities SET asked_at = $4 WHERE tenant_id = $1 AND asked_at <= $3 AND id IN \
             (SELECT id FROM external_identities WHERE tenant_id = $1 AND provider = $2 AND refresh IS NOT NULL AND asked_at <= $3 \
             ORDER BY asked_at LIMIT $5) RETURNING id, subject, refresh";
        let own = args![provider, before, now, most];
        self.write(crate::silent, move |tx| {
            Box::pin(async move {
                let read = |mut row: Row| {
                    let id = IdentityId(row.uuid()?);
                    Ok(AskedIdentity { id, subject: row.text()?, refresh: row.bytes()? })
                };
                tx.rows(sql, own).await?.into_iter().map(read).collect()
            })
        })
        .await
    }

    /// Keeps what an issuer said of an account when it was asked again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn keep_identity<E>(
        &self,
        id: IdentityId,
        refresh: Option<Vec<u8>>,
        teams: Option<GroupTeams>,
        now: Timestamp,
        tell: E,
    ) -> Result<Option<(Principal, TeamsChanged)>, StoreError>
    where
        E: FnOnce(&Option<(Principal, TeamsChanged)>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE external_identities SET refresh = coalesce($3, refresh) WHERE tenant_id = $1 AND id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let Some(mut row) = tx.row(identity!("i.id = $2"), args![id]).await? else {
                    return Ok(None);
                };
                let Identity { principal, provider, .. } = read(&mut row)?;
                tx.run(sql, args![id, refresh]).await?;
                let changed = match teams {
                    Some(teams) => teams::follow(tx, principal.id, &provider, teams, now).await?,
                    None => TeamsChanged::default(),
                };
                Ok(Some((principal, changed)))
            })
        })
        .await
    }

    /// Ends the sign-ins that came by an account; its issuer is not asked about it again before the next.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_identity<E>(
        &self,
        id: IdentityId,
        now: Timestamp,
        tell: E,
    ) -> Result<Option<EndedIdentity>, StoreError>
    where
        E: FnOnce(&Option<EndedIdentity>) -> Vec<NewEvent> + Send + 'static,
    {
        let forget =
            "UPDATE external_identities SET refresh = NULL WHERE tenant_id = $1 AND id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let Some(mut row) = tx.row(identity!("i.id = $2"), args![id]).await? else {
                    return Ok(None);
                };
                let Identity { principal, provider, .. } = read(&mut row)?;
                tx.run(forget, args![id]).await?;
                let sign_ins = end_sign_ins(tx, id, now).await?;
                let none = GroupTeams::default();
                let teams = teams::follow(tx, principal.id, &provider, none, now).await?;
                tx.change_access().await?;
                Ok(Some(EndedIdentity { principal, sign_ins, teams }))
            })
        })
        .await
    }

    /// Ends sign-ins as an issuer says: those of a subject, of one of its sessions, or of both. The same word counts once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_company_sign_ins<E>(
        &self,
        word: LogoutWord,
        now: Timestamp,
        tell: E,
    ) -> Result<LogoutOutcome, StoreError>
    where
        E: FnOnce(&LogoutOutcome) -> Vec<NewEvent> + Send + 'static,
    {
        let clear = "DELETE FROM company_logouts WHERE tenant_id = $1 AND expires_at <= $2";
        let once = "INSERT INTO company_logouts (tenant_id, hash, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let end = "UPDATE credentials SET revoked_at = $2 WHERE tenant_id = $1 AND revoked_at IS NULL AND id IN \
             (SELECT s.credential_id FROM company_sessions s \
             JOIN external_identities i ON i.tenant_id = s.tenant_id AND i.id = s.identity_id \
             WHERE s.tenant_id = $1 AND i.provider = $3 AND ($4 IS NULL OR i.subject = $4) AND ($5 IS NULL OR s.sid = $5))";
        self.write(tell, move |tx| {
            Box::pin(async move {
                tx.run(clear, args![now]).await?;
                if tx.run(once, args![word.hash, word.remembered_until]).await? == 0 {
                    return Ok(LogoutOutcome::Repeated);
                }
                let own = args![now, word.provider, word.subject, word.sid];
                let ended = tx.run(end, own).await?;
                tx.change_access().await?;
                Ok(LogoutOutcome::Ended(ended))
            })
        })
        .await
    }

    /// Finds an account by its id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_identity(&self, id: IdentityId) -> Result<Option<Identity>, StoreError> {
        self.row(identity!("i.id = $2"), args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists a principal's accounts, the oldest first; there are [`MAX_IDENTITIES`] at most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_identities(&self, of: PrincipalId) -> Result<Vec<Identity>, StoreError> {
        let sql = identity!("i.principal_id = $2 ORDER BY i.created_at, i.id");
        self.rows(sql, args![of]).await?.into_iter().map(|mut row| read(&mut row)).collect()
    }
}

async fn sign_in(
    tx: &mut Tx,
    entry: CompanyEntry,
    now: Timestamp,
) -> Result<CompanyOutcome, StoreError> {
    let CompanyEntry { account, newcomer, cookie, teams } = entry;
    let (principal, identity, made) = match find(tx, &account).await? {
        Some(owner) if !owner.counts => return Ok(CompanyOutcome::Inactive(owner.principal)),
        Some(owner) => (owner.principal, owner.identity, false),
        None => {
            let Some(newcomer) = newcomer else { return Ok(CompanyOutcome::Unknown) };
            let Some(principal) = make(tx, newcomer, &account, now).await? else {
                return Ok(CompanyOutcome::NamesTaken);
            };
            (principal, account.id, true)
        }
    };
    let used = "UPDATE external_identities SET name = $3, email = $4, refresh = coalesce($5, refresh), asked_at = $6, last_used_at = $6 \
         WHERE tenant_id = $1 AND id = $2";
    tx.run(used, args![identity, account.name, account.email, account.refresh, now]).await?;
    let id = cookie.id;
    let (cookie, origin) = cookie.of(principal.id, now);
    credential::insert(tx, cookie, origin).await?;
    let by = "INSERT INTO company_sessions (tenant_id, credential_id, identity_id, sid, created_at) VALUES ($1, $2, $3, $4, $5)";
    tx.run(by, args![id, identity, account.sid, now]).await?;
    let changed = match teams {
        Some(teams) => teams::follow(tx, principal.id, &account.provider, teams, now).await?,
        None => TeamsChanged::default(),
    };
    let outcome = if made { CompanyOutcome::Made } else { CompanyOutcome::Known };
    Ok(outcome(principal, changed))
}

/// Whose an account is.
struct Owner {
    identity: IdentityId,
    principal: Principal,
    /// False when the principal was switched off or removed.
    counts: bool,
}

async fn find(tx: &mut Tx, account: &ExternalAccount) -> Result<Option<Owner>, StoreError> {
    let sql = "SELECT p.id, p.tenant_id, p.kind, p.name, p.active, p.deleted_at, i.id \
         FROM external_identities i JOIN principals p ON p.tenant_id = i.tenant_id AND p.id = i.principal_id \
         WHERE i.tenant_id = $1 AND i.provider = $2 AND i.subject = $3";
    let own = args![account.provider.clone(), account.subject.clone()];
    let Some(mut row) = tx.row(sql, own).await? else { return Ok(None) };
    let principal = read_principal(&mut row)?;
    let (active, removed) = (row.flag()?, row.maybe_time()?);
    let counts = active && removed.is_none();
    Ok(Some(Owner { principal, counts, identity: IdentityId(row.uuid()?) }))
}

/// Makes a user with the first name that is free, and gives it the account.
async fn make(
    tx: &mut Tx,
    newcomer: Newcomer,
    account: &ExternalAccount,
    now: Timestamp,
) -> Result<Option<Principal>, StoreError> {
    let taken = "SELECT count(*) FROM principals WHERE tenant_id = $1 AND kind = $2 AND name = $3 AND deleted_at IS NULL";
    for name in newcomer.names {
        let kind = PrincipalKind::User.as_str();
        if count(tx, taken, args![kind, name.name()]).await? > 0 {
            continue;
        }
        let (id, email) = (newcomer.id, account.email.clone());
        principal::insert(tx, NewPrincipal { id, name: name.clone(), email, at: now }).await?;
        insert(tx, id, account, now).await?;
        tx.change_access().await?;
        return Ok(Some(Principal { id, tenant: tx.tenant(), name }));
    }
    Ok(None)
}

async fn insert(
    tx: &mut Tx,
    to: PrincipalId,
    account: &ExternalAccount,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO external_identities (tenant_id, id, principal_id, provider, subject, name, email, refresh, asked_at, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";
    let account = account.clone();
    let own = args![
        account.id,
        to,
        account.provider,
        account.subject,
        account.name,
        account.email,
        account.refresh,
        now,
    ];
    tx.run(sql, own).await.map(|_| ())
}

/// Ends the sign-ins that came by an account; tells how many.
async fn end_sign_ins(
    tx: &mut Tx,
    identity: IdentityId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let sql = "UPDATE credentials SET revoked_at = $3 WHERE tenant_id = $1 AND revoked_at IS NULL AND id IN \
         (SELECT credential_id FROM company_sessions WHERE tenant_id = $1 AND identity_id = $2)";
    tx.run(sql, args![identity, now]).await
}

async fn count(
    tx: &mut Tx,
    sql: &'static str,
    own: Vec<crate::sql::Arg>,
) -> Result<i64, StoreError> {
    tx.row(sql, own).await?.ok_or(StoreError::Corrupt("count"))?.int()
}

fn read(row: &mut Row) -> Result<Identity, StoreError> {
    Ok(Identity {
        principal: read_principal(row)?,
        id: IdentityId(row.uuid()?),
        provider: row.text()?,
        subject: row.text()?,
        name: row.text()?,
        email: row.maybe_text()?,
        created_at: row.time()?,
        last_used_at: row.maybe_time()?,
    })
}
