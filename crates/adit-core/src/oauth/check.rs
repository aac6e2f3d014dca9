//! Access tokens are believed here: the signature once, whether it was taken back each time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use adit_domain::{Capabilities, Code, Timestamp};
use adit_store::AccessToken;

use super::claims::{Claims, Statement};
use super::key::Verified;
use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::token::Hash;

/// Tokens of one generation that are remembered. There are two, so that the busiest stay when it is full: about 8 MiB.
const MOST: usize = 16_384;

/// How long after one look at the stored keys a token that names an unknown one leads to another, in milliseconds: nobody makes the
/// gateway read its database for every forgery.
const RELOAD_EVERY: i64 = 1000;

/// Access tokens whose signature was checked, by their hash, and what the database said of each.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    generations: Mutex<Generations>,
    /// Moves when another process changed what decisions rest on.
    elsewhere: AtomicU64,
    reloaded_at: AtomicI64,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Hash, Known>,
    old: HashMap<Hash, Known>,
}

/// What is known of a token.
#[derive(Clone, Debug)]
struct Known {
    statement: Statement,
    row: AccessToken,
    /// The state of rights in which the database was asked.
    as_of: (u64, u64),
}

impl Generations {
    fn find(&mut self, hash: Hash) -> Option<&Known> {
        if !self.young.contains_key(&hash) {
            let known = self.old.remove(&hash)?;
            self.keep(hash, known);
        }
        self.young.get(&hash)
    }

    fn keep(&mut self, hash: Hash, known: Known) {
        if self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, known);
    }

    fn forget(&mut self, hash: Hash) {
        self.young.remove(&hash);
        self.old.remove(&hash);
    }
}

impl Checked {
    /// Tells that another process changed rights: the database is asked again about each token.
    pub(crate) fn change_elsewhere(&self) {
        self.elsewhere.fetch_add(1, Ordering::AcqRel);
    }

    fn generations(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Finds who an access token speaks for, and the most that it opens.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] alike for one that is forged, has expired, was revoked or is for somebody else.
    pub async fn caller_by_access_token(
        &self,
        presented: &str,
        address: Option<IpAddr>,
    ) -> Result<Caller, Refusal> {
        let hash = Hash::of(presented);
        // Read before the database is asked, so that a change in between is not missed.
        let as_of = self.state_of_rights();
        let now = self.clock.now();
        let known = self.oauth.checked.generations().find(hash).cloned();
        if let Some(known) = known
            && known.as_of == as_of
            && now < known.statement.expires_at
        {
            return Ok(caller(&known, address));
        }
        // A key may be gone with what changed, so that the signature is checked again too.
        let statement = self.read_statement(presented, now).await?;
        let row = self.store.find_access_token(statement.id, now).await?;
        let Some(row) = row.filter(|row| row.principal.id == statement.subject) else {
            self.oauth.checked.generations().forget(hash);
            return Err(Code::AuthRequired.into());
        };
        let known = Known { statement, row, as_of };
        let found = caller(&known, address);
        self.oauth.checked.generations().keep(hash, known);
        Ok(found)
    }

    fn state_of_rights(&self) -> (u64, u64) {
        let here = *self.rights.borrow();
        (here, self.oauth.checked.elsewhere.load(Ordering::Acquire))
    }

    async fn read_statement(&self, presented: &str, now: Timestamp) -> Result<Statement, Refusal> {
        let refused = || Refusal::Code(Code::AuthRequired);
        let payload = match self.oauth.keys.verify(presented, now) {
            Verified::Signed(payload) => payload,
            Verified::Wrong => return Err(refused()),
            Verified::UnknownKey => {
                self.look_for_keys(now).await?;
                match self.oauth.keys.verify(presented, now) {
                    Verified::Signed(payload) => payload,
                    _ => return Err(refused()),
                }
            }
        };
        let settings = &self.settings;
        Claims::read(&payload, settings.issuer(), &settings.audience(), now).ok_or_else(refused)
    }

    async fn look_for_keys(&self, now: Timestamp) -> Result<(), Refusal> {
        let last = self.oauth.checked.reloaded_at.load(Ordering::Acquire);
        if (0..RELOAD_EVERY).contains(&(now.0 - last)) {
            return Ok(());
        }
        self.oauth.checked.reloaded_at.store(now.0, Ordering::Release);
        self.load_signing_keys().await
    }
}

fn caller(known: &Known, address: Option<IpAddr>) -> Caller {
    Caller {
        principal: known.row.principal.clone(),
        credential: known.statement.id,
        address,
        second_factor_at: known.row.second_factor_at,
        // A token for everything takes nothing away.
        limit: (known.statement.scopes != Capabilities::all()).then_some(known.statement.scopes),
        client: Some(known.row.client.clone().unwrap_or_else(|| super::CLI.to_owned())),
    }
}
