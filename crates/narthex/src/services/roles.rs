//! RolesService: roles and permissions.

use std::sync::Arc;

use narthex_api::rpc::roles_service as rpc;
use narthex_api::scalekit::v1::roles as wire;
use narthex_core::events::Actor;
use narthex_core::idempotency::IdempotencyKey;
use narthex_core::pages::{Page, PageRequest};
use narthex_core::permissions::{self, Filter, Permission};
use narthex_core::roles::{self, Defaults, Held, Include, NewRole, Reference, RolePatch, Scope, View};
use narthex_core::{Caller, Core, Error, Result};
use narthex_rpc::{Context, Rpcs};

use super::organizations::{reachable_id, time, with};

#[cfg(test)]
mod tests;

/// Builds the service's RPCs.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::CREATE_ROLE, with(core, create))
        .add(rpc::UPDATE_ROLE, with(core, update))
        .add(rpc::GET_ROLE, with(core, get))
        .add(rpc::LIST_ROLES, with(core, list))
        .add(rpc::DELETE_ROLE, with(core, delete))
        .add(rpc::CREATE_ORGANIZATION_ROLE, with(core, create_of_organization))
        .add(rpc::UPDATE_ORGANIZATION_ROLE, with(core, update_of_organization))
        .add(rpc::GET_ORGANIZATION_ROLE, with(core, get_of_organization))
        .add(rpc::LIST_ORGANIZATION_ROLES, with(core, list_of_organization))
        .add(rpc::DELETE_ORGANIZATION_ROLE, with(core, delete_of_organization))
        .add(rpc::GET_ROLE_USERS_COUNT, with(core, users_count))
        .add(rpc::GET_ORGANIZATION_ROLE_USERS_COUNT, with(core, users_count_of_organization))
        .add(rpc::UPDATE_DEFAULT_ROLES, with(core, update_defaults))
        .add(rpc::UPDATE_DEFAULT_ORGANIZATION_ROLES, with(core, update_organization_default))
        .add(rpc::LIST_DEPENDENT_ROLES, with(core, dependents))
        .add(rpc::DELETE_ROLE_BASE, with(core, delete_base))
        .add(rpc::DELETE_ORGANIZATION_ROLE_BASE, with(core, delete_base_of_organization))
        .add(rpc::CREATE_PERMISSION, with(core, create_permission))
        .add(rpc::GET_PERMISSION, with(core, get_permission))
        .add(rpc::UPDATE_PERMISSION, with(core, update_permission))
        .add(rpc::LIST_PERMISSIONS, with(core, list_permissions))
        .add(rpc::DELETE_PERMISSION, with(core, delete_permission))
        .add(rpc::LIST_ROLE_PERMISSIONS, with(core, permissions_of))
        .add(rpc::ADD_PERMISSIONS_TO_ROLE, with(core, add_permissions))
        .add(rpc::REMOVE_PERMISSION_FROM_ROLE, with(core, remove_permission))
        .add(rpc::LIST_EFFECTIVE_ROLE_PERMISSIONS, with(core, effective_permissions_of));
}

async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateRoleRequest,
) -> Result<wire::CreateRoleResponse> {
    let given = request.role.unwrap_or_default();
    let new = NewRole {
        name: given.name,
        display_name: given.display_name,
        description: given.description.unwrap_or_default(),
        base: given.extends,
        permissions: given.permissions,
    };
    let key = key(&context, &[rpc::CREATE_ROLE.method.path, &new.fingerprint()])?;
    let role = made(&core, &context, Scope::Environment, new, key).await?;
    Ok(wire::CreateRoleResponse { role: Some(role) })
}

