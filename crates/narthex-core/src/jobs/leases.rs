//! Work that one node at a time does.

use std::time::Duration;

use narthex_db::{Tx, p};

use crate::clock::Timestamp;
use crate::error::Result;

/// Takes or prolongs the lease `name` for `holder` (a number of its own per process). False if another holds it.
pub(crate) async fn hold(tx: &mut Tx, name: &str, holder: i64, now: Timestamp, length: Duration) -> Result<bool> {
    let held = tx
        .execute(
            "INSERT INTO leases (name, holder, held_until, due_at) VALUES ($1, $2, $3, 0) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until \
             WHERE leases.held_until <= $4 OR leases.holder = excluded.holder",
            &p![name, holder, now.plus(length).0, now.0],
        )
        .await?;
    Ok(held == 1)
}

/// Takes the lease `name` if its work is due and nobody is at it, and sets when it is due again.
pub(crate) async fn begin(
    tx: &mut Tx,
    name: &str,
    holder: i64,
    now: Timestamp,
    length: Duration,
    due_again: Timestamp,
) -> Result<bool> {
    let begun = tx
        .execute(
            "INSERT INTO leases (name, holder, held_until, due_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until, due_at = excluded.due_at \
             WHERE leases.held_until <= $5 AND leases.due_at <= $5",
            &p![name, holder, now.plus(length).0, due_again.0, now.0],
        )
        .await?;
    Ok(begun == 1)
}

/// Gives a lease back, if it is still held.
pub(crate) async fn release(tx: &mut Tx, name: &str, holder: i64) -> Result<()> {
    tx.execute("UPDATE leases SET held_until = 0 WHERE name = $1 AND holder = $2", &p![name, holder]).await?;
    Ok(())
}

/// Gives a lease back whose work is not at its end: it is due at once.
pub(crate) async fn release_undone(tx: &mut Tx, name: &str, holder: i64) -> Result<()> {
    tx.execute("UPDATE leases SET held_until = 0, due_at = 0 WHERE name = $1 AND holder = $2", &p![name, holder])
        .await?;
    Ok(())
}

/// Whether [`begin`] would succeed; for a look before a write.
pub(crate) async fn is_due(tx: &mut Tx, name: &str, now: Timestamp) -> Result<bool> {
    let row: Option<(i64, i64)> = tx.opt("SELECT held_until, due_at FROM leases WHERE name = $1", &p![name]).await?;
    Ok(row.is_none_or(|(held_until, due_at)| held_until <= now.0 && due_at <= now.0))
}
