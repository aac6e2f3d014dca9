//! A gateway's identity in the database: who holds it, and where its audit chain ends.
//!
//! Two things keep a second process out. A lock that lasts as long as its holder (a lock on a file beside SQLite's, an advisory lock
//! of PostgreSQL's on the writing connection) refuses it at the start. The fencing number, which every taking-over raises, stops a
//! holder that only believes to be one: its next batch finds another number and is not committed.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use adit_domain::{GatewayId, TenantId, Timestamp};
use adit_wire::audit::Chain;
use adit_wire::digest::Digest;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::sql::{Link, Row, args};
use crate::tx::{Connection, Scope, Tx};
use crate::{Store, StoreError};

/// What the holder of a gateway's identity knows of its row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    pub(crate) gateway: GatewayId,
    pub(crate) fence: i64,
    pub(crate) batch: i64,
    pub(crate) chain: Chain,
}

/// Where one gateway's audit chain ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainHead {
    /// Whose chain it is.
    pub gateway: GatewayId,
    /// Its last event.
    pub chain: Chain,
}

/// A gateway as the others know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGateway {
    /// Which.
    pub id: GatewayId,
    /// What people call it.
    pub name: String,
    /// Where people reach it.
    pub url: String,
    /// Where machines reach it.
    pub machines_url: String,
    /// When it last said that it lives.
    pub seen_at: Option<Timestamp>,
}

impl Store {
    /// Says that this gateway lives, and where it is reached.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn show_gateway(
        &self,
        at: Timestamp,
        url: &str,
        machines_url: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE gateways SET seen_at = $1, url = $2, machines_url = $3 WHERE id = $4";
        let own = args![at, url.to_owned(), machines_url.to_owned(), self.gateway()];
        self.write(crate::silent, move |tx| {
            Box::pin(async move { tx.run(sql, own).await.map(|_| ()) })
        })
        .await
    }

    /// Finds a gateway.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_gateway(&self, id: GatewayId) -> Result<Option<ListedGateway>, StoreError> {
        let sql = "SELECT id, name, url, machines_url, seen_at FROM gateways WHERE id = $1";
        let row = self.reads().row(Scope::System, sql, args![id]).await?;
        row.map(|mut row| {
            Ok(ListedGateway {
                id: GatewayId(row.uuid()?),
                name: row.text()?,
                url: row.text()?,
                machines_url: row.text()?,
                seen_at: row.maybe_time()?,
            })
        })
        .transpose()
    }

    /// Lists every gateway's chain, those without an event too.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_chains(&self) -> Result<Vec<ChainHead>, StoreError> {
        let sql = "SELECT id, head_seq, head_hash FROM gateways ORDER BY id";
        let rows = self.reads().rows(Scope::System, sql, args![]).await?;
        rows.into_iter().map(|mut row| read_head(&mut row)).collect()
    }
}

fn read_head(row: &mut Row) -> Result<ChainHead, StoreError> {
    Ok(ChainHead { gateway: GatewayId(row.uuid()?), chain: read_chain_end(row)? })
}

fn read_chain_end(row: &mut Row) -> Result<Chain, StoreError> {
    Ok(Chain { seq: row.count()?, hash: Digest(row.hash()?) })
}

impl Hold {
    /// Takes the identity, making its row where there is none; a row that somebody took away goes on where the events end.
    pub(crate) async fn take(tx: &mut Tx, name: &str, now: Timestamp) -> Result<Self, StoreError> {
        let sql = "INSERT INTO gateways (id, tenant_id, name, fence, batch, head_seq, head_hash, created_at, started_at) \
             VALUES ($1, $2, $3, 1, 0, (SELECT coalesce(max(seq), 0) FROM audit_events WHERE gateway_id = $1), \
             coalesce((SELECT hash FROM audit_events WHERE gateway_id = $1 ORDER BY seq DESC LIMIT 1), $4), $5, $5) \
             ON CONFLICT (id) DO UPDATE SET fence = gateways.fence + 1, name = $3, started_at = $5 \
             RETURNING fence, batch, head_seq, head_hash";
        tx.begin().await?;
        tx.enter(Scope::System).await?;
        let gateway = tx.gateway;
        let row = tx.row(sql, args![gateway, TenantId::SEED, name, [0; 32], now]).await?;
        let hold = read(gateway, row.ok_or(StoreError::Fenced)?)?;
        tx.plain("COMMIT").await?;
        Ok(hold)
    }

    /// Writes the new end of the chain; fails when somebody else took the identity.
    pub(crate) async fn write(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let sql = "UPDATE gateways SET batch = $1, head_seq = $2, head_hash = $3 WHERE id = $4 AND fence = $5";
        tx.enter(Scope::System).await?;
        let seq = crate::sql::stored(self.chain.seq);
        let own = args![self.batch, seq, self.chain.hash.0, self.gateway, self.fence];
        if tx.run(sql, own).await? == 0 {
            return Err(StoreError::Fenced);
        }
        Ok(())
    }

