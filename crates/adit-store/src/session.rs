//! Sessions: reserved with their ticket, opened by its redemption, ended once.

use std::str::FromStr;

use adit_domain::job::JobEnd;
use adit_domain::principal::Principal;
use adit_domain::session::State;
use adit_domain::{
    Capabilities, Code, EndReason, GatewayId, GrantId, JobId, MachineId, MachineLabel, PrincipalId,
    RecordingMode, SessionId, TenantId, Timestamp,
};

use crate::job::Closing;
use crate::page::{HIGHEST, List, Place};
use crate::principal::read_principal;
use crate::recording;
use crate::sql::{Dialect, Row, args, stored, write_capabilities};
use crate::tx::{Scope, Tx};
use crate::{Cursor, NewEvent, Page, Paging, RecordingState, Store, StoreError, TenantStore};

/// What runs in a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionKind {
    /// A login shell, or a command in its place.
    Shell,
    /// A command whose output and status pass through.
    Exec,
}

impl SessionKind {
    /// Gives the word of the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec => "exec",
        }
    }
}

impl FromStr for SessionKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Shell, Self::Exec].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// A session to reserve with its ticket.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub principal: PrincipalId,
    /// Where it lands.
    pub machine: MachineId,
    /// What runs.
    pub kind: SessionKind,
    /// The command; empty for the login shell.
    pub command: Vec<String>,
    /// Variables for the command; forgotten when the session ends.
    pub env: Vec<(String, String)>,
    /// Whether it has a terminal.
    pub pty: bool,
    /// What may be done in it.
    pub capabilities: Capabilities,
    /// The grants that it rests on.
    pub grants: Vec<GrantId>,
    /// What is kept of it.
    pub recording: RecordingMode,
    /// Whether it must not go on without its recording.
    pub strict: bool,
    /// The user on the machine; absent: the agent's.
    pub run_as: Option<String>,
    /// The client's address.
    pub client: Option<String>,
    /// When it is reserved.
    pub at: Timestamp,
    /// The job that it is to run.
    pub job: Option<JobId>,
}

/// What is known of a session when its ticket was redeemed.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// Which one.
    pub id: SessionId,
    /// The most live sessions that its principal may have, this one counted.
    pub cap: Option<u32>,
    /// What may be done in it, by today's grants.
    pub capabilities: Capabilities,
    /// The grants that it rests on today.
    pub grants: Vec<GrantId>,
    /// The client's address.
    pub client: Option<String>,
    /// When the owner's second factor had been shown, as it began.
    pub second_factor_at: Option<Timestamp>,
    /// The width of its window.
    pub cols: u16,
    /// The height of its window.
    pub rows: u16,
    /// When it begins.
    pub at: Timestamp,
    /// When it must end.
    pub ends_at: Timestamp,
}

/// What came of opening a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opening {
    /// It is opening.
    Opened(Box<Session>),
    /// Its principal has as many as it may; these.
    Full(Vec<SessionId>),
    /// It is not reserved: opened before, ended, or never there.
    Gone,
}

/// A session as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose data it is.
    pub tenant: TenantId,
    /// Whose it is.
    pub principal: Principal,
    /// Where it lands.
    pub machine: MachineId,
    /// That machine's label.
    pub machine_label: MachineLabel,
    /// What runs.
    pub kind: SessionKind,
    /// The command; empty for the login shell.
    pub command: Vec<String>,
    /// Variables for the command; empty once it ended.
    pub env: Vec<(String, String)>,
    /// Whether it has a terminal.
    pub pty: bool,
    /// What may be done in it.
    pub capabilities: Capabilities,
    /// The grants that it rests on.
    pub grants: Vec<GrantId>,
    /// Where it is in its life.
    pub state: State,
    /// What is kept of it.
    pub recording: RecordingMode,
    /// Whether it must not go on without its recording.
    pub strict: bool,
    /// How its recording stands, where there is one.
    pub recorded: Option<RecordingState>,
    /// The user on the machine.
    pub run_as: Option<String>,
    /// The client's address.
    pub client: Option<String>,
    /// When the owner's second factor had been shown, as it began.
    pub second_factor_at: Option<Timestamp>,
    /// The gateway that holds it.
    pub gateway: Option<GatewayId>,
    /// The width of its window.
    pub cols: u16,
    /// The height of its window.
    pub rows: u16,
    /// When it was reserved.
    pub reserved_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it must end.
    pub ends_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    pub reason: Option<EndReason>,
    /// How much was typed.
    pub bytes_in: u64,
    /// How much it showed.
    pub bytes_out: u64,
    /// The job that it runs.
    pub job: Option<JobId>,
}

