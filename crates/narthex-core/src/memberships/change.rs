//! Changes of a membership: roles and data. Its state is not changed here.

use std::collections::BTreeMap;

use narthex_db::Tx;

use super::{Membership, access, add, not_found, store};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::{self, Actor, NewEvent};
use crate::ids::{EnvId, EventId, OrganizationId, UserId};
use crate::organizations::{self, Organization, share};
use crate::permissions::Permission;
use crate::roles::{self, Reference, Role};
use crate::users::{self, Identity, User};

/// Replaces roles and metadata, each unless it is empty, and answers with the user.
pub async fn update(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    organization: OrganizationId,
    identity: Identity,
    references: Vec<Reference>,
    metadata: BTreeMap<String, String>,
) -> Result<users::View> {
    if let Some(violation) = add::nul("membership.metadata", &metadata) {
        return Err(Error::violations(vec![violation]));
    }
    change(core, environment, by, organization, identity, async move |tx, membership| {
        let mut changed = false;
        if !references.is_empty() {
            let roles = roles::resolve(tx, environment, organization, &references, "membership.roles").await?;
            let roles: Vec<_> = roles.iter().map(|role| role.id).collect();
            changed |= roles::replace(tx, environment, organization, membership.user, &roles).await?;
        }
        if !metadata.is_empty() && metadata != membership.metadata {
            membership.metadata.clone_from(&metadata);
            changed = true;
        }
        Ok(changed)
    })
    .await
}

/// Gives roles besides those held, and answers with all that are held now.
pub async fn assign_roles(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    organization: OrganizationId,
    user: UserId,
    references: Vec<Reference>,
) -> Result<Vec<Role>> {
    let view = change(core, environment, by, organization, Identity::Id(user), async move |tx, membership| {
        let roles = roles::resolve(tx, environment, organization, &references, "roles").await?;
        let roles: Vec<_> = roles.iter().map(|role| role.id).collect();
        roles::assign(tx, environment, organization, membership.user, &roles).await
    })
    .await?;
    let held = view.memberships.into_iter().find(|held| held.membership.organization == organization);
    held.map(|held| held.roles).ok_or_else(not_found)
}

/// Takes one role. NOT_FOUND for one that is not held directly. A member may end with none.
pub async fn remove_role(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    organization: OrganizationId,
    user: UserId,
    name: String,
) -> Result<()> {
    change(core, environment, by, organization, Identity::Id(user), async move |tx, membership| {
        let held = roles::of_membership(tx, environment, organization, membership.user).await?;
        let role = held.iter().find(|role| role.name == name).ok_or_else(roles::not_found)?;
        roles::unassign(tx, environment, organization, membership.user, role.id).await
    })
    .await?;
    Ok(())
}

/// The roles of a user in an organization, and then those that they extend.
pub async fn roles_of(
    core: &Core,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
) -> Result<Vec<Role>> {
    core.db
        .read(async move |tx| {
            find(tx, environment, organization, &Identity::Id(user)).await?;
            let roles = roles::of_membership(tx, environment, organization, user).await?;
            roles::with_bases(tx, environment, roles).await
        })
        .await
}

/// What a user may do in an organization, by name.
pub async fn permissions_of(
    core: &Core,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
) -> Result<Vec<Permission>> {
    core.db
        .read(async move |tx| {
            find(tx, environment, organization, &Identity::Id(user)).await?;
            let roles = roles::of_membership(tx, environment, organization, user).await?;
            let roles: Vec<_> = roles.iter().map(|role| role.id).collect();
            roles::effective_permissions(tx, environment, &roles).await
        })
        .await
}

/// Organization, user and membership, each NOT_FOUND by its own name.
pub(super) async fn find(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    identity: &Identity,
) -> Result<(Organization, User, Membership)> {
    let id = organizations::Identity::Id(organization);
    let organization = organizations::load(tx, environment, &id).await?.ok_or_else(organizations::not_found)?;
    let user = users::load(tx, environment, identity).await?.ok_or_else(users::not_found)?;
    let membership = store::load(tx, environment, organization.id, user.id).await?.ok_or_else(not_found)?;
    Ok((organization, user, membership))
}

/// Changes a membership. `edit` tells whether it has changed anything; if not, there is no event.
async fn change<F>(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    organization: OrganizationId,
    identity: Identity,
    edit: F,
) -> Result<users::View>
where
    F: AsyncFn(&mut Tx, &mut Membership) -> Result<bool> + Send + 'static,
{
    let (now, by, event) = (core.clock.now(), by.clone(), EventId::new(&core.ids));
    let (view, bumps) = core
        .db
        .write_for(share(environment), async move |tx| {
            let (organization, user, mut membership) = find(tx, environment, organization, &identity).await?;
            if !edit(tx, &mut membership).await? {
                return Ok((users::view(tx, user, now).await?, Vec::new()));
            }
            membership.updated_at = now.max(membership.updated_at);
            store::update(tx, &membership).await?;
            let view = users::view(tx, user, now).await?;
            let event = NewEvent {
                id: event,
                environment,
                organization: Some(organization.id),
                kind: events::USER_ORGANIZATION_MEMBERSHIP_UPDATED,
                occurred_at: now,
                actor: by.clone(),
                data: users::member_data(&organization, &view.user, &view.identities),
            };
            users::append(tx, event, view.user.id).await?;
            let bumps = access::bump(tx, [view.user.id]).await?;
            Ok::<_, Error>((view, bumps))
        })
        .await?;
    core.caches.apply_all(bumps);
    Ok(view)
}
