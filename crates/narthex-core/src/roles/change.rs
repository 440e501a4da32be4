//! Roles made and changed: the row, what it grants, the event and its jobs in one transaction.

use std::sync::Arc;

use narthex_db::Tx;

use super::{Base, NewRole, PERMISSIONS, Role, RolePatch, Scope, allowed, chain, data, not_found, store};
use crate::core::Core;
use crate::error::{Error, Result, Violation};
use crate::events::{self, Actor, EventKind, NewEvent};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{EnvId, EventId, PermissionId, RoleId};
use crate::organizations::{self, Identity, share};
use crate::permissions::{self, Permission};

/// Creates a role. A taken name is INVALID_ARGUMENT, and so is the name of an environment's role in one of its organizations and the
/// other way round: both meet in one claim of a token. A base or permission that does not exist is INVALID_ARGUMENT.
pub async fn create(
    core: &Core,
    environment: EnvId,
    scope: Scope,
    by: &Actor,
    new: NewRole,
    key: Option<IdempotencyKey>,
) -> Result<Role> {
    let now = core.clock.now();
    let role = Role {
        id: RoleId::new(&core.ids),
        environment,
        scope,
        name: new.name,
        display_name: new.display_name,
        description: new.description,
        default_creator: false,
        default_member: false,
        base: None,
        created_at: now,
        updated_at: now,
    };
    let creation = Arc::new(Creation { role, base: new.base, permissions: new.permissions, key });
    let (event_id, by) = (EventId::new(&core.ids), by.clone());
    idempotency::past_twins(creation.key.as_ref(), || {
        let (id, creation, by) = (creation.role.id, Arc::clone(&creation), by.clone());
        core.db.write_checked(
            share(environment),
            async move |tx| store::exists(tx, id).await,
            async move |tx| creation.write(tx, event_id, &by).await,
        )
    })
    .await
    .map_err(|error| match error.database() {
        Some(cause) if cause.is_unique_on("roles.name") => Error::duplicate("name"),
        _ => error,
    })
}

/// All that a run of the creating transaction needs.
struct Creation {
    role: Role,
    base: Option<String>,
    permissions: Vec<String>,
    key: Option<IdempotencyKey>,
}

impl Creation {
    async fn write(&self, tx: &mut Tx, event_id: EventId, by: &Actor) -> Result<Role> {
        let mut role = self.role.clone();
        organization_of(tx, role.environment, role.scope).await?;
        if let Some(key) = &self.key
            && let Some(earlier) = idempotency::find(tx, key, role.created_at).await?
        {
            let earlier = RoleId(earlier);
            return store::visible_by_id(tx, role.environment, role.scope, earlier).await?.ok_or_else(not_found);
        }
        if store::is_name_taken(tx, role.environment, role.scope, &role.name).await? {
            return Err(Error::duplicate("name"));
        }
        if let Some(base) = &self.base {
            let found = store::visible(tx, role.environment, role.scope, base).await?.ok_or_else(no_base)?;
            role.base = Some(Base { id: found.id, name: found.name });
        }
        let granted = named(tx, role.environment, &self.permissions).await?;
        store::insert(tx, &role).await?;
        for permission in granted {
            store::grant(tx, role.id, permission).await?;
        }
        events::append(tx, event(event_id, &role, events::ROLE_CREATED, by)).await?;
        if let Some(key) = &self.key {
            idempotency::remember(tx, key, role.id.0, role.created_at).await?;
        }
        Ok(role)
    }
}

/// Changes what the patch names. A change that changes nothing writes nothing and is no event.
///
/// A base that extends this role, however far, is INVALID_ARGUMENT: the walk along the chain and the write are one serializable
/// transaction, so two changes that close a circle together cannot both commit.
pub async fn update(
    core: &Core,
    environment: EnvId,
    scope: Scope,
    by: &Actor,
    name: String,
    patch: RolePatch,
) -> Result<Role> {
    change(core, environment, scope, by, name, async move |tx, role| {
        if let Some(display_name) = &patch.display_name {
            role.display_name.clone_from(display_name);
        }
        if let Some(description) = &patch.description {
            role.description.clone_from(description);
        }
        if let Some(base) = &patch.base {
            let base = store::visible(tx, role.environment, role.scope, base).await?.ok_or_else(no_base)?;
            if chain::links(tx, role.environment, base.id).await?.iter().any(|link| link.id == role.id) {
                let text = "a role cannot extend itself, nor a role that extends it";
                return Err(Error::invalid("role.extends", "role.extends.cycle", text));
            }
            role.base = Some(Base { id: base.id, name: base.name });
        }
        if patch.permissions.is_empty() {
            return Ok(false);
        }
        let wanted = named(tx, role.environment, &patch.permissions).await?;
        let held = store::granted(tx, role.id).await?;
        for permission in held.iter().filter(|permission| !wanted.contains(permission)) {
            store::withdraw(tx, role.id, *permission).await?;
        }
        for permission in wanted.iter().filter(|permission| !held.contains(permission)) {
            store::grant(tx, role.id, *permission).await?;
        }
        Ok(wanted.len() != held.len() || wanted.iter().any(|permission| !held.contains(permission)))
    })
    .await
}

