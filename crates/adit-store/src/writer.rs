//! The one writer of a process: a bounded queue, and a commit for everything that waits in it.
//!
//! An operation runs in a savepoint, so that its failure is its own; its audit events are linked to the gateway's chain there. When
//! all are done the new end of the chain is written to the gateway's row, guarded by the fencing number, and one commit makes the
//! lot durable. Only then is anybody answered. A commit that fails leaves nothing behind: see [`WriterTask::settle`].
//!
//! What costs is the hand-over of each statement to SQLite's thread. So an operation whose one change is one statement has no
//! savepoint there ([`Changes::Once`]), and the events of a batch are written together ([`Tx::flush`]).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use adit_wire::audit::Chain;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::gateway::{Hold, Opener};
use crate::sql::Dialect;
use crate::tx::{Scope, Tx};
use crate::{Meter, NewEvent, StoreError};

/// The most operations in one commit: bounds how long the first waits for the last.
const MAX_BATCH: usize = 256;

/// Operations that may wait. When it is full, callers wait for a place.
const QUEUE: usize = 1024;

/// How long an operation may wait for its turn; longer than SQLite's wait for a foreign lock, so that a backup fails nobody.
const TURN_WAIT: Duration = Duration::from_secs(7);

/// How long one batch may take on a server that does not answer; its statements have a shorter limit of their own.
const BATCH_WAIT: Duration = Duration::from_secs(15);

/// The way to the writer.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
}

/// How an operation changes what is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Changes {
    /// By as many statements as it likes: a savepoint undoes those of an operation that fails.
    Freely,
    /// By one statement at most, which SQLite undoes by itself when it fails. Should the operation fail after it, the batch is undone.
    Once,
}

/// An operation in the queue.
trait Job: Send {
    fn scope(&self) -> Scope;
    fn changes(&self) -> Changes;
    /// Takes the operation on, unless its caller has given up.
    fn start(&self) -> bool;
    /// Does the work and gives the events that tell of it.
    fn run<'c>(&'c mut self, tx: &'c mut Tx) -> BoxFuture<'c, Result<Vec<NewEvent>, StoreError>>;
    /// Notes that the operation failed by itself.
    fn fail(&mut self, error: StoreError);
    /// Answers the caller, now that the batch is settled.
    fn answer(self: Box<Self>, batch: Result<(), StoreError>);
}

const WAITING: u8 = 0;
const STARTED: u8 = 1;
const GIVEN_UP: u8 = 2;

struct Operation<T, W, E> {
    scope: Scope,
    changes: Changes,
    work: Option<W>,
    tell: Option<E>,
    outcome: Option<Result<T, StoreError>>,
    turn: Arc<AtomicU8>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl Writer {
    pub(crate) fn start(task: WriterTask) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue }, tokio::spawn(task.run(waiting)))
    }

    /// Runs an operation in the next batch and answers once it is durable.
    pub(crate) async fn write<T, W, E>(
        &self,
        (scope, changes): (Scope, Changes),
        tell: E,
        work: W,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        E: FnOnce(&T) -> Vec<NewEvent> + Send + 'static,
    {
        let turn = Arc::new(AtomicU8::new(WAITING));
        let (reply, mut answer) = oneshot::channel();
        let operation = Operation {
            scope,
            changes,
            work: Some(work),
            tell: Some(tell),
            outcome: None,
            turn: turn.clone(),
            reply,
        };
        let wait = async {
            let place = self.queue.reserve().await.map_err(|_| closed())?;
            place.send(Box::new(operation));
            (&mut answer).await.map_err(|_| closed())
        };
        if let Ok(answered) = tokio::time::timeout(TURN_WAIT, wait).await {
            return answered?;
        }
        // Not begun: it never will be. Begun: the batch has limits of its own, and only its end is the truth.
        match turn.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Err(StoreError::unavailable("waiting for the writer")),
            Err(_) => answer.await.map_err(|_| closed())?,
        }
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("writing to a store that was closed")
}

