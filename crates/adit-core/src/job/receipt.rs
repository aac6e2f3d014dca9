//! The receipt of a job: made as it ends, signed by the audit key, and named by the job's last event.

use adit_domain::job::JobEnd;
use adit_domain::{Code, JobId, SessionId, TenantId, Timestamp};
use adit_store::Job;
use adit_wire::digest::Digest;
use adit_wire::job::{JobReport, StreamBytes};
use adit_wire::receipt::{FORM, Receipt, SignedReceipt, Used, Wrote};
use adit_wire::sandbox::Report;

use crate::Gateway;
use crate::access::{Caller, Refusal};

use super::output::{Chunk, Stream};

impl Gateway {
    /// Gives the receipt of a job that is over: one line of a file of receipts.
    ///
    /// # Errors
    /// [`Code::JobUnknown`] as for the job; [`Code::Conflict`] for one that is not over, or that never was given out.
    pub async fn job_receipt(&self, caller: &Caller, id: JobId) -> Result<String, Refusal> {
        let job = self.find_job(caller, id).await?;
        let receipt = self.store.tenant(job.tenant).find_receipt(id).await?;
        receipt.ok_or_else(|| {
            let sentence = match job.state.is_end() {
                true => "This job was never given out to its machine, so there is nothing to give a receipt for.",
                false => "This job is not over. Its receipt is made when it ends.",
            };
            Refusal::Said(Code::Conflict, sentence.to_owned())
        })
    }

    /// Makes the receipt of a job that ends.
    pub(crate) async fn receipt_of(
        &self,
        job: &Job,
        how: &JobEnd,
        at: Timestamp,
        report: Option<&JobReport>,
    ) -> SignedReceipt {
        let chunks = self.job_output(job, 0).await;
        let chunks = chunks.inspect_err(|refusal| {
            tracing::warn!(job.id = %job.id, %refusal, "a receipt cannot say what its job wrote");
        });
        let wrote = |stream, said: fn(&JobReport) -> StreamBytes| {
            wrote(chunks.as_deref().ok(), stream, report.map(said))
        };
        let receipt = Receipt {
            v: FORM,
            job: job.id.to_string(),
            session: job.session.map(|session| session.to_string()),
            principal: job.principal.name.to_string(),
            machine: job.machine.to_string(),
            label: job.machine_label.to_string(),
            template: job.asked.template.clone(),
            version: Digest(job.asked.version),
            content: Digest(job.asked.content),
            argv: job.asked.argv.clone(),
            asked_at: job.created_at.0,
            started_at: job.started_at.map(|at| at.0),
            ended_at: at.0,
            state: how.state.as_str().to_owned(),
            exit: how.exit,
            signal: how.signal.clone(),
            reason: how.code.map(|code| code.as_str().to_owned()),
            used: report.and_then(used),
            stdout: wrote(Stream::Stdout, |report| report.stdout),
            stderr: wrote(Stream::Stderr, |report| report.stderr),
            recording: self.recording_digest(job.tenant, job.session).await,
        };
        receipt.sign(&self.keys.audit)
    }

    async fn recording_digest(
        &self,
        tenant: TenantId,
        session: Option<SessionId>,
    ) -> Option<Digest> {
        let recording = self.store.tenant(tenant).find_recording(session?).await;
        // The receipt says less then, and the recording's own event still holds it.
        recording.ok().flatten()?.hash.map(Digest)
    }
}

/// Says what a job wrote to a stream: as its machine counted it, else as it is kept.
fn wrote(chunks: Option<&[Chunk]>, stream: Stream, said: Option<StreamBytes>) -> Wrote {
    let own = |chunks: &[Chunk]| -> Vec<bytes::Bytes> {
        let own = chunks.iter().filter(|chunk| chunk.stream == stream);
        own.map(|chunk| chunk.bytes.clone()).collect()
    };
    let kept = chunks.map(own);
    let parts: Option<Vec<&[u8]>> =
        kept.as_ref().map(|kept| kept.iter().map(AsRef::as_ref).collect());
    let held = parts.iter().flatten().map(|part| part.len() as u64).sum();
    let said = said.unwrap_or(StreamBytes { written: held, dropped: 0 });
    let sha256 = parts.map(|parts| Digest::of(b"", &parts));
    Wrote { bytes: said.written, dropped: said.dropped, sha256 }
}

fn used(report: &JobReport) -> Option<Used> {
    let Some(Report::Ended { totals, .. }) = &report.last else { return None };
    Some(Used {
        elapsed_ms: totals.elapsed_ms,
        user_ms: totals.user_ms,
        system_ms: totals.system_ms,
        peak_bytes: totals.peak_bytes,
    })
}
