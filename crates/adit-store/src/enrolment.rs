//! The tokens by which machines and other identities come in, and the coming in itself.

use std::collections::BTreeMap;

use adit_domain::certificate::Carried;
use adit_domain::machine::LabelRule;
use adit_domain::{
    CertificateName, MachineId, MachineLabel, PrincipalId, TenantId, Timestamp, TokenId,
};

use crate::certificate::{read_carried, revoke_of_label, write_carried};
use crate::machine::{self, Machine, NewMachine};
use crate::page::{HIGHEST, List, Place};
use crate::sql::{Row, args};
use crate::tx::{Scope, Tx};
use crate::{Conflict, Cursor, NewEvent, Page, Paging, SecretHash, Store, StoreError, TenantStore};

/// A token by which machines may come in.
#[derive(Clone, Debug)]
pub struct NewEnrolmentToken {
    /// Its handle.
    pub id: TokenId,
    /// Its hash.
    pub hash: SecretHash,
    /// Its first characters.
    pub prefix: String,
    /// The label that the machine will have, or how labels are made, where the token says it.
    pub label: Option<LabelRule>,
    /// What operators say of the machines that come in with it.
    pub tags: BTreeMap<String, String>,
    /// How often it may be used.
    pub uses: u32,
    /// Whether it takes the place of the machine that has its label.
    pub replaces: bool,
    /// The certificate's name, for a token that is for an identity without a link key.
    pub name: Option<CertificateName>,
    /// What that certificate carries.
    pub capabilities: Vec<Carried>,
    /// Who made it.
    pub by: Option<PrincipalId>,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// When it is made.
    pub at: Timestamp,
}

/// An enrolment token as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnrolmentToken {
    /// Its handle.
    pub id: TokenId,
    /// Its first characters.
    pub prefix: String,
    /// The label or the rule for labels.
    pub label: Option<LabelRule>,
    /// What operators say of the machines that come in with it.
    pub tags: BTreeMap<String, String>,
    /// How often it may be used.
    pub uses: u32,
    /// How often it was.
    pub used: u32,
    /// Whether it takes the place of the machine that has its label.
    pub replaces: bool,
    /// The certificate's name, for a token that is for an identity without a link key.
    pub name: Option<CertificateName>,
    /// The name of who made it; none for one that a machine asked for.
    pub made_by: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

/// What a token that was used gives to an identity without a link key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolled {
    /// Whose it is.
    pub tenant: TenantId,
    /// The name for its certificate.
    pub name: CertificateName,
    /// What its certificate carries.
    pub capabilities: Vec<Carried>,
}

/// How many labels are tried for a machine whose own is taken: `web`, `web-2`, … A folder of clones is named by the token instead.
const LABEL_TRIES: u32 = 100;

struct Spent {
    tenant: TenantId,
    id: TokenId,
    label: Option<LabelRule>,
    tags: String,
    replaces: bool,
    name: Option<CertificateName>,
    capabilities: Vec<Carried>,
}

macro_rules! spend {
    ($also:literal) => {
        concat!(
            "UPDATE enrolment_tokens SET used = used + 1, used_at = $2 WHERE hash = $1 AND expires_at > $2 AND used < uses \
             AND deleted_at IS NULL",
            $also,
            " RETURNING tenant_id, id, label, tags, replaces, name, capabilities"
        )
    };
}

impl Store {
    /// Lets a machine in by a token, of which one use is spent. `None`: the token is used up, expired, revoked or was never made.
    ///
    /// The label that the token names wins; else the machine's own, with a number if it is taken. A token that replaces gives the new
    /// keys to the machine that has its label; all that the old keys opened is over.
    ///
    /// # Errors
    /// [`Conflict::LabelTaken`] when the token's label is taken, [`Conflict::Exists`] when a live machine has this link key; the token is
    /// not used up then.
    pub async fn enrol_machine<E>(
        &self,
        token: SecretHash,
        new: NewMachine,
        tell: E,
    ) -> Result<Option<Machine>, StoreError>
    where
        E: FnOnce(&Option<Machine>) -> Vec<NewEvent> + Send + 'static,
    {
        let mark = "UPDATE enrolment_tokens SET machine_id = $3 WHERE tenant_id = $1 AND id = $2";
        self.write(tell, move |tx| {
            Box::pin(async move {
                let sql = spend!(" AND name IS NULL");
                let Some(spent) = spend(tx, sql, token, new.at).await? else { return Ok(None) };
                tx.enter(Scope::Tenant(spent.tenant)).await?;
                let id = match replaced(tx, &spent).await? {
                    Some(old) => {
                        machine::replace(tx, old, &new).await?;
                        old
                    }
                    None => {
                        let label = choose_label(tx, &spent, &new.label, new.at).await?;
                        machine::insert(tx, &new, label.as_str(), &spent.tags).await?;
                        new.id
                    }
                };
                machine::insert_key(tx, id, new.key, new.at).await?;
                tx.run(mark, args![spent.id, id]).await?;
                tx.change_access().await?;
                machine::find(tx, id).await
            })
        })
        .await
    }

