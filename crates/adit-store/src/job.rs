//! Jobs: taken in once, given out once, ended once. The queue of a gateway is made from these rows.

use adit_domain::job::queue::Waiting;
use adit_domain::job::{JobEnd, JobState};
use adit_domain::principal::Principal;
use adit_domain::{
    Code, GatewayId, JobId, MachineId, MachineLabel, PrincipalId, SessionId, TenantId, Timestamp,
    TokenId,
};

use crate::page::{HIGHEST, List, Place};
use crate::principal::read_principal;
use crate::sql::{Dialect, Row, args, stored};
use crate::tx::{Scope, Tx};
use crate::{Cursor, NewEvent, Page, Paging, Store, StoreError, TenantStore};

/// A job to take in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub principal: PrincipalId,
    /// Where it runs.
    pub machine: MachineId,
    /// What was asked.
    pub asked: Asked,
    /// When.
    pub at: Timestamp,
}

/// What somebody asked for, as it was planned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The sign-in or token that asked.
    pub credential: TokenId,
    /// The client's address.
    pub client: Option<String>,
    /// The template's name.
    pub template: String,
    /// The hash of its version.
    pub version: [u8; 32],
    /// The scopes that it asks for, as names between spaces.
    pub needs: String,
    /// The parameters, JSON.
    pub parameters: String,
    /// The arguments, exactly.
    pub argv: Vec<String>,
    /// What the machine is given, JSON.
    pub plan: String,
    /// How much of each stream is kept.
    pub output_bytes: u64,
    /// How long it may run, in milliseconds.
    pub timeout_ms: u64,
    /// Whether it may be run again when nobody knows how far it came.
    pub idempotent: bool,
    /// How many others must agree.
    pub consents: u8,
    /// What they agree to: the hash of version, arguments, machine and limits.
    pub content: [u8; 32],
    /// The caller's name for this very wish.
    pub idempotency_key: Option<String>,
    /// The hash of the wish.
    pub request_hash: [u8; 32],
    /// The request that asked, as a `traceparent`.
    pub trace: Option<String>,
}

/// How many jobs may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobLimits {
    /// Of one user.
    pub queued_per_user: u32,
    /// Of a tenant.
    pub queued: u32,
}

/// What became of a wish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Submitted {
    /// It waits.
    New(Box<Job>),
    /// It is the job that the same wish with the same key made before.
    Before(Box<Job>),
    /// Its key was used for another wish.
    OtherWish,
    /// As many wait as may.
    Full,
}

/// A job as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Whose data it is.
    pub tenant: TenantId,
    /// Whose it is.
    pub principal: Principal,
    /// Where it runs.
    pub machine: MachineId,
    /// That machine's label.
    pub machine_label: MachineLabel,
    /// What was asked.
    pub asked: Asked,
    /// How it stands.
    pub state: JobState,
    /// The gateway that gave it out.
    pub gateway: Option<GatewayId>,
    /// Its session.
    pub session: Option<SessionId>,
    /// When it was taken in.
    pub created_at: Timestamp,
    /// When it was given out.
    pub started_at: Option<Timestamp>,
    /// When somebody cancelled it while it ran, or was about to.
    pub cancelled_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its exit status.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// Why it ended, where it was not its program's own doing.
    pub code: Option<Code>,
    /// What its machine says of it, JSON.
    pub report: Option<String>,
}

/// What there is to keep of a job that is over.
#[derive(Clone, Debug, Default)]
pub struct Closing {
    /// What its machine says of it, JSON.
    pub report: Option<String>,
    /// Its receipt, as it was signed.
    pub receipt: Option<String>,
}

/// What became of somebody's word for a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Consented {
    /// It is noted; more must agree.
    Noted(Box<Job>),
    /// It was the last that was needed: the job waits for its turn.
    Enough(Box<Job>),
    /// The job is not awaiting anybody's, or not this one's: its own user's, or one who agreed before.
    NotAwaited,
    /// The job would do something else.
    OtherContent,
}

/// A job that waits, with whose data it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueuedJob {
    /// Whose data it is.
    pub tenant: TenantId,
    /// What the queue needs.
    pub waiting: Waiting,
}

