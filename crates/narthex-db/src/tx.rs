//! The handle a closure works with: one connection of either engine, and what has gone wrong on it so far.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::postgres::Pg;
use crate::sqlite::Lite;
use crate::{DbError, Engine, FromRow, Value};

/// A transaction (in [`Db::write`](crate::Db::write) and [`Db::read`](crate::Db::read)), or single statements one after
/// the other (through a [`Reader`]).
///
/// Statements use the SQL subset that both engines take, with `$1…` for parameters. After the first error of a
/// transaction, [`DbError::NoRow`] aside, every further statement is refused with [`DbError::Poisoned`] and the
/// transaction cannot be committed, on both engines alike.
pub struct Tx {
    pub(crate) link: Link,
    pub(crate) failure: Option<Failure>,
    /// False for a [`Reader`], whose statements stand for themselves.
    transaction: bool,
}

// Boxing the larger variant would cost an indirection per statement to save bytes in a few dozen long-lived values.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Link {
    Lite(Lite),
    Pg(Pg),
}

/// The first error of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) fate: Fate,
    pub(crate) error: DbError,
}

/// What an error means for the transaction it happened in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// This transaction cannot be committed.
    Doomed,
    /// The same, and running the closure again may succeed: serialization failure, deadlock, stale plan.
    Retry,
    /// The connection is of no use any more; before COMMIT that means that nothing was written.
    Lost,
    /// The disk or the database file refuses.
    Storage,
}

/// An error together with what it means for the transaction.
pub(crate) struct Fault {
    pub(crate) fate: Fate,
    pub(crate) error: DbError,
}

impl Fault {
    pub(crate) fn doomed(error: DbError) -> Fault {
        Fault { fate: Fate::Doomed, error }
    }
}

impl From<DbError> for Fault {
    fn from(error: DbError) -> Fault {
        Fault::doomed(error)
    }
}

impl Tx {
    pub(crate) fn new(link: Link, transaction: bool) -> Tx {
        Tx { link, failure: None, transaction }
    }

    /// Which engine answers.
    pub fn engine(&self) -> Engine {
        match self.link {
            Link::Lite(_) => Engine::Sqlite,
            Link::Pg(_) => Engine::Postgres,
        }
    }

    /// Runs a statement that returns no rows; the number of rows it changed.
    pub async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        self.admit(sql, params)?;
        let result = match &mut self.link {
            Link::Lite(lite) => lite.execute(sql, params),
            // Boxed, since every future above would else be large enough for the driver's, on SQLite too: reading the key set
            // took 19 KiB in place of 3.
            Link::Pg(pg) => Box::pin(pg.execute(sql, params)).await,
        };
        self.note(result)
    }

    /// The first row, or None. Works for `… RETURNING` too.
    pub async fn opt<T: FromRow>(&mut self, sql: &str, params: &[Value]) -> Result<Option<T>, DbError> {
        Ok(self.query(sql, params, 1).await?.pop())
    }

    /// The first row, or [`DbError::NoRow`].
    pub async fn one<T: FromRow>(&mut self, sql: &str, params: &[Value]) -> Result<T, DbError> {
        self.opt(sql, params).await?.ok_or(DbError::NoRow)
    }

    /// All rows. The statement bounds their number (LIMIT), nothing else does.
    pub async fn all<T: FromRow>(&mut self, sql: &str, params: &[Value]) -> Result<Vec<T>, DbError> {
        self.query(sql, params, usize::MAX).await
    }

    /// Has PostgreSQL plan the rest of the transaction for the values at hand, never for any. For searches: the plan that is good for a
    /// rare word reads a whole index for one that is in every row. Planning costs each statement a tenth of a millisecond.
    pub async fn plan_for_values(&mut self) -> Result<(), DbError> {
        let result = match &mut self.link {
            Link::Pg(pg) if self.transaction => {
                Box::pin(pg.control("SET LOCAL plan_cache_mode = force_custom_plan")).await
            }
            _ => Ok(()),
        };
        self.note(result)
    }

    async fn query<T: FromRow>(&mut self, sql: &str, params: &[Value], limit: usize) -> Result<Vec<T>, DbError> {
        self.admit(sql, params)?;
        let result = match &mut self.link {
            Link::Lite(lite) => lite.query(sql, params, limit),
            Link::Pg(pg) => Box::pin(pg.query(sql, params, limit)).await,
        };
        self.note(result)
    }

    fn admit(&mut self, sql: &str, params: &[Value]) -> Result<(), DbError> {
        if let Some(failure) = &self.failure {
            return Err(DbError::Poisoned(failure.error.to_string()));
        }
        if controls_transaction(sql) {
            return self
                .note(Err(DbError::Sql("a closure may not begin, end or reconfigure transactions".into()).into()));
        }
        // PostgreSQL cannot store U+0000 in a text; SQLite would, and cut it off in half of its functions.
        if params.iter().any(|value| matches!(value, Value::Text(text) if text.as_bytes().contains(&0))) {
            return self.note(Err(DbError::Data("U+0000 in a text".into()).into()));
        }
        Ok(())
    }

    fn note<T>(&mut self, result: Result<T, Fault>) -> Result<T, DbError> {
        result.map_err(|fault| {
            if self.transaction {
                self.failure = Some(Failure { fate: fault.fate, error: fault.error.clone() });
            }
            fault.error
        })
    }
}

/// Statements that would end the transaction under the layer's feet, or change the connection for those after it.
fn controls_transaction(sql: &str) -> bool {
    const REFUSED: [&str; 14] = [
        "ABORT",
        "ATTACH",
        "BEGIN",
        "COMMIT",
        "DETACH",
        "DISCARD",
        "END",
        "PRAGMA",
        "RELEASE",
        "ROLLBACK",
        "SAVEPOINT",
        "SET",
        "START",
        "VACUUM",
    ];
    let mut word = sql.trim_start();
    // Comments before the statement must not hide it.
    while let Some(rest) = [("--", "\n"), ("/*", "*/")].iter().find_map(|(open, close)| {
        let inside = word.strip_prefix(open)?;
        Some(inside.split_once(close).map_or("", |(_, rest)| rest))
    }) {
        word = rest.trim_start();
    }
    let word = &word[..word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len())];
    REFUSED.iter().any(|refused| refused.eq_ignore_ascii_case(word))
}

/// A connection for point reads on the caller's own task. Each statement stands for itself: two of them may see
/// different states, and after an error the next one runs normally. Writes are refused by the engine.
pub struct Reader {
    /// None only while it is being dropped.
    pub(crate) tx: Option<Tx>,
    pub(crate) home: Arc<dyn Home>,
    pub(crate) _permit: tokio::sync::OwnedSemaphorePermit,
}

/// Where a reader's connection goes back to.
pub(crate) trait Home: Send + Sync {
    fn take_back(&self, tx: Tx);
}

impl Deref for Reader {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        self.tx.as_ref().expect("present until drop")
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Tx {
        self.tx.as_mut().expect("present until drop")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(tx) = self.tx.take() {
            self.home.take_back(tx);
        }
    }
}
