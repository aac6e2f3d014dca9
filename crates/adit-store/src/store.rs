//! The store: opening, closing, and the two handles that verbs hang on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_domain::{GatewayId, Secret, TenantId, Timestamp};
use futures_util::future::BoxFuture;
use sqlx::ConnectOptions as _;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::gateway::{Hold, Opener};
use crate::reads::Reads;
use crate::sql::args;
use crate::tx::{Scope, Tx};
use crate::writer::{Changes, Writer, WriterTask};
use crate::{NewEvent, StoreError, migrate, postgres, sqlite};

/// Which database.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// One file, and its log beside it.
    Sqlite {
        /// The file's path; its folder must be there.
        path: PathBuf,
    },
    /// A server.
    Postgres {
        /// `postgres://user@host:port/database`.
        url: Secret<String>,
    },
}

/// Who opens it.
pub struct StoreOptions {
    /// This gateway's lasting identity; its audit chain is named after it.
    pub gateway: GatewayId,
    /// What people call this gateway.
    pub gateway_name: String,
    /// When.
    pub now: Timestamp,
    /// Who counts commits.
    pub meter: Arc<dyn Meter>,
}

/// Counts what the writer does.
pub trait Meter: Send + Sync {
    /// Notes a commit.
    fn committed(&self, operations: usize, took: Duration);
    /// Notes a batch that was not committed.
    fn failed(&self);
}

/// Counts nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoMeter;

impl Meter for NoMeter {
    fn committed(&self, _operations: usize, _took: Duration) {}
    fn failed(&self) {}
}

/// The database, not bound to a tenant.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// The database as one tenant sees it: every statement through it is scoped to that tenant.
#[derive(Clone)]
pub struct TenantStore {
    store: Store,
    tenant: TenantId,
}

struct Inner {
    gateway: GatewayId,
    writer: Writer,
    reads: Reads,
    file: Option<PathBuf>,
    access: watch::Receiver<u64>,
    broken: watch::Receiver<bool>,
    stop: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the database, brings its schema up to date and takes the gateway's identity.
    ///
    /// # Errors
    /// [`StoreError::GatewayInUse`] while another process holds the identity, [`StoreError::SchemaNewer`] for a database of a newer
    /// version, [`StoreError::Unavailable`] when it does not answer.
    pub async fn open(config: StoreConfig, options: StoreOptions) -> Result<Self, StoreError> {
        let (mut opener, reads, file) = prepare(&config, options.gateway)?;
        let mut tx = Tx::new(opener.connect().await?, options.gateway);
        opener.lock(&mut tx.connection.link(), options.gateway).await?;
        let dialect = tx.dialect();
        migrate::migrate(&mut tx.connection.link(), dialect, migrate::NEWEST).await?;
        if matches!(reads, Reads::Postgres(_)) {
            postgres::warn_of_superuser(&mut tx.connection.link()).await?;
        }
        let hold = Hold::take(&mut tx, &options.gateway_name, options.now).await?;
        let (access, access_seen) = watch::channel(0);
        let (broken, broken_seen) = watch::channel(false);
        let stop = Arc::new(Notify::new());
        let meter = options.meter;
        let task = WriterTask { tx, hold, opener, meter, access, broken, stop: stop.clone() };
        let (writer, task) = Writer::start(task);
        let inner = Inner {
            gateway: options.gateway,
            writer,
            reads,
            file,
            access: access_seen,
            broken: broken_seen,
            stop,
            task: Mutex::new(Some(task)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Gives the database as a tenant sees it.
    pub fn tenant(&self, tenant: TenantId) -> TenantStore {
        TenantStore { store: self.clone(), tenant }
    }

    /// Gives this gateway's identity.
    pub fn gateway(&self) -> GatewayId {
        self.inner.gateway
    }

    /// Tells whether other gateways can be on the same database.
    pub fn is_shared(&self) -> bool {
        self.inner.file.is_none()
    }

    /// Gives a counter that moves after the commit of whatever decisions rest on: grants, roles, principals, credentials, machines.
    pub fn access_version(&self) -> watch::Receiver<u64> {
        self.inner.access.clone()
    }

    /// Loads the same counter from the database, where other gateways' changes show.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn load_access_version(&self) -> Result<i64, StoreError> {
        let sql = "SELECT CAST(coalesce(sum(access_version), 0) AS BIGINT) FROM tenants";
        let row = self.reads().row(Scope::System, sql, args![]).await?;
        row.ok_or(StoreError::Corrupt("access version"))?.int()
    }

    /// Tells whether the database answers, for reading and, after a write that failed, for writing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when not, after two seconds at the latest.
    pub async fn check(&self) -> Result<(), StoreError> {
        let look = async {
            if *self.inner.broken.borrow() {
                self.write(crate::silent, |_| Box::pin(async { Ok(()) })).await?;
            }
            self.load_access_version().await.map(|_| ())
        };
        tokio::time::timeout(CHECK_WAIT, look)
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("looking whether it answers")))
    }