/// Takes a role's base away; its own permissions stay.
pub async fn remove_base(core: &Core, environment: EnvId, scope: Scope, by: &Actor, name: String) -> Result<Role> {
    change(core, environment, scope, by, name, async |_, role| {
        role.base = None;
        Ok(false)
    })
    .await
}

/// Gives permissions to an environment's role besides those that it has; names that are no permission are passed over (orgs-users-rbac
/// reference §7.4). Its own permissions afterwards.
pub async fn add_permissions(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    name: String,
    names: Vec<String>,
) -> Result<Vec<Permission>> {
    let role = change(core, environment, Scope::Environment, by, name, async move |tx, role| {
        let mut held = store::granted(tx, role.id).await?;
        let before = held.len();
        for name in &names {
            if let Some(permission) = permissions::find(tx, role.environment, name).await?
                && !held.contains(&permission.id)
            {
                store::grant(tx, role.id, permission.id).await?;
                held.push(permission.id);
            }
        }
        if held.len() > PERMISSIONS && held.len() > before {
            let text = format!("a role has at most {PERMISSIONS} permissions of its own");
            return Err(Error::invalid("permission_names", "role.permissions.max", text));
        }
        Ok(held.len() > before)
    })
    .await?;
    core.db.read(async move |tx| store::permissions(tx, role.id).await).await
}

/// Takes a permission from an environment's role. One that it does not have of its own is NOT_FOUND.
pub async fn remove_permission(
    core: &Core,
    environment: EnvId,
    by: &Actor,
    name: String,
    permission: String,
) -> Result<()> {
    change(core, environment, Scope::Environment, by, name, async move |tx, role| {
        let found = permissions::find(tx, role.environment, &permission).await?.ok_or_else(permissions::not_found)?;
        if store::withdraw(tx, role.id, found.id).await? { Ok(true) } else { Err(permissions::not_found()) }
    })
    .await?;
    Ok(())
}

/// Reads, changes and writes a role. `edit` tells whether it changed anything besides the row.
async fn change<F>(core: &Core, environment: EnvId, scope: Scope, by: &Actor, name: String, edit: F) -> Result<Role>
where
    F: AsyncFn(&mut Tx, &mut Role) -> Result<bool> + Send + 'static,
{
    let (now, by, event_id) = (core.clock.now(), by.clone(), EventId::new(&core.ids));
    let (role, bump) = core
        .db
        .write_for(share(environment), async move |tx| {
            organization_of(tx, environment, scope).await?;
            let before = store::find(tx, environment, scope, &name).await?.ok_or_else(not_found)?;
            let mut after = before.clone();
            if !edit(tx, &mut after).await? && after == before {
                return Ok((after, None));
            }
            after.updated_at = now.max(before.updated_at);
            store::update(tx, &after).await?;
            events::append(tx, event(event_id, &after, events::ROLE_UPDATED, &by)).await?;
            Ok::<_, Error>((after, Some(allowed::bump(tx).await?)))
        })
        .await?;
    core.caches.apply_all(bump);
    Ok(role)
}

/// The organization of a scope must exist.
pub(super) async fn organization_of(tx: &mut Tx, environment: EnvId, scope: Scope) -> Result<()> {
    if let Scope::Organization(organization) = scope {
        organizations::load(tx, environment, &Identity::Id(organization))
            .await?
            .ok_or_else(organizations::not_found)?;
    }
    Ok(())
}

/// The permissions with these names, each once. Any that is unknown is INVALID_ARGUMENT naming its place.
async fn named(tx: &mut Tx, environment: EnvId, names: &[String]) -> Result<Vec<PermissionId>> {
    let (mut ids, mut unknown) = (Vec::with_capacity(names.len()), Vec::new());
    for (i, name) in names.iter().enumerate() {
        match permissions::find(tx, environment, name).await? {
            Some(permission) if ids.contains(&permission.id) => {}
            Some(permission) => ids.push(permission.id),
            None => {
                let field = format!("role.permissions[{i}]");
                unknown.push(Violation::new(field, "permission.exists", "permission not found"));
            }
        }
    }
    if unknown.is_empty() { Ok(ids) } else { Err(Error::violations(unknown)) }
}

fn no_base() -> Error {
    Error::invalid("role.extends", "role.exists", "role not found")
}

pub(super) fn event(id: EventId, role: &Role, kind: EventKind, by: &Actor) -> NewEvent {
    NewEvent {
        id,
        environment: role.environment,
        organization: role.scope.organization(),
        kind,
        occurred_at: role.updated_at,
        actor: by.clone(),
        data: data(role),
    }
}
