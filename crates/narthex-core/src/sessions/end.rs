//! Ending users' sessions through the API.

use narthex_db::{Tx, p};
use serde_json::json;

use super::bump;
use super::details::{COLUMNS, Details, Status, Stored, data, load};
use crate::cache::{self, Bump};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::{self, Actor, NewEvent};
use crate::ids::{EnvId, EventId, SessionId, UserId};
use crate::organizations::share;
use crate::users;

/// Revokes a user's session: its tokens are refused from now on, on other nodes within a second. One that has ended already is
/// answered as it is (oauth-oidc reference OP-14). NOT_FOUND if the environment, or `owner` where one is named, has none of this id.
pub async fn end(core: &Core, environment: EnvId, by: &Actor, id: SessionId, owner: Option<UserId>) -> Result<Details> {
    let (now, by, event_id) = (core.clock.now(), by.clone(), EventId::new(&core.ids));
    let (session, bump) = core
        .db
        .write_for(share(environment), async move |tx| {
            let stored = load(tx, environment, id).await?;
            let stored = stored.filter(|session| owner.is_none_or(|owner| owner == session.user));
            let session = stored.ok_or_else(|| Error::not_found(SessionId::NOUN))?.at(now);
            if session.status != Status::Active {
                return Ok((session, None));
            }
            tx.execute("UPDATE sessions SET revoked_at = $2, ended_as = 1 WHERE id = $1", &p![id, now]).await?;
            let session = load(tx, environment, id).await?.ok_or_else(|| Error::not_found(SessionId::NOUN))?.at(now);
            tell(tx, environment, &by, std::slice::from_ref(&session), &[event_id], now).await?;
            Ok::<_, Error>((session, Some(bump(tx, id).await?)))
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    Ok(session)
}

/// Revokes every live session of a user, all or none; those that it revoked, newest first. NOT_FOUND if the environment has no such
/// user.
pub async fn end_all(core: &Core, environment: EnvId, by: &Actor, user: UserId) -> Result<Vec<Details>> {
    let (now, by, ids) = (core.clock.now(), by.clone(), core.ids.clone());
    let (sessions, bumps) = core
        .db
        .write_for(share(environment), async move |tx| {
            users::load(tx, environment, &users::Identity::Id(user)).await?.ok_or_else(users::not_found)?;
            let sql = format!(
                "UPDATE sessions SET revoked_at = $1, ended_as = 1 WHERE environment_id = $2 AND user_id = $3 AND kind = 1 \
                 AND revoked_at IS NULL AND expires_at > $1 AND (idle_expires_at IS NULL OR idle_expires_at > $1) RETURNING {COLUMNS}"
            );
            let ended: Vec<Stored> = tx.all(&sql, &p![now, environment, user]).await?;
            let mut sessions: Vec<Details> = ended.into_iter().map(|session| session.at(now)).collect();
            sessions.sort_unstable_by_key(|session| std::cmp::Reverse(session.id));
            // How many there are is known here only; a run that is made again draws new numbers.
            let events: Vec<EventId> = sessions.iter().map(|_| EventId::new(&ids)).collect();
            tell(tx, environment, &by, &sessions, &events, now).await?;
            let bumps = bump_each(tx, &sessions).await?;
            Ok::<_, Error>((sessions, bumps))
        })
        .await?;
    for bump in bumps {
        core.caches.apply(bump);
    }
    Ok(sessions)
}

/// Raises the version of each scope that the sessions are in once, in one order for everybody.
async fn bump_each(tx: &mut Tx, sessions: &[Details]) -> Result<Vec<Bump>> {
    let mut scopes: Vec<String> = sessions.iter().map(|session| cache::session_scope(session.id)).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let mut bumps = Vec::with_capacity(scopes.len());
    for scope in scopes {
        bumps.push(cache::bump(tx, &scope).await?);
    }
    Ok(bumps)
}

/// Writes `user.logout` for sessions of one user that have just ended. Without the user there is nobody to tell of: users go
/// together with their sessions.
async fn tell(
    tx: &mut Tx,
    environment: EnvId,
    by: &Actor,
    sessions: &[Details],
    ids: &[EventId],
    now: Timestamp,
) -> Result<()> {
    let Some(first) = sessions.first() else { return Ok(()) };
    let Some(user) = users::load(tx, environment, &users::Identity::Id(first.user)).await? else { return Ok(()) };
    let view = users::view(tx, user, now).await?;
    let user = users::data(&view.user, &view.identities);
    for (session, id) in sessions.iter().zip(ids) {
        let event = NewEvent {
            id: *id,
            environment,
            organization: session.organization,
            kind: events::USER_LOGOUT,
            occurred_at: now,
            actor: by.clone(),
            data: json!({ "user": user, "user_session": data(session) }),
        };
        users::append(tx, event, session.user).await?;
    }
    Ok(())
}
