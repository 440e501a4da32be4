//! Migrations on PostgreSQL, safe when several nodes start at once.
//!
//! The lock is row 0 of the record itself. Advisory locks would be shorter, but not every server that speaks the
//! protocol has them (CockroachDB).

use super::Pg;
use crate::migrate::{Applied, CREATE_TABLE, INSERT_APPLIED, Migration, SELECT_APPLIED, next};
use crate::tx::{Fate, Fault};
use crate::{DbError, Engine, p};

/// Tries of one step, for collisions with another node in the moment that the record's table is made.
const TRIES: u32 = 20;

const INSERT_LOCK: &str =
    "INSERT INTO schema_migrations (id, name, checksum) VALUES (0, 'lock', '') ON CONFLICT DO NOTHING";
const TAKE_LOCK: &str = "SELECT id FROM schema_migrations WHERE id = 0 FOR UPDATE";

/// Reads the record; a database without one has nothing applied.
pub(crate) async fn applied(pg: &mut Pg) -> Result<Applied, DbError> {
    let (known,): (bool,) = pg
        .query("SELECT to_regclass('schema_migrations') IS NOT NULL", &[], 1)
        .await
        .map_err(|fault| fault.error)?
        .pop()
        .ok_or(DbError::NoRow)?;
    if known { record(pg).await.map_err(|fault| fault.error) } else { Ok(Applied::new()) }
}

async fn record(pg: &mut Pg) -> Result<Applied, Fault> {
    let rows: Vec<(u32, String, String)> = pg.query(SELECT_APPLIED, &[], usize::MAX).await?;
    Ok(rows.into_iter().map(|(id, name, checksum)| (id, (name, checksum))).collect())
}

/// Applies what is pending, each migration in a transaction of its own; the ids that this call applied.
pub(crate) async fn migrate(mut pg: Pg, migrations: &[Migration<'_>]) -> Result<Vec<u32>, DbError> {
    let mut done = Vec::new();
    let mut tries = 0;
    // Outside of the steps, so that a program without pending migrations needs no right to create tables.
    while next(migrations, &applied(&mut pg).await?, Engine::Postgres)?.is_some() {
        match step(&mut pg, migrations).await {
            Ok(None) => {}
            Ok(Some(migration)) => {
                tracing::info!(id = migration.id, name = migration.name, "migration applied");
                done.push(migration.id);
                tries = 0;
            }
            Err(fault) => {
                // Without a connection there is no transaction left to end either.
                if fault.fate == Fate::Lost {
                    return Err(fault.error);
                }
                pg.control("ROLLBACK").await.map_err(|fault| fault.error)?;
                tries += 1;
                let collision = fault.fate == Fate::Retry || is_catalogue_collision(&fault.error);
                if !collision || tries == TRIES {
                    return Err(fault.error);
                }
                tokio::time::sleep(std::time::Duration::from_millis(20 * u64::from(tries))).await;
            }
        }
    }
    Ok(done)
}

/// Two `CREATE TABLE IF NOT EXISTS` at once: the loser violates a unique index of the system catalogue.
fn is_catalogue_collision(error: &DbError) -> bool {
    matches!(error, DbError::Unique { constraint } if constraint.starts_with("pg_"))
}

/// Takes the lock and applies the first migration that is still pending under it.
async fn step<'m, 'a>(pg: &mut Pg, migrations: &'m [Migration<'a>]) -> Result<Option<&'m Migration<'a>>, Fault> {
    // READ COMMITTED: what is read after the lock was granted must be what its last holder left.
    pg.control("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    pg.control(CREATE_TABLE).await?;
    pg.execute(INSERT_LOCK, &[]).await?;
    pg.query::<(i64,)>(TAKE_LOCK, &[], 1).await?;
    let pending = next(migrations, &record(pg).await?, Engine::Postgres)?;
    if let Some(migration) = pending {
        pg.control(migration.postgres).await.map_err(|fault| failed(migration, fault))?;
        let sum = migration.checksum(Engine::Postgres);
        pg.execute(INSERT_APPLIED, &p![migration.id, migration.name, sum]).await?;
    }
    pg.commit().await?;
    Ok(pending)
}

fn failed(migration: &Migration<'_>, fault: Fault) -> Fault {
    if fault.fate != Fate::Doomed || is_catalogue_collision(&fault.error) {
        return fault;
    }
    Fault::doomed(DbError::Schema(format!("migration {} {} failed: {}", migration.id, migration.name, fault.error)))
}