async fn create_of_organization(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateOrganizationRoleRequest,
) -> Result<wire::CreateOrganizationRoleResponse> {
    let scope = organization(&context, &request.org_id)?;
    let given = request.role.unwrap_or_default();
    let new = NewRole {
        name: given.name,
        display_name: given.display_name,
        description: given.description.unwrap_or_default(),
        base: given.extends,
        permissions: given.permissions,
    };
    let key = key(&context, &[rpc::CREATE_ORGANIZATION_ROLE.method.path, &request.org_id, &new.fingerprint()])?;
    let role = made(&core, &context, scope, new, key).await?;
    Ok(wire::CreateOrganizationRoleResponse { role: Some(role) })
}

/// Creates a role and shows it. What it was given is in the answer: whoever asks for a role with permissions wants to see them.
async fn made(
    core: &Core,
    context: &Context,
    scope: Scope,
    new: NewRole,
    key: Option<IdempotencyKey>,
) -> Result<wire::Role> {
    let environment = context.environment.id;
    let role = roles::create(core, environment, scope, &Actor::from(&context.caller), new, key).await?;
    let view = roles::get(core, environment, scope, role.name, Include::Own).await?;
    Ok(message(view))
}

async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateRoleRequest,
) -> Result<wire::UpdateRoleResponse> {
    let role = changed(&core, &context, Scope::Environment, request.role_name, request.role).await?;
    Ok(wire::UpdateRoleResponse { role: Some(role) })
}

async fn update_of_organization(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateOrganizationRoleRequest,
) -> Result<wire::UpdateOrganizationRoleResponse> {
    let scope = organization(&context, &request.org_id)?;
    let role = changed(&core, &context, scope, request.role_name, request.role).await?;
    Ok(wire::UpdateOrganizationRoleResponse { role: Some(role) })
}

async fn changed(
    core: &Core,
    context: &Context,
    scope: Scope,
    name: String,
    given: Option<wire::UpdateRole>,
) -> Result<wire::Role> {
    let given = given.unwrap_or_default();
    let patch = RolePatch {
        display_name: given.display_name,
        description: given.description,
        base: given.extends,
        permissions: given.permissions,
    };
    let environment = context.environment.id;
    let role = roles::update(core, environment, scope, &Actor::from(&context.caller), name, patch).await?;
    Ok(message(roles::get(core, environment, scope, role.name, Include::Own).await?))
}

async fn get(core: Arc<Core>, context: Context, request: wire::GetRoleRequest) -> Result<wire::GetRoleResponse> {
    let include = include(request.include.as_deref());
    let view = roles::get(&core, context.environment.id, Scope::Environment, request.role_name, include).await?;
    Ok(wire::GetRoleResponse { role: Some(message(view)) })
}

async fn get_of_organization(
    core: Arc<Core>,
    context: Context,
    request: wire::GetOrganizationRoleRequest,
) -> Result<wire::GetOrganizationRoleResponse> {
    let scope = organization(&context, &request.org_id)?;
    let include = include(request.include.as_deref());
    let view = roles::get(&core, context.environment.id, scope, request.role_name, include).await?;
    Ok(wire::GetOrganizationRoleResponse { role: Some(message(view)) })
}

async fn list(core: Arc<Core>, context: Context, request: wire::ListRolesRequest) -> Result<wire::ListRolesResponse> {
    // A portal sees the environment's roles as its organization does: others' roles are not even counted.
    let scope = match context.caller {
        Caller::Portal { organization, .. } => Scope::Organization(organization),
        _ => Scope::Environment,
    };
    let views = roles::list(&core, context.environment.id, scope, include(request.include.as_deref())).await?;
    let of_environment = views.into_iter().filter(|view| view.role.scope == Scope::Environment);
    Ok(wire::ListRolesResponse { roles: of_environment.map(message).collect() })
}

async fn list_of_organization(
    core: Arc<Core>,
    context: Context,
    request: wire::ListOrganizationRolesRequest,
) -> Result<wire::ListOrganizationRolesResponse> {
    let scope = organization(&context, &request.org_id)?;
    let views = roles::list(&core, context.environment.id, scope, include(request.include.as_deref())).await?;
    Ok(wire::ListOrganizationRolesResponse { roles: views.into_iter().map(message).collect() })
}

