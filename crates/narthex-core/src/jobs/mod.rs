//! Jobs: work that follows a change, written in its transaction and done after it.
//!
//! A job is claimed by its state under a lease; a node that dies loses its leases to the others. Handlers may therefore run twice
//! and must be idempotent. What keeps failing is kept as a dead letter, visible to operators.

pub mod leases;
pub mod periodic;
mod store;
mod worker;

use std::time::Duration;

use narthex_db::Tx;

pub use store::{DeadJob, dead, revive};
pub use worker::{Handlers, drain, drain_with, run, run_with};

use crate::clock::Timestamp;
use crate::error::Result;
use crate::ids::{EnvId, EventId};

/// Who takes a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// The audit sealer, in batches and in order.
    Audit = 1,
    /// Any worker, each job by itself, environments in turn.
    Work = 2,
}

/// A kind of job, as data.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Name, e.g. `organization.cascade`.
    pub name: &'static str,
    /// Who takes it.
    pub queue: Queue,
    /// How long one run may take; also the length of its lease.
    pub lease: Duration,
    /// How long to wait after each failed run. After the last, the job is dead.
    pub retry: &'static [Duration],
}

/// Retries of work that touches nothing but the database: soon, and for about a day.
pub const DATABASE_RETRIES: &[Duration] = &[
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(6),
    Duration::from_hours(18),
];

/// A job about to be written.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Number made outside the transaction; unique within the kind.
    pub id: i64,
    /// Kind.
    pub kind: &'static Kind,
    /// Environment that it works for, and whose share of the workers it uses.
    pub environment: EnvId,
    /// What the handler is given: names of rows, not copies of them, and no secrets.
    pub payload: serde_json::Value,
    /// Not before.
    pub run_at: Timestamp,
}

/// A job as its handler sees it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Number.
    pub id: i64,
    /// Kind.
    pub kind: String,
    /// Environment.
    pub environment: EnvId,
    /// What it was written with.
    pub payload: serde_json::Value,
    /// Runs so far, this one included.
    pub attempts: u32,
    /// Token of the lease that this run holds.
    lease: i64,
}

/// Writes a job, in the transaction of the change that it follows.
pub async fn enqueue(tx: &mut Tx, job: &NewJob, now: Timestamp) -> Result<()> {
    store::insert(tx, job.id, job.kind, job.environment, &job.payload.to_string(), job.run_at, now).await
}

/// Writes the job of one consumer of an event.
pub(crate) async fn enqueue_for_event(
    tx: &mut Tx,
    kind: &Kind,
    environment: EnvId,
    event: EventId,
    now: Timestamp,
) -> Result<()> {
    store::insert(tx, event.0, kind, environment, "null", now, now).await
}
