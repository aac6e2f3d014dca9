//! What a job wrote, read from its session's recording: also while it runs.

use std::io;
use std::path::Path;

use adit_domain::{Code, SessionId};
use adit_store::Job;
use adit_wire::recording::{Content, Reader, Step, What};
use bytes::Bytes;
use futures_util::future::join;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::recording::each_piece;

/// Which of a job's two streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Gives the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A run of bytes that a job wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// To which stream.
    pub stream: Stream,
    /// The position of its first byte among all that the job wrote to either.
    pub position: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl Gateway {
    /// Reads what a job wrote from a position on, as far as it is durable.
    ///
    /// # Errors
    /// [`Code::RecordingDeleted`] once its recording is gone.
    pub async fn job_output(&self, job: &Job, from: u64) -> Result<Vec<Chunk>, Refusal> {
        let Some(session) = job.session else { return Ok(Vec::new()) };
        self.check_output_is_here(job).await?;
        let recording = self.store.tenant(job.tenant).find_recording(session).await?;
        match recording {
            None => return Ok(Vec::new()),
            Some(recording) if recording.deleted.is_some() => {
                return Err(Code::RecordingDeleted.into());
            }
            Some(_) => {}
        }
        let path = self.recorder.path(session);
        let read = tokio::task::spawn_blocking(move || read(&path, from)).await;
        let read = read.map_err(|_| Refusal::Code(Code::Internal))?;
        // The row is there before the file: a job that just begins wrote nothing yet.
        let begins = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if read.as_ref().is_err_and(begins) && !job.state.is_end() {
            return Ok(Vec::new());
        }
        read.map_err(|error| {
            tracing::warn!(session.id = %session, %error, "what a job wrote could not be read");
            Refusal::Said(Code::RecordingUnknown, "What this job wrote cannot be read.".to_owned())
        })
    }

    /// Refuses a job whose recording lies at another gateway, and says at which.
    ///
    /// # Errors
    /// [`Code::SessionElsewhere`].
    pub async fn check_output_is_here(&self, job: &Job) -> Result<(), Refusal> {
        match job.gateway.filter(|gateway| *gateway != self.store.gateway()) {
            Some(other) => Err(self.elsewhere(other).await),
            None => Ok(()),
        }
    }

    /// Takes a place from which a running job is followed, by a ticket as anybody who joins a session; none once its session is over.
    ///
    /// # Errors
    /// Policy's reason.
    pub async fn follow_job(
        &self,
        caller: &Caller,
        session: SessionId,
        from: u64,
    ) -> Result<Option<crate::session::Admission>, Refusal> {
        let ready = match self.ready_follow_ticket(caller, session).await {
            Ok(ready) => ready,
            Err(refusal) if is_over(refusal.code()) => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let secret = ready.secret();
        let presented = crate::ticket::Presented { ticket: secret.expose(), proof: "" };
        let hand =
            crate::session::Hand { output_position: Some(from), ..crate::session::Hand::default() };
        // The database takes both in this order; waiting for the first to be durable would only take time.
        let (issued, admitted) =
            join(self.store_ticket(ready), self.admit(presented, hand, caller.address)).await;
        match issued.and(admitted) {
            Ok(admission) => Ok(Some(admission)),
            Err(refusal) if is_over(refusal.code()) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

/// Tells whether a code only says that a session is not live.
fn is_over(code: Code) -> bool {
    matches!(code.http_status(), 404 | 410 | 503) || code == Code::TicketInvalid
}

fn read(path: &Path, from: u64) -> io::Result<Vec<Chunk>> {
    let mut reader = Reader::new();
    let mut chunks = Vec::new();
    each_piece(path, |piece| {
        reader.push(piece);
        drain(&mut reader, from, &mut chunks);
        true
    })?;
    Ok(chunks)
}

fn drain(reader: &mut Reader, from: u64, chunks: &mut Vec<Chunk>) {
    while let Some(step) = reader.next() {
        let Step::Chunk(_, Content::Items(items)) = step else { continue };
        for item in items {
            let (stream, bytes) = match item.what {
                What::Output(bytes) => (Stream::Stdout, bytes),
                What::Stderr(bytes) => (Stream::Stderr, bytes),
                _ => continue,
            };
            let skip = usize::try_from(from.saturating_sub(item.position)).unwrap_or(usize::MAX);
            if skip < bytes.len() {
                let position = item.position + skip as u64;
                chunks.push(Chunk { stream, position, bytes: bytes.slice(skip..) });
            }
        }
    }
}