#[allow(deprecated)] // `reassign_role_id` is an older name of the same parameter
async fn delete(core: Arc<Core>, context: Context, request: wire::DeleteRoleRequest) -> Result<()> {
    let wire::DeleteRoleRequest { role_name, reassign_role_id, reassign_role_name } = request;
    let given = reassign_role_name.filter(|name| !name.is_empty()).or(reassign_role_id);
    gone(&core, &context, Scope::Environment, role_name, given).await
}

async fn delete_of_organization(
    core: Arc<Core>,
    context: Context,
    request: wire::DeleteOrganizationRoleRequest,
) -> Result<()> {
    let scope = organization(&context, &request.org_id)?;
    gone(&core, &context, scope, request.role_name, request.reassign_role_name).await
}

async fn gone(core: &Core, context: &Context, scope: Scope, name: String, replacement: Option<String>) -> Result<()> {
    let replacement = replacement.filter(|name| !name.is_empty()).map(Reference::Name);
    roles::delete(core, context.environment.id, scope, &Actor::from(&context.caller), name, replacement).await
}

async fn users_count(
    core: Arc<Core>,
    context: Context,
    request: wire::GetRoleUsersCountRequest,
) -> Result<wire::GetRoleUsersCountResponse> {
    let scope = Scope::Environment;
    let count = roles::users_count(&core, context.environment.id, scope, request.role_name).await?;
    Ok(wire::GetRoleUsersCountResponse { count: count.into() })
}

async fn users_count_of_organization(
    core: Arc<Core>,
    context: Context,
    request: wire::GetOrganizationRoleUsersCountRequest,
) -> Result<wire::GetOrganizationRoleUsersCountResponse> {
    let scope = organization(&context, &request.org_id)?;
    let count = roles::users_count(&core, context.environment.id, scope, request.role_name).await?;
    Ok(wire::GetOrganizationRoleUsersCountResponse { count: count.into() })
}

#[allow(deprecated)] // the nested objects are an older form of the same request
async fn update_defaults(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateDefaultRolesRequest,
) -> Result<wire::UpdateDefaultRolesResponse> {
    let older = |given: Option<wire::UpdateDefaultRole>| {
        let wire::UpdateDefaultRole { id, name } = given?;
        name.or(Some(id)).filter(|text| !text.is_empty())
    };
    let chosen = |name: Option<String>, given| {
        name.filter(|name| !name.is_empty()).or_else(|| older(given)).map(Reference::Name)
    };
    let defaults = Defaults {
        creator: chosen(request.default_creator_role, request.default_creator),
        member: chosen(request.default_member_role, request.default_member),
    };
    let by = Actor::from(&context.caller);
    let (creator, member) = roles::set_defaults(&core, context.environment.id, &by, defaults).await?;
    Ok(wire::UpdateDefaultRolesResponse { default_creator: creator.map(message), default_member: member.map(message) })
}

async fn update_organization_default(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateDefaultOrganizationRolesRequest,
) -> Result<wire::UpdateDefaultOrganizationRolesResponse> {
    let organization = reachable_id(&context, &request.org_id)?;
    let by = Actor::from(&context.caller);
    let member = Reference::Name(request.default_member_role);
    let view = roles::set_organization_default(&core, context.environment.id, &by, organization, member).await?;
    Ok(wire::UpdateDefaultOrganizationRolesResponse { default_member: Some(message(view)) })
}

