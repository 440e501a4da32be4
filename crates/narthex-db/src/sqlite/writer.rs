//! The writer thread: many closures, each in its savepoint, one COMMIT and one fsync, then the answers.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::wal::CheckpointMode;

use super::connection::{BUSY_TIMEOUT, Lite, Purpose};
use crate::job::{Job, panic_text};
use crate::metrics::Metrics;
use crate::queue::{Alone, FairQueue, Popped, Work};
use crate::tx::{Failure, Fate, Link, Tx};
use crate::{DbError, DbOptions};

/// A batch takes no more closures than this, and no new one after `BATCH_TIME`: the first member waits for the last.
const BATCH: usize = 256;
const BATCH_TIME: Duration = Duration::from_millis(10);

/// How long a batch waits for company before it is committed, once, while batches are usually of `COMPANY` members and more: under
/// load a sync is shared by all who come within that time, and who writes alone never waits (docs/decisions/0021).
const HOLD: Duration = Duration::from_millis(2);
const COMPANY: f32 = 4.0;

/// Bytes of log after which the background checkpoint runs, or a quarter of the limit if that is less. A page that is
/// written by many commits is moved once per checkpoint: 16 MiB cost 5 to 10 % less CPU per write than 4 MiB.
const CHECKPOINT_EVERY: u64 = 16 << 20;

/// How long the writer, with everyone waiting behind it, waits for readers to let go of the log.
const RESTART_PATIENCE: Duration = Duration::from_millis(20);

/// What came of one run of a closure.
pub(crate) enum Attempt {
    /// The closure answered `Ok` and no statement failed.
    Ok,
    /// The closure answered `Err`: that is the caller's answer.
    Refused,
    /// The layer answers in the closure's place.
    Failed(DbError),
}

/// Runs a closure once. SQLite answers every statement at once, so a future that is not ready after one poll waits for
/// something else, and would stall every other writer.
pub(crate) fn run_once(tx: &mut Tx, job: &mut dyn Job) -> Attempt {
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let mut future = pin!(job.attempt(tx));
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }));
    match polled {
        Err(payload) => {
            let text = panic_text(payload.as_ref());
            // What tokio's timers and sockets say when they are awaited on a thread that is not the runtime's.
            let foreign = text.contains("there is no reactor running");
            Attempt::Failed(if foreign { DbError::ForeignAwait } else { DbError::Panicked(text) })
        }
        Ok(Poll::Pending) => Attempt::Failed(DbError::ForeignAwait),
        Ok(Poll::Ready(false)) => Attempt::Refused,
        Ok(Poll::Ready(true)) => match &tx.failure {
            None => Attempt::Ok,
            Some(failure) => Attempt::Failed(DbError::Poisoned(failure.error.to_string())),
        },
    }
}

/// Whether the last write could be stored.
#[derive(Default)]
pub(crate) struct Health {
    trouble: Mutex<Option<String>>,
}

impl Health {
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, trouble: Option<String>) {
        let mut current = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*current, &trouble) {
            (None, Some(why)) => tracing::error!(why, "writes to the database fail"),
            (Some(_), None) => tracing::info!("writes to the database succeed again"),
            _ => {}
        }
        *current = trouble;
    }
}

/// What the writer tells the checkpointer.
#[derive(Default)]
struct Log {
    /// Bytes in the log, as of the last commit.
    bytes: AtomicU64,
    wanted: Mutex<Wanted>,
    wake: Condvar,
    /// Held while the background checkpoint runs: SQLite has only one at a time, and a second is refused at once.
    running: Mutex<()>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    #[default]
    Nothing,
    Checkpoint,
    Stop,
}

impl Log {
    fn want(&self, wanted: Wanted) {
        let mut current = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != Wanted::Stop {
            *current = wanted;
        }
        self.wake.notify_one();
    }
}

struct Writer {
    path: PathBuf,
    tx: Tx,
    queue: Arc<FairQueue>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    log: Arc<Log>,
    deadline: Duration,
    wal_limit: u64,
    checkpoint_every: u64,
    /// Log size at which the next background checkpoint is asked for.
    next_checkpoint: u64,
    /// Log size at which the writer next tries to empty it.
    next_restart: u64,
    /// Log size after the batch before.
    last_bytes: u64,
    /// Members of a batch, on average over the last few.
    usual: f32,
}

/// What the end of the writer thread brings with it.
struct Exit {
    queue: Arc<FairQueue>,
    log: Arc<Log>,
}

impl Drop for Exit {
    fn drop(&mut self) {
        self.queue.close();
        while let Some(work) = self.queue.try_pop() {
            self.queue.refuse(work, "the writer has ended");
        }
        self.log.want(Wanted::Stop);
    }
}

