//! Verifies the whole log against its hashes and its checkpoints, and writes it out.

use adit_domain::{Capability, GatewayId};
use adit_store::ChainHead;
use adit_wire::audit::{self as wire, BadRecord, Flaw};
use adit_wire::checkpoint::{FirstBad, LogReport, LogVerifier};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;

use super::anchor::signed_of;
use crate::Gateway;
use crate::access::{Caller, Refusal};

/// How many events are read at once.
const BATCH: u32 = 1000;

/// How many pieces of an export may wait for a slow reader.
const PIECES: usize = 8;

impl Gateway {
    /// Verifies every chain from its first event on.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not read the log or the database does not answer.
    pub async fn verify_audit(&self, caller: &Caller) -> Result<LogReport, Refusal> {
        self.permit_tenant(caller, Capability::AuditRead).await?;
        let key: [u8; 32] =
            self.keys.audit_public().try_into().expect("an Ed25519 key has 32 bytes");
        let mut verifier = LogVerifier::new(&[key]);
        let mut after = 0;
        loop {
            let list = self.store.list_checkpoints(after, BATCH).await?;
            let Some(last) = list.last() else { break };
            after = last.number;
            for stored in &list {
                verifier.checkpoint(&signed_of(stored)?);
            }
        }
        let mut rows = Vec::new();
        for head in self.store.list_chains().await? {
            rows.extend(self.verify_chain(&mut verifier, &head).await?);
        }
        let mut report = verifier.finish();
        if report.is_ok()
            && let Some(bad) = rows.first()
        {
            report.sentence = format!(
                "Event {} of gateway {}: {}.",
                bad.record.seq, bad.gateway, bad.record.flaw
            );
        }
        report.first_bad.extend(rows);
        Ok(report)
    }

    /// Gives every event to the verifier; finds what is wrong with the rows beside the chain itself: columns that lists and searches use and
    /// that say something else, and a tail that the gateway's own head still knows.
    async fn verify_chain(
        &self,
        verifier: &mut LogVerifier,
        head: &ChainHead,
    ) -> Result<Option<FirstBad>, Refusal> {
        let bad = |seq, flaw| FirstBad { gateway: head.gateway, record: BadRecord { seq, flaw } };
        let mut first = None;
        let mut after = 0;
        loop {
            let events = self.store.read_chain(head.gateway, after, BATCH).await?;
            let Some(last) = events.last() else { break };
            after = last.record.seq;
            for event in &events {
                verifier.record(head.gateway, &event.record);
                if !event.columns_agree && first.is_none() {
                    first = Some(bad(event.record.seq, Flaw::Hash));
                }
            }
        }
        if head.chain.seq > after && first.is_none() {
            first = Some(bad(after + 1, Flaw::Missing));
        }
        Ok(first)
    }

    /// Writes the log out as JSON Lines: first every checkpoint, then each chain in order.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not read the log.
    pub async fn export_audit(&self, caller: &Caller) -> Result<mpsc::Receiver<Bytes>, Refusal> {
        self.permit_tenant(caller, Capability::AuditRead).await?;
        let event = self.event(
            "audit.export",
            &caller.actor(),
            format!("{} exported the audit log", caller.principal.name.name()),
        );
        self.note(event).await;
        self.checkpoint().await?;
        let (lines, out) = mpsc::channel(PIECES);
        let Some(gateway) = self.me.upgrade() else { return Ok(out) };
        self.tasks.spawn(async move {
            if let Err(error) = gateway.write_lines(&lines).await {
                tracing::warn!(%error, "an export of the audit log broke off");
                // Says so in the export itself: a reader must not take a part for the whole.
                let line = json!({"error": "the export broke off"}).to_string();
                let _ = lines.send(Bytes::from(line + "\n")).await;
            }
        });
        Ok(out)
    }

    async fn write_lines(&self, lines: &mpsc::Sender<Bytes>) -> Result<(), Refusal> {
        let mut after = 0;
        loop {
            let list = self.store.list_checkpoints(after, BATCH).await?;
            let Some(last) = list.last() else { break };
            after = last.number;
            let mut text = String::new();
            for stored in &list {
                text.push_str(&signed_of(stored)?.export());
                text.push('\n');
            }
            if lines.send(Bytes::from(text)).await.is_err() {
                return Ok(());
            }
        }
        for head in self.store.list_chains().await? {
            if !self.write_chain(head.gateway, lines).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn write_chain(
        &self,
        gateway: GatewayId,
        lines: &mpsc::Sender<Bytes>,
    ) -> Result<bool, Refusal> {
        let mut after = 0;
        loop {
            let events = self.store.read_chain(gateway, after, BATCH).await?;
            let Some(last) = events.last() else { return Ok(true) };
            after = last.record.seq;
            let mut text = String::new();
            for event in &events {
                if let Some(decoded) = &event.event {
                    text.push_str(&wire::line(&event.record, decoded));
                    text.push('\n');
                }
            }
            if lines.send(Bytes::from(text)).await.is_err() {
                return Ok(false);
            }
        }
    }
}
