//! The end of a session, as it is written down and as its machine is told.

use adit_domain::job::JobEnd;
use adit_domain::{Code, EndReason, JobId};
use adit_store::{Closing, Session, SessionBytes, SessionEnd, SessionNote};
use adit_wire::agent::v1 as pb;
use adit_wire::job::JobReport;
use metrics::{counter, histogram};
use serde_json::json;
use tracing::{error, warn};

use crate::Gateway;
use crate::audit::{self, Actor};
use crate::bus::Change;

impl Gateway {
    /// Ends a session whose task failed.
    pub(super) async fn bury(&self, session: &Session) {
        error!(session.id = %session.id, "the task of a session failed");
        counter!("adit_task_panics_total").increment(1);
        let reason = EndReason::Because(Code::SessionFailed);
        self.end_row(session, &reason).await;
        self.tell_machine_closed(session, &reason);
    }

    pub(crate) fn tell_machine_closed(&self, session: &Session, reason: &EndReason) {
        let close = pb::Close {
            session_id: session.id.as_bytes().to_vec().into(),
            code: reason.code().as_str().to_owned(),
        };
        // A machine that is nowhere is told when it comes: the session is not among those that live.
        if self.hub.send(session.machine, pb::to_agent::Message::Close(close)).is_err() {
            self.tell_closed(session.tenant, session.id);
        }
    }

    /// Writes down that a session is over.
    pub(crate) async fn end_row(&self, session: &Session, reason: &EndReason) {
        self.end_row_with(session, reason, SessionBytes::default(), &[]).await;
    }

    pub(super) async fn end_row_with(
        &self,
        session: &Session,
        reason: &EndReason,
        bytes: SessionBytes,
        report: &[u8],
    ) {
        if let Some(job) = session.job {
            return self.end_job_session(session, job, reason, bytes, report).await;
        }
        let now = self.clock.now();
        let seconds = now.since(session.started_at.unwrap_or(now)).as_secs();
        let actor = Actor::gateway(self);
        let sentence = format!(
            "{}'s session on {} ended after {}: {reason}",
            session.principal.name.name(),
            session.machine_label,
            audit::length(seconds)
        );
        let email = self.email_of(session).await;
        let event = self
            .event("terminal_session_end", &actor, sentence)
            .on(audit::party("session", session.id.0, session.machine_label.as_str()))
            .with("userId", json!(session.principal.id.to_string()))
            .with("machineId", json!(session.machine.to_string()))
            .with("seconds", json!(seconds))
            .with("reason", json!(reason.code().as_str()))
            .with("exitStatus", json!(reason.exit_status()))
            .with("email", json!(email))
            .with("client", json!(session.client));
        let tell = move |end: &SessionEnd| match end {
            SessionEnd::First(_) => event.only(),
            SessionEnd::Before(_) | SessionEnd::Unknown => vec![],
        };
        let tenant = self.store.tenant(session.tenant);
        if let Err(error) = tenant.end_session(session.id, reason.clone(), now, bytes, tell).await {
            error!(session.id = %session.id, %error, "the end of a session could not be written; it is when the gateway starts again");
        }
        self.end_support_after(session, reason).await;
        self.bus.tell(session.tenant, Change::Sessions);
        self.bus.tell(session.tenant, Change::Audit);
    }

