//! The audit log as lines on standard output, for whoever collects logs (TERM-52). The database remains the truth.

use std::io::Write as _;
use std::time::Duration;

use adit_wire::audit as wire;
use tokio::sync::broadcast::error::RecvError;

use crate::Gateway;
use crate::access::Refusal;
use crate::bus::Change;

/// How many events are read at once.
const BATCH: u32 = 500;

/// How often it looks without being told, for events that nobody announced.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Gateway {
    /// Writes each event of this gateway's chain to standard output as it is committed, until the gateway ends.
    pub(crate) async fn tell_audit(&self) {
        let mut changes = self.bus.listen();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let mut after = match self.head().await {
            Ok(head) => head,
            Err(error) => {
                return tracing::error!(%error, "the audit log cannot be written to standard output");
            }
        };
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                change = changes.recv() => match change {
                    Ok((_, Change::Audit)) | Err(RecvError::Lagged(_)) => {}
                    Ok(_) => continue,
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => {}
            }
            match self.tell_after(after).await {
                Ok(last) => after = last,
                Err(error) => {
                    tracing::warn!(%error, "audit events wait to be written to standard output")
                }
            }
        }
    }

    async fn head(&self) -> Result<u64, Refusal> {
        let chains = self.store.list_chains().await?;
        let own = chains.into_iter().find(|head| head.gateway == self.store.gateway());
        Ok(own.map_or(0, |head| head.chain.seq))
    }

    async fn tell_after(&self, mut after: u64) -> Result<u64, Refusal> {
        loop {
            let events = self.store.read_chain(self.store.gateway(), after, BATCH).await?;
            let Some(last) = events.last() else { return Ok(after) };
            after = last.record.seq;
            let mut text = String::new();
            for stored in &events {
                if let Some(event) = &stored.event {
                    text.push_str(&wire::line(&stored.record, event));
                    text.push('\n');
                }
            }
            // A reader that is slow must not hold up a worker thread; one that is gone is no reason to end.
            let written =
                tokio::task::spawn_blocking(move || std::io::stdout().write_all(text.as_bytes()));
            if !matches!(written.await, Ok(Ok(()))) {
                tracing::warn!("standard output does not take audit events");
            }
        }
    }
}
