//! How a user goes: at once as far as anybody can see; their traces in stored events a day later, when deliveries of the last ones
//! have had their time.

use std::slice::Iter;
use std::sync::Arc;
use std::time::Duration;

use narthex_db::{Tx, p};
use serde_json::json;

use super::{Identity, NOUN, User, not_found, search, store};
use crate::cache::Bump;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::{self, Actor};
use crate::ids::{EnvId, EventId, UserId};
use crate::jobs::{self, Job, NewJob};
use crate::organizations::share;
use crate::{api_tokens, consents, counters, login, memberships, passkeys, sessions, totp};

/// Takes the personal data of a deleted user out of stored events and other people's memberships, some hundred rows at a time.
pub const ERASE: jobs::Kind = jobs::Kind {
    name: "user.erase",
    queue: jobs::Queue::Work,
    lease: Duration::from_mins(5),
    retry: jobs::DATABASE_RETRIES,
};

/// How long the events of a deleted user stay whole: their deliveries are tried again for about that long.
const GRACE: Duration = Duration::from_hours(24);
/// Memberships that one transaction removes, each with an event and its jobs.
const MEMBERSHIPS: i64 = 40;
/// Events that one transaction rewrites, each with two more rows.
const EVENTS: i64 = 100;

/// Deletes a user with all memberships and sessions. By id it is idempotent: one that does not exist is no error. By external id it is
/// NOT_FOUND.
pub async fn delete(core: &Core, environment: EnvId, by: &Actor, identity: Identity) -> Result<()> {
    let mut user = None;
    loop {
        let (now, by) = (core.clock.now(), by.clone());
        // What an earlier round has begun goes on by id: an external id may belong to somebody else by now.
        let target = user.map_or_else(|| identity.clone(), Identity::Id);
        // In the order of the events.
        let farewells = sessions::farewells(core);
        let ids: Vec<EventId> = (0..MEMBERSHIPS).map(|_| EventId::new(&core.ids)).collect();
        let (found, removal) = core
            .db
            .write_for(share(environment), async move |tx| {
                let Some(user) = store::load(tx, environment, &target).await? else { return Ok((None, None)) };
                let farewells = &mut farewells.iter();
                // First, so that whoever is told of a session's end still knows the membership.
                let all = sessions::Whose::User(user.id);
                let ended = sessions::end_some(tx, environment, &by, all, farewells, now).await?;
                if !ended.is_whole {
                    return Ok((Some(user.id), Some(Removal::later(ended.bumps))));
                }
                let some = memberships::remove_some(tx, &user, &by, &ids, farewells, now).await?;
                let mut removal = if some.is_whole {
                    remove(tx, &user, &by, farewells, now).await?
                } else {
                    Removal::later(Vec::new())
                };
                removal.bumps.extend(ended.bumps);
                removal.bumps.extend(some.bumps);
                Ok::<_, Error>((Some(user.id), Some(removal)))
            })
            .await?;
        let Some(removal) = removal else {
            return match (user, identity) {
                (None, Identity::ExternalId(_)) => Err(not_found()),
                _ => Ok(()),
            };
        };
        user = found;
        core.caches.apply_all(removal.bumps);
        if removal.is_done {
            return Ok(());
        }
    }
}

/// What a transaction has done towards removing a user.
pub(crate) struct Removal {
    /// Whether the user is gone. If not, more sessions are left than one transaction ends: come again.
    pub(crate) is_done: bool,
    /// To apply after the commit.
    pub(crate) bumps: Vec<Bump>,
}

impl Removal {
    fn later(bumps: Vec<Bump>) -> Self {
        Self { is_done: false, bumps }
    }
}

