//! One PostgreSQL connection: opening, statements, errors.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use futures_util::TryStreamExt;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, Statement};

use crate::tx::{Fate, Fault};
use crate::{Cell, DbError, FromRow, Row, Value};

/// Statements kept prepared per connection; beyond that the cache starts anew.
const STATEMENTS: usize = 512;

/// A connection inside a [`Tx`](crate::Tx). Whoever cancels it in the middle of a request must drop it: the answer
/// would be taken for the next request's.
pub(crate) struct Pg {
    client: Client,
    statements: HashMap<String, Statement>,
    /// Set while an answer of the server is awaited; shared with the lane, which tells a foreign await by it.
    pub(crate) waiting: Arc<AtomicBool>,
    /// Transactions on this connection are read only.
    read_only: bool,
    /// Schema generation that the cached plans belong to.
    pub(crate) generation: u64,
}

impl Pg {
    pub(crate) fn new(client: Client, read_only: bool, generation: u64) -> Pg {
        Pg { client, statements: HashMap::new(), waiting: Arc::default(), read_only, generation }
    }

    /// False once the connection is gone, or an answer is still under way.
    pub(crate) fn is_usable(&self) -> bool {
        !self.client.is_closed() && !self.waiting.load(Ordering::Relaxed)
    }

    /// Asks the server to stop what it does for this connection, which is then dropped.
    pub(crate) async fn cancel(self) {
        if self.waiting.load(Ordering::Relaxed) && !self.client.is_closed() {
            // Best effort: the server's own statement timeout is the second line.
            if let Err(error) = self.client.cancel_token().cancel_query(NoTls).await {
                tracing::debug!(%error, "could not cancel a query");
            }
        }
    }

    async fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Fault> {
        // Stays set if this future is dropped before the answer is there.
        self.waiting.store(true, Ordering::Relaxed);
        let result = answer.await;
        self.waiting.store(false, Ordering::Relaxed);
        result.map_err(|error| self.map(&error))
    }

    /// Runs one of the layer's own statements: BEGIN and the like, or the several statements of a migration.
    pub(crate) async fn control(&self, sql: &str) -> Result<(), Fault> {
        self.wait(self.client.batch_execute(sql)).await
    }

    async fn prepare(&mut self, sql: &str, params: &[Value]) -> Result<Statement, Fault> {
        let statement = if let Some(statement) = self.statements.get(sql) {
            statement.clone()
        } else {
            let statement = self.wait(self.client.prepare(sql)).await.map_err(|fault| fault.in_statement(sql))?;
            if self.statements.len() >= STATEMENTS {
                self.statements.clear();
            }
            self.statements.insert(sql.to_owned(), statement.clone());
            statement
        };
        let types = statement.params();
        if types.len() != params.len() {
            let what = format!("{} values for {} parameters: {sql}", params.len(), types.len());
            return Err(DbError::Sql(what).into());
        }
        for (number, (value, ty)) in (1..).zip(params.iter().zip(types)) {
            if !value.fits(ty) {
                return Err(DbError::Data(format!("${number} is {value:?}, the statement takes {ty}: {sql}")).into());
            }
        }
        Ok(statement)
    }

    pub(crate) async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Fault> {
        let statement = self.prepare(sql, params).await?;
        self.wait(self.client.execute_raw(&statement, params)).await.map_err(|fault| fault.in_statement(sql))
    }

    pub(crate) async fn query<T: FromRow>(
        &mut self,
        sql: &str,
        params: &[Value],
        limit: usize,
    ) -> Result<Vec<T>, Fault> {
        let statement = self.prepare(sql, params).await?;
        let answer = async {
            let mut stream = std::pin::pin!(self.client.query_raw(&statement, params).await?);
            let mut rows = Vec::new();
            // To the end even beyond the limit: an error after the first row is an error.
            while let Some(row) = stream.try_next().await? {
                if rows.len() < limit {
                    rows.push(row);
                }
            }
            Ok(rows)
        };
        let rows = self.wait(answer).await.map_err(|fault| fault.in_statement(sql))?;
        rows.iter().map(|row| T::from_row(&Row::pg(row))).collect::<Result<_, DbError>>().map_err(Fault::from)
    }

    /// SQLSTATE codes: PostgreSQL 15, appendix A.
    fn map(&self, error: &tokio_postgres::Error) -> Fault {
        let Some(answer) = error.as_db_error() else {
            return Fault { fate: Fate::Lost, error: DbError::Unavailable(chain(error)) };
        };
        let (code, message) = (answer.code().code(), answer.message());
        let fault = |fate, error| Fault { fate, error };
        let unavailable = || DbError::Unavailable(format!("{message} ({code})"));
        match code {
            "23505" => Fault::doomed(DbError::Unique { constraint: unique(answer) }),
            "23503" => {
                Fault::doomed(DbError::ForeignKey { constraint: answer.constraint().unwrap_or_default().to_owned() })
            }
            "23502" => {
                let (table, column) = (answer.table().unwrap_or_default(), answer.column().unwrap_or_default());
                Fault::doomed(DbError::Check { rule: format!("{table}.{column}") })
            }
            "23514" => Fault::doomed(DbError::Check { rule: answer.constraint().unwrap_or_default().to_owned() }),
            "40001" | "40P01" => fault(Fate::Retry, DbError::Contention { tries: 1 }),
            "57014" => Fault::doomed(DbError::Deadline(message.to_owned())),
            "25P02" => Fault::doomed(DbError::Poisoned(message.to_owned())),
            // A write through a reader is a defect of the program; on a writing connection the server is a standby.
            "25006" if self.read_only => Fault::doomed(DbError::Sql(message.to_owned())),
            "25006" => fault(Fate::Storage, unavailable()),
            // A migration on another node changed what a cached plan returns; a new connection plans anew.
            "0A000" if message.contains("cached plan") => fault(Fate::Lost, unavailable()),
            "26000" => fault(Fate::Lost, unavailable()),
            _ => match &code[..2] {
                // Connection trouble; shutdown, crash of another backend, not accepting connections yet.
                "08" | "57" => fault(Fate::Lost, unavailable()),
                "53" | "58" | "XX" => fault(Fate::Storage, unavailable()),
                "22" => Fault::doomed(DbError::Data(message.to_owned())),
                _ => Fault::doomed(DbError::Sql(format!("{message} ({code})"))),
            },
        }
    }