    /// Writes a copy of an SQLite database to a new file while the gateway runs.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for PostgreSQL, which has tools of its own; [`StoreError::Unavailable`] when the copy fails.
    pub async fn backup_to(&self, path: &Path) -> Result<(), StoreError> {
        let Some(file) = &self.inner.file else {
            return Err(StoreError::NotFound("database file"));
        };
        let text = path.to_str().ok_or(StoreError::NotFound("path in UTF-8"))?.to_owned();
        sqlite::make_private(path)?;
        let mut link = sqlite::options(file).connect().await?;
        let copied = sqlx::query("VACUUM INTO $1").bind(text).execute(&mut link).await;
        sqlx::Connection::close(link).await?;
        copied.map(|_| ()).map_err(StoreError::from)
    }

    /// Lets the writer finish what waits, and gives the database and the gateway's identity back.
    pub async fn close(&self) {
        self.inner.stop.notify_one();
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the writer did not end well");
        }
        self.inner.reads.close().await;
    }

    pub(crate) fn reads(&self) -> &Reads {
        &self.inner.reads
    }

    /// Writes outside any tenant; the work enters the tenant as soon as it knows it.
    pub(crate) async fn write<T, E, W>(&self, tell: E, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: FnOnce(&T) -> Vec<NewEvent> + Send + 'static,
        W: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        self.inner.writer.write((Scope::System, Changes::Freely), tell, work).await
    }
}

impl TenantStore {
    /// Gives the tenant's id.
    pub fn id(&self) -> TenantId {
        self.tenant
    }

    /// Gives the database, not bound to the tenant.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) async fn write<T, E, W>(&self, tell: E, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: FnOnce(&T) -> Vec<NewEvent> + Send + 'static,
        W: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let how = (Scope::Tenant(self.tenant), Changes::Freely);
        self.store.inner.writer.write(how, tell, work).await
    }

    /// Writes what changes by one statement at most: quicker than [`Self::write`], see [`Changes::Once`].
    pub(crate) async fn write_once<T, E, W>(&self, tell: E, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: FnOnce(&T) -> Vec<NewEvent> + Send + 'static,
        W: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let how = (Scope::Tenant(self.tenant), Changes::Once);
        self.store.inner.writer.write(how, tell, work).await
    }

    pub(crate) async fn rows(
        &self,
        sql: &'static str,
        own: Vec<crate::sql::Arg>,
    ) -> Result<Vec<crate::sql::Row>, StoreError> {
        self.store.reads().rows(Scope::Tenant(self.tenant), sql, own).await
    }

    pub(crate) async fn row(
        &self,
        sql: &'static str,
        own: Vec<crate::sql::Arg>,
    ) -> Result<Option<crate::sql::Row>, StoreError> {
        self.store.reads().row(Scope::Tenant(self.tenant), sql, own).await
    }
}

/// How long a look at the database's health may take; whoever watches asks again.
const CHECK_WAIT: Duration = Duration::from_secs(2);

fn prepare(
    config: &StoreConfig,
    gateway: GatewayId,
) -> Result<(Opener, Reads, Option<PathBuf>), StoreError> {
    match config {
        StoreConfig::Sqlite { path } => {
            let mut lock = path.clone().into_os_string();
            lock.push(".lock");
            let options = sqlite::options(path);
            let reads = Reads::Sqlite(sqlite::readers(&options));
            let opener = Opener::sqlite(options, Path::new(&lock))?;
            sqlite::make_private(path)?;
            Ok((opener, reads, Some(path.clone())))
        }
        StoreConfig::Postgres { url } => {
            let options = postgres::options(url.expose(), gateway)?;
            let reads = Reads::Postgres(postgres::readers(&options));
            Ok((Opener::Postgres { options, pid: 0 }, reads, None))
        }
    }
}
