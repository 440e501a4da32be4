//! One SQLite connection: opening, statements, errors.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OpenFlags, ToSql, ffi};

use crate::tx::{Fate, Fault};
use crate::{Cell, DbError, FromRow, Row, Value};

/// Statements kept prepared per connection; each costs a few KiB, and the program has some hundreds of texts.
const STATEMENTS: usize = 512;

/// The progress handler runs every so many virtual machine steps: about a millisecond apart.
const STEPS: i32 = 20_000;

/// How long to wait for a lock. There is one writer by construction, so only foreign programs hold one for long.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection inside a [`Tx`](crate::Tx).
pub(crate) struct Lite {
    pub(crate) conn: Connection,
    deadline: Arc<Deadline>,
    purpose: Purpose,
}

/// The moment after which statements on a connection are interrupted.
struct Deadline {
    base: Instant,
    /// Microseconds after `base`; `u64::MAX` for none.
    at: AtomicU64,
}

impl Deadline {
    fn passed(&self) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at != u64::MAX && self.base.elapsed() > Duration::from_micros(at)
    }
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Write,
    Read,
    Checkpoint,
}

impl Lite {
    pub(crate) fn open(path: &Path, purpose: Purpose) -> Result<Lite, DbError> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let mut conn = Connection::open_with_flags(path, flags).map_err(|error| map(&error).error)?;
        let deadline = Arc::new(Deadline { base: Instant::now(), at: AtomicU64::new(u64::MAX) });
        configure(&mut conn, purpose, &deadline).map_err(|error| map(&error).error)?;
        Ok(Lite { conn, deadline, purpose })
    }

    /// Interrupts statements that still run after `limit`; None lifts the limit.
    pub(crate) fn set_deadline(&self, limit: Option<Duration>) {
        let at = limit.map_or(u64::MAX, |limit| {
            u64::try_from((self.deadline.base.elapsed() + limit).as_micros()).unwrap_or(u64::MAX)
        });
        self.deadline.at.store(at, Ordering::Relaxed);
    }

    fn prepare(&self, sql: &str, params: &[Value]) -> Result<CachedStatement<'_>, Fault> {
        if self.deadline.passed() {
            return Err(DbError::Deadline("between two statements".into()).into());
        }
        let mut statement = self.conn.prepare_cached(sql).map_err(|error| map(&error))?;
        // `$2` is a named parameter to SQLite, numbered by first appearance: bind by the number in the name.
        let count = statement.parameter_count();
        let mut highest = 0;
        for index in 1..=count {
            let number = statement.parameter_name(index).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
            let Some(number) = number.filter(|number| *number > 0) else {
                return Err(DbError::Sql(format!("parameter {index} is not of the form $N: {sql}")).into());
            };
            let Some(value) = params.get(number - 1) else {
                return Err(DbError::Sql(format!("no value for ${number}: {sql}")).into());
            };
            highest = highest.max(number);
            statement.raw_bind_parameter(index, value).map_err(|error| map(&error))?;
        }
        // PostgreSQL counts the same way, and refuses a value too many.
        if highest != params.len() {
            return Err(DbError::Sql(format!("{} values for {highest} parameters: {sql}", params.len())).into());
        }
        Ok(statement)
    }

    pub(crate) fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Fault> {
        let mut statement = self.prepare(sql, params)?;
        let changed = statement.raw_execute().map_err(|error| self.map_in(&error, sql))?;
        Ok(changed as u64)
    }

    pub(crate) fn query<T: FromRow>(&mut self, sql: &str, params: &[Value], limit: usize) -> Result<Vec<T>, Fault> {
        let mut statement = self.prepare(sql, params)?;
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(row) = rows.next().map_err(|error| self.map_in(&error, sql))? else { break };
            found.push(T::from_row(&Row::lite(row))?);
        }
        Ok(found)
    }

    /// The same as [`map`], naming the statement where the statement is to blame.
    fn map_in(&self, error: &rusqlite::Error, sql: &str) -> Fault {
        let read_only = error.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly);
        // A write through a reader is a defect of the program, and says nothing about the file.
        let mut fault = if read_only && self.purpose == Purpose::Read {
            Fault::doomed(DbError::Sql("a write where only reads are allowed".into()))
        } else {
            map(error)
        };
        if let DbError::Sql(what) = &mut fault.error {
            what.push_str(": ");
            what.push_str(sql);
        }
        fault
    }

    /// Runs one of the layer's own statements: BEGIN and the like.
    pub(crate) fn control(&self, sql: &str) -> Result<(), Fault> {
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.raw_execute()).map_err(|error| map(&error))?;
        Ok(())
    }

    /// Commits. When the disk fails to sync the log, the commit may turn out to stand after a crash: its outcome is
    /// unknown. Every other failure leaves nothing behind, since a log without its commit record is not read.
    pub(crate) fn commit(&self) -> Result<(), Fault> {
        let committed = self.conn.prepare_cached("COMMIT").and_then(|mut statement| statement.raw_execute());
        let Err(error) = committed else { return Ok(()) };
        let mut fault = map(&error);
        if error.sqlite_error().is_some_and(|code| code.extended_code == ffi::SQLITE_IOERR_FSYNC) {
            fault.error = DbError::UnknownOutcome(fault.error.to_string());
        }
        Err(fault)
    }
}

