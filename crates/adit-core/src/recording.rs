//! Recordings: kept when a session ends, played, verified, searched and deleted.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use adit_domain::{Capabilities, Capability, Code, SessionId, Timestamp};
use adit_store::{Deletion, FinishedRecording, Recording, RecordingState, Session};
use adit_wire::asciicast::Cast;
use adit_wire::digest::Digest;
use adit_wire::recording::search::{Hits, Search};
use adit_wire::recording::{
    Content, Expected, Packer, Reader, Report, Scan, Step, Tombstone, verify, writer,
};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit;
use crate::bus::Change;
use crate::session::recorder::Finished;

/// How much of a file is read at once, in bytes.
const PIECE: usize = 256 * 1024;

/// How many pieces of an export may wait for a slow reader.
const PIECES: usize = 8;

/// The longest text to search for, in characters: more than a screen is wide.
const MAX_QUERY_CHARS: usize = 200;

impl Gateway {
    /// Writes down what a recording came to.
    pub(crate) async fn keep_recording(
        &self,
        session: &Session,
        finished: Option<Finished>,
        length_ms: u64,
        at: Timestamp,
    ) {
        let Some(finished) = finished else { return };
        let event = self
            .event(
                "recording.finish",
                &audit::Actor::gateway(self),
                format!(
                    "The recording of {}'s session on {} was closed",
                    session.principal.name.name(),
                    session.machine_label
                ),
            )
            .on(audit::party("session", session.id.0, session.machine_label.as_str()))
            .with("hash", json!(hex::encode(finished.hash)))
            .with("bytes", json!(finished.bytes))
            .with("complete", json!(finished.complete));
        let row = FinishedRecording {
            state: if finished.complete {
                RecordingState::Complete
            } else {
                RecordingState::Incomplete
            },
            bytes: finished.bytes,
            length_ms,
            hash: Some(finished.hash),
            at,
        };
        self.finished
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(session.id, Digest(finished.hash));
        let tenant = self.store.tenant(session.tenant);
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        if let Err(error) = tenant.finish_recording(session.id, row, tell).await {
            tracing::error!(session.id = %session.id, %error, "a finished recording could not be entered");
        }
        self.bus.tell(session.tenant, Change::Recordings);
    }

