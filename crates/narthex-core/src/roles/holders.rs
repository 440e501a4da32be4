//! The memberships that hold a role. Invitations that ran out hold nothing any more, whatever is still written with them.

use narthex_db::{Tx, p};

use super::{Role, Scope};
use crate::cache::Bump;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::events::{self, Actor, NewEvent};
use crate::ids::{EnvId, EventId, OrganizationId, RoleId, UserId};
use crate::{memberships, organizations, users};

/// The rows of `membership_roles h` that count: all but those of an invitation that has run out (state 3 is invited).
macro_rules! holding {
    ($select:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM membership_roles h WHERE h.environment_id = $1 AND h.role_id = $2 AND NOT EXISTS \
             (SELECT 1 FROM memberships m WHERE m.organization_id = h.organization_id AND m.user_id = h.user_id \
              AND m.state = 3 AND m.expires_at <= $3)",
            $rest
        )
    };
}

/// How many users hold a role directly, in the environment or in one organization.
pub(super) async fn count(tx: &mut Tx, role: &Role, within: Scope, now: Timestamp) -> Result<u32> {
    let (count,): (i64,) = match within {
        Scope::Environment => {
            let sql = holding!("SELECT COUNT(DISTINCT h.user_id)", "");
            tx.one(sql, &p![role.environment, role.id, now.0]).await?
        }
        Scope::Organization(organization) => {
            let sql = holding!("SELECT COUNT(*)", " AND h.organization_id = $4");
            tx.one(sql, &p![role.environment, role.id, now.0, organization]).await?
        }
    };
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Whether anybody holds a role.
pub(super) async fn any(tx: &mut Tx, role: &Role, now: Timestamp) -> Result<bool> {
    let sql = holding!("SELECT h.user_id", " LIMIT 1");
    Ok(tx.opt::<(i64,)>(sql, &p![role.environment, role.id, now.0]).await?.is_some())
}

/// Up to `limit` memberships that a role is written with, those of invitations that ran out among them.
pub(super) async fn some(
    tx: &mut Tx,
    environment: EnvId,
    role: RoleId,
    limit: i64,
) -> Result<Vec<(OrganizationId, UserId)>> {
    let sql = "SELECT organization_id, user_id FROM membership_roles WHERE environment_id = $1 AND role_id = $2 \
               ORDER BY organization_id, user_id LIMIT $3";
    Ok(tx.all(sql, &p![environment, role, limit]).await?)
}

/// What a transaction has done towards taking a role from all who hold it.
pub(super) struct Shifted {
    /// Whether none is left.
    pub is_last: bool,
    /// To apply after the commit.
    pub bumps: Vec<Bump>,
}

/// Takes a role from as many memberships as there are `event_ids`, and gives them `target` instead, which they may hold already. Each
/// membership that changes so is an event.
pub(super) async fn shift(
    tx: &mut Tx,
    role: &Role,
    target: RoleId,
    by: &Actor,
    event_ids: &[EventId],
    now: Timestamp,
) -> Result<Shifted> {
    let limit = i64::try_from(event_ids.len()).unwrap_or(i64::MAX);
    let holders = some(tx, role.environment, role.id, limit).await?;
    let is_last = holders.len() < event_ids.len();
    let bumps = memberships::bump(tx, holders.iter().map(|(_, user)| *user)).await?;
    for ((organization, user), event_id) in holders.into_iter().zip(event_ids) {
        super::assign(tx, role.environment, organization, user, &[target]).await?;
        super::unassign(tx, role.environment, organization, user, role.id).await?;
        tell(tx, role.environment, organization, user, by, *event_id, now).await?;
    }
    Ok(Shifted { is_last, bumps })
}

/// Takes a role that nobody holds from up to `limit` invitations that ran out; true when none is left.
pub(super) async fn forget(tx: &mut Tx, role: &Role, limit: i64) -> Result<bool> {
    let written = some(tx, role.environment, role.id, limit).await?;
    let is_last = i64::try_from(written.len()).is_ok_and(|written| written < limit);
    for (organization, user) in written {
        super::unassign(tx, role.environment, organization, user, role.id).await?;
    }
    Ok(is_last)
}

/// Writes that a membership has changed.
async fn tell(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
    by: &Actor,
    event_id: EventId,
    now: Timestamp,
) -> Result<()> {
    let id = organizations::Identity::Id(organization);
    // What is being deleted has roles a little longer than itself; nobody is told of those.
    let Some(found) = organizations::load(tx, environment, &id).await? else { return Ok(()) };
    let Some(person) = users::load(tx, environment, &users::Identity::Id(user)).await? else { return Ok(()) };
    let Some(mut membership) = memberships::load(tx, environment, organization, user).await? else { return Ok(()) };
    membership.updated_at = now.max(membership.updated_at);
    memberships::store_update(tx, &membership).await?;
    let view = users::view(tx, person, now).await?;
    let event = NewEvent {
        id: event_id,
        environment,
        organization: Some(organization),
        kind: events::USER_ORGANIZATION_MEMBERSHIP_UPDATED,
        occurred_at: now,
        actor: by.clone(),
        data: users::member_data(&found, &view.user, &view.identities),
    };
    users::append(tx, event, user).await
}