/// How much passed through a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionBytes {
    /// How much was typed.
    pub input: u64,
    /// How much it showed.
    pub output: u64,
}

/// What is noted of a session while it lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionNote {
    /// How much passed so far.
    pub bytes: SessionBytes,
    /// The width of its window.
    pub cols: u16,
    /// The height of its window.
    pub rows: u16,
}

/// What came of ending a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionEnd {
    /// This end counts; the session as it is now.
    First(Box<Session>),
    /// It had ended before, for this reason.
    Before(EndReason),
    /// There is no such session.
    Unknown,
}

/// Which sessions a list shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SessionFilter {
    /// Only live ones, or only those that ended.
    pub live: Option<bool>,
    /// Only on this machine.
    pub machine: Option<MachineId>,
    /// Only this principal's.
    pub principal: Option<PrincipalId>,
}

/// Something that happened to a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionEvent {
    /// When.
    pub at: Timestamp,
    /// `opened`, `live`, `away`, `refreshed` or `ended`.
    pub kind: String,
    /// What else there is to say, in words.
    pub detail: String,
}

macro_rules! session {
    ($where:literal) => {
        concat!(
            "SELECT p.id, p.tenant_id, p.kind, p.name, s.id, s.machine_id, m.label, s.kind, s.command, s.env, s.pty, s.capabilities, s.grants, \
             s.state, s.recording, s.strict, r.state, s.run_as, s.client, s.second_factor_at, s.gateway_id, s.cols, s.rows, s.reserved_at, s.started_at, \
             s.ends_at, s.ended_at, s.reason, s.exit_status, s.signal, s.bytes_in, s.bytes_out, s.job_id \
             FROM sessions s \
             JOIN principals p ON p.tenant_id = s.tenant_id AND p.id = s.principal_id \
             JOIN machines m ON m.tenant_id = s.tenant_id AND m.id = s.machine_id \
             LEFT JOIN recordings r ON r.tenant_id = s.tenant_id AND r.session_id = s.id WHERE ",
            $where
        )
    };
}

const FIND: &str = session!("s.tenant_id = $1 AND s.id = $2");