    /// Finds a recording that the caller may play. Playing one is audited where it happens.
    ///
    /// # Errors
    /// [`Code::RecordingUnknown`] alike for one that is not there and one that the caller may not see.
    pub async fn find_recording(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<Recording, Refusal> {
        let unknown = || Refusal::Code(Code::RecordingUnknown);
        let tenant = self.store.tenant(caller.principal.tenant);
        let recording = tenant.find_recording(id).await?.ok_or_else(unknown)?;
        let machine = tenant.find_machine(recording.machine).await?.ok_or_else(unknown)?;
        let may = self.may_see_recordings(caller, &machine).await?;
        if may { Ok(recording) } else { Err(unknown()) }
    }

    /// Tells whether a caller may play the recordings of a machine, removed or not.
    ///
    /// # Errors
    /// [`Refusal`] when the caller is gone or the database does not answer.
    pub async fn may_see_recordings(
        &self,
        caller: &Caller,
        machine: &adit_store::Machine,
    ) -> Result<bool, Refusal> {
        let facts = self.facts_of(caller).await?;
        // What a machine showed outlives it.
        let target = crate::access::target_of_past(machine);
        let wanted = Capabilities::of(&[Capability::RecordingView]);
        Ok(adit_domain::policy::authorize(&facts, wanted, &target, self.clock.now()).is_ok())
    }

    /// Opens the file of a recording for the caller, and audits that it was.
    ///
    /// # Errors
    /// [`Code::RecordingDeleted`], or [`Code::RecordingUnknown`] when the file is not there.
    pub async fn open_recording(
        &self,
        caller: &Caller,
        id: SessionId,
        verb: &'static str,
    ) -> Result<(Recording, PathBuf), Refusal> {
        let recording = self.find_recording(caller, id).await?;
        if recording.deleted.is_some() {
            return Err(Code::RecordingDeleted.into());
        }
        let path = self.recorder.path(id);
        if !path.exists() {
            return Err(Code::RecordingUnknown.into());
        }
        let event = self
            .event(
                &format!("recording.{verb}"),
                &caller.actor(),
                format!(
                    "{} opened the recording of a session on {}",
                    caller.principal.name.name(),
                    recording.machine_label
                ),
            )
            .on(audit::party("session", id.0, recording.machine_label.as_str()));
        self.note(event).await;
        Ok((recording, path))
    }

    /// Verifies a recording against its chain, its signature and the audit log.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not see it or its file cannot be read.
    pub async fn verify_recording(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<Report, Refusal> {
        let recording = self.find_recording(caller, id).await?;
        let path = self.recorder.path(id);
        let key = self.audit_key_bytes()?;
        let hash = recording.hash.map(Digest);
        let report = tokio::task::spawn_blocking(move || {
            let found = scan(&path)?;
            let expected = Expected { session: Some(id), hash, keys: &[key] };
            io::Result::Ok(verify(&found, &expected))
        });
        let report = report.await.map_err(|_| Refusal::Code(Code::Internal))?;
        report.map_err(|error| {
            Refusal::Said(
                Code::RecordingUnknown,
                format!("The recording's file cannot be read: {error}."),
            )
        })
    }

    /// Searches what was on screen in one recording.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not see it, the query is empty or too long, or the file cannot be read.
    pub async fn search_recording(
        &self,
        caller: &Caller,
        id: SessionId,
        query: &str,
    ) -> Result<Hits, Refusal> {
        if query.trim().is_empty() || query.chars().count() > MAX_QUERY_CHARS {
            return Err(Refusal::Said(
                Code::RequestInvalid,
                "Search for 1 to 200 characters.".into(),
            ));
        }
        let (_, path) = self.open_recording(caller, id, "search").await?;
        let query = query.to_owned();
        let hits = tokio::task::spawn_blocking(move || search(&path, &query)).await;
        let hits = hits.map_err(|_| Refusal::Code(Code::Internal))?;
        hits.map_err(|error| {
            Refusal::Said(
                Code::RecordingUnknown,
                format!("The recording's file cannot be read: {error}."),
            )
        })
    }

    /// Deletes a recording before its time. Its hash, and who deleted it, remain.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not, or it is gone already.
    pub async fn delete_recording(&self, caller: &Caller, id: SessionId) -> Result<(), Refusal> {
        let recording = self.find_recording(caller, id).await?;
        if recording.deleted.is_some() {
            return Err(Code::RecordingDeleted.into());
        }
        let tenant = self.store.tenant(caller.principal.tenant);
        let machine = tenant.find_machine(recording.machine).await?;
        let machine = machine.ok_or(Refusal::Code(Code::RecordingUnknown))?;
        let wanted = Capabilities::of(&[Capability::RecordingDelete]);
        self.permit_machine(caller, wanted, &machine).await?;
        if self.sessions.tenant(id).is_some() {
            let sentence = "This session is still live. End it first.";
            return Err(Refusal::Said(Code::Conflict, sentence.into()));
        }
        let at = self.clock.now();
        let hash = recording.hash.map_or(Digest::ZERO, Digest);
        let stone = Tombstone {
            session: id,
            hash,
            bytes: recording.bytes,
            deleted_at: at,
            by: caller.principal.name.to_string(),
            reason: "deleted by hand".into(),
        };
        let event = self
            .event(
                "recording.delete",
                &caller.actor(),
                format!(
                    "{} deleted the recording of a session on {}",
                    caller.principal.name.name(),
                    recording.machine_label
                ),
            )
            .on(audit::party("session", id.0, recording.machine_label.as_str()))
            .with("hash", json!(hash.to_string()));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let deletion = Deletion { at, by: caller.principal.name.to_string() };
        if !tenant.delete_recording(id, deletion, tell).await? {
            return Err(Code::RecordingDeleted.into());
        }
        let bytes = writer::tombstone(&stone, &self.keys.audit, &mut Packer::new());
        let replaced = crate::keys::write_private(&self.recorder.path(id), &bytes);
        self.bus.tell(caller.principal.tenant, Change::Recordings);
        replaced.map_err(|error| {
            tracing::error!(session.id = %id, %error, "the file of a deleted recording could not be replaced");
            Refusal::Code(Code::Internal)
        })
    }

    fn audit_key_bytes(&self) -> Result<[u8; 32], Refusal> {
        self.keys.audit_public().try_into().map_err(|_| Refusal::Code(Code::Internal))
    }
}

/// Gives a recording as asciicast v2, piece by piece; a reader that is slow is waited for.
pub fn cast(path: PathBuf) -> mpsc::Receiver<io::Result<Bytes>> {
    let (pieces, out) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let sink = pieces.clone();
        let written = write_cast(&path, &mut |text| sink.blocking_send(Ok(text)).is_ok());
        if let Err(error) = written {
            // A reader that went away does not hear it, and need not.
            let _ = pieces.blocking_send(Err(error));
        }
    });
    out
}

