//! How a login makes somebody a member: by signing an organization up, by an allowed domain, or by accepting an invitation.

use std::collections::BTreeMap;

use narthex_db::Tx;

use super::{Membership, Provisioning, State, seats, store};
use crate::clock::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::events::{self, Actor, NewEvent};
use crate::ids::{EventId, UserId};
use crate::invitations;
use crate::organizations::Organization;
use crate::roles;
use crate::users::{self, User, UserManagement};

/// Every membership of a user, oldest organization first.
pub(crate) async fn of_user(tx: &mut Tx, user: &User) -> Result<Vec<(Membership, String)>> {
    store::of_users(tx, user.environment, &[user.id], None).await
}

/// Makes a user a member of an organization that they are no member of. FAILED_PRECONDITION without a seat, and for a second
/// organization where there may be one only. `event` is a fresh number.
pub(crate) async fn join(
    tx: &mut Tx,
    organization: &Organization,
    user: &User,
    provisioning: Provisioning,
    event: EventId,
    now: Timestamp,
) -> Result<()> {
    let environment = organization.environment;
    let settings = users::load_user_management(tx, environment).await?;
    alone(tx, &settings, user, organization).await?;
    seats::take(tx, organization, &settings, now).await?;
    let role = match provisioning {
        Provisioning::Creator => roles::default_creator(tx, environment).await?,
        _ => roles::default_member(tx, environment, organization.id).await?,
    };
    let membership = Membership {
        organization: organization.id,
        user: user.id,
        environment,
        state: State::Active,
        metadata: BTreeMap::new(),
        inviter_email: None,
        provisioning,
        invited_at: None,
        expires_at: None,
        accepted_at: None,
        joined_at: Some(now),
        resent_at: None,
        resent_count: 0,
        created_at: now,
        updated_at: now,
    };
    store::insert(tx, &membership, event.0).await?;
    let roles: Vec<_> = role.into_iter().map(|role| role.id).collect();
    roles::assign(tx, environment, organization.id, user.id, &roles).await?;
    tell(tx, organization, user, event, now).await
}

/// Takes an invitation up that still runs. Its links are worthless from then on.
pub(crate) async fn accept(
    tx: &mut Tx,
    organization: &Organization,
    user: &User,
    mut membership: Membership,
    event: EventId,
    now: Timestamp,
) -> Result<()> {
    membership.state = State::Active;
    membership.accepted_at = Some(now);
    membership.joined_at = Some(now);
    membership.updated_at = now.max(membership.updated_at);
    store::update(tx, &membership).await?;
    invitations::revoke(tx, organization.id, user.id).await?;
    tell(tx, organization, user, event, now).await
}

async fn alone(tx: &mut Tx, settings: &UserManagement, user: &User, organization: &Organization) -> Result<()> {
    if settings.allows_second_organization() {
        return Ok(());
    }
    let others = store::of_users(tx, user.environment, &[user.id], None).await?;
    if others.iter().all(|(membership, _)| membership.organization == organization.id) {
        return Ok(());
    }
    let text = "the user is a member of another organization, and may be of one only";
    Err(Error::new(Kind::FailedPrecondition, text))
}

async fn tell(tx: &mut Tx, organization: &Organization, user: &User, event: EventId, now: Timestamp) -> Result<()> {
    let view = users::view(tx, user.clone(), now).await?;
    let user_id: UserId = user.id;
    let event = NewEvent {
        id: event,
        environment: organization.environment,
        organization: Some(organization.id),
        kind: events::USER_ORGANIZATION_MEMBERSHIP_CREATED,
        occurred_at: now,
        actor: Actor::user(user_id),
        data: users::member_data(organization, &view.user, &view.identities),
    };
    users::append(tx, event, user_id).await
}
