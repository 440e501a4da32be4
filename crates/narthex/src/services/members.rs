//! MembersService: the operators of a workspace, and their roles.

mod messages;

use std::sync::Arc;

use narthex_api::rpc::members_service as rpc;
use narthex_api::scalekit::v1::members as wire;
use narthex_core::ids::{EnvId, MemberId, WorkspaceId};
use narthex_core::members::{self, FixedRole, Granter, Member, MemberPatch, NewMember, PERMISSIONS};
use narthex_core::pages::{Page, PageRequest};
use narthex_core::{Caller, Core, Error, Kind, Result, environments, workspaces};
use narthex_rpc::{Context, Rpcs};

use super::organizations::with;

/// Builds the service's RPCs, but for roles of a workspace's own.
pub fn register(rpcs: &mut Rpcs, core: &Arc<Core>) {
    rpcs.add(rpc::CREATE_MEMBER, with(core, create))
        .add(rpc::INVITE_MEMBER, with(core, invite))
        .add(rpc::UPDATE_CURRENT_MEMBER, with(core, update_current))
        .add(rpc::UPDATE_MEMBER, with(core, update))
        .add(rpc::GET_CURRENT_MEMBER, with(core, current))
        .add(rpc::GET_MEMBER, with(core, get))
        .add(rpc::LIST_MEMBERS, with(core, list))
        .add(rpc::DELETE_MEMBER, with(core, delete))
        .add(rpc::ASSIGN_DASHBOARD_ROLE, with(core, assign_role))
        .add(rpc::SET_DASHBOARD_ENVIRONMENT_ROLE, with(core, set_environment_role))
        .add(rpc::CLEAR_DASHBOARD_ENVIRONMENT_ROLE, with(core, clear_environment_role))
        .add(rpc::LIST_DASHBOARD_MEMBER_ENVIRONMENT_ROLES, with(core, environment_roles))
        .add(rpc::LIST_DASHBOARD_ROLES, with(core, roles))
        .add(rpc::LIST_DASHBOARD_PERMISSIONS, with(core, permissions));
}

/// The operator who calls. A session of the product's own environment is one where its user works in one workspace; whoever works in
/// several takes a token for one of them (`POST /operator/token`). `required` is what such a session has to hold, which the table cannot
/// ask of it.
pub(super) async fn operator(core: &Core, context: &Context, required: &[&str]) -> Result<Arc<Member>> {
    let refused = || Error::permission_denied(required);
    let id = match &context.caller {
        Caller::Member { member, .. } => *member,
        Caller::Session { user, .. } if context.environment.is_system => {
            let members = members::of_user(core, &context.environment, *user).await?;
            let mut active = members.iter().filter(|member| member.is_active());
            let (Some(one), None) = (active.next(), active.next()) else { return Err(refused()) };
            let held = one.permissions();
            if !required.iter().any(|key| held.iter().any(|held| held == key)) {
                return Err(refused());
            }
            one.id
        }
        _ => return Err(refused()),
    };
    members::get(core, id).await?.ok_or_else(members::not_found)
}

/// The workspace that a request is about, and on whose behalf it changes members there.
///
/// API clients are confined to their environment, and whoever makes members of the workspace reaches every other one: a client changes
/// members in the product's own environment alone (docs/decisions/0071).
async fn granter(core: &Core, context: &Context, required: &[&str]) -> Result<(WorkspaceId, Granter)> {
    if let Caller::Client { .. } = &context.caller {
        if !context.environment.is_system {
            return Err(Error::permission_denied(required));
        }
        return Ok((context.environment.workspace_id, Granter::system()));
    }
    let member = operator(core, context, required).await?;
    Ok((member.workspace, Granter::member(&member)))
}

/// The workspace that a request reads.
async fn workspace(core: &Core, context: &Context, required: &[&str]) -> Result<WorkspaceId> {
    match &context.caller {
        Caller::Client { .. } => Ok(context.environment.workspace_id),
        _ => Ok(operator(core, context, required).await?.workspace),
    }
}

async fn create(
    core: Arc<Core>,
    context: Context,
    request: wire::CreateMemberRequest,
) -> Result<wire::CreateMemberResponse> {
    let given = request.member.unwrap_or_default();
    let role = match (given.dashboard_role_name.as_str(), wire::MemberRole::try_from(given.role)) {
        ("", Ok(wire::MemberRole::Admin)) => FixedRole::Admin,
        ("", Ok(wire::MemberRole::User | wire::MemberRole::Unspecified)) => FixedRole::Member,
        ("", Err(_)) => return Err(Error::invalid("member.role", "enum.defined_only", "must be ADMIN or USER")),
        (name, _) => named_role("member.dashboard_role_name", name)?,
    };
    let profile = given.user_profile.unwrap_or_default();
    let new = NewMember {
        email: given.email,
        given_name: given.first_name.filter(|name| !name.is_empty()).unwrap_or(profile.given_name),
        family_name: given.last_name.filter(|name| !name.is_empty()).unwrap_or(profile.family_name),
        role,
    };
    made(&core, &context, new, rpc::CREATE_MEMBER.method.auth.permissions).await
}

