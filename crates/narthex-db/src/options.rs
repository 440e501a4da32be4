//! How a database is opened.

use std::time::Duration;

/// Which engine stands behind a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// One file, one owner.
    Sqlite,
    /// A server that several nodes may share.
    Postgres,
}

/// Options of [`Db::open`](crate::Db::open). Only the URL has no default.
#[derive(Clone, Debug)]
pub struct DbOptions {
    /// `sqlite:PATH`, or `postgres://…` / `postgresql://…` as libpq takes it. TLS to PostgreSQL is not supported yet:
    /// a URL that asks for it is refused.
    pub url: String,
    /// A write or read that takes longer is stopped and answered with [`DbError::Deadline`](crate::DbError::Deadline).
    /// On SQLite every write waits for the one before, so this also bounds what one bad query costs the others.
    pub write_deadline: Duration,
    /// The same for [`Db::read`](crate::Db::read): scans and exports.
    pub read_deadline: Duration,
    /// How long a call may wait for its turn, or for a connection, before it is answered with `Unavailable`.
    pub queue_timeout: Duration,
    /// How many writes may wait at once; more are answered with `Unavailable`.
    pub queue_limit: usize,
    /// Threads (SQLite) or connections (PostgreSQL) of [`Db::read`](crate::Db::read).
    pub read_lanes: usize,
    /// PostgreSQL connections of [`Db::write`](crate::Db::write). SQLite has one writer whatever this says.
    pub write_lanes: usize,
    /// Connections of [`Db::reader`](crate::Db::reader), opened on demand.
    pub readers: usize,
    /// PostgreSQL: threads that run closures and connections.
    pub executors: usize,
    /// SQLite: above this many bytes of write-ahead log the writer empties it between two batches.
    pub wal_limit: u64,
    /// PostgreSQL: how long a new connection may take.
    pub connect_timeout: Duration,
}

impl DbOptions {
    /// The defaults for `url`.
    pub fn new(url: impl Into<String>) -> DbOptions {
        DbOptions {
            url: url.into(),
            write_deadline: Duration::from_secs(5),
            read_deadline: Duration::from_secs(30),
            queue_timeout: Duration::from_secs(5),
            queue_limit: 4096,
            read_lanes: 2,
            write_lanes: 12,
            readers: 16,
            executors: 1,
            wal_limit: 64 << 20,
            connect_timeout: Duration::from_secs(3),
        }
    }
}
