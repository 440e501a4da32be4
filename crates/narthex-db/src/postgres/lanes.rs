//! A lane: one connection on an executor thread, one transaction at a time.

use std::collections::hash_map::RandomState;
use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};

use super::{Purpose, Server};
use crate::DbError;
use crate::job::{Job, LocalFuture, panic_text};
use crate::metrics::Metrics;
use crate::queue::{FairQueue, Work};
use crate::tx::{Fate, Fault, Link, Tx};

/// Runs of one closure at most, the first included.
const TRIES: u32 = 8;

/// From this try on a transaction wants to run alone on this node: rivals that undo each other's work again and again would all use up
/// their tries side by side, and one after the other they succeed.
const ALONE: u32 = 4;

/// How long it waits for that. What runs for longer waits for something itself, and would hold everybody up.
const ALONE_LIMIT: Duration = Duration::from_millis(500);

/// How long a COMMIT may take before its outcome counts as unknown. Longer than the closure's deadline on purpose: a
/// slow disk or a synchronous standby is not a reason to give up on a write that will most likely stand.
const COMMIT_LIMIT: Duration = Duration::from_secs(30);

/// How long the probe of a commit of unknown outcome is tried.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// Takes closures from `queue` until that is closed.
pub(crate) async fn lane(server: Arc<Server>, queue: Arc<FairQueue>, purpose: Purpose) {
    let mut lane = Lane { server, purpose, tx: None };
    while let Some(work) = queue.pop().await {
        let Work::Closure(mut job) = work else { continue };
        let run = lane.transaction(job.as_mut()).await;
        if purpose == Purpose::Write {
            let metrics = &lane.server.metrics;
            if matches!(run, Run::Committed) {
                Metrics::add(&metrics.batches, 1);
                Metrics::add(&metrics.commits, 1);
            } else {
                Metrics::add(&metrics.rollbacks, 1);
            }
        }
        let error = match run {
            Run::Committed | Run::Refused => None,
            Run::Failed(error) | Run::Again(error) | Run::Unknown(error) => Some(error),
        };
        crate::answer(job, error);
    }
}

struct Lane {
    server: Arc<Server>,
    purpose: Purpose,
    tx: Option<Tx>,
}

/// What one run of a closure came to.
enum Run {
    /// The closure answered `Ok` and its transaction stands.
    Committed,
    /// The closure answered `Err`: that is the caller's answer.
    Refused,
    /// The layer answers in the closure's place. Nothing was written.
    Failed(DbError),
    /// Nothing was written, and another run may succeed.
    Again(DbError),
    /// COMMIT was sent and its answer lost.
    Unknown(DbError),
}

/// Held while a transaction runs.
#[allow(dead_code)] // to be dropped
enum Turn {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Lane {
    async fn transaction(&mut self, job: &mut dyn Job) -> Run {
        let mut tries = 1;
        loop {
            let turn = self.turn(tries).await;
            let run = self.run(job).await;
            drop(turn);
            match run {
                Run::Again(error) if tries == TRIES => {
                    return Run::Failed(match error {
                        DbError::Contention { .. } => DbError::Contention { tries },
                        other => other,
                    });
                }
                Run::Again(_) => {
                    Metrics::add(&self.server.metrics.retries, 1);
                    tokio::time::sleep(pause(tries)).await;
                    tries += 1;
                }
                Run::Unknown(error) if self.purpose == Purpose::Write => return self.settle(job, error).await,
                done => return done,
            }
        }
    }

    /// Lets a transaction run beside the others, or alone.
    async fn turn(&self, tries: u32) -> Option<Turn> {
        if self.purpose != Purpose::Write {
            return None;
        }
        let turn = Arc::clone(&self.server.turn);
        if tries < ALONE {
            return Some(Turn::Shared(turn.read_owned().await));
        }
        tokio::time::timeout(ALONE_LIMIT, turn.write_owned()).await.ok().map(Turn::Alone)
    }