/// Which jobs a list shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobFilter {
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only on this machine.
    pub machine: Option<MachineId>,
    /// Only this principal's.
    pub principal: Option<PrincipalId>,
    /// Only of this template.
    pub template: Option<String>,
}

macro_rules! job {
    ($where:literal) => {
        concat!(
            "SELECT p.id, p.tenant_id, p.kind, p.name, j.id, j.machine_id, m.label, j.credential_id, j.client, j.template, j.version, j.needs, \
             j.parameters, j.argv, j.plan, j.output_bytes, j.timeout_ms, j.idempotent, j.consents, j.content, j.idempotency_key, j.request_hash, j.trace, j.state, j.gateway_id, \
             j.session_id, j.created_at, j.started_at, j.cancelled_at, j.ended_at, j.exit_status, j.signal, j.reason, j.report \
             FROM jobs j \
             JOIN principals p ON p.tenant_id = j.tenant_id AND p.id = j.principal_id \
             JOIN machines m ON m.tenant_id = j.tenant_id AND m.id = j.machine_id WHERE ",
            $where
        )
    };
}

const FIND: &str = job!("j.tenant_id = $1 AND j.id = $2");

impl TenantStore {
    /// Takes a job in, unless it was taken in before or too many wait.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn submit_job<E>(
        &self,
        new: NewJob,
        limits: JobLimits,
        tell: E,
    ) -> Result<Submitted, StoreError>
    where
        E: FnOnce(&Submitted) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(submit(tx, new, limits))).await
    }

    /// Gives a job out: of any number at once, one gets it. The session that runs it is named from then on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn claim_job(
        &self,
        id: JobId,
        session: SessionId,
        at: Timestamp,
    ) -> Result<Option<Job>, StoreError> {
        let sql = "UPDATE jobs SET state = 'running', session_id = $3, started_at = $4, gateway_id = $5 \
             WHERE tenant_id = $1 AND id = $2 AND state = 'queued'";
        self.write(crate::silent, move |tx| {
            Box::pin(async move {
                let gateway = tx.gateway;
                if tx.run(sql, args![id, session, at, gateway]).await? == 0 {
                    return Ok(None);
                }
                tx.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
            })
        })
        .await
    }

    /// Lets a job wait again whose machine was given nothing, unless it was cancelled. Tells whether it does.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn requeue_job(
        &self,
        id: JobId,
        session: SessionId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE jobs SET state = 'queued', session_id = NULL, started_at = NULL, gateway_id = NULL, queued_at = $4 \
             WHERE tenant_id = $1 AND id = $2 AND state = 'running' AND session_id = $3 AND cancelled_at IS NULL";
        let own = args![id, session, at];
        let done = self.write(crate::silent, move |tx| Box::pin(tx.run(sql, own))).await?;
        Ok(done > 0)
    }

    /// Ends a job that has no live session: one that waits, or whose session never began. Gives it, unless it was over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_job<E>(
        &self,
        id: JobId,
        from: JobState,
        (how, receipt): (JobEnd, Option<String>),
        at: Timestamp,
        tell: E,
    ) -> Result<Option<Job>, StoreError>
    where
        E: FnOnce(&Option<Job>) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| {
            Box::pin(async move {
                let closing = Closing { report: None, receipt };
                if !end(tx, (id, None), Some(from), &how, at, closing).await? {
                    return Ok(None);
                }
                tx.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
            })
        })
        .await
    }

    /// Notes that somebody agrees to what a job would do. The last who must lets it wait for its turn.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn consent_to_job<E>(
        &self,
        id: JobId,
        content: [u8; 32],
        who: Principal,
        at: Timestamp,
        tell: E,
    ) -> Result<Consented, StoreError>
    where
        E: FnOnce(&Consented) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(consent(tx, id, content, who, at))).await
    }

    /// Gives the receipt of a job; none of one that is not over, or that was never given out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_receipt(&self, id: JobId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT receipt FROM jobs WHERE tenant_id = $1 AND id = $2";
        Ok(self.row(sql, args![id]).await?.map(|mut row| row.maybe_text()).transpose()?.flatten())
    }

    /// Lists who agreed to a job, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_consents(&self, id: JobId) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT name FROM job_consents WHERE tenant_id = $1 AND job_id = $2 ORDER BY at, principal_id";
        let rows = self.rows(sql, args![id]).await?;
        rows.into_iter().map(|mut row| row.text()).collect()
    }

    /// Notes that a job which was given out is to end, and gives it; none if it is over. Whoever opens its session looks after that.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn note_job_cancelled<E>(
        &self,
        id: JobId,
        at: Timestamp,
        tell: E,
    ) -> Result<Option<Job>, StoreError>
    where
        E: FnOnce(&Option<Job>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE jobs SET cancelled_at = coalesce(cancelled_at, $3) WHERE tenant_id = $1 AND id = $2 AND state = 'running'";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(sql, args![id, at]).await? == 0 {
                    return Ok(None);
                }
                tx.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
            })
        })
        .await
    }

    /// Finds a job.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists jobs, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_jobs(
        &self,
        filter: &JobFilter,
        paging: &Paging,
    ) -> Result<Page<Job>, StoreError> {
        let sql = job!(
            "j.tenant_id = $1 AND (j.created_at, j.id) < ($2, $3) AND ($4 IS NULL OR j.state = $4) \
             AND ($5 IS NULL OR j.machine_id = $5) AND ($6 IS NULL OR j.principal_id = $6) AND ($7 IS NULL OR j.template = $7) \
             ORDER BY j.created_at DESC, j.id DESC LIMIT $8"
        );
        let place = paging.place(List::Jobs, HIGHEST)?;
        let own = args![
            place.first,
            place.id,
            filter.state.map(JobState::as_str),
            filter.machine,
            filter.principal,
            filter.template.clone(),
            paging.rows()
        ];
        let rows = self.rows(sql, own).await?;
        let jobs: Result<Vec<Job>, _> = rows.into_iter().map(|mut row| read(&mut row)).collect();
        Ok(Page::of(jobs?, paging, |job| {
            Cursor::new(List::Jobs, Place { first: job.created_at.0, second: 0, id: job.id.0 })
        }))
    }
}

