//! Sweeps: what has expired goes, and what has piled up is folded. Each run is done by one node, in transactions of at most 500 rows.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use narthex_db::{Tx, p};

use super::leases;
use crate::core::Core;
use crate::error::Result;
use crate::{counters, events, organizations};

/// Rows of one transaction.
pub(crate) const CHUNK: i64 = 500;
/// Transactions of one run. What is left then waits until the other sweeps have had their turn.
const CHUNKS: usize = 20;
/// How long a sweep may hold its lease without a sign of life.
const LEASE: Duration = Duration::from_mins(1);

/// A sweep.
struct Periodic {
    name: &'static str,
    every: Duration,
    run: Run,
}

enum Run {
    /// `DELETE` of up to `$2` rows whose `expires_at` has passed at `$1`.
    Expired(&'static str),
    /// Anything else: one transaction's worth, and how many rows it touched.
    Chunk(for<'a> fn(&'a mut Tx, crate::clock::Timestamp) -> Chunk<'a>),
}

type Chunk<'a> = Pin<Box<dyn Future<Output = Result<usize>> + 'a>>;

/// The statement that removes up to 500 expired rows of a table, by its key.
macro_rules! expired {
    ($table:literal, $key:literal) => {
        Run::Expired(concat!(
            "DELETE FROM ",
            $table,
            " WHERE (",
            $key,
            ") IN (SELECT ",
            $key,
            " FROM ",
            $table,
            " WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)"
        ))
    };
}

const HOUR: Duration = Duration::from_hours(1);

const SWEEPS: &[Periodic] = &[
    Periodic { name: "counters", every: Duration::from_secs(5), run: Run::Chunk(|tx, _| Box::pin(counters::fold(tx))) },
    Periodic {
        name: "organization_search",
        every: Duration::from_secs(2),
        run: Run::Chunk(|tx, _| Box::pin(organizations::index_pending(tx))),
    },
    Periodic { name: "portal_links", every: Duration::from_mins(1), run: expired!("portal_links", "id") },
    Periodic {
        name: "idempotency_keys",
        every: Duration::from_mins(5),
        run: expired!("idempotency_keys", "environment_id, caller, name"),
    },
    Periodic { name: "deleted_organizations", every: HOUR, run: expired!("deleted_organizations", "id") },
    Periodic { name: "events", every: HOUR, run: Run::Chunk(|tx, now| Box::pin(events::audit::sweep(tx, now))) },
];

/// Runs the sweeps that are due; how many.
pub(super) async fn run_due(core: &Core, holder: i64) -> Result<usize> {
    let now = core.clock.now();
    let mut due = Vec::new();
    {
        let mut reader = core.db.reader().await?;
        for sweep in SWEEPS {
            if leases::is_due(&mut reader, sweep.name, now).await? {
                due.push(sweep);
            }
        }
    }
    let (mut done, mut failure) = (0, None);
    for sweep in due {
        let (name, again) = (sweep.name, now.plus(sweep.every));
        if core.db.write(async move |tx| leases::begin(tx, name, holder, now, LEASE, again).await).await? {
            // One that fails must not keep the others from their turn.
            match run(core, sweep, holder).await {
                Ok(()) => done += 1,
                Err(error) => failure = Some(error),
            }
        }
    }
    failure.map_or(Ok(done), Err)
}

async fn run(core: &Core, sweep: &'static Periodic, holder: i64) -> Result<()> {
    let now = core.clock.now();
    for _ in 0..CHUNKS {
        let touched = core
            .db
            .write(async move |tx| {
                if !leases::hold(tx, sweep.name, holder, now, LEASE).await? {
                    return Ok(0);
                }
                match &sweep.run {
                    Run::Expired(delete) => {
                        let gone = tx.execute(delete, &p![now.0, CHUNK]).await?;
                        Ok::<_, crate::Error>(usize::try_from(gone).unwrap_or(usize::MAX))
                    }
                    Run::Chunk(chunk) => chunk(tx, now).await,
                }
            })
            .await?;
        if touched == 0 {
            return core.db.write(async move |tx| leases::release(tx, sweep.name, holder).await).await;
        }
    }
    core.db.write(async move |tx| leases::release_undone(tx, sweep.name, holder).await).await
}
