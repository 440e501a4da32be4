//! Migrations on SQLite, run on the writer's connection between two batches.

use rusqlite::Connection;

use super::connection::map;
use crate::migrate::{Applied, CREATE_TABLE, INSERT_APPLIED, Migration, SELECT_APPLIED, next};
use crate::{DbError, Engine};

/// Reads the record; a database without one has nothing applied.
pub(crate) fn applied(conn: &Connection) -> Result<Applied, DbError> {
    read(conn).map_err(|error| map(&error).error)
}

fn read(conn: &Connection) -> rusqlite::Result<Applied> {
    let known = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'";
    if conn.query_row(known, (), |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Applied::new());
    }
    let mut statement = conn.prepare(SELECT_APPLIED)?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    rows.collect()
}

/// Applies what is pending, each migration in a transaction of its own; the ids that were applied.
pub(crate) fn migrate(conn: &mut Connection, migrations: &[Migration<'_>]) -> Result<Vec<u32>, DbError> {
    let mut done = Vec::new();
    while let Some(migration) = next(migrations, &applied(conn)?, Engine::Sqlite)? {
        // Rebuilding a table drops the old one, which with foreign keys on would delete what refers to it. They are
        // off while the migration runs (the pragma has no effect inside a transaction) and checked before it commits. A new index is
        // sorted in files: in memory it would need as much as it is long.
        let result = conn
            .pragma_update(None, "foreign_keys", false)
            .and_then(|()| conn.pragma_update(None, "temp_store", "DEFAULT"))
            .map_err(|error| map(&error).error)
            .and_then(|()| apply(conn, migration));
        conn.pragma_update(None, "foreign_keys", true)
            .and_then(|()| conn.pragma_update(None, "temp_store", "MEMORY"))
            .map_err(|error| map(&error).error)?;
        result?;
        tracing::info!(id = migration.id, name = migration.name, "migration applied");
        done.push(migration.id);
    }
    Ok(done)
}

fn apply(conn: &mut Connection, migration: &Migration<'_>) -> Result<(), DbError> {
    let failed = |what: &dyn std::fmt::Display| {
        DbError::Schema(format!("migration {} {} failed: {what}", migration.id, migration.name))
    };
    let storage = |error: rusqlite::Error| match map(&error).error {
        unavailable @ DbError::Unavailable(_) => unavailable,
        other => failed(&other),
    };
    // Dropping `tx` on the way out rolls back.
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(storage)?;
    tx.execute_batch(CREATE_TABLE).map_err(storage)?;
    tx.execute_batch(migration.sqlite).map_err(storage)?;
    if tx.is_autocommit() {
        return Err(failed(&"it ended the transaction that it runs in"));
    }
    let broken: Option<String> = {
        let mut statement = tx.prepare("PRAGMA foreign_key_check").map_err(storage)?;
        let mut rows = statement.query(()).map_err(storage)?;
        rows.next().map_err(storage)?.map(|row| row.get(0)).transpose().map_err(storage)?
    };
    if let Some(table) = broken {
        return Err(failed(&format!("it leaves rows of {table} that refer to nothing")));
    }
    let sum = migration.checksum(Engine::Sqlite);
    tx.execute(INSERT_APPLIED, (migration.id, migration.name, sum)).map_err(storage)?;
    tx.commit().map_err(storage)
}