    /// Finds out, by the caller's probe, what became of a COMMIT of unknown outcome. A run that did not write what the
    /// probe looks for is repeated; should the lost COMMIT arrive at the server after all, one of the two violates the
    /// uniqueness of that very row.
    async fn settle(&mut self, job: &mut dyn Job, mut unknown: DbError) -> Run {
        Metrics::add(&self.server.metrics.unknown_outcomes, 1);
        if !job.has_probe() {
            return Run::Unknown(unknown);
        }
        job.keep();
        let started = Instant::now();
        let mut verdict = None;
        let mut tries = 0;
        while started.elapsed() < SETTLE_LIMIT {
            tries += 1;
            tokio::time::sleep(pause(tries.min(TRIES))).await;
            match (self.committed(job).await, verdict.take()) {
                (Ok(true), _) => {
                    job.restore();
                    return Run::Committed;
                }
                // Nothing was committed before that run, so its answer holds.
                (Ok(false), Some(answer)) => return answer,
                (Ok(false), None) => {}
                (Err(_), undecided) => {
                    verdict = undecided;
                    continue;
                }
            }
            Metrics::add(&self.server.metrics.retries, 1);
            match self.run(job).await {
                Run::Committed => return Run::Committed,
                Run::Again(_) => {}
                Run::Unknown(error) => {
                    job.keep();
                    unknown = error;
                }
                // Perhaps the answer to its own earlier self: "already exists".
                answer @ (Run::Refused | Run::Failed(_)) => verdict = Some(answer),
            }
        }
        Run::Unknown(unknown)
    }

    /// Asks the probe, in a transaction of its own.
    async fn committed(&mut self, job: &dyn Job) -> Result<bool, DbError> {
        self.begin().await.map_err(|run| match run {
            Run::Failed(error) | Run::Again(error) | Run::Unknown(error) => error,
            Run::Committed | Run::Refused => DbError::Sql("BEGIN has no such outcome".into()),
        })?;
        let limit = self.limit();
        let Some(tx) = &mut self.tx else { return Err(DbError::Unavailable("no connection".into())) };
        let waiting = waiting(tx);
        let Some(probe) = job.committed(tx) else { return Err(DbError::Sql("no probe".into())) };
        let answer = guarded(probe, &waiting, limit).await.and_then(|found| found);
        self.rollback().await;
        answer
    }

    fn limit(&self) -> Duration {
        let options = &self.server.options;
        if self.purpose == Purpose::Read { options.read_deadline } else { options.write_deadline }
    }

