//! Giving jobs out: by turns, within the limits, each once.

use std::time::Duration;

use adit_domain::job::queue::Waiting;
use adit_domain::job::{JobEnd, JobState};
use adit_domain::{Code, SessionId, TenantId, Timestamp};
use adit_store::{Job, QueuedJob};
use metrics::{counter, gauge, histogram};
use serde_json::json;
use tracing::{error, warn};

use super::{Jobs, Running, job_party};
use crate::Gateway;
use crate::access::Refusal;
use crate::audit::Actor;
use crate::bus::Change;
use crate::trace::{self, Context};

/// How often the database is asked for jobs that another gateway took in.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often jobs that waited too long are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(10);

/// How many jobs are read at once.
const READ: u32 = 1000;

impl Jobs {
    /// Takes the next job that may run here now, and its place.
    fn next(&self, gateway: &Gateway) -> Option<(TenantId, Waiting)> {
        let settings = &gateway.settings.jobs;
        let mut state = self.lock();
        let super::State { queue, waiting, running, .. } = &mut *state;
        let is_full = gateway.sessions.count() >= gateway.settings.sessions_total;
        if running.len() >= settings.at_once || is_full {
            return None;
        }
        let may_run = |one: &Waiting| {
            if !super::runs_here(one.machine, &gateway.hub) || running.contains_key(&one.id) {
                return false;
            }
            let Some(known) = waiting.get(&one.id) else { return true };
            let own = running.values().filter(|job| job.owner == one.owner);
            let same = running.values().filter(|job| job.template == known.template);
            let limits = gateway.jobs.templates.find(&known.template);
            let limits = limits.map(|vetted| vetted.template.concurrency()).unwrap_or_default();
            let per_user = limits.per_user.map_or(usize::MAX, usize::from);
            let own_same = own.clone().filter(|job| job.template == known.template).count();
            own.count() < settings.at_once_per_user
                && own_same < per_user
                && same.count() < limits.per_template.map_or(usize::MAX, usize::from)
        };
        let job = queue.take(may_run)?;
        let known = waiting.remove(&job.id)?;
        running.insert(job.id, Running { owner: job.owner, template: known.template });
        Some((known.tenant, job))
    }

    /// Takes in what the database says waits, as far as its machine is here.
    fn note_seen(&self, gateway: &Gateway, jobs: &[(Timestamp, QueuedJob, String)]) {
        for (at, job, template) in jobs {
            let is_running = {
                let mut state = self.lock();
                state.seen = state.seen.max(Some((*at, job.waiting.id)));
                state.running.contains_key(&job.waiting.id)
            };
            if !is_running && super::runs_here(job.waiting.machine, &gateway.hub) {
                self.push(*job, template);
            }
        }
    }
}

