//! One database handle over SQLite and PostgreSQL.
//!
//! A transaction is a closure that may be run again ([`Db::write`], [`Db::read`]); point reads go through a
//! [`Reader`] on the caller's own task. Both engines give the same answers, and one conformance suite holds them to it.
//!
//! Isolation: writes are serializable. On SQLite one writer thread runs them one after the other and commits many with
//! one fsync; on PostgreSQL they run SERIALIZABLE and are tried again on conflict, at most eight times,
//! the last of them alone on the node.

mod error;
mod health;
mod job;
mod metrics;
mod migrate;
mod options;
mod postgres;
mod queue;
mod row;
mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;
mod tx;
mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

pub use error::DbError;
pub use health::Health;
pub use metrics::Metrics;
pub use migrate::{Migration, MigrationStatus};
pub use options::{DbOptions, Engine};
pub use row::{Cell, FromRow, FromValue, Row};
pub use tx::{Reader, Tx};
pub use value::Value;

use job::{Closure, Job, NoProbe};
use postgres::Postgres;
use queue::Work;
use sqlite::Sqlite;

/// The share that [`Db::write`] uses.
const DEFAULT_SHARE: u64 = 0;

/// A database. Cheap to clone; the last clone to go lets the connections go, [`Db::close`] waits for that.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    metrics: Arc<Metrics>,
    checks: health::Checks,
}

enum Store {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Db {
    /// Opens the database of `options.url`: takes ownership of the file (SQLite; a second owner is refused with
    /// [`DbError::Owned`]) or connects (PostgreSQL). The schema is left as it is; see [`Db::migrate`].
    pub async fn open(options: &DbOptions) -> Result<Db, DbError> {
        let metrics = Arc::new(Metrics::default());
        let store = if let Some(path) = options.url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(":memory:") {
                return Err(DbError::Options("sqlite: takes the path of a file".into()));
            }
            Store::Sqlite(Sqlite::open(Path::new(path), options, &metrics)?)
        } else if options.url.starts_with("postgres://") || options.url.starts_with("postgresql://") {
            Store::Postgres(Postgres::open(options, &metrics).await?)
        } else {
            return Err(DbError::Options("the database URL begins with sqlite: or postgres://".into()));
        };
        Ok(Db { inner: Arc::new(Inner { store, metrics, checks: health::Checks::default() }) })
    }

    /// Which engine stands behind this handle.
    pub fn engine(&self) -> Engine {
        match self.inner.store {
            Store::Sqlite(_) => Engine::Sqlite,
            Store::Postgres(_) => Engine::Postgres,
        }
    }

    /// Counters for the server to export.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Runs `f` in a serializable transaction and commits it if it answers `Ok`; `Err` rolls back. `Ok` from here means
    /// committed and on disk.
    ///
    /// `f` may run several times and must await nothing but its transaction. A panic, a foreign await or a failed
    /// statement that it swallowed costs this call alone. Dropping the returned future does not stop a write that has
    /// started.
    pub async fn write<F, T, E>(&self, f: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.submit(DEFAULT_SHARE, false, f, None::<NoProbe>).await
    }

    /// [`Db::write`] on behalf of `share`, for example an environment: shares take turns, so that the thousand waiting
    /// writes of one delay another's by one.
    pub async fn write_for<F, T, E>(&self, share: u64, f: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.submit(share, false, f, None::<NoProbe>).await
    }

    /// [`Db::write_for`] with an answer to a COMMIT of unknown outcome: `committed` then looks up, in a transaction of
    /// its own, something that only `f` writes (a row by an id made outside of `f`). If it is there, the caller gets
    /// the result of the run that wrote it; if not, `f` runs again. Without a probe, and when the probe cannot be asked
    /// either, the answer is [`DbError::UnknownOutcome`].
    pub async fn write_checked<P, F, T, E>(&self, share: u64, committed: P, f: F) -> Result<T, E>
    where
        P: AsyncFn(&mut Tx) -> Result<bool, DbError> + Send + 'static,
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.submit(share, false, f, Some(committed)).await
    }

    /// Runs `f` on one consistent snapshot, read only, on a small pool: for scans and lists.
    pub async fn read<F, T, E>(&self, f: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.submit(DEFAULT_SHARE, true, f, None::<NoProbe>).await
    }

    /// A connection for point reads on the caller's own task. Give it back soon: their number is bounded.
    pub async fn reader(&self) -> Result<Reader, DbError> {
        match &self.inner.store {
            Store::Sqlite(sqlite) => sqlite.reader().await,
            Store::Postgres(postgres) => postgres.reader().await,
        }
    }

    async fn submit<P, F, T, E>(&self, share: u64, read: bool, f: F, probe: Option<P>) -> Result<T, E>
    where
        P: AsyncFn(&mut Tx) -> Result<bool, DbError> + Send + 'static,
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (job, answer) = Closure::new(f, probe);
        let (Store::Sqlite(Sqlite { writes, reads, .. }) | Store::Postgres(Postgres { writes, reads, .. })) =
            &self.inner.store;
        let queue = if read { reads } else { writes };
        queue.push(share, Work::Closure(Box::new(job)));
        answer.await.unwrap_or_else(|_| Err(E::from(DbError::UnknownOutcome("the database thread ended".into()))))
    }

    /// Applies the migrations that are pending, in order, each in a transaction; returns the ids that were applied.
    /// Refuses, with [`DbError::Schema`], a database that a newer program has migrated and a migration whose text has
    /// changed since. Several nodes may call this on one PostgreSQL at the same time.
    pub async fn migrate(&self, migrations: &[Migration<'_>]) -> Result<Vec<u32>, DbError> {
        match &self.inner.store {
            Store::Sqlite(sqlite) => {
                let owned = migrate::Owned::new(migrations);
                sqlite.alone(move |conn| sqlite::migrate(conn, &owned.list())).await
            }
            Store::Postgres(postgres) => postgres.migrate(migrations).await,
        }
    }

    /// Where each migration stands: those of the list, and those that only the database knows.
    pub async fn migration_status(&self, migrations: &[Migration<'_>]) -> Result<Vec<MigrationStatus>, DbError> {
        let applied = match &self.inner.store {
            Store::Sqlite(sqlite) => sqlite.alone(|conn| sqlite::applied(conn)).await?,
            Store::Postgres(postgres) => postgres.applied().await?,
        };
        Ok(migrate::status(migrations, &applied, self.engine()))
    }

    /// Takes no more work, finishes what is queued, closes the connections and gives the data folder up.
    pub async fn close(self) {
        let ended = tokio::task::spawn_blocking(move || match &self.inner.store {
            Store::Sqlite(sqlite) => sqlite.close(),
            Store::Postgres(postgres) => postgres.close(),
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "closing the database panicked");
        }
    }
}

/// Answers a job. Its error conversion and its destructors are the caller's code: a panic in them ends the job, not the
/// lane.
fn answer(job: Box<dyn Job>, error: Option<DbError>) {
    if catch_unwind(AssertUnwindSafe(|| job.answer(error))).is_err() {
        tracing::error!("answering a transaction closure panicked");
    }
}
