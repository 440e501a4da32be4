//! Counters that the server exports; all count since the handle was opened unless said otherwise.

use std::sync::atomic::{AtomicU64, Ordering};

/// Plain counters and gauges, read with [`Metrics::get`].
#[derive(Debug, Default)]
pub struct Metrics {
    /// SQLite: group commits. PostgreSQL: equal to `commits`.
    pub batches: AtomicU64,
    /// Closures whose transaction was committed.
    pub commits: AtomicU64,
    /// Closures that were rolled back: an `Err`, a panic, a failed commit.
    pub rollbacks: AtomicU64,
    /// Runs of a closure beyond its first.
    pub retries: AtomicU64,
    /// Calls refused because the queue was full or the wait too long.
    pub refused: AtomicU64,
    /// Commits whose outcome could not be told.
    pub unknown_outcomes: AtomicU64,
    /// Writes that wait for their turn now.
    pub queue_depth: AtomicU64,
    /// SQLite: bytes of write-ahead log in use now.
    pub wal_bytes: AtomicU64,
    /// SQLite: checkpoints that moved pages into the database file.
    pub checkpoints: AtomicU64,
    /// PostgreSQL: connections opened.
    pub connects: AtomicU64,
}

impl Metrics {
    /// The value of one counter, for example `Metrics::get(&db.metrics().commits)`.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set(counter: &AtomicU64, value: u64) {
        counter.store(value, Ordering::Relaxed);
    }
}
