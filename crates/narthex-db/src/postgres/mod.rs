//! PostgreSQL: closures on executor threads, each lane with a connection of its own; point reads on the caller's task.
//!
//! Connections are plain TCP or Unix sockets: TLS to the server is not supported yet, and a URL that demands it is
//! refused rather than weakened.

mod connection;
mod lanes;
mod migrate;
mod readers;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::LocalSet;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Config, NoTls};

#[cfg(feature = "testing")]
pub(crate) use connection::chain;
pub(crate) use connection::{Pg, cell};
use readers::Stack;

use crate::metrics::Metrics;
use crate::migrate::{Applied, Migration};
use crate::queue::FairQueue;
use crate::{DbError, DbOptions, Reader};

pub(crate) struct Postgres {
    pub(crate) writes: Arc<FairQueue>,
    pub(crate) reads: Arc<FairQueue>,
    server: Arc<Server>,
    stack: Arc<Stack>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How to reach the server, and what all connections to it share.
struct Server {
    config: Config,
    options: DbOptions,
    metrics: Arc<Metrics>,
    /// Raised by a migration: connections with plans of an older schema are replaced.
    generation: AtomicU64,
    /// The first executor, on which connections outside the lanes live.
    home: Handle,
    /// Shared by the transactions that write; one that others have undone again and again has it for itself.
    turn: Arc<tokio::sync::RwLock<()>>,
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Write,
    Read,
    Migrate,
}

impl Postgres {
    pub(crate) async fn open(options: &DbOptions, metrics: &Arc<Metrics>) -> Result<Postgres, DbError> {
        let config = config(options)?;
        let writes = Arc::new(FairQueue::new(options.queue_limit, options.queue_timeout, Arc::clone(metrics), true));
        let reads = Arc::new(FairQueue::new(options.queue_limit, options.queue_timeout, Arc::clone(metrics), false));
        let count = options.executors.max(1);
        let mut runtimes = Vec::new();
        for _ in 0..count {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtimes.push(runtime.map_err(|error| DbError::Unavailable(error.to_string()))?);
        }
        let server = Arc::new(Server {
            config,
            options: options.clone(),
            metrics: Arc::clone(metrics),
            generation: AtomicU64::new(0),
            home: runtimes[0].handle().clone(),
            turn: Arc::default(),
        });
        let mut threads = Vec::new();
        for (number, runtime) in runtimes.into_iter().enumerate() {
            // Lanes are dealt out evenly; each executor has at least one of each kind.
            let share = |lanes: usize| (lanes.max(count) + count - 1 - number) / count;
            let (write_lanes, read_lanes) = (share(options.write_lanes), share(options.read_lanes));
            let (server, writes, reads) = (Arc::clone(&server), Arc::clone(&writes), Arc::clone(&reads));
            let body = move || {
                let local = LocalSet::new();
                let mut running = Vec::new();
                for _ in 0..write_lanes {
                    running.push(local.spawn_local(lanes::lane(
                        Arc::clone(&server),
                        Arc::clone(&writes),
                        Purpose::Write,
                    )));
                }
                for _ in 0..read_lanes {
                    running.push(local.spawn_local(lanes::lane(
                        Arc::clone(&server),
                        Arc::clone(&reads),
                        Purpose::Read,
                    )));
                }
                runtime.block_on(local.run_until(async {
                    for lane in running {
                        if lane.await.is_err() {
                            tracing::error!("a database lane panicked");
                        }
                    }
                }));
            };
            let thread = std::thread::Builder::new().name("narthex-db-pg".into()).spawn(body);
            threads.push(thread.map_err(|error| DbError::Unavailable(error.to_string()))?);
        }
        let stack = Arc::new(Stack::new(Arc::clone(&server)));
        // From here on a failure drops `postgres`, which lets the threads end.
        let postgres = Postgres { writes, reads, server, stack, threads: Mutex::new(threads) };
        postgres.check().await?;
        Ok(postgres)
    }

    /// Connects once, so that a wrong URL is told at start and not at the first request.
    async fn check(&self) -> Result<(), DbError> {
        let mut reader = self.reader().await?;
        let (encoding,): (String,) = reader.one("SHOW server_encoding", &[]).await?;
        if !encoding.eq_ignore_ascii_case("UTF8") {
            return Err(DbError::Options(format!("the database is encoded in {encoding}, not UTF8")));
        }
        let (durable,): (String,) = reader.one("SHOW synchronous_commit", &[]).await?;
        if durable.eq_ignore_ascii_case("off") {
            tracing::warn!("synchronous_commit is off: a crash of the server can lose acknowledged writes");
        }
        Ok(())
    }

