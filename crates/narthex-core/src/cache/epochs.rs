//! Versions of scopes, as this node knows them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use narthex_db::{Db, DbError, Tx, p};

/// How often every node polls.
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(250);
/// After this long without a good poll the caches are not believed.
const STALE_AFTER_MICROS: i64 = 1_000_000;
/// "Never", but far enough from the edge to be subtracted from.
const NEVER: i64 = i64::MIN / 2;

/// A version that a transaction raised: hand it out of the closure and to [`super::Caches::apply`] once the transaction is committed.
/// Without that the writing node itself would serve the old row until its next poll.
#[derive(Debug, Clone)]
#[must_use = "apply it to the caches after the commit"]
pub struct Bump {
    scope: String,
    version: i64,
}

/// Raises the version of `scope` within the transaction that changes its rows.
pub async fn bump(tx: &mut Tx, scope: &str) -> Result<Bump, DbError> {
    let (version,) = tx
        .one(
            "INSERT INTO cache_epoch (scope, version) VALUES ($1, 1) \
             ON CONFLICT (scope) DO UPDATE SET version = cache_epoch.version + 1 RETURNING version",
            &p![scope],
        )
        .await?;
    Ok(Bump { scope: scope.to_owned(), version })
}

/// [`bump`] of each of these scopes once, in one order for everybody, so that two transactions never wait for each other.
pub(crate) async fn bump_all(tx: &mut Tx, mut scopes: Vec<String>) -> Result<Vec<Bump>, DbError> {
    scopes.sort_unstable();
    scopes.dedup();
    let mut bumps = Vec::with_capacity(scopes.len());
    for scope in scopes {
        bumps.push(bump(tx, &scope).await?);
    }
    Ok(bumps)
}

/// The known versions, and when they were last confirmed.
pub struct Epochs {
    known: RwLock<HashMap<String, Arc<AtomicI64>>>,
    started: Instant,
    /// When the last good poll began, in microseconds after `started`. Asked on every lookup, so it takes no lock.
    polled: AtomicI64,
}

impl Epochs {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { known: RwLock::default(), started: Instant::now(), polled: AtomicI64::new(NEVER) })
    }

    /// The shared version of a scope; 0 until it was ever bumped.
    pub(crate) fn scope(&self, scope: &str) -> Arc<AtomicI64> {
        if let Some(version) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(scope) {
            return Arc::clone(version);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(scope.to_owned()).or_default())
    }

    pub(crate) fn apply(&self, bump: Bump) {
        let Bump { scope, version } = bump;
        self.raise(&scope, version);
    }

    /// Versions only rise: a poll that was overtaken by a local commit must not bring an old row back.
    fn raise(&self, scope: &str, version: i64) {
        self.scope(scope).fetch_max(version, Ordering::AcqRel);
    }

    /// Whether the last good poll is recent enough to believe the caches.
    pub fn fresh(&self) -> bool {
        self.uptime_micros() - self.polled.load(Ordering::Acquire) < STALE_AFTER_MICROS
    }

    fn uptime_micros(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// Reads all versions once.
    pub async fn poll(&self, db: &Db) -> Result<(), DbError> {
        // Versions may change while they are read: they are as old as the beginning of the poll.
        let began = self.uptime_micros();
        let rows: Vec<(String, i64)> = db.reader().await?.all("SELECT scope, version FROM cache_epoch", &[]).await?;
        for (scope, version) in rows {
            self.raise(&scope, version);
        }
        self.polled.fetch_max(began, Ordering::AcqRel);
        Ok(())
    }

    /// Polls for as long as the node lives.
    pub(crate) async fn keep_polling(self: Arc<Self>, db: Db) {
        let mut ticks = tokio::time::interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            match self.poll(&db).await {
                Ok(()) => failing = false,
                Err(error) if failing => tracing::debug!(%error, "cache versions still cannot be polled"),
                Err(error) => {
                    failing = true;
                    tracing::warn!(%error, "cache versions cannot be polled; rows are read from the database until they can");
                }
            }
        }
    }
}
