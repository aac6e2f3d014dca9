//! Recordings: what there is of them, beside their files. A deleted one leaves its hash.

use std::str::FromStr;

use adit_domain::principal::Principal;
use adit_domain::{MachineId, MachineLabel, PrincipalId, SessionId, TenantId, Timestamp};

use crate::page::{HIGHEST, List, Place};
use crate::principal::read_principal;
use crate::sql::{Row, args, stored};
use crate::tx::{Scope, Tx};
use crate::{Cursor, NewEvent, Page, Paging, Store, StoreError, TenantStore};

/// How a recording stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordingState {
    /// It is being written.
    Running,
    /// It has its signed last mark.
    Complete,
    /// It has gaps, or no end.
    Incomplete,
}

impl RecordingState {
    /// Gives the word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
        }
    }
}

impl FromStr for RecordingState {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Running, Self::Complete, Self::Incomplete]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// A recording as its row has it; the names are those of its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    /// The session that it shows.
    pub session: SessionId,
    /// Whose session it was.
    pub principal: Principal,
    /// Where the session was.
    pub machine: MachineId,
    /// That machine's label.
    pub machine_label: MachineLabel,
    /// How it stands.
    pub state: RecordingState,
    /// How much was recorded.
    pub bytes: u64,
    /// How long it plays.
    pub length_ms: u64,
    /// The hash of its last chunk.
    pub hash: Option<[u8; 32]>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When and by whom it was deleted.
    pub deleted: Option<Deletion>,
}

/// Who deleted a recording, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// Who, by name.
    pub by: String,
}

/// What a finished recording comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinishedRecording {
    /// How it stands.
    pub state: RecordingState,
    /// How much was recorded.
    pub bytes: u64,
    /// How long it plays.
    pub length_ms: u64,
    /// The hash of its last chunk.
    pub hash: Option<[u8; 32]>,
    /// When it ended.
    pub at: Timestamp,
}

/// Which recordings a list shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecordingFilter {
    /// Only on this machine.
    pub machine: Option<MachineId>,
    /// Only this principal's.
    pub principal: Option<PrincipalId>,
}

macro_rules! recording {
    ($where:literal) => {
        concat!(
            "SELECT principal_id, tenant_id, principal_kind, principal_name, session_id, machine_id, machine_label, state, bytes, length_ms, \
             hash, started_at, finished_at, deleted_at, deleted_by FROM recordings WHERE ",
            $where
        )
    };
}

impl TenantStore {
    /// Closes a recording. Tells whether it was running.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn finish_recording<E>(
        &self,
        session: SessionId,
        end: FinishedRecording,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE recordings SET state = $3, bytes = $4, length_ms = $5, hash = $6, finished_at = $7 \
             WHERE tenant_id = $1 AND session_id = $2 AND state = 'running'";
        let (bytes, length_ms) = (stored(end.bytes), stored(end.length_ms));
        let own = args![session, end.state.as_str(), bytes, length_ms, end.hash, end.at];
        self.write(tell, move |tx| Box::pin(async move { Ok(tx.run(sql, own).await? > 0) })).await
    }

    /// Finds a recording, also one that was deleted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_recording(
        &self,
        session: SessionId,
    ) -> Result<Option<Recording>, StoreError> {
        let sql = recording!("tenant_id = $1 AND session_id = $2");
        self.row(sql, args![session]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists recordings, the newest first, deleted ones too.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_recordings(
        &self,
        filter: &RecordingFilter,
        paging: &Paging,
    ) -> Result<Page<Recording>, StoreError> {
        let sql = recording!(
            "tenant_id = $1 AND (started_at, session_id) < ($2, $3) AND ($4 IS NULL OR machine_id = $4) \
             AND ($5 IS NULL OR principal_id = $5) ORDER BY started_at DESC, session_id DESC LIMIT $6"
        );
        let place = paging.place(List::Recordings, HIGHEST)?;
        let own = args![place.first, place.id, filter.machine, filter.principal, paging.rows()];
        let rows = self.rows(sql, own).await?;
        let all: Result<Vec<Recording>, _> =
            rows.into_iter().map(|mut row| read(&mut row)).collect();
        Ok(Page::of(all?, paging, |one| {
            let place = Place { first: one.started_at.0, second: 0, id: one.session.0 };
            Cursor::new(List::Recordings, place)
        }))
    }

    /// Marks a recording that is not running as deleted; its hash remains. Tells whether it was there and not deleted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn delete_recording<E>(
        &self,
        session: SessionId,
        deletion: Deletion,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE recordings SET deleted_at = $3, deleted_by = $4 WHERE tenant_id = $1 AND session_id = $2 \
             AND deleted_at IS NULL AND state <> 'running'";
        let own = args![session, deletion.at, deletion.by];
        self.write(tell, move |tx| Box::pin(async move { Ok(tx.run(sql, own).await? > 0) })).await
    }
}

impl Store {
    /// Lists every tenant's recordings of this gateway's sessions that are still running, for when it starts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_running_recordings(&self) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
        let sql = "SELECT r.tenant_id, r.session_id FROM recordings r \
             JOIN sessions s ON s.tenant_id = r.tenant_id AND s.id = r.session_id \
             WHERE r.state = 'running' AND (s.gateway_id IS NULL OR s.gateway_id = $1) ORDER BY r.started_at, r.session_id";
        let rows = self.reads().rows(Scope::System, sql, args![self.gateway()]).await?;
        rows.into_iter()
            .map(|mut row| Ok((TenantId(row.uuid()?), SessionId(row.uuid()?))))
            .collect()
    }
}

fn read(row: &mut Row) -> Result<Recording, StoreError> {
    Ok(Recording {
        principal: read_principal(row)?,
        session: SessionId(row.uuid()?),
        machine: MachineId(row.uuid()?),
        machine_label: row.word("machine's label")?,
        state: row.word("state of a recording")?,
        bytes: row.count()?,
        length_ms: row.count()?,
        hash: row.maybe_hash()?,
        started_at: row.time()?,
        finished_at: row.maybe_time()?,
        deleted: row.maybe_time()?.zip(row.maybe_text()?).map(|(at, by)| Deletion { at, by }),
    })
}

/// Notes that a session that opens is recorded, if it is to be.
pub(crate) async fn begin(
    tx: &mut Tx,
    session: SessionId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO recordings (tenant_id, session_id, principal_kind, principal_id, principal_name, machine_id, machine_label, state, started_at) \
         SELECT s.tenant_id, s.id, p.kind, p.id, p.name, m.id, m.label, 'running', $3 FROM sessions s \
         JOIN principals p ON p.tenant_id = s.tenant_id AND p.id = s.principal_id \
         JOIN machines m ON m.tenant_id = s.tenant_id AND m.id = s.machine_id WHERE s.tenant_id = $1 AND s.id = $2 AND s.recording <> 'off'";
    tx.run(sql, args![session, at]).await.map(drop)
}
