//! Checkpoints: from time to time the heads of all chains and the hashes of finished recordings are signed into one statement.
//!
//! The key is not in the database, so whoever can write the database can cut or rewrite the log only up to the last checkpoint that
//! somebody kept elsewhere. What came after it is unanchored, and `verify` says so.

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::time::Duration;

use adit_domain::{GatewayId, SessionId};
use adit_store::NewCheckpoint;
use adit_wire::audit::Chain;
use adit_wire::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_wire::digest::Digest;

use crate::Gateway;
use crate::access::Refusal;

/// How often a checkpoint is made while something happens.
const EVERY: Duration = Duration::from_secs(60);

impl Gateway {
    /// Makes checkpoints until the gateway ends, and a last one then.
    pub(crate) async fn anchor_audit(&self) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                () = self.tasks.ending() => break,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.checkpoint().await {
                tracing::warn!(%error, "a checkpoint of the audit log could not be made");
            }
        }
        if let Err(error) = self.checkpoint().await {
            tracing::warn!(%error, "the last checkpoint of the audit log could not be made");
        }
    }

    /// Signs the heads as they are now. Nothing new since the last one: nothing is written.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not answer.
    pub async fn checkpoint(&self) -> Result<(), Refusal> {
        let last = self.last_anchored().await?;
        let (number, previous) =
            last.as_ref().map_or((1, Digest::ZERO), |last| (last.number + 1, last.hash));
        let heads: BTreeMap<_, _> = self
            .store
            .list_chains()
            .await?
            .into_iter()
            .map(|head| (head.gateway, head.chain))
            .collect();
        if last.is_some_and(|last| last.heads == heads) {
            return Ok(());
        }
        let recordings = std::mem::take(&mut *self.finished());
        let at = self.clock.now();
        let checkpoint = Checkpoint {
            number,
            at,
            previous,
            heads: heads.clone(),
            recordings: recordings.clone(),
        };
        let signed = checkpoint.sign(&self.keys.audit);
        let anchored = Anchored { number, hash: signed.hash(), heads };
        let new = NewCheckpoint {
            id: self.ids.uuid(),
            at,
            body: signed.line.into_bytes(),
            signature: signed.signature.to_vec(),
        };
        if let Err(error) = self.store.add_checkpoint(new).await {
            self.finished().extend(recordings);
            return Err(error.into());
        }
        *self.anchored() = Some(anchored);
        Ok(())
    }

    /// Gives what the last checkpoint anchored: of this process's own from memory, because one holds the hashes of a minute's recordings, thousands
    /// where sessions come and go.
    async fn last_anchored(&self) -> Result<Option<Anchored>, Refusal> {
        let number = self.store.find_last_checkpoint_number().await?;
        let known = self.anchored().clone().filter(|known| Some(known.number) == number);
        if known.is_some() {
            return Ok(known);
        }
        self.store.find_last_checkpoint().await?.as_ref().map(Anchored::read).transpose()
    }

    fn anchored(&self) -> MutexGuard<'_, Option<Anchored>> {
        self.anchored.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn finished(&self) -> MutexGuard<'_, BTreeMap<SessionId, Digest>> {
        self.finished.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What a checkpoint anchored.
#[derive(Clone, Debug)]
pub(crate) struct Anchored {
    number: u64,
    hash: Digest,
    heads: BTreeMap<GatewayId, Chain>,
}

impl Anchored {
    fn read(stored: &adit_store::Checkpoint) -> Result<Self, Refusal> {
        let signed = signed_of(stored)?;
        // One that cannot be read names no head: the next one does.
        let heads = Checkpoint::decode(&signed.line).map(|named| named.heads).unwrap_or_default();
        Ok(Self { number: stored.number, hash: signed.hash(), heads })
    }
}

/// Reads a stored checkpoint.
///
/// # Errors
/// When its row is damaged; `verify` says more.
pub fn signed_of(stored: &adit_store::Checkpoint) -> Result<SignedCheckpoint, Refusal> {
    let damaged = || {
        Refusal::Said(
            adit_domain::Code::Internal,
            "A checkpoint of the audit log is damaged. `adit audit verify` says which.".into(),
        )
    };
    Ok(SignedCheckpoint {
        line: String::from_utf8(stored.body.clone()).map_err(|_| damaged())?,
        signature: stored.signature.clone().try_into().map_err(|_| damaged())?,
    })
}
