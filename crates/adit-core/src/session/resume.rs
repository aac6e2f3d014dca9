//! What a gateway does with sessions that were live when it stopped (DESK-9): they go on, or end with a reason.

use adit_domain::session::State;
use adit_domain::{Code, EndReason};
use adit_store::{RecordingState, Session};
use tracing::{info, warn};

use super::driver::Start;
use super::tape::Tape;
use crate::Gateway;
use crate::access::Refusal;

impl Gateway {
    /// Takes up every session that had not ended: each waits for its machine for the grace.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not answer.
    pub(crate) async fn take_up_sessions(&self) -> Result<(), Refusal> {
        for session in self.store.list_unended_sessions().await? {
            if session.state == State::Opening && session.started_at.is_none() {
                self.end_row(&session, &EndReason::Because(Code::SessionFailed)).await;
                continue;
            }
            if let Some(job) = session.job {
                self.jobs.note_running(job, session.principal.id);
            }
            let tape = self.resume_recording(&session);
            let position = tape.as_ref().map_or(0, Tape::durable);
            info!(session.id = %session.id, "a session waits for its machine to come back");
            self.start_driver(Start { session, tape, position, state: State::Away });
        }
        self.close_torn_recordings().await
    }

    fn resume_recording(&self, session: &Session) -> Option<Tape> {
        if session.recorded != Some(RecordingState::Running) {
            return None;
        }
        match self.recorder.resume(session.id, session.strict) {
            Ok(tape) => Some(tape),
            Err(error) => {
                warn!(session.id = %session.id, %error, "a recording cannot go on; the session does without");
                None
            }
        }
    }

    /// Closes the recordings whose session ended while nobody wrote them: incomplete, but playable.
    async fn close_torn_recordings(&self) -> Result<(), Refusal> {
        for (tenant, session) in self.store.list_running_recordings().await? {
            if self.sessions.tenant(session).is_some() {
                continue;
            }
            let bytes = std::fs::metadata(self.recorder.path(session)).map_or(0, |meta| meta.len());
            let finished = adit_store::FinishedRecording {
                state: RecordingState::Incomplete,
                bytes,
                length_ms: 0,
                hash: None,
                at: self.clock.now(),
            };
            self.store
                .tenant(tenant)
                .finish_recording(session, finished, adit_store::silent)
                .await?;
        }
        Ok(())
    }
}
