//! Many rows without many requests: copies of what was created over the API, made in the database while the server does not run.

use rusqlite::{Connection, Transaction};

use crate::Result;
use crate::narthex::Installation;

/// The database of a server that does not run; what `rows` does there is one transaction. Nothing here has to survive a crash.
pub fn seed(installation: &Installation, rows: impl FnOnce(&Transaction<'_>) -> Result<()>) -> Result<()> {
    let mut database = Connection::open(installation.database())?;
    database.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -2000000")?;
    let transaction = database.transaction()?;
    rows(&transaction)?;
    transaction.commit()?;
    database.execute_batch("PRAGMA journal_mode = WAL")?;
    Ok(())
}

/// Copies the row of `table` whose `key` is `id` so many times. The columns in `replaced` get an expression in their place, which
/// may use `copy.number` (from 1).
pub fn copy(
    transaction: &Transaction<'_>,
    table: &str,
    (key, id): (&str, i64),
    copies: u32,
    replaced: &[(&str, &str)],
) -> Result<()> {
    let columns: Vec<String> = transaction
        .prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map([table], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let values: Vec<&str> = columns
        .iter()
        .map(|column| replaced.iter().find(|(name, _)| name == column).map_or(column.as_str(), |(_, value)| value))
        .collect();
    let sql = format!(
        "WITH RECURSIVE copy (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM copy WHERE number < ?2)
         INSERT INTO {table} ({}) SELECT {} FROM {table} CROSS JOIN copy WHERE {table}.{key} = ?1",
        columns.join(", "),
        values.join(", "),
    );
    if transaction.execute(&sql, (id, copies))? != usize::try_from(copies)? {
        return Err(format!("{table} does not have one row to copy").into());
    }
    Ok(())
}

/// Copies an organization; ids hold a time in ms above 22 bits: the copies are of the same ms, or the one before, and older.
pub fn copy_organization(transaction: &Transaction<'_>, id: i64, copies: u32) -> Result<()> {
    let replaced = [("id", "organizations.id - copy.number"), ("external_id", "'customer-' || copy.number")];
    copy(transaction, "organizations", ("id", id), copies, &replaced)?;
    count(transaction, "organizations", id, copies)
}

/// Adds the copies of a row of `table` to the total that its environment keeps.
pub fn count(transaction: &Transaction<'_>, table: &str, id: i64, copies: u32) -> Result<()> {
    let sql = format!(
        "INSERT INTO counters (environment_id, noun, value) SELECT environment_id, '{table}', ?2 FROM {table} WHERE id = ?1
         ON CONFLICT (environment_id, noun) DO UPDATE SET value = value + excluded.value"
    );
    transaction.execute(&sql, (id, copies))?;
    Ok(())
}
