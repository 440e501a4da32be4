//! NEXT → CURRENT → RETIRED → REMOVED, driven by the clock, and the way out in an emergency.

use std::time::Duration;

use narthex_db::p;

use super::{KeyState, SigningKeyInfo, generate, store};
use crate::cache::{self, Bump};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::ids::{EnvId, SigningKeyId};
use crate::seal::active_data_key;

/// How long a NEXT key is published before it signs, unless the operator says otherwise.
pub const OVERLAP: Duration = Duration::from_hours(7 * 24);

/// Another node may sign with a retired key until its caches notice, and clocks differ a little.
const SLACK: Duration = Duration::from_mins(1);

/// Begins a rotation: publishes a NEXT key that signs after `overlap`. With no overlap it signs at once, and SDK processes that have
/// cached the JWKS refuse its tokens until they restart. FAILED_PRECONDITION while another rotation is under way, unless `overlap` is
/// zero: then the waiting key is activated now.
pub async fn rotate(core: &Core, environment: EnvId, overlap: Duration) -> Result<SigningKeyId> {
    let data_key = active_data_key(core, environment).await?;
    let key = generate(core, environment, &data_key).await?;
    let (now, real_now) = (core.clock.now(), core.clock.real_now());
    let (id, bump) = core
        .db
        .write(async move |tx| {
            let waiting = store::id_in_state(tx, environment, KeyState::Next).await?;
            let id = match waiting {
                Some(_) if !overlap.is_zero() => {
                    return Err(Error::new(Kind::FailedPrecondition, "a rotation is under way already"));
                }
                Some(waiting) => waiting,
                None => {
                    store::insert_next(tx, &key, now, now.plus(overlap)).await?;
                    key.id
                }
            };
            if overlap.is_zero() {
                promote(tx, environment, now, real_now).await?;
            }
            Ok((id, cache::bump(tx, cache::SIGNING_KEYS).await?))
        })
        .await?;
    core.caches.apply(bump);
    Ok(id)
}

/// NEXT becomes CURRENT, CURRENT becomes RETIRED.
async fn promote(tx: &mut narthex_db::Tx, environment: EnvId, now: Timestamp, real_now: Timestamp) -> Result<bool> {
    if store::id_in_state(tx, environment, KeyState::Next).await?.is_none() {
        return Ok(false);
    }
    store::retire_current(tx, environment, now, real_now.plus(SLACK)).await?;
    store::activate_next(tx, environment, now).await
}

/// Does what is due: activates keys whose overlap has passed on the movable clock, and removes retired keys whose last token has
/// expired on the real one, which is the clock of tokens. Returns how many keys changed.
pub async fn tick(core: &Core) -> Result<usize> {
    let (now, real_now) = (core.clock.now(), core.clock.real_now());
    let sql = "SELECT id, environment_id, state FROM signing_keys \
               WHERE (state = 1 AND activate_at <= $1) OR (state = 3 AND remove_at <= $2)";
    let due: Vec<(SigningKeyId, EnvId, i32)> = core.db.reader().await?.all(sql, &p![now, real_now]).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let (changed, bump) = core
        .db
        .write(async move |tx| {
            let mut changed = 0;
            for &(id, environment, state) in &due {
                // Another node may have done it since the read.
                let sql = "SELECT id FROM signing_keys WHERE id = $1 AND state = $2";
                if tx.opt::<(SigningKeyId,)>(sql, &p![id, state]).await?.is_none() {
                    continue;
                }
                if store::state(state)? == KeyState::Next {
                    promote(tx, environment, now, real_now).await?;
                } else {
                    store::remove(tx, id, now, false).await?;
                }
                changed += 1;
            }
            Ok::<(usize, Bump), Error>((changed, cache::bump(tx, cache::SIGNING_KEYS).await?))
        })
        .await?;
    core.caches.apply(bump);
    Ok(changed)
}

/// Removes a key at once, for when its private half may be known to others: every token it signed is refused from now on, on other
/// nodes within a second. If it was CURRENT, the NEXT key or a new one signs.
pub async fn withdraw(core: &Core, environment: EnvId, id: SigningKeyId) -> Result<()> {
    let data_key = active_data_key(core, environment).await?;
    // Made in any case: whether it is needed is known only in the transaction, where nothing slow may happen.
    let replacement = generate(core, environment, &data_key).await?;
    let (now, real_now) = (core.clock.now(), core.clock.real_now());
    let bump = core
        .db
        .write(async move |tx| {
            let sql = "SELECT state FROM signing_keys WHERE id = $1 AND environment_id = $2";
            let (state,): (i32,) =
                tx.opt(sql, &p![id, environment]).await?.ok_or_else(|| Error::not_found("signing key"))?;
            if store::state(state)? == KeyState::Current && !promote(tx, environment, now, real_now).await? {
                store::remove(tx, id, now, true).await?;
                store::insert_current(tx, &replacement, now).await?;
            } else {
                store::remove(tx, id, now, true).await?;
            }
            cache::bump(tx, cache::SIGNING_KEYS).await.map_err(Error::from)
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

/// The keys of an environment, oldest first, removed ones included.
pub async fn list(core: &Core, environment: EnvId) -> Result<Vec<SigningKeyInfo>> {
    let sql = format!("SELECT {} FROM signing_keys WHERE environment_id = $1 ORDER BY id", store::INFO);
    Ok(core.db.reader().await?.all(&sql, &p![environment]).await?)
}