impl TenantStore {
    /// Opens a reserved session, unless its principal has as many as it may. Of any number at once no more than the cap open.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_session<E>(&self, open: OpenSession, tell: E) -> Result<Opening, StoreError>
    where
        E: FnOnce(&Opening) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(start(tx, open))).await
    }

    /// Moves a session that is not over to `Live` or `Away`. Tells whether that fits where it is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn mark_session<E>(
        &self,
        id: SessionId,
        state: State,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = match state {
            State::Live => {
                "UPDATE sessions SET state = 'live', gateway_id = $3 WHERE tenant_id = $1 AND id = $2 AND state IN ('opening', 'away')"
            }
            State::Away => {
                "UPDATE sessions SET state = 'away', gateway_id = $3 WHERE tenant_id = $1 AND id = $2 AND state = 'live'"
            }
            State::Reserved | State::Opening | State::Ended => return Ok(false),
        };
        self.write(tell, move |tx| {
            Box::pin(async move {
                let gateway = tx.gateway;
                if tx.run(sql, args![id, gateway]).await? == 0 {
                    return Ok(false);
                }
                note(tx, id, at, state.as_str(), "").await?;
                Ok(true)
            })
        })
        .await
    }

    /// Gives a session that is not over new capabilities, grants and a new end. Tells whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn refresh_session<E>(
        &self,
        id: SessionId,
        rights: (Capabilities, Vec<GrantId>),
        ends_at: Timestamp,
        at: Timestamp,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE sessions SET capabilities = $3, grants = $4, ends_at = $5 WHERE tenant_id = $1 AND id = $2 \
             AND state IN ('opening', 'live', 'away')";
        let own = args![id, write_capabilities(rights.0), write_grants(&rights.1), ends_at];
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(sql, own).await? == 0 {
                    return Ok(false);
                }
                note(tx, id, at, "refreshed", "").await?;
                Ok(true)
            })
        })
        .await
    }

    /// Notes a session's counters and window.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn note_session(&self, id: SessionId, note: SessionNote) -> Result<(), StoreError> {
        let sql = "UPDATE sessions SET bytes_in = $3, bytes_out = $4, cols = $5, rows = $6 WHERE tenant_id = $1 AND id = $2 AND state <> 'ended'";
        let SessionBytes { input, output } = note.bytes;
        let own =
            args![id, stored(input), stored(output), i64::from(note.cols), i64::from(note.rows)];
        self.write(crate::silent, move |tx| {
            Box::pin(async move { tx.run(sql, own).await.map(|_| ()) })
        })
        .await
    }

    /// Ends a session; the first end counts. Its tickets are void from then on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_session<E>(
        &self,
        id: SessionId,
        reason: EndReason,
        at: Timestamp,
        bytes: SessionBytes,
        tell: E,
    ) -> Result<SessionEnd, StoreError>
    where
        E: FnOnce(&SessionEnd) -> Vec<NewEvent> + Send + 'static,
    {
        self.end_session_of_job(id, reason, at, (bytes, Closing::default()), tell).await
    }

    /// Ends a session, and the job that it runs, with what its machine says of that.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_session_of_job<E>(
        &self,
        id: SessionId,
        reason: EndReason,
        at: Timestamp,
        (bytes, closing): (SessionBytes, Closing),
        tell: E,
    ) -> Result<SessionEnd, StoreError>
    where
        E: FnOnce(&SessionEnd) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| {
            Box::pin(async move {
                let ended = end(tx, id, reason, at, bytes).await?;
                if let SessionEnd::First(session) = &ended
                    && let (Some(job), Some(reason)) = (session.job, &session.reason)
                {
                    let own = (job, Some(id));
                    crate::job::end(tx, own, None, &JobEnd::of(reason), at, closing).await?;
                }
                Ok(ended)
            })
        })
        .await
    }

    /// Finds a session.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists sessions that were opened, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_sessions(
        &self,
        filter: &SessionFilter,
        paging: &Paging,
    ) -> Result<Page<Session>, StoreError> {
        let sql = session!(
            "s.tenant_id = $1 AND s.started_at IS NOT NULL AND (s.started_at, s.id) < ($2, $3) \
             AND ($4 = 'all' OR ($4 = 'live') = (s.state <> 'ended')) \
             AND ($5 IS NULL OR s.machine_id = $5) AND ($6 IS NULL OR s.principal_id = $6) \
             ORDER BY s.started_at DESC, s.id DESC LIMIT $7"
        );
        let place = paging.place(List::Sessions, HIGHEST)?;
        let which = match filter.live {
            None => "all",
            Some(true) => "live",
            Some(false) => "past",
        };
        let own =
            args![place.first, place.id, which, filter.machine, filter.principal, paging.rows()];
        let rows = self.rows(sql, own).await?;
        let sessions: Result<Vec<Session>, _> =
            rows.into_iter().map(|mut r| read(&mut r)).collect();
        Ok(Page::of(sessions?, paging, |session| {
            let first = session.started_at.unwrap_or_default().0;
            Cursor::new(List::Sessions, Place { first, second: 0, id: session.id.0 })
        }))
    }

    /// Lists a principal's live sessions' ids, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_live_sessions_of(
        &self,
        principal: PrincipalId,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.rows(LIVE_OF, args![principal]).await?.into_iter().map(read_id).collect()
    }

    /// Lists what happened to a session, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_session_events(
        &self,
        id: SessionId,
    ) -> Result<Vec<SessionEvent>, StoreError> {
        let sql = "SELECT at, kind, detail FROM session_events WHERE tenant_id = $1 AND session_id = $2 ORDER BY number";
        let rows = self.rows(sql, args![id]).await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(SessionEvent { at: row.time()?, kind: row.text()?, detail: row.text()? })
            })
            .collect()
    }
}