impl Store {
    /// Lists jobs that wait and came after one, in the order in which they came, each with its template's name, for a gateway's queue.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_queued_jobs(
        &self,
        after: Option<(Timestamp, JobId)>,
        limit: u32,
    ) -> Result<Vec<(Timestamp, QueuedJob, String)>, StoreError> {
        let sql = "SELECT queued_at, id, tenant_id, principal_id, machine_id, template FROM jobs WHERE state = 'queued' AND (queued_at, id) > ($1, $2) \
             ORDER BY queued_at, id LIMIT $3";
        let (at, id) = after.unwrap_or((Timestamp(i64::MIN), JobId(uuid::Uuid::nil())));
        let rows = self.reads().rows(Scope::System, sql, args![at, id, i64::from(limit)]).await?;
        rows.into_iter().map(|mut row| read_queued(&mut row)).collect()
    }

    /// Lists jobs that wait for longer than jobs wait.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_expired_jobs(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<QueuedJob>, StoreError> {
        let sql = "SELECT queued_at, id, tenant_id, principal_id, machine_id, template FROM jobs WHERE state = 'queued' AND queued_at < $1 \
             UNION ALL SELECT created_at, id, tenant_id, principal_id, machine_id, template FROM jobs \
             WHERE state = 'awaiting_consent' AND created_at < $1 LIMIT $2";
        let rows = self.reads().rows(Scope::System, sql, args![before, i64::from(limit)]).await?;
        rows.into_iter().map(|mut row| Ok(read_queued(&mut row)?.1)).collect()
    }

    /// Lists the jobs that this gateway gave out whose session is not live: it stopped in between.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_stranded_jobs(&self) -> Result<Vec<Job>, StoreError> {
        let sql = job!(
            "j.state = 'running' AND j.gateway_id = $1 AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.tenant_id = j.tenant_id AND s.id = j.session_id \
             AND s.state IN ('opening', 'live', 'away'))"
        );
        let rows = self.reads().rows(Scope::System, sql, args![self.gateway()]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }
}