impl<T, W, E> Job for Operation<T, W, E>
where
    T: Send + 'static,
    W: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    E: FnOnce(&T) -> Vec<NewEvent> + Send + 'static,
{
    fn scope(&self) -> Scope {
        self.scope
    }

    fn changes(&self) -> Changes {
        self.changes
    }

    fn start(&self) -> bool {
        let started =
            self.turn.compare_exchange(WAITING, STARTED, Ordering::AcqRel, Ordering::Acquire);
        started.is_ok() && !self.reply.is_closed()
    }

    fn run<'c>(&'c mut self, tx: &'c mut Tx) -> BoxFuture<'c, Result<Vec<NewEvent>, StoreError>> {
        async move {
            let (Some(work), Some(tell)) = (self.work.take(), self.tell.take()) else {
                return Err(StoreError::unavailable("running an operation twice"));
            };
            let value = work(tx).await?;
            let events = tell(&value);
            self.outcome = Some(Ok(value));
            Ok(events)
        }
        .boxed()
    }

    fn fail(&mut self, error: StoreError) {
        self.outcome = Some(Err(error));
    }

    fn answer(self: Box<Self>, batch: Result<(), StoreError>) {
        let outcome = match (batch, self.outcome) {
            (_, Some(Err(own))) => Err(own),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(StoreError::unavailable("waiting for the writer")),
        };
        // A caller that went away needs no answer.
        let _ = self.reply.send(outcome);
    }
}

/// The task that owns the writing connection.
pub(crate) struct WriterTask {
    pub(crate) tx: Tx,
    pub(crate) hold: Hold,
    pub(crate) opener: Opener,
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) access: watch::Sender<u64>,
    pub(crate) broken: watch::Sender<bool>,
    pub(crate) stop: Arc<Notify>,
}

/// What undoes an operation that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Guard {
    /// It is alone: the batch's end.
    Batch,
    /// Its savepoint.
    Savepoint,
    /// The one statement that changes anything, by failing.
    Statement,
}

/// What a batch came to.
enum Done {
    /// It is durable, and the gateway's row says this now.
    Committed(Hold),
    /// No operation succeeded, so there was nothing to commit.
    Nothing,
}

impl WriterTask {
    async fn run(mut self, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            let came = tokio::select! {
                biased;
                () = self.stop.notified() => {
                    // What waits is still written; nothing new comes in.
                    waiting.close();
                    continue;
                }
                came = waiting.recv_many(&mut batch, MAX_BATCH) => came,
            };
            if came == 0 {
                break;
            }
            let jobs: Vec<Box<dyn Job>> = batch.drain(..).filter(|job| job.start()).collect();
            if !jobs.is_empty() {
                self.commit(jobs).await;
            }
        }
        if let Err(error) = self.opener.unlock(&mut self.tx.connection.link()).await {
            tracing::warn!(%error, "the gateway's identity was not given back; the server will see to it");
        }
        if let Err(error) = self.tx.connection.close().await {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    async fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let began = Instant::now();
        let settled = match self.attempt(&mut jobs).await {
            Ok(Done::Committed(hold)) => {
                self.hold = hold;
                self.meter.committed(jobs.len(), began.elapsed());
                if self.tx.access_changed() {
                    self.access.send_modify(|version| *version += 1);
                }
                Ok(())
            }
            Ok(Done::Nothing) => Ok(()),
            Err(error) => {
                self.meter.failed();
                tracing::error!(error = %chain_of(&error), "a batch was not committed");
                self.settle(error).await
            }
        };
        for job in jobs {
            job.answer(settled.clone());
        }
    }

