//! Following a job: what is durable first, then what comes, until it is over.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use adit_core::Caller;
use adit_core::job::output::{Chunk, Stream};
use adit_core::session::Admission;
use adit_core::session::outbox::ToViewer;
use adit_core::session::viewer::FromViewer;
use adit_domain::JobId;
use adit_wire::frame::Kind;
use axum::body::Body;
use axum::http::header;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Stream as Stream_, StreamExt as _};
use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

use super::shown;
use crate::app::App;

/// What a follower wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// From this position on.
    pub from: u64,
    /// Of one stream only.
    pub only: Option<Stream>,
    /// As Server-Sent Events.
    pub events: bool,
}

/// One thing for a follower.
enum Piece {
    Output(Chunk),
    End(Box<super::Job>),
}

/// Pieces that wait for a slow follower; then its job's output waits in the relay, which has a bound of its own.
const PIECES: usize = 16;

/// How long a follower waits for its job to move before it looks by itself: at another gateway it moves unheard.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long what a slow follower missed takes to be durable.
const FILL: Duration = Duration::from_millis(25);

/// How often a quiet stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Answers with the output of a job as it comes.
pub(super) fn answer(
    app: Arc<App>,
    caller: Caller,
    job: adit_store::Job,
    wanted: Wanted,
) -> Response {
    let (pieces, out) = mpsc::channel(PIECES);
    let tasks = app.gateway.tasks.clone();
    tasks.spawn(async move {
        let follower = Follower { app: Arc::clone(&app), caller, job, from: wanted.from, pieces };
        tokio::select! {
            () = app.gateway.tasks.ending() => {}
            () = follower.run() => {}
        }
    });
    let pieces = futures_util::stream::unfold(out, |mut out| async move {
        out.recv().await.map(|piece| (piece, out))
    });
    let kept = pieces.filter(move |piece| {
        let keep = match piece {
            Piece::Output(chunk) => wanted.only.is_none_or(|only| only == chunk.stream),
            Piece::End(_) => wanted.events,
        };
        std::future::ready(keep)
    });
    if wanted.events { as_events(kept) } else { as_bytes(kept) }
}

fn as_events(pieces: impl Stream_<Item = Piece> + Send + 'static) -> Response {
    let events = pieces.map(|piece| {
        let event = match piece {
            Piece::Output(Chunk { stream, position, bytes }) => {
                let end = position + bytes.len() as u64;
                let data = json!({
                    "stream": stream.as_str(), "position": position, "base64": STANDARD.encode(&bytes),
                });
                Event::default().event("output").id(end.to_string()).data(data.to_string())
            }
            Piece::End(job) => Event::default().event("end").data(json!(job).to_string()),
        };
        Ok::<Event, Infallible>(event)
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn as_bytes(pieces: impl Stream_<Item = Piece> + Send + 'static) -> Response {
    let bytes = pieces.filter_map(|piece| {
        let bytes = match piece {
            Piece::Output(chunk) => Some(Ok::<_, Infallible>(chunk.bytes)),
            Piece::End(_) => None,
        };
        std::future::ready(bytes)
    });
    let plain = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (plain, Body::from_stream(bytes)).into_response()
}

struct Follower {
    app: Arc<App>,
    caller: Caller,
    job: adit_store::Job,
    from: u64,
    pieces: mpsc::Sender<Piece>,
}

/// Waits until a job moves at this gateway, or may have.
async fn moved(moves: &mut broadcast::Receiver<JobId>, job: JobId) {
    while let Ok(other) = moves.recv().await {
        if other == job {
            return;
        }
    }
}

/// Why sending ends.
enum Stop {
    /// The follower is gone, or what it follows cannot be read.
    Gone,
    /// What comes next is not what follows on what was sent: the follower was too slow, or the job too fast. It is in the recording.
    Hole,
}

impl Follower {
    async fn run(mut self) {
        loop {
            // From before the look, so that nothing happens between it and the wait.
            let mut moves = self.app.gateway.jobs.moves();
            if self.look().await.is_err() || self.send_durable().await.is_err() {
                return;
            }
            if self.job.state.is_end() {
                let end = Piece::End(Box::new(shown(&self.app, &self.caller, &self.job)));
                // A follower that went away need not hear it.
                let _ = self.pieces.send(end).await;
                return;
            }
            let wait = match self.send_live().await {
                Err(Stop::Gone) => return,
                Err(Stop::Hole) => FILL,
                Ok(()) => LOOK_EVERY,
            };
            tokio::select! {
                () = self.pieces.closed() => return,
                _ = timeout(wait, moved(&mut moves, self.job.id)) => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), Stop> {
        let found = self.app.gateway.find_job(&self.caller, self.job.id).await;
        self.job = found.map_err(|_| Stop::Gone)?;
        Ok(())
    }

    async fn send_durable(&mut self) -> Result<(), Stop> {
        let chunks =
            self.app.gateway.job_output(&self.job, self.from).await.map_err(|_| Stop::Gone)?;
        for chunk in chunks {
            // A recording may have a hole of its own, which is marked there; what follows it is still wanted.
            self.from = self.from.max(chunk.position);
            self.send(chunk).await?;
        }
        Ok(())
    }

    /// Sends what a running job writes until its session closes; nothing of a job whose session is not here yet, or no more.
    async fn send_live(&mut self) -> Result<(), Stop> {
        let Some(session) = self.job.session else { return Ok(()) };
        let followed = self.app.gateway.follow_job(&self.caller, session, self.from).await;
        let Some(admission) = followed.map_err(|_| Stop::Gone)? else { return Ok(()) };
        let sent = self.pass_on(&admission).await;
        admission.seat.control.send(FromViewer::Gone).await;
        sent
    }

    async fn pass_on(&mut self, admission: &Admission) -> Result<(), Stop> {
        let mut taken = VecDeque::new();
        loop {
            tokio::select! {
                () = self.pieces.closed() => return Err(Stop::Gone),
                () = admission.seat.inbox.take(&mut taken) => {}
            }
            while let Some(item) = taken.pop_front() {
                match item {
                    ToViewer::Data { kind, position, bytes } => {
                        let stream =
                            if kind == Kind::Stderr { Stream::Stderr } else { Stream::Stdout };
                        self.send(Chunk { stream, position, bytes }).await?;
                    }
                    ToViewer::Control(_) => {}
                    ToViewer::Close(_) => return Ok(()),
                }
            }
            let position = self.from;
            if !admission.seat.control.send(FromViewer::Ack { position }).await {
                return Ok(());
            }
        }
    }

    /// Sends what was not sent before.
    async fn send(&mut self, chunk: Chunk) -> Result<(), Stop> {
        if chunk.position > self.from {
            return Err(Stop::Hole);
        }
        let end = chunk.position + chunk.bytes.len() as u64;
        let skip = usize::try_from(self.from.saturating_sub(chunk.position)).unwrap_or(usize::MAX);
        if skip >= chunk.bytes.len() {
            return Ok(());
        }
        let position = chunk.position + skip as u64;
        let rest = Chunk { stream: chunk.stream, position, bytes: chunk.bytes.slice(skip..) };
        self.from = end;
        self.pieces.send(Piece::Output(rest)).await.map_err(|_| Stop::Gone)
    }
}