    pub(crate) async fn reader(&self) -> Result<Reader, DbError> {
        Stack::reader(&self.stack).await
    }

    pub(crate) async fn migrate(&self, migrations: &[Migration<'_>]) -> Result<Vec<u32>, DbError> {
        let pg = self.server.connect_at_home(Purpose::Migrate).await?;
        let done = migrate::migrate(pg, migrations).await;
        self.server.generation.fetch_add(1, Ordering::Relaxed);
        done
    }

    pub(crate) async fn applied(&self) -> Result<Applied, DbError> {
        migrate::applied(&mut self.server.connect_at_home(Purpose::Migrate).await?).await
    }

    /// Takes no more work, finishes what is queued, and closes the connections.
    pub(crate) fn close(&self) {
        self.writes.close();
        self.reads.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a database thread panicked");
            }
        }
        self.stack.clear();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.writes.close();
        self.reads.close();
    }
}

fn config(options: &DbOptions) -> Result<Config, DbError> {
    // The driver's message does not repeat the URL, which may hold a password.
    let mut config: Config =
        options.url.parse().map_err(|error: tokio_postgres::Error| DbError::Options(connection::chain(&error)))?;
    if matches!(config.get_ssl_mode(), SslMode::Require) {
        return Err(DbError::Options(
            "TLS to PostgreSQL is not supported yet: sslmode must be disable or prefer".into(),
        ));
    }
    config.ssl_mode(SslMode::Disable);
    if config.get_application_name().is_none() {
        config.application_name("narthex");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(options.connect_timeout);
    }
    // The driver's default is two hours; a vanished server or a forgetful firewall should be noticed sooner.
    config.keepalives_idle(config.get_keepalives_idle().min(Duration::from_secs(30)));
    // Of several hosts only the primary will do.
    if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    Ok(config)
}

impl Server {
    /// Opens a connection whose driver runs on the calling task's runtime.
    async fn connect(&self, purpose: Purpose) -> Result<Pg, DbError> {
        let unavailable = |error: tokio_postgres::Error| DbError::Unavailable(connection::chain(&error));
        // Twice the time per host: `connect_timeout` covers the TCP handshake, not a server that then says nothing.
        let limit = self.options.connect_timeout * 2;
        let connecting = tokio::time::timeout(limit, self.config.connect(NoTls));
        let (client, driver) = connecting
            .await
            .map_err(|_| DbError::Unavailable("the server does not answer".into()))?
            .map_err(unavailable)?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::warn!(error = %connection::chain(&error), "connection to PostgreSQL lost");
            }
        });
        let generation = self.generation.load(Ordering::Relaxed);
        let pg = Pg::new(client, purpose == Purpose::Read, generation);
        let settings = settings(purpose, &self.options);
        let set = tokio::time::timeout(limit, pg.control(&settings));
        set.await
            .map_err(|_| DbError::Unavailable("the server does not answer".into()))?
            .map_err(|fault| DbError::Unavailable(fault.error.to_string()))?;
        Metrics::add(&self.metrics.connects, 1);
        Ok(pg)
    }

    /// Opens a connection whose driver runs on an executor: the caller's runtime may end before the connection does.
    async fn connect_at_home(self: &Arc<Server>, purpose: Purpose) -> Result<Pg, DbError> {
        let server = Arc::clone(self);
        let connecting = self.home.spawn(async move { server.connect(purpose).await });
        connecting.await.unwrap_or_else(|_| Err(DbError::Unavailable("the database is closed".into())))
    }
}

/// Session settings. The timeouts are a second line behind the lane's own deadline: they end what a vanished client has
/// left running.
fn settings(purpose: Purpose, options: &DbOptions) -> String {
    let millis = |duration: Duration| duration.as_millis().max(1);
    match purpose {
        Purpose::Write => {
            let limit = options.write_deadline + Duration::from_secs(1);
            // A sequential scan reads the whole table as far as SERIALIZABLE is concerned, and conflicts with every other writer of it;
            // on tables that are still small the planner prefers it.
            format!(
                "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}; SET enable_seqscan = off",
                millis(limit),
                millis(limit * 2)
            )
        }
        Purpose::Read => format!(
            "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
             SET default_transaction_read_only = on",
            millis(options.read_deadline),
            millis(options.read_deadline * 2)
        ),
        Purpose::Migrate => "SET statement_timeout = 0".to_owned(),
    }
}
