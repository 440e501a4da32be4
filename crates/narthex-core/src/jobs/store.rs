//! The table of jobs.

use narthex_db::{DbError, Engine, FromRow, Row, Tx, p};

use super::{Job, Kind, Queue};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::EnvId;

/// Environments that one claim looks at.
const VISITS: usize = 64;
/// Jobs that one environment may get before the next one has its turn.
const TURN: i64 = 4;
/// Characters of an error that are kept.
const ERROR_LENGTH: usize = 500;

pub(super) async fn insert(
    tx: &mut Tx,
    id: i64,
    kind: &Kind,
    environment: EnvId,
    payload: &str,
    run_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    tx.execute(
        "INSERT INTO jobs (id, kind, queue, environment_id, payload, state, run_at, attempts, created_at) \
         VALUES ($1, $2, $3, $4, $5, 0, $6, 0, $7)",
        &p![id, kind.name, kind.queue as i64, environment, payload, run_at.0, now.0],
    )
    .await?;
    Ok(())
}

/// The first environment after `cursor` with a job that is due, beginning again from the lowest. Skips from environment to
/// environment, so that neither many jobs of one nor many future jobs make it slow. Nothing is found if none of the next 64 has any;
/// the second value is where to go on.
pub(super) async fn due_environment(
    tx: &mut Tx,
    queue: Queue,
    cursor: EnvId,
    now: Timestamp,
) -> Result<(Option<EnvId>, EnvId)> {
    let mut at = cursor;
    let mut wrapped = false;
    for _ in 0..VISITS {
        let next: Option<(EnvId,)> = tx
            .opt(
                "SELECT environment_id FROM jobs WHERE queue = $1 AND state = 0 AND environment_id > $2 \
                 ORDER BY environment_id LIMIT 1",
                &p![queue as i64, at],
            )
            .await?;
        match next {
            Some((environment,)) => {
                let due: Option<(i64,)> = tx
                    .opt(
                        "SELECT run_at FROM jobs WHERE queue = $1 AND state = 0 AND environment_id = $2 AND run_at <= $3 LIMIT 1",
                        &p![queue as i64, environment, now.0],
                    )
                    .await?;
                if due.is_some() {
                    return Ok((Some(environment), environment));
                }
                at = environment;
                if wrapped && at >= cursor {
                    break;
                }
            }
            None if wrapped => break,
            None => {
                wrapped = true;
                at = EnvId(i64::MIN);
            }
        }
    }
    Ok((None, at))
}

/// Whether a job of any environment is due. Reads every job at worst.
pub(super) async fn any_due(tx: &mut Tx, now: Timestamp) -> Result<bool> {
    let sql = "SELECT id FROM jobs WHERE queue = $1 AND state = 0 AND run_at <= $2 LIMIT 1";
    Ok(tx.opt::<(i64,)>(sql, &p![Queue::Work as i64, now.0]).await?.is_some())
}

/// Whether a lease has ended whose job may be reclaimed; for a look before a write.
pub(super) async fn any_lease_ended(tx: &mut Tx, now: Timestamp) -> Result<bool> {
    let ended: Option<(i64,)> =
        tx.opt("SELECT id FROM jobs WHERE state = 1 AND lease_until <= $1 LIMIT 1", &p![now.0]).await?;
    Ok(ended.is_some())
}

/// Leases up to `limit` jobs that are due, environments in turn beginning after `cursor`; also the new cursor.
pub(super) async fn claim(
    tx: &mut Tx,
    cursor: EnvId,
    limit: usize,
    lease: i64,
    lease_of: impl Fn(&str) -> std::time::Duration,
    now: Timestamp,
) -> Result<(Vec<Job>, EnvId)> {
    let mut claimed = Vec::new();
    let mut cursor = cursor;
    while claimed.len() < limit {
        let (environment, at) = due_environment(tx, Queue::Work, cursor, now).await?;
        cursor = at;
        let Some(environment) = environment else { break };
        let room = i64::try_from(limit - claimed.len()).unwrap_or(TURN).min(TURN);
        // The two engines' texts differ by the clause that keeps PostgreSQL's workers out of each other's way.
        let sql = match tx.engine() {
            Engine::Sqlite => {
                "SELECT id, kind, payload, attempts FROM jobs WHERE queue = $1 AND state = 0 AND environment_id = $2 \
                 AND run_at <= $3 ORDER BY run_at LIMIT $4"
            }
            Engine::Postgres => {
                "SELECT id, kind, payload, attempts FROM jobs WHERE queue = $1 AND state = 0 AND environment_id = $2 \
                 AND run_at <= $3 ORDER BY run_at LIMIT $4 FOR UPDATE SKIP LOCKED"
            }
        };
        let due: Vec<(i64, String, String, u32)> =
            tx.all(sql, &p![Queue::Work as i64, environment, now.0, room]).await?;
        if due.is_empty() {
            break; // another worker holds them all
        }
        for (id, kind, payload, attempts) in due {
            tx.execute(
                "UPDATE jobs SET state = 1, lease = $3, lease_until = $4, attempts = $5 WHERE id = $1 AND kind = $2",
                &p![id, &kind, lease, now.plus(lease_of(&kind)).0, attempts + 1],
            )
            .await?;
            let payload = serde_json::from_str(&payload).map_err(Error::internal)?;
            claimed.push(Job { id, kind, environment, payload, attempts: attempts + 1, lease });
        }
    }
    Ok((claimed, cursor))
}