impl Store {
    /// Lists the jobs that this gateway gave out and that somebody cancelled, maybe at another.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_cancelled_jobs(&self) -> Result<Vec<Job>, StoreError> {
        let sql = job!("j.state = 'running' AND j.gateway_id = $1 AND j.cancelled_at IS NOT NULL");
        let rows = self.reads().rows(Scope::System, sql, args![self.gateway()]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Lists the jobs that another gateway gave out, which has not said since a time that it lives, and that have no live session.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_forsaken_jobs(&self, since: Timestamp) -> Result<Vec<Job>, StoreError> {
        let sql = job!(
            "j.state = 'running' AND j.gateway_id <> $1 AND NOT EXISTS (SELECT 1 FROM gateways g WHERE g.id = j.gateway_id AND g.seen_at > $2) \
             AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.tenant_id = j.tenant_id AND s.id = j.session_id \
             AND s.state IN ('opening', 'live', 'away'))"
        );
        let rows = self.reads().rows(Scope::System, sql, args![self.gateway(), since]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }
}

async fn submit(tx: &mut Tx, new: NewJob, limits: JobLimits) -> Result<Submitted, StoreError> {
    let asked = new.asked;
    if let Some(key) = &asked.idempotency_key {
        let before = job!("j.tenant_id = $1 AND j.principal_id = $2 AND j.idempotency_key = $3");
        if let Some(mut row) = tx.row(before, args![new.principal, key.as_str()]).await? {
            let job = read(&mut row)?;
            let same = job.asked.request_hash == asked.request_hash;
            return Ok(if same { Submitted::Before(Box::new(job)) } else { Submitted::OtherWish });
        }
    }
    let counts = "SELECT (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE tenant_id = $1 AND principal_id = $2 AND state IN ('awaiting_consent', 'queued') LIMIT $3) AS own), \
         (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE tenant_id = $1 AND state IN ('awaiting_consent', 'queued') LIMIT $4) AS every)";
    let (own, every) = (i64::from(limits.queued_per_user), i64::from(limits.queued));
    let row = tx.row(counts, args![new.principal, own, every]).await?;
    let mut row = row.ok_or(StoreError::Corrupt("count"))?;
    if row.int()? >= own || row.int()? >= every {
        return Ok(Submitted::Full);
    }
    let sql = "INSERT INTO jobs (tenant_id, id, principal_id, machine_id, credential_id, client, template, version, needs, parameters, argv, plan, \
         output_bytes, timeout_ms, idempotent, consents, content, state, idempotency_key, request_hash, trace, created_at, queued_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $22)";
    let state = if asked.consents > 0 { JobState::Awaiting } else { JobState::Queued };
    let own = args![
        new.id,
        new.principal,
        new.machine,
        asked.credential,
        asked.client,
        asked.template,
        asked.version,
        asked.needs,
        asked.parameters,
        crate::session::json(&asked.argv)?,
        asked.plan,
        stored(asked.output_bytes),
        stored(asked.timeout_ms),
        asked.idempotent,
        i64::from(asked.consents),
        asked.content,
        state.as_str(),
        asked.idempotency_key,
        asked.request_hash,
        asked.trace,
        new.at
    ];
    tx.run(sql, own).await?;
    let mut row = tx.row(FIND, args![new.id]).await?.ok_or(StoreError::Corrupt("job"))?;
    Ok(Submitted::New(Box::new(read(&mut row)?)))
}

async fn consent(
    tx: &mut Tx,
    id: JobId,
    content: [u8; 32],
    who: Principal,
    at: Timestamp,
) -> Result<Consented, StoreError> {
    // Two who agree at once through two gateways both count: the second waits for the first. In SQLite there is one writer.
    if tx.dialect() == Dialect::Postgres {
        let lock = "SELECT 1 FROM jobs WHERE tenant_id = $1 AND id = $2 FOR UPDATE";
        tx.rows(lock, args![id]).await?;
    }
    let Some(mut row) = tx.row(FIND, args![id]).await? else { return Ok(Consented::NotAwaited) };
    let job = read(&mut row)?;
    if job.state != JobState::Awaiting || job.principal.id == who.id {
        return Ok(Consented::NotAwaited);
    }
    if job.asked.content != content {
        return Ok(Consented::OtherContent);
    }
    let add = "INSERT INTO job_consents (tenant_id, job_id, principal_id, name, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    if tx.run(add, args![id, who.id, who.name.to_string(), at]).await? == 0 {
        return Ok(Consented::NotAwaited);
    }
    let enough = "UPDATE jobs SET state = 'queued', queued_at = $3 WHERE tenant_id = $1 AND id = $2 AND state = 'awaiting_consent' \
         AND consents <= (SELECT count(*) FROM job_consents c WHERE c.tenant_id = $1 AND c.job_id = $2)";
    let is_enough = tx.run(enough, args![id, at]).await? > 0;
    let mut row = tx.row(FIND, args![id]).await?.ok_or(StoreError::Corrupt("job"))?;
    let job = Box::new(read(&mut row)?);
    Ok(if is_enough { Consented::Enough(job) } else { Consented::Noted(job) })
}

/// Ends a job that is in a state, or in any that is no end, and runs in a session, or in any; the first end counts. Tells whether this was it.
pub(crate) async fn end(
    tx: &mut Tx,
    (id, of): (JobId, Option<SessionId>),
    from: Option<JobState>,
    how: &JobEnd,
    at: Timestamp,
    closing: Closing,
) -> Result<bool, StoreError> {
    let sql = "UPDATE jobs SET state = $3, ended_at = $4, exit_status = $5, signal = $6, reason = $7, report = $8, receipt = $9 \
         WHERE tenant_id = $1 AND id = $2 AND state IN ('awaiting_consent', 'queued', 'running') AND ($10 IS NULL OR state = $10) AND ($11 IS NULL OR session_id = $11)";
    let own = args![
        id,
        how.state.as_str(),
        at,
        how.exit.map(i64::from),
        how.signal.clone(),
        how.code.map(Code::as_str),
        closing.report,
        closing.receipt,
        from.map(JobState::as_str),
        of
    ];
    Ok(tx.run(sql, own).await? > 0)
}

fn read_queued(row: &mut Row) -> Result<(Timestamp, QueuedJob, String), StoreError> {
    let (at, id, tenant) = (row.time()?, JobId(row.uuid()?), TenantId(row.uuid()?));
    let (owner, machine) = (PrincipalId(row.uuid()?), MachineId(row.uuid()?));
    Ok((at, QueuedJob { tenant, waiting: Waiting { id, owner, machine } }, row.text()?))
}

fn read(row: &mut Row) -> Result<Job, StoreError> {
    let principal = read_principal(row)?;
    let corrupt = || StoreError::Corrupt("job");
    Ok(Job {
        tenant: principal.tenant,
        principal,
        id: JobId(row.uuid()?),
        machine: MachineId(row.uuid()?),
        machine_label: row.word("machine's label")?,
        asked: Asked {
            credential: TokenId(row.uuid()?),
            client: row.maybe_text()?,
            template: row.text()?,
            version: row.hash()?,
            needs: row.text()?,
            parameters: row.text()?,
            argv: serde_json::from_str(&row.text()?).map_err(|_| corrupt())?,
            plan: row.text()?,
            output_bytes: row.count()?,
            timeout_ms: row.count()?,
            idempotent: row.flag()?,
            consents: row.count()?,
            content: row.hash()?,
            idempotency_key: row.maybe_text()?,
            request_hash: row.hash()?,
            trace: row.maybe_text()?,
        },
        state: row.word("state of a job")?,
        gateway: row.maybe_uuid()?.map(GatewayId),
        session: row.maybe_uuid()?.map(SessionId),
        created_at: row.time()?,
        started_at: row.maybe_time()?,
        cancelled_at: row.maybe_time()?,
        ended_at: row.maybe_time()?,
        exit: row.maybe_int()?.map(i32::try_from).transpose().map_err(|_| corrupt())?,
        signal: row.maybe_text()?,
        code: row.maybe_text()?.map(|text| text.parse().map_err(|_| corrupt())).transpose()?,
        report: row.maybe_text()?,
    })
}