    async fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Done, StoreError> {
        if *self.broken.borrow() {
            self.recover().await?;
        }
        tokio::time::timeout(BATCH_WAIT, self.run_batch(jobs))
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("waiting for a batch")))
    }

    async fn run_batch(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Done, StoreError> {
        self.begin().await?;
        let alone = jobs.len() == 1;
        let mut chain = self.hold.chain;
        let mut succeeded = 0;
        for job in jobs {
            let guard = self.guard(job.as_ref(), alone);
            if guard == Guard::Savepoint {
                self.tx.plain("SAVEPOINT operation").await?;
            }
            let outcome = self.run_one(job.as_mut(), &mut chain).await;
            if self.settle_one(job.as_mut(), guard, outcome).await? {
                succeeded += 1;
            }
        }
        if succeeded == 0 {
            self.tx.plain("ROLLBACK").await?;
            return Ok(Done::Nothing);
        }
        self.tx.flush().await?;
        let hold = Hold { batch: self.hold.batch + 1, chain, ..self.hold };
        hold.write(&mut self.tx).await?;
        self.tx.plain("COMMIT").await?;
        Ok(Done::Committed(hold))
    }

    /// Says what undoes an operation that fails.
    fn guard(&self, job: &dyn Job, alone: bool) -> Guard {
        match (alone, self.tx.dialect(), job.changes()) {
            (true, ..) => Guard::Batch,
            (false, Dialect::Sqlite, Changes::Once) => Guard::Statement,
            (false, ..) => Guard::Savepoint,
        }
    }

    /// Keeps or undoes what an operation did, and tells whether it is kept.
    async fn settle_one(
        &mut self,
        job: &mut dyn Job,
        guard: Guard,
        outcome: Result<(), StoreError>,
    ) -> Result<bool, StoreError> {
        let error = match outcome {
            Ok(()) if guard == Guard::Savepoint => {
                self.tx.plain("RELEASE SAVEPOINT operation").await?;
                return Ok(true);
            }
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        if error.breaks_connection() || guard == Guard::Statement && self.tx.has_changed() {
            return Err(error);
        }
        job.fail(error);
        if guard == Guard::Savepoint {
            self.tx.undo().await?;
        }
        Ok(false)
    }

    /// Begins a transaction; a connection that a server ended while nobody used it is replaced, as nothing was begun on it.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let begun = self.tx.begin().await;
        if begun.is_ok() || self.tx.dialect() == Dialect::Sqlite {
            return begun;
        }
        self.recover().await?;
        self.tx.begin().await
    }

    /// Runs one operation and links its events; a failure leaves the chain as it was.
    async fn run_one(&mut self, job: &mut dyn Job, chain: &mut Chain) -> Result<(), StoreError> {
        self.tx.enter_operation(job.scope()).await?;
        let before = *chain;
        let run = async {
            let events = job.run(&mut self.tx).await?;
            self.tx.append(chain, events).await
        };
        let outcome = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!("an operation panicked; it is undone");
            Err(StoreError::Corrupt("operation"))
        });
        outcome.inspect_err(|_| *chain = before)
    }

    /// Finds out what became of a batch that failed, and makes the connection good for the next.
    ///
    /// SQLite: the failed batch is rolled back, and a small transaction is written over whatever of it reached the log, so that no
    /// later recovery can find it. PostgreSQL: the answer to a commit may have been lost on the way, so the gateway's row is read
    /// on a new connection; its batch number says whether the commit took place.
    async fn settle(&mut self, error: StoreError) -> Result<(), StoreError> {
        self.broken.send_replace(true);
        if matches!(error, StoreError::Fenced) {
            return Err(error);
        }
        let expected = self.hold.batch + 1;
        match self.recover().await {
            Ok(()) if self.hold.batch == expected => {
                tracing::warn!("the batch had been committed; only its answer was lost");
                self.access.send_modify(|version| *version += 1);
                Ok(())
            }
            Ok(()) => Err(error),
            Err(again) => {
                tracing::error!(error = %chain_of(&again), "the database is still out of reach");
                Err(error)
            }
        }
    }

    async fn recover(&mut self) -> Result<(), StoreError> {
        let recovering = self.opener.recover(&mut self.tx, self.hold);
        self.hold = tokio::time::timeout(BATCH_WAIT, recovering)
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("coming back to the database")))?;
        self.broken.send_replace(false);
        tracing::info!("the database answers again");
        Ok(())
    }
}

/// Writes an error with everything below it.
fn chain_of(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        below = cause.source();
    }
    text
}