async fn dependents(
    core: Arc<Core>,
    context: Context,
    request: wire::ListDependentRolesRequest,
) -> Result<wire::ListDependentRolesResponse> {
    let environment = context.environment.id;
    let views = match context.caller {
        // A portal sees the environment's roles and those of its organization: others' are neither named nor counted.
        Caller::Portal { organization, .. } => {
            let base = roles::get(&core, environment, Scope::Environment, request.role_name, Include::Nothing).await?;
            let seen = roles::list(&core, environment, Scope::Organization(organization), Include::Nothing).await?;
            let extends = |view: &View| view.role.base.as_ref().is_some_and(|extended| extended.id == base.role.id);
            seen.into_iter().filter(extends).collect()
        }
        _ => roles::dependents(&core, environment, request.role_name).await?,
    };
    Ok(wire::ListDependentRolesResponse { roles: views.into_iter().map(message).collect() })
}

async fn delete_base(core: Arc<Core>, context: Context, request: wire::DeleteRoleBaseRequest) -> Result<()> {
    let by = Actor::from(&context.caller);
    roles::remove_base(&core, context.environment.id, Scope::Environment, &by, request.role_name).await?;
    Ok(())
}

async fn delete_base_of_organization(
    core: Arc<Core>,
    context: Context,
    request: wire::DeleteOrganizationRoleBaseRequest,
) -> Result<()> {
    let scope = organization(&context, &request.org_id)?;
    let by = Actor::from(&context.caller);
    roles::remove_base(&core, context.environment.id, scope, &by, request.role_name).await?;
    Ok(())
}

async fn create_permission(
    core: Arc<Core>,
    context: Context,
    request: wire::CreatePermissionRequest,
) -> Result<wire::CreatePermissionResponse> {
    let wire::CreatePermission { name, description } = request.permission.unwrap_or_default();
    let key = key(&context, &[rpc::CREATE_PERMISSION.method.path, &name, &description])?;
    let by = Actor::from(&context.caller);
    let permission = permissions::create(&core, context.environment.id, &by, name, description, key).await?;
    Ok(wire::CreatePermissionResponse { permission: Some(permission_message(permission)) })
}

async fn get_permission(
    core: Arc<Core>,
    context: Context,
    request: wire::GetPermissionRequest,
) -> Result<wire::GetPermissionResponse> {
    let permission = permissions::get(&core, context.environment.id, &request.permission_name).await?;
    Ok(wire::GetPermissionResponse { permission: Some(permission_message(permission)) })
}

async fn update_permission(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdatePermissionRequest,
) -> Result<wire::UpdatePermissionResponse> {
    // The name in the body must be a valid one, and says nothing more.
    let wire::CreatePermission { description, .. } = request.permission.unwrap_or_default();
    let (environment, by) = (context.environment.id, Actor::from(&context.caller));
    let permission = permissions::update(&core, environment, &by, request.permission_name, description).await?;
    Ok(wire::UpdatePermissionResponse { permission: Some(permission_message(permission)) })
}

async fn list_permissions(
    core: Arc<Core>,
    context: Context,
    request: wire::ListPermissionsRequest,
) -> Result<wire::ListPermissionsResponse> {
    let filter = match wire::PermissionType::try_from(request.r#type) {
        Ok(wire::PermissionType::All) => Filter::All,
        Ok(wire::PermissionType::Scalekit) => Filter::BuiltIn,
        Ok(wire::PermissionType::Environment) => Filter::Own,
        Err(_) => return Err(Error::invalid("type", "enum.defined_only", "is not a type of permission")),
    };
    let asked =
        PageRequest { size: request.page_size.unwrap_or_default(), token: request.page_token.unwrap_or_default() };
    let Page { items, next, prev, total } = permissions::list(&core, context.environment.id, &asked, filter).await?;
    Ok(wire::ListPermissionsResponse {
        permissions: items.into_iter().map(permission_message).collect(),
        prev_page_token: prev,
        next_page_token: next,
        total_size: u32::try_from(total).unwrap_or(u32::MAX),
    })
}

async fn delete_permission(core: Arc<Core>, context: Context, request: wire::DeletePermissionRequest) -> Result<()> {
    let by = Actor::from(&context.caller);
    permissions::delete(&core, context.environment.id, &by, request.permission_name).await
}