    /// Spends one use of a token for an identity that has no link key and is no machine of the list. `None`: as for a machine.
    ///
    /// # Errors
    /// [`Conflict::LabelTaken`] when the token's label is taken; the token is not used up then.
    pub async fn enrol_identity<E>(
        &self,
        token: SecretHash,
        wished: MachineLabel,
        at: Timestamp,
        tell: E,
    ) -> Result<Option<Enrolled>, StoreError>
    where
        E: FnOnce(&Option<Enrolled>) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| {
            Box::pin(async move {
                let Some(spent) = spend(tx, spend!(""), token, at).await? else { return Ok(None) };
                tx.enter(Scope::Tenant(spent.tenant)).await?;
                let name = match &spent.name {
                    // Whoever is vouched for begins with what the token says, not with what one of that name held before.
                    Some(name) => {
                        crate::reach::forget_holdings(tx, name).await?;
                        name.clone()
                    }
                    None => {
                        if let (true, Some(LabelRule::Is(label))) = (spent.replaces, &spent.label) {
                            revoke_of_label(tx, label, at).await?;
                        }
                        CertificateName::Agent(choose_label(tx, &spent, &wished, at).await?)
                    }
                };
                tx.change_access().await?;
                let Spent { tenant, capabilities, .. } = spent;
                Ok(Some(Enrolled { tenant, name, capabilities }))
            })
        })
        .await
    }
}

impl TenantStore {
    /// Adds a token.
    ///
    /// # Errors
    /// [`Conflict::Refers`] when its maker is not there.
    pub async fn issue_enrolment_token<E>(
        &self,
        new: NewEnrolmentToken,
        tell: E,
    ) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "INSERT INTO enrolment_tokens (tenant_id, id, hash, prefix, label, tags, uses, replaces, name, capabilities, created_by, \
             created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        let own = args![
            new.id,
            new.hash,
            new.prefix,
            new.label.map(|label| label.to_string()),
            crate::session::json(&new.tags)?,
            i64::from(new.uses),
            new.replaces,
            new.name.map(|name| name.to_string()),
            write_carried(&new.capabilities),
            new.by,
            new.at,
            new.expires_at
        ];
        self.write(tell, move |tx| Box::pin(async move { tx.run(sql, own).await.map(|_| ()) }))
            .await
    }

    /// Lists the tokens that can still be used, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_enrolment_tokens(
        &self,
        now: Timestamp,
        paging: &Paging,
    ) -> Result<Page<EnrolmentToken>, StoreError> {
        let sql = "SELECT t.id, t.prefix, t.label, t.tags, t.uses, t.used, t.replaces, t.name, p.name, t.created_at, t.expires_at \
             FROM enrolment_tokens t LEFT JOIN principals p ON p.tenant_id = t.tenant_id AND p.id = t.created_by WHERE t.tenant_id = $1 AND t.deleted_at IS NULL AND (t.created_at, t.id) < ($2, $3) \
             AND t.expires_at > $4 AND t.used < t.uses ORDER BY t.created_at DESC, t.id DESC LIMIT $5";
        let place = paging.place(List::EnrolmentTokens, HIGHEST)?;
        let own = args![place.first, place.id, now, paging.rows()];
        let rows = self.rows(sql, own).await?;
        let found: Result<Vec<EnrolmentToken>, _> =
            rows.into_iter().map(|mut row| read(&mut row)).collect();
        Ok(Page::of(found?, paging, |token| {
            let place = Place { first: token.created_at.0, second: 0, id: token.id.0 };
            Cursor::new(List::EnrolmentTokens, place)
        }))
    }

    /// Takes a token back. Tells whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn revoke_enrolment_token<E>(
        &self,
        id: TokenId,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE enrolment_tokens SET deleted_at = $3 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move { Ok(tx.run(sql, args![id, at]).await? > 0) })
        })
        .await
    }
}