    /// Reads the row again, by a change that is harmless however often it takes place: its answer may be lost as well.
    async fn renew(&self, tx: &mut Tx) -> Result<Self, StoreError> {
        let sql = "UPDATE gateways SET recoveries = recoveries + 1 WHERE id = $1 AND fence = $2 \
             RETURNING fence, batch, head_seq, head_hash";
        tx.begin().await?;
        tx.enter(Scope::System).await?;
        let row = tx.row(sql, args![self.gateway, self.fence]).await?;
        let hold = read(self.gateway, row.ok_or(StoreError::Fenced)?)?;
        tx.plain("COMMIT").await?;
        Ok(hold)
    }
}

fn read(gateway: GatewayId, mut row: Row) -> Result<Hold, StoreError> {
    Ok(Hold { gateway, fence: row.int()?, batch: row.int()?, chain: read_chain_end(&mut row)? })
}

/// How the writing connection is made, at the start and again.
pub(crate) enum Opener {
    Sqlite {
        options: SqliteConnectOptions,
        /// Held as long as the writer lives.
        _lock: File,
    },
    Postgres {
        options: PgConnectOptions,
        /// The server's process behind the writing connection.
        pid: i64,
    },
}

impl Opener {
    /// Locks SQLite's database for this process.
    pub(crate) fn sqlite(options: SqliteConnectOptions, lock: &Path) -> Result<Self, StoreError> {
        let file = crate::sqlite::lock_file(lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Self::Sqlite { options, _lock: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::GatewayInUse),
            Err(TryLockError::Error(error)) => Err(sqlx::Error::Io(error).into()),
        }
    }

    pub(crate) async fn connect(&self) -> Result<Connection, StoreError> {
        Ok(match self {
            Self::Sqlite { options, .. } => Connection::Sqlite(options.connect().await?),
            Self::Postgres { options, .. } => Connection::Postgres(options.connect().await?),
        })
    }

    /// Takes PostgreSQL's lock on the gateway's identity; SQLite's is held already.
    ///
    /// A holder that died holds it until the server notices, so it is asked for more than once.
    pub(crate) async fn lock(
        &mut self,
        link: &mut Link<'_>,
        gateway: GatewayId,
    ) -> Result<(), StoreError> {
        let Self::Postgres { pid, .. } = self else { return Ok(()) };
        let sql = "SELECT pg_try_advisory_lock($1), CAST(pg_backend_pid() AS BIGINT)";
        for _ in 0..LOCK_TRIES {
            let mut rows = link.rows(sql, &[lock_number(gateway).into()]).await?;
            let row = rows.first_mut().ok_or(StoreError::GatewayInUse)?;
            if row.flag()? {
                *pid = row.int()?;
                return Ok(());
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Err(StoreError::GatewayInUse)
    }

    /// Gives PostgreSQL's lock back at once; the server would do so some time after the connection's end.
    pub(crate) async fn unlock(&self, link: &mut Link<'_>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { .. } => Ok(()),
            Self::Postgres { .. } => link.raw("SELECT pg_advisory_unlock_all()").await,
        }
    }

    /// Makes the writing connection good again after a failure, and tells where the gateway's row stands.
    pub(crate) async fn recover(&mut self, tx: &mut Tx, hold: Hold) -> Result<Hold, StoreError> {
        match self {
            Self::Sqlite { .. } => {
                // There may be no transaction left to roll back, which is as good.
                let _ = tx.plain("ROLLBACK").await;
                if let Ok(hold) = hold.renew(tx).await {
                    return Ok(hold);
                }
                tx.connection = self.connect().await?;
                hold.renew(tx).await
            }
            Self::Postgres { pid, .. } => {
                let old = *pid;
                let mut connection = self.connect().await?;
                self.lock_again(&mut connection.link(), hold.gateway, old).await?;
                tx.connection = connection;
                hold.renew(tx).await
            }
        }
    }

    /// Ends what may be left of the lost connection on the server, and takes the lock that it held.
    async fn lock_again(
        &mut self,
        link: &mut Link<'_>,
        gateway: GatewayId,
        old: i64,
    ) -> Result<(), StoreError> {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE CAST(pid AS BIGINT) = $1 AND usename = current_user AND application_name = $2";
        link.rows(end, &[old.into(), crate::postgres::application(gateway).into()]).await?;
        self.lock(link, gateway).await
    }
}

/// How often the lock is asked for before giving up; with the pause, two seconds.
const LOCK_TRIES: u32 = 40;

/// How long to wait before asking again; the server needs about a millisecond to end a process of its own.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Gives the number under which PostgreSQL locks a gateway's identity.
fn lock_number(gateway: GatewayId) -> i64 {
    let (high, low) = gateway.0.as_u64_pair();
    (high ^ low).cast_signed()
}