async fn invite(
    core: Arc<Core>,
    context: Context,
    request: wire::InviteMemberRequest,
) -> Result<wire::CreateMemberResponse> {
    let role = FixedRole::Member;
    let new = NewMember { email: request.email, given_name: String::new(), family_name: String::new(), role };
    made(&core, &context, new, rpc::INVITE_MEMBER.method.auth.permissions).await
}

async fn made(core: &Core, context: &Context, new: NewMember, required: &[&str]) -> Result<wire::CreateMemberResponse> {
    let (workspace, by) = granter(core, context, required).await?;
    let member = members::invite(core, workspace, &by, new).await?;
    Ok(wire::CreateMemberResponse { member: Some(shown(core, &member, None).await?) })
}

async fn update_current(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateCurrentMemberRequest,
) -> Result<wire::UpdateMemberResponse> {
    let member = current_member(&core, &context).await?;
    let patch = messages::patch(request.member.unwrap_or_default());
    changed(&core, member.workspace, member.id, patch).await
}

async fn update(
    core: Arc<Core>,
    context: Context,
    request: wire::UpdateMemberRequest,
) -> Result<wire::UpdateMemberResponse> {
    let (workspace, _) = granter(&core, &context, rpc::UPDATE_MEMBER.method.auth.permissions).await?;
    let id = member_id(&request.id)?;
    changed(&core, workspace, id, messages::patch(request.member.unwrap_or_default())).await
}

async fn changed(
    core: &Core,
    workspace: WorkspaceId,
    id: MemberId,
    patch: MemberPatch,
) -> Result<wire::UpdateMemberResponse> {
    let member = members::update(core, workspace, id, patch).await?;
    Ok(wire::UpdateMemberResponse { member: Some(shown(core, &member, None).await?) })
}

/// The member that calls. An API client is none.
async fn current_member(core: &Core, context: &Context) -> Result<Arc<Member>> {
    match &context.caller {
        Caller::Member { member, .. } => members::get(core, *member).await?.ok_or_else(members::not_found),
        _ => Err(members::not_found()),
    }
}

async fn current(
    core: Arc<Core>,
    context: Context,
    _: wire::GetCurrentMemberRequest,
) -> Result<wire::GetMemberResponse> {
    let member = current_member(&core, &context).await?;
    // Every workspace of one's own, which nobody else is told.
    let mut workspaces = vec![member.workspace];
    if let (Some(user), Some(system)) = (member.user, environments::system(&core).await?) {
        let all = members::of_user(&core, &system, user).await?;
        let others = all.iter().filter(|other| other.is_active() && other.workspace != member.workspace);
        workspaces.extend(others.map(|other| other.workspace));
    }
    Ok(wire::GetMemberResponse {
        member: Some(shown(&core, &member, Some(&workspaces)).await?),
        dashboard_permissions: member.permissions_in(context.environment.id),
    })
}

async fn get(core: Arc<Core>, context: Context, request: wire::GetMemberRequest) -> Result<wire::GetMemberResponse> {
    let workspace = workspace(&core, &context, rpc::GET_MEMBER.method.auth.permissions).await?;
    let member = members::in_workspace(&core, workspace, member_id(&request.id)?).await?;
    Ok(wire::GetMemberResponse {
        member: Some(shown(&core, &member, None).await?),
        dashboard_permissions: member.permissions_in(context.environment.id),
    })
}

async fn list(core: Arc<Core>, context: Context, request: wire::ListMemberRequest) -> Result<wire::ListMemberResponse> {
    let workspace = workspace(&core, &context, rpc::LIST_MEMBERS.method.auth.permissions).await?;
    let asked = PageRequest { size: request.page_size, token: request.page_token };
    let Page { items, next, total, .. } = members::list(&core, workspace, &asked).await?;
    let name = workspaces::get(&core, workspace).await?.display_name;
    let now = core.clock.now();
    Ok(wire::ListMemberResponse {
        next_page_token: next,
        total_size: u32::try_from(total).unwrap_or(u32::MAX),
        members: items.iter().map(|member| messages::member(member, &name, &[workspace], now)).collect(),
    })
}

async fn delete(core: Arc<Core>, context: Context, request: wire::DeleteMemberRequest) -> Result<()> {
    let (workspace, by) = granter(&core, &context, rpc::DELETE_MEMBER.method.auth.permissions).await?;
    members::remove(&core, workspace, &by, member_id(&request.id)?).await
}

async fn assign_role(
    core: Arc<Core>,
    context: Context,
    request: wire::AssignDashboardRoleRequest,
) -> Result<wire::AssignDashboardRoleResponse> {
    let caller = operator(&core, &context, rpc::ASSIGN_DASHBOARD_ROLE.method.auth.permissions).await?;
    let role = named_role("role", &request.role)?;
    let id = member_id(&request.member_id).map_err(as_denied)?;
    let by = Granter::member(&caller);
    members::assign_role(&core, caller.workspace, &by, id, role).await.map_err(as_denied)?;
    Ok(wire::AssignDashboardRoleResponse {})
}

