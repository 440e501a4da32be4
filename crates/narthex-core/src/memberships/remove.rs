//! How a membership ends: by itself, with its user, or with its organization.

use std::slice::Iter;

use narthex_db::{Tx, p};

use super::change::find;
use super::{access, store};
use crate::cache::Bump;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::{self, Actor, NewEvent};
use crate::ids::{EnvId, EventId, OrganizationId, UserId};
use crate::organizations::{self, Organization, share};
use crate::sessions;
use crate::users::{self, Identity, User};

/// Memberships that one transaction of an organization's removal takes, each with its user.
const CHUNK: i64 = 20;

/// Ends a membership: its roles and invitation go, and the sessions in the organization end. With `cascade` a user for whom it was the
/// last one is deleted too.
pub async fn remove(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    organization: OrganizationId,
    identity: Identity,
    cascade: bool,
) -> Result<()> {
    let (now, by) = (core.clock.now(), by.clone());
    // In the order of the events.
    let (farewells, event, number) = (sessions::farewells(core), EventId::new(&core.ids), core.ids.next());
    let actor = by.clone();
    let (user, left, bumps) = core
        .db
        .write_for(share(environment), async move |tx| {
            let (organization, user, _) = find(tx, environment, organization, &identity).await?;
            let farewells = &mut farewells.iter();
            let mut ended = end(tx, &organization, &user, &actor, (event, number), farewells, now).await?;
            let goes = cascade && !has_membership(tx, environment, user.id).await?;
            if goes {
                let removal = users::remove(tx, &user, &actor, farewells, now).await?;
                ended.is_whole &= removal.is_done;
                ended.bumps.extend(removal.bumps);
            }
            let left = match (ended.is_whole, goes) {
                (true, _) => Left::Nothing,
                (false, true) => Left::User,
                (false, false) => Left::Sessions,
            };
            Ok::<_, Error>((user.id, left, ended.bumps))
        })
        .await?;
    core.caches.apply_all(bumps);
    match left {
        Left::Nothing => Ok(()),
        Left::User => users::delete(core, environment, &by, Identity::Id(user)).await,
        Left::Sessions => end_sessions(core, environment, &by, organization, user).await,
    }
}

/// What is more than one transaction does.
enum Left {
    Nothing,
    Sessions,
    User,
}

async fn end_sessions(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    organization: OrganizationId,
    user: UserId,
) -> Result<()> {
    let whose = sessions::Whose::Member(user, organization);
    loop {
        let (now, by, farewells) = (core.clock.now(), by.clone(), sessions::farewells(core));
        let ended = core
            .db
            .write_for(share(environment), async move |tx| {
                sessions::end_some(tx, environment, &by, whose, &mut farewells.iter(), now).await
            })
            .await?;
        core.caches.apply_all(ended.bumps);
        if ended.is_whole {
            return Ok(());
        }
    }
}

async fn has_membership(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<bool> {
    // One in an organization that is gone, and that waits for its removal, is none.
    let sql = "SELECT m.organization_id FROM memberships m JOIN organizations o ON o.id = m.organization_id \
               WHERE m.user_id = $1 AND m.environment_id = $2 LIMIT 1";
    Ok(tx.opt::<(i64,)>(sql, &p![user, environment]).await?.is_some())
}

/// Ends the sessions in the organization, as many as there are `farewells`, and then the membership, with the numbers of its event and
/// of the change of the total.
async fn end(
    tx: &mut Tx,
    organization: &Organization,
    user: &User,
    by: &Actor,
    (event, number): (EventId, i64),
    farewells: &mut Iter<'_, EventId>,
    now: Timestamp,
) -> Result<Ended> {
    let environment = user.environment;
    let whose = sessions::Whose::Member(user.id, organization.id);
    let ended = sessions::end_some(tx, environment, by, whose, farewells, now).await?;
    store::delete(tx, environment, organization.id, user.id, number).await?;
    let view = users::view(tx, user.clone(), now).await?;
    let event = NewEvent {
        id: event,
        environment,
        organization: Some(organization.id),
        kind: events::USER_ORGANIZATION_MEMBERSHIP_DELETED,
        occurred_at: now,
        actor: by.clone(),
        data: users::member_data(organization, &view.user, &view.identities),
    };
    users::append(tx, event, user.id).await?;
    let mut bumps = access::bump(tx, [user.id]).await?;
    bumps.extend(ended.bumps);
    Ok(Ended { is_whole: ended.is_whole, bumps })
}

/// What a transaction has removed.
pub(crate) struct Ended {
    /// Whether nothing is left of what there was to remove.
    pub(crate) is_whole: bool,
    /// To apply after the commit.
    pub(crate) bumps: Vec<Bump>,
}

/// Ends as many memberships of a user as there are `ids` for their events.
pub(crate) async fn remove_some(
    tx: &mut Tx,
    user: &User,
    by: &Actor,
    ids: &[EventId],
    farewells: &mut Iter<'_, EventId>,
    now: Timestamp,
) -> Result<Ended> {
    let limit = i64::try_from(ids.len()).unwrap_or(0);
    let sql = "SELECT organization_id FROM memberships WHERE user_id = $1 AND environment_id = $2 ORDER BY organization_id LIMIT $3";
    let found: Vec<(OrganizationId,)> = tx.all(sql, &p![user.id, user.environment, limit]).await?;
    let mut bumps = Vec::new();
    for ((organization,), event) in found.iter().zip(ids) {
        let id = organizations::Identity::Id(*organization);
        match organizations::load(tx, user.environment, &id).await? {
            Some(organization) => {
                bumps.extend(end(tx, &organization, user, by, (*event, event.0), farewells, now).await?.bumps);
            }
            // Gone already: what is left of it goes without an event.
            None => store::delete_uncounted(tx, user.environment, *organization, user.id).await?,
        }
    }
    Ok(Ended { is_whole: found.len() < ids.len(), bumps })
}

/// Removes up to 20 memberships of an organization that is gone, and with each the user who has no other; how many, and what to apply
/// after the commit. There are no events for them (events reference §3).
pub(crate) async fn purge(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    by: &Actor,
    farewells: &mut Iter<'_, EventId>,
    now: Timestamp,
) -> Result<(u64, Vec<Bump>)> {
    let sql = "SELECT user_id FROM memberships WHERE organization_id = $1 ORDER BY user_id LIMIT $2";
    let members: Vec<(UserId,)> = tx.all(sql, &p![organization, CHUNK]).await?;
    if members.is_empty() {
        store::forget_count(tx, organization).await?;
    }
    let mut bumps = Vec::new();
    let mut touched = 0;
    for (member,) in members {
        touched += 1;
        if !has_membership(tx, environment, member).await?
            && let Some(user) = users::load(tx, environment, &Identity::Id(member)).await?
        {
            let removal = users::remove(tx, &user, by, farewells, now).await?;
            bumps.extend(removal.bumps);
            if !removal.is_done {
                break; // its membership stays, so that the next round finds it
            }
        }
        store::delete_uncounted(tx, environment, organization, member).await?;
    }
    Ok((touched, bumps))
}