async fn permissions_of(
    core: Arc<Core>,
    context: Context,
    request: wire::ListRolePermissionsRequest,
) -> Result<wire::ListRolePermissionsResponse> {
    let permissions = roles::permissions(&core, context.environment.id, request.role_name).await?;
    Ok(wire::ListRolePermissionsResponse { permissions: permissions.into_iter().map(permission_message).collect() })
}

async fn effective_permissions_of(
    core: Arc<Core>,
    context: Context,
    request: wire::ListEffectiveRolePermissionsRequest,
) -> Result<wire::ListEffectiveRolePermissionsResponse> {
    let permissions = roles::permissions_with_inherited(&core, context.environment.id, request.role_name).await?;
    let permissions = permissions.into_iter().map(permission_message).collect();
    Ok(wire::ListEffectiveRolePermissionsResponse { permissions })
}

async fn add_permissions(
    core: Arc<Core>,
    context: Context,
    request: wire::AddPermissionsToRoleRequest,
) -> Result<wire::AddPermissionsToRoleResponse> {
    let by = Actor::from(&context.caller);
    let wire::AddPermissionsToRoleRequest { role_name, permission_names } = request;
    let permissions = roles::add_permissions(&core, context.environment.id, &by, role_name, permission_names).await?;
    Ok(wire::AddPermissionsToRoleResponse { permissions: permissions.into_iter().map(permission_message).collect() })
}

async fn remove_permission(
    core: Arc<Core>,
    context: Context,
    request: wire::RemovePermissionFromRoleRequest,
) -> Result<()> {
    let by = Actor::from(&context.caller);
    let wire::RemovePermissionFromRoleRequest { role_name, permission_name } = request;
    roles::remove_permission(&core, context.environment.id, &by, role_name, permission_name).await
}

/// The scope of an organization that the caller may use.
fn organization(context: &Context, id: &str) -> Result<Scope> {
    reachable_id(context, id).map(Scope::Organization)
}

/// The caller's idempotency key for a request.
fn key(context: &Context, request: &[&str]) -> Result<Option<IdempotencyKey>> {
    let Some(name) = &context.idempotency_key else { return Ok(None) };
    IdempotencyKey::new(context.environment.id, &Actor::from(&context.caller), name, request).map(Some)
}

/// What `include` asks for; the contract lets nothing else through.
fn include(text: Option<&str>) -> Include {
    match text {
        Some("permissions") => Include::Own,
        Some("permissions:all") => Include::Inherited,
        _ => Include::Nothing,
    }
}

/// A role on the wire.
fn message(view: View) -> wire::Role {
    let View { role, dependents, permissions } = view;
    wire::Role {
        id: role.id.to_string(),
        name: role.name,
        display_name: role.display_name,
        description: role.description,
        default_creator: role.default_creator,
        default_member: role.default_member,
        extends: role.base.map(|base| base.name),
        permissions: permissions.into_iter().map(held_message).collect(),
        dependent_roles_count: i32::try_from(dependents).unwrap_or(i32::MAX),
        is_org_role: role.scope != Scope::Environment,
    }
}

fn held_message(Held { permission, role }: Held) -> wire::RolePermission {
    wire::RolePermission {
        id: permission.id.to_string(),
        name: permission.name,
        description: permission.description,
        create_time: Some(time(permission.created_at)),
        update_time: Some(time(permission.updated_at)),
        role_name: role,
    }
}

/// A permission on the wire.
pub(super) fn permission_message(permission: Permission) -> wire::Permission {
    wire::Permission {
        id: permission.id.to_string(),
        name: permission.name,
        description: permission.description,
        create_time: Some(time(permission.created_at)),
        update_time: Some(time(permission.updated_at)),
        is_scalekit_permission: permission.is_built_in,
    }
}
