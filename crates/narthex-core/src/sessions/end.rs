//! Ending users' sessions: through the API, and with what they rest on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::slice::Iter;

use narthex_db::{DbError, FromRow, Row, Tx, p};
use serde_json::{Value, json};

use super::details::{COLUMNS, Details, Status, Stored, data, load};
use super::{bump, notice};
use crate::cache::{self, Bump};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::events::{self, Actor, NewEvent};
use crate::ids::{EnvId, EventId, MemberId, OrganizationId, SessionId, UserId};
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
            tell(tx, environment, &by, std::slice::from_ref(&session), &mut [event_id].iter(), now).await?;
            Ok::<_, Error>((session, Some(bump(tx, id).await?)))
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    Ok(session)
}

/// Ends a session as its user wishes: its status is `logout`. One that has ended already stays as it is, and so does one that the
/// environment does not have.
pub async fn log_out(core: &Core, environment: EnvId, by: &Actor, id: SessionId) -> Result<()> {
    let (now, by, event_id) = (core.clock.now(), by.clone(), EventId::new(&core.ids));
    let bump = core
        .db
        .write_for(share(environment), async move |tx| {
            let live = load(tx, environment, id).await?.map(|session| session.at(now));
            if live.is_none_or(|session| session.status != Status::Active) {
                return Ok(None);
            }
            tx.execute("UPDATE sessions SET revoked_at = $2, ended_as = 2 WHERE id = $1", &p![id, now]).await?;
            let session = load(tx, environment, id).await?.ok_or_else(|| Error::not_found(SessionId::NOUN))?.at(now);
            tell(tx, environment, &by, std::slice::from_ref(&session), &mut [event_id].iter(), now).await?;
            Ok::<_, Error>(Some(bump(tx, id).await?))
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    Ok(())
}

/// Revokes every live session of a user; those that it revoked, newest first. NOT_FOUND if the environment has no such user.
///
/// Up to a hundred end together, in one transaction; of more, some may have ended where the call fails, and are not counted when it is
/// made again. Of several calls at once each session is counted by one.
pub async fn end_all(core: &Core, environment: EnvId, by: &Actor, user: UserId) -> Result<Vec<Details>> {
    let mut all = Vec::new();
    loop {
        let (now, by, ids) = (core.clock.now(), by.clone(), ids(core));
        let ended = core
            .db
            .write_for(share(environment), async move |tx| {
                users::load(tx, environment, &users::Identity::Id(user)).await?.ok_or_else(users::not_found)?;
                end_some(tx, environment, &by, Whose::User(user), &mut ids.iter(), now).await
            })
            .await;
        match ended {
            // The user went with the rest.
            Err(error) if error.kind() == Kind::NotFound && !all.is_empty() => return Ok(all),
            Err(error) => return Err(error),
            Ok(ended) => {
                core.caches.apply_all(ended.bumps);
                all.extend(ended.sessions);
                if ended.is_whole {
                    all.sort_unstable_by_key(|session| std::cmp::Reverse(session.id));
                    return Ok(all);
                }
            }
        }
    }
}

/// Ends the sessions that were opened for an operator, within the transaction that removes them. Apply the bumps after the commit.
pub(crate) async fn end_of_member(tx: &mut Tx, member: MemberId, now: Timestamp) -> Result<Vec<Bump>> {
    let sql =
        "UPDATE sessions SET revoked_at = $1, ended_as = 1 WHERE member_id = $2 AND revoked_at IS NULL RETURNING id";
    let ended: Vec<(SessionId,)> = tx.all(sql, &p![now, member]).await?;
    bump_each(tx, ended.into_iter().map(|(id,)| id)).await
}

/// Sessions that one transaction ends: each is a row, an event with its jobs, and a row that says whom the event is about.
const MOST: usize = 100;

/// Numbers for the events of the sessions that one transaction may end, made outside of it.
pub(crate) fn ids(core: &Core) -> Vec<EventId> {
    (0..MOST).map(|_| EventId::new(&core.ids)).collect()
}

/// Whose sessions end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    /// All of a user.
    User(UserId),
    /// Those of a user in an organization.
    Member(UserId, OrganizationId),
    /// All in an organization, its portal's too.
    Organization(OrganizationId),
}

/// What a transaction has ended.
pub(crate) struct Ended {
    /// Users' sessions.
    pub(crate) sessions: Vec<Details>,
    /// Whether none is left.
    pub(crate) is_whole: bool,
    /// To apply after the commit.
    pub(crate) bumps: Vec<Bump>,
}

/// Revokes live sessions, newest first, within the transaction that ends what they rest on, and tells of each: as many as there are
/// `ids`, which it takes. Sessions that nobody is signed in with have no event.
pub(crate) async fn end_some(
    tx: &mut Tx,
    environment: EnvId,
    by: &Actor,
    whose: Whose,
    ids: &mut Iter<'_, EventId>,
    now: Timestamp,
) -> Result<Ended> {
    let (condition, mut values) = match whose {
        Whose::User(user) => ("user_id = $4", p![user].to_vec()),
        Whose::Member(user, organization) => ("user_id = $4 AND organization_id = $5", p![user, organization].to_vec()),
        Whose::Organization(organization) => ("organization_id = $4", p![organization].to_vec()),
    };
    let limit = ids.len();
    let mut all = p![now, environment, i64::try_from(limit).unwrap_or(i64::MAX)].to_vec();
    all.append(&mut values);
    let live = format!(
        "SELECT id FROM sessions WHERE environment_id = $2 AND {condition} AND revoked_at IS NULL AND expires_at > $1 \
         AND (idle_expires_at IS NULL OR idle_expires_at > $1)"
    );
    let sql = format!(
        "UPDATE sessions SET revoked_at = $1, ended_as = 1 WHERE id IN ({live} AND kind = 1 ORDER BY id DESC LIMIT $3) \
         RETURNING {COLUMNS}"
    );
    let ended: Vec<Stored> = tx.all(&sql, &all).await?;
    let mut sessions: Vec<Details> = ended.into_iter().map(|session| session.at(now)).collect();
    sessions.sort_unstable_by_key(|session| std::cmp::Reverse(session.id));
    tell(tx, environment, by, &sessions, ids, now).await?;
    let mut count = sessions.len();
    let mut ended: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
    if matches!(whose, Whose::Organization(_)) {
        let sql = format!(
            "UPDATE sessions SET revoked_at = $1, ended_as = 1 WHERE id IN ({live} AND kind <> 1 ORDER BY id DESC LIMIT $3) \
             RETURNING id"
        );
        let others: Vec<(SessionId,)> = tx.all(&sql, &all).await?;
        count = count.max(others.len());
        ended.extend(others.into_iter().map(|(id,)| id));
    }
    let bumps = bump_each(tx, ended).await?;
    Ok(Ended { sessions, is_whole: count < limit, bumps })
}

/// Raises the version of each scope that the sessions are in once.
pub(super) async fn bump_each(tx: &mut Tx, sessions: impl IntoIterator<Item = SessionId>) -> Result<Vec<Bump>> {
    let scopes = sessions.into_iter().map(cache::session_scope).collect();
    cache::bump_all(tx, scopes).await.map_err(Error::from)
}

/// Writes `user.logout` for sessions that have just ended, and orders that applications are told. Without the user there is nobody to tell of: users go together with their
/// sessions.
async fn tell(
    tx: &mut Tx,
    environment: EnvId,
    by: &Actor,
    sessions: &[Details],
    ids: &mut Iter<'_, EventId>,
    now: Timestamp,
) -> Result<()> {
    let mut known: HashMap<UserId, Option<Value>> = HashMap::new();
    for (session, id) in sessions.iter().zip(ids) {
        notice::order(tx, environment, session, now).await?;
        if let Entry::Vacant(unknown) = known.entry(session.user) {
            let user = users::load(tx, environment, &users::Identity::Id(session.user)).await?;
            unknown.insert(match user {
                Some(user) => {
                    let view = users::view(tx, user, now).await?;
                    Some(users::data(&view.user, &view.identities))
                }
                None => None,
            });
        }
        let Some(Some(user)) = known.get(&session.user) else { continue };
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

/// Whether a session has run out that nobody has ended, at `$1`.
pub(crate) const RUN_OUT: &str = "SELECT 1 FROM sessions WHERE kind = 1 AND revoked_at IS NULL AND expires_at <= $1 \
     UNION ALL SELECT 1 FROM sessions WHERE kind = 1 AND revoked_at IS NULL AND idle_expires_at <= $1 LIMIT 1";

/// Ends sessions that have run out, as many as there are `ids`, and tells of each: nobody may ever ask for them again. How many.
/// They counted for nobody any more, so no cache has to be told.
pub(crate) async fn expire(tx: &mut Tx, ids: &[EventId], now: Timestamp) -> Result<usize> {
    let mut ids = ids.iter();
    let mut count = 0;
    for end in ["expires_at", "idle_expires_at"] {
        let sql = format!(
            "UPDATE sessions SET ended_as = 3, revoked_at = CASE WHEN idle_expires_at < expires_at THEN idle_expires_at \
             ELSE expires_at END WHERE id IN (SELECT id FROM sessions WHERE kind = 1 AND revoked_at IS NULL AND {end} <= $1 \
             ORDER BY {end} LIMIT $2) RETURNING environment_id, {COLUMNS}"
        );
        let limit = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        let ended: Vec<Expired> = tx.all(&sql, &p![now, limit]).await?;
        count += ended.len();
        for Expired(environment, session) in ended {
            tell(tx, environment, &Actor::SYSTEM, &[session.at(now)], &mut ids, now).await?;
        }
    }
    Ok(count)
}

/// A session with its environment.
struct Expired(EnvId, Stored);

impl FromRow for Expired {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self(row.get(0)?, Stored::read(row, 1)?))
    }
}