    /// Connects if need be and begins a transaction; the error is a finished run.
    async fn begin(&mut self) -> Result<(), Run> {
        let generation = self.server.generation.load(Ordering::Relaxed);
        let fresh = |tx: &Tx| matches!(&tx.link, Link::Pg(pg) if pg.is_usable() && pg.generation == generation);
        if !self.tx.as_ref().is_some_and(fresh) {
            self.tx = None;
            let pg = self.server.connect(self.purpose).await.map_err(Run::Failed)?;
            self.tx = Some(Tx::new(Link::Pg(pg), true));
        }
        let Some(tx) = &mut self.tx else { return Err(Run::Failed(DbError::Unavailable("no connection".into()))) };
        tx.failure = None;
        let statement = match self.purpose {
            // A snapshot without serialization failures: readers neither wait nor make writers run again.
            Purpose::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Purpose::Write | Purpose::Migrate => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        };
        let begun = match &tx.link {
            Link::Pg(pg) => tokio::time::timeout(self.server.options.connect_timeout, pg.control(statement)).await,
            Link::Lite(_) => return Err(Run::Failed(DbError::Sql("not a PostgreSQL lane".into()))),
        };
        let error = match begun {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Fault { error, .. })) => error,
            Err(_) => DbError::Unavailable("the server does not answer".into()),
        };
        self.tx = None;
        Err(Run::Again(error))
    }

    /// One run of the closure, from BEGIN to COMMIT.
    async fn run(&mut self, job: &mut dyn Job) -> Run {
        if let Err(run) = self.begin().await {
            return run;
        }
        let limit = self.limit();
        let Some(tx) = &mut self.tx else { return Run::Failed(DbError::Unavailable("no connection".into())) };
        let waiting = waiting(tx);
        let outcome = guarded(job.attempt(tx), &waiting, limit).await;
        let failure = tx.failure.take();
        let fate = failure.as_ref().map(|failure| failure.fate);
        match (outcome, failure) {
            (Ok(true), None) if self.purpose == Purpose::Write => self.commit().await,
            (Ok(true), None) => {
                self.rollback().await;
                Run::Committed
            }
            (Ok(_), Some(failure)) if fate == Some(Fate::Retry) => {
                self.rollback().await;
                Run::Again(failure.error)
            }
            (Ok(_), Some(failure)) if fate == Some(Fate::Lost) => {
                self.tx = None;
                Run::Again(failure.error)
            }
            (outcome, failure) => {
                self.rollback().await;
                if fate == Some(Fate::Storage) {
                    // Perhaps another host of the URL does better.
                    self.tx = None;
                }
                match (outcome, failure) {
                    (Err(error), _) => Run::Failed(error),
                    (Ok(true), Some(failure)) => Run::Failed(DbError::Poisoned(failure.error.to_string())),
                    (Ok(_), _) => Run::Refused,
                }
            }
        }
    }

    async fn commit(&mut self) -> Run {
        let committed = match self.tx.as_ref().map(|tx| &tx.link) {
            Some(Link::Pg(pg)) => tokio::time::timeout(COMMIT_LIMIT, pg.commit()).await,
            _ => return Run::Failed(DbError::Unavailable("no connection".into())),
        };
        match committed {
            Ok(Ok(())) => Run::Committed,
            // The server has rolled back; the connection is as good as before.
            Ok(Err(Fault { fate: Fate::Retry, error })) => Run::Again(error),
            Ok(Err(Fault { error: error @ DbError::UnknownOutcome(_), .. })) => {
                self.tx = None;
                Run::Unknown(error)
            }
            Ok(Err(Fault { error, .. })) => Run::Failed(error),
            Err(_) => {
                self.drop_connection();
                Run::Unknown(DbError::UnknownOutcome("the server does not answer".into()))
            }
        }
    }

    async fn rollback(&mut self) {
        let Some(Link::Pg(pg)) = self.tx.as_ref().map(|tx| &tx.link) else { return };
        let undone = pg.is_usable()
            && matches!(
                tokio::time::timeout(self.server.options.connect_timeout, pg.control("ROLLBACK")).await,
                Ok(Ok(()))
            );
        if !undone {
            self.drop_connection();
        }
    }

    /// Closes the connection, and has the server stop what it still does for it.
    fn drop_connection(&mut self) {
        if let Some(Tx { link: Link::Pg(pg), .. }) = self.tx.take() {
            tokio::task::spawn_local(pg.cancel());
        }
    }
}

fn waiting(tx: &Tx) -> Arc<AtomicBool> {
    match &tx.link {
        Link::Pg(pg) => Arc::clone(&pg.waiting),
        Link::Lite(_) => Arc::default(),
    }
}

/// Drives a closure's future: a panic, an await of something other than the server, and the deadline end it with an
/// error. The same rules hold on SQLite, where a foreign await could not work at all.
async fn guarded<T>(mut future: LocalFuture<'_, T>, waiting: &AtomicBool, limit: Duration) -> Result<T, DbError> {
    let driven = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Err(payload) => Poll::Ready(Err(DbError::Panicked(panic_text(payload.as_ref())))),
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) if waiting.load(Ordering::Relaxed) => Poll::Pending,
        Ok(Poll::Pending) => Poll::Ready(Err(DbError::ForeignAwait)),
    });
    let result = tokio::time::timeout(limit, driven).await;
    // What the closure holds is dropped here, and its destructors are its own code.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
        return Err(DbError::Panicked(panic_text(payload.as_ref())));
    }
    result.unwrap_or_else(|_| Err(DbError::Deadline(format!("a closure ran longer than {} ms", limit.as_millis()))))
}

/// How long to wait before run `tries + 1`: doubling from 2 ms, each with half of it at random, so that those who
/// collided do not meet again.
fn pause(tries: u32) -> Duration {
    let base = 1_000u64 << tries.min(8);
    // Any spread will do here, and no test depends on it: the hasher's seed is random, the thread's time is not asked.
    let random = RandomState::new().build_hasher().finish();
    Duration::from_micros(base / 2 + random % base)
}