fn configure(conn: &mut Connection, purpose: Purpose, deadline: &Arc<Deadline>) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // A stray double-quoted string is an error, as on PostgreSQL, not a literal.
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // One plan per statement, whatever its values are. Without this SQLite looks at the value of a LIMIT, and in joins at others, and
    // compiles the statement anew at every use, since the cache of statements clears their values in between: that was a quarter of the
    // writer's time in logins.
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    if purpose == Purpose::Read {
        conn.pragma_update(None, "query_only", true)?;
        conn.pragma_update(None, "cache_size", -1024)?;
    } else {
        let mode: String = conn.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(rusqlite::Error::SqliteFailure(
                ffi::Error::new(ffi::SQLITE_CANTOPEN),
                Some(format!("journal mode is {mode}, not WAL")),
            ));
        }
        conn.pragma_update(None, "synchronous", "FULL")?;
        // What a savepoint needs to roll back is kept in memory: beyond 64 KiB, which a dozen pages fill, it would be written to a
        // temporary file, as many writes as go to the log, and with what they hold left on the disk.
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        // What was erased is overwritten with zeros, not only unlinked (docs/decisions/0022).
        let erases: i64 = conn.query_row("PRAGMA secure_delete = ON", (), |row| row.get(0))?;
        debug_assert_eq!(erases, 1);
        conn.pragma_update(None, "cache_size", -8192)?;
    }
    let deadline = Arc::clone(deadline);
    conn.progress_handler(STEPS, Some(move || deadline.passed()))
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

pub(crate) fn cell<'a>(row: &'a rusqlite::Row<'a>, i: usize) -> Result<Cell<'a>, DbError> {
    match row.get_ref(i).map_err(|error| DbError::Data(error.to_string()))? {
        ValueRef::Null => Ok(Cell::Null),
        ValueRef::Integer(value) => Ok(Cell::Int(value)),
        ValueRef::Text(bytes) => {
            std::str::from_utf8(bytes).map(Cell::Text).map_err(|_| DbError::Data("text is not UTF-8".into()))
        }
        ValueRef::Blob(bytes) => Ok(Cell::Blob(bytes)),
        ValueRef::Real(_) => Err(DbError::Data("floating point is not part of the subset".into())),
    }
}

/// SQLite's result codes: <https://sqlite.org/rescode.html>.
pub(crate) fn map(error: &rusqlite::Error) -> Fault {
    let (code, message) = match error {
        rusqlite::Error::SqliteFailure(code, message) => (code, message.clone().unwrap_or_else(|| code.to_string())),
        rusqlite::Error::SqlInputError { error: code, msg, sql, .. } => (code, format!("{msg}: {sql}")),
        other => return Fault::doomed(DbError::Sql(other.to_string())),
    };
    let after = |prefix: &str| message.strip_prefix(prefix).unwrap_or(&message).trim_matches('\'').to_owned();
    match code.extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            let on = after("UNIQUE constraint failed: ");
            let constraint = on.strip_prefix("index '").unwrap_or(&on).to_owned();
            return Fault::doomed(DbError::Unique { constraint });
        }
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => {
            return Fault::doomed(DbError::ForeignKey { constraint: String::new() });
        }
        ffi::SQLITE_CONSTRAINT_NOTNULL => {
            return Fault::doomed(DbError::Check { rule: after("NOT NULL constraint failed: ") });
        }
        ffi::SQLITE_CONSTRAINT_CHECK => {
            return Fault::doomed(DbError::Check { rule: after("CHECK constraint failed: ") });
        }
        // "cannot store TEXT value in INTEGER column t.c"
        ffi::SQLITE_CONSTRAINT_DATATYPE => return Fault::doomed(DbError::Data(message)),
        _ => {}
    }
    match code.extended_code & 0xff {
        ffi::SQLITE_INTERRUPT => Fault::doomed(DbError::Deadline("statement interrupted".into())),
        ffi::SQLITE_FULL
        | ffi::SQLITE_IOERR
        | ffi::SQLITE_READONLY
        | ffi::SQLITE_CANTOPEN
        | ffi::SQLITE_BUSY
        | ffi::SQLITE_LOCKED
        | ffi::SQLITE_PROTOCOL
        | ffi::SQLITE_NOMEM
        | ffi::SQLITE_CORRUPT
        | ffi::SQLITE_NOTADB => {
            Fault { fate: Fate::Storage, error: DbError::Unavailable(format!("{message} ({})", code.extended_code)) }
        }
        _ => Fault::doomed(DbError::Sql(message)),
    }
}
