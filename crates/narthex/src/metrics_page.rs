//! The `/metrics` page: counters of this process, of its database handle, and what the database says of jobs and keys.

use http::Response;
use narthex_core::{Error, keys};
use narthex_db::{Metrics as DbMetrics, p};

use crate::gate::State;
use crate::metrics::{Exposition, render_process};
use crate::reply::{self, Body};

/// Renders everything.
pub async fn serve(state: &State) -> Response<Body> {
    let mut text = Exposition::default();
    state.metrics.render(&mut text);
    render_process(&mut text);
    text.single("narthex_open_connections", "gauge", "Open client connections.", state.drain.open_connections());
    database(state.core.db.metrics(), &mut text);
    let caches = state.core.caches.lookups();
    text.family("narthex_cache_hits_total", "counter", "Lookups that a cache answered.");
    for (cache, lookups) in &caches {
        text.sample("narthex_cache_hits_total", &[("cache", cache)], lookups.hits);
    }
    text.family(
        "narthex_cache_misses_total",
        "counter",
        "Lookups that went to the database, or to the work that a cache saves.",
    );
    for (cache, lookups) in &caches {
        text.sample("narthex_cache_misses_total", &[("cache", cache)], lookups.misses);
    }
    if let Err(error) = stored(state, &mut text).await {
        // The page must not go dark with the database: that is when it is read.
        tracing::warn!(?error, "metrics of stored state are left out");
    }
    reply::text(Exposition::CONTENT_TYPE, text.finish())
}

fn database(metrics: &DbMetrics, text: &mut Exposition) {
    for (name, help, counter) in [
        ("narthex_db_batches_total", "Batches that the writer committed, one fsync each.", &metrics.batches),
        ("narthex_db_commits_total", "Write transactions committed.", &metrics.commits),
        ("narthex_db_rollbacks_total", "Write transactions rolled back.", &metrics.rollbacks),
        ("narthex_db_retries_total", "Transactions run again after a conflict.", &metrics.retries),
        ("narthex_db_refused_total", "Writes refused because the queue was full or slow.", &metrics.refused),
        ("narthex_db_unknown_outcomes_total", "Commits whose outcome could not be learnt.", &metrics.unknown_outcomes),
        ("narthex_db_checkpoints_total", "WAL checkpoints.", &metrics.checkpoints),
        ("narthex_db_connects_total", "Connections made to the database.", &metrics.connects),
    ] {
        text.single(name, "counter", help, DbMetrics::get(counter));
    }
    text.single(
        "narthex_db_queue_depth",
        "gauge",
        "Writes waiting for the writer.",
        DbMetrics::get(&metrics.queue_depth),
    );
    text.single("narthex_db_wal_bytes", "gauge", "Size of the write-ahead log.", DbMetrics::get(&metrics.wal_bytes));
}

async fn stored(state: &State, text: &mut Exposition) -> Result<(), Error> {
    let core = &state.core;
    let now = core.clock.now();
    let environments: Vec<(narthex_core::ids::EnvId,)> =
        core.db.reader().await?.all("SELECT id FROM environments", &[]).await?;
    let mut oldest = 0;
    for (environment,) in environments {
        for key in keys::list(core, environment).await? {
            if key.state == keys::KeyState::Current {
                oldest = oldest.max(now.seconds() - key.activated_at.unwrap_or(key.created_at).seconds());
            }
        }
    }
    // Capped: a page that is read every few seconds must not walk a backlog of millions.
    let sql = "SELECT COUNT(*), MIN(run_at) FROM (SELECT run_at FROM jobs WHERE state = 0 AND run_at <= $1 LIMIT 10000) AS due";
    let (due, oldest_due): (i64, Option<i64>) =
        core.db.read(async move |tx| tx.one(sql, &p![now]).await.map_err(Error::from)).await?;
    text.single("narthex_jobs_due", "gauge", "Jobs that wait for a worker, at most 10000.", due);
    let lag = oldest_due.map_or(0, |run_at| now.seconds() - run_at.div_euclid(1_000_000));
    text.single("narthex_jobs_oldest_due_seconds", "gauge", "How long the oldest of them has waited.", lag);
    text.single("narthex_signing_key_age_seconds", "gauge", "Age of the oldest signing key in use.", oldest);
    Ok(())
}