/// Gives a recording's file as it is, piece by piece.
pub fn raw(path: PathBuf) -> mpsc::Receiver<io::Result<Bytes>> {
    let (pieces, out) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let sink = pieces.clone();
        let read = each_piece(&path, |piece| {
            sink.blocking_send(Ok(Bytes::copy_from_slice(piece))).is_ok()
        });
        if let Err(error) = read {
            let _ = pieces.blocking_send(Err(error));
        }
    });
    out
}

fn write_cast(path: &Path, put: &mut dyn FnMut(Bytes) -> bool) -> io::Result<()> {
    let mut reader = Reader::new();
    let mut cast: Option<Cast> = None;
    let mut text = String::new();
    each_piece(path, |piece| {
        reader.push(piece);
        drain(&mut reader, &mut cast, &mut text);
        text.is_empty() || put(Bytes::from(std::mem::take(&mut text)))
    })?;
    reader.close();
    drain(&mut reader, &mut cast, &mut text);
    if let Some(cast) = cast {
        cast.finish(&mut text);
    }
    put(Bytes::from(text));
    Ok(())
}

fn drain(reader: &mut Reader, cast: &mut Option<Cast>, text: &mut String) {
    while let Some(step) = reader.next() {
        match (step, cast.as_mut()) {
            (Step::Chunk(_, Content::Header(header)), None) => {
                *cast = Some(Cast::begin(&header, text))
            }
            (Step::Chunk(_, Content::Items(items)), Some(cast)) => {
                for item in &items {
                    cast.write(item, text);
                }
            }
            (Step::Broken(_), Some(cast)) => cast.broken(text),
            _ => {}
        }
    }
}

fn search(path: &Path, query: &str) -> io::Result<Hits> {
    let mut reader = Reader::new();
    let mut search: Option<Search> = None;
    let mut feed = |reader: &mut Reader| {
        while let Some(step) = reader.next() {
            match (step, search.as_mut()) {
                (Step::Chunk(_, Content::Header(header)), None) => {
                    search = Some(Search::new(query, header.cols, header.rows));
                }
                (Step::Chunk(_, Content::Items(items)), Some(search)) => {
                    for item in &items {
                        search.feed(item);
                    }
                }
                _ => {}
            }
        }
        // A search that spent its budget needs no more of the file.
        !search.as_ref().is_some_and(Search::has_stopped)
    };
    each_piece(path, |piece| {
        reader.push(piece);
        feed(&mut reader)
    })?;
    reader.close();
    feed(&mut reader);
    search.map(Search::finish).ok_or_else(|| io::Error::other("it has no header"))
}

fn scan(path: &Path) -> io::Result<adit_wire::recording::Scanned> {
    let mut scan = Scan::new();
    each_piece(path, |piece| {
        scan.push(piece);
        true
    })?;
    Ok(scan.finish())
}

pub(crate) fn each_piece(path: &Path, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; PIECE];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 || !take(&buffer[..read]) {
            return Ok(());
        }
    }
}