/// Opens the writer's connection on the calling thread, so that errors are the caller's, and starts the threads.
pub(crate) fn start(
    path: &Path,
    options: &DbOptions,
    queue: &Arc<FairQueue>,
    health: &Arc<Health>,
    metrics: &Arc<Metrics>,
    lock: &Arc<File>,
) -> Result<Vec<JoinHandle<()>>, DbError> {
    let log = Arc::new(Log::default());
    let checkpoint_every = CHECKPOINT_EVERY.min(options.wal_limit / 4);
    let mut writer = Writer {
        path: path.to_owned(),
        tx: open(path, &log)?,
        queue: Arc::clone(queue),
        health: Arc::clone(health),
        metrics: Arc::clone(metrics),
        log: Arc::clone(&log),
        deadline: options.write_deadline,
        wal_limit: options.wal_limit,
        checkpoint_every,
        next_checkpoint: checkpoint_every,
        next_restart: options.wal_limit,
        last_bytes: 0,
        usual: 0.0,
    };
    let checkpointer = Lite::open(path, Purpose::Checkpoint)?;
    let (stop, counters) = (Arc::clone(&log), Arc::clone(metrics));
    // The folder is owned for as long as anything may still write to it, however the handle went away.
    let (writer_lock, checkpointer_lock) = (Arc::clone(lock), Arc::clone(lock));
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|error| DbError::Unavailable(error.to_string()))
    };
    let background = spawn(
        "narthex-db-log",
        Box::new(move || {
            checkpoints(&checkpointer, &log, &counters);
            drop(checkpointer);
            drop(checkpointer_lock);
        }),
    )?;
    let foreground = spawn(
        "narthex-db-write",
        Box::new(move || {
            // Even a panic, a defect of this layer, must not leave callers waiting for ever.
            let _exit = Exit { queue: Arc::clone(&writer.queue), log: stop };
            writer.run();
            drop(writer);
            drop(writer_lock);
        }),
    )?;
    Ok(vec![foreground, background])
}

fn open(path: &Path, log: &Arc<Log>) -> Result<Tx, DbError> {
    let mut lite = Lite::open(path, Purpose::Write)?;
    let page: u64 = lite
        .conn
        .query_row("PRAGMA page_size", (), |row| row.get::<_, i64>(0))
        .map_err(|error| super::map(&error).error)?
        .unsigned_abs();
    let log = Arc::clone(log);
    lite.conn
        .wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            log.bytes.store(u64::try_from(pages).unwrap_or(0) * page, Ordering::Relaxed);
            Ok(())
        }))
        .map_err(|error| super::map(&error).error)?;
    Ok(Tx::new(Link::Lite(lite), true))
}

/// PASSIVE checkpoints: they never wait for a reader or the writer, and the writer never waits for them.
fn checkpoints(lite: &Lite, log: &Log, metrics: &Metrics) {
    loop {
        let wanted = {
            let guard = log.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            let mut guard =
                log.wake.wait_while(guard, |wanted| *wanted == Wanted::Nothing).unwrap_or_else(PoisonError::into_inner);
            let wanted = *guard;
            if wanted == Wanted::Checkpoint {
                *guard = Wanted::Nothing;
            }
            wanted
        };
        if wanted == Wanted::Stop {
            return;
        }
        let running = log.running.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = lite.conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE);
        drop(running);
        match moved {
            Ok(_) => Metrics::add(&metrics.checkpoints, 1),
            Err(error) => tracing::warn!(%error, "background checkpoint failed"),
        }
    }
}

/// A closure of the current batch and what came of it.
struct Member {
    job: Box<dyn Job>,
    outcome: Attempt,
}

impl Writer {
    fn run(&mut self) {
        loop {
            match self.queue.pop_blocking(Duration::from_hours(1)) {
                Popped::Work(Work::Closure(job)) => {
                    let alone = self.batch(job);
                    if let Some(task) = alone {
                        self.alone(task);
                    }
                    self.log_upkeep();
                }
                Popped::Work(Work::Alone(task)) => self.alone(task),
                Popped::Idle => {}
                Popped::Closed => return,
            }
        }
    }

    fn lite(&mut self) -> &mut Lite {
        match &mut self.tx.link {
            Link::Lite(lite) => lite,
            Link::Pg(_) => unreachable!("the writer thread opens SQLite only"),
        }
    }

    fn alone(&mut self, task: Alone) {
        let conn = &mut self.lite().conn;
        if catch_unwind(AssertUnwindSafe(|| task(conn))).is_err() {
            tracing::error!("a task on the writer's connection panicked");
        }
        self.clear_transaction();
        self.lite().conn.flush_prepared_statement_cache();
    }