impl Store {
    /// Lists every tenant's sessions that this gateway opened and that have not ended, for when it starts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_unended_sessions(&self) -> Result<Vec<Session>, StoreError> {
        let sql = session!(
            "s.state <> 'ended' AND s.state <> 'reserved' AND (s.gateway_id IS NULL OR s.gateway_id = $1) ORDER BY s.started_at, s.id"
        );
        let rows = self.reads().rows(Scope::System, sql, args![self.gateway()]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Lists every tenant's sessions that have not ended and whose gateway, another, was not seen since.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_forsaken_sessions(
        &self,
        since: Timestamp,
    ) -> Result<Vec<Session>, StoreError> {
        let sql = session!(
            "s.state <> 'ended' AND s.state <> 'reserved' AND s.gateway_id <> $1 AND NOT EXISTS \
             (SELECT 1 FROM gateways g WHERE g.id = s.gateway_id AND g.seen_at > $2) ORDER BY s.started_at, s.id"
        );
        let rows = self.reads().rows(Scope::System, sql, args![self.gateway(), since]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }
}

const LIVE_OF: &str = "SELECT id FROM sessions WHERE tenant_id = $1 AND principal_id = $2 AND state <> 'ended' AND state <> 'reserved' \
     ORDER BY started_at, id";

/// Adds a reserved session.
pub(crate) async fn reserve(tx: &mut Tx, new: NewSession) -> Result<(), StoreError> {
    let sql = "INSERT INTO sessions (tenant_id, id, principal_id, machine_id, kind, command, env, pty, capabilities, grants, state, recording, strict, \
         run_as, client, reserved_at, job_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'reserved', $11, $12, $13, $14, $15, $16)";
    let own = args![
        new.id,
        new.principal,
        new.machine,
        new.kind.as_str(),
        json(&new.command)?,
        json(&new.env)?,
        new.pty,
        write_capabilities(new.capabilities),
        write_grants(&new.grants),
        new.recording.as_str(),
        new.strict,
        new.run_as,
        new.client,
        new.at,
        new.job
    ];
    tx.run(sql, own).await.map(|_| ())
}

async fn start(tx: &mut Tx, open: OpenSession) -> Result<Opening, StoreError> {
    let whose =
        "SELECT principal_id FROM sessions WHERE tenant_id = $1 AND id = $2 AND state = 'reserved'";
    let Some(mut row) = tx.row(whose, args![open.id]).await? else { return Ok(Opening::Gone) };
    let principal = PrincipalId(row.uuid()?);
    if let Some(cap) = open.cap {
        lock(tx, principal).await?;
        let live: Vec<SessionId> = tx
            .rows(LIVE_OF, args![principal])
            .await?
            .into_iter()
            .map(read_id)
            .collect::<Result<_, _>>()?;
        if live.len() >= cap as usize {
            return Ok(Opening::Full(live));
        }
    }
    let sql = "UPDATE sessions SET state = 'opening', capabilities = $3, grants = $4, client = $5, cols = $6, rows = $7, started_at = $8, \
         ends_at = $9, gateway_id = $10, second_factor_at = $11 WHERE tenant_id = $1 AND id = $2 AND state = 'reserved'";
    let gateway = tx.gateway;
    let own = args![
        open.id,
        write_capabilities(open.capabilities),
        write_grants(&open.grants),
        open.client,
        i64::from(open.cols),
        i64::from(open.rows),
        open.at,
        open.ends_at,
        gateway,
        open.second_factor_at
    ];
    if tx.run(sql, own).await? == 0 {
        return Ok(Opening::Gone);
    }
    note(tx, open.id, open.at, "opened", "").await?;
    recording::begin(tx, open.id, open.at).await?;
    let mut row = tx.row(FIND, args![open.id]).await?.ok_or(StoreError::Corrupt("session"))?;
    Ok(Opening::Opened(Box::new(read(&mut row)?)))
}

/// Makes other gateways wait that count the same principal's sessions; in SQLite there is one writer.
async fn lock(tx: &mut Tx, principal: PrincipalId) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM principals WHERE tenant_id = $1 AND id = $2 FOR UPDATE";
    match tx.dialect() {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => tx.rows(sql, args![principal]).await.map(|_| ()),
    }
}