    /// Ends the transaction with COMMIT. An error that does not prove that the server rolled back is
    /// [`DbError::UnknownOutcome`] with [`Fate::Lost`].
    pub(crate) async fn commit(&self) -> Result<(), Fault> {
        self.waiting.store(true, Ordering::Relaxed);
        let result = self.client.batch_execute("COMMIT").await;
        self.waiting.store(false, Ordering::Relaxed);
        let Err(error) = result else { return Ok(()) };
        // Class 40 but 40003 (statement completion unknown), 23 (deferred constraints) and 25 are answers of a server
        // that has rolled back. Anything else, a shutdown notice above all, may come after the commit record.
        let rolled_back = error.as_db_error().is_some_and(|answer| {
            let code = answer.code().code();
            code != "40003" && ["40", "23", "25", "53"].contains(&&code[..2])
        });
        if rolled_back {
            return Err(self.map(&error));
        }
        Err(Fault { fate: Fate::Lost, error: DbError::UnknownOutcome(chain(&error)) })
    }
}

impl Fault {
    /// Names the statement where the statement is to blame.
    fn in_statement(mut self, sql: &str) -> Fault {
        if let DbError::Sql(what) = &mut self.error {
            what.push_str(": ");
            what.push_str(sql);
        }
        self
    }
}

/// The error with its causes, on one line. Details and hints of the server stay out: they quote stored values.
pub(crate) fn chain(error: &tokio_postgres::Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return format!("{} ({})", answer.message(), answer.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// What was violated, spelled as SQLite does: `table.column, table.column`. The columns stand in the detail,
/// `Key (a, b)=(…) already exists.` in any language; the values behind them are left there.
fn unique(answer: &tokio_postgres::error::DbError) -> String {
    let name = answer.constraint().unwrap_or_default();
    let columns = answer.detail().and_then(|detail| {
        let (_, rest) = detail.split_once('(')?;
        rest.split_once(")=(").map(|(columns, _)| columns)
    });
    match (answer.table(), columns) {
        (Some(table), Some(columns)) if !columns.contains('(') => {
            columns.split(", ").map(|column| format!("{table}.{column}")).collect::<Vec<_>>().join(", ")
        }
        _ => name.to_owned(),
    }
}

impl Value {
    fn fits(&self, ty: &Type) -> bool {
        match self {
            Value::Null => true,
            Value::Int(value) => match *ty {
                Type::INT8 => true,
                Type::INT4 => i32::try_from(*value).is_ok(),
                Type::INT2 => i16::try_from(*value).is_ok(),
                _ => false,
            },
            Value::Text(_) => <&str as ToSql>::accepts(ty),
            Value::Blob(_) => *ty == Type::BYTEA,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(value) => match *ty {
                Type::INT4 => i32::try_from(*value)?.to_sql(ty, out),
                Type::INT2 => i16::try_from(*value)?.to_sql(ty, out),
                _ => value.to_sql(ty, out),
            },
            Value::Text(text) => text.to_sql(ty, out),
            Value::Blob(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Decided per value, in `fits`, before anything is sent.
        true
    }

    to_sql_checked!();
}

/// [`Cell`] as the driver reads it.
struct PgCell<'a>(Cell<'a>);

#[derive(Debug)]
struct NotInSubset(Type);

impl fmt::Display for NotInSubset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not part of the subset; CAST it (SUM gives NUMERIC)", self.0)
    }
}

impl Error for NotInSubset {}

impl<'a> FromSql<'a> for PgCell<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<PgCell<'a>, Box<dyn Error + Sync + Send>> {
        Ok(PgCell(match *ty {
            Type::INT8 => Cell::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Cell::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => Cell::Int(i16::from_sql(ty, raw)?.into()),
            Type::BOOL => Cell::Int(bool::from_sql(ty, raw)?.into()),
            Type::BYTEA => Cell::Blob(raw),
            ref text if <&str as FromSql>::accepts(text) => Cell::Text(<&str>::from_sql(ty, raw)?),
            ref other => return Err(NotInSubset(other.clone()).into()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<PgCell<'a>, Box<dyn Error + Sync + Send>> {
        Ok(PgCell(Cell::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

pub(crate) fn cell(row: &tokio_postgres::Row, i: usize) -> Result<Cell<'_>, DbError> {
    row.try_get::<_, PgCell<'_>>(i)
        .map(|cell| cell.0)
        .map_err(|error| DbError::Data(error.source().map_or_else(|| error.to_string(), ToString::to_string)))
}