async fn set_environment_role(
    core: Arc<Core>,
    context: Context,
    request: wire::SetDashboardEnvironmentRoleRequest,
) -> Result<wire::SetDashboardEnvironmentRoleResponse> {
    let required = rpc::SET_DASHBOARD_ENVIRONMENT_ROLE.method.auth.permissions;
    let caller = operator(&core, &context, required).await?;
    let role = named_role("role", &request.role)?;
    let (member, environment) = colleague(&request.member_id, &request.environment_id)?;
    let by = Granter::member(&caller);
    members::set_environment_role(&core, caller.workspace, &by, member, environment, role).await.map_err(as_denied)?;
    Ok(wire::SetDashboardEnvironmentRoleResponse {})
}

async fn clear_environment_role(
    core: Arc<Core>,
    context: Context,
    request: wire::ClearDashboardEnvironmentRoleRequest,
) -> Result<wire::ClearDashboardEnvironmentRoleResponse> {
    let required = rpc::CLEAR_DASHBOARD_ENVIRONMENT_ROLE.method.auth.permissions;
    let caller = operator(&core, &context, required).await?;
    let (member, environment) = colleague(&request.member_id, &request.environment_id)?;
    let by = Granter::member(&caller);
    members::clear_environment_role(&core, caller.workspace, &by, member, environment).await.map_err(as_denied)?;
    Ok(wire::ClearDashboardEnvironmentRoleResponse {})
}

async fn environment_roles(
    core: Arc<Core>,
    context: Context,
    request: wire::ListDashboardMemberEnvironmentRolesRequest,
) -> Result<wire::ListDashboardMemberEnvironmentRolesResponse> {
    let required = rpc::LIST_DASHBOARD_MEMBER_ENVIRONMENT_ROLES.method.auth.permissions;
    let caller = operator(&core, &context, required).await?;
    let id = member_id(&request.member_id).map_err(as_denied)?;
    let member = members::in_workspace(&core, caller.workspace, id).await.map_err(as_denied)?;
    let all = environments::list(&core, caller.workspace).await?;
    let environments = all.iter().filter(|environment| !environment.is_system).map(|environment| {
        let (role, is_override) = member.role_in(environment.id);
        wire::DashboardMemberEnvironmentRole {
            environment_id: environment.id.to_string(),
            environment_name: environment.display_name.clone(),
            effective_role: Some(messages::role(role)),
            is_override,
        }
    });
    Ok(wire::ListDashboardMemberEnvironmentRolesResponse { environments: environments.collect() })
}

async fn roles(
    core: Arc<Core>,
    context: Context,
    _: wire::ListDashboardRolesRequest,
) -> Result<wire::ListDashboardRolesResponse> {
    operator(&core, &context, rpc::LIST_DASHBOARD_ROLES.method.auth.permissions).await?;
    let roles = FixedRole::ALL.into_iter().map(|role| messages::role(role.name())).collect();
    Ok(wire::ListDashboardRolesResponse { roles })
}

async fn permissions(
    core: Arc<Core>,
    context: Context,
    _: wire::ListDashboardPermissionsRequest,
) -> Result<wire::ListDashboardPermissionsResponse> {
    operator(&core, &context, rpc::LIST_DASHBOARD_PERMISSIONS.method.auth.permissions).await?;
    let permissions = PERMISSIONS.into_iter().map(messages::permission).collect();
    Ok(wire::ListDashboardPermissionsResponse { permissions })
}

/// Whose role where.
fn colleague(member: &str, environment: &str) -> Result<(MemberId, EnvId)> {
    let environment = EnvId::parse(environment).ok_or_else(environments::not_found);
    member_id(member).and_then(|member| Ok((member, environment?))).map_err(as_denied)
}

/// The RPCs of dashboard roles refuse what is not there, and do not say whether it is (control plane reference §2.7).
fn as_denied(error: Error) -> Error {
    if error.kind() == Kind::NotFound {
        return Error::new(Kind::PermissionDenied, "no member and environment of your workspace");
    }
    error
}

fn named_role(field: &str, name: &str) -> Result<FixedRole> {
    FixedRole::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = FixedRole::ALL.iter().map(|role| role.name()).collect();
        Error::invalid(field, "role.known", format!("is not a role: {}", known.join(", ")))
    })
}

fn member_id(text: &str) -> Result<MemberId> {
    MemberId::parse(text).ok_or_else(members::not_found)
}

async fn shown(core: &Core, member: &Member, workspaces: Option<&[WorkspaceId]>) -> Result<wire::Member> {
    let name = workspaces::get(core, member.workspace).await?.display_name;
    let own = [member.workspace];
    Ok(messages::member(member, &name, workspaces.unwrap_or(&own), core.clock.now()))
}