    /// Makes sure that no transaction is open, whatever went wrong before.
    fn clear_transaction(&mut self) {
        if self.lite().conn.is_autocommit() {
            return;
        }
        let Err(fault) = self.lite().control("ROLLBACK") else { return };
        tracing::error!(error = %fault.error, "rollback failed, opening the database again");
        match open(&self.path, &self.log) {
            Ok(tx) => self.tx = tx,
            Err(error) => tracing::error!(%error, "could not open the database again"),
        }
    }

    /// Commits `first` and whatever else is waiting. Returns a task that was found in the queue and must run alone.
    fn batch(&mut self, first: Box<dyn Job>) -> Option<Alone> {
        let started = Instant::now();
        let mut alone = None;
        let mut groups = VecDeque::from([vec![first]]);
        let mut from_queue = true;
        let (mut may_hold, mut members) = (self.usual >= COMPANY, 0_u16);
        // Normally one round. A closure that takes the outer transaction down with it leaves the others for another.
        while let Some(group) = groups.pop_front() {
            let mut source = group.into_iter();
            let queue = Arc::clone(&self.queue);
            let mut count = 0;
            let next = || {
                if let Some(job) = source.next() {
                    count += 1;
                    return Some(job);
                }
                if !from_queue || alone.is_some() || count >= BATCH || started.elapsed() > BATCH_TIME {
                    return None;
                }
                // Gives the core away once before it commits: whoever shares the core with it can hand in more for the same fsync.
                let more = queue.try_pop().or_else(|| {
                    std::thread::yield_now();
                    queue.try_pop()
                });
                let more = more.or_else(|| {
                    // A sleep, not a wait for the queue: waking up for each that comes would cost more than its share of the sync.
                    let left = HOLD.checked_sub(started.elapsed()).filter(|_| std::mem::take(&mut may_hold))?;
                    std::thread::sleep(left);
                    queue.try_pop()
                });
                match more? {
                    Work::Closure(job) => {
                        count += 1;
                        Some(job)
                    }
                    Work::Alone(task) => {
                        alone = Some(task);
                        None
                    }
                }
            };
            groups.extend(self.round(next));
            if from_queue {
                members = u16::try_from(count).unwrap_or(u16::MAX);
            }
            from_queue = false;
        }
        self.usual += (f32::from(members) - self.usual) / 8.0;
        alone
    }

    /// One outer transaction. Returns the closures that must run again, in groups that may share a transaction.
    fn round(&mut self, mut next: impl FnMut() -> Option<Box<dyn Job>>) -> Vec<Vec<Box<dyn Job>>> {
        if let Err(fault) = self.lite().control("BEGIN IMMEDIATE") {
            self.clear_transaction();
            let mut members = Vec::new();
            while let Some(job) = next() {
                members.push(Member { job, outcome: Attempt::Ok });
            }
            self.unavailable(members, &fault.error);
            return Vec::new();
        }
        let mut members: Vec<Member> = Vec::new();
        while let Some(mut job) = next() {
            let (outcome, stands) = self.member(job.as_mut());
            let storage = matches!(self.tx.failure, Some(Failure { fate: Fate::Storage, .. }));
            members.push(Member { job, outcome });
            if stands && !storage {
                continue;
            }
            self.clear_transaction();
            if storage {
                let error = self.tx.failure.take().map_or_else(|| DbError::Unavailable(String::new()), |f| f.error);
                while let Some(job) = next() {
                    members.push(Member { job, outcome: Attempt::Ok });
                }
                self.unavailable(members, &error);
                return Vec::new();
            }
            // The culprit (an interrupted statement, an OR ROLLBACK) keeps its answer; nobody else's stands, not even a
            // refusal, for it may rest on rows that are gone now.
            if let Some(culprit) = members.pop() {
                self.finish(culprit);
            }
            let mut again: Vec<_> = members.into_iter().map(|member| member.job).collect();
            Metrics::add(&self.metrics.retries, again.len() as u64);
            while let Some(job) = next() {
                again.push(job);
            }
            return if again.is_empty() { Vec::new() } else { vec![again] };
        }
        match self.lite().commit() {
            Ok(()) => {
                Metrics::add(&self.metrics.batches, 1);
                self.health.set(None);
                for member in members {
                    self.finish(member);
                }
            }
            Err(fault) if fault.fate == Fate::Doomed => {
                // A deferred foreign key that one of them left broken. Alone each answers for itself.
                self.clear_transaction();
                if let [_] = members.as_slice() {
                    for member in members {
                        self.finish(Member { outcome: Attempt::Failed(fault.error.clone()), ..member });
                    }
                    return Vec::new();
                }
                Metrics::add(&self.metrics.retries, members.len() as u64);
                return members.into_iter().map(|member| vec![member.job]).collect();
            }
            Err(fault) => {
                self.clear_transaction();
                self.unavailable(members, &fault.error);
            }
        }
        Vec::new()
    }