async fn spend(
    tx: &mut Tx,
    sql: &'static str,
    token: SecretHash,
    at: Timestamp,
) -> Result<Option<Spent>, StoreError> {
    let Some(mut row) = tx.row(sql, args![token, at]).await? else { return Ok(None) };
    Ok(Some(Spent {
        tenant: TenantId(row.uuid()?),
        id: TokenId(row.uuid()?),
        label: maybe_word(&mut row, "label of a token")?,
        tags: row.text()?,
        replaces: row.flag()?,
        name: maybe_word(&mut row, "name of a token")?,
        capabilities: read_carried(&row.text()?)?,
    }))
}

fn maybe_word<W: std::str::FromStr>(
    row: &mut Row,
    what: &'static str,
) -> Result<Option<W>, StoreError> {
    row.maybe_text()?.map(|text| text.parse().map_err(|_| StoreError::Corrupt(what))).transpose()
}

/// Finds the machine whose place a token takes; whatever its old keys and certificates opened is over.
async fn replaced(tx: &mut Tx, spent: &Spent) -> Result<Option<MachineId>, StoreError> {
    let (true, Some(LabelRule::Is(label))) = (spent.replaces, &spent.label) else {
        return Ok(None);
    };
    let sql = "SELECT id FROM machines WHERE tenant_id = $1 AND label = $2 AND deleted_at IS NULL";
    let row = tx.row(sql, args![label.as_str()]).await?;
    row.map(|mut row| row.uuid().map(MachineId)).transpose()
}

/// Enters a machine that came without a token, under its own label or that with a number.
pub(crate) async fn let_in(tx: &mut Tx, new: NewMachine) -> Result<(), StoreError> {
    let label = first_free(tx, |number| new.label.numbered(number), new.at).await?;
    machine::insert(tx, &new, label.as_str(), "{}").await?;
    machine::insert_key(tx, new.id, new.key, new.at).await?;
    tx.change_access().await
}

/// Chooses a label. What a machine that had it before could reach goes, unless the token is there to take that machine's place.
async fn choose_label(
    tx: &mut Tx,
    spent: &Spent,
    wished: &MachineLabel,
    at: Timestamp,
) -> Result<MachineLabel, StoreError> {
    let label = free_label(tx, spent, wished, at).await?;
    if !spent.replaces {
        crate::reach::forget(tx, label.as_str(), at).await?;
    }
    Ok(label)
}

async fn free_label(
    tx: &mut Tx,
    spent: &Spent,
    wished: &MachineLabel,
    at: Timestamp,
) -> Result<MachineLabel, StoreError> {
    let taken = StoreError::Conflict(Conflict::LabelTaken);
    match &spent.label {
        Some(LabelRule::Is(label)) => {
            if is_free(tx, label, at).await? {
                Ok(label.clone())
            } else {
                Err(taken)
            }
        }
        Some(LabelRule::Like(pattern)) => {
            if pattern.fits(wished) && is_free(tx, wished, at).await? {
                return Ok(wished.clone());
            }
            first_free(tx, |number| pattern.with(number), at).await
        }
        None => first_free(tx, |number| wished.numbered(number), at).await,
    }
}

async fn first_free(
    tx: &mut Tx,
    make: impl Fn(u32) -> MachineLabel,
    at: Timestamp,
) -> Result<MachineLabel, StoreError> {
    for number in 1..=LABEL_TRIES {
        let label = make(number);
        if is_free(tx, &label, at).await? {
            return Ok(label);
        }
    }
    Err(StoreError::Conflict(Conflict::LabelTaken))
}

/// Tells whether no machine and no certificate that counts has a label.
async fn is_free(tx: &mut Tx, label: &MachineLabel, at: Timestamp) -> Result<bool, StoreError> {
    let machines =
        "SELECT 1 FROM machines WHERE tenant_id = $1 AND label = $2 AND deleted_at IS NULL";
    let certificates = "SELECT 1 FROM certificates WHERE tenant_id = $1 AND name = $2 AND machine_id IS NULL \
         AND revoked_at IS NULL AND not_after > $3";
    if tx.row(machines, args![label.as_str()]).await?.is_some() {
        return Ok(false);
    }
    let name = CertificateName::Agent(label.clone()).to_string();
    Ok(tx.row(certificates, args![name, at]).await?.is_none())
}

fn read(row: &mut Row) -> Result<EnrolmentToken, StoreError> {
    Ok(EnrolmentToken {
        id: TokenId(row.uuid()?),
        prefix: row.text()?,
        label: maybe_word(row, "label of a token")?,
        tags: serde_json::from_str(&row.text()?).map_err(|_| StoreError::Corrupt("tags"))?,
        uses: row.count()?,
        used: row.count()?,
        replaces: row.flag()?,
        name: maybe_word(row, "name of a token")?,
        made_by: row.maybe_text()?,
        created_at: row.time()?,
        expires_at: row.time()?,
    })
}