/// Removes a user without memberships: ends the sessions, as many as there are ids for the events that tell of it, then deletes the
/// row and writes the job that erases the traces.
pub(crate) async fn remove(
    tx: &mut Tx,
    user: &User,
    by: &Actor,
    farewells: &mut Iter<'_, EventId>,
    now: Timestamp,
) -> Result<Removal> {
    let all = sessions::Whose::User(user.id);
    let ended = sessions::end_some(tx, user.environment, by, all, farewells, now).await?;
    let mut bumps = ended.bumps;
    let tokens = api_tokens::purge_of_user(tx, user.environment, user.id).await?;
    let consents = consents::purge_of_user(tx, user.environment, user.id).await?;
    let passkeys = passkeys::purge_of_user(tx, user.environment, user.id).await?;
    totp::purge_of_user(tx, user.environment, user.id).await?;
    let is_whole = ended.is_whole && tokens.is_empty() && consents == 0 && passkeys == 0;
    bumps.extend(tokens);
    if !is_whole {
        return Ok(Removal::later(bumps));
    }
    login::purge_of_user(tx, user).await?;
    store::delete(tx, user.environment, user.id).await?;
    search::mark(tx, user.id).await?;
    // Each user comes once and goes once, so its number makes both changes unique.
    counters::add(tx, user.environment, NOUN, -user.id.0, -1).await?;
    tx.execute(
        "INSERT INTO erasures (user_id, environment_id, email_key) VALUES ($1, $2, $3)",
        &p![user.id, user.environment, super::key_of(&user.email)],
    )
    .await?;
    let payload = json!({ "user": user.id.to_string() });
    let job = NewJob { id: user.id.0, kind: &ERASE, environment: user.environment, payload, run_at: now.plus(GRACE) };
    jobs::enqueue(tx, &job, now).await?;
    Ok(Removal { is_done: true, bumps })
}

/// The job [`ERASE`].
pub async fn erase(core: Arc<Core>, job: Job) -> Result<()> {
    let text = job.payload.get("user").and_then(serde_json::Value::as_str).unwrap_or_default();
    let user = UserId::parse(text).ok_or_else(|| Error::internal("an erasure without a user"))?;
    let environment = job.environment;
    while core.db.write_for(share(environment), async move |tx| erase_some(tx, environment, user).await).await? > 0 {}
    Ok(())
}

/// One transaction's worth of traces; 0 when none is left.
async fn erase_some(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<usize> {
    let sql = "SELECT event_id FROM event_subjects WHERE user_id = $1 ORDER BY event_id LIMIT $2";
    let told: Vec<(EventId,)> = tx.all(sql, &p![user, EVENTS]).await?;
    for (event,) in &told {
        events::redact(tx, *event).await?;
        tx.execute("DELETE FROM event_subjects WHERE user_id = $1 AND event_id = $2", &p![user, event]).await?;
    }
    if !told.is_empty() {
        return Ok(told.len());
    }
    let sql = "SELECT email_key FROM erasures WHERE user_id = $1 AND environment_id = $2";
    let Some((key,)): Option<(String,)> = tx.opt(sql, &p![user, environment]).await? else { return Ok(0) };
    // Whoever has the address now has invited people in their own name.
    let sql = "SELECT id FROM users WHERE environment_id = $1 AND email_key = $2";
    if tx.opt::<(i64,)>(sql, &p![environment, &key]).await?.is_none() {
        let invited: Vec<(i64, i64)> = tx
            .all(
                "SELECT organization_id, user_id FROM memberships WHERE environment_id = $1 AND inviter_key = $2 LIMIT $3",
                &p![environment, &key, EVENTS],
            )
            .await?;
        for (organization, member) in &invited {
            let sql = "UPDATE memberships SET inviter_email = NULL, inviter_key = NULL WHERE organization_id = $1 AND user_id = $2";
            tx.execute(sql, &p![organization, member]).await?;
        }
        if !invited.is_empty() {
            return Ok(invited.len());
        }
    }
    tx.execute("DELETE FROM erasures WHERE user_id = $1", &p![user]).await?;
    Ok(0)
}

/// Counts the users of an environment and corrects the kept total: the difference, 0 where they agreed. `id` is a fresh number.
pub async fn recount(tx: &mut Tx, environment: EnvId, id: i64) -> Result<i64> {
    let (counted,): (i64,) = tx.one("SELECT COUNT(*) FROM users WHERE environment_id = $1", &p![environment]).await?;
    counters::correct(tx, environment, NOUN, u64::try_from(counted).unwrap_or(0), id).await
}
