//! Which role who gets when none is named. Changing it never changes a membership that exists.

use std::collections::BTreeMap;

use narthex_db::{Tx, p};

use super::change::event;
use super::read::{View, view};
use super::store::{self, Default};
use super::{Include, Reference, Role, Scope};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::{self, Actor, NewEvent};
use crate::ids::{EnvId, EventId, OrganizationId, RoleId};
use crate::organizations::{self, Identity, share};

/// New defaults of an environment; what is absent stays.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Role of who signs an organization up.
    pub creator: Option<Reference>,
    /// Role of new members.
    pub member: Option<Reference>,
}

/// Sets the defaults of an environment, to roles of the environment; both as they are then. A name that is no such role is
/// INVALID_ARGUMENT, and nothing changes.
pub async fn set_defaults(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    defaults: Defaults,
) -> Result<(Option<View>, Option<View>)> {
    if defaults.creator.is_none() && defaults.member.is_none() {
        let text = "default_creator_role or default_member_role is required";
        return Err(Error::invalid("default_creator_role", "required", text));
    }
    let (now, by) = (core.clock.now(), by.clone());
    // At most two roles lose a mark and two gain one.
    let event_ids: [EventId; 4] = std::array::from_fn(|_| EventId::new(&core.ids));
    core.db
        .write_for(share(environment), async move |tx| {
            let mut touched = BTreeMap::new();
            let wanted = [
                (Default::Creator, &defaults.creator, "default_creator_role"),
                (Default::Member, &defaults.member, "default_member_role"),
            ];
            for (of, reference, field) in wanted {
                let Some(reference) = reference else { continue };
                let chosen = find(tx, environment, Scope::Environment, reference, field).await?;
                let current = store::environment_default(tx, environment, of).await?;
                if current.as_ref().is_some_and(|current| current.id == chosen.id) {
                    continue;
                }
                for (role, is_default) in current.into_iter().map(|role| (role, false)).chain([(chosen, true)]) {
                    let role = touched.entry(role.id).or_insert(role);
                    match of {
                        Default::Creator => role.default_creator = is_default,
                        Default::Member => role.default_member = is_default,
                    }
                }
            }
            for (role, event_id) in touched.into_values().zip(event_ids) {
                let role = Role { updated_at: now.max(role.updated_at), ..role };
                store::update(tx, &role).await?;
                events::append(tx, event(event_id, &role, events::ROLE_UPDATED, &by)).await?;
            }
            let creator = shown(tx, environment, Default::Creator).await?;
            Ok::<_, Error>((creator, shown(tx, environment, Default::Member).await?))
        })
        .await
}

async fn shown(tx: &mut Tx, environment: EnvId, of: Default) -> Result<Option<View>> {
    match store::environment_default(tx, environment, of).await? {
        None => Ok(None),
        Some(role) => view(tx, environment, Scope::Environment, role, Include::Nothing).await.map(Some),
    }
}

/// Sets the role of an organization's new members, one of its own or of the environment, in place of the environment's default.
pub async fn set_organization_default(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    organization: OrganizationId,
    member: Reference,
) -> Result<View> {
    let (now, by, event_id) = (core.clock.now(), by.clone(), EventId::new(&core.ids));
    core.db
        .write_for(share(environment), async move |tx| {
            let found = organizations::load(tx, environment, &Identity::Id(organization)).await?;
            let found = found.ok_or_else(organizations::not_found)?;
            let scope = Scope::Organization(organization);
            let role = find(tx, environment, scope, &member, "default_member_role").await?;
            if store::organization_default(tx, environment, organization).await? != Some(role.id) {
                tx.execute(
                    "INSERT INTO organization_default_roles (organization_id, environment_id, member_role_id, updated_at) \
                     VALUES ($1, $2, $3, $4) ON CONFLICT (organization_id) \
                     DO UPDATE SET member_role_id = excluded.member_role_id, updated_at = excluded.updated_at",
                    &p![organization, environment, role.id, now.0],
                )
                .await?;
                // The default is a setting of the organization; no role has changed.
                let event = NewEvent {
                    id: event_id,
                    environment,
                    organization: Some(organization),
                    kind: events::ORGANIZATION_UPDATED,
                    occurred_at: now,
                    actor: by.clone(),
                    data: organizations::data(&found, None),
                };
                events::append(tx, event).await?;
            }
            view(tx, environment, scope, role, Include::Nothing).await
        })
        .await
}

/// The role that a request means; INVALID_ARGUMENT naming `field` if there is none. Parameters that were once for ids carry names, and
/// the other way round (orgs-users-rbac reference §7.3), so what is no name may be an id.
pub(super) async fn find(
    tx: &mut Tx,
    environment: EnvId,
    scope: Scope,
    reference: &Reference,
    field: &str,
) -> Result<Role> {
    let found = match reference {
        Reference::Name(name) => match store::visible(tx, environment, scope, name).await? {
            None => match RoleId::parse(name) {
                Some(id) => store::visible_by_id(tx, environment, scope, id).await?,
                None => None,
            },
            found => found,
        },
        Reference::Id(id) => store::visible_by_id(tx, environment, scope, *id).await?,
    };
    found.ok_or_else(|| Error::invalid(field, "role.exists", "role not found"))
}