impl Gateway {
    /// Takes up what this gateway gave out and did not finish, then gives out jobs as long as it runs.
    pub(crate) async fn dispatch_jobs(&self) {
        if let Err(error) = self.take_up_jobs().await {
            error!(%error, "jobs of the gateway's last run could not be taken up");
        }
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut expire = tokio::time::interval(EXPIRE_EVERY);
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                () = self.jobs.wake.notified() => {
                    if self.jobs.lock().seen.is_none() {
                        self.look_for_jobs().await;
                    }
                }
                _ = look.tick() => {
                    self.look_for_jobs().await;
                    self.end_cancelled_jobs().await;
                }
                _ = expire.tick() => self.expire_jobs().await,
            }
            while let Some((tenant, waiting)) = self.jobs.next(self) {
                let Some(gateway) = self.me.upgrade() else { return };
                self.tasks.spawn(async move { gateway.begin_job(tenant, waiting).await });
            }
            let (waiting, running) = self.jobs.counts();
            gauge!("adit_jobs_queued").set(waiting as f64);
            gauge!("adit_jobs_running").set(running as f64);
        }
    }

    /// Decides about jobs that were given out by this gateway's last run and have no live session: one whose machine was told nothing waits
    /// again, and of any other nobody knows how far it came.
    async fn take_up_jobs(&self) -> Result<(), Refusal> {
        self.settle_jobs(self.store.list_stranded_jobs().await?).await
    }

    /// Lets each of these jobs wait again, or ends it: their gateway is gone, and they have no live session.
    pub(crate) async fn settle_jobs(&self, jobs: Vec<Job>) -> Result<(), Refusal> {
        for job in jobs {
            let tenant = self.store.tenant(job.tenant);
            let Some(session) = job.session else { continue };
            let row = tenant.find_session(session).await?;
            let was_told = row.is_some_and(|row| row.started_at.is_some());
            if !was_told || job.asked.idempotent {
                let waits = tenant.requeue_job(job.id, session, self.clock.now()).await?;
                if !waits {
                    self.lose_job(&job, Code::JobCancelled).await;
                } else if super::runs_here(job.machine, &self.hub) {
                    self.jobs.push(super::queued(&job), &job.asked.template);
                }
            } else {
                self.lose_job(&job, Code::JobInterrupted).await;
            }
        }
        Ok(())
    }

    /// Reads what waits and is not known here, page by page.
    async fn look_for_jobs(&self) {
        let mut after = self.jobs.lock().seen.map(|(at, id)| (at - LOOK_BACK, id));
        loop {
            let jobs = match self.store.list_queued_jobs(after, READ).await {
                Ok(jobs) => jobs,
                Err(error) => return warn!(%error, "the database does not say which jobs wait"),
            };
            self.jobs.note_seen(self, &jobs);
            after = jobs.last().map(|(at, job, _)| (*at, job.waiting.id));
            if jobs.len() < READ as usize {
                return;
            }
        }
    }

    /// Ends what somebody cancelled, maybe at another gateway.
    async fn end_cancelled_jobs(&self) {
        let jobs = match self.store.list_cancelled_jobs().await {
            Ok(jobs) => jobs,
            Err(error) => {
                return warn!(%error, "the database does not say which jobs are cancelled");
            }
        };
        for job in &jobs {
            if let Err(error) = self.end_cancelled(job).await {
                warn!(job.id = %job.id, %error, "a job that is cancelled could not be ended");
            }
        }
    }

    async fn expire_jobs(&self) {
        let before = self.clock.now() - self.settings.jobs.wait;
        let expired = match self.store.list_expired_jobs(before, READ).await {
            Ok(expired) => expired,
            Err(error) => {
                return warn!(%error, "the database does not say which jobs waited too long");
            }
        };
        for QueuedJob { tenant, waiting } in expired {
            let store = self.store.tenant(tenant);
            match store.find_job(waiting.id).await {
                Ok(Some(job)) if matches!(job.state, JobState::Awaiting | JobState::Queued) => {
                    self.end_waiting(&job, Code::JobExpired).await;
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "a job that waited too long could not be found"),
            }
        }
    }

    /// Gives one job out: by one statement, then by a ticket as for any session.
    async fn begin_job(&self, tenant: TenantId, waiting: Waiting) {
        let session = SessionId::new(&*self.ids);
        let store = self.store.tenant(tenant);
        let job = match store.claim_job(waiting.id, session, self.clock.now()).await {
            Ok(Some(job)) => job,
            // Cancelled, or another gateway's.
            Ok(None) => return self.jobs.free(waiting.id),
            Err(error) => {
                warn!(job.id = %waiting.id, %error, "a job could not be given out; it waits on");
                self.jobs.free(waiting.id);
                // It is read again with the rest.
                self.jobs.look();
                return;
            }
        };
        let waited = self.clock.now().since(job.created_at);
        histogram!("adit_job_wait_seconds").record(waited.as_secs_f64());
        self.bus.tell(tenant, Change::Jobs);
        let opened = match job.asked.trace.as_deref().and_then(Context::read) {
            Some(asked) => trace::within(asked, self.open_job(&job, session)).await,
            None => self.open_job(&job, session).await,
        };
        if let Err(refusal) = opened {
            let passes = matches!(refusal.code(), Code::TargetOffline | Code::TooMany);
            if passes && self.let_wait(&job, session).await {
                return;
            }
            warn!(job.id = %job.id, code = %refusal.code(), "a job could not begin");
            let now = self.store.tenant(tenant).find_job(job.id).await;
            let is_cancelled =
                now.is_ok_and(|now| now.is_some_and(|now| now.cancelled_at.is_some()));
            let code = if is_cancelled { Code::JobCancelled } else { refusal.code() };
            self.lose_job(&job, code).await;
            self.jobs.free(job.id);
        }
    }

    /// Lets a job wait again whose machine went before it was told anything. Tells whether it does.
    pub(crate) async fn let_wait(&self, job: &Job, session: SessionId) -> bool {
        let now = self.clock.now();
        let waits = self.store.tenant(job.tenant).requeue_job(job.id, session, now).await;
        let waits =
            waits.inspect_err(|error| warn!(job.id = %job.id, %error, "a job cannot wait again"));
        if !waits.unwrap_or(false) {
            return false;
        }
        self.jobs.free(job.id);
        self.jobs.push(super::queued(job), &job.asked.template);
        self.bus.tell(job.tenant, Change::Jobs);
        true
    }

    /// Ends a job that was given out and has no session that would.
    async fn lose_job(&self, job: &Job, code: Code) {
        self.end_without_session(job, JobState::Running, code).await;
    }

    async fn end_waiting(&self, job: &Job, code: Code) {
        self.end_without_session(job, job.state, code).await;
    }

    async fn end_without_session(&self, job: &Job, from: JobState, code: Code) {
        let (how, at) = (JobEnd::because(code), self.clock.now());
        let receipt = match from {
            JobState::Running => Some(self.receipt_of(job, &how, at, None).await),
            _ => None,
        };
        let sentence = format!(
            "{} of {} on {} is over: {}",
            job.asked.template,
            job.principal.name.name(),
            job.machine_label,
            code.sentence()
        );
        let event = self
            .event("job.end", &Actor::gateway(self), sentence)
            .on(job_party(job))
            .with("userId", json!(job.principal.id.to_string()))
            .with("user", json!(job.principal.name.to_string()))
            .with("state", json!(how.state.as_str()))
            .with("reason", json!(how.code.unwrap_or(code).as_str()))
            .with("receipt", json!(receipt.as_ref().map(|receipt| receipt.digest().to_string())));
        let tell = move |ended: &Option<Job>| if ended.is_some() { event.only() } else { vec![] };
        let tenant = self.store.tenant(job.tenant);
        let ending = (how.clone(), receipt.map(|receipt| receipt.export()));
        match tenant.end_job(job.id, from, ending, at, tell).await {
            Ok(ended) => ended.iter().for_each(|ended| self.trace_job(ended)),
            Err(error) => {
                error!(job.id = %job.id, %error, "the end of a job could not be written; it is when the gateway starts again");
            }
        }
        self.jobs.forget(job.id);
        counter!("adit_jobs_ended_total", "state" => how.state.as_str()).increment(1);
        self.bus.tell(job.tenant, Change::Jobs);
        self.bus.tell(job.tenant, Change::Audit);
    }
}

/// How far behind the newest known job is looked: ids are made before they are committed.
const LOOK_BACK: Duration = Duration::from_secs(60);