async fn end(
    tx: &mut Tx,
    id: SessionId,
    reason: EndReason,
    at: Timestamp,
    bytes: SessionBytes,
) -> Result<SessionEnd, StoreError> {
    let sql = "UPDATE sessions SET state = 'ended', ended_at = $3, reason = $4, exit_status = $5, signal = $6, env = '[]', \
         bytes_in = CASE WHEN bytes_in > $7 THEN bytes_in ELSE $7 END, bytes_out = CASE WHEN bytes_out > $8 THEN bytes_out ELSE $8 END \
         WHERE tenant_id = $1 AND id = $2 AND state <> 'ended'";
    let tickets = "UPDATE tickets SET state = 'revoked', redeemed_at = $3 WHERE tenant_id = $1 AND session_id = $2 AND state = 'issued'";
    let own = args![
        id,
        at,
        reason.code().as_str(),
        reason.exit_status().map(i64::from),
        reason.signal(),
        stored(bytes.input),
        stored(bytes.output)
    ];
    let first = tx.run(sql, own).await? > 0;
    if first {
        tx.run(tickets, args![id, at]).await?;
        note(tx, id, at, "ended", &reason.to_string()).await?;
    }
    let Some(mut row) = tx.row(FIND, args![id]).await? else { return Ok(SessionEnd::Unknown) };
    let session = read(&mut row)?;
    Ok(match (first, session.reason.clone()) {
        (true, _) => SessionEnd::First(Box::new(session)),
        (false, Some(reason)) => SessionEnd::Before(reason),
        (false, None) => return Err(StoreError::Corrupt("session's end")),
    })
}

async fn note(
    tx: &mut Tx,
    id: SessionId,
    at: Timestamp,
    kind: &str,
    detail: &str,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO session_events (tenant_id, session_id, number, at, kind, detail) \
         SELECT $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5 FROM session_events WHERE tenant_id = $1 AND session_id = $2";
    tx.run(sql, args![id, at, kind, detail]).await.map(|_| ())
}

fn write_grants(grants: &[GrantId]) -> String {
    grants.iter().map(GrantId::to_string).collect::<Vec<_>>().join(" ")
}

fn read_grants(text: &str) -> Result<Vec<GrantId>, StoreError> {
    let ids = text.split(' ').filter(|id| !id.is_empty());
    ids.map(|id| id.parse().map_err(|_| StoreError::Corrupt("grant's id"))).collect()
}

/// Writes JSON; fails only for maps whose keys are no texts.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("value"))
}

fn read_id(mut row: Row) -> Result<SessionId, StoreError> {
    row.uuid().map(SessionId)
}

fn read(row: &mut Row) -> Result<Session, StoreError> {
    let principal = read_principal(row)?;
    Ok(Session {
        tenant: principal.tenant,
        principal,
        id: SessionId(row.uuid()?),
        machine: MachineId(row.uuid()?),
        machine_label: row.word("machine's label")?,
        kind: row.word("kind of session")?,
        command: serde_json::from_str(&row.text()?).map_err(|_| StoreError::Corrupt("command"))?,
        env: serde_json::from_str(&row.text()?).map_err(|_| StoreError::Corrupt("variables"))?,
        pty: row.flag()?,
        capabilities: row.capabilities()?,
        grants: read_grants(&row.text()?)?,
        state: row.word("state of a session")?,
        recording: row.word("recording mode")?,
        strict: row.flag()?,
        recorded: row
            .maybe_text()?
            .map(|text| text.parse().map_err(|()| StoreError::Corrupt("state of a recording")))
            .transpose()?,
        run_as: row.maybe_text()?,
        client: row.maybe_text()?,
        second_factor_at: row.maybe_time()?,
        gateway: row.maybe_uuid()?.map(GatewayId),
        cols: row.count()?,
        rows: row.count()?,
        reserved_at: row.time()?,
        started_at: row.maybe_time()?,
        ends_at: row.maybe_time()?,
        ended_at: row.maybe_time()?,
        reason: read_reason(row)?,
        bytes_in: row.count()?,
        bytes_out: row.count()?,
        job: row.maybe_uuid()?.map(JobId),
    })
}

fn read_reason(row: &mut Row) -> Result<Option<EndReason>, StoreError> {
    let corrupt = || StoreError::Corrupt("reason of an end");
    let (code, status, signal) = (row.maybe_text()?, row.maybe_int()?, row.maybe_text()?);
    let Some(code) = code else { return Ok(None) };
    let code: Code = code.parse().map_err(|_| corrupt())?;
    Ok(Some(match (code, status, signal) {
        (Code::SessionExited, Some(status), _) => {
            EndReason::Exited(i32::try_from(status).map_err(|_| corrupt())?)
        }
        (Code::SessionSignalled, _, Some(signal)) => EndReason::Signalled(signal),
        (code, ..) => EndReason::Because(code),
    }))
}
