//! Sweeps: what has expired goes, and what has piled up is folded. Each run is done by one node, in transactions of at most 500 rows.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use narthex_db::{Engine, Tx, p};

use super::{leases, store};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::Result;
use crate::ids::EventId;
use crate::{counters, events, organizations, resources, sessions, users};

/// Rows of one transaction.
pub(crate) const CHUNK: i64 = 500;
/// Transactions of one run. What is left then waits until the other sweeps have had their turn.
const CHUNKS: usize = 20;
/// How long a sweep may hold its lease without a sign of life.
const LEASE: Duration = Duration::from_mins(1);

/// A sweep.
struct Periodic {
    name: &'static str,
    /// How often one is worth looking.
    every: Duration,
    /// The look: a query that finds a row if there is anything to do. An idle node reads, and writes nothing.
    look: Look,
    run: Run,
}

enum Look {
    /// A query that knows the time as `$1`.
    Due(&'static str),
    /// A query that needs no time.
    Any(&'static str),
    /// The same, for a table that SQLite alone has.
    AnyOnSqlite(&'static str),
}

enum Run {
    /// `DELETE` of up to `$2` rows whose `expires_at` has passed at `$1`.
    Expired(&'static str),
    /// Anything else: one transaction's worth, and how many rows it touched.
    Chunk(for<'a> fn(&'a mut Tx, Timestamp) -> Chunk<'a>),
    /// The same for rows that are told of: each in an event with one of these numbers.
    Told(for<'a> fn(&'a mut Tx, &'a [EventId], Timestamp) -> Chunk<'a>),
}

type Chunk<'a> = Pin<Box<dyn Future<Output = Result<usize>> + 'a>>;

/// The sweep of the expired rows of a table, by its key.
macro_rules! expired {
    ($table:literal, $key:literal, $every:expr) => {
        Periodic {
            name: $table,
            every: $every,
            look: Look::Due(concat!("SELECT 1 FROM ", $table, " WHERE expires_at <= $1 LIMIT 1")),
            run: Run::Expired(concat!(
                "DELETE FROM ",
                $table,
                " WHERE (",
                $key,
                ") IN (SELECT ",
                $key,
                " FROM ",
                $table,
                " WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)"
            )),
        }
    };
}

const HOUR: Duration = Duration::from_hours(1);

const SWEEPS: &[Periodic] = &[
    Periodic {
        name: "counters",
        every: Duration::from_secs(5),
        look: Look::Any("SELECT 1 FROM counter_changes LIMIT 1"),
        run: Run::Chunk(|tx, _| Box::pin(counters::fold(tx))),
    },
    Periodic {
        name: "organization_search",
        every: Duration::from_secs(2),
        look: Look::AnyOnSqlite("SELECT 1 FROM organization_search_pending LIMIT 1"),
        run: Run::Chunk(|tx, _| Box::pin(organizations::index_pending(tx))),
    },
    Periodic {
        name: "user_search",
        every: Duration::from_secs(2),
        look: Look::AnyOnSqlite("SELECT 1 FROM user_search_pending LIMIT 1"),
        run: Run::Chunk(|tx, _| Box::pin(users::index_pending(tx))),
    },
    expired!("invitation_tokens", "token_hash", HOUR),
    expired!("mail_outbox", "id", HOUR),
    expired!("grants", "id", Duration::from_mins(1)),
    expired!("auth_requests", "id", Duration::from_mins(5)),
    expired!("auth_errors", "id", HOUR),
    expired!("event_subjects", "user_id, event_id", HOUR),
    expired!("event_redactions", "event_id", HOUR),
    expired!("portal_links", "id", Duration::from_mins(1)),
    expired!("idempotency_keys", "environment_id, caller, name", Duration::from_mins(5)),
    expired!("deleted_organizations", "id", HOUR),
    expired!("assets", "id", Duration::from_mins(15)),
    expired!("operator_links", "token_hash", HOUR),
    expired!("passwordless_requests", "id", Duration::from_mins(5)),
    expired!("passwordless_sends", "id", Duration::from_mins(1)),
    expired!("auth_log", "id", HOUR),
    expired!("passkey_answers", "challenge", Duration::from_mins(1)),
    expired!("passkey_proofs", "hash", Duration::from_mins(1)),
    expired!("totp_registrations", "id", HOUR),
    Periodic {
        name: "sessions",
        every: Duration::from_secs(5),
        look: Look::Due(sessions::RUN_OUT),
        run: Run::Told(|tx, ids, now| Box::pin(sessions::expire(tx, ids, now))),
    },
    Periodic {
        name: "registered_clients",
        every: HOUR,
        look: Look::Due(resources::clients::UNUSED_SINCE),
        run: Run::Chunk(|tx, now| Box::pin(resources::clients::sweep(tx, now))),
    },
    Periodic {
        name: "dead_jobs",
        every: HOUR,
        look: Look::Any("SELECT 1 FROM jobs WHERE state = 2 LIMIT 1"),
        run: Run::Chunk(|tx, now| Box::pin(store::sweep_dead(tx, now))),
    },
    Periodic {
        name: "events",
        every: HOUR,
        look: Look::Due(events::audit::OLDEST_EXPIRED),
        run: Run::Chunk(|tx, now| Box::pin(events::audit::sweep(tx, now))),
    },
];

/// When a process looks for each sweep's work again.
#[derive(Default)]
pub(super) struct Schedule([Timestamp; SWEEPS.len()]);

/// Runs the sweeps that are due and have something to do; how many.
pub(super) async fn run_due(core: &Core, holder: i64, schedule: &mut Schedule) -> Result<usize> {
    let now = core.clock.now();
    let mut due = Vec::new();
    {
        let mut reader = core.db.reader().await?;
        for (sweep, look_at) in SWEEPS.iter().zip(&mut schedule.0) {
            if *look_at <= now && leases::is_due(&mut reader, sweep.name, now).await? {
                *look_at = now.plus(sweep.every);
                if has_work(&mut reader, sweep, now).await? {
                    due.push((sweep, look_at));
                }
            }
        }
    }
    let (mut done, mut failure) = (0, None);
    for (sweep, look_at) in due {
        let (name, again) = (sweep.name, now.plus(sweep.every));
        if core.db.write(async move |tx| leases::begin(tx, name, holder, now, LEASE, again).await).await? {
            // One that fails must not keep the others from their turn.
            match run(core, sweep, holder).await {
                Ok(is_finished) => {
                    done += 1;
                    if !is_finished {
                        *look_at = now;
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
    }
    failure.map_or(Ok(done), Err)
}

async fn has_work(tx: &mut Tx, sweep: &Periodic, now: Timestamp) -> Result<bool> {
    let (sql, params) = match sweep.look {
        Look::Due(sql) => (sql, p![now.0].to_vec()),
        Look::AnyOnSqlite(_) if tx.engine() == Engine::Postgres => return Ok(false),
        Look::Any(sql) | Look::AnyOnSqlite(sql) => (sql, Vec::new()),
    };
    Ok(tx.opt::<(i64,)>(sql, &params).await?.is_some())
}

/// One run; whether it came to its end.
async fn run(core: &Core, sweep: &'static Periodic, holder: i64) -> Result<bool> {
    let now = core.clock.now();
    for _ in 0..CHUNKS {
        let ids = if matches!(sweep.run, Run::Told(_)) { sessions::farewells(core) } else { Vec::new() };
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
                    Run::Told(chunk) => chunk(tx, &ids, now).await,
                }
            })
            .await?;
        if touched == 0 {
            core.db.write(async move |tx| leases::release(tx, sweep.name, holder).await).await?;
            return Ok(true);
        }
    }
    core.db.write(async move |tx| leases::release_undone(tx, sweep.name, holder).await).await?;
    Ok(false)
}
