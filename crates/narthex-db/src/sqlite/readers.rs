//! Reading SQLite: a stack of connections for point reads on the caller's task, and a few threads for scans.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::connection::{Lite, Purpose};
use super::writer::{Attempt, run_once};
use crate::job::Job;
use crate::queue::{FairQueue, Popped, Work};
use crate::tx::{Home, Link, Tx};
use crate::{DbError, DbOptions, Reader};

/// Idle connections, last in first out: the warmest statement cache and page cache is taken first.
pub(crate) struct Stack {
    path: PathBuf,
    idle: Mutex<Vec<Tx>>,
    room: Arc<Semaphore>,
    patience: Duration,
    deadline: Duration,
}

impl Stack {
    pub(crate) fn new(path: &Path, options: &DbOptions) -> Stack {
        Stack {
            path: path.to_owned(),
            idle: Mutex::default(),
            room: Arc::new(Semaphore::new(options.readers.max(1))),
            patience: options.queue_timeout,
            // The caller's task is blocked meanwhile, so the shorter of the two.
            deadline: options.read_deadline.min(options.write_deadline),
        }
    }

    pub(crate) async fn reader(stack: &Arc<Stack>) -> Result<Reader, DbError> {
        let permit = match Arc::clone(&stack.room).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => tokio::time::timeout(stack.patience, Arc::clone(&stack.room).acquire_owned())
                .await
                .map_err(|_| DbError::Unavailable("all readers are in use".into()))?
                .map_err(|_| DbError::Unavailable("the database is closed".into()))?,
        };
        let idle = stack.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let tx = match idle {
            Some(tx) => tx,
            None => Tx::new(Link::Lite(Lite::open(&stack.path, Purpose::Read)?), false),
        };
        if let Link::Lite(lite) = &tx.link {
            lite.set_deadline(Some(stack.deadline));
        }
        Ok(Reader { tx: Some(tx), home: Arc::clone(stack) as Arc<dyn Home>, _permit: permit })
    }

    pub(crate) fn clear(&self) {
        self.room.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Home for Stack {
    fn take_back(&self, tx: Tx) {
        if !self.room.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(tx);
        }
    }
}

/// Starts the scan threads.
pub(crate) fn start(path: &Path, options: &DbOptions, queue: &Arc<FairQueue>) -> Result<Vec<JoinHandle<()>>, DbError> {
    let mut threads = Vec::new();
    for _ in 0..options.read_lanes.max(1) {
        let (path, queue, deadline) = (path.to_owned(), Arc::clone(queue), options.read_deadline);
        let thread = std::thread::Builder::new()
            .name("narthex-db-read".into())
            .spawn(move || lane(&path, &queue, deadline))
            .map_err(|error| DbError::Unavailable(error.to_string()))?;
        threads.push(thread);
    }
    Ok(threads)
}

fn lane(path: &Path, queue: &FairQueue, deadline: Duration) {
    // Opened at first use: a lane that never scans costs no page cache.
    let mut open: Option<Tx> = None;
    loop {
        let mut job = match queue.pop_blocking(Duration::from_mins(1)) {
            Popped::Work(Work::Closure(job)) => job,
            Popped::Work(Work::Alone(_)) => continue,
            Popped::Idle => {
                open = None;
                continue;
            }
            Popped::Closed => return,
        };
        let tx = match open
            .take()
            .map_or_else(|| Lite::open(path, Purpose::Read).map(|lite| Tx::new(Link::Lite(lite), true)), Ok)
        {
            Ok(tx) => open.insert(tx),
            Err(error) => {
                crate::answer(job, Some(error));
                continue;
            }
        };
        let refusal = snapshot(tx, job.as_mut(), deadline);
        crate::answer(job, refusal);
    }
}

/// Runs a closure in one deferred transaction: its first statement fixes the snapshot that all the others see.
fn snapshot(tx: &mut Tx, job: &mut dyn Job, deadline: Duration) -> Option<DbError> {
    let Link::Lite(lite) = &tx.link else { return Some(DbError::Sql("not a SQLite lane".into())) };
    if let Err(fault) = lite.control("BEGIN DEFERRED") {
        return Some(fault.error);
    }
    lite.set_deadline(Some(deadline));
    tx.failure = None;
    let attempt = run_once(tx, job);
    let Link::Lite(lite) = &tx.link else { return Some(DbError::Sql("not a SQLite lane".into())) };
    lite.set_deadline(None);
    if !lite.conn.is_autocommit()
        && let Err(fault) = lite.control("ROLLBACK")
    {
        tracing::error!(error = %fault.error, "could not end a read");
    }
    match attempt {
        Attempt::Ok | Attempt::Refused => None,
        Attempt::Failed(error) => Some(error),
    }
}