    /// Runs one closure in its savepoint; whether the outer transaction still stands.
    fn member(&mut self, job: &mut dyn Job) -> (Attempt, bool) {
        self.tx.failure = None;
        if let Err(fault) = self.lite().control("SAVEPOINT member") {
            let error = fault.error.clone();
            self.tx.failure = Some(Failure { fate: Fate::Storage, error: fault.error });
            return (Attempt::Failed(error), false);
        }
        let deadline = self.deadline;
        self.lite().set_deadline(Some(deadline));
        let mut outcome = run_once(&mut self.tx, job);
        self.lite().set_deadline(None);
        if self.lite().conn.is_autocommit() {
            return (outcome, false);
        }
        if matches!(outcome, Attempt::Ok) {
            match self.lite().control("RELEASE member") {
                Ok(()) => return (Attempt::Ok, true),
                // A deferred constraint is checked when the outermost transaction commits, so this is the disk.
                Err(fault) => outcome = Attempt::Failed(fault.error),
            }
        }
        let undone = self.lite().control("ROLLBACK TO member").and_then(|()| self.lite().control("RELEASE member"));
        (outcome, undone.is_ok())
    }

    fn finish(&self, member: Member) {
        let error = match member.outcome {
            Attempt::Ok => {
                Metrics::add(&self.metrics.commits, 1);
                None
            }
            Attempt::Refused => {
                Metrics::add(&self.metrics.rollbacks, 1);
                None
            }
            Attempt::Failed(error) => {
                Metrics::add(&self.metrics.rollbacks, 1);
                Some(error)
            }
        };
        crate::answer(member.job, error);
    }

    /// Answers every member alike: none of their writes is stored, and none of their refusals can be relied on.
    fn unavailable(&self, members: Vec<Member>, error: &DbError) {
        self.health.set(Some(error.to_string()));
        Metrics::add(&self.metrics.rollbacks, members.len() as u64);
        for member in members {
            crate::answer(member.job, Some(error.clone()));
        }
    }

    /// Keeps the log short. The background checkpoint does most of the work; it cannot empty the log while writes keep
    /// coming, so above the limit the writer itself does, between two batches.
    fn log_upkeep(&mut self) {
        let bytes = self.log.bytes.load(Ordering::Relaxed);
        if bytes < self.last_bytes {
            // A checkpoint had moved everything, so SQLite began the log anew.
            self.next_checkpoint = self.checkpoint_every;
            self.next_restart = self.wal_limit;
        }
        self.last_bytes = bytes;
        Metrics::set(&self.metrics.wal_bytes, bytes);
        if bytes >= self.next_restart {
            self.restart_log(bytes);
        } else if bytes >= self.next_checkpoint {
            self.next_checkpoint = bytes + self.checkpoint_every;
            self.log.want(Wanted::Checkpoint);
        }
    }

    fn restart_log(&mut self, bytes: u64) {
        let log = Arc::clone(&self.log);
        // Up to twice the limit the writer goes on while a background checkpoint runs. Beyond, the disk cannot keep up
        // with the writes, and they must wait for it.
        let _alone = match log.running.try_lock() {
            Ok(guard) => guard,
            Err(_) if bytes < self.wal_limit * 2 => {
                self.next_restart = bytes + self.wal_limit / 16;
                return;
            }
            Err(_) => log.running.lock().unwrap_or_else(PoisonError::into_inner),
        };
        // RESTART keeps the file and writes over it, which syncs faster than growing it again; TRUNCATE gives space
        // back after a scan has held the log for long.
        let mode = if bytes > self.wal_limit * 2 { CheckpointMode::TRUNCATE } else { CheckpointMode::RESTART };
        let conn = &self.lite().conn;
        let emptied = conn.busy_timeout(RESTART_PATIENCE).and_then(|()| conn.wal_checkpoint_v2(None::<&str>, mode));
        match conn.busy_timeout(BUSY_TIMEOUT).and(emptied) {
            Ok(_) => {
                Metrics::add(&self.metrics.checkpoints, 1);
                Metrics::set(&self.metrics.wal_bytes, 0);
                self.log.bytes.store(0, Ordering::Relaxed);
                self.last_bytes = 0;
                self.next_checkpoint = self.checkpoint_every;
                self.next_restart = self.wal_limit;
            }
            Err(error) => {
                // A long scan still needs the log: try again some megabytes later, not after every batch.
                tracing::debug!(%error, bytes, "the log could not be emptied");
                self.next_restart = bytes + self.wal_limit / 4;
                self.next_checkpoint = bytes;
            }
        }
    }
}