    /// Writes down that the session of a job is over, and with it the job.
    async fn end_job_session(
        &self,
        session: &Session,
        job: JobId,
        reason: &EndReason,
        bytes: SessionBytes,
        report: &[u8],
    ) {
        let report = JobReport::read(report);
        let (how, at) = (JobEnd::of(reason), self.clock.now());
        let row = self.store.tenant(session.tenant).find_job(job).await;
        let row = row.inspect_err(|error| {
            error!(job.id = %job, %error, "a job has no receipt: the database does not say what it was");
        });
        let row = row.ok().flatten();
        if row.as_ref().is_some_and(|row| row.session != Some(session.id)) {
            return self.end_unbegun(session, job, reason).await;
        }
        let receipt = match &row {
            Some(row) => Some(self.receipt_of(row, &how, at, report.as_ref()).await),
            None => None,
        };
        let sentence = format!(
            "{}'s job on {} is over: {}",
            session.principal.name.name(),
            session.machine_label,
            how.state
        );
        let event = self
            .event("job.end", &Actor::gateway(self), sentence)
            .on(audit::party("job", job.0, session.machine_label.as_str()))
            .with("userId", json!(session.principal.id.to_string()))
            .with("user", json!(session.principal.name.to_string()))
            .with("session", json!(session.id.to_string()))
            .with("argv", json!(session.command))
            .with("state", json!(how.state.as_str()))
            .with("exitStatus", json!(how.exit))
            .with("signal", json!(how.signal))
            .with("reason", json!(how.code.map(Code::as_str)))
            .with("report", json!(report))
            .with("receipt", json!(receipt.as_ref().map(|receipt| receipt.digest().to_string())));
        let tell = move |end: &SessionEnd| match end {
            SessionEnd::First(_) => event.only(),
            SessionEnd::Before(_) | SessionEnd::Unknown => vec![],
        };
        let report = report.map(|report| json!(report).to_string());
        let tenant = self.store.tenant(session.tenant);
        let receipt = receipt.map(|receipt| receipt.export());
        let closing = (bytes, Closing { report, receipt });
        let ended = tenant.end_session_of_job(session.id, reason.clone(), at, closing, tell).await;
        if let Err(error) = &ended {
            error!(session.id = %session.id, %error, "the end of a job could not be written; it is when the gateway starts again");
        }
        self.jobs.free(job);
        let ran = self.clock.now().since(session.started_at.unwrap_or(session.reserved_at));
        histogram!("adit_job_run_seconds").record(ran.as_secs_f64());
        counter!("adit_jobs_ended_total", "state" => how.state.as_str()).increment(1);
        self.bus.tell(session.tenant, Change::Jobs);
        self.bus.tell(session.tenant, Change::Sessions);
        self.bus.tell(session.tenant, Change::Audit);
        if matches!(ended, Ok(SessionEnd::First(_))) {
            self.trace_ended(session.tenant, job).await;
        }
    }

    /// Writes down that a session is over in which its job did not begin; the job waits again, maybe in another by now.
    async fn end_unbegun(&self, session: &Session, job: JobId, reason: &EndReason) {
        let sentence = format!(
            "{}'s job waits again for {}: {reason}",
            session.principal.name.name(),
            session.machine_label
        );
        let event = self
            .event("job.requeue", &Actor::gateway(self), sentence)
            .on(audit::party("job", job.0, session.machine_label.as_str()))
            .with("session", json!(session.id.to_string()))
            .with("reason", json!(reason.code().as_str()));
        let tell = move |end: &SessionEnd| match end {
            SessionEnd::First(_) => event.only(),
            SessionEnd::Before(_) | SessionEnd::Unknown => vec![],
        };
        let (tenant, at) = (self.store.tenant(session.tenant), self.clock.now());
        let bytes = SessionBytes::default();
        let ended = tenant.end_session(session.id, reason.clone(), at, bytes, tell).await;
        if let Err(error) = ended {
            error!(session.id = %session.id, %error, "the end of a session could not be written; it is when the gateway starts again");
        }
        self.bus.tell(session.tenant, Change::Sessions);
        self.bus.tell(session.tenant, Change::Audit);
    }

    /// Finds the address of a session's person, for whoever reads the log; a database that does not answer costs the log only that.
    async fn email_of(&self, session: &Session) -> Option<String> {
        let tenant = self.store.tenant(session.tenant);
        tenant.find_principal(session.principal.id).await.ok().flatten()?.email
    }

    pub(super) async fn note_counters(&self, session: &Session, bytes: SessionBytes) {
        let note = SessionNote { bytes, cols: session.cols, rows: session.rows };
        let tenant = self.store.tenant(session.tenant);
        if let Err(error) = tenant.note_session(session.id, note).await {
            warn!(session.id = %session.id, %error, "the counters of a session could not be kept");
        }
    }
}
