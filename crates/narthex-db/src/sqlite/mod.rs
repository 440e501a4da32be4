//! SQLite: one file, one owner, one writer thread, readers on the caller's task.

mod connection;
mod migrate;
mod readers;
#[cfg(all(test, feature = "testing"))]
mod tests;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub(crate) use connection::{Lite, cell, map};
pub(crate) use migrate::{applied, migrate};
use readers::Stack;

use crate::metrics::Metrics;
use crate::queue::{FairQueue, Work};
use crate::{DbError, DbOptions, Reader};

/// Jobs of the layer itself take their turns under this share.
const OWN_SHARE: u64 = u64::MAX;

pub(crate) struct Sqlite {
    pub(crate) writes: Arc<FairQueue>,
    pub(crate) reads: Arc<FairQueue>,
    stack: Arc<Stack>,
    health: Arc<writer::Health>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<Arc<File>>>,
}

impl Sqlite {
    pub(crate) fn open(path: &Path, options: &DbOptions, metrics: &Arc<Metrics>) -> Result<Sqlite, DbError> {
        let lock = Arc::new(own(path)?);
        create(path)?;
        let writes = Arc::new(FairQueue::new(options.queue_limit, options.queue_timeout, Arc::clone(metrics), true));
        let reads = Arc::new(FairQueue::new(options.queue_limit, options.queue_timeout, Arc::clone(metrics), false));
        let health = Arc::new(writer::Health::default());
        let mut threads = writer::start(path, options, &writes, &health, metrics, &lock)?;
        let stack = Arc::new(Stack::new(path, options));
        threads.extend(readers::start(path, options, &reads)?);
        Ok(Sqlite { writes, reads, stack, health, threads: Mutex::new(threads), lock: Mutex::new(Some(lock)) })
    }

    pub(crate) async fn reader(&self) -> Result<Reader, DbError> {
        Stack::reader(&self.stack).await
    }

    /// Runs `task` on the writer's connection, outside any transaction, between two batches.
    pub(crate) async fn alone<T, F>(&self, task: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut rusqlite::Connection) -> Result<T, DbError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = move |conn: &mut rusqlite::Connection| drop(reply.send(task(conn)));
        self.writes.push(OWN_SHARE, Work::Alone(Box::new(task)));
        answer.await.unwrap_or_else(|_| Err(DbError::Unavailable("the database is closed".into())))
    }

    /// Why the last write could not be stored, if it could not.
    pub(crate) fn write_trouble(&self) -> Option<String> {
        self.health.trouble()
    }

    /// Writes something that changes nothing, through the disk.
    pub(crate) async fn probe_write(&self) -> Result<(), DbError> {
        let health = Arc::clone(&self.health);
        self.alone(move |conn| {
            let version = "PRAGMA main.user_version";
            let stored = conn
                .query_row(version, (), |row| row.get::<_, i64>(0))
                .and_then(|same| conn.pragma_update(None, "user_version", same))
                .map_err(|error| map(&error).error);
            health.set(stored.as_ref().err().map(ToString::to_string));
            stored
        })
        .await
    }

    /// Takes no more work, finishes what is queued, and gives the folder up.
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
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // The threads end by themselves; `Db::close` is there for those who must know when.
        self.writes.close();
        self.reads.close();
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Takes the lock file beside the database. The lock is the kernel's, so it ends with the process however that ends.
fn own(path: &Path) -> Result<File, DbError> {
    let lock_path = beside(path, ".lock");
    let trouble = |error: &dyn std::fmt::Display| DbError::Unavailable(format!("{}: {error}", lock_path.display()));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(|error| trouble(&error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let owner = if known { format!(" (pid {})", pid.trim()) } else { String::new() };
            return Err(DbError::Owned { path: lock_path.display().to_string(), owner });
        }
        Err(TryLockError::Error(error)) => return Err(trouble(&error)),
    }
    // The process id is a courtesy to whoever finds the lock taken; the lock holds without it.
    let noted = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
    if let Err(error) = noted {
        tracing::warn!(path = %lock_path.display(), %error, "could not note the process id in the lock file");
    }
    Ok(file)
}

/// Makes the database file before SQLite does, readable by its owner alone: it holds password hashes and sealed keys.
fn create(path: &Path) -> Result<(), DbError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(DbError::Unavailable(format!("{}: {error}", path.display()))),
    }
}