/// Makes jobs ready again whose worker let its lease run out; dead, if that was their last try. How many there were.
pub(super) async fn reclaim(tx: &mut Tx, tries_of: impl Fn(&str) -> usize, now: Timestamp) -> Result<usize> {
    let sql = match tx.engine() {
        Engine::Sqlite => "SELECT id, kind, attempts FROM jobs WHERE state = 1 AND lease_until <= $1 LIMIT 100",
        Engine::Postgres => {
            "SELECT id, kind, attempts FROM jobs WHERE state = 1 AND lease_until <= $1 LIMIT 100 FOR UPDATE SKIP LOCKED"
        }
    };
    let ended: Vec<(i64, String, u32)> = tx.all(sql, &p![now.0]).await?;
    for (id, kind, attempts) in &ended {
        let state = if *attempts as usize >= tries_of(kind) { 2 } else { 0 };
        tx.execute(
            "UPDATE jobs SET state = $3, run_at = $4, lease = NULL, lease_until = NULL, last_error = $5 WHERE id = $1 AND kind = $2",
            &p![id, kind, state, now.0, "its worker went away"],
        )
        .await?;
    }
    Ok(ended.len())
}

/// Removes a job that is done. False if the lease was lost meanwhile: then another worker answers for it.
pub(super) async fn complete(tx: &mut Tx, job: &Job) -> Result<bool> {
    let done = tx
        .execute(
            "DELETE FROM jobs WHERE id = $1 AND kind = $2 AND state = 1 AND lease = $3",
            &p![job.id, &job.kind, job.lease],
        )
        .await?;
    Ok(done == 1)
}

/// Puts a failed job back for `retry_at`, or aside for good.
pub(super) async fn fail(tx: &mut Tx, job: &Job, error: &str, retry_at: Option<Timestamp>) -> Result<()> {
    let error: String = error.chars().filter(|c| *c != '\0').take(ERROR_LENGTH).collect();
    tx.execute(
        "UPDATE jobs SET state = $4, run_at = COALESCE($5, run_at), last_error = $6, lease = NULL, lease_until = NULL \
         WHERE id = $1 AND kind = $2 AND state = 1 AND lease = $3",
        &p![job.id, &job.kind, job.lease, if retry_at.is_some() { 0 } else { 2 }, retry_at.map(|at| at.0), error],
    )
    .await?;
    Ok(())
}

/// Gives a job back that this worker has no handler for, without counting the run: a newer node may have one.
pub(super) async fn release(tx: &mut Tx, job: &Job, run_at: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE jobs SET state = 0, run_at = $4, attempts = attempts - 1, lease = NULL, lease_until = NULL \
         WHERE id = $1 AND kind = $2 AND state = 1 AND lease = $3",
        &p![job.id, &job.kind, job.lease, run_at.0],
    )
    .await?;
    Ok(())
}

/// A job that failed for the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadJob {
    /// Number.
    pub id: i64,
    /// Kind.
    pub kind: String,
    /// Runs.
    pub attempts: u32,
    /// What the last run said.
    pub last_error: String,
}

impl FromRow for DeadJob {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get(0)?,
            kind: row.get(1)?,
            attempts: row.get(2)?,
            last_error: row.get::<Option<String>>(3)?.unwrap_or_default(),
        })
    }
}

/// Dead jobs of an environment, oldest first, at most 500.
pub async fn dead(tx: &mut Tx, environment: EnvId) -> Result<Vec<DeadJob>> {
    let sql =
        "SELECT id, kind, attempts, last_error FROM jobs WHERE environment_id = $1 AND state = 2 ORDER BY id LIMIT 500";
    Ok(tx.all(sql, &p![environment]).await?)
}

/// How long dead jobs are kept.
const KEPT: std::time::Duration = std::time::Duration::from_hours(90 * 24);

/// Removes dead jobs that nobody has looked after for 90 days, up to 500; how many.
pub(super) async fn sweep_dead(tx: &mut Tx, now: Timestamp) -> Result<usize> {
    let before = now.0.saturating_sub(i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX));
    let sql =
        "DELETE FROM jobs WHERE (id, kind) IN (SELECT id, kind FROM jobs WHERE state = 2 AND run_at <= $1 LIMIT 500)";
    let gone = tx.execute(sql, &p![before]).await?;
    Ok(usize::try_from(gone).unwrap_or(usize::MAX))
}

/// Gives a dead job all its tries again. False if there is no such dead job.
pub async fn revive(tx: &mut Tx, environment: EnvId, id: i64, kind: &str, now: Timestamp) -> Result<bool> {
    let revived = tx
        .execute(
            "UPDATE jobs SET state = 0, attempts = 0, run_at = $4 WHERE id = $1 AND kind = $2 AND environment_id = $3 AND state = 2",
            &p![id, kind, environment, now.0],
        )
        .await?;
    Ok(revived == 1)
}
