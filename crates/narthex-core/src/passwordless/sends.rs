//! How many mails go to one address: two a minute, whoever asks for them.

use std::time::Duration;

use narthex_db::{Tx, p};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::EnvId;
use crate::users;

/// Mails to an address …
const MAILS: i64 = 2;
/// … in so much time.
const WINDOW: Duration = Duration::from_mins(1);

/// Counts a mail, by a number made outside. RESOURCE_EXHAUSTED says after how many seconds the next one may go; it counts nothing.
pub(super) async fn count(tx: &mut Tx, environment: EnvId, email: &str, number: i64, now: Timestamp) -> Result<()> {
    let address = users::key_of(email);
    let sql = "SELECT COUNT(*), MIN(expires_at) FROM passwordless_sends WHERE environment_id = $1 AND address = $2 AND expires_at > $3";
    let (sent, first): (i64, Option<i64>) = tx.one(sql, &p![environment, &address, now]).await?;
    if sent >= MAILS {
        let wait = first.unwrap_or(now.0).saturating_sub(now.0).max(0);
        return Err(Error::rate_limited(u32::try_from(wait / 1_000_000 + 1).unwrap_or(u32::MAX)));
    }
    let sql = "INSERT INTO passwordless_sends (id, environment_id, address, expires_at) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, &p![number, environment, &address, now.plus(WINDOW)]).await?;
    Ok(())
}

/// Takes a mail back that was not sent.
pub(super) async fn take_back(tx: &mut Tx, number: i64) -> Result<()> {
    tx.execute("DELETE FROM passwordless_sends WHERE id = $1", &p![number]).await?;
    Ok(())
}
