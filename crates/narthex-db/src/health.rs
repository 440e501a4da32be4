//! Whether the database can be read and written now, for `readyz`.

use std::future::Future;
use std::time::Instant;

use tokio::sync::Mutex;

use crate::{Db, DbError, Store};

/// What [`Db::health`] found. None is well; a text says what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Trouble with reading.
    pub read: Option<String>,
    /// Trouble with writing.
    pub write: Option<String>,
}

impl Health {
    /// Reads and writes both work.
    pub fn is_well(&self) -> bool {
        self.read.is_none() && self.write.is_none()
    }
}

/// One check at a time. Whoever asked before a check began takes its answer: a flood of questions, which strangers may ask through
/// `readyz`, costs the database no more than one check after the other, and no answer is older than its question.
#[derive(Default)]
pub(crate) struct Checks(Mutex<Option<(Instant, Health)>>);

impl Checks {
    async fn run(&self, check: impl Future<Output = Health>) -> Health {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((began, health)) = &*last
            && *began >= asked
        {
            return health.clone();
        }
        let began = Instant::now();
        let health = check.await;
        *last = Some((began, health.clone()));
        health
    }
}

impl Db {
    /// Tries a read and, on PostgreSQL or if the last one failed, a write.
    pub async fn health(&self) -> Health {
        self.inner.checks.run(self.check()).await
    }

    async fn check(&self) -> Health {
        let read = async { self.reader().await?.one::<(i64,)>("SELECT 1", &[]).await.map(drop) };
        let read = read.await.err().map(|error: DbError| error.to_string());
        let write = match &self.inner.store {
            Store::Sqlite(sqlite) => match sqlite.write_trouble() {
                None => None,
                Some(_) => sqlite.probe_write().await.err().map(|error| error.to_string()),
            },
            Store::Postgres(_) => {
                let setting = self.write(async |tx| tx.one::<(String,)>("SHOW transaction_read_only", &[]).await).await;
                match setting {
                    Ok((read_only,)) => (read_only == "on").then(|| "the server takes no writes".to_owned()),
                    Err(error) => Some(error.to_string()),
                }
            }
        };
        Health { read, write }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_flood_of_questions_is_one_check_after_the_other() {
        let (checks, made) = (Checks::default(), AtomicUsize::new(0));
        let check = async || {
            made.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Health::default()
        };
        let questions = (0..100).map(|_| checks.run(check()));
        let answers = futures_util::future::join_all(questions).await;
        assert!(answers.iter().all(Health::is_well));
        assert!((1..=2).contains(&made.load(Ordering::Relaxed)), "{made:?}");
        checks.run(check()).await;
        assert!((2..=3).contains(&made.load(Ordering::Relaxed)), "a later question is asked anew: {made:?}");
    }
}
